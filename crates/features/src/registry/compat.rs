//! Which changes of an object its readers survive.
//!
//! Feature views are judged by the rules of `thermae_formats::schema_change`; a service by what it gives to
//! those who read it: its columns, in their order, keep their names, features and keys, and new ones come
//! behind. What is computed may not change under its version at all.

use std::collections::BTreeMap;

use thermae_formats::Change;
use thermae_formats::schema_change::differences;
use thermae_formats::time::format_duration_us;

use crate::model::{
    About, Body, Check, Entity, Lifecycle, Model, Object, OnDemandView, Pick, Service, Source, View,
};

/// What a definition changes of an object.
pub(super) enum Difference {
    /// Nothing.
    None,
    /// Something that readers survive; one line a difference.
    Compatible(Vec<String>),
}

const NEW_VERSION: &str = "register it under a new version, beside this one";

/// What `new` changes of `old`, which has the same id.
///
/// # Errors
/// What readers would not survive, and what to do instead.
pub(super) fn difference(old: &Object, new: &Object) -> Result<Difference, String> {
    if old == new {
        return Ok(Difference::None);
    }
    check_lifecycle(old.about.lifecycle, new.about.lifecycle)?;
    let mut lines = match (&old.body, &new.body) {
        (Body::Entity(old), Body::Entity(new)) => entity(old, new),
        (Body::Source(old), Body::Source(new)) => source(old, new),
        (Body::View(old), Body::View(new)) => view(old, new)?,
        (Body::OnDemand(old), Body::OnDemand(new)) => on_demand(old, new)?,
        (Body::Service(old), Body::Service(new)) => service(old, new)?,
        (Body::Model(old), Body::Model(new)) => model(old, new),
        _ => return Err(format!("{} and {} are of different kinds", old.id, new.id)),
    };
    about(&old.about, &new.about, &mut lines);
    Ok(Difference::Compatible(lines))
}

/// What a new object is, in a few lines.
pub(super) fn summary(object: &Object) -> Vec<String> {
    match &object.body {
        Body::Entity(entity) => entity
            .join_keys
            .iter()
            .map(|key| format!("+ join key {} {}", key.name, key.key_type))
            .collect(),
        Body::Source(_) => Vec::new(),
        Body::View(view) => {
            let features = view.definition.features.iter().map(|feature| {
                let line = format!("+ feature {} {}", feature.name, feature.value_type);
                match view.rules.computed.get(&feature.name) {
                    Some(expression) => format!("{line} = {expression}"),
                    None => line,
                }
            });
            features.chain(view.rules.checks.iter().map(check_line)).collect()
        }
        Body::OnDemand(view) => view
            .features
            .iter()
            .map(|feature| {
                format!(
                    "+ feature {} {} = {}",
                    feature.name, feature.value_type, feature.expression
                )
            })
            .collect(),
        Body::Service(service) => picks(&service.features),
        Body::Model(model) => {
            let services = model.services.iter().map(|name| format!("+ service {name}"));
            services.chain(picks(&model.features)).collect()
        }
    }
}

/// A check as definitions write it.
fn check_line(check: &Check) -> String {
    format!("+ check {}", serde_json::to_string(check).unwrap_or_default())
}

fn picks(picks: &[Pick]) -> Vec<String> {
    picks.iter().map(|pick| format!("+ {pick}")).collect()
}

fn check_lifecycle(old: Lifecycle, new: Lifecycle) -> Result<(), String> {
    match (old, new) {
        (Lifecycle::Retired, new) if new != Lifecycle::Retired => Err(format!(
            "it is retired and cannot become {}: who relied on its end would read it again; {NEW_VERSION}",
            new.name()
        )),
        (old, Lifecycle::Staged) if old != Lifecycle::Staged => Err(format!(
            "it is {} and cannot become staged: readers rely on it; {NEW_VERSION}",
            old.name()
        )),
        _ => Ok(()),
    }
}

fn about(old: &About, new: &About, lines: &mut Vec<String>) {
    let mut note = |what: &str, old: &str, new: &str| {
        let line = format!("~ {what} {old:?} -> {new:?}");
        // The differences of a view name its owner already.
        if old != new && !lines.contains(&line) {
            lines.push(line);
        }
    };
    note("lifecycle", old.lifecycle.name(), new.lifecycle.name());
    note("owner", &old.owner, &new.owner);
    note("domain", &old.domain, &new.domain);
    note("team", &old.team, &new.team);
    note("description", &old.description, &new.description);
    let tags = |tags: &BTreeMap<String, String>| {
        tags.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    };
    note("tags", &tags(&old.tags), &tags(&new.tags));
}

/// Whether views that exist have the keys of their entities is seen when the whole is checked.
fn entity(old: &Entity, new: &Entity) -> Vec<String> {
    let list = |entity: &Entity| {
        let keys = entity.join_keys.iter().map(|key| format!("{} {}", key.name, key.key_type));
        keys.collect::<Vec<_>>().join(", ")
    };
    let (before, now) = (list(old), list(new));
    if before == now { Vec::new() } else { vec![format!("~ join keys ({before}) -> ({now})")] }
}

fn source(old: &Source, new: &Source) -> Vec<String> {
    let mut lines = Vec::new();
    if old.hint != new.hint {
        lines.push(format!("~ source {} -> {}", old.hint.to_source(), new.hint.to_source()));
    }
    if old.upstream != new.upstream {
        lines.push(format!("~ upstream {:?} -> {:?}", old.upstream, new.upstream));
    }
    lines
}

