//! Threads that help a training read.

use std::thread::{Builder, Scope, ScopedJoinHandle};

use thermae_env::go_last;

use super::TrainingError;

/// Has a thread of the lowest priority work: serving comes first.
pub(super) fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, TrainingError> {
    let work = || {
        go_last();
        work()
    };
    let spawned = Builder::new().name(name.to_owned()).spawn_scoped(scope, work);
    spawned.map_err(TrainingError::Thread)
}

/// What came of its work.
pub(super) fn wait<T>(handle: ScopedJoinHandle<'_, T>) -> T {
    handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
