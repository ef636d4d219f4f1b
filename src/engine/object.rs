//! Image objects and kinds as the engine sees them: whatever their type, they are one here, so that the engine is compiled once
//! and not for each kind. [`External`] is what a kind's author writes; this is how it is called.

use super::{
    batcher::Batcher,
    connection::Connection,
    external::{Connect, External, Submitted, Unusable},
    index::{Reference, Referent},
    journal::Permit,
    preflight::{Needed, Obstacle, Preflight},
    progress::{Comparison, Deletion, Handle, Lookalike, Observation, Product, Recovered},
    versions::Succession,
};
use crate::{
    account::AccountVendor,
    image::{ImageSpec, ImageStatus},
    wire::{CallError, Class},
};
use futures::{FutureExt, future::BoxFuture};
use jiff::Timestamp;
use kube::{
    Resource,
    api::ObjectMeta,
    core::{ApiResource, DynamicResourceScope},
};
use serde_json::Value;
use std::{
    any::Any,
    borrow::Cow,
    collections::HashMap,
    fmt::{self, Debug},
    marker::PhantomData,
    ops::Deref,
    sync::Arc,
    time::Duration,
};

/// A kind. There is one of each.
pub type Kind = &'static dyn AnyKind;

/// The kind of a type.
pub fn kind<K: External>() -> Kind {
    &Of::<K>(PhantomData)
}

/// What a kind says of itself: see the constants of [`External`].
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
pub struct Traits {
    /// [`External::ACTION`].
    pub action: &'static str,
    /// [`External::BATCH`].
    pub batch: usize,
    /// [`External::IMMEDIATE`].
    pub immediate: bool,
    /// [`External::FORGETS`].
    pub forgets: bool,
    /// [`External::REPEATABLE`].
    pub repeatable: bool,
    /// [`External::LAGS`].
    pub lags: bool,
    /// [`External::LEAVES`].
    pub leaves: bool,
    /// [`External::ECHOES`].
    pub echoes: &'static [Class],
    /// [`External::WHEN_OVERDUE`].
    pub when_overdue: Option<&'static str>,
    /// [`External::AMENDS`].
    pub amends: &'static [(&'static str, &'static str)],
}

/// What [`External`] has for a kind and not for an object of it.
pub trait AnyKind: Send + Sync {
    /// Its constants.
    fn traits(&self) -> Traits;
    /// Its name.
    fn name(&self) -> Cow<'static, str>;
    /// The name of many.
    fn plural(&self) -> Cow<'static, str>;
    /// What its ids are ids of: [`External::YIELDS`], which other kinds may have as well, or its own things. One thing has one
    /// owner, of whatever kind.
    fn ids(&self) -> Cow<'static, str>;
    /// Where the API server has it.
    fn resource(&self) -> ApiResource;
    /// Reads an object from JSON.
    fn read(&self, text: &str) -> Result<Object, serde_json::Error>;
    /// [`External::token`].
    fn token(&self, uid: &str, attempt: u32) -> String;
    /// [`External::handle`].
    fn handle(&self, id: &str) -> Handle;
    /// [`External::version_of`].
    fn version_of(&self, product: &Product) -> Option<String>;
    /// The vendor client, made at first use.
    fn connect(&self, connection: &Connection) -> Result<Link, Unusable>;
    /// [`External::observe`].
    fn observe(
        &self,
        client: Link,
        region: String,
        handles: Vec<Handle>,
    ) -> BoxFuture<'static, Result<HashMap<Handle, Observation>, CallError>>;
}

impl Debug for dyn AnyKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.name())
    }
}

struct Of<K>(PhantomData<fn() -> K>);

impl<K: External> AnyKind for Of<K> {
    fn traits(&self) -> Traits {
        Traits {
            action: K::ACTION,
            batch: K::BATCH,
            immediate: K::IMMEDIATE,
            forgets: K::FORGETS,
            repeatable: K::REPEATABLE,
            lags: K::LAGS,
            leaves: K::LEAVES,
            echoes: K::ECHOES,
            when_overdue: K::WHEN_OVERDUE,
            amends: K::AMENDS,
        }
    }
    fn name(&self) -> Cow<'static, str> {
        K::kind(&())
    }
    fn plural(&self) -> Cow<'static, str> {
        K::plural(&())
    }
    fn ids(&self) -> Cow<'static, str> {
        K::YIELDS.map_or_else(|| self.name(), Cow::Borrowed)
    }
    fn resource(&self) -> ApiResource {
        ApiResource::erase::<K>(&())
    }
    fn read(&self, text: &str) -> Result<Object, serde_json::Error> {
        serde_json::from_str::<K>(text).map(Object::new)
    }
    fn token(&self, uid: &str, attempt: u32) -> String {
        K::token(uid, attempt)
    }
    fn handle(&self, id: &str) -> Handle {
        K::handle(id)
    }
    fn version_of(&self, product: &Product) -> Option<String> {
        K::version_of(product)
    }
    fn connect(&self, connection: &Connection) -> Result<Link, Unusable> {
        connection.client::<K::Client>().map(Link::new)
    }
    fn observe(
        &self,
        client: Link,
        region: String,
        handles: Vec<Handle>,
    ) -> BoxFuture<'static, Result<HashMap<Handle, Observation>, CallError>> {
        async move { K::observe(client.of::<K>(), &region, &handles).await }.boxed()
    }
}

