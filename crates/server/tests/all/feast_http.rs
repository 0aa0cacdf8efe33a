//! Features by HTTP and JSON, as Feast's feature server gives them.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value as Json, json};

use crate::process::Server;

const SHOP: &str = r#"format = 1
project = "shop"
[entities.user]
join_keys = [{ name = "uid", type = "int64" }]
[entities.pair]
join_keys = [{ name = "uid", type = "int64" }, { name = "item", type = "string" }]
[sources.clicks]
[views.users]
entities = ["user"]
ttl = "0"
source = "clicks"
features = [
  { name = "score", type = "float32" }, { name = "city", type = "string" }, { name = "seen", type = "timestamp" },
]
[views.recent]
entities = ["user"]
ttl = "1h"
source = "clicks"
features = [{ name = "visits", type = "int32" }]
[views.pairs]
entities = ["pair"]
ttl = "0"
features = [
  { name = "weight", type = "float64" }, { name = "tags", type = "list<string>" }, { name = "raw", type = "bytes" },
]
[views.world]
ttl = "0"
features = [{ name = "rate", type = "float32" }]
[services.rank]
features = ["users:score", "world"]
"#;

/// A request with a body; its status and its answer.
pub fn post(server: &Server, path: &str, body: &str) -> (u16, Json) {
    let mut stream = TcpStream::connect(&server.http).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_else(|e| panic!("{e} in {answer}")))
}

/// What a failure says: Feast's errors are JSON in a text.
pub fn message(answer: &Json) -> String {
    let detail: Json = serde_json::from_str(answer.as_str().unwrap()).unwrap();
    assert_eq!(detail["module"], "feast.errors");
    assert!(detail["class"].is_string());
    detail["message"].as_str().unwrap().to_owned()
}

fn shop(folder: &tempfile::TempDir) -> Server {
    let server = Server::start(&folder.path().join("data"));
    apply(&server, folder, SHOP);
    server
}

pub fn apply(server: &Server, folder: &tempfile::TempDir, definitions: &str) {
    let file = folder.path().join("definitions.toml");
    std::fs::write(&file, definitions).unwrap();
    let applied = server.run(&["apply", file.to_str().unwrap()]);
    assert!(applied.status.success(), "{applied:?}");
}

/// Writes rows, and sees that all are written.
fn write(server: &Server, view: &str, df: Json) {
    let body = json!({ "feature_view_name": view, "df": df }).to_string();
    let (status, answer) = post(server, "/write-to-online-store", &body);
    assert_eq!(status, 200, "{answer}");
}

fn online(server: &Server, body: Json) -> Json {
    let (status, answer) = post(server, "/get-online-features", &body.to_string());
    assert_eq!(status, 200, "{answer}");
    answer
}

#[test]
fn on_demand_features_are_computed_from_rows_and_what_the_request_brings() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let on_demand = r#"
[on_demand.now]
inputs = ["users:score"]
request = [{ name = "boost", type = "float64" }]
features = [{ name = "boosted", type = "float64", expression = "score * boost" }]
"#;
    apply(&server, &folder, &format!("{SHOP}{on_demand}"));
    let df = json!({ "uid": [7], "event_timestamp": ["2022-05-13 10:59:42"], "score": [0.5], "city": ["Rome"], "seen": [1] });
    write(&server, "users", df);
    let ask =
        |entities: Json| json!({ "features": ["now:boosted", "users:city"], "entities": entities });
    let answer = online(&server, ask(json!({ "uid": [7, 7, 8], "boost": [2.0, -1, 3.0] })));
    assert_eq!(answer["metadata"]["feature_names"], json!(["uid", "boosted", "city"]));
    assert_eq!(answer["results"][1]["values"], json!([1.0, -0.5, null]));
    for (entities, what) in [
        (json!({ "uid": [7] }), "boost"),
        (json!({ "uid": [7], "boost": ["much"] }), "entities[\"boost\"][0]"),
    ] {
        let (status, answer) = post(&server, "/get-online-features", &ask(entities).to_string());
        assert_eq!(status, 422, "{answer}");
        assert!(message(&answer).contains(what), "{answer}");
    }
}

