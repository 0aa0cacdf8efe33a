//! What the run and the processes of the engines say to each other: a line of JSON each way.

use serde::{Deserialize, Serialize};
use thermae_benches::stats::Latency;

/// Asked of the process of an engine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Command {
    /// Write rows `0..rows`, and answer when tables rest.
    Load {
        /// How many.
        rows: u64,
    },
    /// Read one row in `step` and compare it.
    Verify {
        /// 1 for every row.
        step: u64,
    },
    /// Measure look-ups.
    Read(Order),
    /// Say how much memory was taken since the last time that this was asked.
    Memory,
    /// Close the store and end.
    Close,
}

/// Answered by it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Reply {
    /// The store is open.
    Ready {
        /// Of the engine, as it says itself.
        version: String,
    },
    /// Rows are written, and tables rest.
    Loaded(Loaded),
    /// So many rows were compared, all right.
    Verified(u64),
    /// What was measured.
    Read(ReadRound),
    /// Most resident memory, bytes.
    Memory(u64),
    /// The store is closed.
    Closed,
    /// It did not work, and why.
    Failed(String),
}

/// Which keys are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Keys {
    /// Any that are there, evenly.
    Hit,
    /// Any that are not there.
    Miss,
    /// Some far more often than others.
    Zipf,
}

/// Look-ups to measure.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// Which keys.
    pub keys: Keys,
    /// Keys of a request.
    pub batch: usize,
    /// Threads that ask, each one request at a time.
    pub threads: usize,
    /// How long, after a fifth of it as warm-up.
    pub seconds: f64,
    /// The same for all engines in a round.
    pub seed: u64,
}

/// What a load came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Loaded {
    /// Rows written.
    pub rows: u64,
    /// Seconds until the last of them was acknowledged as durable.
    pub acknowledged_s: f64,
    /// Seconds from then until no flush or merge was left.
    pub settled_s: f64,
    /// Processor time of the process over both, seconds.
    pub cpu_s: f64,
    /// Bytes of the files of tables.
    pub table_bytes: u64,
    /// Rows in them; the others are in a memtable.
    pub table_rows: u64,
    /// Bytes that all files take on the disk, logs with them.
    pub folder_bytes: u64,
}

impl Loaded {
    /// Rows a second until tables rest.
    pub fn rows_per_s(&self) -> f64 {
        self.rows as f64 / (self.acknowledged_s + self.settled_s)
    }

    /// Rows acknowledged as durable a second.
    pub fn acknowledged_per_s(&self) -> f64 {
        self.rows as f64 / self.acknowledged_s
    }

    /// Bytes of tables for a row in them.
    pub fn table_bytes_per_row(&self) -> f64 {
        self.table_bytes as f64 / self.table_rows.max(1) as f64
    }

    /// Bytes that a row takes on the disk, logs and all.
    pub fn folder_bytes_per_row(&self) -> f64 {
        self.folder_bytes as f64 / self.rows.max(1) as f64
    }

    /// Processor time for a row, microseconds.
    pub fn cpu_us(&self) -> f64 {
        self.cpu_s * 1e6 / self.rows.max(1) as f64
    }
}

/// What a spell of look-ups came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReadRound {
    /// Look-ups a second, of all threads.
    pub look_ups_per_s: f64,
    /// Processor time of the whole process for a look-up, microseconds.
    pub cpu_us: f64,
    /// Of a whole request.
    pub latency: Latency,
    /// Bytes that the device was asked for, for a look-up, as the kernel counts them for the process.
    pub device_bytes: f64,
}
