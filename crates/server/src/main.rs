//! The thermae command.
fn main() {}
