//! Opening: may this namespace use the account, which credentials has it, and the connection that is made of both once for each
//! version of account and Secret.

use super::{Account, AccountKey, Accounts, Seen, secret_key};
use crate::{
    account::AccountVendor,
    engine::{
        connection::Connection,
        credentials::Credentials,
        external::{Material, Unusable},
        guarded::{Guarded, Unreadable},
        limits::Limits,
        lock, pace,
        standing::Credit,
    },
    image::{AccountKind, AccountRef},
    panics,
};
use futures::future::join_all;
use kube::{
    ResourceExt,
    core::{Selector, SelectorExt},
    runtime::reflector::ObjectRef,
};
use std::sync::{Arc, atomic::Ordering};

impl Accounts {
    /// The connection for an image in `namespace`, if that may use the account. With `ending`, for an image that is being
    /// deleted: then an account that is going, or a Secret that is gone already, does not matter as long as the operator knows
    /// the credentials.
    pub async fn connect(
        &self,
        reference: &AccountRef,
        namespace: &str,
        ending: bool,
    ) -> Result<Arc<Connection>, Unusable> {
        let key = AccountKey::of(reference, namespace);
        match reference.kind {
            AccountKind::CloudAccount => {
                let Some(seen) = self.seen_in(namespace) else {
                    return Err(Unusable::new(
                        "AccountNotFound",
                        format!("the operator does not watch namespace {namespace}"),
                    ));
                };
                self.connect_to(seen, &key, namespace, ending).await
            }
            AccountKind::ClusterCloudAccount => self.connect_to(&self.cluster, &key, namespace, ending).await,
        }
    }

    async fn connect_to<A: Account>(
        &self,
        seen: &Seen<A>,
        key: &AccountKey,
        namespace: &str,
        ending: bool,
    ) -> Result<Arc<Connection>, Unusable> {
        let mut object = ObjectRef::<Guarded<A>>::new(&key.name);
        object.namespace.clone_from(&key.namespace);
        // Whoever may not use an account may not use what is known of it either.
        let known = || {
            let admitted = lock(&self.admitted).get(key).is_some_and(|admitted| admitted.contains(namespace));
            lock(&self.connections).get(key).filter(|_| admitted).cloned()
        };
        let Some(account) = seen.get(&object).await? else {
            if let Some(connection) = known().filter(|_| ending) {
                return Ok(connection);
            }
            return Err(self.not_found(key, namespace).await);
        };
        let account = match &account.0 {
            Ok(account) => account,
            Err(invalid) => return known().filter(|_| ending).ok_or_else(|| unreadable(key, invalid)),
        };
        if let Err(unusable) = self.serve(account) {
            return known().filter(|_| ending).ok_or(unusable);
        }
        if let Err(unusable) = self.admit(account, namespace).await {
            // That it cannot be told now takes no right away.
            if unusable.reason == "NamespaceNotAllowed"
                && let Some(admitted) = lock(&self.admitted).get_mut(key)
            {
                admitted.remove(namespace);
            }
            return Err(unusable);
        }
        lock(&self.admitted).entry(key.clone()).or_default().insert(namespace.to_owned());
        if !ending {
            if account.meta().deletion_timestamp.is_some() {
                return Err(Unusable::new(
                    "AccountDeleting",
                    format!(
                        "{key} is being deleted, and goes when what was made with it is gone; this object goes on when it is made anew"
                    ),
                ));
            }
            self.hold(account).await?;
        }
        let opened = async {
            self.confirm(account).await?;
            self.open(account).await
        };
        match opened.await {
            Err(unusable) if ending => known().ok_or(unusable),
            done => done,
        }
    }

    /// What to do about an account that does not exist. An account of the cluster is named only to those who may use it.
    async fn not_found(&self, key: &AccountKey, namespace: &str) -> Unusable {
        let mut english = format!("{key} does not exist; create it, or correct spec.accountRef");
        let mut chinese = format!("{key} 不存在，请创建，或修改 spec.accountRef");
        let shared = self.cluster.get(&ObjectRef::new(&key.name)).await.ok().flatten();
        if let (AccountKind::CloudAccount, Some(shared)) = (key.kind, shared)
            && let Ok(shared) = &shared.0
            && self.serve(shared).is_ok()
            && self.admit(shared, namespace).await.is_ok()
        {
            let kind = "spec.accountRef.kind: ClusterCloudAccount";
            english += &format!(
                " (there is a ClusterCloudAccount {0} that this namespace may use: set {kind})",
                key.name
            );
            chinese += &format!("（本命名空间可以使用 ClusterCloudAccount {0}，请设置 {kind}）", key.name);
        }
        Unusable::new("AccountNotFound", format!("{english} / {chinese}"))
    }

