//! The arithmetic against sums made by hand.
#![allow(clippy::unwrap_used)]

use thermae_engine::memory::{Given, MemoryPlan, least_bytes};

use super::answer::usable;
use super::*;
use crate::calibrate::{AtLoad, Calibration, FORMAT};
use crate::machine::Machine;
use crate::shape::Shape;

/// A machine on which everything costs a round figure.
fn calibration() -> Calibration {
    let mut costs_us = vec![0.0; Shape::PARTS];
    // A read request 5 us, a key 0.1 us, a write request 10 us, a row 1 us.
    (costs_us[0], costs_us[2], costs_us[8], costs_us[9]) = (5.0, 0.1, 10.0, 1.0);
    let at = |share, p99_over_service| AtLoad { share, p99_over_service };
    Calibration {
        format: FORMAT,
        program: "test".to_owned(),
        machine: Machine::default(),
        shards: 1,
        measured: Vec::new(),
        costs_us,
        worst_fit: 0.05,
        index_bytes_per_row: 10.88,
        base_bytes: 30e6,
        table_bytes_per_byte: 1.0,
        at_load: vec![at(0.2, 2.0), at(0.6, 4.0), at(0.9, 20.0)],
    }
}

/// A server that keeps a tenth for its connections.
fn reserved(memory_bytes: u64, _: u64, _: bool) -> u64 {
    memory_bytes / 10
}

const TEXT: &str = r#"
name = "t"
[[view]]
name = "user"
entities = 1_000_000
features = [{ type = "float32", count = 10 }]
[[request]]
per_s = 10_000
kind = "read"
of = [{ view = "user", keys = 50 }]
[[request]]
per_s = 100
kind = "write"
of = [{ view = "user", keys = 10 }]
[target]
p99_ms = 0.06
[keep]
warm_days = 1
cold_days = 10
[growth]
per_year = 0.5
years = 2
[node]
cores = 4
memory_gib = 1
disk_gib = 100
disk_iops = 1000
network_gbps = 1
[prices]
currency = "EUR"
node_month = 100
object_gib_month = 1
object_1000_writes = 10
object_1000_reads = 1
"#;

fn close(found: f64, expected: f64) {
    assert!((found / expected - 1.0).abs() < 1e-6, "{found}, not {expected}");
}

#[test]
fn needs_are_the_sums_that_a_hand_makes() {
    let description = Description::from_toml(TEXT).unwrap();
    let constants = Constants::of(&calibration());
    let now = needs(&description, &constants, 1.0);
    // 10,000 x (5 + 50 x 0.1) us, and 100 x (10 + 10 x (1 + 2 of flushes and merges)).
    close(now.busy_cores.average, 0.1 + 0.004);
    close(now.busy_cores.worst, 0.104 * 1.1);
    close(now.per_core_per_s, 10_100.0 / 0.104);
    assert_eq!((now.requests_per_s, now.keys_per_s, now.rows_per_s), (10_100.0, 500_000.0, 1000.0));
    // The longest request takes 20 us; 60 us are three times that, halfway from 2 to 4.
    close(now.service_us, 20.0);
    close(now.load_share, 0.4);
    close(now.cores.average, 0.104 / 0.4);
    // 32 of header, 8 of key, 40 of value; 10.88 of index.
    close(now.hot_bytes.average, 1e6 * (80.0 + 10.88));
    close(now.hot_bytes.worst, 1e6 * (80.0 + 64.0 / 7.0 / 0.5));
    let stored = 8.0 + 40.0 + 14.0;
    close(now.disk_bytes.average, stored * (1e6 * 1.5 + 1000.0 * 86_400.0));
    close(now.cold_bytes.average, 0.7 * stored * 1000.0 * 86_400.0 * 10.0);
    let twice = needs(&description, &constants, 2.0);
    close(twice.busy_cores.average, 2.0 * now.busy_cores.average);
    close(twice.disk_bytes.worst, 2.0 * now.disk_bytes.worst);
}

#[test]
fn a_row_is_told_byte_by_byte_and_sums_are_made_of_it() {
    let description = Description::from_toml(TEXT).unwrap();
    let answer = answer(&description, &calibration(), reserved);
    let [row] = &answer.rows[..] else { unreachable!("one view") };
    assert_eq!((row.view.as_str(), row.payload, row.stored), ("user", 48.0, 62.0));
    let index = |load: f64| 64.0 / 7.0 / load;
    assert_eq!(row.hot.cases(), [80.0 + index(0.93), 80.0 + 10.88, 80.0 + index(0.5)]);
    for (found, expected) in [
        (row.filters, [1.35, 1.35 * 1.5, 1.35 * 2.0]),
        (row.version, [62.0 * 0.6, 62.0, 62.0 * 1.1]),
        (row.disk, [62.0 * 0.6, 62.0 * 1.5, 62.0 * 1.1 * 2.0]),
        (row.archived, [62.0 * 0.3, 62.0 * 0.7, 62.0 * 1.05]),
    ] {
        found
            .cases()
            .into_iter()
            .zip(expected)
            .for_each(|(found, expected)| close(found, expected));
    }
    let kept = row.disk.times(1e6).plus(row.version.times(1000.0 * 86_400.0));
    close(answer.now.disk_bytes.worst, kept.worst);
}

