//! Requests, one after the other, as a workload says: which operation, of which rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::dice::mix;
use crate::error::Error;
use crate::keys::{Keys, Picker, Trace, read_trace};
use crate::workload::{Kind, Workload};

/// What all threads of a run share: the workload, its traces, and how many rows each view has by now.
#[derive(Debug)]
pub struct Shared {
    /// The workload.
    pub workload: Workload,
    rows: Vec<AtomicU64>,
    traces: Vec<Option<Trace>>,
    parts: Vec<Vec<usize>>,
}

/// One request to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Which operation of the workload.
    pub operation: usize,
    /// What it does.
    pub kind: Kind,
    /// For each part, the view and its rows.
    pub parts: Vec<(usize, Vec<u64>)>,
}

impl Request {
    /// Rows over all parts.
    pub fn rows(&self) -> usize {
        self.parts.iter().map(|(_, rows)| rows.len()).sum()
    }
}

impl Shared {
    /// Reads the traces that the workload replays.
    ///
    /// # Errors
    /// A workload that does not check, or a trace that cannot be read.
    pub fn new(workload: Workload) -> Result<Arc<Self>, Error> {
        workload.check()?;
        let rows = workload.views.iter().map(|view| AtomicU64::new(view.entities)).collect();
        let trace = |keys: &Keys| match keys {
            Keys::Replay { file, column } => read_trace(file, *column).map(Some),
            _ => Ok(None),
        };
        let traces = workload.operations.iter().map(|operation| trace(&operation.keys));
        let traces = traces.collect::<Result<_, _>>()?;
        let index = |name: &str| workload.view_index(name).unwrap_or_default();
        let views = |operation: &crate::workload::Operation| {
            operation.of.iter().map(|part| index(&part.view)).collect()
        };
        let parts = workload.operations.iter().map(views).collect();
        Ok(Arc::new(Self { workload, rows, traces, parts }))
    }

    /// Rows of a view by now.
    pub fn rows(&self, view: usize) -> u64 {
        self.rows.get(view).map_or(0, |rows| rows.load(Ordering::Relaxed))
    }

    /// The views of an operation's parts.
    pub fn views_of(&self, operation: usize) -> &[usize] {
        self.parts.get(operation).map_or(&[], Vec::as_slice)
    }
}

/// Makes the requests of one thread.
#[derive(Debug)]
pub struct Maker {
    shared: Arc<Shared>,
    /// For each operation, the weight of it and those before it.
    weights: Vec<f64>,
    /// For each operation, for each part.
    pickers: Vec<Vec<Picker>>,
    request: Request,
    dice: crate::dice::Dice,
}

impl Maker {
    /// The maker of thread `thread` of `threads`.
    pub fn new(shared: &Arc<Shared>, thread: usize, threads: usize) -> Self {
        let seed = mix(shared.workload.drive.seed ^ mix(thread as u64 + 1));
        let share = thread as f64 / threads.max(1) as f64;
        let mut total = 0.0;
        let weights = shared.workload.operations.iter().map(|operation| {
            total += operation.weight;
            total
        });
        let weights = weights.collect();
        let pickers = shared.workload.operations.iter().enumerate().map(|(at, operation)| {
            let trace = shared.traces.get(at).and_then(Option::as_ref);
            let of = |(part, view): (usize, &usize)| {
                let seed = mix(seed ^ (at as u64) << 32 ^ part as u64);
                Picker::new(&operation.keys, trace, shared.rows(*view), seed, share)
            };
            shared.views_of(at).iter().enumerate().map(of).collect()
        });
        let pickers = pickers.collect();
        let request = Request { operation: 0, kind: Kind::Read, parts: Vec::new() };
        let dice = crate::dice::Dice::new(mix(seed));
        Self { shared: Arc::clone(shared), weights, pickers, request, dice }
    }

    /// The next request. Its memory is reused.
    pub fn next_request(&mut self) -> &Request {
        let shared = Arc::clone(&self.shared);
        let operation = self.choose();
        let Some(what) = shared.workload.operations.get(operation) else { return &self.request };
        let request = &mut self.request;
        request.operation = operation;
        request.kind = what.kind;
        request.parts.resize_with(what.of.len(), Default::default);
        for (at, part) in what.of.iter().enumerate() {
            let view = shared.views_of(operation)[at];
            let there = shared.rows(view);
            let picker = &mut self.pickers[operation][at];
            let (least, most) = part.keys.range();
            let count = u64::from(least) + picker.dice().below(u64::from(most - least) + 1);
            let (before, rest) = request.parts.split_at_mut(at);
            let (index, rows) = &mut rest[0];
            *index = view;
            rows.clear();
            if what.kind == Kind::Insert {
                let first = shared.rows[view].fetch_add(count, Ordering::Relaxed);
                rows.extend(first..first + count);
            } else if what.consecutive {
                let first = picker.pick(there);
                rows.extend((first..first + count).map(|row| row % there));
            } else if let Some((_, first)) = before.first().filter(|_| what.same_keys) {
                rows.extend(first.iter().take(count as usize).map(|row| row % there));
            } else {
                rows.extend((0..count).map(|_| picker.pick(there)));
            }
        }
        &self.request
    }

    fn choose(&mut self) -> usize {
        if self.weights.len() == 1 {
            return 0;
        }
        let total = self.weights.last().copied().unwrap_or(1.0);
        let at = self.dice.unit() * total;
        let found = self.weights.iter().position(|weight| at < *weight);
        found.unwrap_or(self.weights.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TEXT: &str = r#"
        name = "t"
        [[view]]
        name = "user"
        entities = 100
        features = [{ type = "float32" }]
        [[view]]
        name = "item"
        entities = 50
        features = [{ type = "float32" }]
        [[operation]]
        kind = "read"
        weight = 9
        same_keys = true
        of = [{ view = "user", keys = 3 }, { view = "item", keys = 3 }]
        [[operation]]
        kind = "insert"
        weight = 1
        of = [{ view = "user", keys = 2 }]
    "#;

    #[test]
    fn weights_rows_and_inserts_are_as_told() {
        let shared = Shared::new(Workload::from_toml(TEXT).unwrap()).unwrap();
        let mut maker = Maker::new(&shared, 0, 1);
        let mut inserts = 0;
        for _ in 0..10_000 {
            let request = maker.next_request().clone();
            if request.kind == Kind::Insert {
                inserts += 1;
                let (_, rows) = &request.parts[0];
                assert_eq!(rows[0] + 1, rows[1]);
                assert_eq!(rows[1] + 1, shared.rows(0));
                continue;
            }
            assert_eq!(request.rows(), 6);
            let [(user, users), (item, items)] = &request.parts[..] else { unreachable!() };
            assert_eq!((*user, *item), (0, 1));
            assert!(users.iter().all(|row| *row < shared.rows(0)));
            assert!(users.iter().zip(items).all(|(user, item)| user % 50 == *item));
        }
        assert!((900..1100).contains(&inserts), "{inserts}");
        assert_eq!(shared.rows(0), 100 + 2 * inserts);
    }

    #[test]
    fn threads_differ_and_repeat_themselves() {
        let shared = Shared::new(Workload::from_toml(TEXT).unwrap()).unwrap();
        let first = |thread| Maker::new(&shared, thread, 2).next_request().parts.clone();
        assert_ne!(first(0), first(1));
    }
}
