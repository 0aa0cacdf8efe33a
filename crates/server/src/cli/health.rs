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
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Told {
    health: Vec<Health>,
}

/// The views of an answer.
///
/// # Errors
/// It cannot be read.
pub fn read(reply: &str) -> Result<Vec<Health>, Failure> {
    let told: Told = serde_json::from_str(reply)
        .map_err(|e| Failure::Failed(format!("the server's answer cannot be read: {e}")))?;
    Ok(told.health)
}