#[test]
fn the_network_is_planned_for_its_busier_way() {
    let constants = Constants::of(&calibration());
    let way = |text: &str| {
        needs(&Description::from_toml(text).unwrap(), &constants, 1.0).network_bytes_per_s
    };
    // Answers: 50 rows of 40 bytes, a status for each, for 10,000 a second; of 100 writes ten statuses.
    let read = 10_000.0 * (256.0 + 50.0 * 41.0) + 100.0 * (256.0 + 10.0);
    close(way(TEXT), read);
    // Nearly all are writes: their keys and values go in.
    let written =
        TEXT.replace("per_s = 10_000", "per_s = 1").replace("per_s = 100", "per_s = 10_000");
    close(way(&written), 256.0 + 50.0 * 8.0 + 10_000.0 * (256.0 + 10.0 * 48.0));
}

#[test]
fn every_constant_is_told_with_its_value_and_source() {
    let measured = Calibration { index_bytes_per_row: 0.0, ..calibration() };
    let constants = Constants::of(&measured);
    let list = constants.list(&measured);
    // Taken apart by name: a constant that is added must be told, too.
    let Constants {
        costs_us,
        warm_read_us,
        blocks_per_key,
        background_us,
        index_bytes,
        hot_usable,
        filter_bytes,
        row_beside_bytes,
        table_factor,
        space_factor,
        write_factor,
        piece_bytes,
        cold_factor,
        frame_bytes,
        status_bytes,
        commits_per_minute,
        objects_per_commit,
        days_a_month,
        fill,
        load_share,
        at_load,
        off,
    } = constants.clone();
    let one = [
        (warm_read_us, "a key read from a table"),
        (blocks_per_key, "reads of the disk for it"),
        (background_us, "flushes and merges of a row"),
        (hot_usable, "share of a hot table that rows and index can take"),
        (filter_bytes, "filters and block indices, a row"),
        (row_beside_bytes, "a row in log and tables beside key and value"),
        (write_factor, "written a byte flushed"),
        (piece_bytes, "one write of log, flush or merge"),
        (frame_bytes, "a request, and an answer, beside keys and values"),
        (status_bytes, "a key's status in an answer"),
        (commits_per_minute, "commits of the archive, a view and minute"),
        (objects_per_commit, "objects of a commit, written and read back"),
        (days_a_month, "a month"),
        (fill, "share of memory, disk, network planned with"),
        (off, "cores may be off, either way"),
    ];
    let mut told: Vec<(f64, &str)> = one.to_vec();
    for (values, name) in [
        (&costs_us[..], ""),
        (&index_bytes, "index of the hot table"),
        (&table_factor, "tables for a byte of key and value"),
        (&space_factor, "newest tables"),
        (&cold_factor, "archive for a byte"),
        (&at_load.iter().map(|at| at.1).collect::<Vec<_>>(), "p99 over"),
    ] {
        told.extend(values.iter().map(|value| (*value, name)));
    }
    for (value, name) in told {
        let is =
            |one: &Constant| one.name.starts_with(name) && one.value.to_bits() == value.to_bits();
        assert!(list.iter().any(is), "{name}: {value}");
    }
    let unmeasured = Constants { at_load: Vec::new(), ..constants };
    let list = unmeasured.list(&measured);
    assert!(list.iter().any(|one| one.value.to_bits() == load_share.to_bits()));
    // What was measured says where; what was not says why it is so much.
    let index = list.iter().find(|one| one.name == "index of the hot table, a row").unwrap();
    assert!(matches!(&index.source, Source::Given(why) if why.contains("docs/formats/hot.md")));
}

#[test]
fn the_answer_names_machines_bottleneck_cost_and_what_breaks_first() {
    let description = Description::from_toml(TEXT).unwrap();
    let answer = answer(&description, &calibration(), reserved);
    close(answer.times, 2.25);
    let by_name =
        |name: &str| answer.resources.iter().find(|resource| resource.name == name).unwrap();
    close(by_name("cores").need.average, 0.104 * 2.25 / 0.4);
    let most = answer.resources.iter().map(|resource| resource.nodes).fold(0.0, f64::max);
    close(answer.nodes, most.ceil());
    close(by_name(answer.bottleneck).nodes, most);
    let cost = answer.cost.unwrap();
    assert_eq!(cost.nodes, answer.nodes * 100.0);
    let least = least_bytes(4, 0) as f64;
    assert!(answer.memory_option_bytes >= least, "{}", answer.memory_option_bytes);
    assert!(cost.month > cost.nodes && cost.object_bytes > 0.0);
    assert_eq!(answer.breaks.len(), answer.resources.len());
    assert!(answer.breaks.is_sorted_by(|a, b| a.at_times <= b.at_times));
    // Nothing breaks before the load is as large as was planned for.
    assert!(answer.breaks[0].at_times >= 2.2, "{:?}", answer.breaks);
    assert!(answer.constants.len() > 15 && answer.notes[0].starts_with("Uncertainty"));
}

