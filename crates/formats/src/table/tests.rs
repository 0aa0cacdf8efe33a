#![allow(clippy::unwrap_used, clippy::panic)]

use super::footer::Section;
use super::*;
use crate::version::Version;
use crate::{NO_TIME, SchemaId, ViewId};

const ID: TableId = TableId {
    kind: TableKind::Latest,
    store_id: *b"0123456789abcdef",
    file_id: 0x0102,
    salt: 0x1112_1314_1516_1718,
    hash_seed: 0x2122_2324_2526_2728,
    may_hold_stubs: false,
};

fn version(key: &[u8]) -> Version<'_> {
    Version {
        schema_id: SchemaId(3),
        flags: 0,
        sequence: 9,
        event_time: 7,
        created_time: NO_TIME,
        expire_at: NO_TIME,
        key,
        value: b"value",
    }
}

/// A footer over an index and a filter, both whole pages.
fn footer(index: &TableIndex, filter: &[u8], filter_parts: u32, used_bytes: u64) -> TableFooter {
    let all = 0..index.blocks();
    let (views, rows) = (index.views(), index.views().iter().map(|view| view.rows).sum());
    let offset_bytes = index.place(all).end;
    let bytes = index.to_bytes();
    let index = Section {
        offset_bytes,
        bytes: TableFooter::index_bytes(views.len() as u32, index.blocks()),
        checksum: ID.checksum(&bytes, offset_bytes),
    };
    let offset_bytes = index.end_bytes();
    let checksum = ID.checksum(filter, offset_bytes);
    TableFooter {
        id: ID,
        blocks: views.iter().map(|view| view.blocks).sum(),
        views: views.len() as u32,
        filter_parts,
        index,
        filter: Section { offset_bytes, bytes: used_bytes, checksum },
        rows,
        tombstones: 0,
        entities: rows,
        min_event_time: -7,
        max_event_time: 7,
    }
}

fn part() -> (FilterPart, Box<[u8]>) {
    let part = FilterPart {
        first_view: ViewId(1),
        first_hash: 10,
        seed: 5,
        segment_bytes: 4,
        segments: 1,
        hashes: 60,
    };
    (part, (0..12).collect())
}

fn index() -> TableIndex {
    let mut index = TableIndex::new();
    for (view, hash, rows, pages) in [(1, 10, 20, 1), (1, 30, 10, 3), (1, 31, 10, 1), (4, 0, 20, 2)]
    {
        index.push(ViewId(view), hash, rows, pages);
    }
    index
}

fn sample() -> (TableIndex, Vec<u8>, TableFooter) {
    let (filter, used_bytes) = encode_filter(&[part()]);
    let index = index();
    let footer = footer(&index, &filter, 1, used_bytes);
    (index, filter, footer)
}

#[test]
fn every_part_comes_back_and_every_flipped_bit_of_it_is_noticed() {
    let (index, filter, footer) = sample();
    let header = ID.header_page();
    let (last, named) = footer.to_page();
    let sections = index.to_bytes();
    assert_eq!(TableId::parse_header(&header), Ok(ID));
    assert_eq!(TableFooter::parse(&last, footer.file_bytes()), Ok((footer, named)));
    assert_eq!(TableIndex::parse(&sections, &footer), Ok(index));
    assert!(TableFilter::parse(&filter, &footer).is_ok());
    assert_eq!(named.bytes, footer.file_bytes());
    for at in 0..PAGE_BYTES {
        let flipped = |page: &[u8]| {
            let mut page = page.to_vec();
            page[at] ^= 1 << (at % 8);
            page
        };
        assert!(TableId::parse_header(&flipped(&header)).is_err(), "header {at}");
        assert!(TableFooter::parse(&flipped(&last), footer.file_bytes()).is_err(), "footer {at}");
        assert!(TableIndex::parse(&flipped(&sections), &footer).is_err(), "index {at}");
        assert!(TableFilter::parse(&flipped(&filter), &footer).is_err(), "filter {at}");
    }
    assert!(TableId::parse_header(&header[..4095]).is_err());
    assert!(TableFooter::parse(&last, footer.file_bytes() + 4096).is_err());
}

