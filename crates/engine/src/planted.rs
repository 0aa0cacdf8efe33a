//! Bugs to plant, so that the crash campaigns can be shown to find them. Without the feature
//! `planted-bugs`, which only the tests enable, every question here is answered no at compile time.

/// A bug in the one place that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Rows are applied and acknowledged when their batch was handed to the disk.
    AcknowledgeBeforeSync,
    /// Recovery ends a log at the first batch that does not verify, whatever lies behind it.
    CutAtFirstBadChecksum,
    /// Rows leave the warm tier as if everything in tables were archived.
    LeaveBeforeArchived,
    /// A partial write onto a row that lies in the archive alone is laid over nothing.
    MergeOntoNothing,
    /// An erase counts as complete before the archive has confirmed it.
    ForgetBeforeArchive,
    /// A row that a thread has read is taken up although the tables have changed since.
    TakeUpOutdated,
    /// Files of the archive are rewritten without what was erased, and the former ones stay.
    ErasedObjectsStay,
}

#[cfg(feature = "planted-bugs")]
mod switch {
    use std::cell::Cell;
    use std::sync::OnceLock;

    use super::Bug;

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }
    static EVERYWHERE: OnceLock<Bug> = OnceLock::new();

    /// Plants a bug in every store of this process, for good; the first one stays.
    pub fn plant_everywhere(bug: Bug) {
        EVERYWHERE.get_or_init(|| bug);
    }

    /// Plants a bug in the stores that this thread runs, or none.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.set(bug);
    }

    pub(crate) fn is_planted(bug: Bug) -> bool {
        PLANTED.get() == Some(bug) || EVERYWHERE.get() == Some(&bug)
    }
}

#[cfg(feature = "planted-bugs")]
pub(crate) use switch::is_planted;
#[cfg(feature = "planted-bugs")]
pub use switch::{plant, plant_everywhere};

#[cfg(not(feature = "planted-bugs"))]
pub(crate) const fn is_planted(_: Bug) -> bool {
    false
}
