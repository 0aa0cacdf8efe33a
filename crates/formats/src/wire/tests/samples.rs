//! One frame of every kind and form, built from fixed values.

use super::*;
use crate::NO_TIME;
use crate::types::{KeyType, Scalar, ValueType};

const MAX: u32 = DEFAULT_MAX_FRAME_BYTES;

/// (golden file, name, frame).
pub type Sample = (&'static str, &'static str, Vec<u8>);

pub fn all() -> Vec<Sample> {
    let mut samples = hello();
    samples.extend(prepare());
    samples.extend(read());
    samples.extend([("reply", "columns", columns()), ("reply", "columns-empty", columns_empty())]);
    samples.push(("reply", "matrix", matrix()));
    samples.extend(write());
    samples.extend(scan());
    samples.extend(history());
    samples.extend(control());
    samples
}

fn made(build: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    build(&mut out);
    out
}

fn hello() -> Vec<Sample> {
    let request = HelloRequest {
        version_min: 1,
        version_max: 3,
        max_frame_bytes: 1 << 20,
        credentials: b"\x00secret",
        client_name: "golden",
    };
    let reply = HelloReply {
        version: 1,
        partitions: 64,
        limits: Limits::default(),
        store_id: *b"0123456789abcdef",
        hash_seed: 0x0123_4567_89AB_CDEF,
        epoch: 7,
        server_time_us: 1_700_000_000_000_000,
        server_name: "thermae",
    };
    vec![
        ("hello", "hello", made(|out| request.encode(out, 1).unwrap())),
        ("hello", "hello-reply", made(|out| reply.encode(out, 1).unwrap())),
    ]
}

fn prepare() -> Vec<Sample> {
    let request = PrepareRequest {
        views: vec![
            ViewFeatures {
                project: "nyc",
                view: "weather",
                version: 0,
                features: vec!["temp", "wind"],
            },
            ViewFeatures { project: "nyc", view: "flights", version: 2, features: vec![] },
        ],
    };
    let column = |name: &str, value_type| PlanColumn { name: name.to_owned(), value_type };
    let reply = PlanReply {
        plan_id: 9,
        views: vec![
            PlanView {
                view_id: 1,
                schema_id: 4,
                version: 1,
                ttl_us: 86_400_000_000,
                join_keys: vec![
                    PlanKey { name: "origin".to_owned(), key_type: KeyType::String },
                    PlanKey { name: "hour".to_owned(), key_type: KeyType::Int64 },
                ],
                columns: vec![
                    column("temp", ValueType::Scalar(Scalar::Float32)),
                    column("tags", ValueType::List(Scalar::String)),
                    column("embedding", ValueType::Vector { dimension: 3 }),
                    column("map", ValueType::Opaque { logical: "map".to_owned() }),
                ],
            },
            PlanView {
                view_id: 2,
                schema_id: 5,
                version: 2,
                ttl_us: 0,
                join_keys: vec![],
                columns: vec![],
            },
        ],
    };
    vec![
        ("prepare", "prepare", made(|out| request.encode(out, 2, MAX).unwrap())),
        ("prepare", "plan", made(|out| reply.encode(out, 2, MAX).unwrap())),
    ]
}

fn read() -> Vec<Sample> {
    let head = ReadHead {
        plan_id: 9,
        flags: ReadFlags { matrix: true, event_times: true },
        read_time: 1_700_000_000_000_001,
        deadline_us: 2_500,
    };
    let tokens =
        [Token { partition: 3, sequence: 77 }, Token { partition: 63, sequence: (1 << 48) - 1 }];
    let keys = [
        PackedKeys {
            count: 2,
            bytes: b"\x03\x00JFK\x07\0\0\0\0\0\0\0\x00\x00\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
        },
        PackedKeys { count: 1, bytes: b"" },
    ];
    let plain =
        ReadHead { flags: ReadFlags::default(), read_time: NO_TIME, deadline_us: 0, plan_id: 0 };
    vec![
        (
            "read",
            "read",
            made(|out| encode_read(out, 3, &head, &tokens, keys.into_iter(), MAX).unwrap()),
        ),
        (
            "read",
            "read-plain",
            made(|out| {
                encode_read(out, u64::MAX, &plain, &[], keys[..1].iter().copied(), MAX).unwrap();
            }),
        ),
        ("read", "compute", made(|out| compute().encode(out, 12, MAX).unwrap())),
    ]
}

