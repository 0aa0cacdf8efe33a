//! Some features of a view, in the order asked, out of rows of any of its schemas.
//!
//! Compiled once, when a read is prepared: for each schema, where each column stands or what stands in for it.
//! Reading a row is then k copies at known offsets, without allocation: a feature that the row's schema lacks
//! reads as its default, a narrower number is widened on the way.

use crate::catalogue::SchemaId;
use crate::error::{ProjectionError, RowError};
use crate::projection_matrix::MatrixPlan;
use crate::row::{RowLayout, Slot, variable_field};
use crate::row_value::{decode_value, encode_value};
use crate::schema::{FeatureView, MAX_FEATURES};
use crate::types::ValueType;
use crate::value::{Value, widen_float_bits};

/// A compiled list of features; columns are in the order asked.
#[derive(Debug, Clone)]
pub struct Projection {
    columns: Vec<Column>,
    /// One plan for each schema, the newest first: it is the one most rows carry.
    plans: Vec<SchemaPlan>,
    /// Where all columns are in dense rows of the newest schema, if they stand side by side there.
    run: Option<Run>,
    is_matrix: bool,
}

/// What a column reads as, whatever the row's schema.
#[derive(Debug, Clone)]
struct Column {
    name: String,
    value_type: ValueType,
    /// Bytes for rows whose schema lacks the feature; `None` is null.
    default: Option<Vec<u8>>,
}

#[derive(Debug, Clone)]
struct SchemaPlan {
    schema_id: SchemaId,
    bitmap_bytes: usize,
    fixed_bytes: usize,
    sources: Vec<Source>,
    matrix: MatrixPlan,
}

/// Columns of fixed width, side by side and in order in the rows of one schema.
#[derive(Debug, Clone, Copy)]
struct Run {
    schema_id: SchemaId,
    /// Offsets of the first column, of the end of the last, and of the end of the fixed section.
    begin: usize,
    end: usize,
    fixed_bytes: usize,
    is_float32: bool,
}

/// Where a column's bytes are in a row of one schema.
#[derive(Debug, Clone, Copy)]
struct Source {
    /// Offset of its slot in the fixed section.
    offset: u32,
    /// Width of its slot in bytes; 0 for a variable-width feature.
    width: u32,
    /// Its position among the schema's features, hence its bit in the null bitmap.
    index: u32,
    /// Slot offset of the variable-width feature before it.
    previous: u32,
    kind: SourceKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SourceKind {
    /// The schema lacks the feature.
    Default,
    Fixed,
    WidenInt,
    WidenFloat,
    Variable,
}

/// One column of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field<'a> {
    /// No value.
    Null,
    /// Little-endian bytes of the column's fixed width.
    Fixed(&'a [u8]),
    /// The bytes of a text, of bytes or of a list.
    Variable(&'a [u8]),
    /// A number stored narrower, as the column's 8 bytes.
    Widened([u8; 8]),
}

impl Field<'_> {
    /// The bytes, unless null.
    #[inline]
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Null => None,
            Self::Fixed(bytes) | Self::Variable(bytes) => Some(bytes),
            Self::Widened(bytes) => Some(bytes),
        }
    }
}

impl Projection {
    /// Compiles `features` of a view over its schemas, the newest last.
    ///
    /// The newest schema decides types and defaults. A feature may be asked twice. Fails on a feature that the
    /// newest schema lacks, and on an older schema that the newest cannot be read through.
    pub fn compile(
        versions: &[(SchemaId, &FeatureView)],
        features: &[&str],
    ) -> Result<Self, ProjectionError> {
        let (_, newest) = versions.last().ok_or(ProjectionError::NoSchema)?;
        if features.is_empty() || features.len() > MAX_FEATURES {
            let found = features.len();
            return Err(ProjectionError::WrongCount { found, limit: MAX_FEATURES });
        }
        let columns =
            features.iter().map(|name| Column::new(newest, name)).collect::<Result<Vec<_>, _>>()?;
        let plans = versions
            .iter()
            .rev()
            .map(|(schema_id, view)| SchemaPlan::new(*schema_id, view, &columns))
            .collect::<Result<Vec<_>, _>>()?;
        let is_matrix = columns.iter().all(|c| c.value_type.is_numeric());
        let run = plans.first().and_then(|plan| Run::of(plan, &columns));
        Ok(Self { columns, plans, run, is_matrix })
    }

