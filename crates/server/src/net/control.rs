//! The rare requests: HELLO, PREPARE, DESCRIBE of feature views, STATS, MAP, PING.

use std::sync::atomic::Ordering::Relaxed;

use serde::Deserialize;
use serde_json::{Value, json};
use thermae_engine::{Cx, Schema, View};
use thermae_env::{Env, Ring};
use thermae_formats::FeatureView;
use thermae_formats::wire::{
    ErrorCode, Frame, HelloReply, HelloRequest, Kind, MapReply, MapRequest, MapShard,
    PrepareRequest, VERSION_MAX, VERSION_MIN, ViewFeatures, decode_json, encode_json, encode_pong,
};

use thermae_load::machine::Process;

use super::connection::{Connection, Phase};
use super::core::Core;
use super::failure::Failure;
use super::histogram::Snapshot;
use super::plans::{Plans, find};
use super::registry_desk::{RegistryRequest, Serving};

/// Name and version of this program, as HELLO states them.
pub const SERVER_NAME: &str = concat!("thermae/", env!("CARGO_PKG_VERSION"));
/// Answers smaller than this leave no room for an error.
const LEAST_PEER_FRAME_BYTES: u32 = 4096;

/// Answers HELLO and opens the connection.
///
/// # Errors
/// Another protocol or version; the connection is then ended.
pub fn hello<E: Env>(
    core: &mut Core<E>,
    conn: &mut Connection,
    frame: &Frame<'_>,
    cx: &mut Cx<'_, E>,
) -> Result<(), Failure> {
    let request = HelloRequest::decode(frame)?;
    let version = request.common_version().ok_or_else(|| {
        let (low, high) = (request.version_min, request.version_max);
        let text = format!(
            "the client speaks versions {low} to {high}, this server {VERSION_MIN} to \
             {VERSION_MAX}: use a client of this server's release"
        );
        Failure::new(ErrorCode::UnsupportedVersion, text)
    })?;
    if request.max_frame_bytes < LEAST_PEER_FRAME_BYTES {
        let text = format!("max_frame_bytes must be at least {LEAST_PEER_FRAME_BYTES}");
        return Err(Failure::new(ErrorCode::Malformed, text));
    }
    // Before the registry is there no name of a view means anything: whoever connects tries again.
    core.shared.serving()?;
    // Credentials are not looked at yet: the loopback rule stands in for them.
    conn.peer_frame_bytes = request.max_frame_bytes.min(core.limits.frame_bytes);
    let identity = cx.reads.tables().first().map(|table| table.header());
    let reply = HelloReply {
        version,
        partitions: cx.reads.partitions(),
        limits: core.wire_limits,
        store_id: identity.as_ref().map_or([0; 16], |table| table.store_id.to_le_bytes()),
        hash_seed: cx.reads.hash_seed(),
        epoch: identity.as_ref().map_or(0, |table| table.epoch),
        server_time_us: cx.now_us,
        server_name: SERVER_NAME,
    };
    reply.encode(&mut conn.out, frame.request_id)?;
    conn.phase = Phase::Open;
    Ok(())
}

/// Answers PREPARE.
///
/// # Errors
/// What the ERROR is to say.
pub fn prepare<E: Env>(
    core: &mut Core<E>,
    conn: &mut Connection,
    plans: &mut Plans,
    frame: &Frame<'_>,
    cx: &mut Cx<'_, E>,
) -> Result<(), Failure> {
    let request = PrepareRequest::decode(frame)?;
    let before = plans.held_bytes();
    let serving = core.shared.serving()?;
    let catalogue = cx.catalogue;
    let reply = plans.prepare(&request, catalogue, serving, &core.counters, &core.limits)?;
    core.charge(plans.held_bytes() - before);
    Ok(reply.encode(&mut conn.out, frame.request_id, conn.peer_frame_bytes)?)
}

/// Answers PING.
pub fn ping<E: Env>(conn: &mut Connection, frame: &Frame<'_>, cx: &Cx<'_, E>) {
    encode_pong(&mut conn.out, frame.request_id, cx.now_us);
}

