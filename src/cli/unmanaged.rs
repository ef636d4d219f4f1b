//! What an account has, and which of it objects of the cluster stand for.

use super::{
    Error,
    account::{Account, Accounts, Calling},
    objects::{Cluster, Place},
};
use crate::{
    account::{AccountVendor, CloudAccount, ClusterCloudAccount},
    engine::{
        accounts::{Account as _, AccountKey},
        existing::{Existing, Mark},
    },
    image::{AccountKind, AccountRef},
    kinds::{KINDS, Kind, definitions, survey::Claims},
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{ResourceExt, core::DynamicObject};
use serde_json::Value;
use std::{
    collections::{HashMap, HashSet},
    sync::LazyLock,
};

/// Which account.
#[derive(Clone, Debug, clap::Args)]
#[group(id = "which-account", required = true, multiple = false)]
pub struct Named {
    /// The CloudAccount.
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// The ClusterCloudAccount.
    #[arg(long, value_name = "NAME")]
    cluster_account: Option<String>,
}

impl Named {
    /// As an object refers to it.
    pub fn reference(&self) -> AccountRef {
        match (&self.cluster_account, &self.account) {
            (Some(name), _) => AccountRef { kind: AccountKind::ClusterCloudAccount, name: name.clone() },
            (None, name) => {
                AccountRef { kind: AccountKind::CloudAccount, name: name.clone().unwrap_or_default() }
            }
        }
    }
}

/// The account that is asked, and the cluster whose objects stand for what it has.
pub struct Asked {
    /// The account.
    pub account: Account,
    /// The cluster; `None`: there is none.
    pub cluster: Option<Cluster>,
    /// Where objects are to be; `None`: that is left to whoever applies them.
    pub namespace: Option<String>,
}

impl Asked {
    /// Opens the account.
    pub async fn new(named: &Named, place: &Place, calling: &Calling) -> Result<Self, Error> {
        let cluster = match calling.account_file {
            Some(_) => None,
            None => Some(Cluster::connect(&place.into()).await?),
        };
        let namespace = match &cluster {
            Some(cluster) => cluster.namespace().map(Into::into),
            None => place.namespace.clone(),
        };
        let accounts = Accounts::new(calling, cluster.as_ref())?;
        let key = AccountKey::of(&named.reference(), namespace.as_deref().unwrap_or_default());
        let account = accounts.open(cluster.as_ref(), key).await?;
        Ok(Self { account, cluster, namespace })
    }

    /// The kinds to ask for: those that are named, or all of the account's vendor. What cannot be asked for, and was not
    /// named, is told of.
    pub fn kinds(&self, named: &[String], place: Option<&str>) -> Result<Vec<&'static dyn Kind>, Error> {
        let selected = super::objects::Selected::parse_images(named)?;
        let mut kinds = vec![];
        for kind in selected.kinds() {
            let name = kind.crd().spec.names.kind;
            match kind.can_ask(&self.account.connection, place) {
                Ok(()) => kinds.push(kind),
                Err(trouble) if named.is_empty() && trouble.is_other_vendor() => {}
                Err(trouble) if named.is_empty() => {
                    super::output::note(&format!("{name} is left out: {trouble}"));
                }
                Err(trouble) => {
                    return Err(Error::Account(self.account.key.to_string(), trouble.to_string()));
                }
            }
        }
        Ok(kinds)
    }

    /// Ends what the vendor keeps for the connection.
    pub async fn close(&self) {
        self.account.connection.close().await;
    }
}

/// Which ids of one kind objects stand for, and which objects there are: those of the kind, and of kinds that may stand for the
/// like.
#[derive(Debug, Default)]
pub struct Managed {
    ids: HashMap<String, Vec<Option<String>>>,
    uids: HashSet<String>,
}

/// Whose a thing is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// An object stands for it.
    Managed,
    /// The operator made it, by its mark, for an object that is not there.
    Left(Mark),
    /// Nobody's, as far as can be told.
    Nobodys,
}

impl Managed {
    /// Reads the objects of a kind, in all namespaces if those may be read.
    pub async fn read(cluster: Option<&Cluster>, kind: &dyn Kind) -> Result<Self, Error> {
        let Some(cluster) = cluster else { return Ok(Self::default()) };
        let wide = cluster.wide();
        match Self::of(&wide, kind).await {
            Err(Error::Read { error, .. }) if matches!(&*error, kube::Error::Api(status) if status.code == 403) =>
            {
                super::output::note(&format!(
                    "you may not read the {} of all namespaces: what objects outside {} stand for is taken for nobody's",
                    kind.crd().spec.names.plural,
                    cluster.place()
                ));
                Self::of(cluster, kind).await
            }
            read => read,
        }
    }

