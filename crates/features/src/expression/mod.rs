//! Expressions over the columns of a row: SQL's scalar syntax, checked once against the columns' types, then
//! computed row by row by the one evaluator of ingest, serving and training reads.
//!
//! What each operation means with nulls, floats and overflow is written in docs/transformations.md; the choice of
//! syntax and evaluator in docs/decisions/0024-transformations.md.

mod compile;
mod datum;
mod functions;
mod node;
mod parse;
mod types;

use thermae_formats::{Scalar, Value, ValueType};

use compile::Compiler;
use datum::Datum;
use node::Node;
use types::{KNOWN, is_known};

/// Longest expression, in bytes.
pub const MAX_EXPRESSION_BYTES: usize = 16 << 10;
/// Most tokens of an expression: parser and compiler recurse over what they make.
pub const MAX_TOKENS: usize = 1_000;
/// Deepest nesting of an expression; `a + b + c` nests two deep.
pub const MAX_DEPTH: usize = 128;

/// A column that an expression may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub value_type: ValueType,
}

impl Column {
    /// A column.
    pub fn new(name: impl Into<String>, value_type: impl Into<ValueType>) -> Self {
        Column { name: name.into(), value_type: value_type.into() }
    }
}

/// Why a text is no expression over the columns.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}{what}")]
pub struct ExpressionError {
    /// `line 1, column 5: `, or nothing where no place is known.
    place: String,
    what: String,
}

impl ExpressionError {
    fn at(line: u64, column: u64, what: impl Into<String>) -> Self {
        let place = match line {
            0 => String::new(),
            _ => format!("line {line}, column {column}: "),
        };
        ExpressionError { place, what: what.into() }
    }

    fn nowhere(what: impl Into<String>) -> Self {
        Self::at(0, 0, what)
    }
}

/// An expression that fits its columns and gives values of its type.
#[derive(Debug)]
pub struct Expression {
    node: Node,
    value_type: ValueType,
    inputs: Vec<usize>,
}

impl Expression {
    /// Reads an expression over columns and checks that it gives values of a type.
    ///
    /// # Errors
    /// It is no expression, names an unknown column, mixes types, or gives another type; with its place.
    pub fn compile(
        text: &str,
        columns: &[Column],
        value_type: &ValueType,
    ) -> Result<Self, ExpressionError> {
        if !is_known(value_type) {
            let what = format!("an expression gives no {value_type}: {KNOWN}");
            return Err(ExpressionError::nowhere(what));
        }
        let parsed = parse::parse(text)?;
        let mut compiler = Compiler::new(columns);
        let (node, found) = compiler.compile(&parsed, 0)?;
        let node = match found {
            Some(found) if found == *value_type || found.widens_to(value_type) => node,
            Some(found) => {
                let what = format!(
                    "the expression gives {found}, declared is {value_type}: declare {found}, or write \
                     cast(... as {value_type})"
                );
                return Err(compile::wrong(&parsed, what));
            }
            None => return Err(compile::wrong(&parsed, "the expression is always null")),
        };
        Ok(Expression { node, value_type: value_type.clone(), inputs: compiler.into_inputs() })
    }

    /// Places of the columns that it reads, rising.
    pub fn inputs(&self) -> &[usize] {
        &self.inputs
    }

    /// The type of what it gives.
    pub fn value_type(&self) -> &ValueType {
        &self.value_type
    }

    /// Computes it for a row: a value of each column, of the column's type or null. `as_of_us`, microseconds
    /// UTC, is what `as_of()` gives. What cannot be computed is null.
    pub fn evaluate(&self, row: &[&Value], as_of_us: i64) -> Value {
        if let Node::Column(at) = self.node {
            // Passed through, every bit of a NaN is kept.
            let value = row.get(at).map_or(Value::Null, |value| Value::clone(value));
            return value.widened_to(&self.value_type);
        }
        match (self.node.evaluate(row, as_of_us), &self.value_type) {
            (Datum::Bool(v), ValueType::Scalar(Scalar::Bool)) => Value::Bool(v),
            (Datum::Int(v), ValueType::Scalar(Scalar::Int64)) => Value::Int64(v),
            (Datum::Int(v), ValueType::Scalar(Scalar::Int32)) => {
                i32::try_from(v).map_or(Value::Null, Value::Int32)
            }
            (Datum::Float(v), ValueType::Scalar(Scalar::Float64)) => {
                Value::Float64(if v.is_nan() { f64::NAN } else { v })
            }
            (Datum::Float(v), ValueType::Scalar(Scalar::Float32)) => {
                Value::Float32(if v.is_nan() { f32::NAN } else { v as f32 })
            }
            (Datum::Text(v), ValueType::Scalar(Scalar::String)) => Value::String(v.into_owned()),
            (Datum::Time(v), ValueType::Scalar(Scalar::Timestamp)) => Value::Timestamp(v),
            _ => Value::Null,
        }
    }
}
