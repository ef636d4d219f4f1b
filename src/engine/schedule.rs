//! When each object's next pass begins. There is one at a time for each, and whoever asks for one meanwhile is served by one
//! more, however often he asked. Pure.

use std::{
    collections::{BTreeSet, HashMap, VecDeque, hash_map::Entry},
    hash::Hash,
    time::Duration,
};
use tokio::time::Instant;

/// `N` names an object; it is cheap to clone.
#[derive(Debug)]
pub struct Schedule<N> {
    objects: HashMap<N, State>,
    /// Those whose time has come, in the order in which it did.
    due: VecDeque<N>,
    timers: BTreeSet<(Instant, N)>,
}

/// Of an object that nobody asked a pass for there is none.
#[derive(Clone, Copy, Debug)]
enum State {
    Waiting(Instant),
    Due,
    Running { again: bool },
}

impl<N> Default for Schedule<N> {
    fn default() -> Self {
        Self { objects: HashMap::new(), due: VecDeque::new(), timers: BTreeSet::new() }
    }
}

impl<N: Clone + Eq + Hash + Ord> Schedule<N> {
    /// There is a reason to look at an object now.
    pub fn wake(&mut self, name: N) {
        match self.objects.entry(name) {
            Entry::Vacant(unknown) => {
                self.due.push_back(unknown.key().clone());
                unknown.insert(State::Due);
            }
            Entry::Occupied(mut known) => match *known.get() {
                State::Waiting(when) => {
                    self.timers.remove(&(when, known.key().clone()));
                    self.due.push_back(known.key().clone());
                    known.insert(State::Due);
                }
                State::Due => {}
                State::Running { .. } => drop(known.insert(State::Running { again: true })),
            },
        }
    }

    /// The object whose pass is to begin, if there is one. It counts as begun until [`Schedule::ended`].
    pub fn begin(&mut self, now: Instant) -> Option<N> {
        while let Some((when, _)) = self.timers.first()
            && *when <= now
            && let Some((_, name)) = self.timers.pop_first()
        {
            self.objects.insert(name.clone(), State::Due);
            self.due.push_back(name);
        }
        let name = self.due.pop_front()?;
        self.objects.insert(name.clone(), State::Running { again: false });
        Some(name)
    }

    /// A pass has ended, and asks for the next one after `wait`, or for none. Who asked meanwhile has it begin at once.
    pub fn ended(&mut self, name: N, wait: Option<Duration>, now: Instant) {
        let again = matches!(self.objects.get(&name), Some(State::Running { again: true }));
        match wait.map(|wait| now.checked_add(wait)) {
            _ if again => {
                self.objects.insert(name.clone(), State::Due);
                self.due.push_back(name);
            }
            Some(Some(when)) => {
                self.objects.insert(name.clone(), State::Waiting(when));
                self.timers.insert((when, name));
            }
            // Longer than there is time.
            Some(None) | None => drop(self.objects.remove(&name)),
        }
    }

    /// When the next of those who wait is due.
    pub fn next_time(&self) -> Option<Instant> {
        self.timers.first().map(|(when, _)| *when)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn begun(schedule: &mut Schedule<&'static str>, now: Instant) -> Vec<&'static str> {
        std::iter::from_fn(|| schedule.begin(now)).collect()
    }

    #[test]
    fn each_begins_once_and_once_more_for_all_who_asked_meanwhile() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        for name in ["a", "b", "a"] {
            schedule.wake(name);
        }
        assert_eq!(begun(&mut schedule, now), ["a", "b"]);
        schedule.wake("a");
        schedule.wake("a");
        assert_eq!(begun(&mut schedule, now), [""; 0], "it is under way");
        // What the pass asks for itself is later than what others asked for.
        schedule.ended("a", Some(SECOND), now);
        schedule.ended("b", None, now);
        assert_eq!(begun(&mut schedule, now), ["a"]);
        schedule.ended("a", None, now);
        assert!(schedule.objects.is_empty() && schedule.timers.is_empty() && schedule.due.is_empty());
    }

    #[test]
    fn what_waits_begins_when_its_time_comes_or_when_somebody_asks() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        for (name, wait) in [("a", 3), ("b", 1), ("c", 2), ("d", 0)] {
            schedule.wake(name);
            assert_eq!(schedule.begin(now), Some(name));
            schedule.ended(name, Some(SECOND * wait), now);
        }
        assert_eq!(begun(&mut schedule, now), ["d"]);
        assert_eq!(schedule.next_time(), Some(now + SECOND));
        schedule.wake("a");
        assert_eq!(begun(&mut schedule, now), ["a"]);
        schedule.ended("a", Some(SECOND * 9), now);
        assert_eq!(begun(&mut schedule, now + SECOND * 5), ["b", "c"], "its old time is forgotten");
        assert_eq!(schedule.next_time(), Some(now + SECOND * 9));
        schedule.ended("b", Some(Duration::MAX), now);
        assert!(begun(&mut schedule, now + SECOND * 8).is_empty());
    }
}
