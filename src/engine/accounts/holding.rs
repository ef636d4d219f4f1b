//! Holding: who uses an account, and the finalizer that keeps it from vanishing before them.

use super::{Account, AccountKey, Accounts, HOLDING};
use crate::{
    engine::{external::Unusable, lock, may_pass, pace},
    image::{FIELD_MANAGER, FINALIZER},
};
use futures::{StreamExt, stream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Resource, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;
use std::{collections::HashSet, fmt};
use tokio::time::Instant;

/// Who uses an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// How many objects.
    pub objects: usize,
    /// In how many namespaces.
    pub namespaces: usize,
    /// One of them, where it may be named.
    pub example: Option<String>,
}

impl fmt::Display for Usage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { objects, namespaces, example } = self;
        match example {
            Some(example) => write!(out, "{objects} objects still use this account, {example} among them"),
            None => write!(out, "{objects} objects in {namespaces} namespaces still use this account"),
        }
    }
}

/// How many namespaces' labels are looked at at once.
const LOOKS: usize = 16;

impl Accounts {
    /// Who uses the account. Objects of namespaces that it does not allow count for nothing; those of which that cannot be told
    /// count.
    pub async fn users<A: Account>(&self, account: &A) -> Usage {
        let key = account.key();
        let namespaces = stream::iter(self.index.namespaces(&key)).map(|namespace| async move {
            let counts = self.admits(account, &namespace).await.unwrap_or(true);
            (counts, namespace)
        });
        let counted: HashSet<_> = namespaces
            .buffer_unordered(LOOKS)
            .filter_map(|(counts, namespace)| std::future::ready(counts.then_some(namespace)))
            .collect()
            .await;
        let (objects, example) = self.index.users(&key, &|namespace| counted.contains(namespace));
        // Who may read an account of the cluster need not see what others have in their namespaces.
        let example = example.filter(|_| key.namespace.is_some());
        Usage { objects, namespaces: counted.len(), example }
    }

    /// An account that an image uses must not vanish before it; and what it says must be what it says now.
    pub async fn hold<A: Account>(&self, account: &A) -> Result<(), Unusable> {
        let is_held = || {
            let key = account.key();
            account.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
                || lock(&self.held).get(&key).is_some_and(|held| held.is_newer_than(account))
        };
        if self.is_newest(account) && is_held() {
            return Ok(());
        }
        // One at a time: the first puts the finalizer on, and the others are told.
        let key = account.key();
        let _one = self.holding[place(&key)].lock().await;
        if self.is_newest(account) && is_held() {
            return Ok(());
        }
        self.unless_failing(&key)?;
        self.hold_anew(account).await.inspect(|()| self.answered(&key))
    }

