//! Features of on-demand views over the binary protocol: by the client, by `thermae get`, by frames that are wrong,
//! and, of the same data, by HTTP.

use std::net::TcpStream;

use serde_json::{Value as Json, json};
use thermae_client::{
    CellStatus, Client, ComputedPlan, ComputedQuery, ComputedRows, Config, Error, ReadOptions,
    WriteBatch,
};
use thermae_formats::wire::{
    ComputeColumn, ComputeRequest, ComputeRow, ErrorCode, Kind, ReadReply,
};
use thermae_formats::{Feature, KeyValue, NO_TIME, RowLayout, Scalar, Value, ValueType};

use crate::feast_http::{apply, post};
use crate::peer::{Peer, Stream, check};
use crate::process::Server;

const RIDES: &str = r#"
format = 1
project = "rides"

[entities.driver]
join_keys = [{ name = "driver", type = "int64" }]

[views.pay]
entities = ["driver"]
ttl = "1h"
features = [{ name = "rate", type = "float64" }, { name = "note", type = "string" }]

[on_demand.fare]
inputs = ["pay:rate"]
request = [{ name = "km", type = "float64" }, { name = "people", type = "int64" }]
features = [
  { name = "total", type = "float64", expression = "rate * km" },
  { name = "each", type = "float64", expression = "rate * km / people" },
  { name = "word", type = "string", expression = "case when km > 10 then 'far' else 'near' end" },
]

[services.quote]
features = ["pay:note", "fare:total,word"]
"#;

const T0: i64 = 1_700_000_000_000_000;

struct Rides {
    server: Server,
    client: Client,
    _folder: tempfile::TempDir,
}

/// Drivers 1 (a rate), 2 (a row without one) and 3 (a row that is too old at `T0`).
fn rides() -> Rides {
    rides_of(RIDES)
}

fn rides_of(definitions: &str) -> Rides {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"));
    apply(&server, &folder, definitions);
    let client = Client::connect(&server.address.parse().unwrap(), Config::default()).unwrap();
    let handle = client.view("rides", "pay").unwrap();
    let mut batch = WriteBatch::put(&handle);
    for (driver, at, rate) in [
        (1, T0, Value::Float64(2.5)),
        (2, T0, Value::Null),
        (3, T0 - 2 * 3_600_000_000, Value::Float64(9.0)),
    ] {
        batch.push(&[KeyValue::Int(driver)], at, NO_TIME, &[rate, Value::from("n")]).unwrap();
    }
    assert!(client.write(&mut batch).unwrap().all_ok());
    Rides { server, client, _folder: folder }
}

fn query(features: &[&str]) -> ComputedQuery {
    let features = features.iter().map(ToString::to_string).collect();
    ComputedQuery { features, ..ComputedQuery::default() }
}

fn at(read_time: i64) -> ReadOptions {
    ReadOptions { event_times: true, read_time, ..ReadOptions::default() }
}

/// Rows of driver, kilometres and people.
fn rows(plan: &ComputedPlan, of: &[(i64, f64, i64)]) -> ComputedRows {
    let mut rows = plan.rows();
    for (driver, km, people) in of {
        let request = [Value::Float64(*km), Value::Int64(*people)];
        rows.push(&[KeyValue::Int(*driver)], &request).unwrap();
    }
    rows
}

