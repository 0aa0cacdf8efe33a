//! What every batch passes before it is split among its owners: rules that the engine itself does not know.

use crate::catalogue::Catalogue;
use crate::write::WriteBatch;

/// Rules for what is written. All ways into a store lead through it: handles, `Store`, and a server's connections.
///
/// It runs on the thread that writes, a shard's too: it must not wait for anything.
pub trait Gate: Send + Sync {
    /// Looks at a batch, fills in what is computed, and marks what is not to be written, or is to be written
    /// elsewhere ([`WriteBatch::mark`]). Rows may change their view, schema, kind and value, never their key,
    /// number or place.
    fn admit(&self, batch: &mut WriteBatch, catalogue: &Catalogue);
}
