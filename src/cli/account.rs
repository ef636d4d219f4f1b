//! An account, as a person uses it: read with that person's own rights, or from a file, and called by the same code, and within
//! the same limits, as the operator calls it.

use super::{Error, manifests, objects::Cluster};
use crate::{
    account::{AccountVendor, AllowedNamespaces, CloudAccount, ClusterCloudAccount},
    api_server,
    engine::{
        self,
        accounts::{AccountKey, secret_key},
        connection::Connection,
        credentials::Credentials,
        external::{Material, Unusable},
        limits::Limits,
        pace,
        telemetry::{Events, Telemetry},
    },
    image::AccountKind,
    vendors::VENDORS,
    wire::{clients::Clients, endpoint::Endpoints},
};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api, Client, Config, ResourceExt,
    api::ListParams,
    core::{Selector, SelectorExt},
};
use serde_json::Value;
use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

/// How accounts are called.
#[derive(Clone, Debug, clap::Args)]
pub struct Calling {
    /// Let accounts name endpoints that begin with this, besides the vendors' own https addresses, as the operator was told to;
    /// may be given several times. Example: http://10.0.0.2:8080
    #[arg(long = "allow-endpoint", value_name = "URL-PREFIX")]
    allow_endpoints: Vec<String>,
    /// Read accounts and their Secrets from this file or folder, and ask no cluster; `-` reads standard input.
    #[arg(long = "account-file", value_name = "PATH")]
    pub account_file: Option<PathBuf>,
}

/// Opens accounts.
pub struct Accounts {
    endpoints: Arc<Endpoints>,
    clients: Clients,
    telemetry: Telemetry,
    /// The objects of --account-file.
    files: Option<Vec<Value>>,
}

/// An account that can be called.
pub struct Account {
    /// Its name.
    pub key: AccountKey,
    /// The vendor's part of its spec.
    pub vendor: AccountVendor,
    /// Which namespaces may use it; `None`: its own.
    pub allowed: Option<AllowedNamespaces>,
    /// The way to the vendor.
    pub connection: Connection,
}

impl Accounts {
    /// None is opened yet.
    pub fn new(calling: &Calling, cluster: Option<&Cluster>) -> Result<Self, Error> {
        let endpoints = Endpoints::new(&calling.allow_endpoints)
            .map_err(|denied| Error::Usage(format!("--allow-endpoint: {denied}")))?;
        let client = match cluster {
            Some(cluster) => cluster.client().clone(),
            None => nobody().map_err(Error::Client)?,
        };
        Ok(Self {
            endpoints: Arc::new(endpoints),
            clients: Clients::new(pace::REQUEST_TIMEOUT, pace::CONNECT_TIMEOUT),
            // Nothing that a person asks for is an Event.
            telemetry: Telemetry::new(client, Events::None, Arc::default()),
            files: calling.account_file.as_deref().map(manifests::read).transpose()?,
        })
    }

    /// Opens the account of this name.
    pub async fn open(&self, cluster: Option<&Cluster>, key: AccountKey) -> Result<Account, Error> {
        let (vendor, allowed, secret, material) = match key.kind {
            AccountKind::CloudAccount => {
                let namespace = key.namespace.as_deref().unwrap_or_default();
                let api = cluster.map(|it| Api::<CloudAccount>::namespaced(it.client().clone(), namespace));
                self.read(cluster.zip(api), &key).await?
            }
            AccountKind::ClusterCloudAccount => {
                let api = cluster.map(|it| Api::<ClusterCloudAccount>::all(it.client().clone()));
                self.read(cluster.zip(api), &key).await?
            }
        };
        let limits = Limits::new((VENDORS.published_limits)(&vendor));
        limits.set_own(&key, &vendor.limits);
        let unusable = |unusable: Unusable| {
            let here = if unusable.reason == "EndpointNotAllowed" { ", and give the same here" } else { "" };
            Error::Account(key.to_string(), unusable.message + here)
        };
        let http = self.clients.get(vendor.ca_bundle());
        let material = Material {
            vendor: vendor.name(),
            secret: Arc::new(material),
            http: http.map_err(|error| Error::Account(key.to_string(), error))?,
            limits: Arc::new(limits),
            credit: Arc::default(),
            telemetry: self.telemetry.clone(),
            endpoints: self.endpoints.clone(),
        };
        (VENDORS.check)(&vendor, material.clone()).map_err(unusable)?;
        let connection = Connection::alone(vendor.clone(), secret, material);
        Ok(Account { key, vendor, allowed, connection })
    }