#[test]
fn impossible_footers_are_refused_though_the_checksum_holds() {
    let (_, _, sound) = sample();
    let broken: [fn(&mut TableFooter); 14] = [
        |f| f.blocks = 0,
        |f| f.blocks = u32::MAX,
        |f| f.views = 0,
        |f| f.views = 5,
        |f| f.filter_parts = 0,
        |f| f.filter_parts = u32::MAX,
        |f| f.index.offset_bytes = 4096,
        |f| f.index.offset_bytes = u64::MAX - 4095,
        |f| f.index.bytes += 1,
        |f| f.filter.offset_bytes += 4096,
        |f| f.filter.bytes = u64::MAX - 7,
        |f| f.rows = 3,
        |f| f.tombstones = f.rows + 1,
        |f| f.entities = 0,
    ];
    for (case, breaks) in broken.iter().enumerate() {
        let mut footer = sound;
        breaks(&mut footer);
        // The name is made from what was broken and may be beyond any number.
        let page = std::panic::catch_unwind(|| footer.to_page());
        let Ok((page, _)) = page else { continue };
        let parsed = TableFooter::parse(&page, sound.file_bytes());
        assert!(
            matches!(parsed, Err(TableError::Field { .. } | TableError::Length { .. })),
            "case {case}: {parsed:?}"
        );
    }
}

#[test]
fn an_entity_is_in_the_blocks_that_the_index_names() {
    let index = index();
    let latest = |view, hash| index.locate(TableKind::Latest, ViewId(view), hash);
    assert_eq!(latest(1, 9), None);
    assert_eq!(latest(1, 10), Some(0..1));
    assert_eq!(latest(1, 29), Some(0..1));
    assert_eq!(latest(1, 30), Some(1..2));
    assert_eq!(latest(1, u64::MAX), Some(2..3));
    assert_eq!(latest(4, 0), Some(3..4));
    assert_eq!((latest(0, 10), latest(2, 10), latest(5, 10)), (None, None, None));
    assert_eq!(index.place(1..2), 8192..20480);
    assert_eq!(
        (index.block_at(8192), index.block_at(8193), index.block_at(0)),
        (Some(1), None, None)
    );
    assert_eq!((index.view_of(2), index.view_of(3)), (Some(ViewId(1)), Some(ViewId(4))));
    assert_eq!((index.view_of(4), index.place(4..5)), (None, 0..0));
    let mut history = TableIndex::new();
    for hash in [5, 8, 8, 8, 9] {
        history.push(ViewId(1), hash, 1, 1);
    }
    let places = [(4, None), (5, Some(0..1)), (7, Some(0..1)), (8, Some(0..4)), (9, Some(3..5))];
    for (hash, blocks) in places {
        assert_eq!(history.locate(TableKind::History, ViewId(1), hash), blocks, "{hash}");
    }
}

#[test]
fn impossible_indexes_and_filters_are_refused_though_the_checksum_holds() {
    let (_, _, sound) = sample();
    let indexes: [&[(u32, u64, u32, u16)]; 4] = [
        &[(1, 10, 60, 1), (1, 10, 0, 1), (1, 11, 0, 1), (4, 0, 0, 1)],
        &[(4, 10, 60, 1), (4, 11, 0, 1), (4, 12, 0, 1), (1, 0, 0, 1)],
        &[(1, 10, 60, 1), (1, 30, 0, 0), (1, 31, 0, 1), (4, 0, 0, 1)],
        &[(1, 10, 50, 1), (1, 30, 0, 1), (1, 31, 0, 1), (4, 0, 0, 1)],
    ];
    for blocks in indexes {
        let mut index = TableIndex::new();
        blocks.iter().for_each(|(view, hash, rows, pages)| {
            index.push(ViewId(*view), *hash, *rows, *pages);
        });
        let bytes = index.to_bytes();
        let mut footer = sound;
        footer.index.checksum = ID.checksum(&bytes, footer.index.offset_bytes);
        let parsed = TableIndex::parse(&bytes, &footer);
        assert!(matches!(parsed, Err(TableError::Field { .. })), "{blocks:?}: {parsed:?}");
    }
    let parts: [fn(&mut FilterPart); 6] = [
        |part| part.segment_bytes = 3,
        |part| part.segment_bytes = 1 << 19,
        |part| part.segments = u32::MAX,
        |part| part.segments = 0,
        |part| part.segment_bytes = 0,
        |part| part.hashes = 0,
    ];
    for (case, breaks) in parts.iter().enumerate() {
        let (mut broken, fingerprints) = part();
        breaks(&mut broken);
        let (bytes, used_bytes) = encode_filter(&[(broken, fingerprints)]);
        let mut footer = sound;
        footer.filter.bytes = used_bytes;
        footer.filter.checksum = ID.checksum(&bytes, footer.filter.offset_bytes);
        let parsed = TableFilter::parse(&bytes, &footer);
        assert!(matches!(parsed, Err(TableError::Field { .. })), "case {case}: {parsed:?}");
    }
}

