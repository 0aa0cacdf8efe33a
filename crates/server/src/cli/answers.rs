//! What was asked and what was answered, for those who read and those who print.

use thermae_client::ComputedPlan;
use thermae_formats::wire::CellStatus;
use thermae_formats::{FeatureView, Value};

use super::keys::EntityRow;

/// What was asked of one view.
pub struct Asked {
    /// Its definition; of what is computed, its keys and columns alone.
    pub view: FeatureView,
    /// Features in the order asked.
    pub features: Vec<String>,
    /// Where they are computed when they are read: how they are asked for.
    pub computed: Option<ComputedPlan>,
}

impl Asked {
    /// Its name, with its project where one is known.
    pub fn path(&self) -> String {
        match self.view.project.as_str() {
            "" => self.view.name.clone(),
            project => format!("{project}/{}", self.view.name),
        }
    }
}

/// One value of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// What became of it.
    pub status: CellStatus,
    /// The value; null unless it is present.
    pub value: Value,
    /// The row's event time, or [`NO_TIME`] if there is no row.
    pub event_time: i64,
}

/// All answers of one command.
pub struct Answers {
    /// The time by which ttl was judged, in microseconds.
    pub read_time: i64,
    /// A row for each entity row asked; its cells are those of all views, in order.
    pub rows: Vec<(EntityRow, Vec<Cell>)>,
}
