//! Reading history under a snapshot.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use thermae_client::{
    Address, Client, Config, ErrorCode, Plan, ScanOptions, ViewFeatures, WriteBatch,
};
use thermae_engine::scan::{self, Cursor, Position};
use thermae_engine::snapshot::SNAPSHOTS_MAX;
use thermae_engine::store::{Row, Store};
use thermae_engine::{Error, Options, Outcome, ScannedRow};
use thermae_formats::schema::{History, TierPolicy};
use thermae_formats::{
    Feature, FeatureView, JoinKey, KeyType, KeyValue, NO_TIME, Scalar, Value, hash,
};
use thermae_server::serve::{Running, ServeOptions, start};
use thermae_tests::campaign::{ScanReport, scan_run};
use thermae_tests::model::Rng;

fn runs(seeds: std::ops::Range<u64>, crashes: bool) -> ScanReport {
    let mut sum = ScanReport::default();
    for seed in seeds {
        let report = scan_run(seed, crashes).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        sum.snapshots += report.snapshots;
        sum.while_writing += report.while_writing;
        sum.read_again += report.read_again;
        sum.rows += report.rows;
        sum.restarts += report.restarts;
    }
    sum
}

#[test]
fn scans_show_every_version_that_the_model_has_and_nothing_else() {
    let sum = runs(0..24, false);
    assert!(sum.snapshots > 600 && sum.while_writing > 200, "{sum:?}");
    assert!(sum.read_again > 600 && sum.rows > 30_000 && sum.restarts == 48, "{sum:?}");
}

#[test]
fn scans_go_on_over_background_work_and_after_crashes() {
    let sum = runs(1_000..1_040, true);
    assert!(sum.snapshots > 130 && sum.read_again > 70 && sum.restarts == 80, "{sum:?}");
}

/// A served store of readings, and a client with a plan of them.
fn served(dir: &std::path::Path) -> (Running, Client, Plan) {
    let running = start(ServeOptions {
        data: dir.join("data"),
        listen: Some("127.0.0.1:0".to_owned()),
        unix: None,
        http: None,
        cores: 2,
        memory_bytes: 128 << 20,
        ..ServeOptions::default()
    })
    .unwrap();
    running.handle().apply(&[view(TierPolicy::default())]).unwrap();
    let address = Address::Tcp(running.tcp_addr().unwrap().to_string());
    let client = Client::connect(&address, Config::default()).unwrap();
    let features = vec!["text", "n"];
    let wanted = ViewFeatures { project: "test", view: "readings", version: 0, features };
    let plan = client.prepare(&[wanted]).unwrap();
    (running, client, plan)
}

fn send(client: &Client, rows: impl Iterator<Item = Row>) {
    let handle = client.view("test", "readings").unwrap();
    let mut batch = WriteBatch::put(&handle);
    for row in rows {
        batch.push(&row.key, row.event_time, row.created_time, &row.values).unwrap();
    }
    assert!(client.write(&mut batch).unwrap().all_ok());
}

/// Awaits a future on this thread.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[test]
fn pages_over_the_wire_are_a_scan() {
    let dir = tempfile::tempdir().unwrap();
    let (running, client, plan) = served(dir.path());
    send(&client, (0..2_000).map(|n| row(n % 100, n / 100)));
    let options = ScanOptions { page_bytes: 20_000, ..ScanOptions::default() };
    let (mut rows, mut pages, mut place) = (Vec::new(), 0, None);
    loop {
        // Asked for in both ways.
        let page = match pages % 2 {
            0 => client.scan(&plan, &options, place.as_deref()).unwrap(),
            _ => block_on(client.send_scan(&plan, &options, place.as_deref()).unwrap()).unwrap(),
        };
        pages += 1;
        let here: Vec<_> = page.rows().map(Result::unwrap).collect();
        assert_eq!(here.len(), page.len());
        for scanned in here {
            let [KeyValue::Int(id)] = scanned.key[..] else { panic!("{scanned:?}") };
            let mut values = row(id, scanned.event_time).values;
            values.reverse();
            assert_eq!(scanned.values, Some(values));
            rows.push((id, scanned.event_time));
        }
        place = page.place().map(<[u8]>::to_vec);
        if place.is_none() {
            break;
        }
        // The cursor that is kept shows the time of the first page.
        send(&client, (0..10).map(|n| row(n, 500 + pages)));
    }
    assert!(pages > 10, "{pages} pages");
    assert_eq!(rows.iter().filter(|row| row.1 < 500).count(), 2_000);
    rows.sort_unstable();
    assert!(rows.windows(2).all(|two| two[0] != two[1]), "a row came twice");
    // What was just acknowledged is seen by what begins.
    send(&client, std::iter::once(row(7, 9_000)));
    let one = ScanOptions {
        key: Some(vec![KeyValue::Int(7)]),
        event_times: 9_000..=9_001,
        ..ScanOptions::default()
    };
    let page = client.scan(&plan, &one, None).unwrap();
    assert_eq!((page.len(), page.place()), (1, None));
    running.stop().unwrap();
}

