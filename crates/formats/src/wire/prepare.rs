//! PREPARE: names in, a plan id and the schemas behind it out.

use super::cursor::{Cursor, count16, put_short};
use super::frame::{Frame, Kind, begin_frame, finish_frame};
use super::limits::{MAX_COLUMNS_PER_PLAN, MAX_VIEWS_PER_PLAN};
use super::malformed::WireError;
use crate::types::{KeyType, ValueType};

/// Features asked of one view, in the order in which the answer's columns come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewFeatures<'a> {
    /// Project of the view.
    pub project: &'a str,
    /// Name of the view.
    pub view: &'a str,
    /// Version of the view; 0 = the newest.
    pub version: u32,
    /// Feature names; empty = all, as declared.
    pub features: Vec<&'a str>,
}

/// A PREPARE request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrepareRequest<'a> {
    /// The views, in the order of the answer.
    pub views: Vec<ViewFeatures<'a>>,
}

impl<'a> PrepareRequest<'a> {
    /// Appends the frame.
    ///
    /// # Errors
    /// A name or count that does not fit, a frame beyond `max_frame_bytes`.
    pub fn encode(
        &self,
        out: &mut Vec<u8>,
        request_id: u64,
        max_frame_bytes: u32,
    ) -> Result<(), WireError> {
        let start = begin_frame(out, Kind::Prepare, request_id);
        out.extend_from_slice(&count16(self.views.len(), "views")?.to_le_bytes());
        for view in &self.views {
            put_short(out, view.project.as_bytes(), "a project name")?;
            put_short(out, view.view.as_bytes(), "a view name")?;
            out.extend_from_slice(&view.version.to_le_bytes());
            out.extend_from_slice(&count16(view.features.len(), "features")?.to_le_bytes());
            for feature in &view.features {
                put_short(out, feature.as_bytes(), "a feature name")?;
            }
        }
        finish_frame(out, start, max_frame_bytes)
    }

    /// Decodes the frame: at most 64 views and 4,096 named features.
    ///
    /// # Errors
    /// Any [`WireError`] of a payload.
    pub fn decode(frame: &Frame<'a>) -> Result<Self, WireError> {
        let mut cursor = Cursor::new(frame.payload_of(Kind::Prepare)?);
        let count = usize::from(cursor.u16("views")?);
        let count = cursor.count(count, MAX_VIEWS_PER_PLAN, 10, "views")?;
        let mut views = Vec::with_capacity(count);
        let mut columns = 0;
        for _ in 0..count {
            let project = cursor.text("a project name")?;
            let view = cursor.text("a view name")?;
            let version = cursor.u32("a view version")?;
            let asked = usize::from(cursor.u16("features")?);
            let asked = cursor.count(asked, MAX_COLUMNS_PER_PLAN - columns, 2, "features")?;
            columns += asked;
            let features =
                (0..asked).map(|_| cursor.text("a feature name")).collect::<Result<_, _>>()?;
            views.push(ViewFeatures { project, view, version, features });
        }
        cursor.finish("a PREPARE")?;
        Ok(Self { views })
    }
}

/// One join key of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanKey {
    /// Name of the join key.
    pub name: String,
    /// Its type, hence its encoding in a packed key.
    pub key_type: KeyType,
}

/// One column of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanColumn {
    /// Name of the feature.
    pub name: String,
    /// Its type in the newest schema, in which it is served.
    pub value_type: ValueType,
}

/// One view of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanView {
    /// Identity of the view, for writes.
    pub view_id: u32,
    /// Newest schema of the view, for writes.
    pub schema_id: u16,
    /// Version of the view.
    pub version: u32,
    /// Age at which values are withheld, microseconds; 0 = never. A later change acts at once,
    /// whatever stands here.
    pub ttl_us: i64,
    /// Join keys in the order of their encoding; none for an entity-less view.
    pub join_keys: Vec<PlanKey>,
    /// Columns in the order asked.
    pub columns: Vec<PlanColumn>,
}

