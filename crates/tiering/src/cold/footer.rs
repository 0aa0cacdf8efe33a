//! A footer, read and checked: places that lie in the file, counts that agree. The Parquet reader takes
//! these on trust.

use std::ops::Range;

use parquet::file::metadata::{
    ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader,
};

use super::fetch::Parts;

/// Reads the footer at the end of a file whose first `data_bytes` are data; the error says what is wrong.
pub(super) fn read_footer(tail: &Parts, data_bytes: u64) -> Result<ParquetMetaData, String> {
    let footer = ParquetMetaDataReader::new()
        .with_page_index_policy(PageIndexPolicy::Required)
        .parse_and_finish(tail)
        .map_err(|error| error.to_string())?;
    for (number, group) in footer.row_groups().iter().enumerate() {
        let index = footer.page_index_for_row_group(number);
        for (leaf, chunk) in group.columns().iter().enumerate() {
            let impossible =
                |what: &str| format!("{what} of column {leaf} in row group {number} is impossible");
            let range = chunk_bytes(chunk).filter(|range| range.end <= data_bytes);
            let range = range.ok_or_else(|| impossible("the place"))?;
            let pages = index.page_locations(leaf).ok_or_else(|| impossible("the page index"))?;
            let mut next = (range.start, 0);
            for (at, page) in pages.iter().enumerate() {
                let place = (u64::try_from(page.offset), u64::try_from(page.compressed_page_size));
                let (Ok(offset), Ok(bytes)) = place else { return Err(impossible("a page")) };
                let first_row = page.first_row_index;
                let is_first = at == 0;
                let row_follows = if is_first { first_row == 0 } else { first_row > next.1 };
                let end = offset.checked_add(bytes).filter(|end| *end <= range.end);
                let end =
                    end.filter(|_| offset >= next.0 && row_follows && first_row < group.num_rows());
                next = (end.ok_or_else(|| impossible("a page"))?, first_row);
            }
            if pages.is_empty() || chunk.num_values() < 0 {
                return Err(impossible("the page index"));
            }
        }
    }
    Ok(footer)
}

/// Where a column chunk lies; `None` if it says what cannot be.
pub(super) fn chunk_bytes(chunk: &ColumnChunkMetaData) -> Option<Range<u64>> {
    let begin = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
    let begin = u64::try_from(begin).ok()?;
    let end = begin.checked_add(u64::try_from(chunk.compressed_size()).ok()?)?;
    Some(begin..end)
}

/// First row of each row group and the count of all; `None` if a count is impossible.
pub(super) fn group_starts(footer: &ParquetMetaData) -> Option<Vec<u64>> {
    let mut starts = vec![0_u64];
    for group in footer.row_groups() {
        let rows = u64::try_from(group.num_rows()).ok().filter(|rows| *rows > 0)?;
        starts.push(starts.last()?.checked_add(rows)?);
    }
    Some(starts)
}
