//! What one row takes in each tier: all that a plan says of bytes is this, times rows.

use serde::Serialize;

use super::constants::Constants;
use super::spread::Spread;
use crate::shape::{payload_bytes, slot_bytes};
use crate::workload::View;

/// Bytes of one row of a view.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RowBytes {
    /// The view.
    pub view: String,
    /// Key and value.
    pub payload: f64,
    /// As it is logged, and in a table before that is compressed: key, value, times, sequence, lengths.
    pub stored: f64,
    /// In a hot table: its slot, and its share of the index.
    pub hot: Spread,
    /// In memory for the newest version in tables: filters and block indices.
    pub filters: Spread,
    /// On local disk: the newest version, and what it supersedes until that is merged away.
    pub disk: Spread,
    /// On local disk: a superseded version that is kept.
    pub version: Spread,
    /// In the archive: any version.
    pub archived: Spread,
}

impl RowBytes {
    /// Of a view.
    pub fn of(view: &View, constants: &Constants) -> Self {
        let (slot, payload) = (slot_bytes(view), payload_bytes(view));
        let stored = payload + constants.row_beside_bytes;
        let space = Spread::of(constants.space_factor);
        let version = Spread::of(constants.table_factor).times(stored);
        let each = |at: usize| version.cases()[at] * constants.space_factor[at];
        Self {
            view: view.name.clone(),
            payload,
            stored,
            hot: Spread::of(constants.index_bytes).plus(Spread::even(slot)),
            filters: space.times(constants.filter_bytes),
            disk: Spread::of(std::array::from_fn(each)),
            version,
            archived: Spread::of(constants.cold_factor).times(stored),
        }
    }
}
