//! What a pass asks where other shards look after other objects: nobody there may be at the same thing, or own the same id.

use super::{Pass, asks_alike, keeps_lock, may_be_under_way, unanswered_since, wanted};
use crate::{
    engine::{
        accounts::Accounts,
        locks::{Holder, Key},
        object::{Kind, Object},
        shared_locks::{self, SharedLocks},
        status::Detail,
    },
    image::Phase,
    wire::CallError,
};
use jiff::Timestamp;
use kube::ResourceExt;
use std::time::Duration;
use tokio::time::Instant;

/// How long after a claim those who had the id just then have written so: then the others' objects are looked at. Longer than a
/// write to the API server may take.
const RIPE: Duration = Duration::from_secs(20);

impl Pass<'_> {
    /// Takes the lock on a thing that all shards have in common, or says why it cannot be had.
    pub(super) async fn lock_in_all_shards(&mut self, key: &Key, thing: &str) -> Result<(), Detail> {
        let Some(shared) = &self.world.shared else { return Ok(()) };
        let name = shared_locks::name_of(key);
        match &self.local.work_lock {
            Some((lock, at)) if lock.name == name && at.elapsed() < shared_locks::FRESH / 2 => return Ok(()),
            // It works on something else now.
            Some((lock, _)) if lock.name != name => shared.give_back(&lock.name, &self.uid()).await,
            _ => {}
        }
        self.local.work_lock = None;
        let since = Instant::now();
        let lock = match shared.take(self.world.kind, key, &self.holder()).await {
            Ok(Ok(lock)) => lock,
            Ok(Err(other)) => return Err(self.waits_for(&other, thing)),
            Err(error) => return Err(unreachable(&error)),
        };
        match self.began_elsewhere(shared, thing).await {
            Ok(None) => self.local.work_lock = Some((lock, since)),
            Ok(Some(other)) => {
                shared.give_back(&lock.name, &self.uid()).await;
                return Err(self.waits_for(&other, thing));
            }
            Err(error) => return Err(unreachable(&error)),
        }
        Ok(())
    }

    fn waits_for(&self, other: &Holder, thing: &str) -> Detail {
        let who = other.name_for(&self.holder().namespace);
        let what = format!("waits for {who}, which is at work on {thing}; only one can be at a time");
        Detail::waiting("WaitsForOther", what)
    }

    /// The object of another shard that is at work on the thing since before there were shards, and so without a lock.
    async fn began_elsewhere(
        &self,
        shared: &SharedLocks,
        thing: &str,
    ) -> Result<Option<Holder>, kube::Error> {
        let begun = self.world.begun_elsewhere.get_or_try_init(|| shared.at_work(self.world.kind)).await?;
        let index = self.world.accounts.index();
        for holder in begun.iter().filter(|holder| holder.uid != self.uid() && !index.knows(&holder.uid)) {
            let works = |object: &Object| keeps_lock(object) && object.exclusive().as_deref() == Some(thing);
            if shared.is_so(self.world.kind, holder, works).await? {
                return Ok(Some(holder.clone()));
            }
        }
        Ok(None)
    }

    /// Whether the lock was renewed so lately that nobody can have taken it for abandoned.
    pub(super) fn is_lock_fresh(&self) -> bool {
        self.local.work_lock.as_ref().is_none_or(|(_, at)| at.elapsed() < shared_locks::FRESH)
    }

    /// Claims an id in the sight of all shards, and looks whether an object of another one owns it once that can be seen.
    pub(super) async fn claim_in_all_shards(&mut self, id: &str) -> Result<(), Detail> {
        let (Some(shared), Some(realm)) = (&self.world.shared, self.realm()) else { return Ok(()) };
        let key = Key::Id { of: self.world.kind.ids().into_owned(), realm, id: id.into() };
        let namespace = self.holder().namespace;
        let of_other = |other: &Holder| super::importing::held_by_other(id, &other.name_for(&namespace));
        match shared.take(self.world.kind, &key, &self.holder()).await {
            Ok(Ok(lock)) => {
                let before = self.local.id_lock.take();
                if let Some((other, _)) = before.as_ref().filter(|(before, _)| before.name != lock.name) {
                    // It claims something else now.
                    shared.give_back(&other.name, &self.uid()).await;
                }
                // By this process's clock, whoever took it.
                let seen =
                    before.filter(|(before, _)| *before == lock).map_or_else(Instant::now, |(_, seen)| seen);
                self.local.id_lock = Some((lock, seen));
                if seen.elapsed() < RIPE {
                    let what =
                        format!("looks whether an object of another shard owns {id}, which takes 20 s");
                    return Err(Detail::waiting("WaitsForOther", what));
                }
            }
            Ok(Err(other)) => return Err(of_other(&other)),
            Err(error) => return Err(unreachable(&error)),
        }
        self.look_elsewhere().await.map_err(|error| Detail::from(&error))?;
        if let Some((_, other)) = self.elsewhere.owned.iter().find(|(taken, _)| taken == id) {
            let detail = of_other(other);
            // Its owner may want to claim it, too.
            if let (Some(shared), Some((lock, _))) = (&self.world.shared, self.local.id_lock.take()) {
                shared.give_back(&lock.name, &self.uid()).await;
            }
            return Err(detail);
        }
        // Who began before the claim, and has written no answer yet, may not be able to, and not have seen the claim.
        let claimed = self.local.id_lock.as_ref().map(|(lock, _)| lock.since);
        if claimed.is_some_and(|claimed| self.elsewhere.may_have_asked_before(claimed)) {
            let what = format!(
                "waits for an object of another shard that asks for the like, has no answer yet, and may have made {id}; it does so \
                 for half an hour at most"
            );
            return Err(Detail::waiting("WaitsForOther", what));
        }
        Ok(())
    }

    /// How long it takes until a claim can be believed that was made a moment ago.
    pub(super) fn until_ripe(&self) -> Option<Duration> {
        let (_, seen) = self.local.id_lock.as_ref()?;
        Some(RIPE.saturating_sub(seen.elapsed())).filter(|wait| !wait.is_zero())
    }

    /// Whether an object of another shard has claimed what this one has just made.
    pub(super) async fn is_taken_over_elsewhere(&self, id: &str) -> bool {
        let (Some(shared), Some(realm)) = (&self.world.shared, self.realm()) else { return false };
        let key = Key::Id { of: self.world.kind.ids().into_owned(), realm, id: id.into() };
        // Where that cannot be found out, the claimant sees this object's status before it takes anything.
        shared.is_held(&key, &self.uid()).await.unwrap_or(false)
    }

    /// Reads what the objects of other shards own, and have under way, as the API server has it now.
    pub(super) async fn look_elsewhere(&mut self) -> Result<(), CallError> {
        let Some(shared) = &self.world.shared else { return Ok(()) };
        self.elsewhere = shared.seen(&self.world.accounts, self.realm().as_deref(), &self.object).await?;
        Ok(())
    }

    /// Gives back the lock on what it works on, once it is at work on nothing, or need not keep it for that; `wake`: after what
    /// time it goes on.
    pub(super) async fn give_back_shared(&mut self, wake: Option<Duration>) {
        let phase = self.object.status().and_then(|status| status.phase);
        // Whoever waits to be let begin is about to need it; but nobody keeps others waiting while something else is in his way.
        let is_through = may_be_under_way(&self.object)
            || matches!(phase, Some(Phase::Ready | Phase::Failed))
            || wake.is_none_or(|wait| wait > shared_locks::FRESH / 2);
        if let (Some(shared), Some((lock, _))) = (&self.world.shared, &self.local.work_lock)
            && is_through
            && !keeps_lock(&self.object)
        {
            shared.give_back(&lock.name, &self.uid()).await;
            self.local.work_lock = None;
        }
    }

    /// Gives back all locks of an object that goes.
    pub(super) async fn give_back_all_shared(&mut self) {
        let Some(shared) = &self.world.shared else { return };
        for (lock, _) in self.local.work_lock.take().into_iter().chain(self.local.id_lock.take()) {
            shared.give_back(&lock.name, &self.uid()).await;
        }
    }
}

