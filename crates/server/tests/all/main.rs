//! The server from outside, byte by byte: one binary of tests, each with a server of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod archive;
mod backup;
mod bench;
mod command_line;
mod computed;
mod control;
mod erase;
mod export;
mod feast_http;
mod feast_loads;
mod flights;
mod flood;
mod history;
mod history_steps;
mod hostile;
mod life;
mod peer;
mod process;
mod quality;
mod reads;
mod registry;
mod scarce;
mod ties;
mod trained;
mod writes;