    /// Number of columns.
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// Whether there is no column; never so for a compiled projection.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Names of the columns, as asked.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.columns.iter().map(|c| c.name.as_str())
    }

    /// Type of a column.
    pub fn value_type(&self, column: usize) -> Option<&ValueType> {
        self.columns.get(column).map(|c| &c.value_type)
    }

    /// Width of a column's values in bytes; `None` for a variable-width column.
    pub fn width_bytes(&self, column: usize) -> Option<usize> {
        self.columns.get(column).and_then(|c| c.value_type.width_bytes())
    }

    /// Whether rows of that schema can be read; if not, the view has changed since: compile again.
    #[inline]
    pub fn knows(&self, schema_id: SchemaId) -> bool {
        self.plans.iter().any(|p| p.schema_id == schema_id)
    }

    /// Whether rows can be read as a float32 matrix; the error names the first column that cannot.
    pub fn check_matrix(&self) -> Result<(), ProjectionError> {
        match self.columns.iter().find(|c| !c.value_type.is_numeric()) {
            None => Ok(()),
            Some(column) => Err(ProjectionError::NotNumeric {
                feature: column.name.clone(),
                found: column.value_type.to_string(),
            }),
        }
    }

    /// The bytes of all columns at once, one after the other, if that is how the row holds them: a dense row of
    /// the newest schema, which declares them side by side in the order asked, all of fixed width.
    ///
    /// What most reads come to; where it is `None`, [`ProjectedRow::field`] tells the same.
    #[inline]
    pub fn run<'a>(&self, schema_id: SchemaId, value: &'a [u8], dense: bool) -> Option<&'a [u8]> {
        let run = self.run?;
        let holds = dense && run.schema_id == schema_id && value.len() >= run.fixed_bytes;
        if holds { value.get(run.begin..run.end) } else { None }
    }

    /// Whether what [`Projection::run`] gives are float32 alone, hence a row of a matrix.
    #[inline]
    pub fn run_is_float32(&self) -> bool {
        self.run.is_some_and(|run| run.is_float32)
    }

    /// A row to read columns of: finds its schema and checks its fixed section's bounds, once.
    ///
    /// `value` may carry the zero padding of a hot row. Fails on an unknown schema and on a row cut short.
    #[inline]
    pub fn row<'a>(
        &'a self,
        schema_id: SchemaId,
        value: &'a [u8],
        dense: bool,
    ) -> Result<ProjectedRow<'a>, RowError> {
        let plan = self.plans.iter().find(|p| p.schema_id == schema_id);
        let plan = plan.ok_or(RowError::UnknownSchema(schema_id.0))?;
        let fixed_at = if dense { 0 } else { plan.bitmap_bytes };
        let needed = fixed_at + plan.fixed_bytes;
        if value.len() < needed {
            let (feature, found) = ("the fixed section".to_owned(), value.len());
            return Err(RowError::Truncated { feature, offset: 0, needed, found });
        }
        Ok(ProjectedRow { projection: self, plan, value, fixed_at, dense })
    }

    /// One column of one row; see [`ProjectedRow::field`].
    #[inline]
    pub fn field<'a>(
        &'a self,
        schema_id: SchemaId,
        column: usize,
        value: &'a [u8],
        dense: bool,
    ) -> Result<Field<'a>, RowError> {
        self.row(schema_id, value, dense)?.field(column)
    }

    /// Copies one fixed-width column of one row; see [`ProjectedRow::copy_fixed`].
    #[inline]
    pub fn copy_fixed(
        &self,
        schema_id: SchemaId,
        value: &[u8],
        dense: bool,
        column: usize,
        out: &mut [u8],
    ) -> Result<bool, RowError> {
        self.row(schema_id, value, dense)?.copy_fixed(column, out)
    }

    /// Writes one row of a matrix; see [`ProjectedRow::matrix_row`].
    #[inline]
    pub fn matrix_row(
        &self,
        schema_id: SchemaId,
        value: &[u8],
        dense: bool,
        out: &mut [f32],
    ) -> Result<(), RowError> {
        self.row(schema_id, value, dense)?.matrix_row(out)
    }

    /// All columns of one row as values, in the order asked. Every field read is checked.
    pub fn decode(
        &self,
        schema_id: SchemaId,
        value: &[u8],
        dense: bool,
    ) -> Result<Vec<Value>, RowError> {
        let row = self.row(schema_id, value, dense)?;
        (0..self.columns.len()).map(|column| row.decode(column)).collect()
    }
}

