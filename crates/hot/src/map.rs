//! The memory under a hot table: a sealed memfd mapped at a huge-page boundary, or the heap.
//!
//! The file is allocated whole before it is mapped, so touching it can never raise SIGBUS for want of
//! memory; its size is sealed, so no process can take pages away from another; and writing is sealed
//! once the writer has its mapping, so whoever receives the descriptor can only read.
//!
//! Huge pages: hugetlbfs pages are taken when the machine has set some aside; otherwise the pages of the
//! memfd are collapsed in place, which works even where transparent huge pages are off for shared
//! memory. Both need the mapping to begin at a 2 MiB boundary, which only a fixed address guarantees.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::Ordering;

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};
use thermae_formats::hot_layout::WORD_BYTES;
use thermae_formats::hot_layout::header::{
    self, Geometry, HUGE_PAGE_BYTES, HeaderError, MAP_BYTES_MIN, MapInfo, STATIC_WORDS,
    whole_map_bytes,
};

use crate::error::MapError;
use crate::marks::Marks;
use crate::sync::AtomicU64;

/// What a map is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HotConfig {
    /// Bytes of the whole map, everything included: 1 MiB to 256 GiB. Rounded down to 2 MiB, below
    /// that to 64 KiB.
    pub bytes: u64,
    /// Seed of the store's hashes.
    pub hash_seed: u64,
    /// The store.
    pub store_id: u128,
    /// The opening of the store.
    pub epoch: u64,
    /// The shard whose rows it holds, below `shards`.
    pub shard: u32,
    /// Number of shards, at least 1.
    pub shards: u32,
    /// The access domain.
    pub domain: u64,
}

impl HotConfig {
    fn info(&self) -> MapInfo {
        MapInfo {
            map_bytes: whole_map_bytes(self.bytes),
            hash_seed: self.hash_seed,
            store_id: self.store_id,
            epoch: self.epoch,
            shard: self.shard,
            shards: self.shards,
            domain: self.domain,
        }
    }
}

/// A map and what its header says. The words are shared memory: only atomics may touch them.
pub(crate) struct Map {
    start: NonNull<AtomicU64>,
    length_words: usize,
    pub(crate) info: MapInfo,
    pub(crate) geometry: Geometry,
    /// Which rows were read of late; only a writer's map has it.
    pub(crate) marks: Option<Marks>,
    backing: Backing,
}

enum Backing {
    /// A mapping of this many bytes at `start`; the writer keeps the file to hand it on.
    Mapped { bytes: usize, file: Option<OwnedFd> },
    /// Words that a `Vec` gave up; `start` and `length_words` are its parts.
    Heap,
}

// SAFETY: the map is a fixed range of atomics that lives as long as the value, wherever it is dropped;
// everything else in it is plain data.
unsafe impl Send for Map {}
// SAFETY: as above; shared access goes through atomics alone.
unsafe impl Sync for Map {}

impl Map {
    /// Makes a map in a new memfd, writable by this process alone.
    pub(crate) fn create(config: &HotConfig) -> Result<Map, MapError> {
        let info = config.info();
        let geometry = Geometry::plan(info.map_bytes)?;
        check_shards(&info)?;
        let memory_bytes = memory_bytes();
        if info.map_bytes > memory_bytes {
            return Err(MapError::LargerThanMemory { bytes: info.map_bytes, memory_bytes });
        }
        let file = sized_memfd(info.map_bytes)?;
        let bytes = info.map_bytes as usize;
        let start = map_aligned(bytes, ProtFlags::READ | ProtFlags::WRITE, file.as_fd())?;
        let length_words = bytes / WORD_BYTES;
        let backing = Backing::Mapped { bytes, file: None };
        let marks = Some(Marks::new(&geometry));
        let mut map = Map { start, length_words, info, geometry, marks, backing };
        ask_for_huge_pages(start, bytes);
        allocate(&file, 0, info.map_bytes)?;
        rustix::fs::fcntl_add_seals(&file, SealFlags::FUTURE_WRITE | SealFlags::SEAL)
            .map_err(|error| system("sealing the memfd against writers", info.map_bytes, error))?;
        advise(start, bytes, libc::MADV_POPULATE_WRITE);
        map.backing = Backing::Mapped { bytes, file: Some(file) };
        map.write_header();
        Ok(map)
    }

    /// Makes a map on the heap: for the simulator, for Miri, and for tests.
    pub(crate) fn create_on_heap(config: &HotConfig) -> Result<Map, MapError> {
        let info = config.info();
        let geometry = Geometry::plan(info.map_bytes)?;
        check_shards(&info)?;
        let map = Map::on_heap(info, geometry);
        map.write_header();
        Ok(map)
    }

    /// Words of zeros on the heap, as many as `geometry` says.
    pub(crate) fn on_heap(info: MapInfo, geometry: Geometry) -> Map {
        let mut words = Vec::new();
        words.resize_with(geometry.map_words, || AtomicU64::new(0));
        let words = Box::leak(words.into_boxed_slice());
        let length_words = words.len();
        let start = NonNull::from(words).cast();
        let marks = Some(Marks::new(&geometry));
        Map { start, length_words, info, geometry, marks, backing: Backing::Heap }
    }

