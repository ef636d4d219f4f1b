//! When to come back. Every duration of the operator is in this file.

use backon::ExponentialBuilder;
use jiff::{SignedDuration, Timestamp};
use kube::runtime::watcher::ExponentialBackoff;
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

/// How long one request may take, from connecting to the last byte of the answer.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// How long the API server may take to begin an answer.
pub const API_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a watch of the API server lasts before it is begun anew where it was, in seconds; one that has heard nothing for
/// five seconds longer is on a dead connection, and is begun anew as well.
pub const WATCH: u32 = 30;
/// How long a connection to the API server may be silent before it is closed: longer than a watch is.
pub const API_SILENCE: Duration = Duration::from_secs(40);
/// How long it may take to store an intent. After that the world may have moved on, and the call is not made.
pub const PERMIT_AGE: Duration = Duration::from_secs(10);
/// For how long it is believed that objects may be written, before something is changed or deleted at the vendor for one.
pub const RIGHT: Duration = Duration::from_secs(10);
/// How long the API server may be away when the operator starts. Whoever ends after that is started again at once, since a
/// kubelet has forgotten earlier ends of a container that ran for ten minutes.
pub const API_AWAY: Duration = Duration::from_secs(660);
/// For how long a refusal may be that of an API server that starts itself, and does not know yet who asks and what they may.
pub const API_START: Duration = Duration::from_secs(5);
/// How long connecting may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the work that is under way may go on after SIGTERM.
pub const GRACE: Duration = Duration::from_secs(8);
/// How long saying goodbye to the vendors and to other replicas may take after that.
pub const FAREWELL: Duration = Duration::from_millis(1500);
/// Everything that waits for the vendor looks at the same moments, this far apart, so that looks share calls.
pub const BEAT: Duration = Duration::from_secs(15);
/// How long a batch waits for more requests.
pub const BATCH_WINDOW: Duration = Duration::from_millis(100);
/// A missing thing is believed to be missing only at a second look, this many beats later.
pub const SECOND_LOOK: u32 = 2;
/// How long the news of our own writes may be on the way, and how often to look for them.
pub const NEWS: Duration = Duration::from_secs(60);
/// See [`NEWS`].
pub const NEWS_LOOK: Duration = Duration::from_millis(200);
/// How often a build that has outlived its timeout, or a missing image, is still looked at.
pub const SLOW_LOOK: Duration = Duration::from_secs(600);
/// What was made and cannot be used is looked at every so many beats.
pub const UNUSABLE_LOOK: u32 = 4;
/// How long after an attempt that was not the first what an earlier one made may turn up late: until then it is looked for
/// every [`SLOW_LOOK`].
pub const LATE: Duration = Duration::from_secs(3600);
/// For how long it is tried to delete what was made for an object that was deleted in the same moment: longer than any build.
pub const OUTLIVED: Duration = Duration::from_secs(24 * 3600);
/// How long to wait for a permit of the rate limiter before giving the worker back.
pub const ADMISSION: Duration = Duration::from_secs(30);
/// How far a vendor's clock may be behind ours: most refuse requests beyond that.
pub const SKEW: SignedDuration = SignedDuration::from_mins(15);
/// How far clocks that are right may differ.
pub const CLOCKS: SignedDuration = SignedDuration::from_secs(30);
/// After that, nothing that is made can be taken for what a call made whose answer was lost: a vendor that takes its time, with a
/// clock that is far ahead.
pub const TOLD_BY_TIME: SignedDuration = SignedDuration::from_mins(31);
/// For how long after a call its token is sure to mean it. For how long vendors honour tokens is not published; it is meant for
/// repetitions, and none is known to forget one sooner.
pub const TOKEN: SignedDuration = SignedDuration::from_mins(10);
/// What takes longer to delete at the vendor is shown to be going meanwhile: it is worth a write then.
pub const GONE_AT_ONCE: Duration = Duration::from_secs(1);
/// How many looks in a row may find the vendor still at work before it is asked again to delete.
pub const DELETION_LOOKS: u32 = 8;
/// How long an object waits for a rate permit to create before it lets others have its worker.
pub const CREATE_PERMIT_WAIT: Duration = Duration::from_secs(3);
/// How soon an object that got no rate permit gets in line for a worker again.
pub const AGAIN: Duration = Duration::from_millis(200);
/// How long credentials that were refused again and again are not tried, at first and at most.
pub const REFUSED: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// The longest pause that a vendor can ask for.
pub const PAUSE: Duration = Duration::from_secs(300);
/// How many times a difference may be set right without effect before the object is Stalled.
pub const AMENDMENTS: u32 = 3;
/// How long the API server may take to serve CRDs that were installed a moment ago.
pub const CRDS: Duration = Duration::from_secs(5);
/// The same for one that has just come back, and begins by reading what CRDs there are.
pub const CRDS_BACK: Duration = Duration::from_secs(60);
/// How often it is looked whether the CRDs are still what the operator needs.
pub const FIT_CRDS: Duration = Duration::from_secs(60);
/// And how often whether they are at last.
pub const UNFIT_CRDS: Duration = Duration::from_secs(2);
/// How long the first reading of all accounts may take before an image says that it waits for it.
pub const ACCOUNTS: Duration = Duration::from_secs(5);
/// How long after its creation an object may lack what it names before that is a person's to mend: manifests are applied in
/// any order.
pub const ARRIVAL: Duration = Duration::from_secs(120);
/// How long changes in the number of an account's users are collected before they are written.
pub const USAGE_DEBOUNCE: Duration = Duration::from_secs(2);
/// For how long what a creating call needs counts as there once it was seen.
pub const PREFLIGHT: Duration = Duration::from_secs(60);
/// How often an object that waits for another one looks again by itself; news of the other wake it at once.
pub const OTHERS: Duration = Duration::from_secs(60);
/// How long a namespace's labels are remembered, for `allowedNamespaces.selector`.
pub const NAMESPACE_LABELS: Duration = Duration::from_secs(30);
/// How long it is remembered that they could not be read.
pub const RIGHT_AWAY: Duration = Duration::from_secs(1);

