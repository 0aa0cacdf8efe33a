//! What can be wrong with a type, a value, a schema, a key, a row or a projection.
//!
//! Every error says what is wrong and where; where a caller can act, it says how.

use thiserror::Error;

/// A type name that is not one of the types of a feature or of a join key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TypeError {
    /// The text names no type.
    #[error(
        "unknown type {0:?}: expected bool, int32, int64, float32, float64, string, bytes, timestamp, uuid, json, \
         list<TYPE>, vector<float32, N> or opaque<NAME>"
    )]
    UnknownType(String),
    /// The text names no type of join key.
    #[error("unknown join key type {0:?}: expected int32, int64, string, bytes or uuid")]
    UnknownKeyType(String),
    /// A vector's dimension is zero, too large, or no number.
    #[error("vector dimension {0:?} is not a number from 1 to 65536")]
    BadDimension(String),
    /// The logical type of an opaque feature is empty, too long, or holds control characters.
    #[error(
        "logical type {0:?} of an opaque feature must be 1 to 128 bytes without control characters"
    )]
    BadLogicalType(String),
}

/// A text or JSON value that is not of the type wanted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ValueError {
    /// The text does not parse as the type.
    #[error("{text:?} is not of type {wanted}: {reason}")]
    Unreadable {
        /// The text, cut to 80 characters.
        text: String,
        /// The type wanted.
        wanted: String,
        /// Why it does not parse.
        reason: String,
    },
    /// A value of another type.
    #[error("expected {wanted}, found {found}")]
    WrongType {
        /// The type wanted.
        wanted: String,
        /// The kind of value found.
        found: String,
    },
    /// A list or vector element is wrong.
    #[error("element {index}: {source}")]
    Element {
        /// Position in the list, from 0.
        index: usize,
        /// What is wrong with it.
        #[source]
        source: Box<ValueError>,
    },
    /// A vector of another length.
    #[error("expected a vector of {expected} elements, found {found}")]
    WrongDimension {
        /// The declared dimension.
        expected: usize,
        /// The length found.
        found: usize,
    },
}

/// A feature view that cannot be accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SchemaError {
    /// A name that is empty, too long, or holds something else than letters, digits and `_`.
    #[error("{what} name {name:?} must be 1 to 128 letters, digits or _")]
    BadName {
        /// What is named: `project`, `feature view`, `feature`, `join key`, `entity`.
        what: &'static str,
        /// The name given.
        name: String,
    },
    /// Two things of one kind share a name.
    #[error("{what} {name:?} is declared twice in feature view {view:?}")]
    Duplicate {
        /// What is named.
        what: &'static str,
        /// The name given twice.
        name: String,
        /// The view.
        view: String,
    },
    /// A stated limit is passed.
    #[error("feature view {view:?}: {what} is {found}, the limit is {limit}")]
    Limit {
        /// The view.
        view: String,
        /// What is too large.
        what: &'static str,
        /// The size found.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// A feature's default is not of its type.
    #[error("default of feature {feature:?}: {source}")]
    BadDefault {
        /// The feature.
        feature: String,
        /// What is wrong with the default.
        #[source]
        source: ValueError,
    },
    /// A duration that is negative, or that contradicts another.
    #[error("feature view {view:?}: {what} {problem}")]
    BadPolicy {
        /// The view.
        view: String,
        /// Which policy.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A type that is not allowed where it stands.
    #[error("feature {feature:?}: {source}")]
    BadType {
        /// The feature.
        feature: String,
        /// What is wrong with the type.
        #[source]
        source: TypeError,
    },
    /// A change that old rows could not be read through.
    #[error(
        "incompatible change of feature view {view:?}: {what}; register it as a new view version to serve both"
    )]
    Incompatible {
        /// The view.
        view: String,
        /// The feature or join key, and the reason.
        what: String,
    },
    /// JSON that is no feature view.
    #[error("feature view JSON: {0}")]
    Json(String),
}