    async fn of(cluster: &Cluster, kind: &dyn Kind) -> Result<Self, Error> {
        let accounts = accounts(cluster).await;
        let mut managed = Self::default();
        let of = kind.ties();
        for kind in KINDS.iter().filter(|kind| kind.ties().ids() == of.ids()) {
            let add = |object: DynamicObject| {
                let namespace = object.namespace().unwrap_or_default();
                let uid = object.uid();
                let Ok(object) = serde_json::to_value(object) else { return };
                let reference =
                    serde_json::from_value(object["spec"]["accountRef"].clone()).unwrap_or_default();
                let account = accounts.get(&AccountKey::of(&reference, &namespace));
                managed.add(uid, kind.claims(&object, account).ok());
            };
            cluster.each(&kind.crd(), add).await?;
        }
        Ok(managed)
    }

    fn add(&mut self, uid: Option<String>, claims: Option<Claims>) {
        self.uids.extend(uid);
        let Some(Claims { ids, realm }) = claims else { return };
        for id in ids {
            self.ids.entry(id).or_default().push(realm.clone());
        }
    }

    /// Whose a thing is that is listed in `realm`.
    pub fn whose(&self, existing: &Existing, realm: &str) -> Whose {
        let in_realm = |of: &Option<String>| of.as_ref().is_none_or(|of| of == realm);
        if self.ids.get(&existing.id).is_some_and(|realms| realms.iter().any(in_realm)) {
            return Whose::Managed;
        }
        match &existing.mark {
            Some(Mark::Of(uid)) if self.uids.contains(uid) => Whose::Managed,
            Some(mark) => Whose::Left(mark.clone()),
            None => Whose::Nobodys,
        }
    }
}

/// The accounts that may be read: ids mean something only where their object's account leads.
async fn accounts(cluster: &Cluster) -> HashMap<AccountKey, AccountVendor> {
    let mut accounts = HashMap::new();
    let mut add = |key: AccountKey, vendor: AccountVendor| drop(accounts.insert(key, vendor));
    for object in cluster.list(&definitions::of::<CloudAccount>()).await.unwrap_or_default() {
        if let Ok(account) = object.try_parse::<CloudAccount>() {
            add(account.key(), account.vendor().clone());
        }
    }
    for object in cluster.list(&definitions::of::<ClusterCloudAccount>()).await.unwrap_or_default() {
        if let Ok(account) = object.try_parse::<ClusterCloudAccount>() {
            add(account.key(), account.vendor().clone());
        }
    }
    accounts
}

/// The CRDs as they are installed, made once: a schema takes longer to make than an object to be looked at.
pub static CRDS: LazyLock<Vec<CustomResourceDefinition>> = LazyLock::new(|| crate::kinds::crds(KINDS));
/// The names of [`KINDS`].
static NAMES: LazyLock<Vec<String>> =
    LazyLock::new(|| KINDS.iter().map(|kind| kind.crd().spec.names.kind).collect());

/// Every kind, by the name that its objects have.
pub fn kind_of(object: &Value) -> Option<&'static dyn Kind> {
    let kind = object["kind"].as_str()?;
    KINDS.iter().zip(&*NAMES).find(|(_, name)| *name == kind).map(|(kind, _)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::progress::Observation;

    #[test]
    fn a_thing_is_managed_by_its_id_where_that_means_it_or_by_its_mark() {
        let mut managed = Managed::default();
        let claims = |id: &str, realm: Option<&str>| {
            Some(Claims { ids: vec![id.into()], realm: realm.map(Into::into) })
        };
        managed.add(Some("u-1".into()), claims("here", Some("r")));
        managed.add(Some("u-2".into()), claims("elsewhere", Some("s")));
        managed.add(None, claims("unknown", None));
        managed.add(Some("u-3".into()), None);
        let whose = |id: &str, mark: Option<Mark>| {
            let existing = Existing { mark, ..Existing::new(id, Observation::Missing) };
            managed.whose(&existing, "r")
        };
        let of = |uid: &str| Some(Mark::Of(uid.into()));
        assert_eq!(whose("here", None), Whose::Managed);
        assert_eq!(whose("elsewhere", None), Whose::Nobodys, "ids of another place mean nothing");
        assert_eq!(whose("unknown", None), Whose::Managed, "nobody knows where, so it may be here");
        assert_eq!(whose("marked", of("u-3")), Whose::Managed, "it is being made");
        assert_eq!(whose("left", of("u-9")), Whose::Left(Mark::Of("u-9".into())));
        assert_eq!(whose("here", of("u-9")), Whose::Managed, "it was taken over");
    }
}
