//! What comes from what: outside tables and topics -> sources -> views -> features -> services -> models.
//!
//! Edges are not kept anywhere: they follow from what the registered objects say, so they are never behind.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use crate::error::Error;
use crate::model::{Body, Kind, Lifecycle, Name, ObjectId, Pick};
use crate::state::State;

/// A place that data pass through.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Node {
    /// Something outside, as a source's `upstream` names it.
    External(String),
    /// An object of the registry.
    Object(ObjectId),
    /// One feature of a feature view or on-demand view.
    Feature(ObjectId, String),
}

impl Node {
    /// As text that [`Lineage::find`] reads: `view:nyc/weather@1`, `feature:nyc/weather@1:temp`,
    /// `external:s3://bucket/table`.
    pub fn key(&self) -> String {
        let path = |id: &ObjectId| {
            let version =
                if id.kind.has_versions() { format!("@{}", id.version) } else { String::new() };
            format!("{}/{}{version}", id.project, id.name)
        };
        match self {
            Node::External(name) => format!("external:{name}"),
            Node::Object(id) => format!("{}:{}", id.kind.word(), path(id)),
            Node::Feature(id, name) => format!("feature:{}:{name}", path(id)),
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key())
    }
}

/// The graph of one registry version. What is retired is not in it.
#[derive(Clone, Debug, Default)]
pub struct Lineage {
    down: BTreeMap<Node, BTreeSet<Node>>,
    up: BTreeMap<Node, BTreeSet<Node>>,
}

/// What a change of a feature reaches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Impact {
    /// On-demand features that are computed from it.
    pub features: Vec<Node>,
    /// Services that read it.
    pub services: Vec<ObjectId>,
    /// Models that read it.
    pub models: Vec<ObjectId>,
    /// Who answers for those, without repetition.
    pub owners: Vec<String>,
}

impl Lineage {
    /// The graph of a registry.
    pub fn of(state: &State) -> Self {
        let mut graph = Lineage::default();
        let is_alive = |lifecycle| lifecycle != Lifecycle::Retired;
        for object in state.objects().filter(|object| is_alive(object.about.lifecycle)) {
            let (id, project) = (object.id.clone(), object.id.project.as_str());
            let node = Node::Object(id.clone());
            let own = |name: &str| Node::Feature(id.clone(), name.to_owned());
            graph.node(&node);
            match &object.body {
                Body::Entity(_) => {}
                Body::Source(source) => {
                    for name in &source.upstream {
                        graph.edge(Node::External(name.clone()), node.clone());
                    }
                }
                Body::View(view) => {
                    if let Some(source) = &view.source {
                        let source = ObjectId::new(Kind::Source, project, source, 1);
                        graph.edge(Node::Object(source), node.clone());
                    }
                    for entity in &view.definition.entities {
                        let entity = ObjectId::new(Kind::Entity, project, entity, 1);
                        if state.object(&entity).is_some() {
                            graph.edge(Node::Object(entity), node.clone());
                        }
                    }
                    for feature in object.feature_names() {
                        graph.edge(node.clone(), own(feature));
                    }
                }
                Body::OnDemand(view) => {
                    graph.picks(state, project, &view.inputs, &node);
                    for feature in object.feature_names() {
                        graph.edge(node.clone(), own(feature));
                    }
                }
                Body::Service(service) => graph.picks(state, project, &service.features, &node),
                Body::Model(model) => {
                    graph.picks(state, project, &model.features, &node);
                    for name in &model.services {
                        if let Ok(service) = state.find(&[Kind::Service], name, Some(project)) {
                            graph.edge(Node::Object(service.id.clone()), node.clone());
                        }
                    }
                }
            }
        }
        graph
    }

    fn picks(&mut self, state: &State, project: &str, picks: &[Pick], reader: &Node) {
        for pick in picks {
            // What an applied registry picks is there: see `registry::check`.
            let Ok(found) = state.pick(pick, Some(project)) else { continue };
            for feature in found.features {
                let feature = Node::Feature(found.object.id.clone(), feature.to_owned());
                self.edge(feature, reader.clone());
            }
        }
    }

    fn node(&mut self, node: &Node) {
        self.down.entry(node.clone()).or_default();
        self.up.entry(node.clone()).or_default();
    }

    fn edge(&mut self, from: Node, to: Node) {
        self.node(&from);
        self.node(&to);
        self.up.entry(to.clone()).or_default().insert(from.clone());
        self.down.entry(from).or_default().insert(to);
    }

