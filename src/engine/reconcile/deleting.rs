//! Deleting at the vendor, and letting the object go.

use super::{Error, Next, Pass};
use crate::{
    engine::{
        locks::Holder,
        object::Link,
        owned_ids, pace,
        progress::{Deletion, Handle, Observation, Origin, Product, Progress, Wish},
        status::Detail,
    },
    wire::CallError,
};
use std::time::Duration;
use tokio::time::timeout;

impl Pass<'_> {
    pub(super) async fn discard(
        &mut self,
        client: &Link,
        from: Progress,
        handle: &Handle,
        attempt: u32,
        wish: &Wish,
    ) -> Result<Next, Error> {
        if let Some(why) = Box::pin(self.is_needed(handle)).await {
            let detail = Detail::waiting("DeletionWaits", why);
            self.show(&from, from.clone(), Some(detail), false, None).await?;
            return Ok(Next::In(self.to_beat()));
        }
        self.confirm().await?;
        match self.subject().delete(client, handle).await {
            Ok(done @ (Deletion::Gone | Deletion::Remains(_))) => {
                if let Deletion::Remains(what) = done {
                    self.world.telemetry.cleared(&self.object, what).await;
                }
                if !wish.import {
                    return Box::pin(self.submit(client, from, attempt, false)).await;
                }
                // Something else takes its place, which the next pass finds.
                self.show(&from, Progress::New { attempt, tried: from.intent().cloned() }, None, false, None)
                    .await?;
                Ok(Next::In(Duration::ZERO))
            }
            Ok(Deletion::Seen(product)) => self.note_before_it_goes(from, product, false).await,
            Ok(Deletion::Underway) => Ok(Next::In(self.to_beat())),
            Ok(Deletion::Waiting(why)) => {
                self.show(&from, from.clone(), Some(Detail::waiting("DeletionWaits", why)), false, None)
                    .await?;
                Ok(Next::In(self.to_beat()))
            }
            Err(error) => self.trouble(&from, &error).await,
        }
    }

    /// Deletes what a failed attempt left behind. The object stays failed, for the same reason.
    pub(super) async fn clear(
        &mut self,
        client: &Link,
        from: Progress,
        handle: &Handle,
    ) -> Result<Next, Error> {
        self.confirm().await?;
        match self.subject().delete(client, handle).await {
            Ok(done @ (Deletion::Gone | Deletion::Remains(_))) => {
                let note = match done {
                    Deletion::Remains(what) => what,
                    _ => format!("{}, which a failed attempt left, is deleted at the vendor", handle.id()),
                };
                self.show(&from, from.clone().cleared(), None, true, None).await?;
                self.world.telemetry.cleared(&self.object, note).await;
                Ok(Next::Change)
            }
            // Why the attempt failed is worth more than what its remains wait for.
            Ok(Deletion::Seen(product)) => self.note_before_it_goes(from, product, true).await,
            Ok(Deletion::Underway | Deletion::Waiting(_)) => Ok(Next::In(self.to_beat())),
            Err(error) => self.trouble(&from, &error).await,
        }
    }

    pub(super) async fn delete(
        &mut self,
        client: &Link,
        from: Progress,
        handle: Handle,
    ) -> Result<Next, Error> {
        // What the vendor is at already cannot be called back.
        let needed = if self.local.deleting {
            self.is_needed_here(&handle)
        } else {
            Box::pin(self.is_needed(&handle)).await
        };
        if let Some(why) = needed {
            let advice = format!(
                "{why}; deletionPolicy: Retain lets this object go at once, and leaves {} at the vendor",
                handle.id()
            );
            let detail = Detail::waiting("DeletionWaits", advice);
            self.show(&from, from.clone(), Some(detail), true, None).await?;
            return Ok(Next::In(self.to_beat()));
        }
        if let Some(next) = Box::pin(self.clear_predecessors(client, &from)).await? {
            return Ok(next);
        }
        if self.local.deleting {
            match self.look(client, &handle).await {
                Ok(Observation::Missing) if !self.world.kind.traits().leaves => {
                    return self.leave(client, from, gone(&handle)).await;
                }
                Ok(_) => {}
                Err(error) => return self.trouble(&from, &error).await,
            }
        }
        // Looks are shared, and asking to delete is not: as long as the vendor is at work, it is asked now and then.
        if self.local.deletion_looks > 0 {
            match self.look(client, &handle).await {
                Ok(Observation::Building { .. }) if self.local.deletion_looks < pace::DELETION_LOOKS => {
                    self.local.deletion_looks += 1;
                    return Ok(Next::In(self.to_beat()));
                }
                Ok(_) => self.local.deletion_looks = 0,
                Err(error) => return self.trouble(&from, &error).await,
            }
        }
        // What the vendor is at already cannot be called back; what that leaves can.
        if self.world.kind.traits().leaves || !self.local.deleting {
            self.confirm().await?;
        }
        match self.deletion(client, &from, &handle).await? {
            Ok(Deletion::Gone) => self.leave(client, from, gone(&handle)).await,
            Ok(Deletion::Remains(what)) => self.leave(client, from, what).await,
            Ok(Deletion::Seen(product)) => {
                if let Some(made) = &product.image_id
                    && let Some(next) = Box::pin(self.leave_to_its_owner(client, &from, made)).await?
                {
                    return Ok(next);
                }
                self.note_before_it_goes(from, product, true).await
            }
            Ok(Deletion::Underway) => {
                self.local.deleting = true;
                self.show(&from, from.clone(), None, true, None).await?;
                Ok(Next::In(self.to_beat()))
            }
            Ok(Deletion::Waiting(why)) => {
                self.local.deletion_looks = 1;
                self.show(&from, from.clone(), Some(Detail::waiting("DeletionWaits", why)), true, None)
                    .await?;
                Ok(Next::In(self.to_beat()))
            }
            Err(error) => self.trouble(&from, &error).await,
        }
    }

    /// What is to be known when it is gone is written down before it goes.
    async fn note_before_it_goes(
        &mut self,
        from: Progress,
        product: Product,
        settled: bool,
    ) -> Result<Next, Error> {
        let to = from.clone().seen_to_go(product);
        self.show(&from, to, None, settled, None).await?;
        Ok(Next::In(Duration::ZERO))
    }

    /// Asks the vendor to delete it. Unless it is gone in a moment, whoever looks sees that it goes.
    async fn deletion(
        &mut self,
        client: &Link,
        from: &Progress,
        handle: &Handle,
    ) -> Result<Result<Deletion, CallError>, Error> {
        if self.is_shown_to_go() {
            return Ok(self.subject().delete(client, handle).await);
        }
        let subject = self.subject().into_owned();
        let mut deletion = subject.delete(client, handle);
        let done = match timeout(pace::GONE_AT_ONCE, &mut deletion).await {
            Ok(Err(error)) => Err(error),
            // The rest is shown together with what became of it.
            Ok(done) => return Ok(done),
            Err(_) => {
                // Where that may not be shown, somebody has written the object or works on it by now. It may wait for its rate
                // permit still, or have further calls to make: nothing more is asked for. A deletion can be asked again.
                self.show(from, from.clone(), None, true, None).await?;
                return Ok(deletion.await);
            }
        };
        self.show(from, from.clone(), None, true, None).await?;
        Ok(done)
    }

    /// What another object's work is under way on is not taken away from it: whose that is.
    pub(super) async fn is_needed(&self, handle: &Handle) -> Option<String> {
        match self.is_needed_here(handle) {
            None => self.is_needed_elsewhere(handle).await,
            needed => needed,
        }
    }

    fn is_needed_here(&self, handle: &Handle) -> Option<String> {
        let (namespace, name) = (self.holder().namespace, self.holder().name);
        let id = handle.image.as_deref()?;
        let worker = self.world.accounts.index().at_work(&self.world.kind.name(), &namespace, &name, id)?;
        Some(waits_for_worker(&worker, &namespace, id))
    }

    /// The same for the work of other shards' objects.
    async fn is_needed_elsewhere(&self, handle: &Handle) -> Option<String> {
        let (shared, id) = (self.world.shared.as_ref()?, handle.image.as_deref()?);
        let (namespace, name) = (self.holder().namespace, self.holder().name);
        let index = self.world.accounts.index();
        match index.at_work_in_all_shards(shared, &self.world.kind.name(), &namespace, &name, id).await {
            Ok(worker) => Some(waits_for_worker(&worker?, &namespace, id)),
            Err(error) => {
                Some(format!("whether an object of another shard is at work on {id} cannot be read: {error}"))
            }
        }
    }

    /// Deletes what earlier attempts made that turned up after they were given up. Whether nothing of it is left.
    pub(super) async fn clear_leftovers(
        &mut self,
        client: &Link,
        progress: &Progress,
    ) -> Result<bool, CallError> {
        let Some(intent) = progress.intent().filter(|intent| intent.origin == Origin::Made) else {
            return Ok(true);
        };
        // An attempt that was given up is not the last one.
        let last = match progress {
            Progress::New { attempt, .. } => *attempt,
            _ => intent.attempt,
        };
        if last < 2 {
            return Ok(true);
        }
        let mut leftovers =
            self.subject().leftovers(client, &self.world.kind.token(&self.uid(), last)).await?;
        leftovers.retain(|handle| progress.handle().is_none_or(|own| own.id() != handle.id()));
        if !leftovers.is_empty() {
            // An object of another shard may have taken it over.
            self.look_elsewhere().await?;
        }
        let mut cleared = true;
        for handle in leftovers {
            if self.is_taken(handle.id()) {
                continue;
            }
            self.confirm().await.map_err(|error| CallError::NotSent(error.to_string()))?;
            if self.local.leftovers.insert(handle.id().to_owned()) {
                self.world.telemetry.turned_up(&self.object, "Delete", handle.id()).await;
            }
            cleared &= self.subject().delete(client, &handle).await? == Deletion::Gone;
        }
        Ok(cleared)
    }

    /// What a task made has an id of its own, under which another object may have taken it over before it was seen: then it stays,
    /// and this object goes without it.
    async fn leave_to_its_owner(
        &mut self,
        client: &Link,
        from: &Progress,
        made: &str,
    ) -> Result<Option<Next>, Error> {
        if owned_ids(&self.object).contains(&made) {
            return Ok(None);
        }
        if let Err(error) = self.look_elsewhere().await {
            return self.trouble(from, &error).await.map(Some);
        }
        if self.is_taken(made) {
            let note = format!("{made} stays at the vendor: another object has taken it over");
            return self.leave(client, from.clone(), note).await.map(Some);
        }
        // Who is about to take it over looks at what this object's status says first.
        Ok(match self.claim_here(made) {
            Ok(()) => None,
            Err(detail) => Some(self.wait_for_owner(from, detail).await?),
        })
    }

    /// What the last attempt made is gone: the object goes as soon as nothing of earlier ones is left.
    pub(super) async fn leave(&mut self, client: &Link, from: Progress, note: String) -> Result<Next, Error> {
        match self.clear_leftovers(client, &from).await {
            Ok(true) => self.deleted(&from, note).await,
            Ok(false) => {
                if !self.is_shown_to_go() {
                    self.show(&from, from.clone(), None, true, None).await?;
                }
                Ok(Next::In(self.to_beat()))
            }
            Err(error) => self.trouble(&from, &error).await,
        }
    }

    /// The vendor has nothing of it any more that could be deleted.
    pub(super) async fn deleted(&mut self, from: &Progress, note: String) -> Result<Next, Error> {
        let released = self.world.journal.release(&self.object).await.map_err(Error::from);
        let Some(error) = released.as_ref().err().filter(|error| error.is_refusal()) else {
            released?;
            self.world.accounts.index().ended(&self.uid());
            self.world.telemetry.released(&self.object, "Delete", note).await;
            return Ok(Next::Forget);
        };
        // What is done is written down, or the vendor would be asked to delete at each try.
        let detail = self.write_refused(error);
        let attempt = from.intent().map_or(1, |intent| intent.attempt + 1);
        let to = Progress::New { attempt, tried: from.intent().cloned() };
        self.show(from, to, Some(detail), true, None).await?;
        self.world.telemetry.released(&self.object, "Delete", note).await;
        self.local.failures += 1;
        Ok(Next::In(pace::backoff(self.local.failures, false)))
    }
}

fn waits_for_worker(worker: &Holder, namespace: &str, id: &str) -> String {
    let worker = worker.name_for(namespace);
    format!("waits for {worker}, which is at work on {id}: it is deleted when that has ended")
}

fn gone(handle: &Handle) -> String {
    format!("{} is deleted at the vendor", handle.id())
}
