//! Examining the logs of a directory: opens their segments, finds where the present ones end, checks
//! the sealed ones. Recovery and `verify` both stand on this; nothing is written here.

use std::path::{Path, PathBuf};

use thermae_env::{Env, File};
use thermae_formats::batch::{BATCH_ALIGN, BatchView, FINAL};
use thermae_formats::manifest::{Manifest, SealedLog};
use thermae_formats::segment::{SEGMENT_HEADER_BYTES, SegmentName};

use super::decide::{Found, Place, Tail, Verdict, Witness, decide};
use super::files::LogPlan;
use super::scan::{Chain, Segments, follow, open_segment, search};
use super::{LogError, OnDamage};

/// Receives what is wrong: stops at the first, or collects.
#[derive(Debug)]
pub(super) struct Sink {
    on_damage: OnDamage,
    pub(super) found: Vec<LogError>,
}

impl Sink {
    pub(super) const fn new(on_damage: OnDamage) -> Self {
        Self { on_damage, found: Vec::new() }
    }

    /// Takes a complaint; gives it back as the error when nothing may be wrong.
    pub(super) fn report(&mut self, error: LogError) -> Result<(), LogError> {
        match (self.on_damage, error) {
            // What the caller refused, or what no byte on the disk explains, is never passed over.
            (OnDamage::Refuse, error) | (_, error @ LogError::Refused(_)) => Err(error),
            (OnDamage::Salvage, error) => {
                self.found.push(error);
                Ok(())
            }
        }
    }
}

/// Where the log of one shard ended in the last run. Every open reports one for each such log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutReport {
    /// Epoch of the log.
    pub epoch: u32,
    /// Its shard.
    pub shard: u16,
    /// Segment that it ends in.
    pub file: PathBuf,
    /// Where it ends, in bytes.
    pub offset: u64,
    /// Number of its last batch; 0 for none.
    pub batch: u64,
    /// Something is behind the end and is dropped: a batch that was begun and never durable, or, in a
    /// file that was used before, what lay there.
    pub is_torn: bool,
    /// Whole batches behind the end that are dropped with it.
    pub dropped_batches: u64,
    /// The log was stopped cleanly.
    pub is_clean_stop: bool,
    /// What was found at the end.
    pub why: String,
}

/// End of a log of the present epoch.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) chain: Chain,
    pub(super) cut: CutReport,
}

/// Path of a log's segment.
fn path_of(log_dir: &Path, plan: &LogPlan, number: u32) -> PathBuf {
    let name = SegmentName { epoch: plan.epoch, shard: plan.shard, number };
    log_dir.join(name.to_string())
}

/// Opens the segments of a log that are there and sound, and reports the others.
pub(super) fn open_log<E: Env>(
    env: &E,
    log_dir: &Path,
    manifest: &Manifest,
    plan: &LogPlan,
    sink: &mut Sink,
) -> Result<Segments<E::File>, LogError> {
    let first = plan.start.segment;
    let named = plan.sealed.map_or(first + 1, |log| log.segments);
    for number in first..named {
        if !plan.segments.iter().any(|name| name.number == number) {
            let path = path_of(log_dir, plan, number);
            sink.report(LogError::Missing { path, why: "the MANIFEST names it" })?;
        }
    }
    let mut segments = Segments::new();
    for &name in &plan.segments {
        // The unused end of a sealed log's last segment may have been given back.
        let needed = plan.sealed.filter(|log| log.segments == name.number + 1);
        let needed = needed.map(|log| log.end_offset);
        match open_segment(env, log_dir, name, &manifest.store_id, needed) {
            Ok(segment) => {
                segments.insert(name.number, segment);
            }
            Err(error) => sink.report(error)?,
        }
    }
    Ok(segments)
}

/// The start of a log's chain.
pub(super) const fn start(plan: &LogPlan) -> Chain {
    Chain::start(&plan.start)
}

