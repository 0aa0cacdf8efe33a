//! The client against a server thread that speaks frames and misbehaves on cue.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fake;
mod futures;
mod mapped;
mod reads;
mod writes;
