//! News for those who listen: each piece once, however often it is told before it is heard, so that none is lost and what
//! waits to be heard is bounded by what there is to tell of.

use super::lock;
use futures::{Stream, stream};
use std::{
    collections::{HashSet, VecDeque},
    hash::Hash,
    sync::{Arc, Mutex, Weak},
};
use tokio::sync::Notify;

/// Where news are told.
#[derive(Debug)]
pub struct News<T>(Mutex<Vec<Weak<Listener<T>>>>);

impl<T> Default for News<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

#[derive(Debug)]
struct Listener<T> {
    unheard: Mutex<Unheard<T>>,
    wake: Notify,
}

#[derive(Debug)]
struct Unheard<T> {
    known: HashSet<T>,
    order: VecDeque<T>,
}

impl<T: Clone + Eq + Hash + Send + 'static> News<T> {
    /// Tells all who listen.
    pub fn tell(&self, news: &T) {
        for listener in lock(&self.0).iter().filter_map(Weak::upgrade) {
            let mut unheard = lock(&listener.unheard);
            if unheard.known.insert(news.clone()) {
                unheard.order.push_back(news.clone());
                listener.wake.notify_one();
            }
        }
    }

    /// What is told from now on. Does not end.
    pub fn listen(&self) -> impl Stream<Item = T> + Send + use<T> {
        let unheard = Mutex::new(Unheard { known: HashSet::new(), order: VecDeque::new() });
        let listener = Arc::new(Listener { unheard, wake: Notify::new() });
        let mut listeners = lock(&self.0);
        listeners.retain(|listener| listener.strong_count() > 0);
        listeners.push(Arc::downgrade(&listener));
        stream::unfold(listener, |listener| async {
            loop {
                let next = lock(&listener.unheard).pop();
                match next {
                    Some(news) => return Some((news, listener)),
                    None => listener.wake.notified().await,
                }
            }
        })
    }
}

impl<T: Eq + Hash> Unheard<T> {
    fn pop(&mut self) -> Option<T> {
        let news = self.order.pop_front()?;
        self.known.remove(&news);
        Some(news)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt, StreamExt};
    use std::pin::pin;

    #[tokio::test]
    async fn each_piece_of_news_is_heard_once_by_everybody_and_none_is_lost() {
        let news = News::default();
        news.tell(&0);
        let (mut one, mut two) = (pin!(news.listen()), pin!(news.listen()));
        for _ in 0..3 {
            (1..10_000).for_each(|piece| news.tell(&piece));
        }
        for piece in 1..10_000 {
            assert_eq!((one.next().await, two.next().await), (Some(piece), Some(piece)));
        }
        assert_eq!(one.next().now_or_never(), None);
        news.tell(&1);
        assert_eq!(one.next().await, Some(1), "heard before, and told again");
    }

    #[tokio::test]
    async fn who_does_not_listen_any_more_is_forgotten() {
        let news = News::<u8>::default();
        drop(news.listen());
        let _listening = news.listen();
        assert_eq!(lock(&news.0).len(), 1);
    }
}