#[test]
fn what_is_computed_stands_beside_what_is_stored_in_the_order_asked() {
    let rides = rides();
    let plan = rides.client.prepare_computed(&query(&["fare:each", "pay:note", "fare:total,word"]));
    let plan = plan.unwrap();
    let names: Vec<_> =
        plan.columns().iter().map(|c| format!("{} {}", c.name, c.value_type)).collect();
    assert_eq!(names, ["each float64", "note string", "total float64", "word string"]);
    let request: Vec<_> = plan.request().iter().map(|field| field.name.as_str()).collect();
    assert_eq!((plan.join_keys()[0].name.as_str(), request), ("driver", vec!["km", "people"]));

    let asked = rows(&plan, &[(1, 4.0, 2), (2, 12.0, 1), (3, 1.0, 1), (9, 1.0, 1), (1, 20.0, 4)]);
    let answer = rides.client.read_computed(&asked, &at(T0 + 1)).unwrap();
    assert_eq!(answer.read_time(), T0 + 1);
    let values = |column| (0..5).map(|row| answer.value(row, column).unwrap()).collect::<Vec<_>>();
    let null = Value::Null;
    let float = Value::Float64;
    assert_eq!(values(0), [float(5.0), null.clone(), null.clone(), null.clone(), float(12.5)]);
    let (near, far) = (Value::from("near"), Value::from("far"));
    assert_eq!(values(3), [near.clone(), far.clone(), near.clone(), near, far]);
    let statuses = |column| (0..5).map(|row| answer.status(row, column)).collect::<Vec<_>>();
    use CellStatus::{NotFound, NullValue, OutsideMaxAge, Present};
    assert_eq!(statuses(0), [Present, NullValue, NullValue, NullValue, Present]);
    assert_eq!(statuses(1), [Present, Present, OutsideMaxAge, NotFound, Present]);
    let note = answer.column(1).unwrap();
    assert_eq!((note.event_time(0), note.event_time(2)), (Some(T0), Some(T0 - 2 * 3_600_000_000)));
    assert_eq!(answer.column(0).unwrap().event_time(0), Some(NO_TIME));
    // A service by its name, and no rows at all.
    let service = ComputedQuery { service: Some("quote".to_owned()), ..ComputedQuery::default() };
    let plan = rides.client.prepare_computed(&service).unwrap();
    assert_eq!(plan.columns().len(), 3);
    let answer = rides.client.read_computed(&plan.rows(), &at(T0)).unwrap();
    assert_eq!(answer.column(2).unwrap().rows(), 0);
}

#[test]
fn http_and_the_binary_protocol_compute_the_same() {
    let rides = rides_of(&RIDES.replace("ttl = \"1h\"", "ttl = \"0\""));
    let plan =
        rides.client.prepare_computed(&query(&["fare:total,each,word", "pay:note"])).unwrap();
    let of = [(1, 0.1, 3), (2, 1e300, 1), (7, -0.0, 0), (1, f64::MAX, -1)];
    let answer = rides.client.read_computed(&rows(&plan, &of), &at(NO_TIME)).unwrap();
    let body = json!({
        "features": ["fare:total", "fare:each", "fare:word", "pay:note"],
        "entities": {
            "driver": of.map(|row| row.0), "km": of.map(|row| row.1), "people": of.map(|row| row.2),
        },
    });
    let (status, told) = post(&rides.server, "/get-online-features", &body.to_string());
    assert_eq!(status, 200, "{told}");
    for column in 0..4 {
        for row in 0..of.len() {
            let ours = answer.value(row, column).unwrap();
            let theirs = &told["results"][column + 1]["values"][row];
            let theirs = match (&ours, theirs.as_str()) {
                (Value::Float64(v), Some("Infinity" | "-Infinity")) => json!(v.is_infinite()),
                _ => theirs.clone(),
            };
            let expected = match &ours {
                Value::Float64(v) if v.is_infinite() => json!(true),
                ours => ours.to_json(),
            };
            assert_eq!(expected, theirs, "column {column}, row {row}");
        }
    }
}

#[test]
fn what_a_request_lacks_or_brings_wrong_is_named_and_a_changed_registry_is_told() {
    let rides = rides();
    let client = &rides.client;
    for (asked, what) in [
        (&["fare:nothing"][..], "nothing"),
        (&["nowhere:total"], "nowhere"),
        (&["fare:total", "fare:total"], "two columns \"total\""),
        (&["fare total"], "fare total"),
        (&[], "ask for features or for a service"),
    ] {
        let error = client.prepare_computed(&query(asked)).unwrap_err().to_string();
        assert!(error.contains(what), "{asked:?}: {error}");
    }
    let plan = client.prepare_computed(&query(&["fare:total"])).unwrap();
    let mut none = plan.rows();
    let km = Value::Float64(1.0);
    let error = none.push(&[KeyValue::Int(1)], std::slice::from_ref(&km)).unwrap_err();
    assert!(error.to_string().contains("1 values for 2 fields"), "{error}");
    let error = none.push(&[KeyValue::from("x")], &[km.clone(), Value::Int64(1)]).unwrap_err();
    assert!(error.to_string().contains("join key \"driver\""), "{error}");
    let error = none.push(&[KeyValue::Bytes(vec![1])], &[km.clone(), Value::Int64(1)]).unwrap_err();
    assert!(error.to_string().contains("expected int64, found bytes"), "{error}");
    let error = none.push(&[KeyValue::Int(1)], &[Value::from("x"), Value::Int64(1)]).unwrap_err();
    assert!(error.to_string().contains("km"), "{error}");
    assert!(none.is_empty());

    let asked = rows(&plan, &[(1, 2.0, 1)]);
    assert_eq!(client.read_computed(&asked, &at(T0)).unwrap().value(0, 0), Ok(Value::Float64(5.0)));
    let folder = tempfile::tempdir().unwrap();
    apply(
        &rides.server,
        &folder,
        &RIDES.replace("rate * km\"", "rate * km\", description = \"d\""),
    );
    assert_eq!(client.read_computed(&asked, &at(T0)).unwrap_err(), Error::PlanChanged);
    let plan = client.prepare_computed(&query(&["fare:total"])).unwrap();
    let asked = rows(&plan, &[(1, 2.0, 1)]);
    assert_eq!(client.read_computed(&asked, &at(T0)).unwrap().value(0, 0), Ok(Value::Float64(5.0)));
}

