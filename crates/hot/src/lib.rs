//! The mapped hash table: one writer, any number of readers in any process.
//!
//! A [`HotWriter`] owns one map, fully allocated when it is made, and never holds more than that. It is
//! read by [`HotReader`]s on any thread of the same process, and in any process that was handed the
//! map's descriptor. A reader takes no lock and never makes the writer wait: it copies a row word by
//! word, checks that nobody wrote meanwhile, and checks the row's checksum (`words.rs` has the argument
//! for the memory ordering, `bucket.rs` the one for answers of "absent").
//!
//! The life of a read: [`multi_get`] -> `multi.rs` (passes over groups of probes) -> `lookup.rs` (one
//! probe, with retries) -> `words.rs` (copying a row). The life of a write: `writer.rs` -> `arena.rs`
//! (which slot) -> `words.rs` (writing the row) -> `index.rs` (publishing its position) -> `growth.rs`
//! (when a segment is full). When memory is used up, `evict.rs` makes room by what `marks.rs` says was
//! read. `docs/formats/hot.md` describes the bytes.

mod arena;
mod bucket;
#[cfg(test)]
mod damage_tests;
mod error;
mod evict;
mod growth;
#[cfg(test)]
mod hooks;
mod index;
mod lookup;
mod map;
mod marks;
#[cfg(all(test, loom))]
mod models;
mod multi;
mod prefetch;
mod reader;
mod row;
mod stats;
#[cfg(test)]
mod steps;
mod sync;
mod words;
mod writer;

pub use error::{Corruption, Full, FullCause, HotError, MapError};
pub use lookup::{Lookup, Probe};
pub use map::HotConfig;
pub use multi::{ASKED_ROWS, multi_get};
pub use reader::{Completeness, Expect, HotReader, Liveness, State};
pub use row::{NewRow, RowBuf, RowView};
pub use stats::HotStats;
pub use thermae_formats::hot_layout::header::MapInfo;
pub use writer::{Applied, HotWriter, Reservation};
