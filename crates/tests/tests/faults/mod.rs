//! The faults of docs/faults.md that need the whole of the engine, simulated and real.

mod memory;
