//! The binary protocol on a shard's ring.
//!
//! A request's life: bytes -> [`inbox`] (whole frames) -> [`connection`] (what may go on) ->
//! [`dispatch`] (by kind) -> [`reads`], [`writes`], [`scan`], [`history`], [`registry_desk`], [`backup`], [`erase`], [`compute_desk`] or
//! [`control`] -> the connection's output;
//! [`front`] ties them to the ring's events.

pub mod backup;
pub mod backup_desk;
mod compute;
pub mod compute_desk;
pub mod connection;
pub mod control;
pub mod core;
pub mod counters;
pub mod dispatch;
pub mod erase;
pub mod erase_desk;
pub mod failure;
mod fill;
pub mod front;
mod helper;
pub mod histogram;
pub mod history;
pub mod history_reads;
pub mod inbox;
pub mod plans;
pub mod reads;
mod registry;
pub mod registry_desk;
pub mod scan;
pub mod scan_arrivals;
pub mod scan_pages;
pub mod waiting;
pub mod writes;
