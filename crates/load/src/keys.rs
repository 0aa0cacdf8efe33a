//! Which rows requests ask for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::dice::{Dice, mix};
use crate::error::Error;
use crate::zipf::Zipf;

/// Largest trace that is read, in bytes.
const TRACE_BYTES_MAX: u64 = 1 << 30;
/// A prime above every number of entities: what ranks are multiplied by to be spread over the rows.
const STEP: u64 = 2_305_843_009_213_693_951;

/// A distribution of keys.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "distribution", rename_all = "lowercase", deny_unknown_fields)]
pub enum Keys {
    /// Each row as likely as any other.
    #[default]
    Uniform,
    /// Row by rank with probability proportional to `rank^-exponent`; ranks are spread over the rows.
    Zipf {
        /// The exponent, above 0.
        exponent: f64,
    },
    /// As zipf, and the newest row has the first rank.
    Latest {
        /// The exponent, above 0.
        exponent: f64,
    },
    /// Some of the rows get most of the requests; uniform in each part.
    Hotspot {
        /// Share of the rows, 0 to 1.
        rows: f64,
        /// Share of the requests that ask for one of those, 0 to 1.
        requests: f64,
    },
    /// The keys of a file, in order, over and over; each thread begins elsewhere in it.
    Replay {
        /// A line for each key: fields between commas. A number is a row, anything else is hashed to one.
        file: PathBuf,
        /// Which field, from 0.
        #[serde(default)]
        column: usize,
    },
}

impl Keys {
    /// Checks the figures.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Uniform | Self::Replay { .. } => Ok(()),
            Self::Zipf { exponent } | Self::Latest { exponent } => {
                if *exponent > 0.0 && *exponent <= 10.0 {
                    return Ok(());
                }
                Err("the exponent must be above 0 and at most 10".to_owned())
            }
            Self::Hotspot { rows, requests } => {
                if [rows, requests].iter().all(|share| (0.0..=1.0).contains(*share)) {
                    return Ok(());
                }
                Err("shares of a hotspot must be 0 to 1".to_owned())
            }
        }
    }
}

/// Keys of a trace, shared by all threads.
pub type Trace = Arc<[u64]>;

/// Reads a trace: the words of one field.
///
/// # Errors
/// A file that cannot be read, is too large, or has no line with that field.
pub fn read_trace(path: &Path, column: usize) -> Result<Trace, Error> {
    let found = std::fs::metadata(path).map_err(Error::file(path))?.len();
    if found > TRACE_BYTES_MAX {
        let what = format!("{}: {found} bytes; a trace may have 1 GiB", path.display());
        return Err(Error::Given(what));
    }
    let text = std::fs::read_to_string(path).map_err(Error::file(path))?;
    let word = |line: &str| {
        let field = line.split(',').nth(column)?.trim();
        (!field.is_empty()).then(|| field.parse().unwrap_or_else(|_| hashed(field)))
    };
    let words: Vec<u64> = text.lines().filter_map(word).collect();
    if words.is_empty() {
        let what = format!("{}: no line has a field {column}", path.display());
        return Err(Error::Given(what));
    }
    Ok(words.into())
}

fn hashed(field: &str) -> u64 {
    field.bytes().fold(field.len() as u64, |word, byte| mix(word ^ u64::from(byte)))
}

/// Chooses rows for one thread.
#[derive(Debug, Clone)]
pub struct Picker {
    how: How,
    dice: Dice,
}

#[derive(Debug, Clone)]
enum How {
    Uniform,
    Zipf(Zipf),
    Latest(Zipf),
    Hotspot { rows: f64, requests: f64 },
    Replay { trace: Trace, at: usize },
}

impl Picker {
    /// A picker among `rows` rows. `share` is where in a trace to begin, 0 to 1.
    pub fn new(keys: &Keys, trace: Option<&Trace>, rows: u64, seed: u64, share: f64) -> Self {
        let how = match (keys, trace) {
            (Keys::Zipf { exponent }, _) => How::Zipf(Zipf::new(rows, *exponent)),
            (Keys::Latest { exponent }, _) => How::Latest(Zipf::new(rows, *exponent)),
            (Keys::Hotspot { rows, requests }, _) => {
                How::Hotspot { rows: *rows, requests: *requests }
            }
            (Keys::Replay { .. }, Some(trace)) => {
                let at = (trace.len() as f64 * share) as usize;
                How::Replay { trace: Arc::clone(trace), at }
            }
            (Keys::Uniform | Keys::Replay { .. }, _) => How::Uniform,
        };
        Self { how, dice: Dice::new(seed) }
    }

