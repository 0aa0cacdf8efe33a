//! A compiled expression, and what each of its nodes gives.

use std::borrow::Cow;

use thermae_formats::{Scalar, Value};

use super::datum::{Comparison, Datum, compare};
use super::functions::Function;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

/// One operation. The compiler has checked that its operands are of types that it takes.
#[derive(Debug)]
pub(super) enum Node {
    Column(usize),
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    AsOf,
    Negate(Box<Node>),
    Not(Box<Node>),
    Arithmetic { op: Arithmetic, is_float: bool, of: Box<[Node; 2]> },
    Compare { op: Comparison, of: Box<[Node; 2]> },
    And(Box<[Node; 2]>),
    Or(Box<[Node; 2]>),
    IsNull(Box<Node>),
    In { of: Box<Node>, list: Vec<Node> },
    Case { arms: Vec<(Node, Node)>, otherwise: Box<Node> },
    Cast { of: Box<Node>, to: Scalar },
    Call { function: Function, of: Vec<Node> },
}

impl Node {
    /// Computes it for a row.
    pub fn evaluate<'r>(&'r self, row: &[&'r Value], as_of_us: i64) -> Datum<'r> {
        let on = |node: &'r Node| node.evaluate(row, as_of_us);
        match self {
            Self::Column(at) => row.get(*at).map_or(Datum::Null, |value| Datum::of(value)),
            Self::Null => Datum::Null,
            Self::Bool(v) => Datum::Bool(*v),
            Self::Int(v) => Datum::Int(*v),
            Self::Float(v) => Datum::Float(*v),
            Self::Text(v) => Datum::Text(Cow::Borrowed(v)),
            Self::AsOf => Datum::Time(as_of_us),
            Self::Negate(of) => match on(of) {
                Datum::Int(v) => v.checked_neg().into(),
                Datum::Float(v) => Datum::Float(-v),
                _ => Datum::Null,
            },
            Self::Not(of) => on(of).truth().map(|v| !v).into(),
            Self::Arithmetic { op, is_float, of } => {
                let [one, two] = &**of;
                arithmetic(*op, *is_float, &on(one), &on(two))
            }
            Self::Compare { op, of } => {
                let [one, two] = &**of;
                compare(*op, &on(one), &on(two)).into()
            }
            // Of three values: false and null is false, true or null is true.
            Self::And(of) => logic(false, of.iter().map(|node| on(node).truth())).into(),
            Self::Or(of) => logic(true, of.iter().map(|node| on(node).truth())).into(),
            Self::IsNull(of) => Datum::Bool(on(of).is_null()),
            Self::In { of, list } => {
                let value = on(of);
                let is_one = |node| compare(Comparison::Eq, &value, &on(node));
                logic(true, list.iter().map(is_one)).into()
            }
            Self::Case { arms, otherwise } => {
                let chosen = arms.iter().find(|(when, _)| on(when).truth() == Some(true));
                on(chosen.map_or(otherwise, |(_, then)| then))
            }
            Self::Cast { of, to } => cast(on(of), *to),
            Self::Call { function, of } => function.call(of.iter().map(on)),
        }
    }
}

/// `decides` if any part is it, null if none is and one is null, and its opposite otherwise.
fn logic(decides: bool, parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut told = Some(!decides);
    for part in parts {
        match part {
            Some(part) if part == decides => return Some(decides),
            Some(_) => {}
            None => told = None,
        }
    }
    told
}

/// Integers that overflow, and a remainder by zero, are null; floats are IEEE 754's.
fn arithmetic<'r>(op: Arithmetic, is_float: bool, one: &Datum<'_>, two: &Datum<'_>) -> Datum<'r> {
    if is_float {
        let (Some(one), Some(two)) = (one.as_float(), two.as_float()) else { return Datum::Null };
        return Datum::Float(match op {
            Arithmetic::Add => one + two,
            Arithmetic::Subtract => one - two,
            Arithmetic::Multiply => one * two,
            Arithmetic::Divide => one / two,
            Arithmetic::Modulo => one % two,
        });
    }
    let (Some(one), Some(two)) = (one.as_int(), two.as_int()) else { return Datum::Null };
    match op {
        Arithmetic::Add => one.checked_add(two),
        Arithmetic::Subtract => one.checked_sub(two),
        Arithmetic::Multiply => one.checked_mul(two),
        Arithmetic::Divide => one.checked_div(two),
        // The least integer has remainder 0 by -1, although its quotient overflows.
        Arithmetic::Modulo => (two != 0).then(|| one.wrapping_rem(two)),
    }
    .into()
}

/// A value as one of another type; null where it is none.
fn cast(value: Datum<'_>, to: Scalar) -> Datum<'_> {
    match (value, to) {
        (Datum::Null, _) => Datum::Null,
        (Datum::Bool(v), Scalar::Int32 | Scalar::Int64) => Datum::Int(i64::from(v)),
        (Datum::Bool(v), Scalar::String) => Datum::Text(Cow::Owned(v.to_string())),
        (Datum::Int(v), Scalar::Int32) => i32::try_from(v).ok().map(i64::from).into(),
        (Datum::Int(v) | Datum::Time(v), Scalar::Int64) => Datum::Int(v),
        (Datum::Int(v) | Datum::Time(v), Scalar::Timestamp) => Datum::Time(v),
        (Datum::Int(v), Scalar::Float64) => Datum::Float(v as f64),
        // Once, from the integer: by way of a float64 it would be rounded twice.
        (Datum::Int(v), Scalar::Float32) => Datum::Float(f64::from(v as f32)),
        (Datum::Int(v), Scalar::String) => Datum::Text(Cow::Owned(v.to_string())),
        (Datum::Float(v), Scalar::Int32) => {
            whole(v).and_then(|v| i32::try_from(v).ok()).map(i64::from).into()
        }
        (Datum::Float(v), Scalar::Int64) => whole(v).into(),
        (Datum::Float(v), Scalar::Float64) => Datum::Float(v),
        (Datum::Float(v), Scalar::Float32) => Datum::Float(f64::from(v as f32)),
        (Datum::Text(v), Scalar::Int32) => v.trim().parse::<i32>().ok().map(i64::from).into(),
        (Datum::Text(v), Scalar::Int64) => v.trim().parse::<i64>().ok().into(),
        (Datum::Text(v), Scalar::Float64) => {
            v.trim().parse::<f64>().map_or(Datum::Null, Datum::Float)
        }
        (Datum::Text(v), Scalar::Float32) => {
            v.trim().parse::<f32>().map_or(Datum::Null, |v| Datum::Float(f64::from(v)))
        }
        (Datum::Text(v), Scalar::String) => Datum::Text(v),
        (Datum::Bool(v), Scalar::Bool) => Datum::Bool(v),
        _ => Datum::Null,
    }
}

/// A float cut off towards zero, if an int64 holds it.
fn whole(value: f64) -> Option<i64> {
    // Both ends are exact as floats; the upper one is one beyond.
    let is_in = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&value);
    is_in.then_some(value as i64)
}
