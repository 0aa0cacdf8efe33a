//! Valid encodings to start from, for each target: what `cargo xtask fuzz-seeds` writes to `corpus/`.

mod histories;
mod scans;
mod storage;

#[cfg(feature = "definitions")]
use crate::definitions;
use crate::{log, rows, table_seeds};
use thermae_formats::backup::BackupName;
use thermae_formats::batch::{BATCH_ALIGN, BatchBuilder, FINAL, Record, RecordKind, Seal};
use thermae_formats::hot_layout::header::{Geometry, MapInfo, encode_header};
use thermae_formats::wire::{
    Ack, ColumnShape, ComputeColumn, ComputeRequest, ComputeRow, EraseStatusRequest, ErrorCode,
    ErrorReply, HEADER_BYTES, HelloReply, HelloRequest, Kind, Limits, MapReply, MapRequest,
    MapShard, NotApplied, PackedKeys, PlanColumn, PlanKey, PlanReply, PlanView, PrepareRequest,
    ReadFlags, ReadHead, ReplyBuilder, RowOutcome, RowStatus, Token, ViewFeatures, ViewShape,
    WireError, WriteEncoder, WriteHead, WriteRow, encode_json, encode_ping, encode_pong,
    encode_read, encode_write_reply,
};
use thermae_formats::{
    CatalogueEntry, Feature, FeatureView, JoinKey, KeyType, KeyValue, NO_TIME, RowLayout, Scalar,
    SchemaId, Value, ValueType, ViewId, encode_key,
};

