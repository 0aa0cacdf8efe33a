//! Times of a spine: any Arrow timestamp or date, as microseconds UTC.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Date64Type, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType};
use arrow_schema::{DataType, TimeUnit};

use super::TrainingError;

const DAY_US: i64 = 86_400_000_000;

/// Whether a column of the type can hold times. Arrow keeps an instant with a zone in UTC already; one
/// without a zone is UTC here. Text and plain numbers are refused: what they mean would be a guess.
pub(super) fn is_time(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64)
}

/// A time in another unit as microseconds. Parts of a microsecond are cut off towards the past, so that no
/// row sees what came after it.
fn in_us(data_type: &DataType, value: i64) -> Option<i64> {
    match data_type {
        DataType::Timestamp(TimeUnit::Second, _) => value.checked_mul(1_000_000),
        DataType::Timestamp(TimeUnit::Millisecond, _) | DataType::Date64 => {
            value.checked_mul(1_000)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => Some(value.div_euclid(1_000)),
        DataType::Date32 => value.checked_mul(DAY_US),
        _ => Some(value),
    }
}

/// Replaces `times_us` by the times of a column, microseconds UTC; `first_row` is the number of its first row.
///
/// # Errors
/// A row without a time, one that microseconds do not hold, or a column of another type.
pub fn read_times(
    column: &str,
    array: &ArrayRef,
    first_row: u64,
    times_us: &mut Vec<i64>,
) -> Result<(), TrainingError> {
    times_us.clear();
    let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
    if let Some(at) = nulls.and_then(|nulls| (0..nulls.len()).find(|at| nulls.is_null(*at))) {
        let column = column.to_owned();
        return Err(TrainingError::NoTime { column, row: first_row + at as u64 });
    }
    match array.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => raw::<TimestampSecondType>(array, times_us),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            raw::<TimestampMillisecondType>(array, times_us);
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            raw::<TimestampMicrosecondType>(array, times_us);
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            raw::<TimestampNanosecondType>(array, times_us);
        }
        DataType::Date32 => raw::<Date32Type>(array, times_us),
        DataType::Date64 => raw::<Date64Type>(array, times_us),
        other => {
            let (column, found) = (column.to_owned(), other.to_string());
            let what = "a time: cast it to a timestamp".to_owned();
            return Err(TrainingError::ColumnType { column, found, what });
        }
    }
    for (at, time) in times_us.iter_mut().enumerate() {
        let out_of_range = || TrainingError::TimeRange {
            column: column.to_owned(),
            row: first_row + at as u64,
            found: *time,
        };
        *time = in_us(array.data_type(), *time).ok_or_else(out_of_range)?;
    }
    Ok(())
}

fn raw<T: ArrowPrimitiveType>(array: &ArrayRef, into: &mut Vec<i64>)
where
    i64: From<T::Native>,
{
    into.extend(array.as_primitive::<T>().values().iter().map(|value| i64::from(*value)));
}