/// How long a failure may take that is not shown before it is the third in a row.
pub const HICCUP: Duration = Duration::from_secs(10);
/// How long a vendor that keeps silent is left alone before one call finds out whether it still does.
pub const SILENCE: Duration = Duration::from_secs(5);
/// How many accounts are looked after at once.
pub const ACCOUNT_WORKERS: u16 = 32;
/// How often it is looked whether a worker has nobody to work on while others wait for one.
pub const WORKERS: Duration = Duration::from_secs(1);
/// How long reading one Secret may take.
pub const SECRET: Duration = Duration::from_secs(10);
/// How long one watch of Secrets lasts before it is begun anew where it was, in seconds.
pub const SECRET_WATCH: u32 = 30;
/// How often a Secret is read that no watch serves, and how far apart two such reads are at least.
pub const SECRET_POLL: Duration = Duration::from_secs(30);
/// See [`SECRET_POLL`].
pub const SECRET_POLL_GAP: Duration = Duration::from_millis(50);
/// How long rights that are missing are not asked for again.
pub const RIGHTS: Duration = Duration::from_secs(600);

/// Wait after the `failures`-th failure in a row: doubles from one second, within half and whole of the step, so that
/// objects that failed together do not come back together.
pub fn backoff(failures: u32, slow: bool) -> Duration {
    let (first, most) = if slow { (15, 600) } else { (1, 300) };
    let step = Duration::from_secs(first)
        .saturating_mul(1 << failures.saturating_sub(1).min(16))
        .min(Duration::from_secs(most));
    step.mul_f64(rand::random_range(0.5..=1.0))
}

/// Wait after the `failures`-th time in a row that the API server did not answer, or could not: however long it is away, work
/// goes on within ten seconds of its return.
pub fn api_backoff(failures: u32) -> Duration {
    backoff(failures.min(4), false)
}

/// The same for what everybody waits for who uses an account. What the API server refuses is refused until somebody mends it.
pub fn reading(failures: u32, passes: bool) -> Duration {
    if passes { api_backoff(failures) } else { backoff(failures, false) }
}

/// The same for a watch that ended with an error.
pub fn watches() -> ExponentialBackoff {
    api_steps().into()
}

/// The same as steps, for who counts no failures.
pub fn api_steps() -> ExponentialBuilder {
    // The jitter is added, up to as much again.
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(800))
        .with_max_delay(Duration::from_secs(4))
        .with_factor(2.0)
        .with_jitter()
        .without_max_times()
}

/// Time from `now` (since any fixed moment) to the next beat. `seed` shifts the beat, so that accounts do not all
/// call at once.
pub fn to_next_beat(now: Duration, beat: Duration, seed: u64) -> Duration {
    let beat = beat.as_millis().max(1);
    let into = (now.as_millis() + u128::from(seed) % beat) % beat;
    Duration::from_millis(u64::try_from(beat - into).unwrap_or(u64::MAX))
}

/// In how many crowds the objects of an interval are looked at: few enough that those of a crowd fill the calls that they share.
const CROWDS: u64 = 16;

