//! Judging the rows of a batch that belong to one view.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use thermae_engine::{Catalogue, RowWrite, Schema, Verdict, WriteBatch, WriteKind};
use thermae_formats::row::RowLayout;
use thermae_formats::time::format_timestamp_us;
use thermae_formats::{Feature, NO_TIME, Value};

use super::book::ViewRules;
use super::quarantine::{Failed, put_aside};
use crate::model::OnFailure;
use crate::rules::{Compiled, Computed, Test, shown};

/// The rule that is named where a row could not be judged at all.
const UNJUDGED: u16 = u16::MAX;

/// A row being judged.
struct Judged {
    index: u32,
    /// In the order of the view as it is now; null where a partial write names none.
    values: Vec<Value>,
    /// By feature, whether a partial write names it; none for a whole row, which names all.
    named: Option<Vec<bool>>,
    /// A computed value was filled in, or the row was of an older schema.
    is_changed: bool,
    failures: Vec<Failure>,
}

struct Failure {
    check: u16,
    what: String,
    becomes: OnFailure,
}

impl Judged {
    fn names(&self, feature: usize) -> bool {
        self.named.as_ref().is_none_or(|named| named.get(feature) == Some(&true))
    }

    fn value(&self, feature: usize) -> &Value {
        self.values.get(feature).unwrap_or(&Value::Null)
    }

    fn fail(&mut self, check: u16, becomes: OnFailure, name: &str, why: &str) {
        let what = if why.is_empty() { name.to_owned() } else { format!("{name}: {why}") };
        self.failures.push(Failure { check, what, becomes });
    }
}

impl ViewRules {
    /// Judges rows of a batch, fills in what is computed, and appends verdicts.
    pub fn admit(
        &self,
        batch: &mut WriteBatch,
        rows: &[u32],
        catalogue: &Catalogue,
        now_us: i64,
        verdicts: &mut Vec<(u32, Verdict)>,
    ) {
        let Ok(compiled) = &self.compiled else {
            verdicts.extend(rows.iter().map(|row| (*row, Verdict::Refuse { check: UNJUDGED })));
            return;
        };
        let mut judged = Vec::with_capacity(rows.len());
        for index in rows {
            match self.read(batch, *index, catalogue) {
                Some(row) => judged.push(row),
                None => verdicts.push((*index, Verdict::Refuse { check: UNJUDGED })),
            }
        }
        for row in &mut judged {
            let Some(write) = batch.rows.get(row.index as usize) else { continue };
            let event_time = write.event_time;
            for (at, computed) in compiled.computed.iter().enumerate() {
                compute(computed, compiled.number_of(at), row, event_time);
            }
            test_row(compiled, row, event_time, now_us);
        }
        self.test_null_rates(compiled, &mut judged);
        for row in judged {
            if let Some(verdict) = self.settle(batch, row, now_us) {
                verdicts.push(verdict);
            }
        }
    }

    /// The values of a row, as the view is now.
    fn read(&self, batch: &WriteBatch, index: u32, catalogue: &Catalogue) -> Option<Judged> {
        let row = batch.rows.get(index as usize)?;
        let value = batch.value(row);
        let of = |schema: &Schema, place: usize| {
            let written = schema.definition.features.get(place)?;
            let now = &self.schema.definition.features;
            now.iter().position(|feature| feature.name == written.name)
        };
        let schema = catalogue.schema(row.schema_id)?;
        let is_latest = row.schema_id == self.schema.id;
        let features = &self.schema.definition.features;
        let judged = |values, named| Judged {
            index,
            values,
            named,
            is_changed: !is_latest,
            failures: Vec::new(),
        };
        if let WriteKind::Partial { features: places } = &row.kind {
            let chosen = chosen(schema, places)?;
            let read = RowLayout::new(&chosen).ok()?.decode(value, row.dense).ok()?;
            let mut values = vec![Value::Null; features.len()];
            let mut named = vec![false; features.len()];
            for (place, value) in places.iter().zip(read) {
                let at = of(schema, usize::from(*place))?;
                let value_type = &features.get(at)?.value_type;
                *values.get_mut(at)? = value.widened_to(value_type);
                *named.get_mut(at)? = true;
            }
            return Some(judged(values, Some(named)));
        }
        let read = schema.layout.decode(value, row.dense).ok()?;
        if is_latest {
            return Some(judged(read, None));
        }
        let mut values: Vec<Value> = features.iter().map(Feature::default_value).collect();
        for (place, value) in read.into_iter().enumerate() {
            let at = of(schema, place)?;
            *values.get_mut(at)? = value.widened_to(&features.get(at)?.value_type);
        }
        Some(judged(values, None))
    }

    fn test_null_rates(&self, compiled: &Compiled, judged: &mut [Judged]) {
        for ((number, check), counts) in (0..).zip(&compiled.checks).zip(&self.checks) {
            let (Test::NullRate(rate), Some(feature)) = (&check.test, check.feature) else {
                continue;
            };
            let named = || judged.iter().filter(|row| row.names(feature));
            let rows = named().count() as u64;
            let nulls = named().filter(|row| row.value(feature).is_null()).count() as u64;
            if !counts.window.exceeds(*rate, rows, nulls) {
                continue;
            }
            let is_null = |row: &&mut Judged| row.names(feature) && row.value(feature).is_null();
            for row in judged.iter_mut().filter(is_null) {
                row.fail(number, check.on_failure, &check.name, "");
            }
        }
    }

