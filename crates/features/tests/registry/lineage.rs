//! What comes from what, and what a change reaches.

use thermae_features::lineage::Node;

use super::{SHOP, shop};

const MORE: &str = r#"
[on_demand.rates]
inputs = ["activity:clicks"]
request = [{ name = "hours", type = "float64" }]
features = [{ name = "rate", type = "float64", expression = "clicks / hours" }]

[services.rates]
features = ["rates:rate"]
owner = "cid"

[models.direct]
features = ["activity:score"]
owner = "dan"
"#;

#[test]
fn edges_follow_from_what_objects_say() {
    let dir = tempfile::tempdir().unwrap();
    let store = shop(dir.path());
    store.apply_toml(&format!("{SHOP}{MORE}")).unwrap();
    let (published, lineage) = store.lineage();
    let state = &published.state;
    let find = |text: &str| lineage.find(state, text).unwrap();
    let keys = |nodes: Vec<Node>| nodes.iter().map(Node::key).collect::<Vec<_>>();
    let up = keys(lineage.upstream(&find("model:ranker")));
    for key in [
        "service:shop/rank@1",
        "feature:shop/activity@1:score",
        "view:shop/activity@1",
        "source:shop/events",
        "entity:shop/user",
        "external:kafka:clicks",
        "view:shop/weather@1",
    ] {
        assert!(up.iter().any(|found| found == key), "{key} is not in {up:?}");
        assert_eq!(find(key).key(), key);
    }
    assert!(!up.iter().any(|key| key.contains("rates")), "{up:?}");
    let down = keys(lineage.downstream(&find("external:kafka:clicks")));
    assert!(down.contains(&"model:shop/direct@1".to_owned()), "{down:?}");
    assert!(!down.contains(&"view:shop/weather@1".to_owned()), "{down:?}");
}

#[test]
fn the_impact_of_a_feature_is_what_reads_it_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let store = shop(dir.path());
    store.apply_toml(&format!("{SHOP}{MORE}")).unwrap();
    let (published, lineage) = store.lineage();
    let state = &published.state;
    let impact = |text: &str| {
        let impact = lineage.impact(state, &lineage.find(state, text).unwrap());
        let names = |ids: &[thermae_features::model::ObjectId]| {
            ids.iter().map(|id| id.name.clone()).collect::<Vec<_>>().join(" ")
        };
        let features: Vec<String> = impact.features.iter().map(Node::key).collect();
        (
            features.join(" "),
            names(&impact.services),
            names(&impact.models),
            impact.owners.join(" "),
        )
    };
    let told = |features: &str, services: &str, models: &str, owners: &str| {
        (features.to_owned(), services.to_owned(), models.to_owned(), owners.to_owned())
    };
    assert_eq!(
        impact("activity:clicks"),
        told("feature:shop/rates@1:rate", "rank rates", "ranker", "ann bob cid")
    );
    assert_eq!(impact("shop/activity@1:score"), told("", "rank", "direct ranker", "ann bob dan"));
    assert_eq!(impact("on_demand:rates:rate"), told("", "rates", "", "cid"));
}

#[test]
fn what_is_not_there_or_not_clear_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let store = shop(dir.path());
    store.apply_toml(&format!("{SHOP}{MORE}")).unwrap();
    let (published, lineage) = store.lineage();
    for (text, words) in [
        ("activity:x", "clicks, score"),
        ("view:nothing", "no feature view nothing"),
        ("rates", "on_demand:shop/rates@1 or service:shop/rates@1"),
        ("external:kafka:other", "is nothing in the registry"),
        ("", "name"),
    ] {
        let refused = lineage.find(&published.state, text).unwrap_err().to_string();
        assert!(refused.contains(words), "{text:?}: {words:?} is not in: {refused}");
    }
}
