//! The naive model: what the store must do, written as plainly as it can be. One operation enum
//! serves the property tests, the crash campaigns and the tests over the wire.

mod encode;
mod operation;
mod rng;
mod spec;

pub use encode::encode;
pub use operation::{Operation, VIEWS, entity_key, views};
pub use rng::Rng;
pub use spec::{Model, ModelRow, Verdict};
