//! Prepared plans: compiled once a connection, again when the catalogue changes.

use std::sync::Arc;

use thermae_engine::{Catalogue, View};
use thermae_formats::projection::Projection;
use thermae_formats::schema::FeatureView;
use thermae_formats::types::ValueType;
use thermae_formats::wire::{
    ColumnShape, ErrorCode, PlanColumn, PlanKey, PlanReply, PlanView as WireView, PrepareRequest,
    ViewFeatures,
};

use super::counters::{Counters, ViewCounters};
use super::failure::Failure;
use super::registry_desk::Serving;
use crate::serve::limits::Limits;

/// One view of a plan, ready to read.
#[derive(Debug)]
pub struct PlanView {
    /// The view as of the plan's generation: its ttl is the present one.
    pub view: Arc<View>,
    /// Where the features lie in rows of each of its schemas.
    pub projection: Projection,
    /// How each column is laid out in the answer.
    pub shapes: Vec<ColumnShape>,
    /// Whether any column is of variable width.
    pub has_variable: bool,
    /// What reads of it are counted by.
    pub counters: Arc<ViewCounters>,
    features: Vec<String>,
    /// It was asked for by its bare name, and so is what that means now.
    is_bare: bool,
}

/// A compiled plan.
#[derive(Debug)]
pub struct Plan {
    /// Its views, in the order asked.
    pub views: Vec<PlanView>,
    generation: u64,
    /// The registry's version.
    version: u64,
}

/// The plans of one connection. Ids are never used twice on a connection, so that a late request
/// cannot meet another plan than its own.
#[derive(Debug, Default)]
pub struct Plans {
    plans: Vec<Option<Plan>>,
    live: u32,
    held_bytes: usize,
}

impl Plans {
    /// Memory held, in bytes, about.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Compiles a request into a plan and describes it.
    ///
    /// # Errors
    /// An unknown view or feature, or a limit on plans or columns.
    pub fn prepare(
        &mut self,
        request: &PrepareRequest<'_>,
        catalogue: &Catalogue,
        serving: &dyn Serving,
        counters: &Counters,
        limits: &Limits,
    ) -> Result<PlanReply, Failure> {
        if request.views.is_empty() {
            return Err(Failure::new(ErrorCode::Malformed, "a plan needs at least one view"));
        }
        let mut views = Vec::with_capacity(request.views.len());
        let mut columns = 0;
        let version = serving.version();
        for asked in &request.views {
            let view = find(catalogue, serving, asked)?;
            let features: Vec<String> = if asked.features.is_empty() {
                view.latest.definition.features.iter().map(|f| f.name.clone()).collect()
            } else {
                asked.features.iter().map(|name| (*name).to_owned()).collect()
            };
            columns += features.len();
            if columns > limits.features_per_plan as usize {
                let most = limits.features_per_plan;
                let text = format!("a plan holds at most {most} features: split it");
                return Err(Failure::new(ErrorCode::TooMany, text));
            }
            views.push(compile(view, features, asked.version == 0, counters)?);
        }
        let plan = Plan { views, generation: catalogue.generation(), version };
        let id = match self.find_same(&plan) {
            Some(id) => id,
            None => self.insert(plan, limits)?,
        };
        self.describe(id)
    }

    fn find_same(&self, plan: &Plan) -> Option<usize> {
        let same = |one: &PlanView, two: &PlanView| {
            one.view.id == two.view.id && one.features == two.features && one.is_bare == two.is_bare
        };
        self.plans.iter().position(|held| {
            held.as_ref().is_some_and(|held| {
                held.generation == plan.generation
                    && held.version == plan.version
                    && held.views.len() == plan.views.len()
                    && held.views.iter().zip(&plan.views).all(|(one, two)| same(one, two))
            })
        })
    }

    fn insert(&mut self, plan: Plan, limits: &Limits) -> Result<usize, Failure> {
        if self.live >= limits.plans {
            let text = format!(
                "this connection holds {} plans, which is the limit: reuse them, or connect again",
                self.live
            );
            return Err(Failure::new(ErrorCode::TooMany, text));
        }
        let columns: usize = plan.views.iter().map(|view| view.features.len()).sum();
        // A column costs about its name twice and its place in each schema of the view.
        self.held_bytes += 512 + columns * 160;
        self.live += 1;
        self.plans.push(Some(plan));
        Ok(self.plans.len() - 1)
    }

    fn describe(&self, id: usize) -> Result<PlanReply, Failure> {
        let plan = self.plans.get(id).and_then(Option::as_ref).ok_or_else(|| unknown(id))?;
        let views = plan.views.iter().map(PlanView::describe).collect();
        Ok(PlanReply { plan_id: id as u32, views })
    }