/// Finds where a log of the present epoch ends. `None` when it is damaged (and that was taken).
pub(super) fn find_end<F: File>(
    log_dir: &Path,
    plan: &LogPlan,
    segments: &Segments<F>,
    chain: Chain,
    sink: &mut Sink,
    visit: &mut dyn FnMut(&BatchView<'_>) -> Result<(), LogError>,
) -> Result<Option<End>, LogError> {
    let (chain, found) = match follow(segments, chain, u64::MAX, visit) {
        Ok((chain, found)) => (chain, found.unwrap_or(Found::FileEnd)),
        Err(error) => return sink.report(error).map(|()| None),
    };
    let file = path_of(log_dir, plan, chain.place.segment);
    if found == Found::NoSegment {
        report_no_segment(plan, &file, chain.place, sink)?;
        return Ok(None);
    }
    let tail = match look_behind(segments, chain, found) {
        Ok(tail) => tail,
        Err(error) => return sink.report(error).map(|()| None),
    };
    match decide(&tail) {
        Verdict::Damaged(what) => {
            sink.report(LogError::damaged(&file, chain.place.offset, what))?;
            Ok(None)
        }
        Verdict::Cut { is_torn } => {
            let cut = CutReport {
                epoch: plan.epoch,
                shard: plan.shard,
                file,
                offset: chain.place.offset,
                batch: chain.last,
                is_torn,
                dropped_batches: tail.later,
                is_clean_stop: chain.flags & FINAL != 0,
                why: tail.found.describe(),
            };
            Ok(Some(End { chain, cut }))
        }
    }
}

/// A segment that is there but unsound was reported when it was opened.
fn report_no_segment(
    plan: &LogPlan,
    file: &Path,
    place: Place,
    sink: &mut Sink,
) -> Result<(), LogError> {
    if plan.segments.iter().any(|name| name.number == place.segment)
        || place.segment == plan.start.segment
    {
        return Ok(());
    }
    sink.report(LogError::Missing { path: file.to_owned(), why: "the segment before names it" })
}

/// Looks for batches behind the place where the chain ends.
fn look_behind<F: File>(
    segments: &Segments<F>,
    chain: Chain,
    found: Found,
) -> Result<Tail, LogError> {
    let mut tail = Tail { last: chain.last, found, witness: None, later: 0 };
    let from = Place { offset: chain.place.offset + BATCH_ALIGN as u64, ..chain.place };
    search(segments, from, &mut |view, place| {
        let header = view.header();
        tail.later += 1;
        if tail.witness.is_none_or(|witness| witness.horizon < header.horizon) {
            tail.witness = Some(Witness { number: header.number, horizon: header.horizon, place });
        }
        // One proof is enough.
        Ok(header.horizon <= chain.last)
    })?;
    Ok(tail)
}

/// Checks that a sealed log verifies from its start to exactly the end that the manifest
/// names. Returns how far it does.
pub(super) fn check_sealed<F: File>(
    log_dir: &Path,
    plan: &LogPlan,
    log: &SealedLog,
    segments: &Segments<F>,
    chain: Chain,
    sink: &mut Sink,
    visit: &mut dyn FnMut(&BatchView<'_>) -> Result<(), LogError>,
) -> Result<Chain, LogError> {
    let (chain, found) = match follow(segments, chain, log.batches, visit) {
        Ok(outcome) => outcome,
        Err(error) => return sink.report(error).map(|()| chain),
    };
    let Place { segment, offset } = chain.place;
    let file = path_of(log_dir, plan, segment);
    match found {
        None => {}
        Some(Found::NoSegment) => {
            report_no_segment(plan, &file, chain.place, sink)?;
            return Ok(chain);
        }
        Some(found) => {
            let what = format!(
                "batch {} of {} of this sealed log should be there: {}",
                chain.last + 1,
                log.batches,
                found.describe()
            );
            sink.report(LogError::damaged(&file, offset, what))?;
            return Ok(chain);
        }
    }
    let is_end = segment + 1 == log.segments
        && offset == log.end_offset
        && chain.records == log.records
        && (log.is_empty() || chain.hash == log.chain);
    if !is_end {
        let what = "the log does not end where and as the MANIFEST names it";
        sink.report(LogError::damaged(&file, offset, what))?;
    }
    Ok(chain)
}

/// Everything that verifies behind the end of a broken chain.
pub(super) fn salvage<F: File>(
    segments: &Segments<F>,
    chain: Chain,
    visit: &mut dyn FnMut(&BatchView<'_>) -> Result<(), LogError>,
) -> Result<(), LogError> {
    search(segments, chain.place, &mut |view, _| visit(view).map(|()| true))
}

/// Whether a segment of no known log may be used for something else: it holds no batch, or only such
/// as the tables have. Reports it otherwise.
pub(super) fn is_free<E: Env>(
    env: &E,
    log_dir: &Path,
    manifest: &Manifest,
    name: SegmentName,
    sink: &mut Sink,
) -> Result<bool, LogError> {
    let is_covered = name.epoch <= manifest.covered_epoch;
    // The unused end of a sealed log may have been given back before.
    let needed = is_covered.then_some(SEGMENT_HEADER_BYTES as u64);
    let segment = match open_segment(env, log_dir, name, &manifest.store_id, needed) {
        Ok(_) if is_covered => return Ok(true),
        Ok(segment) => segment,
        Err(error) => return sink.report(error).map(|()| false),
    };
    let path = segment.path.clone();
    let segments = Segments::from([(name.number, segment)]);
    let from = Place { segment: name.number, offset: SEGMENT_HEADER_BYTES as u64 };
    let mut is_free = true;
    search(&segments, from, &mut |_, _| {
        is_free = false;
        Ok(false)
    })?;
    if !is_free {
        sink.report(LogError::Extra { path })?;
    }
    Ok(is_free)
}