/// One seed: target, name, bytes.
pub type Seed = (&'static str, String, Vec<u8>);

const MAX_BYTES: u32 = 1 << 20;
const TIME: i64 = 1_357_016_400_000_000;

/// Every seed of every target.
pub fn all() -> Vec<Seed> {
    let mut seeds = Vec::new();
    #[cfg(feature = "definitions")]
    seeds
        .extend(definitions::seeds().map(|(name, file)| ("definitions", name.into(), file.into())));
    schema_json(&mut seeds);
    value_text(&mut seeds);
    keys(&mut seeds);
    row_values(&mut seeds);
    log_batches(&mut seeds);
    hot_layouts(&mut seeds);
    log_files(&mut seeds);
    seeds.extend(table_seeds::tables().into_iter().map(|(name, bytes)| ("table", name, bytes)));
    let frames = [
        handshakes(),
        plans(),
        small_frames(),
        reads(),
        replies(),
        writes(),
        scans::scans(),
        histories::histories(),
    ];
    let frames = frames.concat();
    frame_seeds(&frames, &mut seeds);
    seeds
}

fn view() -> FeatureView {
    let features = vec![
        Feature::new("temp", ValueType::Scalar(Scalar::Float32)),
        Feature::new("seen", ValueType::Scalar(Scalar::Int64)).with_default(Value::Int64(-1)),
        Feature::new("near", ValueType::List(Scalar::String)),
        Feature::new("embedding", ValueType::Vector { dimension: 4 }),
    ];
    let join_keys =
        vec![JoinKey::new("origin", KeyType::String), JoinKey::new("gate", KeyType::Int32)];
    let mut view = FeatureView::new("flights", "weather", join_keys, features);
    view.ttl_us = 86_400_000_000;
    view
}

fn schema_json(seeds: &mut Vec<Seed>) {
    let entry = CatalogueEntry { schema_id: SchemaId(3), view_id: ViewId(1), view: view() };
    seeds.push(("schema_json", "view".into(), view().to_json().unwrap_or_default()));
    seeds.push(("schema_json", "entry".into(), entry.to_json().unwrap_or_default()));
    let bare = FeatureView::new(
        "p",
        "v",
        Vec::new(),
        vec![Feature::new("f", ValueType::Scalar(Scalar::Bool))],
    );
    seeds.push(("schema_json", "entityless".into(), bare.to_json().unwrap_or_default()));
}

fn value_text(seeds: &mut Vec<Seed>) {
    let lines = [
        ("bool", "true"),
        ("int32", "-2147483648"),
        ("int64", "9223372036854775807"),
        ("float32", "NaN(0x7fc00001)"),
        ("float64", "-0.0"),
        ("string", "JFK \u{e9}\0"),
        ("bytes", "0x00ff"),
        ("timestamp", "2013-01-01T05:00:00.000001Z"),
        ("uuid", "67e55044-10b1-426f-9247-bb680e5fe0c8"),
        ("json", "{\"a\":[1,null]}"),
        ("list<string>", "[\"a\",\"\"]"),
        ("list<float64>", "[1e300,\"inf\"]"),
        ("vector<float32, 3>", "[1,2.5,\"nan\"]"),
        ("opaque<map>", "0x0102"),
    ];
    for (index, (name, text)) in lines.iter().enumerate() {
        seeds.push(("value_text", format!("{index:02}"), format!("{name}\n{text}").into_bytes()));
    }
}

fn keys(seeds: &mut Vec<Seed>) {
    let values = [
        KeyValue::Int(-7),
        KeyValue::Int(i64::MAX),
        KeyValue::String("JFK".into()),
        KeyValue::Bytes(vec![0, 255, 0]),
        KeyValue::Uuid([9; 16]),
    ];
    for (second, value) in values.iter().enumerate() {
        let join_keys =
            [JoinKey::new("a", KeyType::String), JoinKey::new("b", KeyType::ALL[second])];
        let string = KeyType::ALL.iter().position(|kind| *kind == KeyType::String).unwrap_or(0);
        let mut bytes = vec![(string | second << 4) as u8];
        if encode_key(&join_keys, &[KeyValue::String("é".into()), value.clone()], &mut bytes)
            .is_ok()
        {
            seeds.push(("key", KeyType::ALL[second].name().into(), bytes));
        }
    }
}

/// A value of each type, with awkward bits.
fn sample(value_type: &ValueType) -> Value {
    match value_type {
        ValueType::List(scalar) => {
            let one = sample(&ValueType::Scalar(*scalar));
            Value::List(vec![one.clone(), one])
        }
        ValueType::Vector { dimension } => Value::Vector(vec![-0.0; *dimension as usize]),
        ValueType::Opaque { .. } => Value::Opaque(vec![1, 2, 3]),
        ValueType::Scalar(scalar) => match scalar {
            Scalar::Bool => Value::Bool(true),
            Scalar::Int32 => Value::Int32(-5),
            Scalar::Int64 => Value::Int64(1 << 60),
            Scalar::Float32 => Value::Float32(f32::from_bits(0x7fc0_0001)),
            Scalar::Float64 => Value::Float64(1e-300),
            Scalar::String => Value::String("a\0é".into()),
            Scalar::Bytes => Value::Bytes(vec![0, 1]),
            Scalar::Timestamp => Value::Timestamp(TIME),
            Scalar::Uuid => Value::Uuid([3; 16]),
            Scalar::Json => Value::Json("{\"a\":1}".into()),
        },
    }
}

fn row_values(seeds: &mut Vec<Seed>) {
    for (index, features) in rows::schemas().iter().enumerate() {
        let Ok(layout) = RowLayout::new(features) else { continue };
        let full: Vec<Value> = features.iter().map(|feature| sample(&feature.value_type)).collect();
        let holed = full.iter().enumerate().map(|(at, value)| match at % 2 {
            0 => Value::Null,
            _ => value.clone(),
        });
        for (name, values) in [("full", full.clone()), ("holed", holed.collect())] {
            let mut bytes = vec![0];
            if let Ok(dense) = layout.encode(&values, &mut bytes) {
                bytes[0] = (index << 1) as u8 | u8::from(dense);
                seeds.push(("projection", format!("{index}-{name}"), bytes.clone()));
                seeds.push(("row", format!("{index}-{name}"), bytes));
            }
        }
    }
}

fn log_batches(seeds: &mut Vec<Seed>) {
    let row = Record {
        kind: RecordKind::Put,
        flags: 2,
        schema_id: SchemaId(3),
        partition: 5,
        sequence: 9,
        event_time: TIME,
        created_time: NO_TIME,
        producer_id: 0,
        producer_sequence: 0,
        expire_at: NO_TIME,
        key: b"\x03\0JFK",
        value: &[1; 40],
    };
    let gone = Record { kind: RecordKind::Tombstone, value: &[], flags: 1, ..row };
    let numbered = Record { producer_id: 4, producer_sequence: 8, expire_at: TIME, ..row };
    let (kind, event_time) = (RecordKind::Erase, NO_TIME);
    let erased = Record { kind, flags: 0, event_time, value: &[], ..row };
    let lists: [&[Record<'_>]; 4] = [&[], &[row], &[row, gone, numbered], &[row, erased]];
    for (index, records) in lists.iter().enumerate() {
        let mut bytes = vec![0; BATCH_ALIGN];
        let mut builder = BatchBuilder::new();
        let all = records.iter().all(|record| builder.push(&mut bytes, record).is_ok());
        let flags = if records.is_empty() { FINAL } else { 0 };
        let seal = Seal {
            segment: &log::SEGMENT,
            offset: log::OFFSET,
            flags,
            number: 3,
            horizon: 2,
            first_record: 10,
            previous: 77,
        };
        if all && builder.seal(&mut bytes, &seal).is_ok() {
            seeds.push(("log_batch", format!("{index}-records"), bytes));
        }
    }
}

fn hot_layouts(seeds: &mut Vec<Seed>) {
    for map_bytes in [1 << 20, 1 << 30] {
        let info = MapInfo {
            map_bytes,
            hash_seed: 11,
            store_id: 7,
            epoch: 2,
            shard: 0,
            shards: 2,
            domain: 0,
        };
        if let Ok(geometry) = Geometry::plan(map_bytes) {
            let words = encode_header(&info, &geometry);
            let bytes = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            seeds.push(("hot_layout", format!("{}-mib", map_bytes >> 20), bytes));
        }
    }
}

fn log_files(seeds: &mut Vec<Seed>) {
    seeds.push(("log_files", "manifest".into(), storage::manifest().to_bytes()));
    seeds.push(("log_files", "manifest-1".into(), storage::MANIFEST_1.to_vec()));
    // The header's fields; the target fills the block up.
    seeds.push(("log_files", "segment".into(), log::SEGMENT.to_bytes()[..64].to_vec()));
    seeds.push(("log_files", "name".into(), log::SEGMENT.name().to_string().into_bytes()));
    for (name, checkpoint) in storage::checkpoints() {
        seeds.push(("checkpoint", name.into(), checkpoint.to_bytes().0));
    }
    let mut backup = storage::backup();
    seeds.push(("backup", "two-files".into(), backup.to_bytes()));
    backup.attachments.insert("registry.redb".to_owned(), b"redb".to_vec());
    seeds.push(("backup", "attached".into(), backup.to_bytes()));
    seeds.push(("backup", "name".into(), BackupName::new(7, TIME).to_string().into_bytes()));
    let names = backup.names().into_iter().map(|name| name.to_string());
    seeds.extend(names.map(|name| ("backup", name.clone(), name.into_bytes())));
}

/// Frames and what they are, encoded whole.
type Frames = Vec<(&'static str, Vec<u8>)>;

fn frame(name: &'static str, write: impl FnOnce(&mut Vec<u8>) -> Result<(), WireError>) -> Frames {
    let mut bytes = Vec::new();
    match write(&mut bytes) {
        Ok(()) => vec![(name, bytes)],
        Err(_) => Vec::new(),
    }
}

fn handshakes() -> Frames {
    let hello = HelloRequest {
        version_min: 1,
        version_max: 2,
        max_frame_bytes: MAX_BYTES,
        credentials: b"",
        client_name: "thermae-client 0.1",
    };
    let reply = HelloReply {
        version: 1,
        partitions: 64,
        limits: Limits::default(),
        store_id: [7; 16],
        hash_seed: 11,
        epoch: 2,
        server_time_us: TIME,
        server_name: "thermae 0.1",
    };
    [frame("hello", |out| hello.encode(out, 1)), frame("hello-reply", |out| reply.encode(out, 1))]
        .concat()
}

fn plans() -> Frames {
    let asked = ViewFeatures {
        project: "flights",
        view: "weather",
        version: 0,
        features: vec!["temp", "seen"],
    };
    let prepare = PrepareRequest { views: vec![asked] };
    let view = PlanView {
        view_id: 1,
        schema_id: 3,
        version: 1,
        ttl_us: 1000,
        join_keys: vec![PlanKey { name: "origin".into(), key_type: KeyType::String }],
        columns: vec![PlanColumn {
            name: "near".into(),
            value_type: ValueType::Vector { dimension: 4 },
        }],
    };
    let plan = PlanReply { plan_id: 5, views: vec![view] };
    [
        frame("prepare", |out| prepare.encode(out, 2, MAX_BYTES)),
        frame("plan", |out| plan.encode(out, 2, MAX_BYTES)),
    ]
    .concat()
}

fn small_frames() -> Frames {
    let map = MapReply {
        epoch: 2,
        shards: vec![MapShard { shard: 0, map_bytes: 1 << 20 }],
        partition_map: vec![0, 0],
    };
    let token = Token { partition: 5, sequence: 9 };
    let outcomes = [
        RowOutcome::Ok { token, duplicate: true },
        RowOutcome::NotApplied(NotApplied::Late),
        RowOutcome::InDoubt,
    ];
    let in_order = [RowOutcome::Ok { token, duplicate: false }];
    let written =
        |out: &mut Vec<u8>| encode_write_reply(out, 4, Ack::Durable, &outcomes, "late", MAX_BYTES);
    let all_ok =
        |out: &mut Vec<u8>| encode_write_reply(out, 4, Ack::Logged, &in_order, "", MAX_BYTES);
    [
        frame("backup", |out| encode_json(out, Kind::Backup, 3, r#"{"place":"daily"}"#, MAX_BYTES)),
        frame("describe", |out| encode_json(out, Kind::Describe, 3, "{}", MAX_BYTES)),
        frame("json", |out| encode_json(out, Kind::Json, 3, "{\"views\":[]}", MAX_BYTES)),
        frame("map", |out| MapRequest { project: "flights" }.encode(out, 3, MAX_BYTES)),
        frame("mapped", |out| map.encode(out, 3, MAX_BYTES)),
        frame("written", written),
        frame("written-ok", all_ok),
        frame("ping", |out| {
            encode_ping(out, 3);
            Ok(())
        }),
        frame("pong", |out| {
            encode_pong(out, 3, TIME);
            Ok(())
        }),
        frame("error", |out| {
            ErrorReply::encode(out, 3, ErrorCode::Denied, 10, "not yours");
            Ok(())
        }),
    ]
    .concat()
}

fn reads() -> Frames {
    let head = ReadHead {
        plan_id: 5,
        flags: ReadFlags { matrix: false, event_times: true },
        read_time: NO_TIME,
        deadline_us: 1000,
    };
    let tokens = [Token { partition: 5, sequence: 9 }];
    let keys = [PackedKeys { count: 2, bytes: b"\x03\0JFK\x03\0EWR" }];
    let none = [PackedKeys { count: 0, bytes: b"" }; 2];
    let value_type = ValueType::Scalar(Scalar::Float32);
    let asked = ComputeRequest {
        event_times: true,
        deadline_us: 0,
        read_time: NO_TIME,
        registry_version: 5,
        ask: r#"{"service":"rank"}"#,
        columns: vec![ComputeColumn { name: "km", value_type }],
        rows: vec![ComputeRow { dense: true, value: &[0; 4] }],
    };
    [
        frame("read", |out| encode_read(out, 6, &head, &tokens, keys.into_iter(), MAX_BYTES)),
        frame("compute", |out| asked.encode(out, 6, MAX_BYTES)),
        frame("read-two-views", |out| encode_read(out, 6, &head, &[], none.into_iter(), MAX_BYTES)),
    ]
    .concat()
}

fn replies() -> Frames {
    let shapes = [
        ColumnShape::of(&ValueType::Scalar(Scalar::Float32)),
        ColumnShape::of(&ValueType::Scalar(Scalar::String)),
    ];
    let mut frames = Vec::new();
    for (name, matrix) in [("columns", false), ("matrix", true)] {
        let columns = if matrix { &shapes[..1] } else { &shapes[..] };
        let flags = ReadFlags { matrix, event_times: true };
        let views = [ViewShape { rows: 3, columns }];
        let mut builder = ReplyBuilder::new();
        let built = builder.begin(Vec::new(), 6, flags, TIME, MAX_BYTES, views.iter().copied());
        if built.is_err() {
            continue;
        }
        builder.set_status(0, 1, RowStatus::Present);
        builder.set_status(0, 2, RowStatus::OutsideMaxAge);
        builder.set_event_time(0, 1, TIME);
        if matrix {
            builder.with_matrix_row(0, 1, |row| row.fill(1.5));
        } else {
            builder.set_fixed(0, 0, 1, &1.5f32.to_le_bytes());
            if builder.set_variable(0, 1, 1, b"JFK").is_err() {
                continue;
            }
        }
        if let Ok(bytes) = builder.finish() {
            frames.push((name, bytes));
        }
    }
    frames
}

fn writes() -> Frames {
    let head = |explicit_sequences| WriteHead {
        view_id: 1,
        schema_id: 3,
        ack: Ack::Durable,
        explicit_sequences,
        producer_id: 4,
        first_sequence: 8,
    };
    let row = WriteRow {
        event_time: TIME,
        created_time: NO_TIME,
        expire_at: NO_TIME,
        producer_sequence: 8,
        key: b"\x03\0JFK",
        dense: true,
        value: &[1; 12],
    };
    let expiring = WriteRow { expire_at: TIME, dense: false, ..row };
    let tokens = vec![Token { partition: 5, sequence: 9 }];
    let asked = EraseStatusRequest { view_id: 1, tokens, keys: vec![row.key] };
    let finish = |mut encoder: WriteEncoder<'_>| {
        encoder.push(&row)?;
        encoder.push(&expiring)?;
        encoder.finish(MAX_BYTES)
    };
    [
        frame("put", |out| finish(WriteEncoder::put(out, 7, &head(false)))),
        frame("put-explicit", |out| finish(WriteEncoder::put(out, 7, &head(true)))),
        frame("delete", |out| finish(WriteEncoder::delete(out, 7, &head(false)))),
        frame("erase", |out| finish(WriteEncoder::erase(out, 7, &head(false)))),
        frame("erase-status", |out| asked.encode(out, 7, MAX_BYTES)),
        frame("put-partial", |out| {
            finish(WriteEncoder::put_partial(out, 7, &head(false), &[0, 2])?)
        }),
    ]
    .concat()
}

/// Gives each frame to the target that takes its payload, and all of them to `wire_stream`.
fn frame_seeds(frames: &Frames, seeds: &mut Vec<Seed>) {
    for (name, bytes) in frames {
        let (code, payload) = (bytes[4], bytes[HEADER_BYTES..].to_vec());
        let picked = |pick: u8| [&[pick][..], &payload].concat();
        let (target, seed) = match Kind::from_code(code) {
            Ok(Kind::Read) => ("wire_read", payload),
            Ok(Kind::Columns) => ("wire_reply", payload),
            Ok(Kind::Put) => ("wire_write", picked(0)),
            Ok(Kind::PutPartial) => ("wire_write", picked(1)),
            Ok(Kind::Delete) => ("wire_write", picked(2)),
            Ok(Kind::Erase) => ("wire_write", picked(3)),
            _ => ("wire_control", picked(code)),
        };
        seeds.push((target, (*name).into(), seed));
        seeds.push(("wire_stream", (*name).into(), bytes.clone()));
    }
    let stream: Vec<u8> = frames.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    seeds.push(("wire_stream", "all".into(), stream));
}

/// A payload framed again is the frame that it came from: the seeds and the targets mean the same bytes.
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_has_seeds_and_takes_them() {
        let seeds = all();
        for (name, target) in crate::TARGETS {
            let own: Vec<_> = seeds.iter().filter(|(owner, ..)| owner == name).collect();
            assert!(own.len() >= 2, "{name} has {} seeds", own.len());
            for (_, _, bytes) in own {
                target(bytes);
            }
        }
        let payload = &[1, 2, 3];
        assert!(
            crate::wire::framed(Kind::Ping, payload).is_some_and(|frame| frame.ends_with(payload))
        );
    }
}