/// DESCRIBE, as it is asked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescribeRequest {
    #[serde(default)]
    project: String,
    #[serde(default)]
    view: String,
    #[serde(default)]
    version: u32,
    /// What the registry is asked instead of feature views.
    #[serde(default)]
    pub registry: Option<RegistryRequest>,
}

/// Answers DESCRIBE of feature views.
///
/// # Errors
/// What the ERROR is to say.
pub fn describe<E: Env>(
    core: &mut Core<E>,
    conn: &mut Connection,
    frame: &Frame<'_>,
    request: &DescribeRequest,
    cx: &mut Cx<'_, E>,
) -> Result<(), Failure> {
    let views: Vec<&std::sync::Arc<View>> = cx.catalogue.views().collect();
    let named;
    let chosen: Vec<&std::sync::Arc<View>> = if request.view.is_empty() {
        let all = request.project.is_empty();
        let keep = |view: &View| all || view.latest.definition.project == request.project;
        views.into_iter().filter(|view| keep(view)).collect()
    } else {
        let (project, view, version) = (&*request.project, &*request.view, request.version);
        let asked = ViewFeatures { project, view, version, features: Vec::new() };
        named = find(cx.catalogue, core.shared.serving()?, &asked)?;
        vec![&named]
    };
    let mut described = Vec::with_capacity(chosen.len());
    for view in chosen {
        described.push(view_json(view, core.shared.serving()?).map_err(internal)?);
    }
    let generation = cx.catalogue.generation();
    let answer = json!({ "generation": generation, "views": described });
    answer_json(conn, frame.request_id, &answer)
}

/// A view as DESCRIBE tells it; its schemas only where there are several, its checks and computed features where
/// there are any.
fn view_json(view: &View, serving: &dyn Serving) -> serde_json::Result<Value> {
    let schema = |schema: &Schema| -> serde_json::Result<Value> {
        let definition = serde_json::to_value(&schema.definition)?;
        Ok(json!({ "schema_id": schema.id.0, "definition": definition }))
    };
    let mut described = schema(&view.latest)?;
    described["view_id"] = view.id.0.into();
    let FeatureView { project, name, version, .. } = &view.latest.definition;
    described["serving"] = (serving.serving(project, name) == Some(*version)).into();
    let (checks, computed) = serving.rule_names(view.id);
    for (what, names) in [("checks", checks), ("computed", computed)] {
        if !names.is_empty() {
            described[what] = names.into();
        }
    }
    if view.schemas.len() > 1 {
        let all = view.schemas.iter().map(|one| schema(one));
        described["schemas"] = all.collect::<serde_json::Result<Vec<_>>>()?.into();
    }
    Ok(described)
}

/// Answers STATS.
///
/// # Errors
/// What the ERROR is to say.
pub fn stats<E: Env>(
    core: &Core<E>,
    conn: &mut Connection,
    frame: &Frame<'_>,
    cx: &mut Cx<'_, E>,
) -> Result<(), Failure> {
    let engine = serde_json::to_value(cx.stats()).map_err(internal)?;
    let counters = &core.shared.counters;
    let limits = &core.limits;
    let limit_hits: serde_json::Map<String, Value> =
        counters.cuts().into_iter().map(|(name, hits)| (name.to_owned(), hits.into())).collect();
    let server = json!({
        "name": SERVER_NAME,
        "uptime_s": cx.now_us.saturating_sub(core.shared.started_us).max(0) / 1_000_000,
        "shards": counters.shards.len(),
        "connections": core.shared.open.load(Relaxed),
        "accepted": counters.sum(|shard| &shard.accepted),
        "requests": counters.sum(|shard| &shard.requests),
        "errors": counters.sum(|shard| &shard.errors),
        "waiting": counters.sum(|shard| &shard.waiting),
        "buffered_bytes": counters.sum(|shard| &shard.buffered_bytes),
        "reads": latency_json(&counters.latency(|shard| &shard.read_latency)),
        "writes": latency_json(&counters.latency(|shard| &shard.write_latency)),
        "views": serde_json::to_value(counters.views()).map_err(internal)?,
        "limit_hits": limit_hits,
        "process": serde_json::to_value(Process::here()).map_err(internal)?,
        "limits": {
            "connections": limits.connections,
            "frame_bytes": limits.frame_bytes,
            "in_flight": limits.in_flight,
            "keys_per_request": limits.keys_per_request,
            "rows_per_request": limits.rows_per_request,
            "plans": limits.plans,
            "buffer_bytes": limits.buffer_bytes,
        },
    });
    answer_json(conn, frame.request_id, &json!({ "engine": engine, "server": server }))
}

