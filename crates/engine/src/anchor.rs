//! What a data directory knows of its archive: the file `ARCHIVE`, replaced whole.
//!
//! It is written before the first row leaves the warm tier, and before each time that more may. So a directory
//! that is opened without its archive, or with another or an older one, knows that history reads need more than
//! it has: they are refused, not answered with a part.
//!
//! Text, one fact a line, and a checksum of all that is before it in the last:
//!
//! ```text
//! thermae archive 1
//! id 0123456789abcdef0123456789abcdef
//! table 17 tables/shop/users/v1/s0
//! view 3 1700000000000000
//! checksum 0123456789abcdef
//! ```

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use thermae_env::{Env, File, OpenHow};
use thermae_formats::ViewId;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::Error;

const FIRST_LINE: &str = "thermae archive 1";
/// Longest file that is read, in bytes: one line a view and a table.
const BYTES_MAX: u64 = 64 << 20;

/// The file's content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Anchor {
    /// Names the archive: two of one store are told apart.
    pub id: u128,
    /// Commits that each table of the archive had at least.
    pub tables: BTreeMap<String, u64>,
    /// For views of which rows may have left the warm tier: only those of an event time before this,
    /// microseconds UTC.
    pub views: BTreeMap<ViewId, i64>,
}

impl Anchor {
    /// The file of a data directory.
    pub fn path(dir: &Path) -> PathBuf {
        dir.join("ARCHIVE")
    }

    /// Reads it; `None`: there is none.
    ///
    /// # Errors
    /// It cannot be read, or is not what was written.
    pub fn read<E: Env>(env: &E, dir: &Path) -> Result<Option<Self>, Error> {
        let path = Self::path(dir);
        let failed = |source| Error::io(format!("reading {}", path.display()), source);
        let file = match env.open(&path, OpenHow::READ) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let len = file.len_bytes().map_err(failed)?.min(BYTES_MAX);
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        let read = file.read_at(&mut bytes, 0).map_err(failed)?;
        bytes.truncate(read);
        let anchor = std::str::from_utf8(&bytes).ok().and_then(Self::parse);
        let file = path.display().to_string();
        let what = "it is not what was written there".to_owned();
        anchor.map(Some).ok_or(Error::Corrupt { file, offset: 0, what })
    }

    /// Replaces the file, durably; only what has an archive does.
    ///
    /// # Errors
    /// The disk fails; a crash finds the former or this one.
    #[cfg_attr(not(feature = "cold"), allow(dead_code))]
    pub fn write<E: Env>(&self, env: &E, dir: &Path) -> Result<(), Error> {
        let (path, making) = (Self::path(dir), dir.join("ARCHIVE.tmp"));
        let written = (|| {
            if env.exists(&making)? {
                env.remove(&making)?;
            }
            let file = env.open(&making, OpenHow::CREATE)?;
            file.write_all_at(self.to_text().as_bytes(), 0)?;
            file.sync_data()?;
            env.rename(&making, &path)?;
            env.sync_dir(dir)
        })();
        written.map_err(|source| Error::io(format!("replacing {}", path.display()), source))
    }

    #[cfg_attr(not(feature = "cold"), allow(dead_code))]
    fn to_text(&self) -> String {
        let mut text = format!("{FIRST_LINE}\nid {:032x}\n", self.id);
        for (path, commits) in &self.tables {
            text.push_str(&format!("table {commits} {path}\n"));
        }
        for (view, before_us) in &self.views {
            text.push_str(&format!("view {} {before_us}\n", view.0));
        }
        let checksum = xxh3_64(text.as_bytes());
        text.push_str(&format!("checksum {checksum:016x}\n"));
        text
    }

    fn parse(text: &str) -> Option<Self> {
        let at = text.rfind("checksum ")?;
        let (facts, last) = text.split_at_checked(at)?;
        if last != format!("checksum {:016x}\n", xxh3_64(facts.as_bytes())) {
            return None;
        }
        let mut lines = facts.lines();
        if lines.next()? != FIRST_LINE {
            return None;
        }
        let id = u128::from_str_radix(lines.next()?.strip_prefix("id ")?, 16).ok()?;
        let mut anchor = Self { id, ..Self::default() };
        for line in lines {
            let (what, rest) = line.split_once(' ')?;
            let (first, second) = rest.split_once(' ')?;
            if what == "table" {
                anchor.tables.insert(second.to_owned(), first.parse().ok()?);
            } else if what == "view" {
                anchor.views.insert(ViewId(first.parse().ok()?), second.parse().ok()?);
            } else {
                return None;
            }
        }
        Some(anchor)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn what_is_written_reads_back_and_no_other_bytes_do() {
        let anchor = Anchor {
            id: 0xABCD << 90,
            tables: [("tables/shop/users/v1/s0".to_owned(), 17), ("t/with space".to_owned(), 0)]
                .into(),
            views: [(ViewId(3), -7), (ViewId(0), i64::MAX)].into(),
        };
        let text = anchor.to_text();
        assert_eq!(Anchor::parse(&text), Some(anchor));
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let changed = std::str::from_utf8(&bytes).ok().and_then(Anchor::parse);
            assert_eq!(changed, None, "byte {at}");
            assert_eq!(Anchor::parse(&text[..at]), None, "cut at {at}");
        }
    }
}