impl Column {
    fn new(view: &FeatureView, name: &str) -> Result<Self, ProjectionError> {
        let unknown = || ProjectionError::UnknownFeature {
            view: view.name.clone(),
            feature: name.to_owned(),
        };
        let feature = view.feature(name).ok_or_else(unknown)?;
        let default = match feature.default.as_ref().filter(|d| !d.is_null()) {
            None => None,
            Some(value) => {
                let mut bytes = Vec::new();
                encode_value(&feature.value_type, value, &mut bytes).map_err(|source| {
                    let feature = feature.name.clone();
                    crate::error::SchemaError::BadDefault { feature, source }
                })?;
                Some(bytes)
            }
        };
        Ok(Self { name: name.to_owned(), value_type: feature.value_type.clone(), default })
    }
}

impl SchemaPlan {
    fn new(
        schema_id: SchemaId,
        view: &FeatureView,
        columns: &[Column],
    ) -> Result<Self, ProjectionError> {
        let layout = RowLayout::new(&view.features)?;
        let sources = columns
            .iter()
            .map(|column| Source::new(schema_id, &layout, column))
            .collect::<Result<Vec<_>, _>>()?;
        let matrix = MatrixPlan::new(columns.iter().zip(&sources).map(|(column, source)| {
            let slot = layout.slots().get(source.index as usize);
            let stored = slot.filter(|_| source.kind != SourceKind::Default);
            (stored, source.index, &column.value_type, column.default.as_deref())
        }));
        Ok(Self {
            schema_id,
            bitmap_bytes: layout.bitmap_bytes(),
            fixed_bytes: layout.fixed_bytes(),
            sources,
            matrix,
        })
    }
}

impl Run {
    /// The run of all columns, if none is widened and each begins where the one before it ends.
    fn of(plan: &SchemaPlan, columns: &[Column]) -> Option<Self> {
        let begin = plan.sources.first()?.offset;
        let end = plan.sources.iter().try_fold(begin, |at, source| {
            let next = source.kind == SourceKind::Fixed && source.offset == at;
            next.then_some(at + source.width)
        })?;
        let float32 = ValueType::Scalar(crate::types::Scalar::Float32);
        Some(Self {
            schema_id: plan.schema_id,
            begin: begin as usize,
            end: end as usize,
            fixed_bytes: plan.fixed_bytes,
            is_float32: columns.iter().all(|column| column.value_type == float32),
        })
    }
}

impl Source {
    fn new(
        schema_id: SchemaId,
        layout: &RowLayout,
        column: &Column,
    ) -> Result<Self, ProjectionError> {
        let found = layout.slots().iter().enumerate().find(|(_, s)| s.name == column.name);
        let Some((index, slot)) = found else {
            return Ok(Self {
                offset: 0,
                width: 0,
                index: 0,
                previous: 0,
                kind: SourceKind::Default,
            });
        };
        let Slot { value_type, offset, width, previous, .. } = slot;
        let kind = if *value_type == column.value_type {
            if *width == 0 { SourceKind::Variable } else { SourceKind::Fixed }
        } else if !value_type.widens_to(&column.value_type) {
            return Err(ProjectionError::Incompatible {
                feature: column.name.clone(),
                schema_id: schema_id.0,
                found: value_type.to_string(),
                wanted: column.value_type.to_string(),
            });
        } else if *value_type == ValueType::Scalar(crate::types::Scalar::Int32) {
            SourceKind::WidenInt
        } else {
            SourceKind::WidenFloat
        };
        // The number of features is bounded by MAX_FEATURES.
        let index = index as u32;
        Ok(Self { offset: *offset, width: *width, index, previous: *previous, kind })
    }
}

/// One row, ready to read columns of.
#[derive(Debug, Clone, Copy)]
pub struct ProjectedRow<'a> {
    projection: &'a Projection,
    plan: &'a SchemaPlan,
    value: &'a [u8],
    /// Where the fixed section begins.
    fixed_at: usize,
    dense: bool,
}