#[test]
fn what_is_pushed_is_read_in_the_order_asked_with_how_each_value_stands() {
    let folder = tempfile::tempdir().unwrap();
    let server = shop(&folder);
    let pushed = json!({
        "push_source_name": "clicks",
        "to": "online_and_offline",
        "allow_registry_cache": true,
        "df": {
            "uid": [7, 8],
            "event_timestamp": ["2022-05-13 10:59:42", "2022-05-13T12:59:42.500000+02:00"],
            "created": ["2022-05-13 11:00:00", null],
            "score": [0.1, null],
            "city": ["Rome", ""],
            "seen": [1652439582, 1.5],
            "visits": [3, 4],
        },
    });
    let (status, answer) = post(&server, "/push", &pushed.to_string());
    assert_eq!((status, &answer["written"]), (200, &json!(4)), "{answer}");
    assert_eq!(answer["feature_views"], json!(["shop/recent@1", "shop/users@1"]));
    let answer = online(
        &server,
        json!({
            "entities": { "unknown": ["a", "b", "c", "d"], "uid": [7, 9, 8, 7] },
            "features": ["users:city", "recent:visits", "users:score", "users:seen"],
        }),
    );
    let there = "2022-05-13T10:59:42Z";
    let later = "2022-05-13T10:59:42.500000Z";
    let never = "1970-01-01T00:00:00Z";
    let times = json!([there, never, later, there]);
    assert_eq!(
        answer,
        json!({
            "metadata": { "feature_names": ["uid", "city", "visits", "score", "seen"] },
            "results": [
                {
                    "values": [7, 9, 8, 7],
                    "statuses": ["PRESENT", "PRESENT", "PRESENT", "PRESENT"],
                    "event_timestamps": [never, never, never, never],
                },
                {
                    "values": ["Rome", null, "", "Rome"],
                    "statuses": ["PRESENT", "NOT_FOUND", "PRESENT", "PRESENT"],
                    "event_timestamps": times,
                },
                {
                    "values": [null, null, null, null],
                    "statuses":
                        ["OUTSIDE_MAX_AGE", "NOT_FOUND", "OUTSIDE_MAX_AGE", "OUTSIDE_MAX_AGE"],
                    "event_timestamps": times,
                },
                {
                    "values": [0.1, null, null, 0.1],
                    "statuses": ["PRESENT", "NOT_FOUND", "NULL_VALUE", "PRESENT"],
                    "event_timestamps": times,
                },
                {
                    "values": [1652439582, null, 1.5, 1652439582],
                    "statuses": ["PRESENT", "NOT_FOUND", "PRESENT", "PRESENT"],
                    "event_timestamps": times,
                },
            ],
        })
    );
}

#[test]
fn services_full_names_entity_less_views_and_keys_of_two_parts_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let server = shop(&folder);
    write(
        &server,
        "users",
        json!({ "uid": [7], "event_timestamp": ["2022-05-13"],
        "score": [16777216], "city": [null], "seen": [null] }),
    );
    write(&server, "world", json!({ "event_time": [1652439582], "rate": [0.3] }));
    write(
        &server,
        "shop/pairs@1",
        json!({ "uid": [7, 7], "item": ["", "b"],
        "event_timestamp": ["2022-05-13", "2022-05-13"], "weight": ["NaN", -0.0],
        "tags": [["x", ""], []], "raw": ["AP8=", ""] }),
    );
    let names = |answer: &Json| answer["metadata"]["feature_names"].clone();
    let values = |answer: &Json, at: usize| answer["results"][at]["values"].clone();
    let service = online(
        &server,
        json!({ "entities": { "uid": [7, 1] }, "feature_service": "rank",
        "full_feature_names": true, "include_feature_view_version_metadata": true }),
    );
    assert_eq!(names(&service), json!(["uid", "users__score", "world__rate"]));
    assert_eq!(values(&service, 1), json!([16777216.0, null]));
    assert_eq!(values(&service, 2), json!([0.3, 0.3]));
    assert_eq!(
        service["metadata"]["feature_view_metadata"],
        json!([{ "name": "users", "version": 1 }, { "name": "world", "version": 1 }])
    );
    // As Feast's client asks for a view without entity, and without any column.
    for (entities, rows) in [(json!({ "__dummy_id": ["", ""] }), 2), (json!({}), 1)] {
        let answer = online(&server, json!({ "entities": entities, "features": ["world:rate"] }));
        assert_eq!(names(&answer), json!(["rate"]));
        assert_eq!(values(&answer, 0), json!(vec![0.3; rows]));
    }
    let pairs = online(
        &server,
        json!({ "entities": { "item": ["b", "", "b"], "uid": [7, 7, 1] },
        "features": ["pairs@1:tags", "shop/pairs@v1:raw", "pairs@1:weight"] }),
    );
    assert_eq!(names(&pairs), json!(["item", "uid", "tags", "raw", "weight"]));
    assert_eq!(values(&pairs, 2), json!([[], ["x", ""], null]));
    assert_eq!(values(&pairs, 3), json!(["", "AP8=", null]));
    assert_eq!(values(&pairs, 4).to_string(), r#"[-0.0,"NaN",null]"#);
    let none = online(&server, json!({ "entities": { "uid": [] }, "features": ["users:score"] }));
    assert_eq!(values(&none, 1), json!([]));
}

