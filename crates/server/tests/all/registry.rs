//! The registry over the wire and on the command line: plans, versions that serve, lineage.

use serde_json::{Value as Json, json};
use thermae_formats::wire::{ErrorCode, Kind};

use crate::peer::{Put, Read1, check, row, weather, weather_server};
use crate::process::Server;

const SHOP: &str = r#"format = 1
project = "shop"
owner = "ann"
[entities.user]
join_keys = [{ name = "uid", type = "int64" }]
[sources.crm]
upstream = ["table:customers"]
[views.users]
entities = ["user"]
ttl = "0"
source = "crm"
features = [{ name = "score", type = "float32" }, { name = "city", type = "string" }]
[services.rank]
features = ["users:score"]
[models.ranker]
services = ["rank"]
owner = "bob"
"#;

/// A version of `users` beside the first.
fn second(lifecycle: &str) -> String {
    format!(
        "format = 1\nproject = \"shop\"\n[entities.user]\njoin_keys = [{{ name = \"uid\", type = \"int64\" \
         }}]\nowner = \"ann\"\n[views.\"users@2\"]\nentities = [\"user\"]\nttl = \"0\"\nlifecycle = \
         \"{lifecycle}\"\nfeatures = [{{ name = \"score\", type = \"float32\" }}]\n"
    )
}

