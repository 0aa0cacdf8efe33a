#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
//! What is compatible and what is not, by generated matrices, and what plans say.

use thermae_formats::{Scalar, ValueType};

use super::Plan;
use super::plan::{ChangeAction, plan};
use crate::definitions::read;
use crate::error::{Error, Refusal};
use crate::state::State;

const BASE: &str = r#"format = 1
project = "p"
owner = "ann"
domain = "web"
team = "ads"

[entities.user]
join_keys = [{ name = "uid", type = "int32" }]

[sources.log]
file = "log.parquet"
event_time = "at"
upstream = ["kafka:clicks"]

[views.clicks]
entities = ["user"]
ttl = "1d"
source = "log"
features = [{ name = "n", type = "int32", default = 3 }, { name = "t", type = "string" }]

[views."clicks@2"]
entities = ["user"]
ttl = "1d"
lifecycle = "staged"
features = [{ name = "n", type = "int64" }, { name = "t", type = "string" }]

[on_demand.twice]
inputs = ["clicks:n"]
request = [{ name = "k", type = "int64" }]
features = [{ name = "m", type = "int64", expression = "n * k" }]

[services.rank]
features = ["clicks:n,t", "twice:m"]

[models.ranker]
services = ["rank"]
owner = "bob"
"#;

fn planned(state: &State, text: &str) -> Result<Plan, Vec<Refusal>> {
    let definitions = read("f.toml", text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    plan(state, &definitions).map_err(|error| match error {
        Error::Refused(refusals) => refusals,
        other => panic!("{other}"),
    })
}

fn base() -> State {
    planned(&State::default(), BASE).unwrap_or_else(|e| panic!("{e:?}")).next
}

fn changed(from: &str, to: &str) -> String {
    assert!(BASE.contains(from), "{from:?} is not in the definitions");
    BASE.replacen(from, to, 1)
}

/// What the change of one text by another is refused for.
fn refused(from: &str, to: &str) -> Vec<Refusal> {
    match planned(&base(), &changed(from, to)) {
        Ok(plan) => panic!("{from:?} -> {to:?} was accepted:\n{plan}"),
        Err(refusals) => refusals,
    }
}

/// What changes, into what, the object that is refused, words of the reason.
const INCOMPATIBLE: &[(&str, &str, &str, &[&str])] = &[
    // Entities: rows are stored by their keys.
    (
        "\"uid\", type = \"int32\"",
        "\"uid\", type = \"int64\"",
        "feature view p/clicks@1",
        &["join keys change", "int64"],
    ),
    (
        "\"uid\", type = \"int32\"",
        "\"id\", type = \"int32\"",
        "feature view p/clicks@1",
        &["join keys change", "id"],
    ),
    (
        "{ name = \"uid\", type = \"int32\" }",
        "{ name = \"uid\", type = \"int32\" }, { name = \"s\", type = \"string\" }",
        "feature view p/clicks@1",
        &["join keys change"],
    ),
    // Views.
    (
        "{ name = \"n\", type = \"int32\", default = 3 }, ",
        "",
        "feature view p/clicks@1",
        &["\"n\" is removed"],
    ),
    (
        "\"n\", type = \"int32\", default = 3",
        "\"nn\", type = \"int32\", default = 3",
        "feature view p/clicks@1",
        &["\"n\" is removed"],
    ),
    (
        "default = 3",
        "default = 4",
        "feature view p/clicks@1",
        &["default of feature \"n\"", "3", "4"],
    ),
    (", default = 3", "", "feature view p/clicks@1", &["default of feature \"n\""]),
    (
        "{ name = \"t\", type = \"string\" }]\n\n[views.\"",
        "{ name = \"t\", type = \"string\", default = \"x\" }]\n\n[views.\"",
        "feature view p/clicks@1",
        &["default of feature \"t\""],
    ),
    (
        "[views.clicks]\nentities = [\"user\"]",
        "[views.clicks]\nentities = []",
        "feature view p/clicks@1",
        &["join keys change"],
    ),
    // On-demand views: the values of a version do not change.
    (
        "inputs = [\"clicks:n\"]",
        "inputs = [\"clicks:t\"]",
        "on-demand view p/twice@1",
        &["inputs change"],
    ),
    (
        "inputs = [\"clicks:n\"]",
        "inputs = [\"clicks@2:n\"]",
        "on-demand view p/twice@1",
        &["inputs change"],
    ),
    (
        "{ name = \"k\", type = \"int64\" }",
        "{ name = \"k\", type = \"float64\" }",
        "on-demand view p/twice@1",
        &["\"k\"", "changes or goes"],
    ),
    (
        "request = [{ name = \"k\", type = \"int64\" }]\n",
        "",
        "on-demand view p/twice@1",
        &["\"k\"", "changes or goes"],
    ),
    (
        "{ name = \"k\", type = \"int64\" }",
        "{ name = \"k\", type = \"int64\" }, { name = \"l\", type = \"int64\" }",
        "on-demand view p/twice@1",
        &["would have to bring \"l\""],
    ),
    ("n * k", "n + k", "on-demand view p/twice@1", &["expression of feature \"m\""]),
    (
        "\"m\", type = \"int64\"",
        "\"m\", type = \"int32\"",
        "on-demand view p/twice@1",
        &["\"m\" changes from int64 to int32"],
    ),
    ("name = \"m\"", "name = \"mm\"", "on-demand view p/twice@1", &["\"m\" is removed"]),
    // Services: columns keep their names, places and meaning.
    (
        "[\"clicks:n,t\", \"twice:m\"]",
        "[\"clicks:n,t\"]",
        "feature service p/rank@1",
        &["twice:m is removed"],
    ),
    (
        "[\"clicks:n,t\", \"twice:m\"]",
        "[\"twice:m\", \"clicks:n,t\"]",
        "feature service p/rank@1",
        &["becomes twice:m"],
    ),
    ("\"clicks:n,t\"", "\"clicks:t,n\"", "feature service p/rank@1", &["becomes clicks:t,n"]),
    ("\"clicks:n,t\"", "\"clicks:n\"", "feature service p/rank@1", &["becomes clicks:n"]),
    ("\"clicks:n,t\"", "\"clicks@2:n,t\"", "feature service p/rank@1", &["becomes clicks@2:n,t"]),
    ("\"clicks:n,t\"", "\"c=clicks:n,t\"", "feature service p/rank@1", &["becomes c=clicks"]),
    (
        "\"clicks:n,t\"",
        "{ view = \"clicks\", features = [\"n\", \"t\"], rename = { n = \"m2\" } }",
        "feature service p/rank@1",
        &["becomes", "n as m2"],
    ),
    (
        "\"clicks:n,t\"",
        "{ view = \"clicks\", features = [\"n\", \"t\"], join_keys = { uid = \"seller\" } }",
        "feature service p/rank@1",
        &["becomes", "uid as seller"],
    ),
];

#[test]
fn every_incompatible_change_of_every_kind_is_refused_with_its_object_and_reason() {
    for (from, to, object, words) in INCOMPATIBLE {
        let refusals = refused(from, to);
        let found = refusals.iter().find(|refusal| refusal.object == *object);
        let found = found.unwrap_or_else(|| panic!("{from:?} -> {to:?}: {refusals:?}"));
        assert!(found.is_incompatible, "{found:?}");
        for word in *words {
            assert!(found.reason.contains(word), "{word:?} is not in {found:?}");
        }
        assert!(found.reason.contains("version"), "it says what to do instead: {found:?}");
    }
}

/// All types that a feature can have, of each sort.
fn types() -> Vec<ValueType> {
    let scalars = [
        Scalar::Bool,
        Scalar::Int32,
        Scalar::Int64,
        Scalar::Float32,
        Scalar::Float64,
        Scalar::String,
        Scalar::Bytes,
        Scalar::Timestamp,
        Scalar::Uuid,
        Scalar::Json,
    ];
    let lists = scalars.into_iter().map(ValueType::List);
    let others = ["vector<float32, 2>", "vector<float32, 3>", "opaque<a>", "opaque<b>"];
    let others = others.into_iter().map(|text| text.parse().unwrap());
    scalars.into_iter().map(ValueType::Scalar).chain(lists).chain(others).collect()
}

#[test]
fn of_all_changes_of_a_type_only_the_two_that_widen_are_accepted() {
    let view = |value_type: &ValueType| {
        format!(
            "format = 1\nproject = \"p\"\n[views.v]\nttl = \"0\"\nfeatures = [{{ name = \"f\", type = \
             \"{value_type}\" }}]\n"
        )
    };
    let (mut accepted, mut count) = (Vec::new(), 0);
    for old in types() {
        let state = planned(&State::default(), &view(&old)).unwrap().next;
        for new in types() {
            count += 1;
            match planned(&state, &view(&new)) {
                Ok(plan) if old == new => assert!(plan.is_empty(), "{old} stays"),
                Ok(_) => accepted.push((old.to_string(), new.to_string())),
                Err(refusals) => {
                    let [refusal] = &refusals[..] else { panic!("{refusals:?}") };
                    assert!(refusal.is_incompatible && refusal.object == "feature view p/v@1");
                    let words = format!("feature \"f\" changes from {old} to {new}");
                    assert!(refusal.reason.contains(&words), "{words}: {refusal:?}");
                }
            }
        }
    }
    let wide = [("int32", "int64"), ("float32", "float64")];
    let wide = wide.map(|(old, new)| (old.to_owned(), new.to_owned()));
    assert_eq!((accepted, count), (wide.to_vec(), 24 * 24));
}

#[test]
fn what_readers_survive_is_accepted_and_told() {
    // (what changes, into what, words of the plan)
    let matrix: &[(&str, &str, &str)] = &[
        (
            "\"n\", type = \"int32\", default = 3",
            "\"n\", type = \"int64\", default = 3",
            "~ feature n int32 -> int64",
        ),
        ("{ name = \"t\", type = \"string\" }]\nttl", "", ""),
        ("ttl = \"1d\"\nsource", "ttl = \"2d\"\nsource", "~ ttl 1d -> 2d"),
        (
            "[{ name = \"n\", type = \"int32\", default = 3 }",
            "[{ name = \"x\", type = \"bytes\" }, { name = \"n\", type = \"int32\", default = 3 }",
            "+ feature x bytes",
        ),
        (
            "source = \"log\"\n",
            "source = \"log\"\ndescription = \"of a day\"\n",
            "~ description \"\" -> \"of a day\"",
        ),
        (
            "source = \"log\"\n",
            "source = \"log\"\nlifecycle = \"deprecated\"\n",
            "~ lifecycle \"active\" -> \"deprecated\"",
        ),
        ("source = \"log\"\n", "source = \"log\"\nteam = \"core\"\n", "~ team \"ads\" -> \"core\""),
        ("kafka:clicks", "kafka:views", "~ upstream"),
        (
            "expression = \"n * k\" }",
            "expression = \"n * k\" }, { name = \"o\", type = \"int64\", expression = \"n\" }",
            "+ feature o int64 = n",
        ),
        ("\"twice:m\"]", "\"twice:m\", \"v2=clicks@2:n\"]", "+ v2=clicks@2:n"),
        ("owner = \"bob\"", "owner = \"eve\"", "~ owner \"bob\" -> \"eve\""),
        ("services = [\"rank\"]", "features = [\"clicks:n\"]", "- rank"),
        (
            "lifecycle = \"staged\"",
            "lifecycle = \"active\"",
            "~ lifecycle \"staged\" -> \"active\"",
        ),
    ];
    for (from, to, words) in matrix.iter().filter(|(.., words)| !words.is_empty()) {
        let plan = planned(&base(), &changed(from, to));
        let plan = plan.unwrap_or_else(|e| panic!("{from:?} -> {to:?}: {e:?}"));
        let told = plan.to_string();
        assert!(told.contains(words), "{words:?} is not in:\n{told}");
        assert_eq!((plan.base, plan.version()), (1, 2));
        assert!(told.contains("registry version 1 -> 2"), "{told}");
    }
    let widened =
        changed("\"n\", type = \"int32\", default = 3", "\"n\", type = \"int64\", default = 3");
    let told = planned(&base(), &widened).unwrap().to_string();
    assert!(told.contains("read by feature service p/rank@1, model p/ranker@1"), "{told}");
}

#[test]
fn repeating_definitions_changes_nothing() {
    let plan = planned(&base(), BASE).unwrap();
    assert!(plan.is_empty() && plan.version() == plan.base);
    assert!(plan.changes.iter().all(|change| change.action == ChangeAction::Unchanged));
    assert!(plan.to_string().contains("nothing changes"), "{plan}");
}

#[test]
fn life_goes_forward_only() {
    let stages = ["staged", "active", "deprecated", "retired"];
    let view = |stage: &str| {
        format!(
            "format = 1\nproject = \"p\"\n[views.v]\nttl = \"0\"\nlifecycle = \"{stage}\"\nfeatures = [{{ name = \
             \"f\", type = \"bool\" }}]\n"
        )
    };
    let mut accepted = Vec::new();
    for old in stages {
        let state = planned(&State::default(), &view(old)).unwrap().next;
        for new in stages.into_iter().filter(|new| *new != old) {
            match planned(&state, &view(new)) {
                Ok(_) => accepted.push((old, new)),
                Err(refusals) => {
                    assert!(refusals[0].reason.contains("cannot become"), "{refusals:?}")
                }
            }
        }
    }
    let forward = [
        ("staged", "active"),
        ("staged", "deprecated"),
        ("staged", "retired"),
        ("active", "deprecated"),
        ("active", "retired"),
        ("deprecated", "active"),
        ("deprecated", "retired"),
    ];
    assert_eq!(accepted, forward);
}

#[test]
fn what_does_not_fit_together_is_refused_by_name() {
    // (what changes, into what, words of a refusal)
    let matrix: &[(&str, &str, &[&str])] = &[
        (
            "\"twice:m\"]",
            "\"twice:m\", \"clicks:x\"]",
            &["service p/rank", "\"x\"", "clicks@1 does not have"],
        ),
        (
            "\"twice:m\"]",
            "\"twice:m\", \"click:n\"]",
            &["service p/rank", "no feature view", "p/clicks@1"],
        ),
        (
            "\"twice:m\"]",
            "\"twice:m\", \"clicks:n\"]",
            &["service p/rank", "two of its columns", "clicks__n"],
        ),
        (
            "services = [\"rank\"]",
            "services = [\"rang\"]",
            &["model p/ranker", "no feature service rang"],
        ),
        (
            "source = \"log\"\n",
            "source = \"log\"\nlifecycle = \"retired\"\n",
            &["service p/rank", "clicks@2 is staged"],
        ),
        (
            "features = [\"clicks:n,t\"",
            "lifecycle = \"retired\"\nfeatures = [\"clicks:n,t\"",
            &["model p/ranker", "rank@1 is retired"],
        ),
        (
            "[models.ranker]\nservices = [\"rank\"]",
            "[models.ranker]\nfeatures = [{ view = \"clicks\", join_keys = { user = \"u\" } }]",
            &["model p/ranker", "maps join key \"user\""],
        ),
        ("[on_demand.twice]", "[on_demand.clicks]", &["same name"]),
    ];
    for (from, to, words) in matrix {
        let told: Vec<String> = refused(from, to).iter().map(ToString::to_string).collect();
        let is_told = told.iter().any(|told| words.iter().all(|word| told.contains(word)));
        assert!(is_told, "{from:?} -> {to:?}: {words:?} are not in {told:?}");
    }
}

#[test]
fn a_new_version_that_lacks_what_its_readers_read_must_be_staged() {
    let newer = "format = 1\nproject = \"p\"\n[views.clicks]\nversion = 3\nttl = \"0\"\nfeatures = [{ name = \"n\", \
                 type = \"int64\" }]\n";
    let refusals = planned(&base(), newer).unwrap_err();
    let told = refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert!(
        told.contains("p/rank@1") && told.contains("\"t\"") && told.contains("stage"),
        "{told}"
    );
    let staged = newer.replace("ttl", "lifecycle = \"staged\"\nttl");
    planned(&base(), &staged).unwrap();
}