/// A connection to whatever vendor. Cheap to clone.
#[derive(Clone)]
pub struct Link(Arc<dyn AnyClient>);

trait AnyClient: Any + Send + Sync {
    fn begin(&self) -> BoxFuture<'_, Result<(), CallError>>;
}

impl<C: Connect> AnyClient for C {
    fn begin(&self) -> BoxFuture<'_, Result<(), CallError>> {
        Connect::begin(self).boxed()
    }
}

impl Link {
    /// Of a vendor's client.
    pub fn new(client: impl Connect) -> Self {
        Self(Arc::new(client))
    }

    /// [`Connect::begin`].
    pub fn begin(&self) -> BoxFuture<'_, Result<(), CallError>> {
        self.0.begin()
    }

    fn of<K: External>(&self) -> &K::Client {
        let client: &dyn Any = &*self.0;
        // Nothing but the object's own kind makes the links with which it is asked.
        client.downcast_ref().expect("a kind has its own vendor's clients")
    }
}

/// One thing that an object's creating call needs: see [`External::preflight`].
pub struct Need {
    /// What the vendor calls it.
    pub id: String,
    /// Where it is read, together with what others need.
    pub readers: Batcher<String, Value>,
    uid: String,
    born: Option<Timestamp>,
    judge: fn(&Needed<'_>, Option<&Value>) -> Option<Obstacle>,
}

impl Need {
    /// Reads it, and tells what is in the way.
    pub async fn look(&self) -> Result<Option<Obstacle>, CallError> {
        let row = self.readers.ask(self.id.clone()).await?;
        Ok((self.judge)(&Needed { id: &self.id, uid: &self.uid, born: self.born }, row.as_ref()))
    }
}

/// An image object of whatever kind.
pub struct Object {
    kind: Kind,
    spec: ImageSpec<()>,
    it: Box<dyn AnyObject>,
}

/// What [`External`] has for an object; a [`Link`] stands for its client.
pub trait AnyObject: Send + Sync {
    /// The same once more.
    fn cloned(&self) -> Box<dyn AnyObject>;
    /// Its metadata.
    fn meta(&self) -> &ObjectMeta;
    /// The same, to change them.
    fn meta_mut(&mut self) -> &mut ObjectMeta;
    /// As the API server has it.
    fn json(&self) -> Result<Vec<u8>, serde_json::Error>;
    /// [`External::timeout`].
    fn timeout(&self) -> Duration;
    /// [`External::status`].
    fn status(&self) -> Option<&ImageStatus>;
    /// [`External::region`].
    fn region(&self, client: &Link) -> String;
    /// [`External::asked_in`].
    fn asked_in(&self, client: &Link) -> String;
    /// [`External::realm`].
    fn realm(&self, account: &AccountVendor) -> String;
    /// [`External::settle`].
    fn settle(&self, client: &Link) -> Duration;
    /// [`External::check`].
    fn check(&self, client: &Link) -> Result<(), Unusable>;
    /// [`External::references`].
    fn references(&self) -> Vec<Reference>;
    /// [`External::resolved`].
    fn resolved(&self, referents: &[Referent]) -> Object;
    /// [`External::place`].
    fn place(&self, account: &AccountVendor) -> Option<String>;
    /// [`External::exclusive`].
    fn exclusive(&self) -> Option<String>;
    /// [`External::preflight`], and where that is read.
    fn preflight(&self, connection: &Connection, client: &Link) -> Vec<Need>;
    /// [`External::clear`].
    fn clear<'a>(&'a self, client: &'a Link) -> Answering<'a, ()>;
    /// [`External::submit`].
    fn submit<'a>(&'a self, client: &'a Link, permit: Permit) -> Answering<'a, Submitted>;
    /// [`External::lookalikes`].
    fn lookalikes<'a>(&'a self, client: &'a Link) -> Answering<'a, Vec<Lookalike>>;
    /// [`External::recover`].
    fn recover<'a>(&'a self, client: &'a Link, token: &'a str, since: Timestamp) -> Answering<'a, Recovered>;
    /// [`External::is_others`].
    fn is_others<'a>(&'a self, client: &'a Link) -> Answering<'a, bool>;
    /// [`External::remains`].
    fn remains(&self, handle: &Handle) -> Option<String>;
    /// [`External::leftovers`].
    fn leftovers<'a>(&'a self, client: &'a Link, token: &'a str) -> Answering<'a, Vec<Handle>>;
    /// [`External::named`].
    fn named(&self) -> Vec<String>;
    /// [`External::finished`].
    fn finished(&self, product: Product) -> Product;
    /// [`External::completed`].
    fn completed<'a>(&'a self, client: &'a Link, product: Product) -> Answering<'a, Product>;
    /// What its `import.match` matches: [`External::find`].
    fn find<'a>(&'a self, client: &'a Link) -> Answering<'a, Vec<Handle>>;
    /// [`External::made_for`].
    fn made_for<'a>(
        &'a self,
        client: &'a Link,
        handle: &'a Handle,
        seen: &'a Observation,
    ) -> Answering<'a, Option<String>>;
    /// [`External::compare`].
    fn compare(&self, client: &Link, product: &Product) -> Comparison;
    /// [`External::amend`].
    fn amend<'a>(&'a self, client: &'a Link, product: &'a Product) -> Answering<'a, ()>;
    /// [`External::succession`].
    fn succession(&self) -> Option<Succession>;
    /// [`External::is_outdated`].
    fn is_outdated(&self, product: &Product) -> bool;
    /// [`External::versions`].
    fn versions<'a>(&'a self, client: &'a Link) -> Answering<'a, Vec<(String, String)>>;
    /// [`External::next_version`].
    fn next_version(&self, used: &[String], last: Option<&str>) -> Option<String>;
    /// [`External::with_version`].
    fn with_version(&self, version: &str) -> Object;
    /// [`External::clears`].
    fn clears(&self) -> bool;
    /// [`External::delete`].
    fn delete<'a>(&'a self, client: &'a Link, handle: &'a Handle) -> Answering<'a, Deletion>;
}

