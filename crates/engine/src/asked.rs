//! What was found out of a part's rows when it came in, before they are admitted one by one.

/// Rows of a part that were all looked for in one state of the tables.
#[derive(Debug)]
pub struct Asked {
    /// The owner's tables, by the number of their change.
    changes: u64,
    /// A bit for each row of the batch: neither memory nor tables had it then. Memory may have it by now; tables
    /// cannot, unless they have changed.
    absent: Box<[u64]>,
}

impl Asked {
    /// Of a batch of `rows` rows, none of which is known to be absent.
    pub fn of(changes: u64, rows: usize) -> Self {
        Asked { changes, absent: vec![0; rows.div_ceil(64)].into() }
    }

    /// Notes that a row was nowhere.
    pub fn note_absent(&mut self, row: u32) {
        if let Some(bits) = self.absent.get_mut(row as usize / 64) {
            *bits |= 1 << (row % 64);
        }
    }

    /// Whether it was said of the tables as they are now.
    pub fn is_of(&self, changes: u64) -> bool {
        self.changes == changes
    }

    /// Whether the tables, as they are now, have no such row for certain.
    pub fn is_absent(&self, row: u32, changes: u64) -> bool {
        let bits = self.absent.get(row as usize / 64).copied().unwrap_or(0);
        self.is_of(changes) && bits >> (row % 64) & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_absent_is_absent_until_the_tables_change() {
        let mut asked = Asked::of(7, 130);
        [0, 63, 64, 129, 130, 500].into_iter().for_each(|row| asked.note_absent(row));
        let absent: Vec<u32> = (0..600).filter(|row| asked.is_absent(*row, 7)).collect();
        assert_eq!(absent, [0, 63, 64, 129, 130]);
        assert!(asked.is_of(7) && !asked.is_of(8) && !asked.is_absent(63, 8));
    }
}