/// A path, a body, the status of its answer, and what that must say.
type Bad<'a> = (&'a str, String, u16, &'a str);

fn df(change: impl FnOnce(&mut Json)) -> String {
    let mut df = json!({
        "uid": [7, 8], "item": ["a", "b"], "event_timestamp": ["2022-05-13", "2022-05-13"],
        "weight": [1.0, 2.0], "tags": [[], []], "raw": ["", ""],
    });
    change(&mut df);
    json!({ "feature_view_name": "pairs", "df": df }).to_string()
}

/// A body whose one value is another.
fn set(name: &str, row: usize, value: Json) -> String {
    df(|df| df[name][row] = value)
}

const WRITE: &str = "/write-to-online-store";

fn bad_rows() -> Vec<Bad<'static>> {
    let many = vec![json!(1); 65_537];
    let whole = |name: &'static str, value: Json| df(|df| df[name] = value);
    let write = WRITE;
    vec![
        (write, set("uid", 1, json!("x")), 422, "df[\"uid\"][1]"),
        (write, set("uid", 1, json!("NaN")), 422, "df[\"uid\"][1]"),
        (write, set("uid", 0, json!(7.5)), 422, "df[\"uid\"][0]"),
        (write, set("uid", 1, Json::Null), 422, "df[\"uid\"][1]"),
        (write, set("weight", 1, json!("much")), 422, "df[\"weight\"][1]"),
        (write, set("weight", 1, json!({})), 422, "df[\"weight\"][1]"),
        (write, set("tags", 1, json!(["a", 1])), 422, "df[\"tags\"][1]: element 1"),
        (write, set("raw", 0, json!("?")), 422, "df[\"raw\"][0]: expected bytes in base64"),
        (write, set("event_timestamp", 1, json!("soon")), 422, "df[\"event_timestamp\"][1]"),
        (write, set("event_timestamp", 1, Json::Null), 422, "df[\"event_timestamp\"][1]"),
        (write, whole("weight", json!([1.0])), 422, "has 1"),
        (write, whole("weight", json!(1.0)), 422, "column \"weight\" is no array"),
        (
            write,
            json!({ "feature_view_name": "pairs", "df": { "uid": many } }).to_string(),
            422,
            "limit",
        ),
        (
            write,
            df(|df| drop(df.as_object_mut().unwrap().remove("uid"))),
            422,
            "the column \"uid\"",
        ),
        (
            write,
            df(|df| drop(df.as_object_mut().unwrap().remove("tags"))),
            422,
            "the column \"tags\"",
        ),
        (
            write,
            df(|df| drop(df.as_object_mut().unwrap().remove("event_timestamp"))),
            422,
            "df has no event time",
        ),
        (write, json!({ "feature_view_name": "pairs", "df": {} }).to_string(), 422, "no rows"),
        (
            write,
            json!({ "feature_view_name": "pairs", "df": { "uid": [] } }).to_string(),
            422,
            "no rows",
        ),
        (write, json!({ "feature_view_name": "nobody", "df": {} }).to_string(), 404, "nobody"),
        (write, json!({ "df": {} }).to_string(), 422, "feature_view_name"),
        (write, "{".to_owned(), 400, "line 1"),
        (write, df(|_| ()).replace("\"item\":", "\"uid\":"), 422, "column \"uid\" is there twice"),
        ("/push", json!({ "push_source_name": "none", "df": {} }).to_string(), 422, "none"),
        (
            "/push",
            json!({ "push_source_name": "clicks", "df": {}, "to": "there" }).to_string(),
            422,
            "there",
        ),
        (
            "/push",
            json!({ "push_source_name": "clicks", "df": {}, "to": "offline" }).to_string(),
            422,
            "offline",
        ),
    ]
}