/// The answer of a vendor, once it is there.
pub type Answering<'a, T> = BoxFuture<'a, Result<T, CallError>>;

impl<K: External> AnyObject for K {
    fn cloned(&self) -> Box<dyn AnyObject> {
        Box::new(self.clone())
    }
    fn meta(&self) -> &ObjectMeta {
        Resource::meta(self)
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        Resource::meta_mut(self)
    }
    fn json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }
    fn timeout(&self) -> Duration {
        External::timeout(self)
    }
    fn status(&self) -> Option<&ImageStatus> {
        External::status(self)
    }
    fn region(&self, client: &Link) -> String {
        External::region(self, client.of::<K>())
    }
    fn asked_in(&self, client: &Link) -> String {
        External::asked_in(self, client.of::<K>())
    }
    fn realm(&self, account: &AccountVendor) -> String {
        External::realm(self, account)
    }
    fn settle(&self, client: &Link) -> Duration {
        External::settle(self, client.of::<K>())
    }
    fn check(&self, client: &Link) -> Result<(), Unusable> {
        External::check(self, client.of::<K>())
    }
    fn references(&self) -> Vec<Reference> {
        External::references(self)
    }
    fn resolved(&self, referents: &[Referent]) -> Object {
        Object::new(External::resolved(self, referents))
    }
    fn place(&self, account: &AccountVendor) -> Option<String> {
        External::place(self, account)
    }
    fn exclusive(&self) -> Option<String> {
        External::exclusive(self)
    }
    fn preflight(&self, connection: &Connection, client: &Link) -> Vec<Need> {
        let client = client.of::<K>();
        let need = |preflight: Preflight<K::Client>| Need {
            readers: connection.readers::<K>(client, &preflight),
            id: preflight.id,
            uid: Resource::meta(self).uid.clone().unwrap_or_default(),
            born: Resource::meta(self).creation_timestamp.as_ref().map(|time| time.0),
            judge: preflight.judge,
        };
        External::preflight(self, client).into_iter().map(need).collect()
    }
    fn clear<'a>(&'a self, client: &'a Link) -> Answering<'a, ()> {
        External::clear(self, client.of::<K>()).boxed()
    }
    fn submit<'a>(&'a self, client: &'a Link, permit: Permit) -> Answering<'a, Submitted> {
        External::submit(self, client.of::<K>(), permit).boxed()
    }
    fn lookalikes<'a>(&'a self, client: &'a Link) -> Answering<'a, Vec<Lookalike>> {
        External::lookalikes(self, client.of::<K>()).boxed()
    }
    fn recover<'a>(&'a self, client: &'a Link, token: &'a str, since: Timestamp) -> Answering<'a, Recovered> {
        External::recover(self, client.of::<K>(), token, since).boxed()
    }
    fn is_others<'a>(&'a self, client: &'a Link) -> Answering<'a, bool> {
        External::is_others(self, client.of::<K>()).boxed()
    }
    fn remains(&self, handle: &Handle) -> Option<String> {
        External::remains(self, handle)
    }
    fn leftovers<'a>(&'a self, client: &'a Link, token: &'a str) -> Answering<'a, Vec<Handle>> {
        External::leftovers(self, client.of::<K>(), token).boxed()
    }
    fn named(&self) -> Vec<String> {
        External::named(self)
    }
    fn finished(&self, product: Product) -> Product {
        External::finished(self, product)
    }
    fn completed<'a>(&'a self, client: &'a Link, product: Product) -> Answering<'a, Product> {
        External::completed(self, client.of::<K>(), product).boxed()
    }
    fn find<'a>(&'a self, client: &'a Link) -> Answering<'a, Vec<Handle>> {
        match self.spec().import.as_ref().and_then(|import| import.matching.as_ref()) {
            Some(matching) => External::find(self, client.of::<K>(), matching).boxed(),
            None => async { Ok(vec![]) }.boxed(),
        }
    }
    fn made_for<'a>(
        &'a self,
        client: &'a Link,
        handle: &'a Handle,
        seen: &'a Observation,
    ) -> Answering<'a, Option<String>> {
        External::made_for(self, client.of::<K>(), handle, seen).boxed()
    }
    fn compare(&self, client: &Link, product: &Product) -> Comparison {
        External::compare(self, client.of::<K>(), product)
    }
    fn amend<'a>(&'a self, client: &'a Link, product: &'a Product) -> Answering<'a, ()> {
        External::amend(self, client.of::<K>(), product).boxed()
    }
    fn succession(&self) -> Option<Succession> {
        External::succession(self)
    }
    fn is_outdated(&self, product: &Product) -> bool {
        External::is_outdated(self, product)
    }
    fn versions<'a>(&'a self, client: &'a Link) -> Answering<'a, Vec<(String, String)>> {
        External::versions(self, client.of::<K>()).boxed()
    }
    fn next_version(&self, used: &[String], last: Option<&str>) -> Option<String> {
        External::next_version(self, used, last)
    }
    fn with_version(&self, version: &str) -> Object {
        Object::new(External::with_version(self, version))
    }
    fn clears(&self) -> bool {
        External::clears(self)
    }
    fn delete<'a>(&'a self, client: &'a Link, handle: &'a Handle) -> Answering<'a, Deletion> {
        External::delete(self, client.of::<K>(), handle).boxed()
    }
}

