//! The functions of expressions: their names, what they take, and what they give.

use std::borrow::Cow;

use thermae_formats::{Scalar, ValueType};

use super::datum::{Comparison, Datum, compare};

const MICROSECONDS_OF_HOUR: i64 = 3_600_000_000;
const MICROSECONDS_OF_DAY: i64 = 24 * MICROSECONDS_OF_HOUR;

/// A function. Unless it says otherwise, it gives null when it is given one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    /// Of an integer or a float; the least integer has none.
    Abs,
    Ceil,
    Floor,
    /// To the nearest whole number, halves away from zero.
    Round,
    Sqrt,
    Exp,
    Ln,
    Log10,
    Power,
    Least,
    Greatest,
    /// The first that is not null.
    Coalesce,
    /// The first, or null if both are equal.
    NullIf,
    /// In characters.
    Length,
    Lower,
    Upper,
    Concat,
    /// Of integers, cut off towards zero; null by zero. It is compiled to an operation.
    Div,
    IsNan,
    /// 0 to 23, UTC.
    Hour,
    /// 0 (Sunday) to 6, UTC.
    DayOfWeek,
}

/// Their names.
const NAMES: &[(&str, Function)] = &[
    ("abs", Function::Abs),
    ("ceil", Function::Ceil),
    ("coalesce", Function::Coalesce),
    ("concat", Function::Concat),
    ("day_of_week", Function::DayOfWeek),
    ("div", Function::Div),
    ("exp", Function::Exp),
    ("floor", Function::Floor),
    ("greatest", Function::Greatest),
    ("hour", Function::Hour),
    ("is_nan", Function::IsNan),
    ("least", Function::Least),
    ("length", Function::Length),
    ("ln", Function::Ln),
    ("log10", Function::Log10),
    ("lower", Function::Lower),
    ("nullif", Function::NullIf),
    ("power", Function::Power),
    ("round", Function::Round),
    ("sqrt", Function::Sqrt),
    ("upper", Function::Upper),
];

/// What a function's arguments are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// So many numbers; integers stay integers if all are.
    Numbers(usize),
    /// So many numbers, each as a float64.
    Floats(usize),
    /// So many integers.
    Integers(usize),
    /// One or more numbers, or one or more timestamps, of one type.
    Ordered,
    /// So many, at least, of one type.
    Alike(usize),
    /// So many texts, at least.
    Texts(usize),
    /// One timestamp.
    Time,
}