    /// Maps, for reading, a descriptor that another process handed over. Trusts nothing about it.
    pub(crate) fn open(file: OwnedFd) -> Result<Map, MapError> {
        let stat =
            rustix::fs::fstat(&file).map_err(|error| system("asking for the size", 0, error))?;
        let actual_bytes = u64::try_from(stat.st_size).unwrap_or(0);
        Geometry::plan(actual_bytes)?;
        let seals = rustix::fs::fcntl_get_seals(&file).unwrap_or(SealFlags::empty());
        if !seals.contains(SealFlags::SHRINK) {
            return Err(MapError::NotSealed);
        }
        let bytes = actual_bytes as usize;
        let start = map_aligned(bytes, ProtFlags::READ, file.as_fd())?;
        let backing = Backing::Mapped { bytes, file: None };
        let unread = MapInfo {
            map_bytes: actual_bytes,
            hash_seed: 0,
            store_id: 0,
            epoch: 0,
            shard: 0,
            shards: 1,
            domain: 0,
        };
        let geometry = Geometry::plan(actual_bytes)?;
        let length_words = bytes / WORD_BYTES;
        let mut map = Map { start, length_words, info: unread, geometry, marks: None, backing };
        let mut header = [0; STATIC_WORDS];
        for (copy, word) in header.iter_mut().zip(map.words()) {
            *copy = word.load(Ordering::Relaxed);
        }
        (map.info, map.geometry) = header::decode_header(&header, actual_bytes)?;
        populate_for_reading(map.start, bytes);
        Ok(map)
    }

    /// All words of the map. A word's index is its position.
    #[inline]
    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: `start` points at `length_words` initialised words, mapped or leaked from a box, that
        // stay until `drop`; they are aligned (a page, or a box of atomics), and other processes that
        // hold the same pages can only read them, or are the one writer, through atomics.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length_words) }
    }

    /// Remembers that the row at a position was read.
    #[inline]
    pub(crate) fn touch(&self, position: usize) {
        if let Some(marks) = &self.marks {
            marks.touch(position);
        }
    }

    /// Whether the row at a position was read since its mark was cleared.
    pub(crate) fn is_marked(&self, position: usize) -> bool {
        self.marks.as_ref().is_some_and(|marks| marks.is_marked(position))
    }

    /// Clears the mark of the row at a position. Whether it had one.
    pub(crate) fn clear_mark(&self, position: usize) -> bool {
        self.marks.as_ref().is_some_and(|marks| marks.clear(position))
    }

    /// Gives the row at `to` the mark of the one at `from`, which moved there.
    pub(crate) fn carry_mark(&self, from: usize, to: usize) {
        if let Some(marks) = &self.marks {
            marks.carry(from, to);
        }
    }

    /// The descriptor behind the map, if it has one that may be handed on.
    pub(crate) fn file(&self) -> Option<BorrowedFd<'_>> {
        match &self.backing {
            Backing::Mapped { file: Some(file), .. } => Some(file.as_fd()),
            _ => None,
        }
    }

    fn write_header(&self) {
        let header = header::encode_header(&self.info, &self.geometry);
        for (word, value) in self.words().iter().zip(header) {
            word.store(value, Ordering::Relaxed);
        }
        let state = &self.words()[header::STATE_WORD];
        state.store(header::STATE_LIVE, Ordering::Release);
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        match &self.backing {
            Backing::Mapped { bytes, .. } => {
                // SAFETY: exactly the range that `map_aligned` mapped, and no slice of it outlives the
                // value that is being dropped.
                let unmapped = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), *bytes) };
                debug_assert!(unmapped.is_ok());
            }
            Backing::Heap => {
                let words = NonNull::slice_from_raw_parts(self.start, self.length_words);
                // SAFETY: these are the parts of the box leaked in `on_heap`, given back once.
                drop(unsafe { Box::from_raw(words.as_ptr()) });
            }
        }
    }
}

fn check_shards(info: &MapInfo) -> Result<(), MapError> {
    if info.shard >= info.shards {
        return Err(HeaderError::Geometry { field: "shards" }.into());
    }
    if info.map_bytes < MAP_BYTES_MIN {
        let (actual_bytes, expected_bytes) = (info.map_bytes, MAP_BYTES_MIN);
        return Err(HeaderError::Size { actual_bytes, expected_bytes }.into());
    }
    Ok(())
}

fn memory_bytes() -> u64 {
    let system = rustix::system::sysinfo();
    system.totalram.saturating_mul(u64::from(system.mem_unit))
}

