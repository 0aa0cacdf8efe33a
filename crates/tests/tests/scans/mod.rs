//! Reading history under a snapshot: against the model, through `Store`, over the wire.

mod model;
mod store;
mod wire;

use thermae_engine::store::Row;
use thermae_formats::schema::TierPolicy;
use thermae_formats::{Feature, FeatureView, JoinKey, KeyType, KeyValue, Scalar, Value};

/// The view that the tests beside the model's read.
const VIEW: &str = "test/readings";

fn view(tiers: TierPolicy) -> FeatureView {
    let features = vec![Feature::new("n", Scalar::Int64), Feature::new("text", Scalar::String)];
    let keys = vec![JoinKey::new("id", KeyType::Int64)];
    let mut view = FeatureView::new("test", "readings", keys, features);
    view.tiers = tiers;
    view
}

fn row(id: i64, event_time: i64) -> Row {
    let text = Value::String(format!("{id} at {event_time} {}", "x".repeat(200)));
    Row::new([KeyValue::Int(id)], event_time, [Value::Int64(id * event_time), text])
}
