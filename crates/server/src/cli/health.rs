//! How feature views do, as the registry tells it.

use serde::Deserialize;

use super::exit::Failure;

/// One view's health.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Health {
    pub project: String,
    pub name: String,
    pub version: u32,
    pub newest_event_time: Option<i64>,
    pub fresh_within_us: i64,
    pub late_by_us: Option<i64>,
    pub checks: Option<Checks>,
}

/// What its checks counted.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Checks {
    pub refused: u64,
    pub quarantined: u64,
    pub warned: u64,
    pub checks: Vec<Check>,
}

/// One of them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Check {
    pub check: String,
    pub failed: u64,
    /// Of a null rate.
    pub recent: Option<Recent>,
}

/// The last rows that a null rate looked at.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Recent {
    pub rows: u64,
    pub nulls: u64,
}

/// What a server tells of its views.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Told {
    pub health: Vec<Health>,
    /// Since when rows that fail checks are counted, microseconds UTC; 0 where it does not say.
    pub counted_since: i64,
}

/// An answer.
///
/// # Errors
/// It cannot be read.
pub fn read(reply: &str) -> Result<Told, Failure> {
    serde_json::from_str(reply)
        .map_err(|e| Failure::Failed(format!("the server's answer cannot be read: {e}")))
}
