//! Builds the filter of a table, a part at a time.

use thermae_formats::ViewId;
use thermae_formats::hash::row_hash;
use thermae_formats::table::FilterPart;
use xorf::BinaryFuse8;

/// Distinct hashes of a part: bounds the memory of the construction (some 32 bytes a hash).
const PART_HASHES: usize = 1 << 20;

/// A part and its fingerprints.
type BuiltPart = (FilterPart, Box<[u8]>);

/// Collects the rows of a table in their order.
pub(super) struct FilterBuilder {
    parts: Vec<BuiltPart>,
    hashes: Vec<u64>,
    first: (ViewId, u64),
    last: Option<(ViewId, u64)>,
    part_hashes: usize,
}

impl FilterBuilder {
    pub(super) fn new() -> Self {
        Self::with_parts_of(PART_HASHES)
    }

    pub(super) const fn with_parts_of(part_hashes: usize) -> Self {
        let first = (ViewId(0), 0);
        Self { parts: Vec::new(), hashes: Vec::new(), first, last: None, part_hashes }
    }

    /// Adds a row; not before the one added last.
    pub(super) fn push(&mut self, view: ViewId, entity_hash: u64) {
        let place = (view, entity_hash);
        if self.last == Some(place) {
            return;
        }
        if self.hashes.len() >= self.part_hashes {
            self.close_part();
        }
        if self.hashes.is_empty() {
            self.first = place;
        }
        self.last = Some(place);
        self.hashes.push(row_hash(entity_hash, view));
    }

    /// The parts, and how many distinct pairs of view and hash they hold.
    pub(super) fn finish(mut self) -> (Vec<BuiltPart>, u64) {
        self.close_part();
        let entities = self.parts.iter().map(|(part, _)| u64::from(part.hashes)).sum();
        (self.parts, entities)
    }

    fn close_part(&mut self) {
        if self.hashes.is_empty() {
            return;
        }
        let (first_view, first_hash) = self.first;
        let hashes = self.hashes.len() as u32;
        let open =
            FilterPart { first_view, first_hash, seed: 0, segment_bytes: 0, segments: 0, hashes };
        let built = self.build(&open).unwrap_or((open, Box::default()));
        self.parts.push(built);
        self.hashes.clear();
    }

    /// Fingerprints that admit every hash; `None` if the construction failed, which is nearly
    /// impossible, and then costs reads but no row.
    fn build(&self, open: &FilterPart) -> Option<BuiltPart> {
        let filter = BinaryFuse8::try_from(&self.hashes).ok()?;
        let descriptor = filter.descriptor;
        let part = FilterPart {
            seed: descriptor.seed,
            segment_bytes: descriptor.segment_length,
            segments: descriptor.segment_count_length.checked_div(descriptor.segment_length)?,
            ..*open
        };
        let is_sound = part.fingerprint_bytes() == filter.fingerprints.len() as u64
            && self.hashes.iter().all(|hash| part.admits(&filter.fingerprints, *hash));
        is_sound.then_some((part, filter.fingerprints))
    }
}