#[test]
fn bad_rows_are_refused_with_column_and_row_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let server = shop(&folder);
    for (path, body, status, what) in &bad_rows() {
        let (found, answer) = post(&server, path, body);
        assert_eq!(found, *status, "{body:.200}: {answer}");
        assert!(message(&answer).contains(what), "{what:?} is not in {answer}");
    }
    let stands = || {
        let entities = json!({ "uid": [7, 8], "item": ["a", "b"] });
        let answer = online(&server, json!({ "entities": entities, "features": ["pairs:weight"] }));
        answer["results"][2]["statuses"].clone()
    };
    assert_eq!(stands(), json!(["NOT_FOUND", "NOT_FOUND"]), "nothing is written in part");
    // What only the store can judge is told of each row, and the others are written.
    let (status, answer) = post(&server, WRITE, &set("event_timestamp", 1, json!("9999-01-01")));
    assert_eq!(status, 422, "{answer}");
    let said = message(&answer);
    assert!(said.starts_with("1 rows were written, 1 were not: row 1 of shop/pairs@1"), "{said}");
    assert_eq!(stands(), json!(["PRESENT", "NOT_FOUND"]));
}

#[test]
fn bad_requests_for_features_are_refused_with_what_is_wrong_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let server = shop(&folder);
    let ask = |entities: Json, features: Json| {
        json!({ "entities": entities, "features": features }).to_string()
    };
    let uid = |value: Json| ask(json!({ "uid": [1, value] }), json!(["users:score"]));
    let both =
        json!({ "entities": {}, "features": ["a:b"], "feature_service": "rank" }).to_string();
    let many = vec![json!(1); 20_000];
    let bad: Vec<(String, u16, &str)> = vec![
        (uid(json!("x")), 422, "entities[\"uid\"][1]"),
        (uid(json!("NaN")), 422, "entities[\"uid\"][1]"),
        (uid(Json::Null), 422, "entities[\"uid\"][1]"),
        (uid(json!([1])), 422, "entities[\"uid\"][1]"),
        (uid(json!(1e30)), 422, "entities[\"uid\"][1]"),
        (ask(json!({ "id": [1] }), json!(["users:score"])), 422, "join key \"uid\" is missing"),
        (ask(json!({ "uid": [1], "x": [] }), json!(["users:score"])), 422, "entities[\"x\"] has 0"),
        (ask(json!({ "uid": many }), json!(["users:score"])), 422, "20000"),
        (ask(json!({ "uid": [1] }), json!(["users:rank"])), 404, "rank"),
        (ask(json!({ "uid": [1] }), json!(["nobody:x"])), 404, "nobody"),
        (ask(json!({ "uid": [1] }), json!(["users"])), 422, "\"users\" is no reference"),
        (ask(json!({ "uid": [1] }), json!([])), 422, "no features"),
        (ask(json!({ "uid": [1] }), json!("users:score")), 422, "expected a sequence"),
        (ask(json!([1]), json!(["users:score"])), 422, "object of columns"),
        (json!({ "entities": {}, "feature_service": "none" }).to_string(), 404, "none"),
        (both, 422, "not both"),
        ("[]".to_owned(), 422, "an object is expected"),
        ("{}".to_owned(), 422, "missing field `entities`"),
        ("\u{0}".to_owned(), 400, "line 1"),
        (format!("{{\"entities\":{{\"uid\":{}", "[".repeat(100_000)), 400, "line 1"),
    ];
    for (body, status, what) in &bad {
        let (found, answer) = post(&server, "/get-online-features", body);
        assert_eq!(found, *status, "{body:.200}: {answer}");
        assert!(message(&answer).contains(what), "{what:?} is not in {answer}");
    }
    let (_, answer) = post(&server, "/get-online-features", &bad[9].0);
    let detail: Json = serde_json::from_str(answer.as_str().unwrap()).unwrap();
    assert_eq!(detail["class"], "FeastObjectNotFoundException");
}
