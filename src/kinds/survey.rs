//! What people can ask of an account through a kind, by the code with which the operator asks: what is there, whose it is, and
//! what would become of an object. Reading only.

use super::Of;
use crate::{
    account::AccountVendor,
    engine::{
        connection::Connection,
        existing::Existing,
        external::{External, Unusable},
        index::Reference,
        object::{Link, Object},
        preflight::Obstacle,
        progress::{Comparison, Difference, Handle, Lookalike, Observation, Product},
        versions,
    },
    image::{ManagementPolicy, OBSERVE, Phase, PreflightPolicy},
    wire::{CallError, pages::Walk},
};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream, stream::BoxStream};
use serde_json::{Value, json};

/// Why an account could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The account is not the kind's, or lacks something.
    #[error("{0}")]
    Unusable(#[from] Unusable),
    /// The kind's things are where the account is.
    #[error("things of kind {0} have no other place than their account's")]
    NoPlace(String),
    /// The vendor did not answer, or said no.
    #[error("{0}")]
    Call(#[from] CallError),
    /// The object is none of the kind's.
    #[error("the object cannot be read: {0}")]
    Unreadable(String),
}

impl Trouble {
    /// Whether the account is another vendor's.
    pub fn is_other_vendor(&self) -> bool {
        matches!(self, Self::Unusable(unusable) if unusable.reason == "WrongVendor")
    }
}

/// What an object lays claim to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The vendor's ids.
    pub ids: Vec<String>,
    /// Where those mean what they do; `None`: the object's account is not known.
    pub realm: Option<String>,
}

/// How things are at the vendor with what an object names or has.
#[derive(Clone, Debug, PartialEq)]
pub enum Look {
    /// Nobody looked, since the object waits for others on whose results it works.
    Waits(Vec<Reference>),
    /// The object names nothing and has nothing: what is there already that may be in the way of making it.
    Free(Vec<Lookalike>),
    /// `import.match` fits none or several.
    Matches(Vec<String>),
    /// Something that the creating call needs is not there.
    Lacks(Obstacle),
    /// The vendor does not have this id.
    Missing(String),
    /// It is to be taken over, and bears the mark of another object: its id, and that object's uid.
    MadeForOther(String, String),
    /// The vendor has it: its id, and in what it is to be succeeded by a new version.
    Outdated(String, Vec<Difference>),
    /// The vendor has it: its id, how it is, and how that compares with the object; nothing where it is not there yet.
    There(String, Observation, Option<Comparison>),
}

/// A page of what an account has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listed {
    /// What an object could stand for.
    pub things: Vec<Existing>,
    /// How many rows of the vendor's list have been read so far, with those that are none of the kind's.
    pub read: u64,
    /// How many rows the list has, where the vendor tells.
    pub total: Option<u64>,
}

/// See the module.
pub trait Survey {
    /// Whether the account is of the kind's vendor, and has all that is needed to ask it. Asks nobody.
    fn can_ask(&self, connection: &Connection, place: Option<&str>) -> Result<(), Trouble>;

    /// Everything that the account has, page by page. `place`: where, if not where the account is.
    fn existing<'a>(
        &self,
        connection: &'a Connection,
        place: Option<&'a str>,
    ) -> BoxStream<'a, Result<Listed, Trouble>>;

    /// The realm of what is listed.
    fn realm(&self, account: &AccountVendor, place: Option<&str>) -> Result<String, Trouble>;

    /// What an object lays claim to.
    fn claims(&self, object: &Value, account: Option<&AccountVendor>) -> Result<Claims, Trouble>;

    /// The parameter that says where things are, where the account alone does not.
    fn place(&self) -> Option<&'static str>;

    /// The parameters that cannot be read back from the vendor.
    fn untold(&self) -> &'static [&'static str];

    /// Whether the operator's marks are on what it makes.
    fn is_marked(&self) -> bool;

    /// The call that changes a parameter in place.
    fn amends(&self, parameter: &str) -> Option<&'static str>;

    /// Looks at what an object names or has; looks of many objects share calls.
    fn look<'a>(&self, connection: &'a Connection, object: &'a Value)
    -> BoxFuture<'a, Result<Look, Trouble>>;
}

