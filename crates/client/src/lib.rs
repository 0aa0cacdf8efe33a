//! The client: synchronous and async reads and writes, and same-host mapped reads.
//!
//! ```no_run
//! use thermae_client::{Client, Config, ReadOptions, ViewFeatures};
//! # fn main() -> Result<(), thermae_client::Error> {
//! let client = Client::connect(&"127.0.0.1:7400".parse()?, Config::default())?;
//! let features = vec!["temp", "wind_speed"];
//! let wanted = ViewFeatures { project: "nyc", view: "weather", version: 0, features };
//! let plan = client.prepare(&[wanted])?;
//! let mut keys = plan.keys(0)?;
//! keys.push_str("JFK")?;
//! let answer = client.read(&plan, &[&keys], &ReadOptions { matrix: true, ..Default::default() })?;
//! println!("{:?}", answer.matrix(0)?);
//! # Ok(())
//! # }
//! ```
//!
//! One thread waits without help: it sends, receives and completes its own requests, and those of
//! others meanwhile. Only awaiting a future starts a thread, one for each connection that needs it.
#![forbid(unsafe_code)]

mod address;
mod answer;
mod batch;
mod buffer;
mod client;
mod computed;
mod config;
mod described;
mod error;
mod history;
mod history_piece;
mod lane;
mod link;
mod mapped;
mod pending;
mod plan;
mod scan;
mod slots;
mod socket;

#[cfg(test)]
mod tests;

pub use address::Address;
pub use answer::Answer;
pub use batch::{ViewHandle, WriteBatch, Written};
pub use client::Client;
pub use computed::{
    ComputedAnswer, ComputedPlan, ComputedQuery, ComputedRows, NamedKey, NamedType,
};
pub use config::Config;
pub use described::{Described, choose};
pub use error::Error;
pub use history::{History, HistoryAnswer, HistoryQuery, HistoryView};
pub use history_piece::HistoryPiece;
pub use link::ServerInfo;
pub use mapped::{Mapped, MappedAnswer, MappedPlan, MappedStats};
pub use pending::{PendingHistory, PendingRead, PendingScan, PendingWrite};
pub use plan::{Keys, Plan, ReadOptions};
pub use scan::{ScanOptions, ScanPage, ScannedRow};
pub use thermae_formats::wire::{
    Ack, CellStatus, Column, ErrorCategory, ErrorCode, HistorySteps, HistoryTally, NotApplied,
    PlanColumn, PlanKey, PlanView, RowOutcome, RowStatus, Token, ViewFeatures, ViewReply,
};
