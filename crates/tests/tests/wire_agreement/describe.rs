//! A frame as the Rust decoders see it, in the shape that the Python decoder prints.

use serde_json::{Value as Json, json};
use thermae_formats::row_value::decode_value;
use thermae_formats::wire::*;
use thermae_formats::{KeyType, KeyValue, NO_TIME, Value, decode_key, split_key};

use super::{Given, hex, join_keys, layout};

fn value_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(v) => json!(v),
        Value::Int32(v) => json!(v),
        Value::Int64(v) | Value::Timestamp(v) => json!(v),
        Value::Float32(v) => json!(format!("float32:{:08x}", v.to_bits())),
        Value::Float64(v) => json!(format!("float64:{:016x}", v.to_bits())),
        Value::String(v) | Value::Json(v) => json!(v),
        Value::Bytes(v) | Value::Opaque(v) => json!(format!("bytes:{}", hex(v))),
        Value::Uuid(v) => json!(format!("bytes:{}", hex(v))),
        Value::List(v) => v.iter().map(value_json).collect(),
        Value::Vector(v) => v.iter().map(|x| value_json(&Value::Float32(*x))).collect(),
    }
}

fn key_json(types: &[KeyType], bytes: &[u8]) -> Json {
    let values = decode_key(&join_keys(types), bytes).unwrap();
    let one = |value: &KeyValue| match value {
        KeyValue::Int(v) => json!(v),
        KeyValue::String(v) => json!(v),
        KeyValue::Bytes(v) => json!(format!("bytes:{}", hex(v))),
        KeyValue::Uuid(v) => json!(format!("bytes:{}", hex(v))),
    };
    values.iter().map(one).collect()
}

fn level(ack: Ack) -> &'static str {
    match ack {
        Ack::Logged => "logged",
        Ack::Durable => "durable",
        Ack::Replicated => "replicated",
    }
}

fn token(token: Token) -> Json {
    json!([token.partition, token.sequence])
}

/// The decoded frame.
pub fn decode(frame: &Frame<'_>, given: &Given) -> Json {
    let limits = Limits::default();
    let (name, fields) = match frame.kind().unwrap() {
        Kind::Hello => ("HELLO", hello(frame)),
        Kind::HelloReply => ("HELLO reply", hello_reply(frame)),
        Kind::Prepare => ("PREPARE", prepare(frame)),
        Kind::Plan => ("PLAN", plan(frame)),
        Kind::Read => ("READ", read(frame, given, &limits)),
        Kind::Compute => ("COMPUTE", compute(frame, &limits)),
        Kind::Columns => ("COLUMNS", columns(frame, given)),
        Kind::Put => ("PUT", write(frame, given, &limits)),
        Kind::PutPartial => ("PUT_PARTIAL", write(frame, given, &limits)),
        Kind::Delete => ("DELETE", write(frame, given, &limits)),
        Kind::Erase => ("ERASE", write(frame, given, &limits)),
        Kind::EraseStatus => ("ERASE_STATUS", erase_status(frame, given, &limits)),
        Kind::Written => ("WRITTEN", written(frame)),
        Kind::Scan => ("SCAN", scan(frame, given)),
        Kind::Scanned => ("SCANNED", scanned(frame, given)),
        Kind::History => ("HISTORY", history(frame)),
        Kind::HistoryPut => {
            let put = HistoryPut::decode(frame).unwrap();
            ("HISTORY_PUT", json!({"last": put.last, "bytes": hex(put.bytes)}))
        }
        Kind::HistoryNext => ("HISTORY_NEXT", json!({})),
        Kind::HistoryEnd => ("HISTORY_END", json!({})),
        Kind::HistoryReply => ("HISTORY_REPLY", history_reply(frame)),
        Kind::Describe => ("DESCRIBE", text(frame)),
        Kind::Apply => ("APPLY", text(frame)),
        Kind::Stats => ("STATS", text(frame)),
        Kind::Backup => ("BACKUP", text(frame)),
        Kind::Json => ("JSON", text(frame)),
        Kind::Map => ("MAP", json!({"project": MapRequest::decode(frame).unwrap().project})),
        Kind::Mapped => ("MAPPED", mapped(frame)),
        Kind::Ping => ("PING", json!({})),
        Kind::Pong => ("PONG", json!({"server_time_us": decode_pong(frame).unwrap()})),
        Kind::Error => {
            let e = ErrorReply::decode(frame).unwrap();
            let after = e.retry_after_ms;
            ("ERROR", json!({"code": e.code, "retry_after_ms": after, "message": e.message}))
        }
    };
    let mut all = json!({"kind": name, "request_id": frame.request_id});
    all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    all
}