    /// All places.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.down.keys()
    }

    /// All edges, from where data come to where they go.
    pub fn edges(&self) -> impl Iterator<Item = (&Node, &Node)> {
        self.down.iter().flat_map(|(from, all)| all.iter().map(move |to| (from, to)))
    }

    /// What a place feeds directly.
    pub fn feeds(&self, node: &Node) -> impl Iterator<Item = &Node> {
        self.down.get(node).into_iter().flatten()
    }

    /// What feeds a place directly.
    pub fn fed_by(&self, node: &Node) -> impl Iterator<Item = &Node> {
        self.up.get(node).into_iter().flatten()
    }

    /// Everything that a place feeds, near ones first.
    pub fn downstream(&self, node: &Node) -> Vec<Node> {
        reach(&self.down, node)
    }

    /// Everything that feeds a place, near ones first.
    pub fn upstream(&self, node: &Node) -> Vec<Node> {
        reach(&self.up, node)
    }

    /// The place that a text means: as [`Node::key`] writes it, without version or project where that is
    /// clear; `VIEW:FEATURE` is a feature, and a name alone whatever is called so.
    ///
    /// # Errors
    /// There is none, or several are called so.
    pub fn find(&self, state: &State, text: &str) -> Result<Node, Error> {
        let (kinds, rest): (&[Kind], &str) = match text.split_once(':') {
            Some(("external", name)) => {
                let node = Node::External(name.to_owned());
                return self.known(node, text);
            }
            Some(("feature", rest)) => (&[Kind::View, Kind::OnDemand], rest),
            Some((word, rest)) => match Kind::ALL.iter().position(|kind| kind.word() == word) {
                Some(at) => (&Kind::ALL[at..=at], rest),
                None => (&[Kind::View, Kind::OnDemand], text),
            },
            None => (&Kind::ALL, text),
        };
        let (name, feature) = match rest.split_once(':') {
            Some((name, feature)) => (name, Some(feature)),
            None => (rest, None),
        };
        let name: Name = name.parse().map_err(Error::Invalid)?;
        let mut found: Vec<&ObjectId> = Vec::new();
        for kind in kinds {
            if let Ok(object) = state.find(&[*kind], &name, None) {
                found.push(&object.id);
            }
        }
        let id = match (found.as_slice(), kinds) {
            ([one], _) => (*one).clone(),
            // Says what there is.
            ([], kinds) => state.find(kinds, &name, None)?.id.clone(),
            (several, _) => {
                let keys: Vec<String> =
                    several.iter().map(|id| Node::Object((*id).clone()).key()).collect();
                return Err(Error::Invalid(format!(
                    "{text:?} may be {}: write one of these",
                    keys.join(" or ")
                )));
            }
        };
        let node = match feature {
            Some(feature) => Node::Feature(id, feature.to_owned()),
            None => Node::Object(id),
        };
        self.known(node, text)
    }

    fn known(&self, node: Node, text: &str) -> Result<Node, Error> {
        if self.down.contains_key(&node) {
            return Ok(node);
        }
        let of = match &node {
            Node::Feature(id, _) => {
                let object = Node::Object(id.clone());
                let own = self.feeds(&object).filter_map(|node| match node {
                    Node::Feature(of, name) if of == id => Some(name.as_str()),
                    _ => None,
                });
                format!("; {id} has {}", own.collect::<Vec<_>>().join(", "))
            }
            _ => String::new(),
        };
        Err(Error::NotFound(format!("{text:?} is nothing in the registry{of}")))
    }

    /// What a change of a place reaches.
    pub fn impact(&self, state: &State, node: &Node) -> Impact {
        let (mut impact, mut owners) = (Impact::default(), BTreeSet::new());
        for reached in self.downstream(node) {
            let id = match &reached {
                Node::External(_) => continue,
                Node::Object(id) => id,
                Node::Feature(id, _) => {
                    impact.features.push(reached.clone());
                    id
                }
            };
            match id.kind {
                Kind::Service => impact.services.push(id.clone()),
                Kind::Model => impact.models.push(id.clone()),
                _ => {}
            }
            if let Some(object) = state.object(id)
                && !object.about.owner.is_empty()
            {
                owners.insert(object.about.owner.clone());
            }
        }
        impact.owners = owners.into_iter().collect();
        impact
    }
}

fn reach(edges: &BTreeMap<Node, BTreeSet<Node>>, from: &Node) -> Vec<Node> {
    let (mut seen, mut found) = (BTreeSet::from([from]), Vec::new());
    let mut queue = VecDeque::from([from]);
    while let Some(node) = queue.pop_front() {
        for next in edges.get(node).into_iter().flatten() {
            if seen.insert(next) {
                found.push(next.clone());
                queue.push_back(next);
            }
        }
    }
    found
}
