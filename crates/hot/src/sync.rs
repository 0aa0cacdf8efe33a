//! The atomics of the map: the machine's own, or those of the model checker (`models/`).

#[cfg(all(test, loom))]
pub(crate) use loom::sync::atomic::{AtomicU64, fence};
#[cfg(not(all(test, loom)))]
pub(crate) use std::sync::atomic::{AtomicU64, fence};
