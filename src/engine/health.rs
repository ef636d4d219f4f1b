//! Whether the operator lives and works, and what keeps it from it: what `/healthz` and `/readyz` say.

use super::lock;
use futures::{Stream, StreamExt, stream};
use kube::{
    Resource,
    runtime::{controller, reflector::ObjectRef},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::{Instant, interval_at};

/// How often a controller shows that it moves.
const BEAT: Duration = Duration::from_secs(15);
/// After how long without a sign it counts as stuck: each step of a pass has a deadline, and a crowd of thousands before a
/// vendor's limit passes through the workers in less.
const STUCK: Duration = Duration::from_secs(600);
/// The name that stands for the heartbeat in a controller's queue: no object can have it.
const HEARTBEAT: &str = "the heartbeat";

/// What the operator's parts know of their own state. Cheap to clone.
#[derive(Clone, Default)]
pub struct Health {
    state: Arc<State>,
    /// Whose readings are told apart by it: of one of several shards.
    label: Arc<str>,
}

#[derive(Default)]
struct State {
    /// What is missing for being ready, by what it is about: a sentence each.
    lacks: Mutex<BTreeMap<String, String>>,
    /// What else there is to say of a part, such as that it stands by.
    notes: Mutex<BTreeMap<String, String>>,
    /// The loops that must move, and when each was last seen to.
    pulses: Mutex<BTreeMap<String, Instant>>,
    /// What is read by who leads.
    readings: Mutex<BTreeSet<String>>,
}

impl fmt::Debug for Health {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Health")
    }
}

impl Health {
    /// From now on, `what` is missing, and the operator is not ready. `why` is a sentence for people.
    pub fn lack(&self, what: &str, why: impl Into<String>) {
        lock(&self.state.lacks).insert(what.to_owned(), why.into());
    }

    /// From now on it is not missing any more.
    pub fn have(&self, what: &str) {
        lock(&self.state.lacks).remove(what);
    }

    /// Something to know about `what` that keeps nobody from being ready.
    pub fn note(&self, what: &str, text: impl Into<String>) {
        lock(&self.state.notes).insert(what.to_owned(), text.into());
    }

    /// Whether the operator leads and has read all that it needs, or could lead: what there is to know of it, or what is
    /// missing, one line for each.
    pub fn readiness(&self) -> Result<String, String> {
        let lines = |texts: &Mutex<BTreeMap<String, String>>| {
            lock(texts).values().map(|text| format!("{text}\n")).collect::<String>()
        };
        let lacks = lines(&self.state.lacks);
        if lacks.is_empty() { Ok(format!("ok\n{}", lines(&self.state.notes))) } else { Err(lacks) }
    }

    /// The same for one of several shards, whose readings end with this.
    #[must_use]
    pub fn labelled(&self, label: &str) -> Self {
        Self { state: self.state.clone(), label: label.into() }
    }

    /// Something that must be read before the operator is ready.
    pub fn reading(&self, what: impl Into<String>) -> Reading {
        let what = what.into() + &self.label;
        let lack = format!("still to be read: {what}");
        self.lack(&what, lack);
        lock(&self.state.readings).insert(what.clone());
        Reading { health: self.clone(), what }
    }

    /// A loop has moved.
    pub fn moved(&self, what: &str) {
        lock(&self.state.pulses).insert(what.to_owned(), Instant::now());
    }

    /// Nothing is read any more: this replica has stopped its work, or that on this shard, and stands by.
    pub fn stand_down(&self) {
        let is_ours = |what: &str| what.ends_with(&*self.label);
        lock(&self.state.pulses).retain(|what, _| !is_ours(what));
        let (mut lacks, mut readings) = (lock(&self.state.lacks), lock(&self.state.readings));
        for what in readings.extract_if(.., |what| is_ours(what)) {
            lacks.remove(&what);
        }
    }

    /// Whether all loops that ever moved still do; the API server may be down for as long as it likes.
    pub fn life(&self) -> Result<(), String> {
        let pulses = lock(&self.state.pulses);
        let stuck: String = pulses
            .iter()
            .filter(|(_, moved)| moved.elapsed() > STUCK)
            .map(|(what, moved)| format!("{what} has not moved for {} s\n", moved.elapsed().as_secs()))
            .collect();
        if stuck.is_empty() { Ok(()) } else { Err(stuck) }
    }
}

/// Something that must be read before the operator is ready.
#[derive(Clone, Debug)]
pub struct Reading {
    health: Health,
    what: String,
}

impl Reading {
    /// It was read once; that is enough, since a watch that breaks is started again by itself.
    pub fn done(&self) {
        self.health.have(&self.what);
        self.health.moved(&self.what);
    }

    /// It cannot be read as yet.
    pub fn failed(&self, why: &dyn fmt::Display) {
        let mut lacks = lock(&self.health.state.lacks);
        if let Some(lack) = lacks.get_mut(&self.what) {
            *lack = format!("still to be read: {}: {why}", self.what);
        }
    }

