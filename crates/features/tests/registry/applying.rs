//! Applying: idempotent, compared and swapped, never lost, kept over an open.

use std::sync::atomic::{AtomicU64, Ordering};

use thermae_features::definitions::read;
use thermae_features::model::{Kind, ObjectId};
use thermae_features::registry::ApplyOptions;
use thermae_features::{ChangeAction, Definitions, Error};
use thermae_formats::{Feature, FeatureView, Scalar};

use super::{SHOP, open, shop};

fn view(name: &str, feature: &str) -> Definitions {
    let features = vec![Feature::new(feature, Scalar::Float32)];
    Definitions::of_views("p", vec![FeatureView::new("p", name, Vec::new(), features)])
}

#[test]
fn applying_again_changes_nothing_and_all_of_it_is_there_after_an_open() {
    let dir = tempfile::tempdir().unwrap();
    let store = shop(dir.path());
    let published = store.registry().published();
    assert_eq!((published.state.version(), published.state.objects().count()), (1, 6));
    let again = store.apply_toml(SHOP).unwrap();
    assert_eq!((again.base, again.version), (1, 1));
    assert!(again.changes.iter().all(|change| change.action == ChangeAction::Unchanged));
    store.close().unwrap();

    let store = open(dir.path());
    let reopened = store.registry().published();
    assert_eq!(reopened.state.version(), 1);
    assert!(reopened.state.objects().eq(published.state.objects()));
    let log = store.registry().log(10);
    assert_eq!(log.len(), 1);
    assert!(log[0].1.lines.contains(&"Created feature service shop/rank@1".to_owned()), "{log:?}");
}

#[test]
fn a_plan_says_what_changes_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = shop(dir.path());
    let text = SHOP.replace("ttl = \"1d\"", "ttl = \"2d\"");
    let plan = store.plan(&read("f", &text).unwrap()).unwrap().to_string();
    assert!(plan.contains("~ feature view shop/activity@1\n    ~ ttl 1d -> 2d\n"), "{plan}");
    assert!(plan.contains("read by feature service shop/rank@1, model shop/ranker@1"), "{plan}");
    assert_eq!(store.registry().version(), 1);
    let catalogue = store.handle().catalogue();
    let stored = catalogue.view_at("shop", "activity", 1).unwrap();
    assert_eq!(stored.latest.definition.ttl_us, 86_400_000_000);
}

#[test]
fn whoever_looked_at_an_older_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = shop(dir.path());
    let options = ApplyOptions { if_version: Some(1), by: "ann".to_owned() };
    assert_eq!(store.apply(&view("a", "f"), &options).unwrap().version, 2);
    let refused = store.apply(&view("b", "f"), &options).unwrap_err();
    assert!(matches!(refused, Error::Conflict { expected: 1, found: 2 }), "{refused}");
    assert_eq!(store.registry().log(1)[0].1.by, "ann");
    let id = ObjectId::new(Kind::View, "p", "b", 1);
    assert!(store.registry().published().state.object(&id).is_none());
}

#[test]
fn a_refusal_leaves_registry_and_store_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let store = shop(dir.path());
    // One that is fine beside one that is not.
    let text = SHOP.replace("clicks\", type = \"int64\"", "clicks\", type = \"string\"");
    let text = format!(
        "{text}\n[views.fine]\nttl = \"0\"\nfeatures = [{{ name = \"f\", type = \"bool\" }}]\n"
    );
    let refused = store.apply_toml(&text).unwrap_err();
    assert!(refused.to_string().contains("\"clicks\" changes from int64 to string"), "{refused}");
    assert_eq!(store.registry().version(), 1);
    assert!(store.handle().catalogue().view_at("shop", "fine", 1).is_none());
}

#[test]
fn applies_side_by_side_lose_no_update() {
    let dir = tempfile::tempdir().unwrap();
    let store = shop(dir.path());
    let conflicts = AtomicU64::new(0);
    let (threads, each) = (4_u64, 8);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (store, conflicts) = (&store, &conflicts);
            scope.spawn(move || {
                for at in 0..each {
                    let definitions = view(&format!("v{thread}_{at}"), "f");
                    // Compares and swaps until it is in.
                    loop {
                        let if_version = Some(store.registry().version());
                        let options = ApplyOptions { if_version, by: thread.to_string() };
                        match store.apply(&definitions, &options) {
                            Ok(_) => break,
                            Err(Error::Conflict { .. }) => {
                                conflicts.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(other) => panic!("{other}"),
                        }
                    }
                }
            });
        }
    });
    let state = &store.registry().published().state;
    assert_eq!(state.version(), 1 + threads * each);
    for (thread, at) in (0..threads).flat_map(|thread| (0..each).map(move |at| (thread, at))) {
        let id = ObjectId::new(Kind::View, "p", format!("v{thread}_{at}"), 1);
        assert!(state.object(&id).is_some(), "{id} is lost");
        assert!(store.handle().catalogue().view_at("p", &id.name, 1).is_some(), "{id}");
    }
    // One a version, each by whom it was.
    assert_eq!(store.registry().log(1_000).len() as u64, 1 + threads * each);
}

#[test]
fn two_that_change_one_view_from_one_version_cannot_both_win() {
    let dir = tempfile::tempdir().unwrap();
    let store = shop(dir.path());
    store.apply(&view("v", "a"), &ApplyOptions::default()).unwrap();
    let with = |feature: &str| {
        let features = ["a", feature].map(|name| Feature::new(name, Scalar::Float32)).to_vec();
        Definitions::of_views("p", vec![FeatureView::new("p", "v", Vec::new(), features)])
    };
    store.apply(&with("b"), &ApplyOptions::default()).unwrap();
    // Without a look at what has come it would take `b` away.
    let refused = store.apply(&with("c"), &ApplyOptions::default()).unwrap_err();
    assert!(refused.to_string().contains("\"b\" is removed"), "{refused}");
}

#[test]
fn views_that_were_defined_beside_the_registry_are_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = shop(dir.path());
    let [alone] = &view("alone", "f").views().cloned().collect::<Vec<_>>()[..] else { panic!() };
    store.handle().apply(std::slice::from_ref(alone)).unwrap();
    store.close().unwrap();
    let store = open(dir.path());
    let id = ObjectId::new(Kind::View, "p", "alone", 1);
    assert_eq!(store.registry().version(), 2);
    assert!(store.registry().published().state.object(&id).is_some());
    // And beside one that is open.
    let other = FeatureView { name: "other".to_owned(), ..alone.clone() };
    store.handle().apply(&[other]).unwrap();
    store.apply(&view("third", "f"), &ApplyOptions::default()).unwrap();
    let id = ObjectId::new(Kind::View, "p", "other", 1);
    assert!(store.registry().published().state.object(&id).is_some());
}

#[test]
fn a_store_without_its_registry_has_its_views_and_the_rest_comes_by_applying_again() {
    let dir = tempfile::tempdir().unwrap();
    shop(dir.path()).close().unwrap();
    std::fs::remove_file(dir.path().join(thermae_features::registry::FILE)).unwrap();
    let store = open(dir.path());
    assert_eq!(store.registry().published().state.objects().count(), 2, "the views alone");
    store.apply_toml(SHOP).unwrap();
    assert_eq!(store.registry().published().state.objects().count(), 6);
}