#[test]
fn scans_that_make_no_sense_are_refused_and_hurt_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let (running, client, plan) = served(dir.path());
    send(&client, (0..300).map(|n| row(n, 1)));
    let options = ScanOptions { page_bytes: 1, ..ScanOptions::default() };
    // A page has one row at least.
    assert_eq!(client.scan(&plan, &options, None).unwrap().len(), 1);
    for place in [&b"x"[..], &[1; 5], &[1; 26], &[1; 2_000]] {
        let error = client.scan(&plan, &options, Some(place)).unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::Malformed), "{error}");
    }
    let both: Vec<_> = (0..2).map(|_| client.send_scan(&plan, &options, None).unwrap()).collect();
    let both: Vec<_> = both.into_iter().map(thermae_client::PendingScan::wait).collect();
    assert!(both[0].is_ok());
    let is_refused =
        both[1].as_ref().is_err_and(|error| error.code() == Some(ErrorCode::TooManyInFlight));
    assert!(is_refused || both[1].is_ok(), "{:?}", both[1]);
    let hashes = std::ops::RangeInclusive::new(5, 4);
    let none = ScanOptions { hashes, ..ScanOptions::default() };
    assert_eq!(client.scan(&plan, &none, None).unwrap().len(), 0);
    running.stop().unwrap();
}

const VIEW: &str = "test/readings";

fn store(dir: &std::path::Path, tiers: TierPolicy) -> Store {
    let options = Options { cores: 2, flush_bytes: 64 << 10, ..Options::default() };
    let store = Store::open_with(dir, options).unwrap();
    store.apply(&[view(tiers)]).unwrap();
    store
}

fn view(tiers: TierPolicy) -> FeatureView {
    let features = vec![Feature::new("n", Scalar::Int64), Feature::new("text", Scalar::String)];
    let keys = vec![JoinKey::new("id", KeyType::Int64)];
    let mut view = FeatureView::new("test", "readings", keys, features);
    view.tiers = tiers;
    view
}

fn row(id: i64, event_time: i64) -> Row {
    let text = Value::String(format!("{id} at {event_time} {}", "x".repeat(200)));
    Row::new([KeyValue::Int(id)], event_time, [Value::Int64(id * event_time), text])
}

fn put(store: &Store, rows: &[Row]) {
    for rows in rows.chunks(500) {
        let outcomes = store.put(VIEW, rows).unwrap();
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Ok { .. })));
    }
}

fn ids_and_times(rows: impl Iterator<Item = Result<ScannedRow, Error>>) -> Vec<(i64, i64)> {
    let mut found = Vec::new();
    for row in rows {
        let row = row.unwrap();
        let [KeyValue::Int(id)] = row.key[..] else { panic!("{row:?}") };
        if let Some(values) = &row.values {
            assert_eq!(*values, self::row(id, row.event_time).values);
        }
        found.push((id, row.event_time));
    }
    found
}