impl<K: External> Survey for Of<K> {
    fn can_ask(&self, connection: &Connection, place: Option<&str>) -> Result<(), Trouble> {
        let client: K::Client = connection.client()?;
        Ok(blank::<K>(place)?.check(&client)?)
    }

    fn existing<'a>(
        &self,
        connection: &'a Connection,
        place: Option<&'a str>,
    ) -> BoxStream<'a, Result<Listed, Trouble>> {
        let begin = async move {
            let client: K::Client = connection.client()?;
            let blank = blank::<K>(place)?;
            blank.check(&client)?;
            let region = blank.region(&client);
            Ok((client, region, Walk::default()))
        };
        let pages = |(client, region, walk)| {
            stream::try_unfold(
                (client, region, walk),
                |(client, region, mut walk): (K::Client, String, Walk)| async {
                    let mut read = |next| K::page(&client, &region, next);
                    let Some(rows) = walk.next(K::ROW_ID, &mut read).await? else { return Ok(None) };
                    let things = rows.iter().filter_map(K::existing).collect();
                    let listed = Listed { things, read: walk.rows(), total: walk.total() };
                    Ok::<_, Trouble>(Some((listed, (client, region, walk))))
                },
            )
        };
        begin
            .map(move |begun: Result<_, Trouble>| match begun {
                Ok(begun) => pages(begun).boxed(),
                Err(trouble) => stream::iter([Err(trouble)]).boxed(),
            })
            .flatten_stream()
            .boxed()
    }

    fn realm(&self, account: &AccountVendor, place: Option<&str>) -> Result<String, Trouble> {
        Ok(blank::<K>(place)?.realm(account))
    }

    fn claims(&self, object: &Value, account: Option<&AccountVendor>) -> Result<Claims, Trouble> {
        let object = super::read::<K>(object).map_err(Trouble::Unreadable)?;
        Ok(Claims { ids: object.claims(), realm: account.map(|account| object.realm(account)) })
    }

    fn place(&self) -> Option<&'static str> {
        K::PLACE
    }

    fn untold(&self) -> &'static [&'static str] {
        K::UNTOLD
    }

    fn is_marked(&self) -> bool {
        K::MARKED
    }

    fn amends(&self, parameter: &str) -> Option<&'static str> {
        K::AMENDS.iter().find(|(amended, _)| *amended == parameter).map(|(_, action)| *action)
    }

    fn look<'a>(
        &self,
        connection: &'a Connection,
        object: &'a Value,
    ) -> BoxFuture<'a, Result<Look, Trouble>> {
        async move {
            let object = super::read::<K>(object).map_err(Trouble::Unreadable)?;
            look(connection, Object::new(object)).await
        }
        .boxed()
    }
}