/// A request as somebody else's client may make it.
fn frame(id: u64, version: u64, columns: &[(&str, Scalar)], rows: &[Vec<Value>]) -> Vec<u8> {
    let features: Vec<Feature> = columns.iter().map(|(n, s)| Feature::new(*n, *s)).collect();
    let layout = RowLayout::new(&features).unwrap();
    let encoded: Vec<(bool, Vec<u8>)> = rows
        .iter()
        .map(|row| {
            let mut bytes = Vec::new();
            (layout.encode(row, &mut bytes).unwrap(), bytes)
        })
        .collect();
    let rows = encoded.iter().map(|(dense, value)| ComputeRow { dense: *dense, value });
    let mut out = Vec::new();
    request(version, columns, rows.collect()).encode(&mut out, id, 1 << 20).unwrap();
    out
}

fn request<'a>(
    registry_version: u64,
    columns: &[(&'a str, Scalar)],
    rows: Vec<ComputeRow<'a>>,
) -> ComputeRequest<'a> {
    let column = |(name, scalar): &(&'a str, Scalar)| ComputeColumn {
        name,
        value_type: ValueType::Scalar(*scalar),
    };
    ComputeRequest {
        event_times: false,
        deadline_us: 0,
        read_time: T0,
        registry_version,
        ask: r#"{"features":["fare:total"]}"#,
        columns: columns.iter().map(column).collect(),
        rows,
    }
}

/// Somebody else's client, and the registry's version.
fn peer(rides: &Rides) -> (Peer, u64) {
    let mut peer = Peer::new(Stream::Tcp(TcpStream::connect(&rides.server.address).unwrap()));
    peer.hello();
    let wanted = r#"{"registry":{"wanted":{"features":["fare:total"]}}}"#;
    let told = peer.json(Kind::Describe, wanted).unwrap();
    assert_eq!(told["wanted"]["request"][1], json!({ "name": "people", "type": "int64" }));
    (peer, told["wanted"]["registry_version"].as_u64().unwrap())
}

#[test]
fn wrong_types_missing_columns_and_broken_rows_are_errors_of_one_request() {
    let rides = rides();
    let (mut peer, version) = peer(&rides);
    let driver = ("driver", Scalar::Int64);
    let (km, people) = (("km", Scalar::Float64), ("people", Scalar::Int64));
    let one = |values: Vec<Value>| vec![values];
    let (seven, two) = (Value::Int64(7), Value::Float64(2.0));
    for (columns, rows, what) in [
        (
            vec![driver, people],
            one(vec![seven.clone(), seven.clone()]),
            "must bring \"km\" (float64)",
        ),
        (vec![km, people], one(vec![two.clone(), seven.clone()]), "join key \"driver\" is missing"),
        (
            vec![("driver", Scalar::Float64), km, people],
            one(vec![two.clone(), two.clone(), seven.clone()]),
            "row 0 of the join key \"driver\": expected int64, found float64",
        ),
        (
            vec![driver, km, people],
            vec![
                vec![seven.clone(), two.clone(), seven.clone()],
                vec![Value::Null, two.clone(), seven.clone()],
            ],
            "row 1 of the join key \"driver\": expected int64, found null",
        ),
        (
            vec![driver, ("km", Scalar::String), people],
            one(vec![seven.clone(), Value::from("far"), seven.clone()]),
            "row 0 of the request field \"km\"",
        ),
        (
            vec![driver, km, ("people", Scalar::Float64)],
            one(vec![seven.clone(), two.clone(), Value::Float64(f64::NAN)]),
            "row 0 of the request field \"people\"",
        ),
        (
            vec![driver, km, km],
            one(vec![seven.clone(), two.clone(), two.clone()]),
            "\"km\" is there twice",
        ),
    ] {
        let id = peer.id();
        let refused = peer.ask(&frame(id, version, &columns, &rows)).unwrap_err();
        assert_eq!(refused.code, ErrorCode::BadInput, "{refused:?}");
        assert!(refused.text.contains(what), "{what}: {refused:?}");
    }
}

