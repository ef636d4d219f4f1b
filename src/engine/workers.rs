//! Who is worked on now: each account has some workers of its own and a share of the common ones, so that a crowd at an account
//! whose vendor is slow or dead keeps nobody else waiting. Who finds no worker waits in the account's queue, and holds nothing:
//! the most urgent come first, each urgency has workers that the others leave to it, and namespaces take turns.

use super::{
    accounts::AccountKey,
    queue::FairQueue,
    urgency::{Errand, URGENCIES, Urgency},
};
use std::{
    collections::{HashMap, VecDeque},
    fmt::Debug,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::mpsc;

/// How many objects of one account and urgency are worked on whatever others do.
const OWN: usize = 1;
/// How many beyond that, of all accounts together.
const COMMON: usize = 1024;
/// How many objects of one account are worked on at most: enough to fill batches.
const MOST: usize = 256;
/// How many of those are left to each urgency, as long as it does not use them.
const LEFT: usize = 32;
/// How many are named at once when places may have been left empty.
const LOOK: usize = 64;

/// The workers of one kind. `R` names an object.
#[derive(Debug)]
pub struct Workers<R> {
    state: Mutex<State<R>>,
    wake: mpsc::UnboundedSender<R>,
}

#[derive(Debug)]
struct State<R> {
    /// How many of the common workers are busy.
    common: usize,
    accounts: HashMap<AccountKey, Queue<R>>,
    /// The accounts in whose queues somebody waits, in the order of their turns.
    waiting: VecDeque<AccountKey>,
}

#[derive(Debug)]
struct Queue<R> {
    /// By urgency.
    busy: [usize; URGENCIES],
    objects: FairQueue<R>,
    /// Who waits, and the most urgent errand on which.
    queued: HashMap<R, Urgency>,
}

impl<R> Default for Queue<R> {
    fn default() -> Self {
        Self { busy: [0; URGENCIES], objects: FairQueue::default(), queued: HashMap::new() }
    }
}

/// A busy worker; dropping it makes it free.
#[derive(Debug)]
pub struct Worker<R: Clone + Eq + Hash> {
    workers: Arc<Workers<R>>,
    account: AccountKey,
    urgency: Urgency,
}

impl<R: Clone + Eq + Hash> Workers<R> {
    /// Those who waited are named to the receiver when it is worth coming again.
    pub fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<R>) {
        let (wake, woken) = mpsc::unbounded_channel();
        let state = State { common: 0, accounts: HashMap::new(), waiting: VecDeque::new() };
        (Arc::new(Self { state: Mutex::new(state), wake }), woken)
    }

    /// A worker for an object of this account; `None`: it waits in the account's queue, and is named when its turn comes.
    pub fn enter(self: &Arc<Self>, account: &AccountKey, errand: &Errand, object: &R) -> Option<Worker<R>> {
        let mut state = self.state();
        let State { common, accounts, waiting } = &mut *state;
        let queue = accounts.entry(account.clone()).or_default();
        let urgency = errand.urgency;
        if !queue.has_room(urgency, *common) {
            // What has become more urgent waits a second time, further ahead.
            if queue.queued.get(object).is_none_or(|known| *known > urgency) {
                if queue.objects.is_empty() {
                    waiting.push_back(account.clone());
                }
                queue.queued.insert(object.clone(), urgency);
                queue.objects.push(errand, object.clone());
            }
            return None;
        }
        if queue.busy[urgency.rank()] >= OWN {
            *common += 1;
        }
        queue.busy[urgency.rank()] += 1;
        Some(Worker { workers: self.clone(), account: account.clone(), urgency })
    }

    /// Names whoever could come now. What was named before may have gone since, and left its place empty.
    pub fn look_again(&self) {
        let mut state = self.state();
        for _ in 0..LOOK {
            self.wake_next(&mut state);
        }
    }

    /// The next object of the next account that has room.
    fn wake_next(&self, state: &mut State<R>) {
        for _ in 0..state.waiting.len() {
            let Some(account) = state.waiting.pop_front() else { return };
            let Some(queue) = state.accounts.get_mut(&account) else { continue };
            let next = queue.next(state.common);
            let is_empty = queue.objects.is_empty();
            if is_empty && queue.is_idle() {
                state.accounts.remove(&account);
            }
            if !is_empty {
                state.waiting.push_back(account);
            }
            if let Some(object) = next {
                // Without a receiver the program is ending.
                let _ = self.wake.send(object);
                return;
            }
        }
    }

    fn leave(&self, account: &AccountKey, urgency: Urgency) {
        let mut state = self.state();
        let State { common, accounts, .. } = &mut *state;
        if let Some(queue) = accounts.get_mut(account) {
            let busy = &mut queue.busy[urgency.rank()];
            *busy -= 1;
            if *busy >= OWN {
                *common -= 1;
            }
            if queue.is_idle() && queue.objects.is_empty() {
                accounts.remove(account);
            }
        }
        self.wake_next(&mut state);
    }

    fn state(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: Clone + Eq + Hash> Queue<R> {
    /// Takes the most urgent object for which there is a worker.
    fn next(&mut self, common: usize) -> Option<R> {
        for urgency in Urgency::ALL {
            while self.has_room(urgency, common)
                && let Some(object) = self.objects.pop(urgency)
            {
                // It may have been named already as more urgent.
                if self.queued.get(&object) == Some(&urgency) {
                    self.queued.remove(&object);
                    return Some(object);
                }
            }
        }
        None
    }
}

impl<R> Queue<R> {
    fn has_room(&self, urgency: Urgency, common: usize) -> bool {
        let others = Urgency::ALL.iter().filter(|other| **other != urgency);
        let left: usize = others.map(|other| self.busy[other.rank()].max(LEFT)).sum();
        let busy = self.busy[urgency.rank()];
        busy < OWN || common < COMMON && busy + left < MOST
    }

    fn is_idle(&self) -> bool {
        self.busy == [0; URGENCIES]
    }
}

impl<R: Clone + Eq + Hash> Drop for Worker<R> {
    fn drop(&mut self) {
        self.workers.leave(&self.account, self.urgency);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::AccountKind;

    /// How many of one urgency get workers.
    const CROWD: usize = MOST - (URGENCIES - 1) * LEFT;

    fn account(name: impl ToString) -> AccountKey {
        AccountKey { kind: AccountKind::ClusterCloudAccount, namespace: None, name: name.to_string() }
    }

    fn errand(urgency: Urgency) -> Errand {
        Errand::new(urgency, "ns")
    }

    fn enter(workers: &Arc<Workers<usize>>, name: &str, objects: usize) -> Vec<Worker<usize>> {
        let errand = errand(Urgency::Changed);
        (0..objects).filter_map(|object| workers.enter(&account(name), &errand, &object)).collect()
    }

    #[test]
    fn a_crowd_leaves_room_for_others() {
        let (workers, _woken) = Workers::new();
        let crowds: Vec<_> = (0..20).map(|crowd| enter(&workers, &format!("crowd-{crowd}"), 2000)).collect();
        assert!(crowds.iter().all(|crowd| (OWN..=CROWD).contains(&crowd.len())));
        assert_eq!(crowds.iter().map(Vec::len).sum::<usize>(), COMMON + 20 * OWN);
        assert_eq!(enter(&workers, "quiet", 10).len(), OWN);
    }

    #[test]
    fn who_waits_is_named_when_a_worker_is_free_and_accounts_take_turns() {
        let (workers, mut woken) = Workers::new();
        let mut one = enter(&workers, "one", CROWD + 3);
        assert_eq!(one.len(), CROWD);
        assert!(
            workers.enter(&account("one"), &errand(Urgency::Changed), &CROWD).is_none(),
            "it waits already"
        );
        let fillers: Vec<_> =
            (0..10).map(|filler| enter(&workers, &format!("filler-{filler}"), CROWD)).collect();
        let mut two = enter(&workers, "two", OWN + 2);
        assert_eq!(two.len(), OWN);
        one.pop();
        assert_eq!(woken.try_recv(), Ok(CROWD), "of the account that waits longest and has room");
        let again = workers.enter(&account("one"), &errand(Urgency::Changed), &CROWD);
        assert!(again.is_some());
        two.pop();
        assert!(woken.try_recv().is_ok());
        drop((one, two, again, fillers));
        workers.look_again();
        let rest = std::iter::from_fn(|| woken.try_recv().ok()).filter(|object| *object > CROWD).count();
        assert_eq!(rest, 2);
        while woken.try_recv().is_ok() {}
        for _ in 0..100 {
            workers.look_again();
        }
        assert!(workers.state().accounts.is_empty() && workers.state().common == 0);
    }

    #[test]
    fn what_has_changed_overtakes_looks_and_namespaces_take_turns() {
        let (workers, mut woken) = Workers::new();
        let enter = |urgency, namespace, object| {
            workers.enter(&account("one"), &Errand::new(urgency, namespace), &object)
        };
        let looks: Vec<_> =
            (0..10_000).filter_map(|object| enter(Urgency::Resync, "crowd", object)).collect();
        assert_eq!(looks.len(), CROWD, "looks leave workers to what is more urgent");
        assert!(enter(Urgency::Changed, "crowd", 20_000).is_some(), "so it does not wait");
        let changes: Vec<_> =
            (30_000..31_000).filter_map(|object| enter(Urgency::Changed, "crowd", object)).collect();
        assert!(enter(Urgency::Changed, "other", 40_000).is_none());
        // One of those that wait for a look is changed.
        assert!(enter(Urgency::Changed, "third", 9_999).is_none());
        drop(changes);
        let order: Vec<_> = std::iter::from_fn(|| woken.try_recv().ok()).collect();
        assert_eq!(order[1..3], [40_000, 9_999], "{order:?}");
        drop(looks);
        let order: Vec<_> = std::iter::from_fn(|| woken.try_recv().ok()).collect();
        assert!(!order.contains(&9_999), "it is named once");
    }

    #[test]
    fn a_place_that_nobody_took_is_offered_again() {
        let (workers, mut woken) = Workers::new();
        let mut one = enter(&workers, "one", CROWD + 2);
        one.pop();
        assert_eq!(woken.try_recv(), Ok(CROWD), "and this object is deleted before it comes");
        assert!(woken.try_recv().is_err());
        workers.look_again();
        assert_eq!(woken.try_recv(), Ok(CROWD + 1));
    }
}
