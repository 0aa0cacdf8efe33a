//! The right to be forgotten: what was erased is nowhere, and nothing else is missing.

mod crashes;
mod store;