#[test]
fn what_fits_passes_and_what_is_of_another_version_or_cut_short_does_not() {
    let rides = rides();
    let (mut peer, version) = peer(&rides);
    let driver = ("driver", Scalar::Int64);
    // An int32 and a float32 pass, a NaN is a value of a float, columns come in any order.
    let columns =
        [("people", Scalar::Int32), ("km", Scalar::Float32), driver, ("more", Scalar::Bool)];
    let row = vec![Value::Int32(1), Value::Float32(f32::NAN), Value::Int64(1), Value::Null];
    let id = peer.id();
    let answered = peer.ask(&frame(id, version, &columns, std::slice::from_ref(&row))).unwrap();
    let reply = ReadReply::decode(&check(&answered)).unwrap();
    let total = reply.view(0).unwrap().column(0).unwrap().value(0).map(<[u8]>::to_vec).unwrap();
    assert!(f64::from_le_bytes(total.try_into().unwrap()).is_nan());
    // Of another version of the registry; and a row that ends too early.
    let id = peer.id();
    let refused =
        peer.ask(&frame(id, version + 1, &columns, std::slice::from_ref(&row))).unwrap_err();
    assert_eq!(refused.code, ErrorCode::StaleSchema);
    let short = ComputeRow { dense: true, value: &[1] };
    let mut cut = Vec::new();
    request(version, &columns, vec![short]).encode(&mut cut, peer.id(), 1 << 20).unwrap();
    let refused = peer.ask(&cut).unwrap_err();
    assert_eq!(refused.code, ErrorCode::BadInput);
    assert!(refused.text.contains("row 0"), "{refused:?}");
    assert!(peer.json(Kind::Stats, "{}").is_ok(), "the connection goes on");
}

#[test]
fn the_command_line_reads_computed_features() {
    let rides = rides();
    let server = &rides.server;
    let get = |arguments: &[&str]| server.run(&[&["get"][..], arguments].concat());
    let time = ["--read-time", "2023-11-14T22:13:20Z", "--json"];
    let asked =
        ["fare:total,each", "pay", "--key", "driver=1", "--with", "km=4", "--with", "people=2"];
    let output = get(&[&asked[..], &time].concat());
    assert!(output.status.success(), "{output:?}");
    let told: Json = serde_json::from_slice(&output.stdout).unwrap();
    let views = &told["results"][0]["views"];
    assert_eq!(views["fare"]["total"]["value"], json!(10.0));
    assert_eq!(
        views["fare"]["each"],
        json!({ "status": "PRESENT", "value": 5.0, "event_time": null })
    );
    assert_eq!(views["rides/pay"]["note"]["event_time"], "2023-11-14T22:13:20Z");
    for (arguments, what) in [
        (&["fare", "--key", "driver=1", "--with", "km=4"][..], "add --with people=VALUE"),
        (&["fare", "--key", "driver=1", "--with", "km=far", "--with", "people=1"], "--with km=far"),
        (
            &["fare", "--key", "driver=1", "--with", "miles=4"],
            "takes \"miles\"; it takes: km (float64)",
        ),
        (&["pay", "--key", "driver=1", "--with", "km=4"], "nothing asked for takes \"km\""),
        (&["fare", "--with", "km=4", "--with", "people=1"], "--key driver=VALUE"),
        (&["nowhere", "--key", "driver=1"], "nowhere"),
    ] {
        let output = get(arguments);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains(what), "{arguments:?}: {text}");
    }
}
