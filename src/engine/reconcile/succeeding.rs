//! Making a new version take the place of what is there, and deleting those that are too many or go with the object.

use super::{Error, Next, Pass, showing::passes};
use crate::{
    engine::{
        is_operation_of,
        object::Link,
        pace,
        progress::{Deletion, Intent, Origin, Progress},
        status::{self, Detail},
        versions::{self, Known},
    },
    image::{DeletionPolicy, OperationState, VERSIONS, Version},
    wire::{CallError, Class},
};
use std::time::Duration;

/// Why no version can follow now.
pub(super) enum Unfollowed {
    /// The vendor could not be asked which there are.
    Call(CallError),
    /// There is no room, or no number.
    Detail(Detail),
}

impl Pass<'_> {
    /// The versions that the status is to show with `to`.
    pub(super) fn versions_with(&self, to: &Progress) -> Vec<Version> {
        let succession = self.object.succession();
        let outdated = match to {
            Progress::Ready { product, .. } if succession.is_some() => self.object.is_outdated(product),
            _ => false,
        };
        let known = Known {
            succession: succession.as_ref(),
            is_own: self.is_own(),
            deleting: self.deleting(),
            gone: &self.local.retired,
            version: &|product| self.world.kind.version_of(product),
            outdated,
        };
        versions::stored(self.object.status(), to, &known)
    }

    /// Whether what the status shows is of this very object, and not of one that it was restored or copied from.
    fn is_own(&self) -> bool {
        let operation = self.object.status().and_then(|status| status.operation.as_ref());
        operation.is_some_and(|operation| is_operation_of(&self.object, operation))
    }

    /// Whether this thing of the vendor's is an earlier version of the object.
    pub(super) fn is_predecessor(&self, id: &str) -> bool {
        let Some(status) = self.object.status().filter(|_| self.is_own()) else { return false };
        status.image_id.as_deref() != Some(id) && status.versions.iter().any(|version| version.image_id == id)
    }

    /// Whether what `import` names has been taken over, and something that was made has taken its place since.
    pub(super) fn has_gone_on(&self) -> bool {
        let Some(status) = self.object.status().filter(|_| self.is_own()) else { return false };
        let Some(operation) = &status.operation else { return false };
        let named = self.spec().import.as_ref().and_then(|import| import.id.as_deref());
        let is_import = |version: &Version| version.imported || Some(&*version.image_id) == named;
        let under_way = operation.version.is_some()
            && matches!(
                operation.state,
                OperationState::InFlight | OperationState::Running | OperationState::Unclear
            );
        status::origin(operation) == Origin::Made
            && (under_way || status.versions.iter().any(is_import))
            && status
                .versions
                .first()
                .is_none_or(|newest| status.image_id.as_ref() != Some(&newest.image_id) || !is_import(newest))
    }

    /// Whether the spec asks for something else, in what a new version is made of, than what is there was made from.
    pub(super) fn is_to_be_succeeded(&self, progress: &Progress) -> bool {
        let (Progress::Ready { intent, handle, .. } | Progress::Missing { intent, handle, .. }) = progress
        else {
            return false;
        };
        let Some(succession) = self.object.succession().filter(|_| intent.origin != Origin::Observed) else {
            return false;
        };
        let outdated = match progress {
            Progress::Ready { product, .. } => self.object.is_outdated(product),
            _ => false,
        };
        let versions = self.versions_with(progress);
        versions::is_outdated(&versions, handle.id(), &succession, outdated)
    }

    /// The version that an attempt makes where it follows others, none that was used before.
    pub(super) async fn following_version(
        &mut self,
        client: &Link,
        intent: &Intent,
    ) -> Result<Option<String>, Unfollowed> {
        if self.object.succession().is_none() {
            return Ok(None);
        }
        let attempt = Progress::Submitting(intent.clone());
        if !versions::has_room(&self.versions_with(&attempt)) {
            self.retire_surplus(client, &attempt).await;
        }
        let own = self.versions_with(&attempt);
        if own.is_empty() {
            return Ok(None);
        }
        if !versions::has_room(&own) {
            let message = format!(
                "the object has {VERSIONS} versions, and no more are kept; set versionsToKeep to have the oldest deleted, or remove \
                 their use at the vendor / 此对象已有 {VERSIONS} 个版本，达到上限；请设置 versionsToKeep 以删除最旧的版本"
            );
            return Err(Unfollowed::Detail(Detail::stalled("TooManyVersions", message)));
        }
        let there = self.object.versions(client).await.map_err(Unfollowed::Call)?;
        let used: Vec<_> = there
            .into_iter()
            .map(|(_, version)| version)
            .chain(own.iter().filter_map(|version| version.version.clone()))
            .collect();
        let next = self.object.next_version(&used, own.first().and_then(|last| last.version.as_deref()));
        next.map(Some).ok_or_else(|| {
            let message = "there is no version number left after the last one; make a new object with another name / 已没有可用的\
                           后续版本号，请使用其他名称新建对象";
            Unfollowed::Detail(Detail::stalled("TooManyVersions", message))
        })
    }

    /// A change of the spec, or of what is there, makes room.
    pub(super) async fn wait_for_room(&mut self, at: &Progress, detail: Detail) -> Result<Next, Error> {
        self.show(at, at.clone(), Some(detail), false, None).await?;
        Ok(Next::In(pace::SLOW_LOOK))
    }

    /// Whether there are versions to delete that nobody has tried to.
    pub(super) fn is_to_retire(&self, progress: &Progress) -> bool {
        let Some(keep) = self.object.succession().and_then(|succession| succession.keep) else {
            return false;
        };
        let versions = self.versions_with(progress);
        matches!(progress, Progress::Ready { .. })
            && !self.deleting()
            && versions::surplus(&versions, Some(keep))
                .iter()
                .any(|version| !self.local.kept.contains(&version.image_id))
    }

    /// Deletes the versions that are too many, now that the newest is there. One that is in use stays, and is tried again with
    /// the next look; what another object is at work on, and what fails for a reason that passes, on the next beat, and for any
    /// other, ever more slowly.
    pub(super) async fn retire(&mut self, client: &Link, to: &mut Progress) {
        let stays =
            if matches!(to, Progress::Ready { .. }) { self.retire_surplus(client, to).await } else { vec![] };
        if let (Progress::Ready { product, .. }, false) = (to, stays.is_empty()) {
            let note = format!("earlier versions stay: {}", stays.join("; "));
            product.note = Some(match product.note.take() {
                Some(before) => format!("{before}; {note}"),
                None => note,
            });
        }
    }

    /// What is too many stays for now, since what is there is not as the spec asks, or nothing may be deleted: the next look sees
    /// to it, and it is no reason for one.
    pub(super) fn leave_surplus(&mut self, to: &Progress) {
        let keep = self.object.succession().and_then(|succession| succession.keep);
        let versions = self.versions_with(to);
        self.local.kept.extend(versions::surplus(&versions, keep).iter().map(|it| it.image_id.clone()));
    }

    /// Deletes what is too many, and gives what stays, and why.
    async fn retire_surplus(&mut self, client: &Link, to: &Progress) -> Vec<String> {
        let keep = self.object.succession().and_then(|succession| succession.keep);
        let versions = self.versions_with(to);
        let surplus: Vec<_> = versions::surplus(&versions, keep).into_iter().cloned().collect();
        let (mut stays, mut is_refused) = (vec![], false);
        for version in surplus {
            if let Some(why) = Box::pin(self.is_needed(&self.world.kind.handle(&version.image_id))).await {
                self.retires_within(self.to_beat());
                stays.push(format!("{}: {why}", name(&version)));
                continue;
            }
            let why = match self
                .retire_one(client, &version, "more are there than versionsToKeep asks for")
                .await
            {
                Ok(Deletion::Gone | Deletion::Remains(_)) => continue,
                Ok(Deletion::Underway | Deletion::Seen(_)) => "the vendor is deleting it".to_owned(),
                Ok(Deletion::Waiting(why)) => why,
                Err(error) if error.class() == Some(Class::Busy) => error.to_string(),
                Err(error) => {
                    let wait = if passes(&error) {
                        self.to_beat()
                    } else {
                        is_refused = true;
                        pace::backoff(self.local.retire_failures + 1, true)
                    };
                    self.retires_within(wait);
                    stays.push(format!("{}: {error}", name(&version)));
                    continue;
                }
            };
            stays.push(format!("{}: {why}", name(&version)));
            self.local.kept.insert(version.image_id);
        }
        self.local.retire_failures = if is_refused { self.local.retire_failures + 1 } else { 0 };
        stays
    }

    fn retires_within(&mut self, wait: Duration) {
        self.retires_later = Some(self.retires_later.map_or(wait, |other| other.min(wait)));
    }

    async fn retire_one(
        &mut self,
        client: &Link,
        version: &Version,
        why: &str,
    ) -> Result<Deletion, CallError> {
        let handle = self.world.kind.handle(&version.image_id);
        self.confirm().await.map_err(|error| CallError::NotSent(error.to_string()))?;
        let done = self.subject().delete(client, &handle).await?;
        if matches!(done, Deletion::Gone | Deletion::Remains(_)) {
            self.local.retired.insert(version.image_id.clone());
            self.local.kept.remove(&version.image_id);
            let note = format!("{} is deleted at the vendor: {why}", name(version));
            self.world.telemetry.retired(&self.object, note).await;
        }
        Ok(done)
    }

    /// The earlier versions that go with the object.
    pub(super) fn predecessors(&self, progress: &Progress) -> Vec<Version> {
        let newest = progress.handle().and_then(|handle| handle.image.as_deref());
        let all = self.spec().deletion_policy == Some(DeletionPolicy::Delete);
        let versions = self.versions_with(progress);
        versions::predecessors(&versions, newest, all).into_iter().cloned().collect()
    }

    /// Deletes the earlier versions of an object that goes; `None`: none is left.
    pub(super) async fn clear_predecessors(
        &mut self,
        client: &Link,
        from: &Progress,
    ) -> Result<Option<Next>, Error> {
        let predecessors = self.predecessors(from);
        if predecessors.is_empty() {
            return Ok(None);
        }
        // Who may not write the object, or has an old view of it, is told so, and not that the vendor is away.
        self.confirm().await?;
        if !self.is_shown_to_go() {
            self.show(from, from.clone(), None, true, None).await?;
        }
        let mut is_underway = false;
        for version in predecessors {
            let needed = Box::pin(self.is_needed(&self.world.kind.handle(&version.image_id))).await;
            let done = match needed {
                Some(why) => Ok(Deletion::Waiting(why)),
                None => self.retire_one(client, &version, "it goes with its object").await,
            };
            match done {
                Ok(Deletion::Gone | Deletion::Remains(_)) => {}
                Ok(Deletion::Underway | Deletion::Seen(_)) => is_underway = true,
                Ok(Deletion::Waiting(why)) => {
                    let detail = Detail::waiting("DeletionWaits", format!("{}: {why}", name(&version)));
                    self.show(from, from.clone(), Some(detail), true, None).await?;
                    return Ok(Some(Next::In(self.to_beat())));
                }
                Err(error) => return self.trouble(from, &error).await.map(Some),
            }
        }
        Ok(is_underway.then(|| Next::In(self.to_beat())))
    }

    /// Nothing is left of an object that goes but its earlier versions.
    pub(super) async fn delete_versions(&mut self, client: &Link, from: Progress) -> Result<Next, Error> {
        match Box::pin(self.clear_predecessors(client, &from)).await? {
            Some(next) => Ok(next),
            None => self.leave(client, from, "its versions are deleted at the vendor".into()).await,
        }
    }

    /// The last call for an object that goes came to nothing: it goes as well, when its earlier versions have gone.
    pub(super) async fn nothing_came(&mut self, from: &Progress, attempt: u32) -> Result<Next, Error> {
        let wish = super::Wish::default();
        if self.predecessors(from).is_empty() {
            return self.release(from, &wish).await;
        }
        let to = Progress::New { attempt: attempt + 1, tried: from.intent().cloned() };
        self.show(from, to, None, true, None).await?;
        Ok(Next::In(Duration::ZERO))
    }
}

/// What to call a version.
fn name(version: &Version) -> String {
    match &version.version {
        Some(number) => format!("version {number} ({})", version.image_id),
        None => version.image_id.clone(),
    }
}
