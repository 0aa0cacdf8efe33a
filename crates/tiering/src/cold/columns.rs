//! A view's columns in the archive: their names, their types, and how rows become them.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use thermae_formats::{
    FeatureView, JoinKey, Projection, RowLayout, Scalar, SchemaId, ValueType, ViewId,
};

use super::ColdError;

/// Columns before the join keys.
pub(super) const SYSTEM: [(&str, Scalar, bool); 6] = [
    ("event_timestamp", Scalar::Timestamp, false),
    ("created_timestamp", Scalar::Timestamp, true),
    ("expire_at", Scalar::Timestamp, true),
    ("sequence", Scalar::Int64, false),
    ("partition", Scalar::Int32, false),
    ("is_deleted", Scalar::Bool, false),
];
/// The column that a table is partitioned by, which is in no file.
pub(super) const DAY_COLUMN: &str = "event_date";

/// One column of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub name: String,
    pub value_type: ValueType,
    pub is_nullable: bool,
}

/// How rows of one view lie in files of its newest schema.
#[derive(Debug)]
pub struct Columns {
    view: ViewId,
    schema_id: SchemaId,
    columns: Vec<Column>,
    join_keys: Vec<JoinKey>,
    projection: Projection,
    layout: RowLayout,
    arrow: SchemaRef,
}

impl Columns {
    /// Columns of a view's newest schema, which is the last of `schemas`; rows of the others read through
    /// it.
    ///
    /// # Errors
    /// There is none, or the newest cannot read rows of another.
    pub fn new(view: ViewId, schemas: &[(SchemaId, &FeatureView)]) -> Result<Self, ColdError> {
        let (schema_id, newest) =
            schemas.last().ok_or(thermae_formats::ProjectionError::NoSchema)?;
        let features: Vec<&str> = newest.features.iter().map(|f| f.name.as_str()).collect();
        let columns = name_columns(newest);
        let fields: Vec<Field> = columns.iter().map(field).collect();
        Ok(Self {
            view,
            schema_id: *schema_id,
            columns,
            join_keys: newest.join_keys.clone(),
            projection: Projection::compile(schemas, &features)?,
            layout: RowLayout::new(&newest.features)?,
            arrow: Arc::new(Schema::new(fields)),
        })
    }

    /// The view.
    pub fn view(&self) -> ViewId {
        self.view
    }

    /// The schema that rows of a file are laid out by when they are read.
    pub fn schema_id(&self) -> SchemaId {
        self.schema_id
    }

    /// Whether a table whose columns are `former` may go on with files of these: each of its columns is
    /// there under its name, of its type.
    pub fn continues(&self, former: &Self) -> bool {
        former.columns.iter().all(|column| self.columns.contains(column))
    }

    /// Types of the join keys, in key order.
    pub(super) fn join_keys(&self) -> &[JoinKey] {
        &self.join_keys
    }

    pub(super) fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Position of the first feature among the columns.
    pub(super) fn features_at(&self) -> usize {
        SYSTEM.len() + self.join_keys.len()
    }

    pub(super) fn projection(&self) -> &Projection {
        &self.projection
    }

    pub(super) fn layout(&self) -> &RowLayout {
        &self.layout
    }

    pub(super) fn arrow(&self) -> &SchemaRef {
        &self.arrow
    }
}

/// Names that differ in more than case, because that is all that some readers tell apart.
fn name_columns(view: &FeatureView) -> Vec<Column> {
    let system = SYSTEM
        .iter()
        .map(|(name, scalar, is_nullable)| (*name, ValueType::Scalar(*scalar), *is_nullable));
    let keys = view
        .join_keys
        .iter()
        .map(|key| (key.name.as_str(), ValueType::Scalar(key.key_type.scalar()), false));
    let features = view
        .features
        .iter()
        .map(|feature| (feature.name.as_str(), feature.value_type.clone(), true));
    let mut taken = std::collections::HashSet::from([DAY_COLUMN.to_owned()]);
    let mut free = |name: &str| {
        let numbered = (2_u32..).map(|number| format!("{name}_{number}"));
        std::iter::once(name.to_owned())
            .chain(numbered)
            .find(|candidate| taken.insert(candidate.to_ascii_lowercase()))
            .unwrap_or_default()
    };
    system
        .chain(keys)
        .chain(features)
        .map(|(name, value_type, is_nullable)| Column { name: free(name), value_type, is_nullable })
        .collect()
}

fn field(column: &Column) -> Field {
    Field::new(&column.name, arrow_type(&column.value_type), column.is_nullable)
}

fn arrow_type(value_type: &ValueType) -> DataType {
    match value_type {
        ValueType::Scalar(scalar) => scalar_type(*scalar),
        ValueType::List(scalar) => DataType::List(element_field(*scalar)),
        ValueType::Vector { .. } => DataType::List(element_field(Scalar::Float32)),
        ValueType::Opaque { .. } => DataType::Binary,
    }
}

/// The field of a list's elements, none of which is null.
pub(super) fn element_field(scalar: Scalar) -> arrow_schema::FieldRef {
    Arc::new(Field::new("element", scalar_type(scalar), false))
}

/// The Arrow type of a scalar. JSON is text and a UUID 16 bytes: what they are is said elsewhere.
pub fn scalar_type(scalar: Scalar) -> DataType {
    match scalar {
        Scalar::Bool => DataType::Boolean,
        Scalar::Int32 => DataType::Int32,
        Scalar::Int64 => DataType::Int64,
        Scalar::Float32 => DataType::Float32,
        Scalar::Float64 => DataType::Float64,
        Scalar::String | Scalar::Json => DataType::Utf8,
        Scalar::Bytes => DataType::Binary,
        Scalar::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Scalar::Uuid => DataType::FixedSizeBinary(16),
    }
}
