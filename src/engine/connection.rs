//! One account at one version of its spec and Secret, with what is made once on it: clients, and the batchers that observers
//! share.

use super::{
    batcher::Batcher,
    credentials::Credentials,
    external::{Connect, External, Material, Unusable},
    limits::Limits,
    lock,
    object::{Kind, Link},
    pace,
    preflight::Preflight,
    progress::{Handle, Observation},
    secrets::{SecretKey, SecretVersion},
    standing::Standing,
};
use crate::account::AccountVendor;
use futures::future::{BoxFuture, join_all};
use serde_json::Value;
use std::{
    any::{Any, TypeId},
    borrow::Cow,
    collections::HashMap,
    fmt::{self, Debug},
    sync::{Arc, Mutex},
};

/// How many clients and batchers a connection has at most.
const MADE: usize = 256;

/// One account at one version of its spec and Secret.
pub struct Connection {
    /// Differs from that of every earlier connection.
    pub epoch: u64,
    /// Shifts the account's beat.
    pub seed: u64,
    /// The version of the Secret.
    pub secret: SecretVersion,
    /// What it was made from.
    pub fingerprint: Fingerprint,
    account: AccountVendor,
    material: Material,
    made: Mutex<HashMap<(TypeId, Place), Arc<dyn Any + Send + Sync>>>,
    farewells: Mutex<Vec<BoxFuture<'static, ()>>>,
}

/// What a connection was made from: the account's uid and generation, the Secret and what vendors read of it. Whatever else
/// changes in a Secret is no reason to begin anew.
pub type Fingerprint = (Option<String>, Option<i64>, SecretKey, Arc<Credentials>);

impl Debug for Connection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Connection")
            .field("epoch", &self.epoch)
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// A connection with nothing made on it yet. `epoch` must differ from that of every other.
    pub fn new(
        epoch: u64,
        seed: u64,
        secret: SecretVersion,
        fingerprint: Fingerprint,
        account: AccountVendor,
        material: Material,
    ) -> Self {
        let (made, farewells) = (Mutex::default(), Mutex::default());
        Self { epoch, seed, secret, fingerprint, account, material, made, farewells }
    }

    /// For somebody who keeps no account of accounts: one that nothing will take the place of.
    pub fn alone(account: AccountVendor, secret: SecretKey, material: Material) -> Self {
        let credentials = material.secret.clone();
        let version = SecretVersion { resource_version: String::new(), credentials: credentials.clone() };
        Self::new(0, 0, version, (None, None, secret, credentials), account, material)
    }

    /// The vendor client, made at first use.
    pub fn client<C: Connect>(&self) -> Result<C, Unusable> {
        self.once(Place::default(), || {
            let client = C::connect(&self.account, self.material.clone())?;
            let leaving = client.clone();
            lock(&self.farewells).push(Box::pin(async move { leaving.close().await }));
            Ok(client)
        })
    }

    /// Ends what the vendor keeps for its clients.
    pub async fn close(&self) {
        let farewells = std::mem::take(&mut *lock(&self.farewells));
        join_all(farewells).await;
    }

    /// Where objects of one kind and region share their looks.
    pub fn observers(&self, kind: Kind, client: &Link, region: &str) -> Batcher<Handle, Observation> {
        let (name, batch) = (kind.name(), kind.traits().batch);
        let made =
            self.once::<KindBatcher, std::convert::Infallible>((name.clone(), region.to_owned()), || {
                let (client, region) = (client.clone(), region.to_owned());
                let telemetry = self.material.telemetry.clone();
                let batcher = Batcher::start(batch, pace::BATCH_WINDOW, move |handles: Vec<Handle>| {
                    telemetry.metrics().batch(&name, handles.len(), batch);
                    kind.observe(client.clone(), region.clone(), handles)
                });
                Ok(KindBatcher(batcher))
            });
        match made {
            Ok(KindBatcher(batcher)) => batcher,
        }
    }

    /// Where objects of one kind and region share the reads of what their creating calls need.
    pub fn readers<K: External>(
        &self,
        client: &K::Client,
        preflight: &Preflight<K::Client>,
    ) -> Batcher<String, Value> {
        let what = format!("{} {}", K::kind(&()), preflight.what);
        let place = (what.into(), preflight.region.clone());
        let made = self.once::<KindReaders, std::convert::Infallible>(place, || {
            let (client, region, read) = (client.clone(), preflight.region.clone(), preflight.read);
            let batcher = Batcher::start(preflight.batch, pace::BATCH_WINDOW, move |mut ids: Vec<String>| {
                ids.sort();
                ids.dedup();
                read(client.clone(), region.clone(), ids)
            });
            Ok(KindReaders(batcher))
        });
        match made {
            Ok(KindReaders(batcher)) => batcher,
        }
    }

    /// What its calls are made with.
    pub fn material(&self) -> &Material {
        &self.material
    }

    /// What the vendor thinks of its credentials.
    pub fn standing(&self) -> Standing {
        self.material.credit.standing()
    }

    /// The account.
    pub fn account(&self) -> &AccountVendor {
        &self.account
    }

    /// Tells its credentials from all others, in whatever process; it is shown to nobody.
    pub fn identity(&self) -> u64 {
        self.material.secret.identity()
    }

    /// What paces its calls.
    pub fn limits(&self) -> &Limits {
        &self.material.limits
    }

    fn once<T: Clone + Send + Sync + 'static, E>(
        &self,
        place: Place,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let mut all = lock(&self.made);
        let key = (TypeId::of::<T>(), place);
        if let Some(made) = all.get(&key).and_then(|made| made.downcast_ref::<T>()) {
            return Ok(made.clone());
        }
        let made = make()?;
        // Regions are free text. What is made on one is made again when it is needed.
        if all.len() >= MADE {
            all.retain(|(_, (_, region)), _| region.is_empty());
        }
        all.insert(key, Arc::new(made.clone()));
        Ok(made)
    }
}

/// For which kind's objects something is made, or for what of theirs, and in which region; for all, where both are empty.
type Place = (Cow<'static, str>, String);

#[derive(Clone)]
struct KindBatcher(Batcher<Handle, Observation>);

#[derive(Clone)]
struct KindReaders(Batcher<String, Value>);