#[test]
fn a_prepared_bare_name_follows_a_switch_and_an_answer_is_of_one_version() {
    let (_server, mut peer, one) = weather_server(1, 0);
    peer.put(&one, &[Put { key: "JFK", event_time: 1, values: row(1.0, None, "") }]);
    let mut two = weather(0);
    two.version = 2;
    let object = json!({
        "kind": "view", "project": "demo", "name": "weather", "version": 2,
        "about": { "lifecycle": "staged" },
        "body": { "definition": two },
    });
    let applied = peer.json(Kind::Apply, &json!({ "objects": [object] }).to_string()).unwrap();
    assert_eq!((&applied["base"], &applied["version"]), (&json!(1), &json!(2)), "{applied}");
    // A staged version is not what the bare name means.
    assert_eq!(peer.prepare(&[("weather", &[])]).unwrap().views[0].version, 1);
    peer.read(&Read1::new(&one, &["JFK"])).unwrap();
    let switched = peer.json(Kind::Apply, r#"{"switch": "demo/weather@2"}"#).unwrap();
    assert_eq!(switched["version"], 3);
    let stale = peer.read(&Read1::new(&one, &["JFK"])).unwrap_err();
    assert_eq!(stale.code, ErrorCode::StaleSchema, "{stale:?}");
    let now = peer.prepare(&[("weather", &[])]).unwrap();
    assert_eq!(now.views[0].version, 2);
    check(&peer.read(&Read1::new(&now, &["JFK"])).unwrap());
    let described = peer.json(Kind::Describe, r#"{"project": "demo", "view": "weather"}"#).unwrap();
    assert_eq!(described["views"][0]["definition"]["version"], 2);
    let back = peer.json(Kind::Apply, r#"{"switch_back": "demo/weather"}"#).unwrap();
    assert_eq!(back["version"], 4);
    assert_eq!(peer.prepare(&[("weather", &[])]).unwrap().views[0].version, 1);
}

#[test]
fn an_apply_of_an_older_version_and_requests_that_cannot_be_are_refused() {
    let (_server, mut peer, _) = weather_server(1, 0);
    let late = json!({ "views": [weather(5)], "if_version": 0 }).to_string();
    let refused = peer.json(Kind::Apply, &late).unwrap_err();
    assert_eq!(refused.code, ErrorCode::StaleSchema, "{refused:?}");
    assert!(refused.text.contains("version 1, not 0"), "{refused:?}");
    for (kind, text, code) in [
        (Kind::Apply, r#"{"switch": "weather"}"#, ErrorCode::BadSchema),
        (Kind::Apply, r#"{"switch": "weather@7"}"#, ErrorCode::UnknownView),
        (Kind::Apply, r#"{"switch": "weather@1", "switch_back": "weather"}"#, ErrorCode::BadSchema),
        (Kind::Apply, r#"{"switch": "weather@1", "dry_run": true}"#, ErrorCode::BadSchema),
        (Kind::Apply, r#"{"objects": [{"kind": "table"}]}"#, ErrorCode::BadSchema),
        (Kind::Describe, r#"{"registry": {"impact": "nothing"}}"#, ErrorCode::UnknownView),
        (Kind::Describe, r#"{"registry": {"lineage": "a b"}}"#, ErrorCode::BadSchema),
        (Kind::Describe, r#"{"registry": {"lineages": ""}}"#, ErrorCode::Malformed),
    ] {
        let refused = peer.json(kind, text).unwrap_err();
        assert_eq!(refused.code, code, "{text}: {refused:?}");
    }
}

#[test]
fn the_command_line_plans_applies_switches_and_tells_what_comes_from_what() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let server = Server::start(&folder.path().join("data"));
    let run = |arguments: &[&str]| {
        let output = server.run(arguments);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };
    let has = |told: &(i32, String, String), words: &[&str]| {
        for word in words {
            assert!(told.1.contains(word), "{word:?} is not in {told:?}");
        }
    };
    let shop = file("shop.toml", SHOP);
    let planned = run(&["apply", &shop, "--dry-run"]);
    has(&planned, &["+ feature service shop/rank@1  would be created", "from version 0 to 1"]);
    has(&run(&["apply", &shop, "--if-version", "0", "--by", "ann"]), &["at version 1 now"]);
    assert_eq!(run(&["apply", &shop, "--if-version", "0"]).0, 1, "it is at version 1");
    let longer = file("longer.toml", &SHOP.replace("ttl = \"0\"", "ttl = \"1d\""));
    has(
        &run(&["apply", &longer, "--dry-run"]),
        &["~ ttl unlimited -> 1d", "read by feature service shop/rank@1, model shop/ranker@1"],
    );
    let broken = file("broken.toml", &SHOP.replace("users:score", "users:city"));
    let refused = run(&["apply", &broken]);
    assert_eq!(refused.0, 1);
    assert!(refused.2.contains("users:score becomes users:city"), "{refused:?}");

    has(
        &run(&["impact", "users:score"]),
        &["service:shop/rank@1", "model:shop/ranker@1", "ann, bob"],
    );
    has(&run(&["lineage", "model:ranker"]), &["external:table:customers", "source:shop/crm"]);
    has(&run(&["lineage"]), &["view:shop/users@1 -> feature:shop/users@1:city"]);

    for (version, lifecycle) in [(1, ""), (2, "staged")] {
        if version == 2 {
            assert_eq!(run(&["apply", &file("2.toml", &second(lifecycle))]).0, 0);
        }
        let rows = file("rows.csv", &format!("uid,score,city\n7,{version},Rome\n"));
        let view = format!("users@{version}");
        let loaded = run(&["ingest", &view, &rows, "--at", "2020-01-01"]);
        assert_eq!(loaded.0, 0, "{loaded:?}");
    }
    let score = || {
        let got = run(&["get", "users:score", "--key", "uid=7", "--json"]);
        let told: Json = serde_json::from_str(&got.1).unwrap();
        told["results"][0]["views"]["shop/users"]["score"]["value"].clone()
    };
    assert_eq!(score(), 1.0);
    has(&run(&["switch", "users@2"]), &["users@2 is what the bare name means"]);
    assert_eq!(score(), 2.0);
    has(&run(&["switch", "users", "--back"]), &["means again"]);
    assert_eq!(score(), 1.0);
    assert_eq!(run(&["switch", "users"]).0, 2);
    assert_eq!(server.stop(), 0);
}
