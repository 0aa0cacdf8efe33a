//! The target over the parts of a warm table, each entered behind its checksum.

use thermae_formats::ViewId;
use thermae_formats::table::{
    Codec, Columns, ColumnsWriter, Layout, PAGE_BYTES, Rows, Section, TableFilter, TableFooter,
    TableId, TableIndex, TableKind, open_block, padded,
};
use xxhash_rust::xxh3::xxh3_64;

/// The table that the parts belong to.
pub const ID: TableId = TableId {
    kind: TableKind::Latest,
    store_id: [7; 16],
    file_id: 3,
    salt: 0x1234_5678_9abc_def0,
    hash_seed: 11,
    may_hold_stubs: false,
};
/// Where a section or block lies.
pub const OFFSET: u64 = 1 << 20;
/// Most bytes of a part that the target makes of its input.
const MOST_BYTES: u64 = 1 << 20;

/// The first byte picks the part: header, footer, index, filter or block.
pub fn table(data: &[u8]) {
    let Some((pick, part)) = data.split_first() else { return };
    match pick % 5 {
        0 => header(part),
        1 => footer(part),
        2 => index(part),
        3 => filter(part),
        _ => block(part),
    }
}

/// `data` as one page under its checksum.
fn page(data: &[u8]) -> Vec<u8> {
    let mut page = data.to_vec();
    page.resize(PAGE_BYTES, 0);
    let checksum = xxh3_64(&page[..PAGE_BYTES - 8]);
    page[PAGE_BYTES - 8..].copy_from_slice(&checksum.to_le_bytes());
    page
}

fn header(data: &[u8]) {
    let _ = TableId::parse_header(data);
    let page = page(data);
    if let Ok(id) = TableId::parse_header(&page) {
        assert_eq!(id.header_page()[..], page[..]);
    }
}

fn footer(data: &[u8]) {
    let page = page(data);
    let number = |at: usize| u64::from_le_bytes(page[at..at + 8].try_into().unwrap_or_default());
    let end = number(96).saturating_add(number(104).div_ceil(4096).saturating_mul(4096));
    if let Ok((footer, named)) = TableFooter::parse(&page, end.saturating_add(4096)) {
        assert_eq!(footer.to_page().0[..], page[..]);
        assert_eq!(footer.to_page().1, named);
    }
}

/// A footer whose counts the first bytes give: kind, views or parts, blocks, rows.
fn around(data: &[u8]) -> Option<(TableFooter, &[u8])> {
    let (counts, rest) = data.split_first_chunk::<8>()?;
    let section = Section { offset_bytes: OFFSET, bytes: 0, checksum: 0 };
    let kind = if counts[0] & 1 == 0 { TableKind::Latest } else { TableKind::History };
    let rows = u64::from(u32::from_le_bytes([counts[4], counts[5], counts[6], counts[7]]));
    let footer = TableFooter {
        id: TableId { kind, ..ID },
        blocks: u32::from(u16::from_le_bytes([counts[2], counts[3]])),
        views: u32::from(counts[1]),
        filter_parts: u32::from(counts[1]),
        index: section,
        filter: section,
        rows,
        tombstones: 0,
        entities: rows,
        min_event_time: 0,
        max_event_time: 0,
    };
    Some((footer, rest))
}

fn index(data: &[u8]) {
    let Some((mut footer, rest)) = around(data) else { return };
    footer.index.bytes = TableFooter::index_bytes(footer.views, footer.blocks);
    let mut pages = rest.to_vec();
    pages.resize(padded(footer.index.bytes) as usize, 0);
    footer.index.checksum = footer.id.checksum(&pages, OFFSET);
    let Ok(index) = TableIndex::parse(&pages, &footer) else { return };
    assert_eq!(index.to_bytes(), pages);
    for view in index.views() {
        for hash in [0, 1, 1 << 32, u64::MAX] {
            let Some(blocks) = index.locate(footer.id.kind, view.view, hash) else { continue };
            assert!(blocks.start < blocks.end && blocks.end <= footer.blocks);
            assert!(footer.id.kind == TableKind::History || blocks.len() == 1);
            let place = index.place(blocks);
            assert!(place.start >= 4096 && place.start < place.end && place.end <= OFFSET);
        }
    }
}

fn filter(data: &[u8]) {
    let Some((mut footer, rest)) = around(data) else { return };
    footer.filter.bytes = (rest.len() as u64).min(MOST_BYTES).next_multiple_of(8);
    let mut pages = rest.to_vec();
    pages.resize(padded(footer.filter.bytes) as usize, 0);
    footer.filter.checksum = footer.id.checksum(&pages, OFFSET);
    let Ok(filter) = TableFilter::parse(&pages, &footer) else { return };
    for hash in (0..64).map(|bit| 0x5555_5555_5555_5555 ^ 1_u64 << bit) {
        filter.may_hold(ViewId(1), hash);
        filter.may_hold(ViewId(u32::MAX), hash);
    }
    assert!(filter.memory_bytes() <= pages.len() as u64);
}

fn block(data: &[u8]) {
    let mut block = data.to_vec();
    let bytes = padded((block.len() as u64).min(MOST_BYTES)).max(PAGE_BYTES as u64);
    block.resize(bytes as usize, 0);
    let checksum = ID.checksum(&block[8..], OFFSET);
    block[..8].copy_from_slice(&checksum.to_le_bytes());
    let Ok((header, stored)) = open_block(&block, &ID, OFFSET) else { return };
    assert_eq!(stored.len(), header.stored_bytes as usize);
    if header.codec == Codec::Raw {
        columns(stored, header.rows);
    }
}

/// Whatever adds up is restored, row by row as all at once, and comes back from columns of our own.
fn columns(stored: &[u8], count: u32) {
    let mut layout = Layout::default();
    let Ok(columns) = Columns::parse(stored, count, &mut layout) else { return };
    let (mut rows, mut one_by_one) = (Vec::new(), Vec::new());
    if columns.append_rows(&mut rows).is_err() {
        return;
    }
    for row in 0..count as usize {
        assert!(columns.append_row(row, &mut one_by_one).is_ok());
    }
    assert_eq!(rows, one_by_one);
    let (mut keys, mut ends) = (Vec::new(), Vec::new());
    assert!(columns.keys(&mut keys, &mut ends).is_ok());
    let mut begin = 0;
    for (at, row) in Rows::new(&rows, count).enumerate() {
        let end = ends[at] as usize;
        let key = &keys[std::mem::replace(&mut begin, end)..end];
        let Ok(version) = row else { break };
        assert_eq!((key, columns.event_time(at)), (version.key, version.event_time));
        assert!(matches!(columns.find(version.key), Ok(Some(found)) if found <= at));
    }
    let (mut writer, mut again, mut read) = (ColumnsWriter::default(), Vec::new(), Vec::new());
    writer.begin(&rows, count as usize);
    assert!(writer.measure(&rows, count as usize) > 0);
    writer.append(&rows, &mut again);
    let columns = Columns::parse(&again, count, &mut layout);
    assert!(columns.is_ok_and(|columns| columns.append_rows(&mut read).is_ok()));
    assert_eq!(rows, read);
}
