//! Mapped reads against a real hot table, whose owner dies, restarts and changes its mind.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tempfile::TempDir;
use thermae_formats::hash::{entity_hash, row_hash};
use thermae_formats::wire::{Kind, MapReply, MapShard, RowStatus, encode_json};
use thermae_formats::{
    Feature, FeatureView, JoinKey, KeyType, NO_TIME, RowLayout, Scalar, Value, ValueType, ViewId,
};
use thermae_hot::{HotConfig, HotWriter, NewRow};

use super::fake::{Conn, Fake, answer, keys, whole};
use crate::{Client, Config, Error, Mapped, MappedAnswer, MappedPlan, Plan, ReadOptions, Token};

const SEED: u64 = 99;
const STORE: [u8; 16] = [1; 16];
const MAX: u32 = 1 << 20;

/// What the server has: a table and its definitions.
struct World {
    table: HotWriter,
    definition: FeatureView,
    generation: u64,
    epoch: u64,
}

fn now_us() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros() as i64
}

fn table(epoch: u64) -> HotWriter {
    let store_id = u128::from_le_bytes(STORE);
    let (bytes, hash_seed) = (1 << 20, SEED);
    let config = HotConfig { bytes, hash_seed, store_id, epoch, shard: 0, shards: 1, domain: 0 };
    let table = HotWriter::create(&config).unwrap();
    table.heartbeat(now_us());
    table.set_generation(1);
    table
}

fn definition() -> FeatureView {
    let features = vec![
        Feature::new("a", ValueType::Scalar(Scalar::Float32)),
        Feature::new("b", ValueType::Scalar(Scalar::String)),
    ];
    FeatureView::new("p", "v", vec![JoinKey::new("id", KeyType::Int64)], features)
}

impl World {
    fn put(&mut self, key: i64, schema_id: u16, event_time: i64, flags: u8, a: f32) {
        let layout = RowLayout::new(&self.definition.features).unwrap();
        let (bytes, mut value) = (key.to_le_bytes(), Vec::new());
        let values = [Value::Float32(a), Value::String(format!("mapped {key}"))];
        assert!(layout.encode(&values, &mut value).unwrap());
        let row = NewRow {
            schema_id,
            flags: flags | thermae_formats::hot_layout::FLAG_DENSE,
            sequence: 1,
            event_time,
            created_time: NO_TIME,
            expire_at: NO_TIME,
            key: &bytes,
            value: &value,
        };
        let hash = row_hash(entity_hash(&bytes, SEED), ViewId(7));
        let reservation = self.table.reserve(row.body_bytes()).unwrap();
        self.table.upsert(reservation, hash, &[schema_id], &row).unwrap();
    }

    fn describe(&self) -> String {
        let definition = String::from_utf8(self.definition.to_json().unwrap()).unwrap();
        let schema = format!(r#"{{"schema_id": 3, "definition": {definition}}}"#);
        format!(
            r#"{{"generation": {}, "views": [{{"view_id": 7, "schema_id": 3,
            "definition": {definition}, "schemas": [{schema}]}}]}}"#,
            self.generation
        )
    }
}

struct Host {
    _folder: TempDir,
    world: Arc<Mutex<World>>,
    reads: Arc<AtomicUsize>,
    fake: Fake,
}

impl Host {
    fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let world = World { table: table(1), definition: definition(), generation: 1, epoch: 1 };
        let world = Arc::new(Mutex::new(world));
        let reads = Arc::new(AtomicUsize::new(0));
        let (served, counted) = (Arc::clone(&world), Arc::clone(&reads));
        let fake = Fake::start_unix(&folder.path().join("socket"), move |conn, _| {
            conn.epoch = served.lock().unwrap().epoch;
            conn.hash_seed = SEED;
            conn.hello();
            while let Some(frame) = conn.next_request() {
                serve_one(conn, &frame, &served.lock().unwrap(), &counted);
            }
        });
        Self { _folder: folder, world, reads, fake }
    }

    fn open(&self) -> (Client, Plan, Mapped, MappedPlan) {
        let (client, plan) = self.fake.client(Config::default());
        let mapped = Mapped::open(&client, "p").unwrap();
        let compiled = mapped.plan(&plan).unwrap();
        (client, plan, mapped, compiled)
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }
}

