//! A plan compiled for reading rows where they lie: every schema of every view.

use serde::Deserialize;
use thermae_formats::wire::ColumnShape;
use thermae_formats::{FeatureView, KeyType, Projection, SchemaId};

use crate::client::Client;
use crate::error::Error;
use crate::plan::Plan;

/// A plan for mapped reads. It is compiled again by itself when schemas or policies change.
#[derive(Debug, Clone)]
pub struct MappedPlan {
    pub(super) plan: Plan,
    pub(super) views: Vec<MappedView>,
    /// Generation of the catalogue that it was compiled from.
    pub(super) generation: u64,
    /// The opening of the store whose maps it is for.
    pub(super) epoch: u64,
}

#[derive(Debug, Clone)]
pub(super) struct MappedView {
    pub view_id: u32,
    pub schema_ids: Vec<u16>,
    pub key_types: Vec<KeyType>,
    pub ttl_us: i64,
    pub projection: Projection,
    pub shapes: Vec<ColumnShape>,
    pub is_matrix: bool,
}

/// The part of a DESCRIBE answer that matters here.
#[derive(Deserialize)]
struct Described {
    #[serde(default)]
    generation: Option<u64>,
    views: Vec<DescribedView>,
}

#[derive(Deserialize)]
struct DescribedView {
    view_id: u32,
    schema_id: u16,
    definition: FeatureView,
    /// Every schema, oldest first; absent where there is one. Rows of a schema that is not named are
    /// asked for over the socket.
    #[serde(default)]
    schemas: Vec<DescribedSchema>,
}

#[derive(Deserialize)]
struct DescribedSchema {
    schema_id: u16,
    definition: FeatureView,
}

impl MappedPlan {
    /// The plan that this was compiled from: its columns, and empty lists of keys.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// `generation` is one that every table had reached before this call.
    pub(super) fn compile(
        client: &Client,
        plan: &Plan,
        epoch: u64,
        generation: u64,
    ) -> Result<Self, Error> {
        let json = client.describe(None, None)?;
        let described: Described = serde_json::from_str(&json)
            .map_err(|error| Error::Mapped(format!("DESCRIBE is not understood: {error}")))?;
        let views = plan.views().iter().enumerate().map(|(index, planned)| {
            let view = described.views.iter().find(|view| view.view_id == planned.view_id);
            MappedView::compile(plan, index, view.ok_or(Error::PlanChanged)?)
        });
        let views = views.collect::<Result<Vec<_>, _>>()?;
        // The answer is at least as new as what the tables showed before it was asked for.
        let generation = described.generation.unwrap_or(generation);
        Ok(Self { plan: plan.clone(), views, generation, epoch })
    }
}

impl MappedView {
    fn compile(plan: &Plan, index: usize, view: &DescribedView) -> Result<Self, Error> {
        let mut schemas: Vec<(SchemaId, &FeatureView)> = view
            .schemas
            .iter()
            .map(|schema| (SchemaId(schema.schema_id), &schema.definition))
            .collect();
        if schemas.is_empty() {
            schemas.push((SchemaId(view.schema_id), &view.definition));
        }
        let Some((_, newest)) = schemas.last() else { return Err(Error::PlanChanged) };
        let columns = plan.columns(index);
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        let projection = Projection::compile(&schemas, &names)
            .map_err(|error| Error::Mapped(format!("the plan does not compile: {error}")))?;
        let same = columns
            .iter()
            .enumerate()
            .all(|(column, asked)| projection.value_type(column) == Some(&asked.value_type));
        if !same {
            return Err(Error::PlanChanged);
        }
        Ok(Self {
            view_id: view.view_id,
            schema_ids: schemas.iter().map(|(schema_id, _)| schema_id.0).collect(),
            key_types: newest.key_types(),
            ttl_us: newest.ttl_us,
            is_matrix: projection.check_matrix().is_ok(),
            projection,
            shapes: columns.iter().map(|column| ColumnShape::of(&column.value_type)).collect(),
        })
    }
}