/// A memfd of `bytes`, its size sealed: of huge pages if as many are set aside, otherwise with the first
/// page of each would-be huge page allocated, around which [`ask_for_huge_pages`] makes the rest of it.
fn sized_memfd(bytes: u64) -> Result<OwnedFd, MapError> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    if bytes.is_multiple_of(HUGE_PAGE_BYTES)
        && let Ok(file) = rustix::fs::memfd_create(c"thermae-hot", flags | MemfdFlags::HUGETLB)
        && size(&file, bytes).is_ok()
        && allocate(&file, 0, bytes).is_ok()
    {
        return Ok(file);
    }
    let file = rustix::fs::memfd_create(c"thermae-hot", flags)
        .map_err(|error| system("creating the memfd", bytes, error))?;
    size(&file, bytes)?;
    for offset_bytes in (0..bytes).step_by(HUGE_PAGE_BYTES as usize) {
        allocate(&file, offset_bytes, 1)?;
    }
    Ok(file)
}

fn size(file: &OwnedFd, bytes: u64) -> Result<(), MapError> {
    rustix::fs::ftruncate(file, bytes).map_err(|error| system("sizing the memfd", bytes, error))?;
    rustix::fs::fcntl_add_seals(file, SealFlags::SHRINK | SealFlags::GROW)
        .map_err(|error| system("sealing the memfd's size", bytes, error))
}

fn allocate(file: &OwnedFd, offset_bytes: u64, bytes: u64) -> Result<(), MapError> {
    rustix::fs::fallocate(file, FallocateFlags::empty(), offset_bytes, bytes)
        .map_err(|error| system("allocating the memfd", bytes, error))
}

/// Maps `bytes` of `file`, shared, at a huge-page boundary.
fn map_aligned(
    bytes: usize,
    protection: ProtFlags,
    file: BorrowedFd<'_>,
) -> Result<NonNull<AtomicU64>, MapError> {
    let huge = HUGE_PAGE_BYTES as usize;
    let reserved_bytes = bytes.saturating_add(huge);
    let fail = |step| move |error| system(step, bytes as u64, error);
    // SAFETY: a new private mapping at an address of the kernel's choice; nothing else is touched.
    let reserved = unsafe {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        rustix::mm::mmap_anonymous(std::ptr::null_mut(), reserved_bytes, ProtFlags::empty(), flags)
    }
    .map_err(fail("reserving addresses"))?;
    let skip = reserved.align_offset(huge).min(huge);
    let wanted = reserved.wrapping_byte_add(skip);
    // SAFETY: `wanted .. wanted + bytes` lies inside the reservation made just above, which nobody else
    // knows of, so the fixed mapping replaces nothing but it.
    let mapped = unsafe {
        rustix::mm::mmap(wanted, bytes, protection, MapFlags::SHARED | MapFlags::FIXED, file, 0)
    };
    let tail_bytes = huge - skip;
    // SAFETY: the ends of the same reservation, which hold no mapping of the file. Their removal may
    // fail only by leaving addresses reserved, which costs no memory.
    unsafe {
        if skip > 0 {
            let _ = rustix::mm::munmap(reserved, skip);
        }
        if tail_bytes > 0 {
            let _ = rustix::mm::munmap(wanted.wrapping_byte_add(bytes), tail_bytes);
        }
        if mapped.is_err() {
            let _ = rustix::mm::munmap(wanted, bytes);
        }
    }
    let mapped = mapped.map_err(fail("mapping the memfd"))?;
    NonNull::new(mapped.cast()).ok_or_else(|| {
        let error = rustix::io::Errno::NOMEM;
        system("mapping the memfd", bytes as u64, error)
    })
}

/// Best effort: a map on small pages is slower by a quarter, and right. Asked before the small pages are
/// there: to collapse those takes a copy of each, ten times as long.
fn ask_for_huge_pages(start: NonNull<AtomicU64>, bytes: usize) {
    for advice in [libc::MADV_HUGEPAGE, libc::MADV_COLLAPSE] {
        advise(start, bytes, advice);
    }
}

/// Best effort: fills the page tables at once instead of at the first look-ups.
fn populate_for_reading(start: NonNull<AtomicU64>, bytes: usize) {
    for advice in [libc::MADV_HUGEPAGE, libc::MADV_POPULATE_READ] {
        advise(start, bytes, advice);
    }
}

fn advise(start: NonNull<AtomicU64>, bytes: usize, advice: libc::c_int) {
    // SAFETY: the range is one live shared mapping of ours, and none of the advices used here discards
    // or changes its contents. A refusal leaves everything as it was.
    let _ = unsafe { libc::madvise(start.as_ptr().cast(), bytes, advice) };
}

fn system(step: &'static str, bytes: u64, error: rustix::io::Errno) -> MapError {
    MapError::System { step, bytes, source: error.into() }
}

/// A second descriptor of the same file.
pub(crate) fn duplicate(file: BorrowedFd<'_>, bytes: u64) -> Result<OwnedFd, MapError> {
    let step = "duplicating the descriptor";
    file.try_clone_to_owned().map_err(|source| MapError::System { step, bytes, source })
}
