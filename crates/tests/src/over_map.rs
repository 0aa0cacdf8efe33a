//! The mapped way into a store, for the agreement tests: writes over the socket, reads out of the
//! server's hot tables.

use thermae_client::{CellStatus, Client, Mapped, MappedAnswer, MappedPlan, ReadOptions};
use thermae_formats::Value;
use thermae_formats::row_value::decode_value;

use crate::agreement::Target;
use crate::model::Operation;
use crate::over_wire::OverWire;

/// A client on the server's machine.
pub struct OverMap {
    wire: OverWire,
    mapped: Mapped,
    plans: Vec<MappedPlan>,
    answer: MappedAnswer,
}

impl OverMap {
    /// Maps the tables; the client's address is a unix socket.
    pub fn new(client: Client) -> Result<Self, thermae_client::Error> {
        let mapped = Mapped::open(&client, "")?;
        let wire = OverWire::new(client)?;
        let plans = wire.plans().iter().map(|plan| mapped.plan(plan)).collect::<Result<_, _>>()?;
        Ok(OverMap { wire, mapped, plans, answer: MappedAnswer::new() })
    }

    /// Keys answered from the maps, and keys asked of the server.
    pub fn hits_and_misses(&self) -> (u64, u64) {
        (self.mapped.stats().hits, self.mapped.stats().misses)
    }
}

impl Target for OverMap {
    fn partition(&self, view: usize, entity: u64) -> u16 {
        self.wire.partition(view, entity)
    }

    fn write(&mut self, operations: &[Operation]) -> Result<Vec<bool>, String> {
        self.wire.write(operations)
    }

    fn read(
        &mut self,
        view: usize,
        entities: &[u64],
        read_time: i64,
    ) -> Result<Vec<Option<Vec<Value>>>, String> {
        let keys = self.wire.keys(view, entities)?;
        let options = ReadOptions { read_time, ..ReadOptions::default() };
        let plan = &mut self.plans[view];
        let read = self.mapped.get_many(plan, 0, &keys, &options, &mut self.answer);
        read.map_err(|e| e.to_string())?;
        let reply = self.answer.view().ok_or("no answer")?;
        let types = self.wire.plans()[view].columns(0);
        let value = |row: usize, column: usize| -> Result<Value, String> {
            let bytes = reply.column(column).and_then(|values| values.value(row));
            let decoded = bytes.map(|bytes| decode_value(&types[column].value_type, bytes));
            decoded.transpose().map(|v| v.unwrap_or(Value::Null)).map_err(|e| e.reason.to_owned())
        };
        let row = |row: usize| -> Result<Option<Vec<Value>>, String> {
            match reply.cell(row, 0) {
                CellStatus::NotFound => Ok(None),
                CellStatus::Present | CellStatus::NullValue => (0..types.len())
                    .map(|column| value(row, column))
                    .collect::<Result<_, _>>()
                    .map(Some),
                other => Err(format!("row {row}: {other:?}")),
            }
        };
        (0..entities.len()).map(row).collect()
    }
}
