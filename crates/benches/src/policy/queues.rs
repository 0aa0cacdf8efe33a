//! The published policies: LRU, SIEVE (Zhang et al., NSDI 2024), S3-FIFO (Yang et al., SOSP 2023).

use super::Policy;
use super::list::{List, NONE};

pub struct Lru {
    list: List,
    held: Vec<bool>,
    capacity: u32,
}

impl Lru {
    pub fn new(capacity: u32, keys: u32) -> Lru {
        Lru { list: List::new(keys), held: vec![false; keys as usize], capacity }
    }
}

impl Policy for Lru {
    fn read(&mut self, key: u32) -> bool {
        let held = self.held[key as usize];
        if held {
            self.list.take(key);
            self.list.push_front(key);
        }
        held
    }

    fn admit(&mut self, key: u32) {
        if self.list.length == self.capacity
            && let Some(victim) = self.list.pop_back()
        {
            self.held[victim as usize] = false;
        }
        self.held[key as usize] = true;
        self.list.push_front(key);
    }
}

pub struct Sieve {
    list: List,
    /// By key: whether it is held, and whether it was read since the hand passed.
    state: Vec<(bool, bool)>,
    hand: u32,
    capacity: u32,
}

impl Sieve {
    pub fn new(capacity: u32, keys: u32) -> Sieve {
        let state = vec![(false, false); keys as usize];
        Sieve { list: List::new(keys), state, hand: NONE, capacity }
    }

    fn evict(&mut self) {
        loop {
            let at = if self.hand == NONE { self.list.back } else { self.hand };
            self.hand = self.list.ahead(at);
            let state = &mut self.state[at as usize];
            if !std::mem::take(&mut state.1) {
                state.0 = false;
                self.list.take(at);
                return;
            }
        }
    }
}

impl Policy for Sieve {
    fn read(&mut self, key: u32) -> bool {
        let state = &mut self.state[key as usize];
        state.1 = state.0;
        state.0
    }

    fn admit(&mut self, key: u32) {
        if self.list.length == self.capacity {
            self.evict();
        }
        self.state[key as usize] = (true, false);
        self.list.push_front(key);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Out,
    Ghost,
    Small,
    Main,
}

/// The small queue has a tenth of the cache, the ghosts are as many as the main queue holds.
pub struct S3Fifo {
    small: List,
    main: List,
    ghosts: List,
    state: Vec<(Place, u8)>,
    capacity: u32,
}

impl S3Fifo {
    pub fn new(capacity: u32, keys: u32) -> S3Fifo {
        let [small, main, ghosts] = std::array::from_fn(|_| List::new(keys));
        S3Fifo { small, main, ghosts, state: vec![(Place::Out, 0); keys as usize], capacity }
    }

    fn evict(&mut self) {
        if self.small.length > self.capacity / 10 {
            while let Some(key) = self.small.pop_back() {
                let state = &mut self.state[key as usize];
                if state.1 > 1 {
                    *state = (Place::Main, 0);
                    self.main.push_front(key);
                    if self.main.length > self.capacity - self.capacity / 10 {
                        return self.evict_main();
                    }
                } else {
                    *state = (Place::Ghost, 0);
                    return self.haunt(key);
                }
            }
        }
        self.evict_main();
    }

    fn evict_main(&mut self) {
        while let Some(key) = self.main.pop_back() {
            let state = &mut self.state[key as usize];
            if state.1 == 0 {
                state.0 = Place::Out;
                return;
            }
            state.1 -= 1;
            self.main.push_front(key);
        }
    }

    fn haunt(&mut self, key: u32) {
        self.ghosts.push_front(key);
        if self.ghosts.length > self.capacity - self.capacity / 10
            && let Some(gone) = self.ghosts.pop_back()
        {
            self.state[gone as usize].0 = Place::Out;
        }
    }
}

impl Policy for S3Fifo {
    fn read(&mut self, key: u32) -> bool {
        let state = &mut self.state[key as usize];
        let held = matches!(state.0, Place::Small | Place::Main);
        state.1 = if held { (state.1 + 1).min(3) } else { 0 };
        held
    }

    fn admit(&mut self, key: u32) {
        if self.small.length + self.main.length >= self.capacity {
            self.evict();
        }
        // Only now: the eviction may have forgotten this very ghost.
        if self.state[key as usize].0 == Place::Ghost {
            self.ghosts.take(key);
            self.state[key as usize] = (Place::Main, 0);
            self.main.push_front(key);
        } else {
            self.state[key as usize] = (Place::Small, 0);
            self.small.push_front(key);
        }
    }
}
