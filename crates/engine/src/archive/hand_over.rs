//! What the merges are told: which rows may leave the warm tier. Pure.

use std::collections::{BTreeMap, BTreeSet};

use thermae_formats::ViewId;
use thermae_formats::table::TableKind;
use thermae_tiering::departures::{Departure, Departures};

use super::survey::Contents;

/// The part of a table's bytes that may leave, from which on it is rewritten for that.
const REWRITE_SHARE: f64 = 0.5;

/// A view whose rows may leave: its policy and the archive's word.
pub type Leaving = (ViewId, Departure);

/// What may leave, and which of `tables`, by number and kind, are worth a rewrite. Of a table of newest versions
/// only rows of views that are served from cold may leave.
pub fn departures<'a>(
    partitions: u16,
    leaving: Vec<Leaving>,
    tables: impl Iterator<Item = (u64, TableKind, &'a Contents)>,
) -> Departures {
    let views: BTreeMap<ViewId, Departure> = leaving.into_iter().collect();
    let worth = |kind: TableKind, contents: &Contents| {
        let all: u64 = contents.extents.values().map(|extent| extent.bytes).sum();
        let mut leaves = 0;
        for ((view, partition), extent) in &contents.extents {
            let moves = |departure: &&Departure| {
                kind == TableKind::History || departure.policy.serve_from_cold
            };
            let Some(departure) = views.get(view).filter(moves) else { continue };
            let archived = departure.archived.get(partition).copied().unwrap_or(0);
            if extent.sequences.1 < archived {
                leaves += extent.movable.bytes_before(before_us(departure));
            }
        }
        leaves > 0 && leaves as f64 >= REWRITE_SHARE * all as f64
    };
    let rewrite: BTreeSet<u64> =
        tables.filter(|(_, kind, contents)| worth(*kind, contents)).map(|(id, ..)| id).collect();
    Departures { partitions, views, rewrite }
}

/// The event time before which rows may leave.
pub fn before_us(departure: &Departure) -> i64 {
    departure.now_us.saturating_sub(departure.policy.warm_for_us)
}

#[cfg(test)]
mod tests {
    use thermae_formats::schema::TierPolicy;

    use super::*;
    use crate::archive::survey::{Extent, Movable};

    /// View, partition, sequences, event times and bytes.
    type Rows = (u32, u16, (u64, u64), (i64, i64), u64);

    fn contents(of: &[Rows]) -> Contents {
        let extent = |(view, partition, sequences, event_times, bytes): &Rows| {
            let movable = Movable { event_times: *event_times, bytes: *bytes };
            let extent = Extent { sequences: *sequences, bytes: *bytes, movable };
            ((ViewId(*view), *partition), extent)
        };
        Contents { extents: of.iter().map(extent).collect(), unread: None }
    }

    #[test]
    fn a_table_is_rewritten_when_half_of_it_is_archived_and_past_warm_for() {
        let leaving = |serve_from_cold| {
            let policy = TierPolicy { warm_for_us: 100, serve_from_cold, ..TierPolicy::default() };
            let archived = [(0, 10), (1, 20)].into();
            vec![(ViewId(1), Departure { policy, now_us: 1_100, archived })]
        };
        // Of the rows of a table: whether it is rewritten.
        let cases = [
            (vec![(1, 0, (1, 9), (0, 999), 50)], true),
            (vec![(1, 0, (1, 9), (1_000, 1_000), 50)], false),
            (vec![(1, 0, (1, 10), (0, 999), 50)], false),
            (vec![(1, 1, (1, 10), (0, 999), 50)], true),
            (vec![(1, 2, (1, 1), (0, 999), 50)], false),
            (vec![(2, 0, (1, 9), (0, 999), 50)], false),
            (vec![(1, 0, (1, 9), (0, 999), 50), (2, 0, (1, 9), (0, 9), 50)], true),
            (vec![(1, 0, (1, 9), (0, 999), 50), (2, 0, (1, 9), (0, 9), 51)], false),
            (vec![(1, 0, (1, 9), (500, 1_500), 50)], true),
            (vec![(1, 0, (1, 9), (501, 1_501), 50)], false),
        ];
        for (at, (rows, is_rewritten)) in cases.into_iter().enumerate() {
            let table = contents(&rows);
            for (kind, opts_in, is_any) in [
                (TableKind::History, false, true),
                (TableKind::Latest, true, true),
                (TableKind::Latest, false, false),
            ] {
                let found = departures(4, leaving(opts_in), [(7, kind, &table)].into_iter());
                let is_named = found.rewrite.contains(&7);
                assert_eq!(is_named, is_rewritten && is_any, "case {at} of {kind:?}");
            }
        }
    }
}