fn serve_one(conn: &mut Conn, frame: &[u8], world: &World, reads: &AtomicUsize) {
    let id = whole(frame).request_id;
    let mut out = Vec::new();
    match whole(frame).kind().unwrap() {
        Kind::Describe => encode_json(&mut out, Kind::Json, id, &world.describe(), MAX).unwrap(),
        Kind::Map => {
            let map_bytes = world.table.header().map_bytes;
            let shards = vec![MapShard { shard: 0, map_bytes }];
            let epoch = world.epoch;
            let reply = MapReply { epoch, shards, partition_map: vec![0; 64] };
            reply.encode(&mut out, id, MAX).unwrap();
            let descriptor = world.table.descriptor().unwrap();
            let descriptors = [descriptor.as_fd()];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
            let unix = conn.unix.as_ref().unwrap();
            sendmsg(unix, &[IoSlice::new(&out)], &mut control, SendFlags::empty()).unwrap();
            return;
        }
        _ => {
            reads.fetch_add(1, Ordering::SeqCst);
            out = answer(frame);
        }
    }
    conn.send(&out);
}

fn read(
    mapped: &mut Mapped,
    plan: &mut MappedPlan,
    wanted: &[i64],
    options: &ReadOptions,
) -> MappedAnswer {
    let mut out = MappedAnswer::new();
    let list = keys(plan.plan(), wanted);
    mapped.get_many(plan, 0, &list, options, &mut out).unwrap();
    out
}

fn floats(answer: &MappedAnswer) -> Vec<f32> {
    answer.view().unwrap().column(0).unwrap().as_f32().unwrap().to_vec()
}

#[test]
fn hits_ask_nobody_and_misses_ask_the_socket() {
    let host = Host::start();
    let now = now_us();
    for key in 0..200 {
        host.world.lock().unwrap().put(key, 3, now - key, 0, 1000.5 + key as f32);
    }
    let (_, _, mut mapped, mut plan) = host.open();
    let options = ReadOptions { event_times: true, ..ReadOptions::default() };
    let wanted: Vec<i64> = (0..200).rev().collect();
    let answer = read(&mut mapped, &mut plan, &wanted, &options);
    assert_eq!(host.reads(), 0, "a hit asks nobody");
    let view = answer.view().unwrap();
    let expected: Vec<f32> = wanted.iter().map(|key| 1000.5 + *key as f32).collect();
    assert_eq!(floats(&answer), expected);
    assert_eq!(view.column(1).unwrap().value(199), Some(&b"mapped 0"[..]));
    assert_eq!(view.event_times().unwrap()[0], now - 199);
    assert_eq!(view.column(0).unwrap().values().as_ptr() as usize % 64, 0);

    // 500 and 501 are the socket's, which knows key k as k; -1 is nobody's.
    let answer = read(&mut mapped, &mut plan, &[500, 7, -1, 7, 501], &options);
    assert_eq!(floats(&answer), [500.0, 1007.5, 0.0, 1007.5, 501.0]);
    let view = answer.view().unwrap();
    assert_eq!(view.column(1).unwrap().value(0), Some(&b"k500"[..]));
    assert_eq!((view.status(2), view.status(4)), (RowStatus::NotFound, RowStatus::Present));
    assert_eq!(view.event_times().unwrap()[4], 5010);
    assert_eq!(host.reads(), 1, "one request for all that is missing");
    let stats = mapped.stats();
    assert_eq!((stats.hits, stats.misses, stats.remaps), (202, 3, 0));
}

#[test]
fn rows_are_judged_as_the_server_judges_them() {
    let host = Host::start();
    let now = now_us();
    {
        let mut world = host.world.lock().unwrap();
        world.definition.ttl_us = 100;
        world.put(1, 3, now, 0, 1.5);
        world.put(2, 3, now - 101, 0, 2.5);
        world.put(3, 3, now, thermae_formats::hot_layout::FLAG_TOMBSTONE, 3.5);
    }
    let (_, _, mut mapped, mut plan) = host.open();
    let options = ReadOptions { event_times: true, read_time: now, ..ReadOptions::default() };
    let answer = read(&mut mapped, &mut plan, &[1, 2, 3], &options);
    let view = answer.view().unwrap();
    let statuses: Vec<RowStatus> = (0..3).map(|row| view.status(row)).collect();
    let due = [RowStatus::Present, RowStatus::OutsideMaxAge, RowStatus::NotFound];
    assert_eq!(statuses, due);
    assert_eq!(view.event_times().unwrap(), [now, now - 101, 0]);
    assert_eq!(view.column(0).unwrap().value(1), None);
    assert_eq!(host.reads(), 0);
}

