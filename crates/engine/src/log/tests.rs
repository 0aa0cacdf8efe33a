//! Tests of the whole log on a simulated machine.
