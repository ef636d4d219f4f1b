//! The one trait that an image kind implements, and what it owes the engine.

use super::{
    credentials::Credentials,
    existing::Existing,
    index::{Reference, Referent},
    journal::Permit,
    limits::{Limits, RatePermit},
    preflight::Preflight,
    progress::{Comparison, Deletion, Handle, Lookalike, Observation, Product, Recovered},
    request_id,
    standing::Credit,
    telemetry::{self, Telemetry},
    versions::Succession,
};
use crate::{
    account::AccountVendor,
    image::{ImageSpec, ImageStatus},
    wire::{self, Answer, CallError, Class, Effect, Http, Protocol, endpoint::Endpoints, pages::Page},
};
use jiff::Timestamp;
use kube::{CustomResourceExt, Resource, core::NamespaceResourceScope};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{
    collections::{BTreeSet, HashMap},
    fmt::Debug,
    future::Future,
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;
use tracing::Instrument;

/// A connection to one vendor with one account's credentials; cheap to clone.
pub trait Connect: Clone + Send + Sync + 'static {
    /// Makes the connection, or says what is missing in words a user can act on. Calls nobody.
    fn connect(account: &AccountVendor, material: Material) -> Result<Self, Unusable>;

    /// Makes what every call needs, such as a session, where it is not there yet. Asked before the intent of a creating call is
    /// stored: where it fails, that call was not made.
    fn begin(&self) -> impl Future<Output = Result<(), CallError>> + Send {
        async { Ok(()) }
    }

    /// Ends what the vendor keeps for the connection, such as a session. It is not used after that.
    fn close(&self) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// What a connection is made from, besides the account's spec.
#[derive(Clone, Debug)]
pub struct Material {
    /// The vendor, for metrics and logs.
    pub vendor: &'static str,
    /// The Secret's keys and values, as far as vendors read them.
    pub secret: Arc<Credentials>,
    /// How requests leave the operator.
    pub http: Arc<Http>,
    /// What paces them.
    pub limits: Arc<Limits>,
    /// What learns from their answers whether the credentials are accepted.
    pub credit: Arc<Credit>,
    /// What counts them.
    pub telemetry: Telemetry,
    /// Which addresses besides the vendors' own may be called.
    pub endpoints: Arc<Endpoints>,
}

impl Material {
    /// Sends a request to a vendor once, and reads the answer as `T` (`()` for an empty one is spelled
    /// [`serde::de::IgnoredAny`]). Calls that create nothing wait for their permit here and are counted here; a creating call has
    /// had its permit before its intent was stored.
    pub async fn call<T: DeserializeOwned + Send>(
        &self,
        protocol: &dyn Protocol,
        region: &str,
        action: &str,
        effect: Effect,
        request: http::Request<Vec<u8>>,
    ) -> Result<Answer<T>, CallError> {
        let mut value = None;
        let mut read = |text: &[u8]| {
            value = Some(serde_json::from_slice(text)?);
            Ok(())
        };
        let Answer { status, request_id, .. } =
            self.exchange(protocol, region, action, effect, request, &mut read).await?;
        // What was answered was read.
        let value = value.ok_or_else(|| effect.unanswered(format!("HTTP {status} without an answer")))?;
        Ok(Answer { value, status, request_id })
    }

    async fn exchange(
        &self,
        protocol: &dyn Protocol,
        region: &str,
        action: &str,
        effect: Effect,
        request: http::Request<Vec<u8>>,
        read: wire::Reader<'_>,
    ) -> Result<Answer<()>, CallError> {
        let span = telemetry::call_span(self.vendor, action, region);
        let call = async {
            if effect == Effect::Create {
                return self.send(protocol, region, action, effect, request, read).await;
            }
            let mut permit = self.acquire(region, action, effect).await?;
            let started = Instant::now();
            let answer = self.send(protocol, region, action, effect, request, read).await;
            self.called(action, started.elapsed(), &answer);
            permit.report(&answer);
            answer
        };
        let answer = call.instrument(span.clone()).await;
        self.credit.record(&answer);
        let request_id =
            answer.as_ref().map_or_else(CallError::request_id, |answer| answer.request_id.as_deref());
        telemetry::called(&span, request_id, answer.as_ref().err());
        request_id::note(request_id);
        // Vendors' gateways have been seen to repeat in an error what they were sent.
        answer.map_err(|error| error.with_text(|text| self.secret.scrub(text)))
    }

    async fn send(
        &self,
        protocol: &dyn Protocol,
        region: &str,
        action: &str,
        effect: Effect,
        request: http::Request<Vec<u8>>,
        read: wire::Reader<'_>,
    ) -> Result<Answer<()>, CallError> {
        let mut silent = false;
        let answer = wire::send(&self.http, protocol, action, effect, request, &mut silent, read).await;
        match &answer {
            Err(error) if silent => self.limits.heard(region, action, Err(&error.to_string())),
            Err(CallError::NotSent(_)) => {}
            _ => self.limits.heard(region, action, Ok(())),
        }
        answer
    }

    /// Waits for a permit of the account's rate limiter.
    pub async fn acquire(&self, region: &str, action: &str, effect: Effect) -> Result<RatePermit, CallError> {
        self.credit.pass()?;
        let _waiting = self.telemetry.metrics().wait(self.vendor, action);
        self.limits.acquire(region, action, effect).await
    }

    /// Counts a call.
    pub fn called<T>(&self, action: &str, took: Duration, answer: &Result<T, CallError>) {
        self.telemetry.metrics().call(self.vendor, action, took, answer);
    }
}

/// Why an account cannot be used: a CamelCase reason and a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unusable {
    /// For conditions and metrics.
    pub reason: &'static str,
    /// Names what is missing and where to put it.
    pub message: String,
}

