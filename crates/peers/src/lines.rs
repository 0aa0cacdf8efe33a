//! What rounds of one figure of one engine come to: a line of a table.

use crate::engines::Kind;
use crate::protocol::{Keys, Loaded, ReadRound};
use serde::Serialize;
use thermae_benches::stats::Spread;

/// Loads of one engine.
#[derive(Debug, Clone, Serialize)]
pub struct LoadLine {
    /// Which.
    pub engine: Kind,
    /// Each round.
    pub rounds: Vec<Loaded>,
    /// Rows a second until tables rest.
    pub rows_per_s: Spread,
    /// Rows acknowledged as durable a second.
    pub acknowledged_per_s: Spread,
    /// Processor time for a row, microseconds.
    pub cpu_us: Spread,
    /// Bytes of tables for a row in them.
    pub table_bytes_per_row: Spread,
    /// Bytes on the disk for a row, logs and all.
    pub folder_bytes_per_row: Spread,
    /// Most memory resident while loading, MiB.
    pub load_mib: Spread,
    /// Most memory resident during uniform look-ups, MiB.
    pub read_mib: f64,
}

/// Look-ups of one kind and size of request, of one engine.
#[derive(Debug, Clone, Serialize)]
pub struct ReadLine {
    /// Which keys.
    pub what: Keys,
    /// Keys of a request.
    pub keys: usize,
    /// Which engine.
    pub engine: Kind,
    /// Whether its pages were dropped from the page cache meanwhile.
    pub is_dropped: bool,
    /// Each round.
    pub rounds: Vec<ReadRound>,
    /// Look-ups a second.
    pub look_ups_per_s: Spread,
    /// Processor time of the process for a look-up, microseconds.
    pub cpu_us: Spread,
    /// Median latency of a request, microseconds.
    pub p50_us: Spread,
    /// 99th percentile, microseconds.
    pub p99_us: Spread,
    /// Bytes that the device was asked for, for a look-up.
    pub device_bytes: Spread,
}

impl LoadLine {
    /// Sums rounds up; `None` without any.
    pub fn of(engine: Kind, rounds: Vec<Loaded>, load_mib: &[f64], read_mib: f64) -> Option<Self> {
        let of = |figure: fn(&Loaded) -> f64| Spread::of(rounds.iter().map(figure));
        Some(Self {
            engine,
            rows_per_s: of(Loaded::rows_per_s)?,
            acknowledged_per_s: of(Loaded::acknowledged_per_s)?,
            cpu_us: of(Loaded::cpu_us)?,
            table_bytes_per_row: of(Loaded::table_bytes_per_row)?,
            folder_bytes_per_row: of(Loaded::folder_bytes_per_row)?,
            load_mib: Spread::of(load_mib.iter().copied())?,
            read_mib,
            rounds,
        })
    }
}

impl ReadLine {
    /// Sums rounds up; `None` without any.
    pub fn of(
        what: Keys,
        keys: usize,
        engine: (Kind, bool),
        rounds: Vec<ReadRound>,
    ) -> Option<Self> {
        let of = |figure: fn(&ReadRound) -> f64| Spread::of(rounds.iter().map(figure));
        Some(Self {
            what,
            keys,
            engine: engine.0,
            is_dropped: engine.1,
            look_ups_per_s: of(|round| round.look_ups_per_s)?,
            cpu_us: of(|round| round.cpu_us)?,
            p50_us: of(|round| round.latency.p50_ns as f64 / 1e3)?,
            p99_us: of(|round| round.latency.p99_ns as f64 / 1e3)?,
            device_bytes: of(|round| round.device_bytes)?,
            rounds,
        })
    }

    /// The engine, as tables call it.
    pub fn label(&self) -> String {
        let label = self.engine.label();
        if self.is_dropped { format!("{label}, pages dropped") } else { label.into() }
    }
}