    /// Counts what failed and does what the severest failure asks.
    fn settle(
        &self,
        batch: &mut WriteBatch,
        mut row: Judged,
        now_us: i64,
    ) -> Option<(u32, Verdict)> {
        let add = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        for failure in &row.failures {
            if let Some(counts) = self.checks.get(usize::from(failure.check)) {
                add(&counts.failed);
            }
        }
        let severest = row.failures.iter().max_by(|a, b| {
            // Of equals, the first.
            a.becomes.cmp(&b.becomes).then(b.check.cmp(&a.check))
        });
        let (becomes, check) = match severest {
            Some(failure) => (failure.becomes, failure.check),
            None => (OnFailure::Warn, UNJUDGED),
        };
        if becomes == OnFailure::Warn {
            if !row.failures.is_empty() {
                add(&self.counts.warned);
            }
            if !row.is_changed || self.write_back(batch, &row).is_some() {
                return None;
            }
        }
        if becomes == OnFailure::Quarantine
            && let Some(schema) = &self.quarantine
            && self.counts.rate.takes(now_us)
        {
            let reasons = row.failures.drain(..).map(|failure| failure.what).collect();
            let failed = Failed { reasons, values: &row.values };
            if put_aside(batch, row.index, schema, failed, now_us).is_ok() {
                add(&self.counts.quarantined);
                return Some((row.index, Verdict::Quarantine { check }));
            }
        }
        add(&self.counts.refused);
        Some((row.index, Verdict::Refuse { check }))
    }

    /// Writes a row's values as the view is now; none if it has become too large.
    fn write_back(&self, batch: &mut WriteBatch, row: &Judged) -> Option<()> {
        let mut bytes = Vec::new();
        let mut kind = WriteKind::Put;
        let dense = if row.named.is_some() {
            let places: Arc<[u16]> =
                (0..).take(row.values.len()).filter(|at| row.names(usize::from(*at))).collect();
            let chosen = chosen(&self.schema, &places)?;
            let values: Vec<Value> =
                places.iter().map(|at| row.value(usize::from(*at)).clone()).collect();
            kind = WriteKind::Partial { features: places };
            RowLayout::new(&chosen).ok()?.encode(&values, &mut bytes).ok()?
        } else {
            self.schema.layout.encode(&row.values, &mut bytes).ok()?
        };
        let value = batch.store(&bytes);
        let write = batch.rows.get_mut(row.index as usize)?;
        let schema_id = self.schema.id;
        *write = RowWrite { kind, schema_id, dense, value, ..write.clone() };
        Some(())
    }
}

/// The features that a partial write names.
fn chosen(schema: &Schema, places: &[u16]) -> Option<Vec<Feature>> {
    let features = &schema.definition.features;
    places.iter().map(|place| features.get(usize::from(*place)).cloned()).collect()
}

/// Fills in a computed feature. What the row brings of it must be null, or what it is.
fn compute(computed: &Computed, number: u16, row: &mut Judged, event_time: i64) {
    let named = computed.inputs.iter().filter(|at| row.names(**at)).count();
    if row.named.is_some() {
        if named == 0 && !row.names(computed.feature) {
            return;
        }
        if named < computed.inputs.len() {
            let why = "a partial write must name all or none of what it is computed from";
            return row.fail(number, OnFailure::Refuse, &computed.name, why);
        }
    }
    let value = {
        // As the expression was compiled: over the columns that are not computed.
        let stored = computed.columns.iter().map(|at| row.value(*at));
        computed.expression.evaluate(&stored.collect::<Vec<_>>(), event_time)
    };
    let brought = row.value(computed.feature);
    if !brought.is_null() && *brought != value {
        let why = format!("{} was brought, and it is {}", shown(brought), shown(&value));
        return row.fail(number, OnFailure::Refuse, &computed.name, &why);
    }
    if let Some(named) = row.named.as_mut().and_then(|named| named.get_mut(computed.feature)) {
        *named = true;
    }
    if let Some(place) = row.values.get_mut(computed.feature) {
        *place = value;
        row.is_changed = true;
    }
}

/// Everything that one row tells: a null passes.
fn test_row(compiled: &Compiled, row: &mut Judged, event_time: i64, now_us: i64) {
    for (number, check) in (0..).zip(&compiled.checks) {
        let why = match (&check.test, check.feature) {
            (Test::Age(most_us), _) => {
                let is_old = event_time != NO_TIME && now_us.saturating_sub(event_time) > *most_us;
                is_old.then(|| format!("it is of {}", format_timestamp_us(event_time)))
            }
            (test, Some(feature)) => test.fails(row.value(feature)),
            (_, None) => None,
        };
        if let Some(why) = why {
            row.fail(number, check.on_failure, &check.name, &why);
        }
    }
}