/// A join key and what is computed from, the second value of which is null.
fn compute() -> ComputeRequest<'static> {
    let column = |name, scalar| ComputeColumn { name, value_type: ValueType::Scalar(scalar) };
    ComputeRequest {
        event_times: true,
        deadline_us: 2_500,
        read_time: NO_TIME,
        registry_version: 5,
        ask: r#"{"features":["drive:minutes"]}"#,
        columns: vec![column("origin", Scalar::String), column("km", Scalar::Float32)],
        rows: vec![
            ComputeRow { dense: true, value: b"\x03\0\0\0\0\0\xC0\x3FJFK" },
            ComputeRow { dense: false, value: b"\x02\x01\0\0\0\0\0\0\0L" },
        ],
    }
}

/// Two views; fixed, variable, vector columns; every status; rows out of order.
pub fn columns() -> Vec<u8> {
    let shapes = [4, 0, 8, 12, 1, 0].map(|width_bytes| ColumnShape { width_bytes });
    let views =
        [ViewShape { rows: 4, columns: &shapes }, ViewShape { rows: 1, columns: &shapes[..1] }];
    let flags = ReadFlags { matrix: false, event_times: true };
    let mut builder = ReplyBuilder::new();
    builder.begin(Vec::new(), 3, flags, 1_700_000_000_000_001, MAX, views.into_iter()).unwrap();
    for row in [2_usize, 0] {
        builder.set_status(0, row, RowStatus::Present);
        builder.set_event_time(0, row, 1_600_000_000_000_000 + row as i64);
        builder.set_fixed(0, 0, row, &(row as f32 + 0.5).to_le_bytes());
        builder.set_variable(0, 1, row, format!("row {row}").as_bytes()).unwrap();
        builder.set_fixed(0, 3, row, &[row as u8 + 1; 12]);
        builder.set_fixed(0, 4, row, &[1]);
    }
    builder.set_fixed(0, 2, 2, &i64::MIN.to_le_bytes());
    builder.set_variable(0, 5, 2, b"").unwrap();
    builder.set_status(0, 1, RowStatus::OutsideMaxAge);
    builder.set_event_time(0, 1, -1);
    builder.set_status(0, 3, RowStatus::Error);
    builder.set_status(1, 0, RowStatus::Present);
    builder.finish().unwrap()
}

fn columns_empty() -> Vec<u8> {
    let shapes = [4, 0].map(|width_bytes| ColumnShape { width_bytes });
    let views = [ViewShape { rows: 0, columns: &shapes }];
    let mut builder = ReplyBuilder::new();
    builder.begin(Vec::new(), 4, ReadFlags::default(), 0, MAX, views.into_iter()).unwrap();
    builder.finish().unwrap()
}

fn matrix() -> Vec<u8> {
    let shapes = [4, 4, 8].map(|width_bytes| ColumnShape { width_bytes });
    let views = [ViewShape { rows: 3, columns: &shapes }, ViewShape { rows: 1, columns: &shapes }];
    let flags = ReadFlags { matrix: true, event_times: false };
    let mut builder = ReplyBuilder::new();
    builder.begin(vec![0xAA; 999], 5, flags, 12, MAX, views.into_iter()).unwrap();
    builder.set_status(0, 1, RowStatus::Present);
    builder.with_matrix_row(0, 1, |cells| cells.copy_from_slice(&[-0.0, f32::INFINITY, 1.5]));
    builder.set_status(1, 0, RowStatus::Present);
    builder.with_matrix_row(1, 0, |cells| cells[2] = 3.0);
    builder.finish().unwrap()
}

