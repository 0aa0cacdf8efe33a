//! Whether the objects of a registry fit together.

use thermae_formats::JoinKey;

use crate::error::Refusal;
use crate::model::{Body, Kind, Lifecycle, Name, Object, ObjectId, Pick};
use crate::on_demand;
use crate::state::State;

/// Everything that does not fit; of what is retired nothing is asked.
pub(super) fn check(state: &State) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    for object in state.objects().filter(|object| object.about.lifecycle != Lifecycle::Retired) {
        if let Err(reason) = check_object(state, object) {
            refusals.push(Refusal::wrong(&object.id, reason));
        }
    }
    for ((project, view), switch) in &state.switches {
        let id = ObjectId::new(Kind::View, project, view, switch.version);
        if state.object(&id).is_none_or(|object| !object.about.lifecycle.is_serving()) {
            let reason = format!(
                "the bare name {project}/{view} was switched to it: switch to another version first"
            );
            refusals.push(Refusal::wrong(&id, reason));
        }
    }
    refusals
}

fn check_object(state: &State, object: &Object) -> Result<(), String> {
    let project = object.id.project.as_str();
    match &object.body {
        Body::Entity(_) | Body::Source(_) => Ok(()),
        Body::View(view) => {
            let other = state.versions(Kind::OnDemand, project, &object.id.name).next();
            if let Some(other) = other {
                return Err(format!("{} has the same name: call one otherwise", other.id));
            }
            if let Some(source) = &view.source {
                let id = ObjectId::new(Kind::Source, project, source, 1);
                if state.object(&id).is_none() {
                    return Err(format!("its source {source:?} is not declared"));
                }
            }
            check_keys(state, project, &view.definition.entities, &view.definition.join_keys)
        }
        Body::OnDemand(view) => {
            for pick in &view.inputs {
                check_pick(state, project, pick)?;
            }
            on_demand::compile(state, view, project).map(|_| ())
        }
        Body::Service(service) => {
            let mut columns = std::collections::HashSet::new();
            for pick in &service.features {
                check_pick(state, project, pick)?;
                let found = state.pick(pick, Some(project)).map_err(|e| e.to_string())?;
                for feature in found.features {
                    let column = pick.column(feature, true);
                    if let Some(column) = columns.replace(column) {
                        return Err(format!(
                            "two of its columns are called {column:?}: give one an alias (as) or another name \
                             (rename)"
                        ));
                    }
                }
            }
            Ok(())
        }
        Body::Model(model) => {
            for pick in &model.features {
                check_pick(state, project, pick)?;
            }
            model.services.iter().try_for_each(|name| check_service(state, project, name))
        }
    }
}

fn check_service(state: &State, project: &str, name: &Name) -> Result<(), String> {
    state.find(&[Kind::Service], name, Some(project)).map(|_| ()).map_err(|e| e.to_string())
}

/// The object that is picked from; everything that a pick names is there.
fn check_pick<'a>(state: &'a State, project: &str, pick: &Pick) -> Result<&'a Object, String> {
    let views = [Kind::View, Kind::OnDemand];
    let object = state
        .find(&views, &pick.view, Some(project))
        .map_err(|e| format!("it reads {pick}: {e}"))?;
    let declared = object.feature_names();
    let missing = |name: &&String| !declared.contains(&name.as_str());
    if let Some(name) = pick.features.iter().chain(pick.rename.keys()).find(missing) {
        return Err(format!(
            "it reads feature {name:?}, which {} does not have: change what it reads, name the version that has \
             it, or stage {} until it does not",
            object.id, object.id
        ));
    }
    let keys: &[JoinKey] = match &object.body {
        Body::View(view) => &view.definition.join_keys,
        _ => &[],
    };
    match pick.join_keys.keys().find(|name| !keys.iter().any(|key| key.name == **name)) {
        None => Ok(object),
        Some(name) => Err(format!("it maps join key {name:?}, which {} does not have", object.id)),
    }
}

/// Whether a view's join keys are those of its entities, in their order, each once. Entities that nobody
/// declared, of views that were defined without a registry, say nothing.
fn check_keys(
    state: &State,
    project: &str,
    entities: &[String],
    keys: &[JoinKey],
) -> Result<(), String> {
    let mut wanted: Vec<&JoinKey> = Vec::new();
    for name in entities {
        let entity = state.object(&ObjectId::new(Kind::Entity, project, name, 1));
        let Some(Body::Entity(entity)) = entity.map(|object| &object.body) else { return Ok(()) };
        for key in &entity.join_keys {
            if !wanted.iter().any(|known| known.name == key.name) {
                wanted.push(key);
            }
        }
    }
    if entities.is_empty() || wanted.iter().copied().eq(keys) {
        return Ok(());
    }
    let list = |keys: &mut dyn Iterator<Item = &JoinKey>| {
        let keys: Vec<String> = keys.map(|key| format!("{} {}", key.name, key.key_type)).collect();
        keys.join(", ")
    };
    Err(format!(
        "its join keys are ({}), those of its entities ({}) are ({}): rows are stored by its keys, so declare \
         another entity for others",
        list(&mut keys.iter()),
        entities.join(", "),
        list(&mut wanted.into_iter())
    ))
}
