//! The load's writer over the wire: batches to the server by the client crate.

use std::time::Duration;

use thermae_client::{Client, PendingWrite, ViewHandle, WriteBatch};
use thermae_formats::NO_TIME;
use thermae_formats::wire::{Ack, RowOutcome};

use super::load::Writer;
use super::{IngestError, Row};

/// Writes rows of one view under one producer id.
pub struct ClientWriter {
    client: Client,
    view: ViewHandle,
    ack: Ack,
    producer_id: u64,
    checks: Vec<String>,
}

impl ClientWriter {
    /// A writer of rows that are numbered by their source, into a view with these checks.
    pub fn new(
        client: Client,
        view: ViewHandle,
        ack: Ack,
        producer_id: u64,
        checks: Vec<String>,
    ) -> Self {
        Self { client, view, ack, producer_id, checks }
    }
}

impl Writer for ClientWriter {
    type Pending = PendingWrite;

    fn send(&mut self, rows: &[Row]) -> Result<PendingWrite, IngestError> {
        let mut batch = WriteBatch::put(&self.view);
        batch.ack(self.ack);
        batch.producer(self.producer_id, rows.first().map_or(1, |row| row.number));
        for row in rows {
            // Rejected rows leave gaps, so each row names its own number.
            batch.sequence(row.number)?;
            let times = [row.event_time, row.created_time, NO_TIME];
            batch.push_encoded(&row.key_bytes, &row.value_bytes, row.dense, times);
        }
        Ok(self.client.send_write(&mut batch)?)
    }

    fn wait(&mut self, pending: PendingWrite) -> Result<Vec<RowOutcome>, IngestError> {
        Ok(pending.wait()?.outcomes)
    }

    fn check_name(&self, check: u32) -> Option<String> {
        self.checks.get(check as usize).cloned()
    }

    fn pause(&mut self, duration: Duration) {
        // Whoever loads waits here in any case.
        std::thread::sleep(duration);
    }
}
