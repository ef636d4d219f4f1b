//! A queue that serves the most urgent first and, among those, one namespace after the other, so that a crowd in one keeps
//! nobody of another waiting.

use super::urgency::{Errand, URGENCIES, Urgency};
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

/// Those who wait.
#[derive(Debug)]
pub struct FairQueue<T> {
    urgencies: [Turns<T>; URGENCIES],
    length: usize,
}

/// Those of one urgency.
#[derive(Debug)]
struct Turns<T> {
    /// The namespaces of which somebody waits, in the order of their turns.
    order: VecDeque<Arc<str>>,
    waiting: HashMap<Arc<str>, VecDeque<T>>,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self { order: VecDeque::new(), waiting: HashMap::new() }
    }
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self { urgencies: Default::default(), length: 0 }
    }
}

impl<T> FairQueue<T> {
    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Somebody comes, and waits behind those of his namespace and urgency.
    pub fn push(&mut self, errand: &Errand, who: T) {
        let Turns { order, waiting } = &mut self.urgencies[errand.urgency.rank()];
        let of_namespace = waiting.entry(errand.namespace.clone()).or_default();
        if of_namespace.is_empty() {
            order.push_back(errand.namespace.clone());
        }
        of_namespace.push_back(who);
        self.length += 1;
    }

    /// Who is next of those of an urgency.
    pub fn peek(&self, urgency: Urgency) -> Option<&T> {
        let Turns { order, waiting } = &self.urgencies[urgency.rank()];
        waiting.get(order.front()?)?.front()
    }

    /// Takes the next of those of an urgency; his namespace's next turn comes after all others'.
    pub fn pop(&mut self, urgency: Urgency) -> Option<T> {
        let Turns { order, waiting } = &mut self.urgencies[urgency.rank()];
        let namespace = order.pop_front()?;
        let of_namespace = waiting.get_mut(&namespace)?;
        let next = of_namespace.pop_front();
        if of_namespace.is_empty() {
            waiting.remove(&namespace);
        } else {
            order.push_back(namespace);
        }
        self.length -= usize::from(next.is_some());
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_urgent_come_first_and_namespaces_take_turns() {
        let mut queue = FairQueue::default();
        for number in 0..1000 {
            queue.push(&Errand::new(Urgency::Resync, "crowd"), number);
        }
        queue.push(&Errand::new(Urgency::Resync, "other"), 2000);
        queue.push(&Errand::new(Urgency::Changed, "crowd"), 3000);
        assert_eq!(queue.peek(Urgency::Changed), Some(&3000));
        assert_eq!(queue.pop(Urgency::Changed), Some(3000));
        assert_eq!(queue.pop(Urgency::Changed), None);
        let order: Vec<_> = std::iter::from_fn(|| queue.pop(Urgency::Resync)).collect();
        assert_eq!(order[..4], [0, 2000, 1, 2]);
        assert!(order.len() == 1001 && queue.is_empty());
        assert!(queue.urgencies.iter().all(|turns| turns.order.is_empty() && turns.waiting.is_empty()));
    }
}
