//! Every limit of the server in one place: stated in HELLO, enforced, counted.
//!
//! The numbers are constants with reasons rather than options: an option that nobody can choose
//! well is a trap. The few that depend on the machine or the workload (connections, buffer memory)
//! may be set in the configuration file.

use thermae_engine::memory::least_bytes;
use thermae_features::store::Wanted;
use thermae_formats::wire::Limits as WireLimits;

const MIB: u64 = 1 << 20;
/// Values in one answer to a read by name, entities times features: some 50 MB of JSON.
const VALUES_MAX: usize = 1 << 20;
/// The least buffer memory that a shard can work with, in bytes.
const BUFFER_LEAST_BYTES: u64 = 8 * MIB;
/// What a shard's ring receives into: 256 buffers of 32 KiB that the system holds, 64 in reserve.
const RECEIVE_BYTES: u64 = 10 * MIB;
/// What an open connection costs beside its buffers (server tests, `flood`), and the memory of the server
/// for each connection that it may have by default.
const CONNECTION_BYTES: u64 = 2 << 10;
const MEMORY_PER_CONNECTION_BYTES: u64 = 32 << 10;

/// The limits one server runs under. [`Limits::default`] is what `thermae serve` uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections, over all shards. Past it a new one is told so and closed.
    pub connections: u32,
    /// Largest frame taken or sent, in bytes, header included. Refused from its header, before
    /// anything is allocated for it.
    pub frame_bytes: u32,
    /// Requests of one connection that may be waiting (writes not yet durable, reads waiting for
    /// `min_offset`). Past it the connection is not read until one is answered.
    pub in_flight: u32,
    /// Entity keys in one read, over all its views.
    pub keys_per_request: u32,
    /// Rows in one write.
    pub rows_per_request: u32,
    /// Plans that one connection may have prepared.
    pub plans: u32,
    /// Views in one plan.
    pub views_per_plan: u32,
    /// Features in one plan, over all its views.
    pub features_per_plan: u32,
    /// Answered bytes that may wait for a connection's peer to read them; past it the connection
    /// is not read. One frame may exceed it, so a connection holds at most this plus a frame.
    pub queued_output_bytes: u32,
    /// Memory for half-received frames, waiting requests and unsent answers, over all
    /// connections and shards, in bytes.
    pub buffer_bytes: u64,
    /// Time for the first HELLO after a connection opened, in milliseconds.
    pub hello_deadline_ms: u32,
    /// Time in which a frame must arrive wholly once its first byte came, in milliseconds.
    /// A connection between frames may stay idle for ever.
    pub frame_deadline_ms: u32,
    /// Time in which a peer must take some of what waits for it, in milliseconds.
    pub write_deadline_ms: u32,
    /// How long a read waits for its `min_offset` when it states no deadline, in milliseconds.
    pub read_wait_ms: u32,
    /// The longest deadline that a read may ask for, in milliseconds.
    pub read_wait_max_ms: u32,
    /// Training reads at a time, over all connections.
    pub training_reads: usize,
    /// Bytes of the spine of one training read, on disk below the data directory.
    pub spine_bytes: u64,
    /// How long a training read is kept that its client does not ask about, in milliseconds.
    pub training_idle_ms: u32,
    /// Time that requests under way get to be answered at a graceful stop, in milliseconds.
    pub stop_deadline_ms: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // An idle connection costs 2 KiB, one that has begun a frame 8 KiB (server tests, `flood`):
            // 10,000 are 20 to 80 MiB. More clients than that want a pool.
            connections: 10_000,
            // 400,000 rows of 10 float32. Larger answers come faster in pieces.
            frame_bytes: 16 << 20,
            // At a 2 ms group commit, 1,024 waiting writes of 100 rows are 50M rows/s.
            in_flight: 1_024,
            // Ranking asks 100-1,000 candidates; sixteen times that is a scan and should be split.
            keys_per_request: 16_384,
            rows_per_request: 65_536,
            plans: 256,
            views_per_plan: 64,
            features_per_plan: 4_096,
            // Two hundred answers of 1,000 keys x 10 float32.
            queued_output_bytes: 8 << 20,
            buffer_bytes: 512 << 20,
            hello_deadline_ms: 5_000,
            // 16 MiB in 10 s is 13 Mbit/s: slower links should send smaller frames.
            frame_deadline_ms: 10_000,
            write_deadline_ms: 10_000,
            read_wait_ms: 1_000,
            read_wait_max_ms: 60_000,
            // Each takes memory beside the store's, and all cores at low priority.
            training_reads: 4,
            // A billion rows of a key and a time.
            spine_bytes: 64 << 30,
            training_idle_ms: 60_000,
            stop_deadline_ms: 5_000,
        }
    }
}

impl Limits {
    /// The part of them that HELLO states.
    pub fn wire(&self) -> WireLimits {
        WireLimits {
            max_frame_bytes: self.frame_bytes,
            max_batch_keys: self.keys_per_request,
            in_flight_max: self.in_flight,
            max_rows_per_write: self.rows_per_request,
        }
    }

    /// Whether a read by name, of so many entities, is answered in one request.
    ///
    /// # Errors
    /// What is too much.
    pub fn check_read(&self, wanted: &Wanted, rows: usize) -> Result<(), String> {
        let (views, columns) = (wanted.views.len(), wanted.columns.len());
        let (keys, most) = (rows.saturating_mul(views), self.keys_per_request as usize);
        if keys > most {
            return Err(format!(
                "{rows} entities in {views} views are {keys} keys, the limit is {most}: ask in several requests"
            ));
        }
        let values = rows.saturating_mul(columns);
        if values > VALUES_MAX {
            return Err(format!(
                "{rows} entities with {columns} features are {values} values, the limit is {VALUES_MAX}: ask in \
                 several requests"
            ));
        }
        let most = self.features_per_plan as usize;
        if columns > most {
            return Err(format!("{columns} features are asked for, the limit is {most}"));
        }
        Ok(())
    }
}