    async fn read<A: engine::accounts::Account>(
        &self,
        cluster: Option<(&Cluster, Api<A>)>,
        key: &AccountKey,
    ) -> Result<(AccountVendor, Option<AllowedNamespaces>, (String, String), Credentials), Error> {
        let account: A = match (&self.files, &cluster) {
            (Some(objects), _) => found(objects, &A::kind(&()), key.namespace.as_deref(), &key.name)
                .map(|object| A::deserialize(object))
                .ok_or_else(|| Error::NotFound(key.to_string(), "--account-file".into()))?
                .map_err(|error| Error::Account(key.to_string(), error.to_string()))?,
            (None, Some((cluster, api))) => match cluster.get(api, &key.name, &key.to_string()).await {
                Err(Error::NotFound(what, place)) => {
                    // Whoever may not list them is told less.
                    let others = api.list_metadata(&ListParams::default().limit(20)).await;
                    let others =
                        others.map(|list| list.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>());
                    let others = match others.as_deref().unwrap_or_default() {
                        [] => String::new(),
                        some => format!("; there are {}", some.join(", ")),
                    };
                    return Err(Error::NotFound(what, place + &others));
                }
                read => read?,
            },
            (None, None) => return Err(Error::NotFound(key.to_string(), "any cluster".into())),
        };
        let Some((namespace, name)) = secret_key(&account).or_else(|| {
            // A file may leave out namespaces.
            Some((String::new(), account.vendor().secret_ref()?.name.clone()))
        }) else {
            return Err(Error::Account(
                key.to_string(),
                "it names no vendor or no Secret; correct its spec".into(),
            ));
        };
        let what = format!("Secret {namespace}/{name} of {key}");
        let secret: Secret = match (&self.files, cluster) {
            (Some(objects), _) => {
                let namespace = Some(&*namespace).filter(|namespace| !namespace.is_empty());
                let object = found(objects, "Secret", namespace, &name)
                    .ok_or_else(|| Error::NotFound(what.clone(), "--account-file".into()))?;
                serde_json::from_value(object.clone())
                    .map_err(|error| Error::Account(key.to_string(), format!("{what}: {error}")))?
            }
            (None, Some((cluster, _))) => {
                let api = Api::namespaced(cluster.client().clone(), &namespace);
                cluster.get(&api, &name, &what).await?
            }
            (None, None) => return Err(Error::NotFound(what, "any cluster".into())),
        };
        let mut keys: BTreeMap<_, _> =
            secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect();
        keys.extend(
            secret.string_data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.into_bytes())),
        );
        keys.retain(|key, _| VENDORS.secret_keys.contains(&&**key));
        let credentials = Credentials::new(format!("{namespace}/{name}"), keys);
        Ok((account.vendor().clone(), account.allowed(), (namespace, name), credentials))
    }
}

impl Account {
    /// Whether a namespace may use it; or why that cannot be told.
    pub async fn admits(&self, cluster: Option<&Cluster>, namespace: &str) -> Result<bool, String> {
        let Some(allowed) = &self.allowed else { return Ok(true) };
        if allowed.names.iter().any(|name| name == namespace) {
            return Ok(true);
        }
        let Some(selector) = allowed.selector.clone() else { return Ok(false) };
        let selector = Selector::try_from(selector).map_err(|error| error.to_string())?;
        if selector.selects_all() {
            return Ok(true);
        }
        let unread = |why: String| format!("the labels of namespace {namespace} cannot be read: {why}");
        let cluster = cluster.ok_or_else(|| unread("no cluster is asked".into()))?;
        let namespaces: Api<Namespace> = Api::all(cluster.client().clone());
        let read = namespaces.get_metadata(namespace).await.map_err(|error| unread(error.to_string()))?;
        Ok(selector.matches(read.labels()))
    }
}

/// The object of a file with this name; a file may leave out namespaces.
fn found<'a>(objects: &'a [Value], kind: &str, namespace: Option<&str>, name: &str) -> Option<&'a Value> {
    objects.iter().find(|object| {
        let own = object["metadata"]["namespace"].as_str();
        object["kind"] == kind
            && object["metadata"]["name"] == name
            && own.zip(namespace).is_none_or(|(own, wanted)| own == wanted)
    })
}

/// A client for nobody's API server.
fn nobody() -> Result<Client, kube::Error> {
    api_server::client(Config::new(http::Uri::from_static("http://127.0.0.1:1")))
}
