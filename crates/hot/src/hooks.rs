//! Places in the middle of a write and of a look-up where a test can have something done.

use std::cell::RefCell;

type Hook = Option<Box<dyn FnMut()>>;

thread_local! {
    /// Runs at every store to the index.
    pub(crate) static AT_WRITE: RefCell<Hook> = const { RefCell::new(None) };
    /// Runs in a look-up, once it has read the directory.
    pub(crate) static AT_READ: RefCell<Hook> = const { RefCell::new(None) };
}

/// Called after every store to the index.
pub(crate) fn at_write() {
    run(&AT_WRITE);
}

/// Called in a look-up after it has read the directory.
pub(crate) fn at_read() {
    run(&AT_READ);
}

/// Runs the hook, which is not there for what it does itself.
fn run(at: &'static std::thread::LocalKey<RefCell<Hook>>) {
    let hook = at.with(RefCell::take);
    if let Some(mut hook) = hook {
        hook();
        at.with(|place| place.replace(Some(hook)));
    }
}
