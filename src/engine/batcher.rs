//! Many callers ask about one thing each; one call to the vendor answers them all.

use super::{
    request_id,
    urgency::{self, Errand},
};
use crate::{
    panics,
    wire::{CallError, Class},
};
use std::{collections::HashMap, future::Future, hash::Hash, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};
use tracing::{Instrument, Span};

/// How many calls are made at most to find out whom a refusal is about.
const CALLS: usize = 16;
/// How many windows a batch waits at most while requests keep coming.
const WINDOWS: u32 = 5;

/// Where an answer goes: with the id of the request that got it.
type Reply<A> = oneshot::Sender<(Result<Option<A>, CallError>, Option<String>)>;

/// What is asked about, by whose work and on what errand, and where the answer goes.
type Request<T, A> = (T, (Span, Errand), Reply<A>);

/// Where to ask about a `T` and get an `A`. Cheap to clone; ends when the last clone is dropped.
#[derive(Debug)]
pub struct Batcher<T, A> {
    sender: mpsc::UnboundedSender<Request<T, A>>,
}

impl<T, A> Clone for Batcher<T, A> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone() }
    }
}

impl<T, A> Batcher<T, A>
where
    T: Clone + Eq + Hash + Send + Sync + 'static,
    A: Clone + Send + Sync + 'static,
{
    /// `call` asks the vendor about up to `batch` things at once. A batch leaves when it is full, or when no request came for
    /// `window`, or some windows after the first request. A refusal that may be about one of several is asked about again
    /// in halves, so that it is that one's alone.
    pub fn start<F, D>(batch: usize, window: Duration, call: F) -> Self
    where
        F: Fn(Vec<T>) -> D + Send + Sync + 'static,
        D: Future<Output = Result<HashMap<T, A>, CallError>> + Send + 'static,
    {
        let (sender, mut queue) = mpsc::unbounded_channel::<Request<T, A>>();
        let call = Arc::new(call);
        tokio::spawn(async move {
            while let Some(first) = queue.recv().await {
                let latest = Instant::now() + window * WINDOWS;
                let mut requests = vec![first];
                while requests.len() < batch {
                    // A crowd on a busy machine takes a while to get in, and is worth waiting for.
                    let leaves = (Instant::now() + window).min(latest);
                    match timeout_at(leaves, queue.recv()).await {
                        Ok(Some(request)) => requests.push(request),
                        Ok(None) | Err(_) => break,
                    }
                }
                let call = call.clone();
                // Those of other batches are no worse off when it panics.
                tokio::spawn(panics::alone(async move {
                    let (mut batches, mut calls) = (vec![requests], 0);
                    while let Some(mut requests) = batches.pop() {
                        calls += 1;
                        let asked = call(requests.iter().map(|(thing, ..)| thing.clone()).collect());
                        // In a trace, the call is part of the work that asked first; the others' point to it.
                        let first =
                            requests.first().map_or_else(Span::none, |(_, (span, _), _)| span.clone());
                        for (_, (span, _), _) in requests.iter().skip(1) {
                            span.follows_from(&first);
                        }
                        // Who can wait is asked about along with who cannot.
                        let errands = requests.iter().map(|(_, (_, errand), _)| errand);
                        let errand = errands.min_by_key(|errand| errand.urgency).cloned().unwrap_or_default();
                        let asked = urgency::within(errand, asked);
                        let (answers, request_id) = request_id::within(asked).instrument(first).await;
                        let goes_on = requests.len() > 1 && calls < CALLS;
                        if goes_on && answers.as_ref().is_err_and(may_be_about_one) {
                            batches.push(requests.split_off(requests.len() / 2));
                            batches.push(requests);
                            continue;
                        }
                        for (thing, _, reply) in requests {
                            let answer = answers.as_ref().map(|all| all.get(&thing).cloned());
                            // Who asked and has gone away meanwhile does not mind.
                            let _ = reply.send((answer.map_err(Clone::clone), request_id.clone()));
                        }
                    }
                }));
            }
        });
        Self { sender }
    }

    /// Reads like a call for one. `None`: the answer says nothing about this thing.
    pub async fn ask(&self, thing: T) -> Result<Option<A>, CallError> {
        let (reply, answer) = oneshot::channel();
        let stopped = || CallError::NotSent("the connection was replaced meanwhile".into());
        let by = (Span::current(), urgency::current());
        self.sender.send((thing, by, reply)).map_err(|_| stopped())?;
        let (answer, request_id) = answer.await.map_err(|_| stopped())?;
        request_id::note(request_id.as_deref());
        answer
    }
}