    /// Puts the finalizer on, unless it is there.
    async fn hold_anew<A: Account>(&self, account: &A) -> Result<(), Unusable> {
        let key = account.key();
        let failed = |error: kube::Error| {
            let advice = if may_pass(&error) {
                ""
            } else {
                "; give the operator the right to patch accounts (the chart's ClusterRole has it), or change the policy that is in \
                 the way"
            };
            let message = format!(
                "{key} cannot be kept from vanishing while it is used: {error}{advice}; it is tried again"
            );
            self.failed(&key, &error, Unusable::new("AccountNotHeld", message))
        };
        let told = |newest: &ObjectMeta| {
            if let Some(held) = HeldAccount::of(newest) {
                lock(&self.held).insert(key.clone(), held);
            }
        };
        let api = account.api(&self.client);
        let mut tries = 3;
        loop {
            let newest = api.get_metadata(&account.name_any()).await.map_err(failed)?;
            self.met(account, newest.meta())?;
            if newest.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
                told(newest.meta());
                return Ok(());
            }
            let finalizers = [newest.finalizers(), &[FINALIZER.into()]].concat();
            match self.set_finalizers(account, newest.resource_version(), finalizers).await {
                // Its own status was written in between, most likely: that is no news for an image's user.
                Err(kube::Error::Api(status)) if status.code == 409 && tries > 1 => tries -= 1,
                done => return done.map(|newest| told(newest.meta())).map_err(failed),
            }
        }
    }

    /// Whether an account says now what this version of it says. An API server that lags behind shows what was so: a right that was
    /// taken away since, or another vendor. A watch tells of later changes.
    pub(super) async fn confirm<A: Account>(&self, account: &A) -> Result<(), Unusable> {
        if self.is_newest(account) {
            return Ok(());
        }
        let key = account.key();
        let _one = self.holding[place(&key)].lock().await;
        if self.is_newest(account) {
            return Ok(());
        }
        self.unless_failing(&key)?;
        self.read_anew(account).await.inspect(|()| self.answered(&key))
    }

    /// Reads what the API server has of an account.
    async fn read_anew<A: Account>(&self, account: &A) -> Result<(), Unusable> {
        let newest = account.api(&self.client).get_metadata(&account.name_any()).await;
        let newest = newest.map_err(|error| {
            let key = account.key();
            self.failed(
                &key,
                &error,
                Unusable::new("AccountsNotRead", format!("{key} cannot be read: {error}")),
            )
        })?;
        self.met(account, newest.meta())
    }

    fn is_newest<A: Account>(&self, account: &A) -> bool {
        lock(&self.newest).get(&account.key()) == Some(&edition(account.meta()))
    }

    /// What the API server has, of what a watch has told of.
    fn met<A: Account>(&self, told: &A, newest: &ObjectMeta) -> Result<(), Unusable> {
        let (now, key) = (edition(newest), told.key());
        let is_current = now == edition(told.meta());
        lock(&self.newest).insert(key.clone(), now);
        if is_current {
            return Ok(());
        }
        let message = format!("{key} has been changed, and the news of it is on its way");
        Err(Unusable::new("AccountsNotRead", message))
    }

    async fn set_finalizers<A: Account>(
        &self,
        account: &A,
        version: Option<String>,
        finalizers: Vec<String>,
    ) -> Result<A, kube::Error> {
        let patch = json!({ "metadata": { "uid": account.uid(), "resourceVersion": version, "finalizers": finalizers } });
        account.api(&self.client).patch(&account.name_any(), &params(), &Patch::Merge(patch)).await
    }

    /// Lets an account go that nobody uses any more.
    pub async fn release<A: Account>(&self, account: &A) -> Result<(), kube::Error> {
        if account.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
            let others =
                account.finalizers().iter().filter(|finalizer| *finalizer != FINALIZER).cloned().collect();
            lock(&self.held).remove(&account.key());
            self.set_finalizers(account, account.resource_version(), others).await?;
        }
        if let Some(connection) = self.disconnect(&account.key()) {
            connection.close().await;
        }
        Ok(())
    }
}

fn place(key: &AccountKey) -> usize {
    usize::try_from(pace::seed(&key.to_string()) % HOLDING as u64).unwrap_or_default()
}

/// Which account it is, and which of its specs.
pub(super) type Edition = (Option<String>, Option<i64>);

fn edition(account: &ObjectMeta) -> Edition {
    (account.uid.clone(), account.generation)
}

/// A version of an account that has our finalizer, as the API server answered.
#[derive(Debug)]
pub(super) struct HeldAccount {
    uid: Option<String>,
    version: u64,
    told: Instant,
}

impl HeldAccount {
    fn of(account: &ObjectMeta) -> Option<Self> {
        let version = account.resource_version.as_deref()?.parse().ok()?;
        Some(Self { uid: account.uid.clone(), version, told: Instant::now() })
    }

    /// Whether the news of it is still on its way to who has this version. Not for ever, as with an object's own news.
    fn is_newer_than(&self, account: &impl ResourceExt) -> bool {
        let seen = account.resource_version().and_then(|version| version.parse::<u64>().ok());
        self.uid == account.uid()
            && seen.is_some_and(|seen| seen < self.version)
            && self.told.elapsed() < pace::NEWS
    }
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Namespace;

    #[tokio::test(start_paused = true)]
    async fn who_has_an_earlier_version_of_an_account_knows_that_it_is_held() {
        // Of whatever kind: only the metadata count.
        let version = |uid: &str, version: &str| {
            let metadata = json!({ "name": "a", "namespace": "ns", "uid": uid, "resourceVersion": version });
            serde_json::from_value::<Namespace>(json!({ "metadata": metadata })).unwrap()
        };
        let held = HeldAccount::of(version("u", "10").meta()).unwrap();
        assert!(held.is_newer_than(&version("u", "9")));
        assert!(!held.is_newer_than(&version("u", "10")), "somebody has taken it off since");
        assert!(!held.is_newer_than(&version("other", "9")), "it was made anew");
        tokio::time::advance(pace::NEWS).await;
        assert!(!held.is_newer_than(&version("u", "9")), "a restored etcd counts from an earlier version");
    }
}