impl Limits {
    /// These limits for a server of `memory_bytes`: what was left at its default is lowered to a sixteenth
    /// of the memory for all buffers, and a quarter and an eighth of a shard's part of that for a frame and
    /// for the answers of a connection. What was set is left as it is.
    #[must_use]
    pub fn within(self, memory_bytes: u64, shards: usize) -> Self {
        let (default, shards) = (Self::default(), shards.max(1) as u64);
        let least = BUFFER_LEAST_BYTES * shards;
        let lowered =
            |now: u64, default: u64, most: u64| if now == default { now.min(most) } else { now };
        let buffer_bytes =
            lowered(self.buffer_bytes, default.buffer_bytes, (memory_bytes / 16).max(least));
        let shard_bytes = buffer_bytes / shards;
        let small = |now: u32, default: u32, most: u64| {
            u32::try_from(lowered(now.into(), default.into(), most)).unwrap_or(now)
        };
        let connections = (memory_bytes / MEMORY_PER_CONNECTION_BYTES).max(1);
        Self {
            connections: small(self.connections, default.connections, connections),
            frame_bytes: small(self.frame_bytes, default.frame_bytes, shard_bytes / 4),
            queued_output_bytes: small(
                self.queued_output_bytes,
                default.queued_output_bytes,
                shard_bytes / 8,
            ),
            buffer_bytes,
            ..self
        }
    }

    /// Memory that the connections may take, over all shards: buffers, what rings receive into, and the
    /// connections themselves, in bytes.
    pub fn memory_bytes(&self, shards: usize) -> u64 {
        self.buffer_bytes
            + RECEIVE_BYTES * shards as u64
            + CONNECTION_BYTES * u64::from(self.connections)
    }

    /// The least memory of a server with `shards` shards and these limits, as [`Self::within`] lowers them,
    /// in bytes: connections and the store.
    pub fn least_memory_bytes(&self, shards: usize) -> u64 {
        let needed = |memory_bytes| {
            let reserved_bytes = self.within(memory_bytes, shards).memory_bytes(shards);
            least_bytes(shards as u64, reserved_bytes).next_multiple_of(MIB)
        };
        let mut least = needed(0);
        // More memory allows more connections, by a sixteenth of it: this comes to an end.
        while needed(least) > least {
            least = needed(least);
        }
        least
    }
}

/// A limit set to a value that the server cannot run under.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("limits.{name} = {given} is out of range: it must be between {least} and {most}")]
pub struct LimitError {
    /// Its name in the configuration file.
    pub name: &'static str,
    /// The value given.
    pub given: u64,
    /// The smallest value allowed.
    pub least: u64,
    /// The largest value allowed.
    pub most: u64,
}

impl Limits {
    /// Checks what the configuration file may change.
    ///
    /// # Errors
    /// A [`LimitError`] that names the first value out of range.
    pub fn check(&self) -> Result<(), LimitError> {
        let ranges = [
            ("connections", u64::from(self.connections), 1, 1_000_000),
            ("frame_bytes", u64::from(self.frame_bytes), 64 << 10, 256 << 20),
            ("in_flight", u64::from(self.in_flight), 1, 65_536),
            (
                "buffer_bytes",
                self.buffer_bytes,
                2 * (u64::from(self.frame_bytes) + u64::from(self.queued_output_bytes)),
                1 << 40,
            ),
        ];
        for (name, given, least, most) in ranges {
            if !(least..=most).contains(&given) {
                return Err(LimitError { name, given, least, most });
            }
        }
        Ok(())
    }
}

/// Nanoseconds in `ms` milliseconds.
pub(crate) const fn ns(ms: u32) -> u64 {
    ms as u64 * 1_000_000
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn the_defaults_pass_their_own_check() {
        Limits::default().check().unwrap();
    }

    #[test]
    fn a_small_memory_lowers_what_was_left_at_its_default() {
        let small = Limits::default().within(64 << 20, 1);
        assert_eq!((small.buffer_bytes, small.frame_bytes), (8 << 20, 2 << 20));
        assert_eq!((small.queued_output_bytes, small.connections), (1 << 20, 2_048));
        small.check().unwrap();
        let set = Limits { frame_bytes: 1 << 20, connections: 7, ..Limits::default() };
        let small = set.within(64 << 20, 1);
        assert_eq!((small.frame_bytes, small.connections), (1 << 20, 7));
        assert_eq!(Limits::default().within(16 << 30, 4), Limits::default());
    }

    #[test]
    fn the_least_memory_is_enough_for_itself() {
        for shards in [1, 2, 7, 64] {
            let least = Limits::default().least_memory_bytes(shards);
            let limits = Limits::default().within(least, shards);
            let reserved = limits.memory_bytes(shards);
            assert!(least >= least_bytes(shards as u64, reserved), "{shards}");
            assert!(least <= shards as u64 * (56 << 20), "{shards}: {least}");
        }
    }

    #[test]
    fn buffers_too_small_for_one_frame_are_refused_by_name() {
        let limits = Limits { buffer_bytes: 1 << 20, ..Limits::default() };
        let error = limits.check().unwrap_err();
        assert_eq!(error.name, "buffer_bytes");
        assert!(error.to_string().contains("must be between"), "{error}");
    }
}
