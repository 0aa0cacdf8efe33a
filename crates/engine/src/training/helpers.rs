//! Threads that help a training read.

use std::thread::{Builder, Scope, ScopedJoinHandle};

use thermae_env::lower_priority;

use super::TrainingError;

/// Steps of nice below the shards and whoever called: serving comes first.
const STEPS_BELOW: i32 = 19;

/// Has a thread of low priority work.
pub(super) fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, TrainingError> {
    let work = || {
        // A thread that keeps its priority works all the same.
        let _ = lower_priority(STEPS_BELOW);
        work()
    };
    let spawned = Builder::new().name(name.to_owned()).spawn_scoped(scope, work);
    spawned.map_err(TrainingError::Thread)
}

/// What came of its work.
pub(super) fn wait<T>(handle: ScopedJoinHandle<'_, T>) -> T {
    handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