/// The answer to PREPARE. A plan belongs to its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanReply {
    /// Names the plan in READ, on this connection.
    pub plan_id: u32,
    /// The views in the order asked.
    pub views: Vec<PlanView>,
}

impl PlanReply {
    /// Appends the frame.
    ///
    /// # Errors
    /// A name or count that does not fit, a frame beyond `max_frame_bytes`.
    pub fn encode(
        &self,
        out: &mut Vec<u8>,
        request_id: u64,
        max_frame_bytes: u32,
    ) -> Result<(), WireError> {
        let start = begin_frame(out, Kind::Plan, request_id);
        out.extend_from_slice(&self.plan_id.to_le_bytes());
        out.extend_from_slice(&count16(self.views.len(), "views")?.to_le_bytes());
        for view in &self.views {
            out.extend_from_slice(&view.view_id.to_le_bytes());
            out.extend_from_slice(&view.schema_id.to_le_bytes());
            out.extend_from_slice(&view.version.to_le_bytes());
            out.extend_from_slice(&view.ttl_us.to_le_bytes());
            out.extend_from_slice(&count16(view.join_keys.len(), "join keys")?.to_le_bytes());
            out.extend_from_slice(&count16(view.columns.len(), "columns")?.to_le_bytes());
            for key in &view.join_keys {
                put_short(out, key.name.as_bytes(), "a join key name")?;
                put_short(out, key.key_type.to_string().as_bytes(), "a key type")?;
            }
            for column in &view.columns {
                put_short(out, column.name.as_bytes(), "a feature name")?;
                put_short(out, column.value_type.to_string().as_bytes(), "a value type")?;
            }
        }
        finish_frame(out, start, max_frame_bytes)
    }
}

/// Decodes the answer to PREPARE.
///
/// # Errors
/// Any [`WireError`] of a payload.
pub fn decode_plan(frame: &Frame<'_>) -> Result<PlanReply, WireError> {
    let mut cursor = Cursor::new(frame.payload_of(Kind::Plan)?);
    let plan_id = cursor.u32("a plan id")?;
    let count = usize::from(cursor.u16("views")?);
    let count = cursor.count(count, MAX_VIEWS_PER_PLAN, 22, "views")?;
    let mut views = Vec::with_capacity(count);
    for _ in 0..count {
        views.push(plan_view(&mut cursor)?);
    }
    cursor.finish("a plan")?;
    Ok(PlanReply { plan_id, views })
}

fn plan_view(cursor: &mut Cursor<'_>) -> Result<PlanView, WireError> {
    let view_id = cursor.u32("a view id")?;
    let schema_id = cursor.u16("a schema id")?;
    let version = cursor.u32("a view version")?;
    let ttl_us = cursor.i64("ttl_us")?;
    let keys = usize::from(cursor.u16("join keys")?);
    let columns = usize::from(cursor.u16("columns")?);
    let keys = cursor.count(keys, 64, 4, "join keys")?;
    let mut join_keys = Vec::with_capacity(keys);
    for _ in 0..keys {
        let name = cursor.text("a join key name")?.to_owned();
        let text = cursor.text("a key type")?;
        let key_type = text.parse().map_err(|_| WireError::Type(text.to_owned()))?;
        join_keys.push(PlanKey { name, key_type });
    }
    let count = cursor.count(columns, MAX_COLUMNS_PER_PLAN, 4, "columns")?;
    let mut columns = Vec::with_capacity(count);
    for _ in 0..count {
        let name = cursor.text("a feature name")?.to_owned();
        let text = cursor.text("a value type")?;
        let value_type = text.parse().map_err(|_| WireError::Type(text.to_owned()))?;
        columns.push(PlanColumn { name, value_type });
    }
    Ok(PlanView { view_id, schema_id, version, ttl_us, join_keys, columns })
}