    /// Whether images of `namespace` may use the account.
    async fn admit<A: Account>(&self, account: &A, namespace: &str) -> Result<(), Unusable> {
        let refused = |why: String| Unusable::new("NamespaceNotAllowed", why);
        if self.admits(account, namespace).await? {
            return Ok(());
        }
        Err(refused(format!(
            "{} does not allow namespace {namespace}; add it to its allowedNamespaces, or use another account",
            account.key()
        )))
    }

    /// Whether images of `namespace` may use the account, or why that cannot be told.
    pub(super) async fn admits<A: Account>(&self, account: &A, namespace: &str) -> Result<bool, Unusable> {
        let Some(allowed) = account.allowed() else { return Ok(true) };
        if allowed.names.iter().any(|name| name == namespace) {
            return Ok(true);
        }
        let Some(selector) = allowed.selector else { return Ok(false) };
        let selector = Selector::try_from(selector).map_err(|error| {
            let why = format!("{}: allowedNamespaces.selector cannot be used: {error}", account.key());
            Unusable::new("NamespaceNotAllowed", why)
        })?;
        if selector.selects_all() {
            return Ok(true);
        }
        let labels = self.labels.get(&self.client, namespace).await?;
        Ok(selector.matches(&labels))
    }

    /// The connection to an account with the credentials that it has now.
    pub async fn open<A: Account>(&self, account: &A) -> Result<Arc<Connection>, Unusable> {
        let key = account.key();
        let vendor = account.vendor();
        let Some(secret_key) = secret_key(account) else {
            return Err(Unusable::new(
                "InvalidAccount",
                format!("{key} names no vendor or no Secret; correct its spec"),
            ));
        };
        let secret = self
            .secrets
            .get(&secret_key)
            .await
            .map_err(|unusable| Unusable::new(unusable.reason, format!("{key}: {}", unusable.message)))?;
        let fingerprint = (account.uid(), account.meta().generation, secret_key, secret.credentials.clone());
        if let Some(connection) =
            lock(&self.connections).get(&key).filter(|connection| connection.fingerprint == fingerprint)
        {
            return Ok(connection.clone());
        }
        let http = self
            .clients
            .get(vendor.ca_bundle())
            .map_err(|error| Unusable::new("InvalidAccount", format!("{key}: {error}")))?;
        let material = Material {
            vendor: vendor.name(),
            secret: secret.credentials.clone(),
            http,
            limits: self.limits(&key, vendor, &secret.credentials),
            credit: self.credit(&key),
            telemetry: self.telemetry.clone(),
            endpoints: self.endpoints.clone(),
        };
        (self.vendors.check)(vendor, material.clone())
            .map_err(|unusable| Unusable::new(unusable.reason, format!("{key}: {}", unusable.message)))?;
        let connection = Arc::new(Connection::new(
            self.epochs.fetch_add(1, Ordering::Relaxed),
            pace::seed(&key.to_string()),
            secret,
            fingerprint,
            vendor.clone(),
            material,
        ));
        let mut connections = lock(&self.connections);
        // Many objects may have come here at once: they share the connection of the first.
        let current = connections.entry(key).and_modify(|current| {
            if current.fingerprint != connection.fingerprint {
                let former = std::mem::replace(current, connection.clone());
                tokio::spawn(panics::alone(async move { former.close().await }));
            }
        });
        Ok(current.or_insert(connection).clone())
    }

    /// New credentials have not been tried yet. What the vendor thinks of them is the account's news.
    fn credit(&self, key: &AccountKey) -> Arc<Credit> {
        let (usage, key) = (self.usage.clone(), key.clone());
        Arc::new(Credit::new(move || {
            usage.tell(&key);
        }))
    }

    fn limits(&self, key: &AccountKey, vendor: &AccountVendor, credentials: &Credentials) -> Arc<Limits> {
        let (place, caller) =
            ((self.vendors.place)(vendor), (credentials.identity(), &*credentials.caller()));
        let limits = lock(&self.limits).of(key, place, caller, (self.vendors.published_limits)(vendor));
        limits.set_own(key, &vendor.limits);
        limits
    }

    /// Nobody needs the account's credentials any more.
    pub fn forget(&self, account: &AccountKey) {
        if let Some(connection) = self.disconnect(account) {
            tokio::spawn(panics::alone(async move { connection.close().await }));
        }
    }

    pub(super) fn disconnect(&self, account: &AccountKey) -> Option<Arc<Connection>> {
        lock(&self.admitted).remove(account);
        lock(&self.held).remove(account);
        lock(&self.limits).remove(account);
        lock(&self.connections).remove(account)
    }

    /// Ends all connections, when nobody is going to use them any more.
    pub async fn close(&self) {
        let all: Vec<_> = lock(&self.connections).drain().map(|(_, connection)| connection).collect();
        join_all(all.iter().map(|connection| connection.close())).await;
    }
}

/// An account that cannot be read is nobody else's trouble.
fn unreadable(key: &AccountKey, invalid: &Unreadable) -> Unusable {
    Unusable::new("InvalidAccount", format!("{key} cannot be read: {}; correct it", invalid.error))
}
