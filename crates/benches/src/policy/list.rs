//! Queues of key numbers from which any key can be taken.

/// No key.
pub const NONE: u32 = u32::MAX;

/// A doubly linked list; new keys come to the front.
pub struct List {
    /// By key: the key nearer to the front, and the one nearer to the back.
    links: Vec<(u32, u32)>,
    pub front: u32,
    pub back: u32,
    pub length: u32,
}

impl List {
    pub fn new(keys: u32) -> List {
        List { links: vec![(NONE, NONE); keys as usize], front: NONE, back: NONE, length: 0 }
    }

    /// The key nearer to the front.
    pub fn ahead(&self, key: u32) -> u32 {
        self.links[key as usize].0
    }

    pub fn push_front(&mut self, key: u32) {
        self.links[key as usize] = (NONE, self.front);
        match self.front {
            NONE => self.back = key,
            front => self.links[front as usize].0 = key,
        }
        self.front = key;
        self.length += 1;
    }

    pub fn take(&mut self, key: u32) {
        let (ahead, behind) = self.links[key as usize];
        match ahead {
            NONE => self.front = behind,
            _ => self.links[ahead as usize].1 = behind,
        }
        match behind {
            NONE => self.back = ahead,
            _ => self.links[behind as usize].0 = ahead,
        }
        self.length -= 1;
    }

    pub fn pop_back(&mut self) -> Option<u32> {
        let back = self.back;
        if back == NONE {
            return None;
        }
        self.take(back);
        Some(back)
    }
}
