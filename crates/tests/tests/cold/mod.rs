//! The archive at work.

mod attach;
mod campaign;