impl Unusable {
    /// `reason` in CamelCase, `message` for people.
    pub fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// An image kind, implemented on its CRD type.
///
/// The engine decides what to do and when; an implementation only translates between one object and one vendor API.
/// It keeps no state, writes nothing to Kubernetes, and returns as soon as the vendor has answered.
pub trait External:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()>
    + CustomResourceExt
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// The vendor connection that the kind uses.
    type Client: Connect;
    /// How the kind finds an existing image, for `import.match`.
    type Match: Clone + Debug + Send + Sync;

    /// The vendor's name of the creating call, as it stands in `status.operation.action`.
    const ACTION: &'static str;
    /// How many handles one `observe` may carry.
    const BATCH: usize;
    /// How long a build may take unless the spec says otherwise, and why.
    const TIMEOUT: Timeout;
    /// Whether the creating call answers when the thing is usable. Then the engine looks at once and writes the status
    /// once; allowed only where `recover` answers [`Recovered::Replay`], since a crash in between loses the answer.
    const IMMEDIATE: bool;

    /// Whether the vendor forgets what it has finished, so that a Ready object is not looked at again.
    const FORGETS: bool = false;

    /// Whether an order that the vendor took and knows nothing of any more can simply be given again with the same token, since
    /// the ids of what it makes are ours: it then makes what is not there, or says that it was. Only where `recover` answers
    /// [`Recovered::Replay`].
    const REPEATABLE: bool = false;

    /// Whether what a lost call made may show only after it was given up; then [`External::leftovers`] finds it.
    const LAGS: bool = false;

    /// Whether deleting a thing leaves others of ours behind: then [`External::delete`] is asked once more when it is gone.
    const LEAVES: bool = false;

    /// Refusals of these classes, Busy or Conflict, may be the echo of the object's own call, which arrived twice or whose answer
    /// was lost: [`External::recover`] is asked before they are believed, and as long as its answer is [`Recovered::Replay`],
    /// nothing is asked for under another token for a while after the call.
    const ECHOES: &'static [Class] = &[];

    /// What tells the rows of [`External::page`] apart, in lowerCamelCase.
    const ROW_ID: &'static str;

    /// The parameter that says where a thing is, where the account alone does not: the region of [`External::region`].
    const PLACE: Option<&'static str> = None;

    /// What its ids are ids of, for the references of other objects: each says which of these it takes. Kinds with the same may
    /// stand for the same things, of which each has one owner, of whatever kind. `None`: nothing can refer to an object of the
    /// kind, and no other kind stands for the like.
    const YIELDS: Option<&'static str> = None;