/// An entity key that cannot be encoded or decoded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyError {
    /// Another number of values than join keys.
    #[error("expected {expected} join key values ({names}), found {found}")]
    WrongCount {
        /// Declared join keys.
        expected: usize,
        /// Values given.
        found: usize,
        /// The declared names, comma separated.
        names: String,
    },
    /// A value that cannot be coerced to the join key's type.
    #[error("join key {column:?}: {reason}")]
    Uncoercible {
        /// The join key.
        column: String,
        /// Why not.
        reason: String,
    },
    /// The key is longer than the limit.
    #[error("entity key of {found} bytes is over the limit of {limit}")]
    TooLong {
        /// Encoded length.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// The bytes end inside a join key.
    #[error(
        "entity key truncated: join key {index} needs {needed} bytes at offset {offset}, {found} are left"
    )]
    Truncated {
        /// Position of the join key, from 0.
        index: usize,
        /// Byte offset in the key.
        offset: usize,
        /// Bytes needed.
        needed: usize,
        /// Bytes left.
        found: usize,
    },
    /// A decoded join key is impossible.
    #[error("entity key corrupt: join key {index} at offset {offset}: {reason}")]
    Corrupt {
        /// Position of the join key, from 0.
        index: usize,
        /// Byte offset in the key.
        offset: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// Bytes follow the last join key.
    #[error("entity key has {extra} bytes after its last join key at offset {offset}")]
    Trailing {
        /// Where the key ends.
        offset: usize,
        /// How many bytes follow.
        extra: usize,
    },
}

/// A row value that cannot be encoded or decoded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RowError {
    /// Another number of values than features.
    #[error("expected {expected} feature values, found {found}")]
    WrongCount {
        /// Features of the schema.
        expected: usize,
        /// Values given.
        found: usize,
    },
    /// A value is not of the feature's type.
    #[error("feature {feature:?}: {source}")]
    BadValue {
        /// The feature.
        feature: String,
        /// What is wrong.
        #[source]
        source: ValueError,
    },
    /// The row is larger than the limit.
    #[error("row value of {found} bytes is over the limit of {limit}")]
    TooLarge {
        /// Encoded length.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// The bytes end inside a field.
    #[error(
        "row value truncated: {feature} needs {needed} bytes at offset {offset}, the row has {found}"
    )]
    Truncated {
        /// The feature, or the section of the row.
        feature: String,
        /// Byte offset in the row value.
        offset: usize,
        /// Bytes needed there.
        needed: usize,
        /// Length of the row value.
        found: usize,
    },
    /// A field holds what no encoder writes.
    #[error("row value corrupt: {feature} at offset {offset}: {reason}")]
    Corrupt {
        /// The feature, or the section of the row.
        feature: String,
        /// Byte offset in the row value.
        offset: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// The row was written under a schema that this reader was not compiled for.
    #[error(
        "row carries schema id {0}, which this projection was not compiled for: prepare the read again"
    )]
    UnknownSchema(u16),
    /// A fixed-width read of a column that is not fixed-width, or into a buffer of another size.
    #[error("column {column} holds {width} fixed bytes, the buffer {found}")]
    WrongWidth {
        /// Column of the projection.
        column: usize,
        /// Its width, 0 for a variable-width column.
        width: usize,
        /// Length of the buffer given.
        found: usize,
    },
}

/// A projection that cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProjectionError {
    /// No schema version was given.
    #[error("a projection needs at least one schema version")]
    NoSchema,
    /// The view has no such feature.
    #[error("feature view {view:?} has no feature {feature:?}")]
    UnknownFeature {
        /// The view.
        view: String,
        /// The feature asked.
        feature: String,
    },
    /// Nothing was asked, or too much.
    #[error("a projection takes 1 to {limit} features, {found} were asked")]
    WrongCount {
        /// Features asked.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// A feature cannot be a float32 matrix column.
    #[error(
        "feature {feature:?} is a {found}: a matrix takes bool, int32, int64, float32 and float64 only"
    )]
    NotNumeric {
        /// The feature.
        feature: String,
        /// Its type.
        found: String,
    },
    /// An older schema's type of the feature cannot be read as the newest one.
    #[error(
        "feature {feature:?}: rows of schema id {schema_id} hold {found}, which cannot be read as {wanted}"
    )]
    Incompatible {
        /// The feature.
        feature: String,
        /// The older schema.
        schema_id: u16,
        /// Its type there.
        found: String,
        /// The newest type.
        wanted: String,
    },
    /// A schema has no row layout.
    #[error(transparent)]
    Schema(#[from] SchemaError),
}