#[test]
fn a_changed_policy_acts_at_once() {
    let host = Host::start();
    let now = now_us();
    host.world.lock().unwrap().put(1, 3, now - 50, 0, 1.5);
    let (_, _, mut mapped, mut plan) = host.open();
    let options = ReadOptions { read_time: now, ..ReadOptions::default() };
    let status = |answer: &MappedAnswer| answer.view().unwrap().status(0);
    assert_eq!(status(&read(&mut mapped, &mut plan, &[1], &options)), RowStatus::Present);
    {
        let mut world = host.world.lock().unwrap();
        world.definition.ttl_us = 10;
        world.generation = 2;
        world.table.set_generation(2);
    }
    assert_eq!(status(&read(&mut mapped, &mut plan, &[1], &options)), RowStatus::OutsideMaxAge);
    assert_eq!(host.reads(), 0);
}

#[test]
fn a_row_of_a_schema_not_known_yet_is_asked_for() {
    let host = Host::start();
    host.world.lock().unwrap().put(1, 4, now_us(), 0, 1000.5);
    let (_, _, mut mapped, mut plan) = host.open();
    let answer = read(&mut mapped, &mut plan, &[1], &ReadOptions::default());
    assert_eq!(floats(&answer), [1.0], "the socket's answer");
}

#[test]
fn a_dead_server_is_never_read_from() {
    let host = Host::start();
    host.world.lock().unwrap().put(1, 3, now_us(), 0, 1000.5);
    let (_, _, mut mapped, mut plan) = host.open();
    host.world.lock().unwrap().table.heartbeat(now_us() - 1_500_000);
    let answer = read(&mut mapped, &mut plan, &[1], &ReadOptions::default());
    assert_eq!(floats(&answer), [1.0], "the socket's answer");
    assert_eq!(mapped.stats().misses, 1);
}

#[test]
fn after_a_restart_the_new_tables_are_mapped() {
    let host = Host::start();
    host.world.lock().unwrap().put(1, 3, now_us(), 0, 1000.5);
    let (_, _, mut mapped, mut plan) = host.open();
    {
        let mut world = host.world.lock().unwrap();
        // The old table is dropped here, which retires it; the old map itself stays readable.
        world.table = table(2);
        world.epoch = 2;
        world.put(1, 3, now_us(), 0, 2000.5);
    }
    let answer = read(&mut mapped, &mut plan, &[1], &ReadOptions::default());
    assert_eq!(floats(&answer), [2000.5]);
    assert_eq!((host.reads(), mapped.stats().remaps), (0, 1));
}

#[test]
fn a_matrix_comes_from_the_map_when_all_columns_are_numbers() {
    let host = Host::start();
    host.world.lock().unwrap().put(1, 3, now_us(), 0, 1000.5);
    let (_, _, mut mapped, mut plan) = host.open();
    let options = ReadOptions { matrix: true, ..ReadOptions::default() };
    let list = keys(plan.plan(), &[1]);
    let refused = mapped.get_many(&mut plan, 0, &list, &options, &mut MappedAnswer::new());
    assert!(matches!(refused, Err(Error::Usage(_))), "b is a string");
}

#[test]
fn writes_to_be_seen_are_asked_of_the_server() {
    let host = Host::start();
    host.world.lock().unwrap().put(1, 3, now_us(), 0, 1000.5);
    let (_, _, mut mapped, mut plan) = host.open();
    let min_offset = vec![Token { partition: 0, sequence: 5 }];
    let options = ReadOptions { min_offset, ..ReadOptions::default() };
    assert_eq!(floats(&read(&mut mapped, &mut plan, &[1], &options)), [1.0]);
}

#[test]
fn only_a_unix_socket_hands_tables_over() {
    let fake = Fake::start(|conn, _| {
        conn.hello();
        conn.serve();
    });
    let (client, _) = fake.client(Config::default());
    assert!(matches!(Mapped::open(&client, "p"), Err(Error::Mapped(_))));
}