fn may_be_about_one(error: &CallError) -> bool {
    matches!(error.class(), Some(Class::Invalid | Class::NotFound | Class::Unlisted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::pace;
    use crate::wire::Refusal;
    use futures::future::join_all;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn batcher(calls: &Arc<AtomicUsize>) -> Batcher<u32, u32> {
        let calls = calls.clone();
        Batcher::start(20, pace::BATCH_WINDOW, move |things: Vec<u32>| {
            calls.fetch_add(1, Ordering::SeqCst);
            async move {
                Ok(things.into_iter().filter(|thing| *thing != 13).map(|thing| (thing, thing * 2)).collect())
            }
        })
    }

    #[tokio::test(start_paused = true)]
    async fn two_hundred_share_ten_calls_and_each_gets_its_own_answer() {
        let calls = Arc::default();
        let batcher = batcher(&calls);
        let answers = join_all((0..200).map(|thing| batcher.ask(thing))).await;
        for (thing, answer) in (0..).zip(answers) {
            assert_eq!(answer, Ok((thing != 13).then_some(thing * 2)));
        }
        assert_eq!(calls.load(Ordering::SeqCst), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_waits_for_requests_that_keep_coming_but_not_for_ever() {
        let calls = Arc::default();
        let batcher = Batcher::start(1000, pace::BATCH_WINDOW, {
            let calls: Arc<AtomicUsize> = Arc::clone(&calls);
            move |things: Vec<u32>| {
                calls.fetch_add(1, Ordering::SeqCst);
                async move { Ok(things.into_iter().map(|thing| (thing, thing)).collect()) }
            }
        });
        let start = Instant::now();
        let first = batcher.ask(0);
        let others = (1..100_u32).map(|thing| {
            let batcher = &batcher;
            async move {
                tokio::time::sleep(pace::BATCH_WINDOW / 2 * thing).await;
                batcher.ask(thing).await
            }
        });
        let others = join_all(others);
        let (answer, _) = tokio::join!(async { (first.await, start.elapsed()) }, others);
        assert_eq!(answer.0, Ok(Some(0)));
        assert!((pace::BATCH_WINDOW * WINDOWS..pace::BATCH_WINDOW * 6).contains(&answer.1), "{:?}", answer.1);
        assert!(calls.load(Ordering::SeqCst) <= 11, "{}", calls.load(Ordering::SeqCst));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_call_fails_every_request() {
        let batcher = Batcher::<u32, u32>::start(5, pace::BATCH_WINDOW, |_| async {
            Err(CallError::NotSent("no".into()))
        });
        for answer in join_all((0..3).map(|thing| batcher.ask(thing))).await {
            assert_eq!(answer, Err(CallError::NotSent("no".into())));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_vendor_cannot_read_fails_alone() {
        let batcher = Batcher::<u32, u32>::start(100, pace::BATCH_WINDOW, |things| async move {
            let refusal = Refusal {
                action: "Describe".into(),
                status: 400,
                code: "InvalidParameter".into(),
                message: String::new(),
                request_id: String::new(),
                class: Class::Invalid,
                hint: "",
                retry_after: None,
            };
            let odd = things.contains(&13);
            if odd {
                Err(CallError::Refused(refusal))
            } else {
                Ok(things.into_iter().map(|thing| (thing, 1)).collect())
            }
        });
        for (thing, answer) in (0..).zip(join_all((0..100).map(|thing| batcher.ask(thing))).await) {
            if thing == 13 {
                assert_eq!(answer.unwrap_err().class(), Some(Class::Invalid));
            } else {
                assert_eq!(answer, Ok(Some(1)), "{thing}");
            }
        }
    }

    /// What a shared beat saves, against timers of each object's own.
    #[tokio::test(start_paused = true)]
    async fn objects_that_wait_on_the_beat_share_calls() {
        let calls = Arc::default();
        let batcher = batcher(&calls);
        let start = Instant::now();
        join_all((0..200u32).map(|thing| {
            let batcher = batcher.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(u64::from(thing) * 7919 % 15_000)).await;
                while start.elapsed() < Duration::from_secs(600) {
                    let _ = batcher.ask(thing).await;
                    tokio::time::sleep(pace::to_next_beat(start.elapsed(), pace::BEAT, 0)).await;
                }
            }
        }))
        .await;
        assert!(calls.load(Ordering::SeqCst) < 10 * 40 + 150, "{}", calls.load(Ordering::SeqCst));
    }
}