fn view(old: &View, new: &View) -> Result<Vec<String>, String> {
    let change = new.definition.change_from(&old.definition).map_err(|e| e.to_string())?;
    let mut lines = match change {
        Change::None => Vec::new(),
        Change::Policy | Change::Compatible => differences(&old.definition, &new.definition),
    };
    rules(old, new, &mut lines)?;
    if old.source != new.source {
        let name = |source: &Option<String>| source.clone().unwrap_or_else(|| "none".to_owned());
        lines.push(format!("~ source {} -> {}", name(&old.source), name(&new.source)));
    }
    Ok(lines)
}

/// Checks may change: they judge what is written from now on. What is computed may not.
fn rules(before: &View, new: &View, lines: &mut Vec<String>) -> Result<(), String> {
    let (old, now) = (&before.rules, &new.rules);
    for (feature, expression) in &old.computed {
        if now.computed.get(feature) != Some(expression) {
            return Err(format!(
                "the expression of feature {feature:?} changes or goes: rows that are stored, and models that were \
                 trained on them, have the old values; {NEW_VERSION}"
            ));
        }
    }
    for (feature, expression) in &now.computed {
        let is_new = before.definition.feature(feature).is_none();
        if !old.computed.contains_key(feature) && !is_new {
            return Err(format!(
                "feature {feature:?} was stored as it came and would be computed now ({expression}): rows that are \
                 stored have other values; {NEW_VERSION}"
            ));
        }
    }
    let gone = old.checks.iter().filter(|check| !now.checks.contains(check));
    lines.extend(gone.map(|check| check_line(check).replacen('+', "-", 1)));
    lines.extend(now.checks.iter().filter(|check| !old.checks.contains(check)).map(check_line));
    let mut note = |what: &str, old: String, new: String| {
        if old != new {
            lines.push(format!("~ {what} {old} -> {new}"));
        }
    };
    note("on_failure", old.on_failure.name().to_owned(), now.on_failure.name().to_owned());
    let duration = |us: i64| format_duration_us(us);
    note("quarantine_for", duration(old.quarantine_for_us), duration(now.quarantine_for_us));
    note("fresh_within", duration(old.fresh_within_us), duration(now.fresh_within_us));
    Ok(())
}

fn on_demand(old: &OnDemandView, new: &OnDemandView) -> Result<Vec<String>, String> {
    let changed = |what: &str| {
        Err(format!(
            "{what}: models that were trained on it would be served other values; {NEW_VERSION}"
        ))
    };
    if old.inputs != new.inputs {
        return changed("its inputs change");
    }
    if let Some(field) = old.request.iter().find(|field| !new.request.contains(field)) {
        return changed(&format!("the request field {:?} changes or goes", field.name));
    }
    if let Some(field) = new.request.iter().find(|field| !old.request.contains(field)) {
        return changed(&format!("requests would have to bring {:?}", field.name));
    }
    let mut lines = Vec::new();
    for before in &old.features {
        let name = &before.name;
        let Some(now) = new.features.iter().find(|feature| feature.name == *name) else {
            return changed(&format!("feature {name:?} is removed"));
        };
        if now.value_type != before.value_type {
            let (was, is) = (&before.value_type, &now.value_type);
            return changed(&format!("feature {name:?} changes from {was} to {is}"));
        }
        if now.expression != before.expression {
            return changed(&format!("the expression of feature {name:?} changes"));
        }
        if now.description != before.description {
            lines.push(format!("~ description of feature {name}"));
        }
    }
    for now in &new.features {
        if !old.features.iter().any(|before| before.name == now.name) {
            lines.push(format!("+ feature {} {} = {}", now.name, now.value_type, now.expression));
        }
    }
    if lines.is_empty() && old != new {
        return changed("the order of its features changes");
    }
    Ok(lines)
}

fn service(old: &Service, new: &Service) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    for (at, before) in old.features.iter().enumerate() {
        let broken = |what: String| {
            Err(format!(
                "{what}: who reads it relies on its columns and their order; {NEW_VERSION}"
            ))
        };
        let Some(now) = new.features.get(at) else {
            return broken(format!("{before} is removed"));
        };
        if before == now {
            continue;
        }
        let same_frame = Pick { features: Vec::new(), rename: BTreeMap::new(), ..before.clone() }
            == Pick { features: Vec::new(), rename: BTreeMap::new(), ..now.clone() };
        if !same_frame {
            return broken(format!("{before} becomes {now}"));
        }
        // More features may come behind only where nothing else stands behind them.
        let is_last = at + 1 == old.features.len();
        let keeps = !before.features.is_empty()
            && now.features.starts_with(&before.features)
            && before.features.iter().all(|name| before.rename.get(name) == now.rename.get(name));
        if !keeps || (!is_last && now.features != before.features) {
            return broken(format!("{before} becomes {now}"));
        }
        for name in now.features.iter().skip(before.features.len()) {
            lines.push(format!("+ {}:{name}", now.view));
        }
    }
    lines.extend(new.features.iter().skip(old.features.len()).map(|pick| format!("+ {pick}")));
    Ok(lines)
}

fn model(old: &Model, new: &Model) -> Vec<String> {
    let list = |model: &Model| {
        let services = model.services.iter().map(ToString::to_string);
        services.chain(model.features.iter().map(ToString::to_string)).collect::<Vec<_>>()
    };
    let (before, now) = (list(old), list(new));
    let gone = before.iter().filter(|name| !now.contains(name)).map(|name| format!("- {name}"));
    let come = now.iter().filter(|name| !before.contains(name)).map(|name| format!("+ {name}"));
    gone.chain(come).collect()
}