fn latency_json(latency: &Snapshot) -> Value {
    json!({
        "count": latency.count(),
        "p50_ns": latency.quantile_ns(0.5),
        "p99_ns": latency.quantile_ns(0.99),
        "p999_ns": latency.quantile_ns(0.999),
        "max_ns": latency.quantile_ns(1.0),
    })
}

/// Answers MAP with the descriptors of the hot tables, on a unix socket.
///
/// # Errors
/// What the ERROR is to say.
pub fn map<E: Env>(
    conn: &mut Connection,
    frame: &Frame<'_>,
    cx: &mut Cx<'_, E>,
) -> Result<(), Failure> {
    let request = MapRequest::decode(frame)?;
    if !conn.local {
        let text = "the hot tables are handed over on the unix socket only: connect to that";
        return Err(Failure::new(ErrorCode::Unsupported, text));
    }
    let known = |view: &View| view.latest.definition.project == request.project;
    if !request.project.is_empty() && !cx.catalogue.views().any(|view| known(view)) {
        let text = format!("no project {:?} in this store", request.project);
        return Err(Failure::new(ErrorCode::UnknownView, text));
    }
    let descriptors = cx.reads.descriptors().map_err(|error| {
        Failure::new(ErrorCode::Unsupported, format!("the hot tables cannot be shared: {error}"))
    })?;
    let tables = cx.reads.tables();
    let partitions = 0..cx.reads.partitions();
    let reply = MapReply {
        epoch: tables.first().map_or(0, |table| table.header().epoch),
        shards: tables
            .iter()
            .enumerate()
            .map(|(shard, table)| MapShard {
                shard: shard as u16,
                map_bytes: table.header().map_bytes,
            })
            .collect(),
        partition_map: partitions.map(|one| cx.reads.shard(one) as u16).collect(),
    };
    let mut answer = Vec::new();
    reply.encode(&mut answer, frame.request_id, conn.peer_frame_bytes)?;
    // Descriptors travel with a send of their own; what was answered before goes first.
    let before = std::mem::take(&mut conn.out);
    if !before.is_empty() {
        conn.gave(before.len(), cx.now_ns);
        cx.ring.send(conn.id, before);
    }
    conn.gave(answer.len(), cx.now_ns);
    cx.ring.send_with_fds(conn.id, answer, descriptors);
    Ok(())
}

pub(super) fn parse<'a, T: Deserialize<'a>>(frame: &Frame<'a>) -> Result<T, Failure> {
    let text = match decode_json(frame)? {
        "" => "{}",
        text => text,
    };
    // Taken for a struct, an array would be its fields in order: too easily something else.
    if !text.trim_start().starts_with('{') {
        return Err(Failure::new(ErrorCode::Malformed, "the request's JSON must be an object"));
    }
    serde_json::from_str(text).map_err(|error| {
        Failure::new(ErrorCode::Malformed, format!("the request's JSON is wrong: {error}"))
    })
}

pub(super) fn answer_json(
    conn: &mut Connection,
    request_id: u64,
    value: &Value,
) -> Result<(), Failure> {
    let max = conn.peer_frame_bytes;
    Ok(encode_json(&mut conn.out, Kind::Json, request_id, &value.to_string(), max)?)
}

pub(super) fn internal(error: serde_json::Error) -> Failure {
    Failure::new(ErrorCode::Internal, format!("the answer cannot be written as JSON: {error}"))
}