    /// A row below `rows`, which may have grown.
    pub fn pick(&mut self, rows: u64) -> u64 {
        let rows = rows.max(1);
        match &mut self.how {
            How::Uniform => self.dice.below(rows),
            How::Zipf(zipf) => spread(zipf.rank(&mut self.dice) - 1, rows),
            How::Latest(zipf) => {
                zipf.grow(rows);
                rows - (zipf.rank(&mut self.dice)).min(rows)
            }
            How::Hotspot { rows: share, requests } => {
                let hot = ((rows as f64 * *share) as u64).clamp(1, rows);
                if hot == rows || self.dice.unit() < *requests {
                    self.dice.below(hot)
                } else {
                    hot + self.dice.below(rows - hot)
                }
            }
            How::Replay { trace, at } => {
                *at = if *at + 1 < trace.len() { *at + 1 } else { 0 };
                trace.get(*at).map_or(0, |word| word % rows)
            }
        }
    }

    /// The generator of everything else that this thread draws.
    pub fn dice(&mut self) -> &mut Dice {
        &mut self.dice
    }
}

/// Ranks to rows, one to one: likely rows do not lie side by side as they were loaded.
fn spread(rank: u64, rows: u64) -> u64 {
    // STEP is a prime larger than any `rows`, so that multiplying by it is a permutation.
    ((u128::from(rank) * u128::from(STEP) + 7) % u128::from(rows)) as u64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn drawn(keys: &Keys, rows: u64, draws: usize) -> Vec<u64> {
        let mut picker = Picker::new(keys, None, rows, 5, 0.0);
        let mut counts = vec![0; rows as usize];
        (0..draws).for_each(|_| counts[picker.pick(rows) as usize] += 1);
        counts
    }

    #[test]
    fn spreading_is_one_to_one() {
        for rows in [1_u64, 2, 10, 1000, 4096] {
            let mut seen: Vec<u64> = (0..rows).map(|rank| spread(rank, rows)).collect();
            seen.sort_unstable();
            assert!(seen.iter().enumerate().all(|(at, row)| at as u64 == *row), "{rows}");
        }
    }

    #[test]
    fn each_distribution_is_what_it_says() {
        let uniform = drawn(&Keys::Uniform, 100, 100_000);
        assert!(uniform.iter().all(|count| (800..1200).contains(count)), "{uniform:?}");
        let hot = drawn(&Keys::Hotspot { rows: 0.2, requests: 0.8 }, 100, 100_000);
        let first: u64 = hot[..20].iter().sum();
        assert!((79_000..81_000).contains(&first), "{first}");
        let latest = drawn(&Keys::Latest { exponent: 0.99 }, 100, 100_000);
        assert!(latest[99] > latest[98] && latest[98] > latest[50], "{latest:?}");
        let zipf = drawn(&Keys::Zipf { exponent: 0.99 }, 100, 100_000);
        let most = zipf.iter().max().unwrap();
        assert!(zipf[spread(0, 100) as usize] == *most && zipf.iter().all(|count| *count > 0));
    }

    #[test]
    fn the_newest_row_is_found_after_the_view_grew() {
        let mut picker = Picker::new(&Keys::Latest { exponent: 2.0 }, None, 10, 5, 0.0);
        let newest = (0..1000).filter(|_| picker.pick(20) == 19).count();
        assert!(newest > 400, "{newest}");
    }

    #[test]
    fn a_trace_is_replayed_in_order_and_over_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace.csv");
        std::fs::write(&path, "0,12,x\n1,7,y\n2,abc,z\n\n").unwrap();
        let trace = read_trace(&path, 1).unwrap();
        assert_eq!((trace.len(), trace[0], trace[1]), (3, 12, 7));
        let keys = Keys::Replay { file: path.clone(), column: 1 };
        let mut picker = Picker::new(&keys, Some(&trace), 10, 5, 0.0);
        let rows: Vec<u64> = (0..4).map(|_| picker.pick(10)).collect();
        assert_eq!((rows[0], rows[2], rows[3]), (7, 2, 7));
        assert!(read_trace(&path, 9).unwrap_err().to_string().contains("no line has a field 9"));
        assert!(read_trace(&folder.path().join("none"), 0).is_err());
    }
}