fn hello(frame: &Frame<'_>) -> Json {
    let h = HelloRequest::decode(frame).unwrap();
    json!({"version_min": h.version_min, "version_max": h.version_max,
        "max_frame_bytes": h.max_frame_bytes, "credentials": hex(h.credentials),
        "client_name": h.client_name})
}

fn hello_reply(frame: &Frame<'_>) -> Json {
    let h = HelloReply::decode(frame).unwrap();
    json!({"version": h.version, "partitions": h.partitions,
        "max_frame_bytes": h.limits.max_frame_bytes, "max_batch_keys": h.limits.max_batch_keys,
        "in_flight_max": h.limits.in_flight_max,
        "max_rows_per_write": h.limits.max_rows_per_write, "store_id": hex(&h.store_id),
        "hash_seed": h.hash_seed, "epoch": h.epoch, "server_time_us": h.server_time_us,
        "server_name": h.server_name})
}

fn prepare(frame: &Frame<'_>) -> Json {
    let views = PrepareRequest::decode(frame).unwrap().views;
    let one = |v: &ViewFeatures<'_>| json!({"project": v.project, "view": v.view, "version": v.version, "features": v.features});
    json!({"views": views.iter().map(one).collect::<Vec<_>>()})
}

fn plan(frame: &Frame<'_>) -> Json {
    let plan = decode_plan(frame).unwrap();
    let one = |v: &PlanView| {
        let keys = v.join_keys.iter().map(|k| json!([k.name, k.key_type.to_string()]));
        let columns = v.columns.iter().map(|c| json!([c.name, c.value_type.to_string()]));
        json!({"view_id": v.view_id, "schema_id": v.schema_id, "version": v.version,
            "ttl_us": v.ttl_us, "join_keys": keys.collect::<Vec<_>>(),
            "columns": columns.collect::<Vec<_>>()})
    };
    json!({"plan_id": plan.plan_id, "views": plan.views.iter().map(one).collect::<Vec<_>>()})
}

fn compute(frame: &Frame<'_>, limits: &Limits) -> Json {
    let asked = ComputeRequest::decode(frame, limits).unwrap();
    let types: Vec<_> = asked.columns.iter().map(|column| column.value_type.clone()).collect();
    let layout = layout(&types);
    let rows = asked.rows.iter().map(|row| {
        let values = layout.decode(row.value, row.dense).unwrap();
        values.iter().map(value_json).collect::<Json>()
    });
    let columns = asked.columns.iter().map(|c| json!([c.name, c.value_type.to_string()]));
    json!({"event_times": asked.event_times, "deadline_us": asked.deadline_us,
        "read_time": asked.read_time, "registry_version": asked.registry_version, "ask": asked.ask,
        "columns": columns.collect::<Vec<_>>(), "rows": rows.collect::<Vec<_>>()})
}

fn flags(flags: ReadFlags) -> Json {
    json!({"matrix": flags.matrix, "event_times": flags.event_times})
}

fn read(frame: &Frame<'_>, given: &Given, limits: &Limits) -> Json {
    let read = ReadRequest::decode(frame, limits).unwrap();
    let views = read.views().enumerate().map(|(view, packed)| {
        let mut rest = packed.bytes;
        let keys = (0..packed.count).map(|_| {
            let (key, after) = split_key(&given.keys[view], rest).unwrap();
            rest = after;
            key_json(&given.keys[view], key)
        });
        keys.collect::<Json>()
    });
    json!({"plan_id": read.head.plan_id, "flags": flags(read.head.flags),
        "read_time": read.head.read_time, "deadline_us": read.head.deadline_us,
        "tokens": read.tokens().map(token).collect::<Vec<_>>(),
        "keys": views.collect::<Vec<_>>()})
}

