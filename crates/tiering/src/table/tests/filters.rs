//! A filter in several parts.

use thermae_formats::ViewId;
use thermae_formats::table::{
    Section, TableFilter, TableFooter, TableId, TableKind, encode_filter,
};

use super::support::*;
use crate::table::filter::FilterBuilder;

#[test]
fn every_part_admits_its_rows_and_few_others() {
    let mut rng = Rng(41);
    let mut places: Vec<(ViewId, u64)> =
        (0..5_000).map(|_| (ViewId(rng.below(3) as u32), rng.next())).collect();
    places.sort_unstable();
    let mut builder = FilterBuilder::with_parts_of(700);
    for (view, hash) in &places {
        // The second version of a row adds nothing.
        builder.push(*view, *hash);
        builder.push(*view, *hash);
    }
    let (parts, entities) = builder.finish();
    assert_eq!((parts.len(), entities), (8, 5_000));
    let (pages, bytes) = encode_filter(&parts);
    let id = TableId {
        kind: TableKind::Latest,
        store_id: STORE,
        file_id: 1,
        salt: 2,
        hash_seed: SEED,
        may_hold_stubs: false,
    };
    let filter = Section { offset_bytes: 12_288, bytes, checksum: id.checksum(&pages, 12_288) };
    let footer = TableFooter {
        id,
        blocks: 1,
        views: 1,
        filter_parts: 8,
        index: Section::default(),
        filter,
        rows: entities,
        tombstones: 0,
        entities,
        min_event_time: 0,
        max_event_time: 0,
    };
    let filter = TableFilter::parse(&pages, &footer).unwrap();
    assert!(places.iter().all(|(view, hash)| filter.may_hold(*view, *hash)));
    let wrong = (0..10_000).filter(|_| filter.may_hold(ViewId(1), rng.next())).count();
    assert!(wrong < 100, "{wrong} of 10000");
}
