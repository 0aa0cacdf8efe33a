//! A data set is loaded beside the old one, switched to, and switched back.

use thermae_features::Error;
use thermae_features::store::{Ask, EntityRows};
use thermae_formats::{KeyValue, Value};

use super::{SHOP, T, activity, open, put, shop};

fn clicks(store: &thermae_features::FeatureStore, view: &str) -> Value {
    let rows = EntityRows::new().with("uid", vec![KeyValue::Int(1)]);
    let ask = Ask::features(&[&format!("{view}:clicks")]).at(T);
    store.get_online_features(&ask, &rows).unwrap().columns.remove(0).values.remove(0)
}

fn second(lifecycle: &str) -> String {
    let second = SHOP.replace(
        "ttl = \"1d\"",
        &format!("version = 2\nlifecycle = \"{lifecycle}\"\nttl = \"1d\""),
    );
    // Services and models stay as they are.
    second[..second.find("[views.weather]").unwrap()].to_owned()
}

#[test]
fn a_staged_version_is_loaded_tried_switched_to_and_left_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = shop(dir.path());
    put(&store, "activity", &[activity(1, T, 10, 0.5)]);
    store.apply_toml(&second("staged")).unwrap();
    put(&store, "activity@2", &[activity(1, T, 20, 0.5)]);
    // Nobody sees it but by its version.
    assert_eq!(clicks(&store, "activity"), Value::Int64(10));
    assert_eq!(clicks(&store, "activity@v2"), Value::Int64(20));
    assert_eq!(store.switch("activity@2").unwrap(), 3);
    assert_eq!(clicks(&store, "activity"), Value::Int64(20));
    assert_eq!(clicks(&store, "activity@1"), Value::Int64(10));
    // Writes by the bare name go where reads look.
    put(&store, "activity", &[activity(1, T, 21, 0.5)]);
    assert_eq!(clicks(&store, "activity@2"), Value::Int64(21));
    store.close().unwrap();

    let store = open(dir.path());
    assert_eq!(clicks(&store, "activity"), Value::Int64(21), "it stays switched");
    assert_eq!(store.switch_back("activity").unwrap(), 4);
    assert_eq!(clicks(&store, "activity"), Value::Int64(10));
    assert_eq!(store.switch_back("activity").unwrap(), 5);
    assert_eq!(clicks(&store, "activity"), Value::Int64(21));
}

#[test]
fn an_active_version_serves_at_once_unless_the_name_was_switched() {
    let dir = tempfile::tempdir().unwrap();
    let store = shop(dir.path());
    put(&store, "activity", &[activity(1, T, 10, 0.5)]);
    store.apply_toml(&second("active")).unwrap();
    assert_eq!(clicks(&store, "activity"), Value::Null, "the newest active version, still empty");
    store.switch("activity@1").unwrap();
    assert_eq!(clicks(&store, "activity"), Value::Int64(10));
    let third = second("active").replace("version = 2", "version = 3");
    store.apply_toml(&third).unwrap();
    assert_eq!(clicks(&store, "activity"), Value::Int64(10), "it was switched: it stays");
}

#[test]
fn a_switch_that_readers_would_not_survive_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = shop(dir.path());
    let lacking = second("staged").replace(", { name = \"score\", type = \"float32\" }", "");
    store.apply_toml(&lacking).unwrap();
    let refused = store.switch("activity@2").unwrap_err();
    assert!(matches!(&refused, Error::Refused(_)), "{refused}");
    let told = refused.to_string();
    assert!(told.contains("service shop/rank@1") && told.contains("\"score\""), "{told}");
    for (view, words) in
        [("activity", "names no version"), ("activity@9", "activity@9"), ("nothing@1", "nothing@1")]
    {
        let refused = store.switch(view).unwrap_err().to_string();
        assert!(refused.contains(words), "{words:?} is not in: {refused}");
    }
    let refused = store.switch_back("activity").unwrap_err().to_string();
    assert!(refused.contains("was not switched"), "{refused}");
    assert_eq!(store.registry().version(), 2);
}

#[test]
fn what_a_name_was_switched_to_cannot_be_retired_under_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = shop(dir.path());
    store.apply_toml(&second("active")).unwrap();
    store.switch("activity@1").unwrap();
    let retired = SHOP.replace("ttl = \"1d\"", "lifecycle = \"retired\"\nttl = \"1d\"");
    let refused = store.apply_toml(&retired).unwrap_err().to_string();
    assert!(refused.contains("switch"), "{refused}");
}
