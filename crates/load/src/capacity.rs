//! How much hardware a load takes: arithmetic alone, from a description and a calibration. Every constant says
//! where it comes from.

mod answer;
mod constants;
mod describe;
mod needs;
mod row;
mod spread;

pub use answer::{Answer, Break, Cost, Reserved, Resource, answer};
pub use constants::{Constant, Constants, Source};
pub use describe::{Description, EXAMPLE, Growth, Keep, Node, Prices, Promised, Request};
pub use needs::{Needs, needs};
pub use row::RowBytes;
pub use spread::Spread;

#[cfg(test)]
mod tests;
