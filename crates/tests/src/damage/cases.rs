//! What may happen to the bytes of a file behind the store's back.

use std::ops::Range;
use std::path::Path;

use super::sample::{Image, PAGE_BYTES, Sample};

/// Kinds of files of a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileKind {
    /// `MANIFEST`.
    Manifest,
    /// A log segment.
    Log,
    /// A sorted table.
    Table,
    /// What a tree's tables hold beside rows.
    Checkpoint,
}

impl FileKind {
    /// The kind that a file's name tells.
    pub fn of(path: &Path) -> FileKind {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("log") => FileKind::Log,
            Some("tbl") => FileKind::Table,
            Some("ckp") => FileKind::Checkpoint,
            _ => FileKind::Manifest,
        }
    }
}

/// Kinds of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DamageKind {
    /// One bit of one byte is another.
    Flipped,
    /// A page holds what another one does, of this or another file.
    Copied,
    /// A page, or a whole manifest, is what it was before.
    Old,
    /// The file ends early.
    Cut,
    /// The file is gone.
    Missing,
}

/// A byte of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, by its place in the sample.
    pub file: usize,
    /// Offset in it.
    pub at: usize,
}

/// One damage. States are those of [`Sample::old`], by their place.
#[derive(Clone, Copy, Debug)]
pub enum Damage {
    /// Flips a bit of this byte.
    Flip(Place),
    /// Copies the page at the first place over the one at the second.
    Copy(Place, Place),
    /// Puts back the page here of this state of the files.
    OldPage(Place, usize),
    /// Puts back the whole file of this state.
    OldFile(usize, usize),
    /// Cuts the file off here.
    Cut(Place),
    /// Removes the file.
    Missing(usize),
}

impl Damage {
    /// Its kind.
    pub fn kind(&self) -> DamageKind {
        match self {
            Damage::Flip(_) => DamageKind::Flipped,
            Damage::Copy(..) => DamageKind::Copied,
            Damage::OldPage(..) | Damage::OldFile(..) => DamageKind::Old,
            Damage::Cut(_) => DamageKind::Cut,
            Damage::Missing(_) => DamageKind::Missing,
        }
    }

    /// The file that is damaged.
    pub fn file(&self) -> usize {
        match *self {
            Damage::Flip(place)
            | Damage::Copy(_, place)
            | Damage::OldPage(place, _)
            | Damage::Cut(place) => place.file,
            Damage::OldFile(file, _) | Damage::Missing(file) => file,
        }
    }

    /// The bytes that may be others now.
    pub fn bytes(&self) -> Range<usize> {
        match *self {
            Damage::Flip(Place { at, .. }) => at..at + 1,
            Damage::Copy(_, Place { at, .. }) | Damage::OldPage(Place { at, .. }, _) => {
                at..at + PAGE_BYTES
            }
            Damage::Cut(Place { at, .. }) => at..usize::MAX,
            Damage::OldFile(..) | Damage::Missing(_) => 0..usize::MAX,
        }
    }

    /// The files with this damage; `None` when it changes nothing.
    pub fn done_to(&self, sample: &Sample) -> Option<Image> {
        let mut files = sample.files.clone();
        let bytes = &mut files[self.file()].1;
        match *self {
            Damage::Flip(Place { at, .. }) => bytes[at] ^= 1 << (at % 8),
            Damage::Copy(from, to) => put(bytes, to.at, page(&sample.files[from.file].1, from.at)),
            Damage::OldPage(Place { file, at }, state) => {
                put(bytes, at, page(old(sample, state, file)?, at));
            }
            Damage::OldFile(file, state) => *bytes = old(sample, state, file)?.to_vec(),
            Damage::Cut(Place { at, .. }) => bytes.truncate(at),
            Damage::Missing(file) => drop(files.remove(file)),
        }
        (files != sample.files).then_some(files)
    }
}

/// The file as it was.
fn old(sample: &Sample, state: usize, file: usize) -> Option<&[u8]> {
    let path = &sample.files[file].0;
    sample.old[state].iter().find(|(other, _)| other == path).map(|(_, bytes)| bytes.as_slice())
}

fn page(bytes: &[u8], at: usize) -> &[u8] {
    let end = bytes.len().min(at + PAGE_BYTES);
    bytes.get(at..end).unwrap_or_default()
}

/// Writes as much of `page` as the file has room for.
fn put(bytes: &mut [u8], at: usize, page: &[u8]) {
    for (to, from) in bytes.iter_mut().skip(at).zip(page) {
        *to = *from;
    }
}

/// Every damage of a sample; of flips, copies and old pages one of `every`.
pub fn cases(sample: &Sample, every: usize) -> Vec<Damage> {
    let mut cases = Vec::new();
    for (file, (_, bytes)) in sample.files.iter().enumerate() {
        cases.extend((0..bytes.len()).step_by(every).map(|at| Damage::Flip(Place { file, at })));
        let ends = [0, 1, bytes.len() / 2, bytes.len() - 1].into_iter();
        let pages = (PAGE_BYTES..bytes.len()).step_by(PAGE_BYTES);
        cases.extend(ends.chain(pages).map(|at| Damage::Cut(Place { file, at })));
        cases.push(Damage::Missing(file));
    }
    cases.extend(copies(sample).step_by(every));
    cases.extend(old_pages(sample).step_by(every));
    // A log before its last writes is the same as one whose last writes never came, if no file says
    // more: only an old manifest is sure to be noticed.
    cases.extend((0..sample.old.len()).map(|state| Damage::OldFile(0, state)));
    cases
}

fn pages(sample: &Sample) -> impl Iterator<Item = Place> + Clone {
    let of_file = |(file, (_, bytes)): (usize, &(_, Vec<u8>))| {
        (0..bytes.len()).step_by(PAGE_BYTES).map(move |at| Place { file, at })
    };
    sample.files.iter().enumerate().flat_map(of_file)
}

fn copies(sample: &Sample) -> impl Iterator<Item = Damage> {
    let content = |place: Place| page(&sample.files[place.file].1, place.at);
    let pairs = pages(sample).flat_map(move |from| pages(sample).map(move |to| (from, to)));
    pairs
        .filter(move |&(from, to)| from != to && content(from) != content(to))
        .map(|(from, to)| Damage::Copy(from, to))
}

fn old_pages(sample: &Sample) -> impl Iterator<Item = Damage> {
    let states = 0..sample.old.len();
    let all = states.flat_map(move |state| pages(sample).map(move |place| (place, state)));
    all.filter(move |&(Place { file, at }, state)| {
        let Some(old) = old(sample, state, file) else { return false };
        !page(old, at).is_empty() && page(old, at) != page(&sample.files[file].1, at)
    })
    .map(|(place, state)| Damage::OldPage(place, state))
}
