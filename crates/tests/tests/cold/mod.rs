//! The archive at work.

mod campaign;