fn unreachable(error: &kube::Error) -> Detail {
    Detail::waiting("WaitsForOther", format!("the lock that shards have in common cannot be taken: {error}"))
}

/// What an object refers to cannot be read.
pub(super) fn unreadable(error: &kube::Error) -> Detail {
    Detail::waiting(
        "ReferenceNotReady",
        format!("whether another shard has what it refers to cannot be read: {error}"),
    )
}

/// What the objects of all shards have, but for one that asks.
#[derive(Debug, Default)]
pub struct Elsewhere {
    /// The ids that they own in its realm, and who does.
    pub owned: Vec<(String, Holder)>,
    /// How many of other shards' have a call under way that asks for the same.
    pub asking_alike: usize,
    /// Since when those of them that may get an answer yet have had none.
    pub since: Vec<Timestamp>,
}

impl Elsewhere {
    /// Whether one of those that wait for an answer had asked before this moment: what is there may be what its call made, and it
    /// may not know that somebody has claimed that since.
    pub fn may_have_asked_before(&self, claimed: Timestamp) -> bool {
        self.since.iter().any(|since| *since < claimed)
    }
}

impl SharedLocks {
    /// What all objects of a kind, and of those kinds that may own the like, have in a realm, but for the one that asks.
    pub async fn seen(
        &self,
        accounts: &Accounts,
        realm: Option<&str>,
        asking: &Object,
    ) -> Result<Elsewhere, CallError> {
        let (mut seen, own) = (Elsewhere::default(), wanted(asking));
        let kind = asking.its_kind();
        let looked = self.look_at_all(kind, |other| {
            if other.uid() == asking.meta().uid {
                return;
            }
            let ids = shared_locks::owned_in(other, realm, Some(accounts));
            seen.owned.extend(ids.into_iter().map(|id| (id, shared_locks::holder(kind, other))));
            let Ok(object) = &other.0 else { return };
            let is_foreign = !accounts.index().knows(&object.uid().unwrap_or_default());
            if is_foreign
                && shared_locks::is_in(object, realm, Some(accounts))
                && may_be_under_way(object)
                && asks_alike(kind, &own, &wanted(object))
            {
                seen.asking_alike += 1;
                seen.since.extend(unanswered_since(object));
            }
        });
        let unread =
            |error| CallError::NotSent(format!("the objects of other shards cannot be read: {error}"));
        looked.await.map_err(unread)?;
        let name = kind.name();
        let others = accounts.index().owned_by_other_kinds(self, &name, realm);
        seen.owned.extend(others.await.map_err(unread)?);
        Ok(seen)
    }

    /// The objects of a kind that are at work on something that only one may be at.
    async fn at_work(&self, kind: Kind) -> Result<Vec<Holder>, kube::Error> {
        let mut at_work = vec![];
        self.look_at_all(kind, |object| {
            if object.0.as_ref().is_ok_and(may_be_under_way) {
                at_work.push(shared_locks::holder(kind, object));
            }
        })
        .await?;
        Ok(at_work)
    }
}