fn columns(frame: &Frame<'_>, given: &Given) -> Json {
    let reply = ReadReply::decode(frame).unwrap();
    let mut views = Vec::new();
    for (index, view) in (0..reply.view_count()).map(|v| (v, reply.view(v).unwrap())) {
        let status = |row| match view.status(row) {
            RowStatus::NotFound => "NOT_FOUND",
            RowStatus::Present => "PRESENT",
            RowStatus::OutsideMaxAge => "OUTSIDE_MAX_AGE",
            RowStatus::Error => "ERROR",
            RowStatus::Unavailable => "UNAVAILABLE",
        };
        let mut one = json!({"status": (0..view.rows()).map(status).collect::<Vec<_>>()});
        if reply.flags().event_times {
            one["event_times"] = (0..view.rows()).map(|row| view.event_time(row)).collect();
        }
        if reply.flags().matrix {
            // The frame may lie anywhere in memory here, so the block is read byte by byte.
            let at = |n: usize| {
                let entry = &frame.bytes[40 + 24 * index..];
                u32::from_le_bytes(entry[4 * n..4 * n + 4].try_into().unwrap()) as usize
            };
            let cell = |n: usize| {
                let from = at(5) + 4 * n;
                u32::from_le_bytes(frame.bytes[from..from + 4].try_into().unwrap())
            };
            let row =
                |r| (0..view.columns()).map(|c| cell(r * view.columns() + c)).collect::<Vec<_>>();
            one["matrix"] = json!((0..view.rows()).map(row).collect::<Vec<_>>());
        } else {
            let column = |c: usize| {
                let column = view.column(c).unwrap();
                let cell = |row| match column.value(row) {
                    Some(bytes) => {
                        value_json(&decode_value(&given.columns[index][c], bytes).unwrap())
                    }
                    None => Json::Null,
                };
                (0..view.rows()).map(cell).collect::<Vec<_>>()
            };
            one["columns"] = json!((0..view.columns()).map(column).collect::<Vec<_>>());
        }
        views.push(one);
    }
    json!({"flags": flags(reply.flags()), "read_time": reply.read_time(), "views": views})
}

fn write(frame: &Frame<'_>, given: &Given, limits: &Limits) -> Json {
    let write = WriteRequest::decode(frame, limits).unwrap();
    let mut fields = json!({"view_id": write.head.view_id, "schema_id": write.head.schema_id,
        "ack": level(write.head.ack), "producer_id": write.head.producer_id});
    let mut columns = given.columns[0].clone();
    if write.kind == Kind::PutPartial {
        fields["features"] = json!(write.features().collect::<Vec<_>>());
        columns = write.features().map(|f| given.columns[0][usize::from(f)].clone()).collect();
    }
    let layout = layout(&columns);
    let rows = write.rows().map(|row| {
        let values = match write.kind {
            Kind::Delete | Kind::Erase => Json::Null,
            _ => layout.decode(row.value, row.dense).unwrap().iter().map(value_json).collect(),
        };
        json!({"event_time": row.event_time, "created_time": row.created_time,
            "sequence": row.producer_sequence,
            "expire_at": (row.expire_at != NO_TIME).then_some(row.expire_at),
            "key": key_json(&given.keys[0], row.key), "values": values})
    });
    fields["rows"] = rows.collect();
    fields
}

fn erase_status(frame: &Frame<'_>, given: &Given, limits: &Limits) -> Json {
    let asked = EraseStatusRequest::decode(frame, limits).unwrap();
    let keys = asked.keys.iter().map(|key| key_json(&given.keys[0], key));
    json!({"view_id": asked.view_id, "keys": keys.collect::<Vec<_>>(),
        "tokens": asked.tokens.iter().map(|one| token(*one)).collect::<Vec<_>>()})
}