#[test]
fn a_scan_shows_what_was_there_when_it_began_while_writes_flushes_and_merges_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), TierPolicy::default());
    let all: Vec<Row> = (0..3_000).map(|n| row(n % 500, n / 500)).collect();
    put(&store, &all);
    let mut scan = store.scan(VIEW, &[], &scan::ScanOptions::default()).unwrap();
    let first = scan.next().unwrap().unwrap();
    // Ten times as much, late rows and deletions among it: tables of the scan are replaced under it.
    for round in 0..10 {
        let more: Vec<Row> = (0..3_000).map(|n| row(n % 500, (n * 7 + round) % 600)).collect();
        put(&store, &more);
    }
    store.delete(VIEW, &[vec![KeyValue::Int(3)]], 1_000).unwrap();
    let mut found = ids_and_times(std::iter::once(Ok(first)).chain(scan));
    assert_eq!(found.len(), 3_000);
    let hash = |id: i64| hash::entity_hash(&id.to_le_bytes(), store.handle().reads().hash_seed());
    let order = |a: &(i64, i64), b: &(i64, i64)| (hash(a.0), -a.1).cmp(&(hash(b.0), -b.1));
    assert!(found.is_sorted_by(|a, b| order(a, b).is_lt()));
    found.sort_unstable();
    let mut expected: Vec<_> = (0..3_000).map(|n| (n % 500, n / 500)).collect();
    expected.sort_unstable();
    assert_eq!(found, expected);
    let merges: u64 =
        store.handle().stats().shards.iter().map(|shard| shard.tiers.movement.merges).sum();
    assert!(merges > 0, "no table was replaced");
}

#[test]
fn a_scan_is_of_one_key_of_some_times_of_some_features_and_of_deletions_as_asked() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), TierPolicy::default());
    put(&store, &(0..200).map(|n| row(n % 20, n / 20)).collect::<Vec<_>>());
    store.delete(VIEW, &[vec![KeyValue::Int(7)]], 5).unwrap();
    let scan = |options: &scan::ScanOptions| ids_and_times(store.scan(VIEW, &[], options).unwrap());
    let one =
        scan::ScanOptions { key: Some(vec![KeyValue::Int(7)]), ..scan::ScanOptions::default() };
    let times = |found: Vec<(i64, i64)>| {
        assert!(found.iter().all(|row| row.0 == 7));
        found.into_iter().map(|row| row.1).collect::<Vec<_>>()
    };
    assert_eq!(times(scan(&one)), [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
    let one = scan::ScanOptions { from_us: 3, to_us: 6, tombstones: true, ..one };
    // The deletion came after the row of its time.
    assert_eq!(times(scan(&one)), [6, 5, 5, 4, 3]);
    let rows: Vec<_> = store.scan(VIEW, &["n"], &one).unwrap().map(Result::unwrap).collect();
    assert_eq!((&rows[1].values, rows[1].created_time), (&None, NO_TIME));
    assert_eq!(rows[2].values, Some(vec![Value::Int64(35)]));
    let half = |hashes| scan(&scan::ScanOptions { hashes, ..scan::ScanOptions::default() }).len();
    assert_eq!(half(0..=u64::MAX / 2) + half(u64::MAX / 2 + 1..=u64::MAX), 200);
    assert!(half(0..=u64::MAX / 2) > 0);
    let wrong = scan::ScanOptions { key: Some(Vec::new()), ..one };
    assert!(matches!(store.scan(VIEW, &[], &wrong), Err(Error::Invalid(_))));
    assert!(matches!(
        store.scan(VIEW, &["m"], &scan::ScanOptions::default()),
        Err(Error::Invalid(_))
    ));
    assert!(matches!(store.scan("readings2", &[], &wrong), Err(Error::NotFound(_))));
}

#[test]
fn pages_of_different_snapshots_lose_and_double_no_row_that_was_there_throughout() {
    for (history, seed) in [(History::Full, 1), (History::Latest, 2)] {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path(), TierPolicy { history, ..TierPolicy::default() });
        put(&store, &(0..400).map(|n| row(n % 100, n / 100)).collect::<Vec<_>>());
        let view = store.handle().catalogue().resolve(VIEW).unwrap().id;
        let mut rng = Rng::new(seed);
        let (mut found, mut after) = (Vec::new(), None::<Position>);
        loop {
            let snapshot = store.snapshot().unwrap();
            let options = scan::ScanOptions::default();
            let mut cursor = Cursor::open(&snapshot, view, &options, after.as_ref()).unwrap();
            if cursor.row().is_none() {
                break;
            }
            for _ in 0..1 + rng.below(30) {
                let Some(version) = cursor.row() else { break };
                let id = i64::from_le_bytes(version.key.try_into().unwrap());
                found.push((id, version.order()));
                after = Some(Position { key: version.key.to_vec(), order: version.order() });
                cursor.advance().unwrap();
            }
            // Entities with even numbers get newer versions between the pages.
            let more = (0..20).map(|_| row(2 * rng.below(50) as i64, 4 + rng.below(5) as i64));
            put(&store, &more.collect::<Vec<_>>());
        }
        let mut kept = found.clone();
        kept.sort_unstable();
        kept.dedup();
        assert_eq!(kept.len(), found.len(), "a row came twice");
        match history {
            History::Full => {
                kept.retain(|row| row.1.0 < 4);
                assert_eq!(kept.len(), 400);
            }
            History::Latest => {
                let mut ids: Vec<_> = found.iter().map(|row| row.0).collect();
                ids.sort_unstable();
                assert_eq!(ids, (0..100).collect::<Vec<_>>());
            }
        }
    }
}