    /// The plan with an id, compiled for the present catalogue.
    ///
    /// # Errors
    /// `UnknownPlan`, or `StaleSchema` when the type of a column changed since it was described, or when a bare
    /// name means another version of its view now.
    #[inline]
    pub fn get(
        &mut self,
        id: u32,
        catalogue: &Catalogue,
        serving: &dyn Serving,
        counters: &Counters,
    ) -> Result<&Plan, Failure> {
        let id = id as usize;
        let version = serving.version();
        let is_current = match self.plans.get(id) {
            Some(Some(plan)) => {
                plan.generation == catalogue.generation() && plan.version == version
            }
            _ => return Err(unknown(id)),
        };
        if !is_current {
            self.refresh(id, catalogue, serving, counters)?;
        }
        self.plans.get(id).and_then(Option::as_ref).ok_or_else(|| unknown(id))
    }

    fn refresh(
        &mut self,
        id: usize,
        catalogue: &Catalogue,
        serving: &dyn Serving,
        counters: &Counters,
    ) -> Result<(), Failure> {
        let Some(Some(plan)) = self.plans.get_mut(id) else { return Err(unknown(id)) };
        let version = serving.version();
        match recompile(plan, catalogue, serving, counters) {
            Ok(views) => {
                *plan = Plan { views, generation: catalogue.generation(), version };
                Ok(())
            }
            Err(failure) => {
                // Whoever prepares again gets another id; this one is never served again.
                self.plans[id] = None;
                self.live -= 1;
                Err(failure)
            }
        }
    }
}

fn recompile(
    plan: &Plan,
    catalogue: &Catalogue,
    serving: &dyn Serving,
    counters: &Counters,
) -> Result<Vec<PlanView>, Failure> {
    let stale =
        || Failure::new(ErrorCode::StaleSchema, "the view's schema moved on: prepare again");
    let mut views = Vec::with_capacity(plan.views.len());
    for old in &plan.views {
        let view = catalogue.view_by_id(old.view.id).ok_or_else(stale)?;
        let definition = &view.latest.definition;
        let means = || serving.serving(&definition.project, &definition.name);
        if old.is_bare && means().is_some_and(|version| version != definition.version) {
            return Err(stale());
        }
        let new = compile(Arc::clone(view), old.features.clone(), old.is_bare, counters)
            .map_err(|_| stale())?;
        if new.types().ne(old.types()) {
            return Err(stale());
        }
        views.push(new);
    }
    Ok(views)
}

fn unknown(id: usize) -> Failure {
    Failure::new(ErrorCode::UnknownPlan, format!("no plan {id} on this connection: prepare it"))
}

/// Finds the view that a request names; without a version it is the one that serves.
///
/// # Errors
/// `UnknownView`, saying which there are.
pub fn find(
    catalogue: &Catalogue,
    serving: &dyn Serving,
    asked: &ViewFeatures<'_>,
) -> Result<Arc<View>, Failure> {
    let path = match asked.project {
        "" => asked.view.to_owned(),
        project => format!("{project}/{}", asked.view),
    };
    let found = match asked.version {
        0 => catalogue.resolve(&path).map(|newest| {
            let definition = &newest.latest.definition;
            let (project, name) = (&definition.project, &definition.name);
            // One that only the engine knows yet is served as soon as the registry has it.
            let version = serving.serving(project, name);
            version.and_then(|version| catalogue.view_at(project, name, version)).unwrap_or(newest)
        }),
        version => catalogue.resolve(&format!("{path}@{version}")),
    };
    found.cloned().map_err(|error| Failure::new(ErrorCode::UnknownView, error.to_string()))
}

fn compile(
    view: Arc<View>,
    features: Vec<String>,
    is_bare: bool,
    counters: &Counters,
) -> Result<PlanView, Failure> {
    let versions: Vec<_> =
        view.schemas.iter().map(|schema| (schema.id, &schema.definition)).collect();
    let names: Vec<&str> = features.iter().map(String::as_str).collect();
    let projection = Projection::compile(&versions, &names)
        .map_err(|error| Failure::new(ErrorCode::UnknownFeature, error.to_string()))?;
    let shapes: Vec<ColumnShape> = (0..projection.len())
        .filter_map(|column| projection.value_type(column).map(ColumnShape::of))
        .collect();
    let has_variable = shapes.iter().any(|shape| shape.width_bytes == 0);
    let counters = counters.view(&view.qualified_name());
    Ok(PlanView { view, projection, shapes, has_variable, counters, features, is_bare })
}

impl PlanView {
    /// The features asked, in their order.
    pub fn features(&self) -> &[String] {
        &self.features
    }

    /// Their types.
    pub fn types(&self) -> impl Iterator<Item = Option<&ValueType>> {
        (0..self.projection.len()).map(|column| self.projection.value_type(column))
    }

    fn describe(&self) -> WireView {
        let definition: &FeatureView = &self.view.latest.definition;
        let columns = self.features.iter().zip(self.types());
        WireView {
            view_id: self.view.id.0,
            schema_id: self.view.latest.id.0,
            version: definition.version,
            ttl_us: definition.ttl_us,
            join_keys: definition
                .join_keys
                .iter()
                .map(|key| PlanKey { name: key.name.clone(), key_type: key.key_type })
                .collect(),
            columns: columns
                .filter_map(|(name, value_type)| {
                    let value_type = value_type?.clone();
                    Some(PlanColumn { name: name.clone(), value_type })
                })
                .collect(),
        }
    }
}