async fn look(connection: &Connection, object: Object) -> Result<Look, Trouble> {
    let kind = object.its_kind();
    let client = kind.connect(connection)?;
    object.check(&client)?;
    let status = object.status();
    let known = Handle {
        image: status.and_then(|status| status.image_id.clone()),
        task: status.and_then(|status| status.task_id.clone()),
    };
    let import = object.spec().import.clone();
    let named = import.as_ref().and_then(|import| import.id.as_deref()).map(|id| kind.handle(id));
    let is_known = known != Handle::default();
    // What the vendor may have forgotten is not asked for again.
    if kind.traits().forgets && is_known && status.is_some_and(|status| status.phase == Some(Phase::Ready)) {
        let at_provider = status.and_then(|status| status.at_provider.clone()).unwrap_or_default();
        let product = Product { image_id: known.image.clone(), at_provider, ..Product::default() };
        let comparison = object.compare(&client, &product);
        return Ok(Look::There(known.id().to_owned(), Observation::Ready(product), Some(comparison)));
    }
    let handle = match (is_known.then_some(known).or(named), import.and_then(|import| import.matching)) {
        (Some(handle), _) => handle,
        (None, Some(())) => match &*object.find(&client).await? {
            [one] => one.clone(),
            others => return Ok(Look::Matches(others.iter().map(|it| it.id().to_owned()).collect())),
        },
        (None, None) => {
            let references = object.references();
            if !references.is_empty() {
                return Ok(Look::Waits(references));
            }
            let in_the_way = match object.spec().management_policy {
                ManagementPolicy::Managed => object.lookalikes(&client).await?,
                ManagementPolicy::Observe => vec![],
            };
            return Ok(match lacks(connection, &client, &object).await {
                Some(obstacle) if in_the_way.is_empty() => Look::Lacks(obstacle),
                _ => Look::Free(in_the_way),
            });
        }
    };
    let region = object.region(&client);
    let seen = connection.observers(kind, &client, &region).ask(handle.clone()).await?;
    let id = handle.id().to_owned();
    Ok(match seen {
        None | Some(Observation::Missing) => Look::Missing(id),
        Some(observation) => {
            if let Some(other) = made_for_other(&client, &object, &handle, &observation).await? {
                return Ok(Look::MadeForOther(id, other));
            }
            if let Some(differences) = outdated(&client, &object, &id, &observation) {
                return Ok(Look::Outdated(id, differences));
            }
            let comparison = match observation.product() {
                Some(product) => {
                    let product = object.completed(&client, object.finished(product.clone())).await?;
                    Some(object.compare(&client, &product))
                }
                None => None,
            };
            Look::There(id, observation, comparison)
        }
    })
}

/// Whose mark keeps what is there from being taken over by the object.
async fn made_for_other(
    client: &Link,
    object: &Object,
    handle: &Handle,
    seen: &Observation,
) -> Result<Option<String>, CallError> {
    let (spec, operation) = (object.spec(), object.status().and_then(|status| status.operation.as_ref()));
    let has_it = operation.is_some_and(|operation| operation.action != OBSERVE);
    if has_it || spec.import.is_none() || spec.management_policy == ManagementPolicy::Observe {
        return Ok(None);
    }
    let said = spec.import.as_ref().and_then(|import| import.made_for.as_deref());
    let other = object.made_for(client, handle, seen).await?;
    Ok(other.filter(|uid| Some(&**uid) != said && object.meta().uid.as_ref() != Some(uid)))
}

/// What keeps the creating call from being made, as far as that can be read.
async fn lacks(connection: &Connection, client: &Link, object: &Object) -> Option<Obstacle> {
    let spec = object.spec();
    let looks = spec.preflight_policy == PreflightPolicy::Check
        && spec.management_policy == ManagementPolicy::Managed;
    if !looks {
        return None;
    }
    for need in object.preflight(connection, client) {
        if let Ok(Some(obstacle)) = need.look().await {
            return Some(obstacle);
        }
    }
    None
}

/// In what the thing of an object is to be succeeded by a new version, if it is.
fn outdated(client: &Link, object: &Object, id: &str, observation: &Observation) -> Option<Vec<Difference>> {
    let is_managed = object.spec().management_policy == ManagementPolicy::Managed;
    let (succession, product) = (object.succession().filter(|_| is_managed)?, observation.product()?);
    let versions = object.status().map(|status| &*status.versions).unwrap_or_default();
    if !versions::is_outdated(versions, id, &succession, object.is_outdated(product)) {
        return None;
    }
    match object.compare(client, product) {
        Comparison::Fixed(differences) | Comparison::Amendable(differences) => Some(differences),
        Comparison::Same => Some(vec![]),
    }
}

/// An object that says nothing but where it is.
fn blank<K: External>(place: Option<&str>) -> Result<K, Trouble> {
    let mut parameters = json!({});
    if let Some(place) = place {
        let Some(parameter) = K::PLACE else {
            return Err(Trouble::NoPlace(K::kind(&()).into_owned()));
        };
        parameters[parameter] = place.into();
    }
    let object = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": { "name": "blank" },
        "spec": { "forProvider": parameters },
    });
    super::read(&object).map_err(Trouble::Unreadable)
}
