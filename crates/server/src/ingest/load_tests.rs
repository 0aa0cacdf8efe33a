#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
//! Loads against a server that refuses, loses answers and dedupes as the real one does.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::time::Duration;

use thermae_formats::wire::{NotApplied, RowOutcome, Token};
use thermae_formats::{Feature, FeatureView, JoinKey, KeyType, Scalar};

use super::csv::{CsvOptions, CsvReader};
use super::error::IngestError;
use super::load::{Report, Writer, load, producer_id};
use super::mapping::{Mapping, MappingOptions};
use super::rejects::Rejects;
use super::rows::Row;

/// A server of one partition: a high-water mark, and refusals that block what is behind them.
#[derive(Default)]
struct Server {
    mark: u64,
    applied: Vec<u64>,
    /// Row number -> outcomes to give before it is taken.
    refusals: BTreeMap<u64, VecDeque<RowOutcome>>,
    blocked_behind: Option<u64>,
    answers: VecDeque<Vec<RowOutcome>>,
    in_flight: usize,
    in_flight_most: usize,
    pauses: usize,
}

impl Server {
    fn refuse(mut self, row: u64, outcomes: impl IntoIterator<Item = RowOutcome>) -> Self {
        self.refusals.insert(row, outcomes.into_iter().collect());
        self
    }

    fn take(&mut self, number: u64) -> RowOutcome {
        if self.blocked_behind.is_some_and(|blocked| number > blocked) {
            return RowOutcome::NotApplied(NotApplied::BlockedBehind);
        }
        self.blocked_behind = None;
        let ok = |duplicate| RowOutcome::Ok {
            token: Token { partition: 0, sequence: number },
            duplicate,
        };
        match self.refusals.get_mut(&number).and_then(VecDeque::pop_front) {
            // The answer is lost, the row is not.
            Some(RowOutcome::InDoubt) => {
                self.apply(number);
                RowOutcome::InDoubt
            }
            Some(overloaded @ RowOutcome::Overloaded { .. }) => {
                self.blocked_behind = Some(number);
                overloaded
            }
            Some(other) => other,
            None if number <= self.mark => ok(true),
            None => {
                self.apply(number);
                ok(false)
            }
        }
    }

    fn apply(&mut self, number: u64) {
        self.applied.push(number);
        self.mark = number;
    }
}

impl Writer for Server {
    type Pending = ();

    fn send(&mut self, rows: &[Row]) -> Result<(), IngestError> {
        let answer = rows.iter().map(|row| self.take(row.number)).collect();
        self.answers.push_back(answer);
        self.in_flight += 1;
        self.in_flight_most = self.in_flight_most.max(self.in_flight);
        Ok(())
    }

    fn wait(&mut self, (): ()) -> Result<Vec<RowOutcome>, IngestError> {
        self.in_flight -= 1;
        Ok(self.answers.pop_front().unwrap())
    }

    fn pause(&mut self, _duration: Duration) {
        self.pauses += 1;
    }
}

fn view() -> FeatureView {
    let key = vec![JoinKey::new("id", KeyType::Int64)];
    FeatureView::new("p", "v", key, vec![Feature::new("x", Scalar::Float64)])
}

/// A file of `rows` rows, of which those in `bad` have no key.
fn file(rows: u64, bad: &[u64]) -> String {
    let mut text = String::from("id,x,event_time\n");
    for number in 1..=rows {
        let id = if bad.contains(&number) { String::new() } else { number.to_string() };
        text.push_str(&format!("{id},0.5,2013-01-01\n"));
    }
    text
}

fn run(server: &mut Server, text: &str, rejects: Option<&Path>) -> Result<Report, String> {
    let mut reader =
        CsvReader::new(Path::new("t.csv"), text.as_bytes(), &CsvOptions::default()).unwrap();
    let mapping = Mapping::resolve(
        &view(),
        super::cell::Reader::columns(&reader),
        &MappingOptions::default(),
    )
    .unwrap();
    let rejects = Rejects::new(rejects).unwrap();
    load(&mut reader, &view(), mapping, server, rejects, &mut |_| {}).map_err(|e| e.to_string())
}

#[test]
fn all_rows_arrive_once_and_in_order_with_several_batches_in_flight() {
    let mut server = Server::default();
    let report = run(&mut server, &file(10_500, &[]), None).unwrap();
    assert_eq!(
        (report.rows, report.accepted, report.duplicate, report.rejected),
        (10_500, 10_500, 0, 0)
    );
    assert!(server.applied.iter().copied().eq(1..=10_500));
    assert_eq!(server.in_flight_most, 4);
}