fn write() -> Vec<Sample> {
    let head = WriteHead {
        view_id: 1,
        schema_id: 4,
        ack: Ack::Durable,
        explicit_sequences: false,
        producer_id: 0xFEED,
        first_sequence: 100,
    };
    let row = WriteRow {
        event_time: 1_600_000_000_000_000,
        created_time: NO_TIME,
        expire_at: NO_TIME,
        producer_sequence: 500,
        key: b"\x03\x00JFK",
        dense: true,
        value: &[0x3F; 16],
    };
    // Four float32, the second and the fourth null.
    let sparse = [&[0b1010][..], &[0x3F; 4], &[0; 4], &[0x40; 4], &[0; 4]].concat();
    let expiring = WriteRow { expire_at: 5, created_time: -7, dense: false, value: &sparse, ..row };
    let explicit = WriteHead { explicit_sequences: true, ack: Ack::Logged, ..head };
    let finish = |mut encoder: WriteEncoder<'_>| {
        encoder.push(&row).unwrap();
        encoder.push(&expiring).unwrap();
        encoder.finish(MAX).unwrap();
    };
    // A row of the first and the last feature alone, the last null.
    let part = WriteRow { dense: false, value: &[0b10, 1, 2, 3, 4, 0, 0, 0, 0], ..row };
    let finish_part = |mut encoder: WriteEncoder<'_>| {
        let whole = WriteRow { producer_sequence: 502, dense: true, value: &[7; 8], ..row };
        encoder.push(&part).unwrap();
        encoder.push(&whole).unwrap();
        encoder.finish(MAX).unwrap();
    };
    let mut samples = vec![
        ("write", "put", made(|out| finish(WriteEncoder::put(out, 6, &head)))),
        (
            "write",
            "put-partial",
            made(|out| finish_part(WriteEncoder::put_partial(out, 7, &explicit, &[0, 3]).unwrap())),
        ),
        ("write", "delete", made(|out| finish(WriteEncoder::delete(out, 8, &head)))),
        ("write", "erase", made(|out| finish(WriteEncoder::erase(out, 9, &head)))),
        ("write", "erase-status", made(|out| erase_status().encode(out, 10, MAX).unwrap())),
    ];
    samples.extend(written());
    samples
}

fn written() -> Vec<Sample> {
    let ok =
        |sequence| RowOutcome::Ok { token: Token { partition: 5, sequence }, duplicate: false };
    let mixed = [
        ok(9),
        RowOutcome::Ok { token: Token { partition: 6, sequence: 8 }, duplicate: true },
        RowOutcome::InDoubt,
        RowOutcome::NotApplied(NotApplied::Late),
        RowOutcome::Overloaded { retry_after_ms: 250 },
    ];
    let checked =
        [RowOutcome::FailsCheck { check: 3 }, ok(9), RowOutcome::Quarantined { check: 7 }];
    vec![
        (
            "write",
            "written",
            made(|out| {
                encode_write_reply(out, 6, Ack::Durable, &[ok(1), ok(2)], "", MAX).unwrap();
            }),
        ),
        (
            "write",
            "written-mixed",
            made(|out| encode_write_reply(out, 7, Ack::Logged, &mixed, "late", MAX).unwrap()),
        ),
        (
            "write",
            "written-checked",
            made(|out| encode_write_reply(out, 8, Ack::Durable, &checked, "age", MAX).unwrap()),
        ),
    ]
}

fn erase_status() -> EraseStatusRequest<'static> {
    let token = |partition, sequence| Token { partition, sequence };
    let (tokens, keys) = (vec![token(5, 9), token(4095, 1 << 40)], vec![&b"\x03\x00JFK"[..]]);
    EraseStatusRequest { view_id: 3, tokens, keys }
}

fn scan() -> Vec<Sample> {
    let place = ScanPlace { order: (1_600_000_000_000_000, NO_TIME, 77), key: b"\x03\x00JFK" };
    let place = place.to_bytes();
    let all = ScanRequest {
        plan_id: 9,
        tombstones: false,
        page_bytes: 1 << 20,
        event_times: i64::MIN..=i64::MAX,
        hashes: 0..=u64::MAX,
        key: None,
        place: &[],
    };
    let one = ScanRequest {
        tombstones: true,
        event_times: -5..=1_700_000_000_000_000,
        hashes: 3..=u64::MAX - 1,
        key: Some(b"\x03\x00JFK"),
        place: &place,
        ..all.clone()
    };
    let row = ScanRow {
        event_time: 1_600_000_000_000_001,
        created_time: -7,
        expire_at: 5,
        sequence: 78,
        tombstone: false,
        key: b"\x03\x00JFK",
        dense: true,
        value: &[0x3F; 16],
    };
    let sparse = [&[0b1010][..], &[0x3F; 4], &[0; 4], &[0x40; 4], &[0; 4]].concat();
    let page = |place: Option<&[u8]>| {
        let mut encoder = ScanEncoder::default();
        encoder.push(&row).unwrap();
        let deleted = ScanRow { tombstone: true, expire_at: NO_TIME, sequence: 12, ..row };
        encoder.push(&deleted).unwrap();
        let created_time = NO_TIME;
        encoder.push(&ScanRow { dense: false, value: &sparse, created_time, ..row }).unwrap();
        made(|out| encoder.finish(out, 15, place, MAX).unwrap())
    };
    let none = made(|out| ScanEncoder::default().finish(out, 14, None, MAX).unwrap());
    vec![
        ("scan", "scan", made(|out| all.encode(out, 14, MAX).unwrap())),
        ("scan", "scan-one", made(|out| one.encode(out, 15, MAX).unwrap())),
        ("scan", "scanned", page(Some(&place))),
        ("scan", "scanned-last", page(None)),
        ("scan", "scanned-empty", none),
    ]
}

