//! The writing half of an open: segments for a new epoch, the manifest that begins it, and the
//! space of the old one given back.

use std::io;
use std::path::{Path, PathBuf};

use thermae_env::{AlignedBuf, Env, File, OpenHow};
use thermae_formats::manifest::{CurrentLog, LogStart, Manifest, SealedLog};
use thermae_formats::segment::{SegmentHeader, SegmentName};

use super::super::examine::End;
use super::super::files::{Listing, Plan};
use super::super::segments::{Segment, make, temporary};
use super::super::{LogError, LogOptions, LogWriter, manifest_store};
use super::Trees;
use super::close::seal;

/// Bytes copied at once.
const COPY_BYTES: u64 = 1 << 20;

pub(super) struct NextEpoch<'a, E: Env> {
    pub(super) env: &'a E,
    pub(super) dir: &'a Path,
    pub(super) log_dir: &'a Path,
    pub(super) options: &'a LogOptions,
    pub(super) listing: &'a Listing,
}

/// The epoch that ended.
pub(super) struct Ended<'a> {
    pub(super) old: &'a Manifest,
    pub(super) plan: &'a Plan,
    /// Ends of its logs; none when it was closed.
    pub(super) ends: &'a [End],
}

impl<E: Env> NextEpoch<'_, E> {
    /// Seals the logs of the epoch that ended (unless the tables hold them), makes the first segments
    /// of the next epoch, and commits it with `trees`. The `free` files go before, for their room.
    pub(super) fn begin(
        &self,
        ended: &Ended<'_>,
        trees: Trees,
        free: Vec<SegmentName>,
        shards: u16,
    ) -> Result<(Manifest, Vec<LogWriter<E>>), LogError> {
        let old = ended.old;
        let Some(epoch) = old.epoch.checked_add(1) else {
            return Err(LogError::Options("epoch: the last one is reached".to_owned()));
        };
        self.remove_temporary()?;
        let (mut manifest, unused) = ended.followed_by(trees);
        // Free by the old manifest, too. None is used again: another shard's log may have been in it, and
        // what was erased would lie behind the end of a log that never held it.
        self.remove_all(free.iter().chain(&ended.behind_the_ends()))?;
        let mut firsts = Vec::new();
        for shard in 0..shards {
            firsts.push(self.make_first(old, epoch, shard)?);
        }
        self.env.sync_dir(self.log_dir).map_err(|e| LogError::io("sync", self.log_dir, e))?;
        (manifest.epoch, manifest.segment_bytes) = (epoch, self.options.segment_bytes);
        manifest.current = firsts.iter().map(|first| current_log(&first.header)).collect();
        manifest.check().map_err(|error| LogError::Manifest(error.to_string()))?;
        manifest_store::commit(self.env, self.dir, &manifest)?;
        let strays = self.tidy(&manifest, &unused);
        let writers = firsts.into_iter().map(|first| {
            let log_dir = self.log_dir.to_owned();
            LogWriter::new(self.env, log_dir, self.options, first, strays.clone())
        });
        Ok((manifest, writers.collect()))
    }

    fn remove_temporary(&self) -> Result<(), LogError> {
        for name in &self.listing.temporary {
            let path = self.log_dir.join(name);
            self.env.remove(&path).map_err(|e| LogError::io("remove", &path, e))?;
        }
        Ok(())
    }

    fn remove_all<'n>(&self, names: impl Iterator<Item = &'n SegmentName>) -> Result<(), LogError> {
        for name in names {
            let path = self.log_dir.join(name.to_string());
            match self.env.remove(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(LogError::io("remove", &path, error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn make_first(
        &self,
        old: &Manifest,
        epoch: u32,
        shard: u16,
    ) -> Result<Segment<E::File>, LogError> {
        let header = SegmentHeader {
            store_id: old.store_id,
            epoch,
            shard,
            number: 0,
            salt: self.env.random_u64(),
            segment_bytes: self.options.segment_bytes,
        };
        make(self.env, self.log_dir, header)
    }

    /// Gives space back, after the new manifest is durable: what the old one needed goes, and sealed logs
    /// lose their unused ends. All of it is best effort: what fails here is found and done again by the
    /// next open. Files that would not go.
    fn tidy(&self, manifest: &Manifest, unused: &[SegmentName]) -> Vec<PathBuf> {
        let gone = |name: &SegmentName| self.remove_all(std::iter::once(name)).is_ok();
        let strays = unused.iter().filter(|name| !gone(name));
        let strays = strays.map(|name| self.log_dir.join(name.to_string())).collect();
        for log in &manifest.sealed {
            let _ = self.trim(log);
        }
        let _ = self.env.sync_dir(self.log_dir);
        strays
    }

    /// Replaces the last segment of a sealed log by a copy without its unused end, when at least half
    /// of it is unused. The copy takes the name only after it is durable and was read back.
    fn trim(&self, log: &SealedLog) -> io::Result<()> {
        let name = SegmentName { epoch: log.epoch, shard: log.shard, number: log.segments - 1 };
        let path = self.log_dir.join(name.to_string());
        let len = match self.listing.segments.get(&name) {
            Some(len) => *len,
            None => return Ok(()),
        };
        if log.end_offset > len / 2 {
            return Ok(());
        }
        let copy = temporary(&path);
        let copied = self.copy(&path, &copy, log.end_offset);
        match copied.and_then(|()| self.env.rename(&copy, &path)) {
            Ok(()) => Ok(()),
            Err(error) => {
                let _ = self.env.remove(&copy);
                Err(error)
            }
        }
    }

    fn copy(&self, from: &Path, to: &Path, bytes: u64) -> io::Result<()> {
        let source = self.env.open(from, OpenHow::READ.direct())?;
        let target = self.env.open(to, OpenHow::CREATE.direct())?;
        self.in_pieces(bytes, &mut |buf, at| {
            read_exactly(&source, buf, at)?;
            target.write_all_at(buf, at)
        })?;
        target.sync_data()?;
        let mut again = AlignedBuf::zeroed(COPY_BYTES as usize);
        self.in_pieces(bytes, &mut |buf, at| {
            read_exactly(&source, buf, at)?;
            let again = &mut again[..buf.len()];
            read_exactly(&target, again, at)?;
            match again == buf {
                true => Ok(()),
                false => Err(io::Error::other("the copy differs")),
            }
        })
    }

    fn in_pieces(
        &self,
        bytes: u64,
        work: &mut dyn FnMut(&mut [u8], u64) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut buf = AlignedBuf::zeroed(COPY_BYTES.min(bytes) as usize);
        let mut at = 0;
        while at < bytes {
            let piece = COPY_BYTES.min(bytes - at);
            work(&mut buf[..piece as usize], at)?;
            at += piece;
        }
        Ok(())
    }
}

fn read_exactly<F: File>(file: &F, buf: &mut [u8], at: u64) -> io::Result<()> {
    match file.read_at(buf, at)? == buf.len() {
        true => Ok(()),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn current_log(header: &SegmentHeader) -> CurrentLog {
    let SegmentHeader { store_id, epoch, shard, salt, .. } = header;
    CurrentLog { shard: *shard, start: LogStart::first(store_id, *epoch, *shard, *salt) }
}

impl Ended<'_> {
    /// The old manifest with `trees` and without present logs, and the segments that the old one
    /// needs and the new one does not: free once the new one is durable.
    fn followed_by(&self, trees: Trees) -> (Manifest, Vec<SegmentName>) {
        let mut manifest = Manifest {
            current: Vec::new(),
            tables: trees.tables,
            trees: trees.trees,
            next_file_id: trees.next_file_id,
            ..self.old.clone()
        };
        if trees.covers_replayed {
            manifest.sealed.clear();
            manifest.covered_epoch = manifest.epoch;
            let behind = self.behind_the_ends();
            let segments = self.plan.logs.iter().flat_map(|log| &log.segments);
            let unused = segments.filter(|name| !behind.contains(name)).copied().collect();
            return (manifest, unused);
        }
        let mut unused = Vec::new();
        for (end, log) in self.ends.iter().zip(&self.old.current) {
            let (epoch, shard, chain) = (self.old.epoch, log.shard, &end.chain);
            let log = SealedLog {
                epoch,
                shard,
                start: log.start,
                segments: chain.place.segment + 1,
                end_offset: chain.place.offset,
                batches: chain.last,
                records: chain.records,
                chain: chain.hash,
            };
            if !seal(&mut manifest, log, end.cut.dropped_batches > 0) {
                unused.push(SegmentName { epoch, shard, number: chain.place.segment });
            }
        }
        (manifest, unused)
    }

    /// Segments behind the ends of the logs: nothing in them was ever durable.
    fn behind_the_ends(&self) -> Vec<SegmentName> {
        let mut names = Vec::new();
        for end in self.ends {
            let logs = self.plan.logs.iter().filter(|log| log.sealed.is_none());
            let segments = logs.filter(|log| log.shard == end.cut.shard);
            let segments = segments.flat_map(|log| &log.segments);
            names.extend(segments.filter(|name| name.number > end.chain.place.segment));
        }
        names
    }
}