/// Time from `now` (since the epoch) to an object's next look. Each object belongs to one of some crowds on a fixed grid, so
/// looks are spread over the interval, and a restart neither repeats nor shifts them.
pub fn to_next_resync(now: Duration, interval: Duration, uid: &str) -> Option<Duration> {
    let apart = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX) / CROWDS;
    (!interval.is_zero()).then(|| to_next_beat(now, interval, seed(uid) % CROWDS * apart))
}

/// For how long yet what an object names may be on its way, at `now`.
pub fn youth(born: Option<Timestamp>, now: Timestamp) -> Duration {
    let age = born.map_or(ARRIVAL, |born| Duration::try_from(now.duration_since(born)).unwrap_or_default());
    ARRIVAL.saturating_sub(age)
}

/// A number that stays the same for the same text while the program runs.
pub fn seed(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_server_that_was_away_for_long_is_asked_again_within_ten_seconds_of_its_return() {
        assert!((1..1000).all(|failures| api_backoff(failures) <= Duration::from_secs(8)));
        assert!((1..1000).all(|failures| reading(failures, true) <= Duration::from_secs(8)));
        assert!(watches().take(1000).all(|wait| wait <= Duration::from_secs(8)));
    }

    #[test]
    fn backoff_grows_and_stays_bounded() {
        for (slow, first, most) in [(false, 1, 300), (true, 15, 600)] {
            for failures in 1..40 {
                let wait = backoff(failures, slow).as_secs_f64();
                assert!(wait >= f64::from(first) / 2.0 && wait <= f64::from(most), "{failures}: {wait}");
            }
            assert!(backoff(30, slow).as_secs_f64() >= f64::from(most) / 2.0);
        }
    }

    #[test]
    fn waiting_objects_of_one_account_meet_on_the_beat() {
        let beat = Duration::from_secs(15);
        for now in [0, 1, 14_999, 15_000, 123_456] {
            let wake =
                now + u64::try_from(to_next_beat(Duration::from_millis(now), beat, 7).as_millis()).unwrap();
            assert_eq!((wake + 7) % 15_000, 0);
            assert!(wake > now && wake <= now + 15_000);
        }
    }

    #[test]
    fn a_resync_of_a_thousand_costs_little_more_than_a_call_for_each_batch() {
        let (batch, interval) = (20, Duration::from_secs(36_000));
        let mut moments = std::collections::BTreeMap::<_, usize>::new();
        for number in 0..1000 {
            let next = to_next_resync(Duration::ZERO, interval, &format!("uid-{number}")).unwrap();
            *moments.entry(next).or_default() += 1;
        }
        let calls: usize = moments.values().map(|count| count.div_ceil(batch)).sum();
        assert!(calls <= 1000 / batch + moments.len(), "{calls}");
        assert!(moments.len() == 16 && moments.values().all(|count| *count < 125), "spread: {moments:?}");
    }

    /// Ten thousand in half an hour are ten thousand looks, and five hundred calls: for each crowd there is time for many times
    /// the calls that it takes, whatever others wait for.
    #[test]
    fn ten_thousand_are_looked_at_each_half_hour_in_few_calls() {
        let (batch, interval) = (20, Duration::from_secs(1800));
        let mut moments = std::collections::BTreeMap::<_, usize>::new();
        for number in 0..10_000 {
            let mut now = Duration::ZERO;
            // One after the other, as long as the interval lasts, each once.
            while let Some(next) = to_next_resync(now, interval, &format!("uid-{number}")) {
                now += next;
                if now > interval {
                    break;
                }
                *moments.entry(now).or_default() += 1;
            }
        }
        assert_eq!(moments.values().sum::<usize>(), 10_000);
        let calls = |count: &usize| count.div_ceil(batch);
        let all: usize = moments.values().map(calls).sum();
        assert!(all <= 10_000 / batch + moments.len(), "{all}");
        // One after the other, each as slow as half a second.
        let (most, apart) = (moments.values().map(calls).max().unwrap_or(0), interval.as_secs() / CROWDS);
        assert!(u64::try_from(most).is_ok_and(|most| most / 2 < apart / 4), "{most} calls in {apart} s");
    }

    #[test]
    fn resync_keeps_its_phase_over_a_restart_and_can_be_off() {
        let interval = Duration::from_secs(36_000);
        let first = Duration::from_secs(5) + to_next_resync(Duration::from_secs(5), interval, "uid").unwrap();
        let later = Duration::from_secs(6) + to_next_resync(Duration::from_secs(6), interval, "uid").unwrap();
        assert_eq!(first, later);
        assert_eq!(to_next_resync(Duration::ZERO, Duration::ZERO, "uid"), None);
    }
}