#[test]
fn a_filter_answers_by_part_and_without_fingerprints_always_yes() {
    let open = FilterPart { segment_bytes: 0, segments: 0, first_hash: 50, ..part().0 };
    let (bytes, used_bytes) = encode_filter(&[part(), (open, Box::default())]);
    let (_, _, mut footer) = sample();
    (footer.filter_parts, footer.filter.bytes, footer.entities) = (2, used_bytes, 120);
    footer.filter.checksum = ID.checksum(&bytes, footer.filter.offset_bytes);
    let filter = TableFilter::parse(&bytes, &footer).unwrap();
    assert!(!filter.may_hold(ViewId(1), 9) && !filter.may_hold(ViewId(0), 60));
    assert!(filter.may_hold(ViewId(1), 50) && filter.may_hold(ViewId(2), 0));
    let admitted = (10..50).filter(|hash| filter.may_hold(ViewId(1), *hash)).count();
    assert!(admitted < 10, "{admitted} of 40");
    let places = || (0..70).map(|hash| (ViewId(hash as u32 % 3), hash));
    let lacked = places()
        .take(64)
        .enumerate()
        .fold(0, |all, (at, (view, hash))| all | u64::from(!filter.may_hold(view, hash)) << at);
    assert_eq!(filter.lacks(places()), lacked);
    assert_eq!(filter.lacks(places().take(5)), lacked & 0b1_1111);
    assert_eq!(filter.lacks(std::iter::empty()), 0);
}

#[test]
fn blocks_verify_only_where_they_were_written() {
    let mut raw = Vec::new();
    [b"one", b"two"].iter().for_each(|key| version(*key).encode(&mut raw));
    let header = BlockHeader {
        stored_bytes: raw.len() as u32,
        raw_bytes: raw.len() as u32,
        rows: 2,
        pages: 1,
        codec: Codec::Raw,
    };
    let mut block = vec![0; PAGE_BYTES];
    block[BLOCK_HEADER_BYTES..BLOCK_HEADER_BYTES + raw.len()].copy_from_slice(&raw);
    let sealed = |header: &BlockHeader| {
        let mut block = block.clone();
        seal_block(&mut block, header, &ID, 8192);
        block
    };
    let sound = sealed(&header);
    assert_eq!(open_block(&sound, &ID, 8192), Ok((header, &raw[..])));
    let keys: Vec<_> = Rows::new(&raw, 2).map(|row| row.unwrap().key).collect();
    assert_eq!(keys, [b"one", b"two"]);
    let moved = [
        open_block(&sound, &ID, 4096),
        open_block(&sound, &TableId { salt: 1, ..ID }, 8192),
        open_block(&sound, &TableId { file_id: 1, ..ID }, 8192),
        open_block(&sound, &TableId { store_id: [1; 16], ..ID }, 8192),
    ];
    assert_eq!(moved.map(|block| block.is_err()), [true; 4]);
    assert!(open_block(&sound[..4095], &ID, 8192).is_err() && open_block(&[], &ID, 0).is_err());
    let impossible: [fn(&mut BlockHeader); 6] = [
        |header| header.stored_bytes = 4073,
        |header| header.raw_bytes += 1,
        |header| (header.codec, header.raw_bytes) = (Codec::Zstd, MAX_RAW_BYTES + 1),
        |header| header.rows = 0,
        |header| header.rows = 1 << 30,
        |header| header.pages = 2,
    ];
    for (case, breaks) in impossible.iter().enumerate() {
        let mut broken = header;
        breaks(&mut broken);
        assert!(open_block(&sealed(&broken), &ID, 8192).is_err(), "case {case}");
    }
}

#[test]
fn rows_are_exactly_as_many_as_the_block_says() {
    let mut raw = Vec::new();
    [b"one", b"two"].iter().for_each(|key| version(*key).encode(&mut raw));
    for (rows, sound) in [(1, 1), (3, 2)] {
        let read: Vec<_> = Rows::new(&raw, rows).collect();
        assert_eq!(read.len(), sound + 1);
        assert_eq!(read.iter().filter(|row| row.is_ok()).count(), sound);
        assert!(read[sound].is_err());
    }
    assert_eq!(Rows::new(&raw[..raw.len() - 1], 2).filter(Result::is_err).count(), 1);
}
