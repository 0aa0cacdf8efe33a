//! The order of the rows of a table: what may follow what.

use thermae_formats::ViewId;
use thermae_formats::table::TableKind;
use thermae_formats::version::Version;

/// Follows rows in their order.
pub(super) struct RowOrder {
    kind: TableKind,
    last: Option<Last>,
}

struct Last {
    view: ViewId,
    hash: u64,
    key: Vec<u8>,
    order: (i64, i64, u64),
}

impl RowOrder {
    pub(super) const fn new(kind: TableKind) -> Self {
        Self { kind, last: None }
    }

    /// View of the row before.
    pub(super) fn last_view(&self) -> Option<ViewId> {
        self.last.as_ref().map(|last| last.view)
    }

    /// Whether the row before has this view and entity hash.
    pub(super) fn is_same(&self, view: ViewId, hash: u64) -> bool {
        self.last.as_ref().is_some_and(|last| last.view == view && last.hash == hash)
    }

    /// Why the row cannot follow the one before.
    pub(super) fn check(
        &self,
        view: ViewId,
        hash: u64,
        version: &Version<'_>,
    ) -> Result<(), &'static str> {
        let Some(last) = &self.last else { return Ok(()) };
        let (before, now) = ((last.view, last.hash, &last.key[..]), (view, hash, version.key));
        if before < now {
            return Ok(());
        }
        if before > now {
            return Err("it sorts before the row that it follows");
        }
        match self.kind {
            TableKind::Latest => Err("it is a second version of its key"),
            TableKind::History if version.order() < last.order => Ok(()),
            TableKind::History => Err("it is not older than the version that it follows"),
        }
    }

    /// Goes on from the row.
    pub(super) fn follow(&mut self, view: ViewId, hash: u64, version: &Version<'_>) {
        let mut key = self.last.take().map_or_else(Vec::new, |last| last.key);
        key.clear();
        key.extend_from_slice(version.key);
        self.last = Some(Last { view, hash, key, order: version.order() });
    }
}