    /// What works on what is read shows with each of these that it moves, even when nothing else is to be done: by
    /// [`Reading::moves`] when it hears of it.
    pub fn beats() -> impl Stream<Item = ()> + Send {
        let beats = interval_at(Instant::now() + BEAT, BEAT);
        stream::unfold(beats, |mut beats| async move {
            beats.tick().await;
            Some(((), beats))
        })
    }

    /// See [`Reading::beats`].
    pub fn moves(&self) {
        self.health.moved(&self.what);
    }

    /// A request for nothing, from time to time, for the queue of the controller that works on what is read. That it comes
    /// out at the other end ([`Reading::came_through`]) shows that queue, workers and store move, even when nothing else
    /// is to be done.
    pub fn heartbeat<K>() -> impl Stream<Item = ObjectRef<K>> + Send
    where
        K: Resource<DynamicType = ()> + Send + 'static,
    {
        Self::beats().map(|()| ObjectRef::new(HEARTBEAT)).boxed()
    }

    /// Sees what comes out of the controller.
    pub fn came_through<T, E, Q>(&self, done: &Result<T, controller::Error<E, Q>>)
    where
        E: std::error::Error + 'static,
        Q: std::error::Error + 'static,
    {
        if matches!(done, Err(controller::Error::ObjectNotFound(object)) if object.name == HEARTBEAT) {
            self.moves();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::runtime::{
        Controller, WatchStreamExt,
        controller::{Action, Config},
        reflector, watcher,
    };
    use std::{convert::Infallible, future::pending};

    #[test]
    fn who_lacks_something_says_what_and_is_ready_without() {
        let health = Health::default();
        assert_eq!(health.readiness().unwrap(), "ok\n");
        health.lack("crds", "the CRDs are old");
        let reading = health.reading("ImageComponents");
        assert_eq!(health.readiness().unwrap_err(), "still to be read: ImageComponents\nthe CRDs are old\n");
        reading.failed(&"forbidden");
        health.have("crds");
        assert_eq!(health.readiness().unwrap_err(), "still to be read: ImageComponents: forbidden\n");
        reading.done();
        health.note("lease", "this replica stands by");
        assert_eq!(health.readiness().unwrap(), "ok\nthis replica stands by\n");
        // A watch that breaks later has been read all the same.
        reading.failed(&"broken");
        assert!(health.readiness().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_stands_by_has_nothing_to_read_and_lives_without_moving() {
        let health = Health::default();
        let reading = health.reading("things");
        health.reading("others").done();
        assert!(health.readiness().is_err());
        health.stand_down();
        tokio::time::advance(STUCK * 2).await;
        assert_eq!((health.readiness().is_ok(), health.life()), (true, Ok(())));
        drop(reading);
        assert!(health.reading("things").health.readiness().is_err(), "it leads again");
    }

    #[tokio::test(start_paused = true)]
    async fn who_stands_by_for_one_shard_goes_on_with_the_others() {
        let health = Health::default();
        let [one, two] = [" (shard 0 of 2)", " (shard 1 of 2)"].map(|label| health.labelled(label));
        let (given_up, kept) = (one.reading("things"), two.reading("things"));
        given_up.done();
        one.stand_down();
        assert!(health.readiness().is_err(), "the other is still to be read");
        kept.done();
        tokio::time::advance(STUCK * 2).await;
        assert!(health.readiness().is_ok());
        assert!(health.life().is_err_and(|stuck| stuck.contains("shard 1") && !stuck.contains("shard 0")));
    }

    /// A controller of one object with one worker, whose passes end, or never do.
    async fn hours_with(ends: bool) -> Result<(), String> {
        let health = Health::default();
        let reading = health.reading("ConfigMaps");
        let (store, writer) = reflector::store::<ConfigMap>();
        let mut object = ConfigMap::default();
        object.metadata.name = Some("one".into());
        let events = [watcher::Event::Init, watcher::Event::InitApply(object), watcher::Event::InitDone];
        let objects = stream::iter(events.map(Ok)).chain(stream::pending()).reflect(writer).applied_objects();
        reading.done();
        let controller = Controller::for_stream(objects, store)
            .with_config(Config::default().concurrency(1))
            .reconcile_on(Reading::heartbeat())
            .run(
                move |_, _| async move { if ends { Ok(Action::await_change()) } else { pending().await } },
                |_, _: &Infallible, _| Action::await_change(),
                Arc::new(()),
            )
            .for_each(|done| {
                reading.came_through(&done);
                std::future::ready(())
            });
        let _ = tokio::time::timeout(3 * STUCK, controller).await;
        health.life()
    }

    #[tokio::test(start_paused = true)]
    async fn a_controller_with_nothing_to_do_lives_and_one_whose_workers_hang_does_not() {
        assert_eq!(hours_with(true).await, Ok(()));
        let stuck = hours_with(false).await.unwrap_err();
        assert!(stuck.starts_with("ConfigMaps has not moved for 1"), "{stuck}");
    }
}
