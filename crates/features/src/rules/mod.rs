//! What a feature view asks of its rows, compiled against its features: computed features and tests of values.
//! docs/definitions.md says what they mean; `crate::validation` judges rows by them.

mod compiled;
mod test;

pub(crate) use compiled::{Compiled, Computed};
pub(crate) use test::{Test, shown};

use crate::model::{MAX_CHECKS, Object};

/// Checks that what a feature view asks of its rows fits it; any other object asks nothing.
///
/// # Errors
/// What does not fit, quoting the feature that it is about.
pub fn check(object: &Object) -> Result<(), String> {
    let (Some(view), Some(rules)) = (object.as_view(), object.rules()) else { return Ok(()) };
    if rules.checks.len() > MAX_CHECKS {
        return Err(format!("it has {} checks, the limit is {MAX_CHECKS}", rules.checks.len()));
    }
    if rules.quarantine_for_us < 0 || rules.fresh_within_us < 0 {
        return Err("quarantine_for and fresh_within are not negative".to_owned());
    }
    Compiled::new(rules, view).map(|_| ())
}