#[test]
fn many_snapshots_make_no_tables_of_few_rows_and_more_than_a_few_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.apply(&[view(TierPolicy::default())]).unwrap();
    for n in 0..100 {
        put(&store, &[row(n, 1)]);
        let rows = store.scan(VIEW, &[], &scan::ScanOptions::default()).unwrap();
        assert_eq!(ids_and_times(rows).len() as i64, n + 1);
    }
    assert_eq!(std::fs::read_dir(dir.path().join("warm")).unwrap().count(), 0);
    let held: Vec<_> = (0..SNAPSHOTS_MAX).map(|_| store.snapshot().unwrap()).collect();
    assert!(matches!(store.snapshot(), Err(Error::Overloaded(..))));
    drop(held);
    store.snapshot().unwrap();
}

#[test]
fn what_snapshots_hold_of_the_disk_is_told_and_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), TierPolicy::default());
    put(&store, &(0..2_000).map(|n| row(n, 1)).collect::<Vec<_>>());
    let snapshot = store.snapshot().unwrap();
    let held_bytes = || {
        let stats = store.handle().stats();
        stats.shards.iter().map(|shard| shard.tiers.held_bytes).sum::<u64>()
    };
    let mut time = 2;
    while held_bytes() == 0 {
        put(&store, &(0..2_000).map(|n| row(n, time)).collect::<Vec<_>>());
        time += 1;
        assert!(time < 200, "no table of the snapshot was replaced");
    }
    let rows = scan::Scan::open(&snapshot, VIEW, &[], &scan::ScanOptions::default()).unwrap();
    assert_eq!(ids_and_times(rows).len(), 2_000);
    drop(snapshot);
    // Figures are told a little later; what a merge at work holds goes with it.
    while held_bytes() > 0 {
        std::thread::yield_now();
    }
}

#[test]
fn a_damaged_table_ends_a_scan_with_its_name_and_place() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), TierPolicy::default());
    put(&store, &(0..3_000).map(|n| row(n, 1)).collect::<Vec<_>>());
    store.close().unwrap();
    // The first block of every table: which of them are named any more the store alone knows.
    for file in std::fs::read_dir(dir.path().join("warm")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|end| end == "tbl") {
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[4096 + 100] ^= 4;
            std::fs::write(&path, bytes).unwrap();
        }
    }
    // Not read into the hot table: nobody else meets it first.
    let options = Options { preload_bytes: 0, cores: 2, ..Options::default() };
    let store = Store::open_with(dir.path(), options).unwrap();
    let error = match store.scan(VIEW, &[], &scan::ScanOptions::default()) {
        Ok(mut scan) => scan.find_map(Result::err).unwrap(),
        Err(error) => error,
    };
    let Error::Corrupt { file, offset, .. } = &error else { panic!("{error}") };
    assert!(file.ends_with(".tbl") && *offset == 4096, "{error}");
}
