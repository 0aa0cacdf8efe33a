//! Targets over the hot table's layout: the header that another process maps, and a row's checksum.

use thermae_formats::hot_layout::header::{Geometry, STATIC_WORDS, decode_header, encode_header};
use thermae_formats::hot_layout::row_checksum;
use xxhash_rust::xxh3::xxh3_64;

/// The words of a header, as they are and with their checksum made right: what is accepted is encoded to the
/// same words, and its parts lie inside the map. Then the words as a row: its checksum leaves it as it was,
/// and names its place.
pub fn hot_layout(data: &[u8]) {
    let (chunks, _) = data.as_chunks::<8>();
    let words: Vec<u64> = chunks.iter().map(|chunk| u64::from_le_bytes(*chunk)).collect();
    let mut header = [0; STATIC_WORDS];
    header.iter_mut().zip(&words).for_each(|(target, word)| *target = *word);
    check_header(&header);
    let body: Vec<u8> =
        header[..STATIC_WORDS - 1].iter().flat_map(|word| word.to_le_bytes()).collect();
    header[STATIC_WORDS - 1] = xxh3_64(&body);
    check_header(&header);
    let sum = row_checksum(&words, 8, 1);
    assert_ne!(sum, row_checksum(&words, 16, 1), "the checksum names the place");
}

fn check_header(words: &[u64; STATIC_WORDS]) {
    let map_bytes = words[2];
    let Ok((info, geometry)) = decode_header(words, map_bytes) else { return };
    assert_eq!(encode_header(&info, &geometry), *words);
    assert_eq!(Geometry::plan(map_bytes), Ok(geometry));
    let last = geometry.chunk_word(geometry.chunks);
    assert!(last <= geometry.map_words && geometry.map_words as u64 * 8 == map_bytes);
    assert!(geometry.record_word(geometry.chunks) <= geometry.arena_word);
    assert!(geometry.directory_word + geometry.directory_cells <= geometry.table_word);
    assert!(decode_header(words, map_bytes + 8).is_err(), "another size is refused");
}