    /// All that its references may take.
    const TAKES: &'static [&'static str] = &[];

    /// Parameters of which the vendor says nothing afterwards, so that nobody can fill them in from what is there.
    const UNTOLD: &'static [&'static str] = &[];

    /// What to do about a build that takes longer than `spec.timeout`, besides asking the vendor, in a sentence of both languages:
    /// where nothing but the object's deletion ends it, for one.
    const WHEN_OVERDUE: Option<&'static str> = None;

    /// Whether things of the kind bear a mark of the operator's that a list shows: see [`Existing::mark`].
    const MARKED: bool = false;

    /// Which call of [`External::amend`] changes which parameter.
    const AMENDS: &'static [(&'static str, &'static str)] = &[];

    /// The shared half of `spec`.
    fn spec(&self) -> &ImageSpec<Self::Match>;
    /// How long one build may take before the object is Stalled.
    fn timeout(&self) -> Duration {
        self.spec().timeout.map_or(Self::TIMEOUT.after, Duration::from)
    }
    /// The status as stored.
    fn status(&self) -> Option<&ImageStatus>;

    /// Objects of one region may share a call: the region, or whatever else a call is confined to.
    fn region(&self, client: &Self::Client) -> String;

    /// Where the creating call is sent, whose limits it counts against: another place than [`External::region`] for what is made
    /// from one place in another.
    fn asked_in(&self, client: &Self::Client) -> String {
        self.region(client)
    }

    /// Where its ids mean what they do: objects with the same realm and id have the same thing. The vendor's API where the
    /// account reaches it, with its region as the vendor has it, but not whose keys are used. Pure.
    fn realm(&self, account: &AccountVendor) -> String;

    /// How long to wait after a lost answer before looking for its effect: longer than the vendor may still be at it,
    /// and than its lists may lag behind.
    fn settle(&self, client: &Self::Client) -> Duration;

    /// Whether everything that the object's calls need is there, before the first of them. Pure.
    fn check(&self, _client: &Self::Client) -> Result<(), Unusable> {
        Ok(())
    }

    /// The objects whose results this one works on: all that its spec names. It begins when each of them is Ready, and none of
    /// those results is deleted while it is at work. Pure.
    fn references(&self) -> Vec<Reference> {
        vec![]
    }

    /// The same object with what it refers to filled in, as far as it is known: see [`Reference::among`]. Of an object that was
    /// made already, and is looked at again, `referents` are those of its making; of one that took over what was there, there
    /// are none. Pure.
    #[must_use]
    fn resolved(&self, _referents: &[Referent]) -> Self {
        self.clone()
    }

    /// The region that what it has lies in, for the objects that refer to it; `None`: the vendor has no regions. Pure.
    fn place(&self, _account: &AccountVendor) -> Option<String> {
        None
    }

    /// What only one object at a time may be working on, for APIs that could not tell two attempts apart otherwise.
    fn exclusive(&self) -> Option<String> {
        None
    }

    /// What is sent along with attempt number `attempt` so that it can be told from any other. Must depend on nothing
    /// but the object's uid and the number, and fit the vendor's alphabet.
    fn token(uid: &str, attempt: u32) -> String;

    /// What to hold on to when a person names an id, in `import.id` or in the annotation `cloudimages.dev/outcome`.
    fn handle(id: &str) -> Handle {
        Handle::image(id)
    }

    /// What the creating call needs of the vendor, where that can be read in calls that objects share: looked at before the intent
    /// of a new attempt is stored, never while one is under way, and not believed any further. At most two things, which are read
    /// one after the other. For calls that cost an hour or an image when they fail: one that answers at once says itself what is
    /// wrong. Pure.
    fn preflight(&self, _client: &Self::Client) -> Vec<Preflight<Self::Client>> {
        vec![]
    }

    /// Looks whether something at the vendor is in the way of the creating call. Asked before the intent of a new attempt
    /// is stored, so that what is there cannot be of this attempt: a refusal ends or puts off the attempt as one of the
    /// creating call itself would.
    fn clear(&self, _client: &Self::Client) -> impl Future<Output = Result<(), CallError>> + Send {
        async { Ok(()) }
    }

    /// Makes the image. The permit is the proof that the intent is stored; there is no other way to call this.
    ///
    /// MUST NOT do anything that can fail after the vendor has acted, other than reading the answer, and MUST NOT
    /// repeat the call. An answer that cannot be trusted is [`CallError::Unknown`], never `NotSent` or `Refused`.
    fn submit(
        &self,
        client: &Self::Client,
        permit: Permit,
    ) -> impl Future<Output = Result<Submitted, CallError>> + Send;

    /// What is there that a refused creating call may be about: of the same name, or whatever the vendor has only once.
    /// MUST be implemented where a repeated call can be refused for what the first one made. Ids that other objects hold
    /// need not be left out.
    fn lookalikes(
        &self,
        _client: &Self::Client,
    ) -> impl Future<Output = Result<Vec<Lookalike>, CallError>> + Send {
        async { Ok(vec![]) }
    }

    /// Finds out whether a call whose answer was lost took effect. What it made is not older than `since`, by the
    /// vendor's clock. Ids that other objects hold need not be left out. No default: each API must say.
    fn recover(
        &self,
        client: &Self::Client,
        token: &str,
        since: Timestamp,
    ) -> impl Future<Output = Result<Recovered, CallError>> + Send;

    /// Whether the vendor shows what is in the way of a call that it refused as Busy, and that is none of the object's own. Asked
    /// where [`External::ECHOES`] has Busy and [`External::recover`] has found nothing.
    fn is_others(&self, _client: &Self::Client) -> impl Future<Output = Result<bool, CallError>> + Send {
        async { Ok(false) }
    }

    /// What stays of something that has ended, whatever is asked for: there is nothing to delete, so the object goes without a
    /// call, and without whatever a call would need. The end of a sentence. Pure.
    fn remains(&self, _handle: &Handle) -> Option<String> {
        None
    }

    /// What earlier attempts of the object made, whose answers were lost and which were given up since nothing of them
    /// showed: whatever bears this object's mark, but not that of `token`, its last attempt. For APIs without tokens whose
    /// lists lag behind.
    fn leftovers(
        &self,
        _client: &Self::Client,
        _token: &str,
    ) -> impl Future<Output = Result<Vec<Handle>, CallError>> + Send {
        async { Ok(vec![]) }
    }

    /// Looks at up to [`External::BATCH`] things of one region in as few calls as the vendor allows. A handle that the
    /// answer lacks is taken as missing, so every page must have been read.
    fn observe(
        client: &Self::Client,
        region: &str,
        handles: &[Handle],
    ) -> impl Future<Output = Result<HashMap<Handle, Observation>, CallError>> + Send;

    /// What of the thing's tags and remarks the present spec names: keys of tags, and names of remarks. Only this, and what the
    /// operator set since an earlier spec named it, is the object's to change: the rest is somebody else's. Pure.
    fn named(&self) -> Vec<String> {
        vec![]
    }

    /// What the spec named once and names no more: [`External::compare`] and [`External::amend`] take it away.
    fn dropped(&self) -> BTreeSet<String> {
        let named = self.named();
        let managed = self.status().map(|status| &*status.managed_tags).unwrap_or_default();
        managed.iter().filter(|key| !named.contains(key)).cloned().collect()
    }

    /// Whether what the object has, or is to have, was there before it: then it is content with whatever is there where its
    /// spec is silent, also when `import` is taken out of the spec.
    fn took_over(&self) -> bool {
        self.spec().import.is_some() || self.status().is_some_and(ImageStatus::is_taken_over)
    }

    /// Adds to an observed product what only the object knows.
    fn finished(&self, product: Product) -> Product {
        product
    }

    /// Adds what the spec asks about, and a look at many does not tell: in calls of the object's own, so only where it asks. Of
    /// whatever is there, each time it was looked at, unless the object is being deleted.
    fn completed(
        &self,
        _client: &Self::Client,
        product: Product,
    ) -> impl Future<Output = Result<Product, CallError>> + Send {
        async { Ok(product) }
    }

    /// Everything that `import.match` matches.
    fn find(
        &self,
        client: &Self::Client,
        matching: &Self::Match,
    ) -> impl Future<Output = Result<Vec<Handle>, CallError>> + Send;

    /// For which object, of whatever cluster, the operator made what is there: the uid in its mark. Asked before something is
    /// taken over; a call is only made where `seen` does not tell. MUST be implemented where a mark names its object.
    fn made_for(
        &self,
        _client: &Self::Client,
        _handle: &Handle,
        _seen: &Observation,
    ) -> impl Future<Output = Result<Option<String>, CallError>> + Send {
        async { Ok(None) }
    }

    /// One page of everything in a region that is the account's own and that an object could stand for, and maybe of more. A
    /// list whose pages have numbers says so ([`Page::numbered`]).
    fn page(
        client: &Self::Client,
        region: &str,
        next: Option<String>,
    ) -> impl Future<Output = Result<Page, CallError>> + Send;

    /// What a row of [`External::page`] is, keys in lowerCamelCase; `None`: nothing that an object could stand for. An object with
    /// these parameters must find nothing to change in it. Pure.
    fn existing(row: &Value) -> Option<Existing>;

    /// The ids of what the object has, or may come to have: nobody else is to take that over.
    fn claims(&self) -> Vec<String> {
        let import = self.spec().import.as_ref().and_then(|import| import.id.clone());
        let status = self.status();
        let image = status.and_then(|status| status.image_id.clone());
        let task = status.and_then(|status| status.task_id.clone());
        let operation = status.and_then(|status| status.operation.as_ref());
        let candidates = operation.map(|operation| operation.candidates.clone()).unwrap_or_default();
        let versions = status.into_iter().flat_map(|status| &status.versions);
        let versions = versions.map(|version| version.image_id.clone());
        [import, image, task].into_iter().flatten().chain(candidates).chain(versions).collect()
    }

    /// Compares what the vendor has with what the spec asks for. Pure.
    fn compare(&self, client: &Self::Client, product: &Product) -> Comparison;

    /// Changes in place what [`External::compare`] called amendable. Must be harmless when repeated.
    fn amend(
        &self,
        client: &Self::Client,
        product: &Product,
    ) -> impl Future<Output = Result<(), CallError>> + Send;

    /// Where a new version can take the place of what is there, and the object wants that: how. Pure.
    fn succession(&self) -> Option<Succession> {
        None
    }

    /// Whether what the vendor has is other than the spec asks for in that of which a new version is made. Pure.
    fn is_outdated(&self, _product: &Product) -> bool {
        false
    }

    /// Which version a product is. Pure.
    fn version_of(_product: &Product) -> Option<String> {
        None
    }

    /// All versions that are there, whoever made them: id and version. MUST be implemented with [`External::succession`].
    fn versions(
        &self,
        _client: &Self::Client,
    ) -> impl Future<Output = Result<Vec<(String, String)>, CallError>> + Send {
        async { Ok(vec![]) }
    }

    /// The version to follow `last`, none of the `used` ones; `None`: there is none. MUST be implemented with
    /// [`External::succession`]. Pure.
    fn next_version(&self, _used: &[String], _last: Option<&str>) -> Option<String> {
        None
    }

    /// The same object with the version that an attempt makes filled in.
    #[must_use]
    fn with_version(&self, _version: &str) -> Self {
        self.clone()
    }

    /// Whether what the failed attempt left behind, of which its status tells, is deleted at once, and not only before the next
    /// attempt or with the object. Pure.
    fn clears(&self) -> bool {
        false
    }

    /// Deletes what the handle means, or ends what is still making it; which of them, its phase at the vendor says. What is gone
    /// already counts as deleted.
    fn delete(
        &self,
        client: &Self::Client,
        handle: &Handle,
    ) -> impl Future<Output = Result<Deletion, CallError>> + Send;
}

/// How long a build of a kind may take before a person should look at it.
#[derive(Clone, Copy, Debug)]
pub struct Timeout {
    /// At least a minute, in whole minutes.
    pub after: Duration,
    /// What that is derived from: the end of a sentence for the field's description.
    pub why: &'static str,
}

/// The vendor's answer to a creating call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// What to hold on to.
    pub handle: Handle,
    /// The vendor's id of the request.
    pub request_id: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_neither_printed_nor_left_in_a_text() {
        let keys = [
            ("accessKeyId", "LTAI-not-secret"),
            ("accessKeySecret", "s3cret-value"),
            ("securityToken", " token/with+signs== \n"),
            ("password", "password"),
        ];
        let keys = keys.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()));
        let credentials = Credentials::new("images/keys".into(), keys);
        assert_eq!(format!("{credentials:?}"), "Credentials(images/keys)");
        let text = "LTAI-not-secret sent s3cret-value and token/with+signs==: wrong password";
        assert_eq!(credentials.scrub(text), "LTAI-not-secret sent *** and ***: wrong password");
        assert_eq!(Credentials::default().scrub(text), text);
    }
}
