//! What goes wrong in the archive: each error names the object, what is wrong and what to do.

use thermae_formats::{ProjectionError, RowError, SchemaError};
use thiserror::Error;

use super::format::ARCHIVE_VERSION;
use super::objects::ObjectError;

/// Why the archive could not do what it was asked.
#[derive(Debug, Error)]
pub enum ColdError {
    /// The object store refused, or did not answer.
    #[error("cannot {what} {object}: {source}")]
    Objects {
        /// What was tried.
        what: &'static str,
        /// On which object or prefix.
        object: String,
        /// Why not.
        source: ObjectError,
    },
    /// An object is not what was written.
    #[error("{object} is damaged at offset {offset_bytes}: {what}; restore the object from a copy")]
    Damaged {
        /// The object.
        object: String,
        /// Offset of the damaged part in it; 0 where only the whole is known to be wrong.
        offset_bytes: u64,
        /// What is wrong there.
        what: String,
    },
    /// An object was written by another build.
    #[error(
        "{object} has archive format version {version:?}, this build knows {ARCHIVE_VERSION}: open it with a \
         build that knows it"
    )]
    Version {
        /// The object.
        object: String,
        /// Its version, as it says.
        version: String,
    },
    /// An object is of another store, view or schema than it was opened for.
    #[error(
        "{object} is of {what} {found}, expected {expected}: is the archive's root that of this store?"
    )]
    Foreign {
        /// The object.
        object: String,
        /// What differs.
        what: &'static str,
        /// What the object says.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// Rows came in an order, or of a view, day or size, that the file cannot hold.
    #[error("an archive file cannot take the row: {0}")]
    Order(&'static str),
    /// A row's value does not read by its schema.
    #[error("a row to archive does not read: {0}")]
    Row(#[from] RowError),
    /// A view's schemas do not belong together.
    #[error("the schemas of a view cannot be archived together: {0}")]
    Schemas(#[from] ProjectionError),
    /// A view's layout is impossible.
    #[error("a view cannot be archived: {0}")]
    View(#[from] SchemaError),
    /// Columns could not be encoded.
    #[error("cannot encode columns: {0}")]
    Encode(String),
}

impl ColdError {
    /// A damaged part of `object`.
    pub(super) fn damaged(object: &str, offset_bytes: u64, what: impl ToString) -> Self {
        Self::Damaged { object: object.to_owned(), offset_bytes, what: what.to_string() }
    }

    /// The object store's error on `object`.
    pub(super) fn objects(what: &'static str, object: &str, source: ObjectError) -> Self {
        Self::Objects { what, object: object.to_owned(), source }
    }

    /// Whether data that was written is no longer there: nothing but a copy brings it back.
    pub const fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }

    /// Whether the same call may succeed later, the object store permitting.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Objects { source, .. } if source.is_transient())
    }
}

impl From<ColdError> for crate::WarmError {
    fn from(error: ColdError) -> Self {
        Self::Archive { is_damage: error.is_damage(), source: Box::new(error) }
    }
}

impl From<parquet::errors::ParquetError> for ColdError {
    fn from(error: parquet::errors::ParquetError) -> Self {
        Self::Encode(error.to_string())
    }
}

impl From<arrow_schema::ArrowError> for ColdError {
    fn from(error: arrow_schema::ArrowError) -> Self {
        Self::Encode(error.to_string())
    }
}