impl Clone for Object {
    fn clone(&self) -> Self {
        Self { kind: self.kind, spec: self.spec.clone(), it: self.it.cloned() }
    }
}

impl Debug for Object {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?} {:?}/{:?}", self.kind, self.meta().namespace, self.meta().name)
    }
}

impl Resource for Object {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(of: &ApiResource) -> Cow<'_, str> {
        of.kind.as_str().into()
    }
    fn group(of: &ApiResource) -> Cow<'_, str> {
        of.group.as_str().into()
    }
    fn version(of: &ApiResource) -> Cow<'_, str> {
        of.version.as_str().into()
    }
    fn plural(of: &ApiResource) -> Cow<'_, str> {
        of.plural.as_str().into()
    }
    fn meta(&self) -> &ObjectMeta {
        self.it.meta()
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.it.meta_mut()
    }
}

impl Object {
    /// Of its type.
    pub fn new<K: External>(object: K) -> Self {
        Self { kind: kind::<K>(), spec: object.spec().shared(), it: Box::new(object) }
    }

    /// What it is.
    pub fn its_kind(&self) -> Kind {
        self.kind
    }

    /// The shared half of `spec`. What `import.match` says is the kind's own.
    pub fn spec(&self) -> &ImageSpec<()> {
        &self.spec
    }
}

impl Deref for Object {
    type Target = dyn AnyObject;

    fn deref(&self) -> &Self::Target {
        &*self.it
    }
}
