//! A place where a calling thread waits for the pieces of an answer, until nobody is left who could give one.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Whoever waits.
#[derive(Debug)]
pub struct Waiter<T>(Arc<Place<T>>);

/// Whoever may answer. When the last clone is gone the waiter is told: a message that is dropped on its way, and a
/// shard that ends with one, need not answer.
#[derive(Debug)]
pub struct Answerer<T>(Arc<End<T>>);

/// The end of an answer that all clones of an answerer share.
#[derive(Debug)]
struct End<T>(Arc<Place<T>>);

#[derive(Debug)]
struct Place<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    pieces: Vec<T>,
    /// Pieces that have not come yet. The waiter sleeps until it is none: being woken costs more than a piece does.
    missing: usize,
    /// Somebody is left who could answer.
    is_open: bool,
}

/// The two ends of an answer in one piece.
pub fn waiter<T>() -> (Answerer<T>, Waiter<T>) {
    waiter_of(1)
}

/// The two ends of an answer in `wanted` pieces.
pub fn waiter_of<T>(wanted: usize) -> (Answerer<T>, Waiter<T>) {
    let state = Mutex::new(State { pieces: Vec::new(), missing: wanted, is_open: true });
    let place = Arc::new(Place { state, changed: Condvar::new() });
    (Answerer(Arc::new(End(Arc::clone(&place)))), Waiter(place))
}

impl<T> Place<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Answerer<T> {
    /// Hands a piece over.
    pub fn put(&self, piece: T) {
        self.put_all([piece]);
    }

    /// Hands pieces over.
    pub fn put_all(&self, pieces: impl IntoIterator<Item = T>) {
        let place = &self.0.0;
        let mut state = place.lock();
        let before = state.pieces.len();
        state.pieces.extend(pieces);
        state.missing = state.missing.saturating_sub(state.pieces.len() - before);
        let is_whole = state.missing == 0;
        drop(state);
        if is_whole {
            place.changed.notify_one();
        }
    }
}

impl<T> Clone for Answerer<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for End<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_open = false;
        // Whoever has the whole answer was told, and may be gone.
        let is_whole = state.missing == 0;
        drop(state);
        if !is_whole {
            self.0.changed.notify_one();
        }
    }
}

impl<T> Waiter<T> {
    /// Waits for all pieces and takes them; for what there is where nobody is left to answer.
    pub fn take(&self) -> Vec<T> {
        let waits = |state: &mut State<T>| state.missing > 0 && state.is_open;
        let waited = self.0.changed.wait_while(self.0.lock(), waits);
        std::mem::take(&mut waited.unwrap_or_else(PoisonError::into_inner).pieces)
    }

    /// Takes what is there without waiting.
    pub fn poll(&self) -> Vec<T> {
        std::mem::take(&mut self.0.lock().pieces)
    }

    /// Whether nobody is left to answer, and nothing is there.
    pub fn is_abandoned(&self) -> bool {
        let state = self.0.lock();
        !state.is_open && state.pieces.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_waiter_gets_every_piece_and_is_told_when_the_last_answerer_is_gone() {
        let (answerer, waiter) = waiter_of(3);
        let other = answerer.clone();
        answerer.put(1);
        drop(answerer);
        assert_eq!(waiter.poll(), [1]);
        assert!(!waiter.is_abandoned());
        other.put(2);
        drop(other);
        assert!(!waiter.is_abandoned(), "a piece is still there");
        assert_eq!((waiter.take(), waiter.take()), (vec![2], vec![]));
        assert!(waiter.is_abandoned());
    }

    #[test]
    fn a_sleeper_is_woken_for_the_whole_answer_and_not_before() {
        for _ in 0..50 {
            let (answerer, waiter) = waiter_of(4);
            let waiting = std::thread::spawn(move || waiter.take());
            let other = answerer.clone();
            answerer.put(1);
            // Time to begin to sleep, and to be woken in vain.
            (0..1_000)
                .take_while(|_| !waiting.is_finished())
                .for_each(|_| std::thread::yield_now());
            other.put_all([2, 3]);
            answerer.put(4);
            // The answerers are there still: it is the last piece that wakes.
            assert_eq!(waiting.join().unwrap(), [1, 2, 3, 4]);
        }
    }

    #[test]
    fn what_was_polled_is_not_waited_for_again() {
        let (answerer, waiter) = waiter_of(2);
        answerer.put('a');
        assert_eq!(waiter.poll(), ['a']);
        answerer.put('b');
        assert_eq!(waiter.take(), ['b']);
    }

    #[test]
    fn whoever_sleeps_is_woken_when_the_last_answerer_goes() {
        let (answerer, waiter) = waiter_of(2);
        let waiting = std::thread::spawn(move || waiter.take());
        answerer.put(());
        drop(answerer);
        assert_eq!(waiting.join().unwrap().len(), 1);
    }
}