impl<'a> ProjectedRow<'a> {
    /// A column of the row.
    ///
    /// Fails if the column does not exist, or if a variable-width value's offsets leave the row.
    #[inline]
    pub fn field(&self, column: usize) -> Result<Field<'a>, RowError> {
        let Some(source) = self.plan.sources.get(column) else {
            return Err(RowError::WrongWidth { column, width: 0, found: 0 });
        };
        if source.kind == SourceKind::Default {
            let info = &self.projection.columns[column];
            return Ok(match &info.default {
                None => Field::Null,
                Some(bytes) if info.value_type.width_bytes().is_some() => Field::Fixed(bytes),
                Some(bytes) => Field::Variable(bytes),
            });
        }
        if self.is_null(source.index) {
            return Ok(Field::Null);
        }
        let at = self.fixed_at + source.offset as usize;
        Ok(match source.kind {
            SourceKind::Variable => Field::Variable(self.variable(column, source)?),
            SourceKind::WidenInt => Field::Widened(widen_int(&self.value[at..at + 4])),
            SourceKind::WidenFloat => Field::Widened(widen_float(&self.value[at..at + 4])),
            SourceKind::Fixed | SourceKind::Default => {
                Field::Fixed(&self.value[at..at + source.width as usize])
            }
        })
    }

    /// Copies a fixed-width column to `out`, which is exactly as wide, and says whether it holds a value: a
    /// null is written as zero bytes.
    #[inline]
    pub fn copy_fixed(&self, column: usize, out: &mut [u8]) -> Result<bool, RowError> {
        let field = self.field(column)?;
        match field {
            Field::Fixed(bytes) if bytes.len() == out.len() => copy_short(bytes, out),
            Field::Widened(bytes) if bytes.len() == out.len() => copy_short(&bytes, out),
            Field::Null if self.projection.width_bytes(column) == Some(out.len()) => {
                out.fill(0);
                return Ok(false);
            }
            _ => {
                let width = self.projection.width_bytes(column).unwrap_or(0);
                return Err(RowError::WrongWidth { column, width, found: out.len() });
            }
        }
        Ok(true)
    }

    /// Writes the row as float32, one for each column, NaN for null.
    ///
    /// Bools are 0 and 1; int32, int64 and float64 are rounded to the nearest float32; a stored float32 keeps
    /// its bits. Fails if a column is not numeric or `out` is of another length.
    #[inline]
    pub fn matrix_row(&self, out: &mut [f32]) -> Result<(), RowError> {
        let columns = self.projection.columns.len();
        if !self.projection.is_matrix || out.len() != columns {
            let (column, found) = (0, out.len() * 4);
            return Err(RowError::WrongWidth { column, width: columns * 4, found });
        }
        let (head, fixed) = self.value.split_at(self.fixed_at);
        self.plan.matrix.write(head, fixed, out);
        Ok(())
    }

    /// A column as a value; every byte of it is checked.
    pub fn decode(&self, column: usize) -> Result<Value, RowError> {
        let field = self.field(column)?;
        let info = &self.projection.columns[column];
        let Some(bytes) = field.bytes() else {
            return Ok(Value::Null);
        };
        decode_value(&info.value_type, bytes).map_err(|fault| RowError::Corrupt {
            feature: info.name.clone(),
            offset: self.offset_of(bytes) + fault.offset,
            reason: fault.reason,
        })
    }

    /// Offset in the row value of a field that lies in it; 0 for one that does not (a default).
    fn offset_of(&self, field: &[u8]) -> usize {
        let offset = (field.as_ptr() as usize).wrapping_sub(self.value.as_ptr() as usize);
        if offset <= self.value.len() { offset } else { 0 }
    }

    #[inline]
    fn is_null(&self, index: u32) -> bool {
        // The bitmap is inside the bounds that `Projection::row` checked.
        !self.dense && self.value[index as usize / 8] >> (index % 8) & 1 == 1
    }

    #[inline]
    fn variable(&self, column: usize, source: &Source) -> Result<&'a [u8], RowError> {
        let fixed_bytes = self.plan.fixed_bytes;
        variable_field(self.value, self.fixed_at, fixed_bytes, source.offset, source.previous)
            .map(|(_, bytes)| bytes)
            .map_err(|fault| RowError::Corrupt {
                feature: self.projection.columns[column].name.clone(),
                offset: fault.offset,
                reason: fault.reason,
            })
    }
}

/// Copies between slices of one length; the widths of numbers as one move each, not as a call.
#[inline]
fn copy_short(from: &[u8], to: &mut [u8]) {
    match from.len() {
        4 => to[..4].copy_from_slice(&from[..4]),
        8 => to[..8].copy_from_slice(&from[..8]),
        _ => to.copy_from_slice(from),
    }
}

#[inline]
fn widen_int(bytes: &[u8]) -> [u8; 8] {
    let value = bytes.first_chunk().map_or(0, |b| i32::from_le_bytes(*b));
    i64::from(value).to_le_bytes()
}

#[inline]
fn widen_float(bytes: &[u8]) -> [u8; 8] {
    let bits = bytes.first_chunk().map_or(0, |b| u32::from_le_bytes(*b));
    widen_float_bits(bits).to_le_bytes()
}
