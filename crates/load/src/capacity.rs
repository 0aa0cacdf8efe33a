//! How much hardware a load takes: arithmetic alone, from a description and a calibration. Every constant says
//! where it comes from.

mod answer;
mod constants;
mod describe;
mod needs;

pub use answer::{Answer, Break, Cost, Reserved, Resource, answer};
pub use constants::{Constant, Constants, Source};
pub use describe::{Description, EXAMPLE, Growth, Keep, Node, Prices, Promised, Request};
pub use needs::{Needs, Spread, needs};

#[cfg(test)]
mod tests;
