//! Who is worked on now: each account has some workers of its own and a share of the common ones, so that a crowd at an account
//! whose vendor is slow or dead keeps nobody else waiting. Who finds no worker waits in the account's queue, and holds nothing.

use super::accounts::AccountKey;
use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt::Debug,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::mpsc;

/// How many objects of one account are worked on whatever others do.
const OWN: usize = 4;
/// How many beyond that, of all accounts together.
const COMMON: usize = 1024;
/// How many objects of one account are worked on at most: enough to fill batches.
const MOST: usize = 256;
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
    busy: usize,
    objects: VecDeque<R>,
    queued: HashSet<R>,
}

impl<R> Default for Queue<R> {
    fn default() -> Self {
        Self { busy: 0, objects: VecDeque::new(), queued: HashSet::new() }
    }
}

/// A busy worker; dropping it makes it free.
#[derive(Debug)]
pub struct Worker<R: Clone + Eq + Hash> {
    workers: Arc<Workers<R>>,
    account: AccountKey,
}

impl<R: Clone + Eq + Hash> Workers<R> {
    /// Those who waited are named to the receiver when it is worth coming again.
    pub fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<R>) {
        let (wake, woken) = mpsc::unbounded_channel();
        let state = State { common: 0, accounts: HashMap::new(), waiting: VecDeque::new() };
        (Arc::new(Self { state: Mutex::new(state), wake }), woken)
    }

    /// A worker for an object of this account; `None`: it waits in the account's queue, and is named when its turn comes.
    pub fn enter(self: &Arc<Self>, account: &AccountKey, object: &R) -> Option<Worker<R>> {
        let mut state = self.state();
        let State { common, accounts, waiting } = &mut *state;
        let queue = accounts.entry(account.clone()).or_default();
        if !queue.has_room(*common) {
            if queue.queued.insert(object.clone()) {
                queue.objects.push_back(object.clone());
                if queue.objects.len() == 1 {
                    waiting.push_back(account.clone());
                }
            }
            return None;
        }
        if queue.busy >= OWN {
            *common += 1;
        }
        queue.busy += 1;
        Some(Worker { workers: self.clone(), account: account.clone() })
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
            let next = queue.has_room(state.common).then(|| queue.objects.pop_front()).flatten();
            let is_empty = queue.objects.is_empty();
            if let Some(object) = &next {
                queue.queued.remove(object);
            }
            if is_empty && queue.busy == 0 {
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

    fn leave(&self, account: &AccountKey) {
        let mut state = self.state();
        let State { common, accounts, .. } = &mut *state;
        if let Some(queue) = accounts.get_mut(account) {
            queue.busy -= 1;
            if queue.busy >= OWN {
                *common -= 1;
            }
            if queue.busy == 0 && queue.objects.is_empty() {
                accounts.remove(account);
            }
        }
        self.wake_next(&mut state);
    }

    fn state(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R> Queue<R> {
    fn has_room(&self, common: usize) -> bool {
        self.busy < OWN || self.busy < MOST && common < COMMON
    }
}

impl<R: Clone + Eq + Hash> Drop for Worker<R> {
    fn drop(&mut self) {
        self.workers.leave(&self.account);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::AccountKind;

    fn account(name: impl ToString) -> AccountKey {
        AccountKey { kind: AccountKind::ClusterCloudAccount, namespace: None, name: name.to_string() }
    }

    fn enter(workers: &Arc<Workers<usize>>, name: &str, objects: usize) -> Vec<Worker<usize>> {
        (0..objects).filter_map(|object| workers.enter(&account(name), &object)).collect()
    }

    #[test]
    fn a_crowd_leaves_room_for_others() {
        let (workers, _woken) = Workers::new();
        let crowds: Vec<_> = (0..20).map(|crowd| enter(&workers, &format!("crowd-{crowd}"), 2000)).collect();
        assert!(crowds.iter().all(|crowd| (OWN..=MOST).contains(&crowd.len())));
        assert_eq!(crowds.iter().map(Vec::len).sum::<usize>(), COMMON + 20 * OWN);
        assert_eq!(enter(&workers, "quiet", 10).len(), OWN);
    }

    #[test]
    fn who_waits_is_named_when_a_worker_is_free_and_accounts_take_turns() {
        let (workers, mut woken) = Workers::new();
        let mut one = enter(&workers, "one", MOST + 3);
        assert_eq!(one.len(), MOST);
        assert!(workers.enter(&account("one"), &MOST).is_none(), "it waits already");
        let fill = |(filler, count)| enter(&workers, &format!("filler-{filler}"), count);
        let rest = COMMON - 4 * (MOST - OWN) + OWN;
        let fillers: Vec<_> = [MOST, MOST, MOST, rest].into_iter().enumerate().map(fill).collect();
        let mut two = enter(&workers, "two", OWN + 2);
        assert_eq!(two.len(), OWN);
        one.pop();
        assert_eq!(woken.try_recv(), Ok(MOST), "of the account that waits longest and has room");
        let again = workers.enter(&account("one"), &MOST);
        assert!(again.is_some());
        two.pop();
        assert_eq!(woken.try_recv(), Ok(OWN));
        drop((one, two, again, fillers));
        let mut rest: Vec<_> = std::iter::from_fn(|| woken.try_recv().ok()).collect();
        rest.sort_unstable();
        assert_eq!(rest, [OWN + 1, MOST + 1, MOST + 2]);
        assert!(workers.state().accounts.is_empty() && workers.state().common == 0);
    }

    #[test]
    fn a_place_that_nobody_took_is_offered_again() {
        let (workers, mut woken) = Workers::new();
        let mut one = enter(&workers, "one", MOST + 2);
        one.pop();
        assert_eq!(woken.try_recv(), Ok(MOST), "and this object is deleted before it comes");
        assert!(woken.try_recv().is_err());
        workers.look_again();
        assert_eq!(woken.try_recv(), Ok(MOST + 1));
    }
}
