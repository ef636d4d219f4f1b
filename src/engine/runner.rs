//! Begins the passes of one controller, each as a task of its own, and hears which one has ended, so that what a pass costs does
//! not depend on how many others are under way.

use super::schedule::Schedule;
use futures::{Stream, StreamExt};
use std::{future::Future, hash::Hash, pin::pin, time::Duration};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// Runs until `stopping` resolves, then until all passes that are under way have ended. `woken` names who is to be looked at;
/// `None` in it says that something else has changed, such as `is_ready`, without which no pass begins. `begin` gives the pass of
/// an object, which says after what time the next one is to begin, if at all; or nothing, where there is nothing to do now.
pub async fn run<N, P>(
    woken: impl Stream<Item = Option<N>>,
    stopping: impl Future<Output = ()>,
    is_ready: impl Fn() -> bool,
    begin: impl Fn(&N) -> Option<P>,
) where
    N: Clone + Eq + Hash + Ord + Send + 'static,
    P: Future<Output = Option<Duration>> + Send + 'static,
{
    let (mut woken, mut stopping) = (pin!(woken), pin!(stopping));
    let mut schedule = Schedule::default();
    let mut passes = JoinSet::new();
    let mut timer = pin!(sleep_until(Instant::now()));
    let mut is_set = false;
    loop {
        if is_ready() {
            let now = Instant::now();
            while let Some(name) = schedule.begin(now) {
                match begin(&name) {
                    Some(pass) => drop(passes.spawn(async move { (name, pass.await) })),
                    None => schedule.ended(name, None, now),
                }
            }
            let next = schedule.next_time();
            if let Some(next) = next.filter(|next| !is_set || timer.deadline() != *next) {
                timer.as_mut().reset(next);
            }
            is_set = next.is_some();
        }
        tokio::select! {
            // What ends makes room before more begins.
            biased;
            () = &mut stopping => break,
            Some(ended) = passes.join_next() => ended_with(&mut schedule, ended),
            () = &mut timer, if is_set => is_set = false,
            Some(name) = woken.next() => {
                if let Some(name) = name {
                    schedule.wake(name);
                }
            }
        }
    }
    while let Some(ended) = passes.join_next().await {
        ended_with(&mut schedule, ended);
    }
}

fn ended_with<N: Clone + Eq + Hash + Ord>(
    schedule: &mut Schedule<N>,
    ended: Result<(N, Option<Duration>), tokio::task::JoinError>,
) {
    match ended {
        Ok((name, wait)) => schedule.ended(name, wait, Instant::now()),
        // A pass catches what it can do without: this is a bug in what is around it, and ends the controller.
        Err(error) => {
            if let Ok(panic) = error.try_into_panic() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{future::pending, stream};
    use std::sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    };
    use tokio::{
        sync::mpsc,
        time::{sleep, timeout},
    };
    use tokio_util::sync::CancellationToken;

    const SECOND: Duration = Duration::from_secs(1);

    fn heard(mut news: mpsc::UnboundedReceiver<Option<u32>>) -> impl Stream<Item = Option<u32>> {
        stream::poll_fn(move |context| news.poll_recv(context)).chain(stream::pending())
    }

    #[tokio::test(start_paused = true)]
    async fn passes_begin_once_all_is_known_and_one_at_a_time_for_each_object() {
        let (news, woken) = mpsc::unbounded_channel();
        let ready = Arc::new(AtomicBool::new(false));
        let (passes, at_once, most) =
            <(Arc<Mutex<Vec<(u32, u64)>>>, Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let stop = CancellationToken::new();
        let start = Instant::now();
        let (log, now, high) = (passes.clone(), at_once.clone(), most.clone());
        let runs = tokio::spawn({
            let (ready, stop) = (ready.clone(), stop.clone());
            run(
                heard(woken),
                stop.cancelled_owned(),
                move || ready.load(Ordering::Relaxed),
                move |name: &u32| {
                    let (log, now, high, name) = (log.clone(), now.clone(), high.clone(), *name);
                    let pass = async move {
                        log.lock().unwrap().push((name, start.elapsed().as_secs()));
                        high.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                        sleep(SECOND * 2).await;
                        now.fetch_sub(1, Ordering::Relaxed);
                        (name == 2).then_some(SECOND * 10)
                    };
                    (name != 7).then_some(pass)
                },
            )
        });
        for name in [1, 1, 7] {
            news.send(Some(name)).unwrap();
        }
        sleep(SECOND).await;
        assert!(passes.lock().unwrap().is_empty());
        ready.store(true, Ordering::Relaxed);
        news.send(None).unwrap();
        sleep(SECOND / 2).await;
        assert_eq!(*passes.lock().unwrap(), [(1, 1)]);
        for name in [1, 1, 2] {
            news.send(Some(name)).unwrap();
        }
        sleep(SECOND * 15).await;
        assert_eq!(*passes.lock().unwrap(), [(1, 1), (2, 1), (1, 3), (2, 13)]);
        assert_eq!(most.load(Ordering::Relaxed), 2);
        // What is under way ends, and nothing new begins.
        news.send(Some(1)).unwrap();
        sleep(SECOND).await;
        stop.cancel();
        news.send(Some(3)).unwrap();
        runs.await.unwrap();
        assert_eq!((at_once.load(Ordering::Relaxed), passes.lock().unwrap().len()), (0, 5));
    }

    #[tokio::test(start_paused = true)]
    async fn to_be_dropped_ends_what_is_under_way() {
        struct Ends(Arc<AtomicBool>);
        impl Drop for Ends {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let ended = Arc::new(AtomicBool::new(false));
        let began = ended.clone();
        let runs = run(
            stream::iter([Some(1)]).chain(stream::pending()),
            pending(),
            || true,
            move |_: &u32| {
                let ends = Ends(began.clone());
                Some(async move {
                    let _ends = ends;
                    pending().await
                })
            },
        );
        assert!(timeout(SECOND, runs).await.is_err());
        sleep(SECOND).await;
        assert!(ended.load(Ordering::Relaxed));
    }
}