#[test]
fn a_promise_that_cannot_be_kept_is_said_to_be_so() {
    let text = TEXT.replace("p99_ms = 0.06", "p99_ms = 0.03");
    let answer = answer(&Description::from_toml(&text).unwrap(), &calibration(), reserved);
    assert!(
        answer.notes.iter().any(|note| note.contains("not kept at any load")),
        "{:?}",
        answer.notes
    );
}

#[test]
fn memory_is_what_the_store_would_divide() {
    let description = Description::from_toml(TEXT).unwrap();
    let answer = answer(&description, &calibration(), reserved);
    let memory = answer.resources.iter().find(|resource| resource.name == "memory").unwrap();
    let hot_of = |share: f64| {
        let memory_bytes = (memory.need.average * share * f64::from(1 << 30)) as u64;
        let given = Given {
            memory_bytes,
            reserved_bytes: reserved(memory_bytes, 4, true),
            shards: 4,
            pinned_bytes: (answer.then.filter_bytes.average / 4.0) as u64,
            ..Given::default()
        };
        usable(MemoryPlan::divide(&given).hot_bytes, &Constants::of(&calibration())) * 4.0
    };
    let needed = answer.then.hot_bytes.average;
    assert!(hot_of(1.001) >= needed && hot_of(0.95) < needed, "{} {needed}", hot_of(1.001));
    assert!(memory.need.best <= memory.need.average && memory.need.average <= memory.need.worst);
}

#[test]
fn the_example_is_sound_and_nonsense_is_named() {
    let example = Description::from_toml(EXAMPLE).unwrap();
    assert!(answer(&example, &calibration(), reserved).nodes >= 1.0);
    for (old, new, said) in [
        ("warm_days = 1", "warm_days = -1", "warm_days"),
        ("cores = 4", "cores = 0", "some of everything"),
        ("p99_ms = 0.06", "p99_ms = 0", "p99_ms"),
        ("per_year = 0.5", "per_year = -2", "growth"),
        ("view = \"user\", keys = 50", "view = \"item\", keys = 50", "no view \"item\""),
        ("per_s = 10_000", "per_s = -5", "request 1: per_s must be above 0"),
        ("per_s = 10_000", "per_s = 0", "request 1: per_s must be above 0"),
        ("entities = 1_000_000", "entities = 0", "entities must be 1"),
        ("keys = 50", "keys = 0", "request 1: keys of \"user\" must be 1 to"),
        ("node_month = 100", "", "node_month"),
        ("name = \"t\"", "name = \"t\"\nnodes = 3", "nodes"),
    ] {
        let told = Description::from_toml(&TEXT.replacen(old, new, 1)).unwrap_err().to_string();
        assert!(told.contains(said), "{new}: {told}");
    }
    for (old, new, said) in [
        ("node_month = 100", "node_month = -1", "the price node_month must be"),
        ("object_1000_writes = 10", "", "no price object_1000_writes"),
        ("cold_days = 10", "cold_days = 0", ""),
    ] {
        let checked = Description::from_toml(&TEXT.replacen(old, new, 1)).unwrap().check_prices();
        let told = checked.err().map_or(String::new(), |error| error.to_string());
        assert!(told.contains(said) && told.is_empty() == said.is_empty(), "{new}: {told}");
    }
    assert!(Prices::from_toml("node_month = 5\ncurrency = \"EUR\"").is_ok());
    assert!(Prices::from_toml("node = 5").is_err());
}

#[test]
fn a_calibration_is_read_back_and_another_document_is_not() {
    let made = calibration();
    let text = serde_json::to_string(&made).unwrap();
    assert_eq!(Calibration::from_json(&text).unwrap(), made);
    for text in
        ["{}", "[", &text.replace("\"format\":2", "\"format\":3"), &text.replacen("5.0", "-5.0", 1)]
    {
        assert!(
            Calibration::from_json(text).unwrap_err().to_string().contains("no calibration"),
            "{text}"
        );
    }
}

#[test]
fn without_prices_there_is_no_sum_and_a_note_says_how_to_have_one() {
    let text = TEXT.split("[prices]").next().unwrap();
    let answer = answer(&Description::from_toml(text).unwrap(), &calibration(), reserved);
    assert_eq!(answer.cost, None);
    assert!(answer.notes.iter().any(|note| note.contains("--prices")), "{:?}", answer.notes);
}