fn written(frame: &Frame<'_>) -> Json {
    let reply = WriteReply::decode(frame).unwrap();
    let none = Token { partition: 0, sequence: 0 };
    let outcomes = reply.outcomes().map(|outcome| match outcome {
        RowOutcome::Ok { token: at, duplicate } => json!([u8::from(duplicate), token(at)]),
        RowOutcome::InDoubt => json!([2, token(none)]),
        RowOutcome::NotApplied(reason) => json!([reason.code(), token(none)]),
        RowOutcome::Overloaded { retry_after_ms } => json!([35, retry_after_ms]),
        RowOutcome::FailsCheck { check } => json!([37, check]),
        RowOutcome::Quarantined { check } => json!([38, check]),
    });
    json!({"level": level(reply.level), "outcomes": outcomes.collect::<Vec<_>>(),
        "message": reply.message})
}

fn scan(frame: &Frame<'_>, given: &Given) -> Json {
    let scan = ScanRequest::decode(frame).unwrap();
    json!({"plan_id": scan.plan_id, "tombstones": scan.tombstones, "page_bytes": scan.page_bytes,
        "event_times": [scan.event_times.start(), scan.event_times.end()],
        "hashes": [scan.hashes.start(), scan.hashes.end()],
        "key": scan.key.map(|key| key_json(&given.keys[0], key)), "place": hex(scan.place)})
}

fn scanned(frame: &Frame<'_>, given: &Given) -> Json {
    let page = ScanReply::decode(frame).unwrap();
    let layout = layout(&given.columns[0]);
    let rows = page.rows().map(|row| {
        let values =
            || layout.decode(row.value, row.dense).unwrap().iter().map(value_json).collect();
        json!({"event_time": row.event_time, "created_time": row.created_time,
            "sequence": row.sequence,
            "expire_at": (row.expire_at != NO_TIME).then_some(row.expire_at),
            "key": key_json(&given.keys[0], row.key),
            "values": if row.tombstone { Json::Null } else { values() }})
    });
    json!({"place": hex(page.place.unwrap_or_default()), "rows": rows.collect::<Vec<_>>()})
}

fn text(frame: &Frame<'_>) -> Json {
    json!({"json": serde_json::from_str::<Json>(decode_json(frame).unwrap()).unwrap()})
}

fn mapped(frame: &Frame<'_>) -> Json {
    let map = MapReply::decode(frame).unwrap();
    let shards = map.shards.iter().map(|s| json!([s.shard, s.map_bytes]));
    json!({"epoch": map.epoch, "shards": shards.collect::<Vec<_>>(),
        "partition_map": map.partition_map})
}

fn history(frame: &Frame<'_>) -> Json {
    let request = HistoryRequest::decode(frame).unwrap();
    let join = |join: &HistoryJoin<'_>| {
        let columns: Vec<_> =
            join.columns.iter().map(|(key, column)| json!([key, column])).collect();
        json!({"view": join.view, "alias": join.alias, "features": join.features,
            "columns": columns})
    };
    let joins: Vec<Json> = request.joins.iter().map(join).collect();
    json!({"as_of_known": request.as_of_known, "full_names": request.full_names,
        "threads": request.threads, "budget_bytes": request.budget_bytes,
        "time_column": request.time_column, "joins": joins})
}

fn history_reply(frame: &Frame<'_>) -> Json {
    let reply = HistoryReply::decode(frame).unwrap();
    let steps = reply.steps;
    let tally = |tally: &HistoryTally| json!([tally.present, tally.outside_max_age]);
    let tallies: Vec<Json> = reply.tallies.iter().map(tally).collect();
    json!({"over": reply.over, "tallies": tallies, "bytes": hex(reply.bytes),
        "steps": {"rows": steps.rows, "read": steps.read, "to_join": steps.to_join,
            "joined": steps.joined, "answered": steps.answered}})
}
