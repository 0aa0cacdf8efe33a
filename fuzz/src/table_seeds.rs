//! Valid parts of a warm table, for the target `table`.

use crate::table::{ID, OFFSET};
use thermae_formats::table::{
    BLOCK_HEADER_BYTES, BlockHeader, Codec, ColumnsWriter, FilterPart, PAGE_BYTES, Section,
    TableFooter, TableIndex, encode_filter, seal_block,
};
use thermae_formats::version::Version;
use thermae_formats::{NO_TIME, SchemaId, ViewId};

/// One seed a part: what precedes it is what the target asks for.
pub fn tables() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    let mut add = |name: &str, pick: u8, head: &[u8], bytes: &[u8]| {
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        seeds.push((name.to_owned(), [&[pick][..], head, &bytes[..used]].concat()));
    };
    add("header", 0, &[], &ID.header_page()[..56]);
    add("footer", 1, &[], &footer().to_page().0[..160]);
    let mut index = TableIndex::new();
    for (view, hash, pages) in [(1, 5, 1), (1, 9, 3), (4, 2, 1)] {
        index.push(ViewId(view), hash, 10, pages);
    }
    // The index ends where its section begins; one that ends elsewhere is refused.
    let last = (OFFSET / PAGE_BYTES as u64) as u16 - 6;
    index.push(ViewId(5), 1, 10, last);
    add("index", 2, &[0, 3, 4, 0, 40, 0, 0, 0], &index.to_bytes());
    let part = |view, hash, segment_bytes, segments| FilterPart {
        first_view: ViewId(view),
        first_hash: hash,
        seed: 9,
        segment_bytes,
        segments,
        hashes: 20,
    };
    let parts = [
        (part(1, 5, 4, 2), (1..=16).collect()),
        (part(4, 2, 0, 0), Box::default()),
        (part(5, 0, 8, 1), (1..=24).collect()),
    ];
    let (filter, used_bytes) = encode_filter(&parts);
    add("filter", 3, &[0, 3, 4, 0, 60, 0, 0, 0], &filter[..used_bytes as usize]);
    for (name, codec, rows) in [("block", Codec::Raw, 2), ("block-zstd", Codec::Zstd, 1)] {
        add(name, 4, &[], &block(codec, rows));
    }
    seeds
}

fn footer() -> TableFooter {
    let index = Section { offset_bytes: 8192, bytes: 36, checksum: 1 };
    TableFooter {
        id: ID,
        blocks: 1,
        views: 1,
        filter_parts: 1,
        index,
        filter: Section { offset_bytes: 12_288, bytes: 56, checksum: 2 },
        rows: 2,
        tombstones: 1,
        entities: 2,
        min_event_time: -5,
        max_event_time: 5,
    }
}

fn block(codec: Codec, rows: u32) -> Vec<u8> {
    let version = Version {
        schema_id: SchemaId(3),
        flags: 0,
        sequence: 9,
        event_time: 7,
        created_time: NO_TIME,
        expire_at: 12,
        key: b"\x03\0JFK",
        value: &[1; 12],
    };
    let mut raw = Vec::new();
    (0..rows).for_each(|_| version.encode(&mut raw));
    let mut block = vec![0; BLOCK_HEADER_BYTES];
    let mut writer = ColumnsWriter::default();
    writer.begin(&raw, rows as usize);
    let bytes = writer.measure(&raw, rows as usize) as u32;
    writer.append(&raw, &mut block);
    block.resize(PAGE_BYTES, 0);
    let header = BlockHeader { stored_bytes: bytes, raw_bytes: bytes, rows, pages: 1, codec };
    seal_block(&mut block, &header, &ID, OFFSET);
    block
}