impl Function {
    pub fn named(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, function)| *function)
    }

    /// All names, for messages.
    pub fn names() -> String {
        NAMES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }

    pub fn takes(self) -> Takes {
        match self {
            Self::Abs | Self::Ceil | Self::Floor | Self::Round => Takes::Numbers(1),
            Self::Sqrt | Self::Exp | Self::Ln | Self::Log10 | Self::IsNan => Takes::Floats(1),
            Self::Power => Takes::Floats(2),
            Self::Div => Takes::Integers(2),
            Self::Least | Self::Greatest => Takes::Ordered,
            Self::Coalesce => Takes::Alike(1),
            Self::NullIf => Takes::Alike(2),
            Self::Length | Self::Lower | Self::Upper | Self::Concat => Takes::Texts(1),
            Self::Hour | Self::DayOfWeek => Takes::Time,
        }
    }

    /// Most arguments.
    pub fn most(self) -> usize {
        match self.takes() {
            Takes::Numbers(count) | Takes::Floats(count) | Takes::Integers(count) => count,
            Takes::Time => 1,
            Takes::Ordered => usize::MAX,
            Takes::Alike(_) if self == Self::NullIf => 2,
            Takes::Texts(_) if self != Self::Concat => 1,
            Takes::Alike(_) | Takes::Texts(_) => usize::MAX,
        }
    }

    /// What it gives, of arguments of a common type.
    pub fn gives(self, common: &Option<ValueType>) -> Option<ValueType> {
        let scalar = match self {
            Self::Sqrt | Self::Exp | Self::Ln | Self::Log10 | Self::Power => Scalar::Float64,
            Self::Length | Self::Div | Self::Hour | Self::DayOfWeek => Scalar::Int64,
            Self::Lower | Self::Upper | Self::Concat => Scalar::String,
            Self::IsNan => Scalar::Bool,
            _ => return common.clone(),
        };
        Some(scalar.into())
    }

    pub fn call<'r>(self, mut of: impl Iterator<Item = Datum<'r>>) -> Datum<'r> {
        match self {
            Self::Coalesce => return of.find(|datum| !datum.is_null()).unwrap_or(Datum::Null),
            Self::Least => return extreme(of, Comparison::Lt),
            Self::Greatest => return extreme(of, Comparison::Gt),
            Self::Concat => return concat(of),
            _ => {}
        }
        let (one, two) = (of.next().unwrap_or(Datum::Null), of.next());
        match (self, one) {
            (_, Datum::Null) => Datum::Null,
            (Self::NullIf, one) => {
                let is_equal =
                    two.as_ref().and_then(|two| compare(Comparison::Eq, &one, two)) == Some(true);
                if is_equal { Datum::Null } else { one }
            }
            (Self::Abs, Datum::Int(v)) => v.checked_abs().into(),
            (Self::Abs, Datum::Float(v)) => Datum::Float(v.abs()),
            (Self::Ceil | Self::Floor | Self::Round, Datum::Int(v)) => Datum::Int(v),
            (Self::Ceil, Datum::Float(v)) => Datum::Float(v.ceil()),
            (Self::Floor, Datum::Float(v)) => Datum::Float(v.floor()),
            (Self::Round, Datum::Float(v)) => Datum::Float(v.round()),
            (Self::IsNan, one) => one.as_float().map(f64::is_nan).into(),
            (Self::Length, Datum::Text(v)) => Datum::Int(v.chars().count() as i64),
            (Self::Lower, Datum::Text(v)) => Datum::Text(Cow::Owned(v.to_lowercase())),
            (Self::Upper, Datum::Text(v)) => Datum::Text(Cow::Owned(v.to_uppercase())),
            (Self::Hour, Datum::Time(v)) => {
                Datum::Int(v.rem_euclid(MICROSECONDS_OF_DAY) / MICROSECONDS_OF_HOUR)
            }
            // 1970-01-01 was a Thursday.
            (Self::DayOfWeek, Datum::Time(v)) => {
                Datum::Int((v.div_euclid(MICROSECONDS_OF_DAY) + 4).rem_euclid(7))
            }
            (function, one) => {
                function.of_floats(one.as_float(), two.and_then(|two| two.as_float()))
            }
        }
    }

    /// Not the platform's mathematics: the same bits on every machine.
    fn of_floats<'r>(self, one: Option<f64>, two: Option<f64>) -> Datum<'r> {
        let result = match (self, one, two) {
            (Self::Sqrt, Some(v), _) => v.sqrt(),
            (Self::Exp, Some(v), _) => libm::exp(v),
            (Self::Ln, Some(v), _) => libm::log(v),
            (Self::Log10, Some(v), _) => libm::log10(v),
            (Self::Power, Some(v), Some(w)) => libm::pow(v, w),
            _ => return Datum::Null,
        };
        Datum::Float(result)
    }
}

/// The one that is `better` than all others; a NaN among floats wins, and null is null.
fn extreme<'r>(of: impl Iterator<Item = Datum<'r>>, better: Comparison) -> Datum<'r> {
    let is_nan = |datum: &Datum<'_>| matches!(datum, Datum::Float(v) if v.is_nan());
    let mut best: Option<Datum<'r>> = None;
    for datum in of {
        if datum.is_null() {
            return Datum::Null;
        }
        let is_better = best.as_ref().is_none_or(|best| {
            is_nan(&datum) || (!is_nan(best) && compare(better, &datum, best) == Some(true))
        });
        if is_better {
            best = Some(datum);
        }
    }
    best.unwrap_or(Datum::Null)
}

fn concat<'r>(of: impl Iterator<Item = Datum<'r>>) -> Datum<'r> {
    let mut text = String::new();
    for datum in of {
        let Datum::Text(part) = datum else { return Datum::Null };
        text.push_str(&part);
    }
    Datum::Text(Cow::Owned(text))
}
