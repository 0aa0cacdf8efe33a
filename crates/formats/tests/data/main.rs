//! Types, values, schemas, entity keys, row values and projections: what goes in comes out bit for bit, their
//! bytes never change, and hostile bytes are refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod change;
mod golden;
mod hashes;
mod hostile;
mod keys;
mod matrix;
mod projections;
mod rows;
mod samples;
mod schemas;
mod text;
mod times;