#[test]
fn a_load_repeated_changes_nothing() {
    let mut server = Server::default();
    run(&mut server, &file(3_000, &[7]), None).unwrap();
    let again = run(&mut server, &file(3_000, &[7]), None).unwrap();
    assert_eq!((again.accepted, again.duplicate, again.rejected), (0, 2_999, 1));
    assert_eq!(server.applied.len(), 2_999);
}

#[test]
fn overload_is_retried_in_order_and_no_row_is_taken_for_a_repeat() {
    let overloaded = || RowOutcome::Overloaded { retry_after_ms: 700 };
    let mut server =
        Server::default().refuse(500, [overloaded(), overloaded()]).refuse(4_001, [overloaded()]);
    let report = run(&mut server, &file(6_000, &[]), None).unwrap();
    assert_eq!((report.accepted, report.duplicate), (6_000, 0));
    assert!(server.applied.iter().copied().eq(1..=6_000), "a hole or a row out of order");
    assert!(report.retried >= 2 && server.pauses >= 2);
}

#[test]
fn a_lost_answer_is_asked_again_and_found_to_be_a_repeat() {
    let mut server = Server::default().refuse(9, [RowOutcome::InDoubt]);
    let report = run(&mut server, &file(20, &[]), None).unwrap();
    assert_eq!((report.accepted, report.duplicate), (19, 1));
    assert!(server.applied.iter().copied().eq(1..=20));
}

#[test]
fn bad_rows_are_kept_with_their_reasons_and_the_load_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.ndjson");
    let future = RowOutcome::NotApplied(NotApplied::FutureEventTime);
    let mut server = Server::default().refuse(5, [future]);
    let report = run(&mut server, &file(10, &[2, 3]), Some(&path)).unwrap();
    assert_eq!((report.accepted, report.rejected), (7, 3));
    assert_eq!(report.reasons[0].reason, "join key id is null");
    assert_eq!((report.reasons[0].rows, report.reasons[1].rows), (2, 1));
    assert!(report.reasons[0].example.starts_with("row 2: "), "{:?}", report.reasons);
    let lines: Vec<serde_json::Value> = std::fs::read_to_string(&path)
        .unwrap()
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let rows: Vec<u64> = lines.iter().map(|l| l["row"].as_u64().unwrap()).collect();
    assert_eq!(rows, [2, 3, 5]);
    assert_eq!(lines[0]["values"]["x"], "0.5");
    assert_eq!(lines[2]["values"]["id"], "5");
    assert!(lines[2]["reason"].as_str().unwrap().contains("future"), "{}", lines[2]);
}

#[test]
fn a_server_that_is_full_ends_the_load_and_says_how_to_go_on() {
    let full = RowOutcome::NotApplied(NotApplied::MemoryFull);
    let mut server = Server::default().refuse(1_500, [full]);
    let error = run(&mut server, &file(3_000, &[]), None).unwrap_err();
    for word in ["row 1500", "--memory", "run the same command again"] {
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn endless_overload_is_given_up() {
    let overloaded = RowOutcome::Overloaded { retry_after_ms: 0 };
    let mut server = Server::default().refuse(1, std::iter::repeat_n(overloaded, 1_000));
    let error = run(&mut server, &file(3, &[]), None).unwrap_err();
    assert!(error.contains("overloaded"), "{error}");
    assert!(server.pauses < 100);
}

#[test]
fn a_load_is_named_by_its_bytes_its_view_and_its_mapping() {
    let columns = |names: &[&str]| -> Vec<super::cell::Column> {
        let column = |name: &&str| super::cell::Column {
            name: (*name).to_owned(),
            type_name: "text".to_owned(),
            readable: true,
            data_type: None,
        };
        names.iter().map(column).collect()
    };
    let there = columns(&["id", "x", "event_time", "y"]);
    let plain = Mapping::resolve(&view(), &there, &MappingOptions::default()).unwrap();
    let mapped =
        MappingOptions { map: vec![("y".to_owned(), "x".to_owned())], ..MappingOptions::default() };
    let mapped = Mapping::resolve(&view(), &there, &mapped).unwrap();
    let other = FeatureView { name: "w".to_owned(), ..view() };
    let id = |digest, view: &FeatureView, mapping: &Mapping| {
        producer_id(digest, &mapping.fingerprint(view))
    };
    let ids = [
        id(1, &view(), &plain),
        id(2, &view(), &plain),
        id(1, &other, &plain),
        id(1, &view(), &mapped),
    ];
    assert_eq!(ids[0], id(1, &view(), &plain));
    for (index, one) in ids.iter().enumerate() {
        assert!(*one != 0 && ids[index + 1..].iter().all(|another| one != another));
    }
}