fn history() -> Vec<Sample> {
    let weather = HistoryJoin { view: "nyc/weather", ..HistoryJoin::default() };
    let (time_column, joins) = ("time_hour", vec![weather]);
    let one = HistoryRequest { time_column, joins, ..HistoryRequest::default() };
    let at_dest = HistoryJoin {
        view: "weather@2",
        alias: "dest",
        features: vec!["temp", "visib"],
        columns: vec![("origin", "dest")],
    };
    let mut two = HistoryRequest { as_of_known: true, full_names: true, ..one.clone() };
    (two.threads, two.budget_bytes) = (3, 1 << 30);
    two.joins.push(at_dest);
    let put = |last, bytes| made(|out| HistoryPut { last, bytes }.encode(out, 17, MAX).unwrap());
    let steps = HistorySteps { rows: 9, read: 9, to_join: 18, joined: 7, answered: 0 };
    let tally = HistoryTally { present: 5, outside_max_age: 3 };
    let busy = HistoryReply { steps, ..HistoryReply::default() };
    let steps = HistorySteps { joined: 18, answered: 9, ..steps };
    let tallies = vec![tally, HistoryTally::default()];
    let done = HistoryReply { over: true, steps, tallies, bytes: &[0xFF, 0, 7] };
    vec![
        ("history", "history", made(|out| one.encode(out, 16, MAX).unwrap())),
        ("history", "history-two", made(|out| two.encode(out, 16, MAX).unwrap())),
        ("history", "history-put", put(false, &[1, 2, 3])),
        ("history", "history-put-last", put(true, &[])),
        ("history", "history-next", made(|out| encode_history_step(out, Kind::HistoryNext, 18))),
        ("history", "history-end", made(|out| encode_history_step(out, Kind::HistoryEnd, 19))),
        ("history", "history-reply", made(|out| busy.encode(out, 18, MAX).unwrap())),
        ("history", "history-reply-last", made(|out| done.encode(out, 18, MAX).unwrap())),
    ]
}

fn control() -> Vec<Sample> {
    let map = MapReply {
        epoch: 7,
        shards: vec![
            MapShard { shard: 0, map_bytes: 2 << 20 },
            MapShard { shard: 1, map_bytes: 4 << 20 },
        ],
        partition_map: vec![0, 1, 0, 1],
    };
    let json = |kind, text| made(|out| encode_json(out, kind, 10, text, MAX).unwrap());
    vec![
        ("control", "describe", json(Kind::Describe, "{\"project\":\"nyc\"}")),
        ("control", "apply", json(Kind::Apply, "{\"views\":[]}")),
        ("control", "stats", json(Kind::Stats, "{}")),
        ("control", "backup", json(Kind::Backup, r#"{"place":"daily","keep":7}"#)),
        ("control", "json", json(Kind::Json, "{\"views\":[]}")),
        ("control", "map", made(|out| MapRequest { project: "nyc" }.encode(out, 11, MAX).unwrap())),
        ("control", "mapped", made(|out| map.encode(out, 11, MAX).unwrap())),
        ("control", "ping", made(|out| encode_ping(out, 12))),
        ("control", "pong", made(|out| encode_pong(out, 12, -1))),
        (
            "control",
            "error",
            made(|out| ErrorReply::encode(out, 13, ErrorCode::Overloaded, 250, "later, pläse")),
        ),
    ]
}
