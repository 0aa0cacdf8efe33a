//! A place where a calling thread waits for the pieces of an answer, until nobody is left who could give one.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Whoever waits.
#[derive(Debug)]
pub struct Waiter<T>(Arc<Place<T>>);

/// Whoever may answer. When the last clone is gone the waiter is told: a message that is dropped on its way, and a
/// shard that ends with one, need not answer.
#[derive(Debug)]
pub struct Answerer<T>(Arc<Place<T>>);

#[derive(Debug)]
struct Place<T> {
    state: Mutex<State<T>>,
    arrived: Condvar,
}

#[derive(Debug)]
struct State<T> {
    pieces: Vec<T>,
    answerers: usize,
}

/// The two ends of an answer.
pub fn waiter<T>() -> (Answerer<T>, Waiter<T>) {
    let state = Mutex::new(State { pieces: Vec::new(), answerers: 1 });
    let place = Arc::new(Place { state, arrived: Condvar::new() });
    (Answerer(Arc::clone(&place)), Waiter(place))
}

impl<T> Place<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Answerer<T> {
    /// Hands a piece over.
    pub fn put(&self, piece: T) {
        self.0.lock().pieces.push(piece);
        self.0.arrived.notify_one();
    }
}

impl<T> Clone for Answerer<T> {
    fn clone(&self) -> Self {
        self.0.lock().answerers += 1;
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Answerer<T> {
    fn drop(&mut self) {
        self.0.lock().answerers -= 1;
        self.0.arrived.notify_one();
    }
}

impl<T> Waiter<T> {
    /// Waits for at least one piece and takes what is there; nothing where nobody is left to answer.
    pub fn take(&self) -> Vec<T> {
        let is_open = |state: &mut State<T>| state.pieces.is_empty() && state.answerers > 0;
        let waited = self.0.arrived.wait_while(self.0.lock(), is_open);
        std::mem::take(&mut waited.unwrap_or_else(PoisonError::into_inner).pieces)
    }

    /// Takes what is there without waiting.
    pub fn poll(&self) -> Vec<T> {
        std::mem::take(&mut self.0.lock().pieces)
    }

    /// Whether nobody is left to answer, and nothing is there.
    pub fn is_abandoned(&self) -> bool {
        let state = self.0.lock();
        state.answerers == 0 && state.pieces.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_waiter_gets_every_piece_and_is_told_when_the_last_answerer_is_gone() {
        let (answerer, waiter) = waiter();
        let other = answerer.clone();
        answerer.put(1);
        drop(answerer);
        assert_eq!(waiter.take(), [1]);
        assert!(!waiter.is_abandoned());
        other.put(2);
        drop(other);
        assert!(!waiter.is_abandoned(), "a piece is still there");
        assert_eq!((waiter.take(), waiter.take()), (vec![2], vec![]));
        assert!(waiter.is_abandoned());
    }

    #[test]
    fn whoever_sleeps_is_woken_when_the_last_answerer_goes() {
        let (answerer, waiter) = waiter::<()>();
        let waiting = std::thread::spawn(move || waiter.take());
        drop(answerer);
        assert!(waiting.join().unwrap().is_empty());
    }
}
