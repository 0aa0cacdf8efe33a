//! What a test does to a store.

use thermae_formats::{
    Feature, FeatureView, JoinKey, KeyType, KeyValue, NO_TIME, Scalar, Value, ValueType,
};

use super::Rng;

/// The views that operations write to.
pub const VIEWS: [&str; 2] = ["test/by_number", "test/by_name"];
/// Times of operations lie this far after the epoch, so that small numbers make real times.
const BASE_US: i64 = 1_700_000_000_000_000;

/// One operation. Few entities and few times, so that ties, late rows and overwrites abound.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// A whole row.
    Put {
        /// Index into [`VIEWS`].
        view: usize,
        /// Which entity.
        entity: u64,
        /// Microseconds UTC.
        event_time: i64,
        /// Microseconds UTC or `NO_TIME`.
        created_time: i64,
        /// Microseconds UTC or `NO_TIME`.
        expire_at: i64,
        /// One value a feature.
        values: Vec<Value>,
    },
    /// One feature.
    Partial {
        /// Index into [`VIEWS`].
        view: usize,
        /// Which entity.
        entity: u64,
        /// Microseconds UTC.
        event_time: i64,
        /// Index of the feature.
        feature: u16,
        /// Its value.
        value: Value,
    },
    /// A tombstone.
    Delete {
        /// Index into [`VIEWS`].
        view: usize,
        /// Which entity.
        entity: u64,
        /// Microseconds UTC.
        event_time: i64,
    },
    /// Everything that was written of the row before goes.
    Erase {
        /// Index into [`VIEWS`].
        view: usize,
        /// Which entity.
        entity: u64,
    },
}

impl Operation {
    /// Draws an operation; `number` makes its values tell which one wrote them.
    pub fn draw(rng: &mut Rng, number: u64, entities: u64) -> Operation {
        let view = rng.below(VIEWS.len() as u64) as usize;
        let entity = rng.below(entities);
        let event_time = BASE_US + rng.below(12) as i64;
        match rng.below(10) {
            0 => Operation::Delete { view, entity, event_time },
            1 | 2 => {
                let feature = rng.below(3) as u16;
                let value = values(rng, view, entity, number).swap_remove(usize::from(feature));
                Operation::Partial { view, entity, event_time, feature, value }
            }
            _ => Operation::Put {
                view,
                entity,
                event_time,
                created_time: if rng.one_in(3) { NO_TIME } else { BASE_US + rng.below(3) as i64 },
                expire_at: if rng.one_in(6) { BASE_US + rng.below(14) as i64 } else { NO_TIME },
                values: values(rng, view, entity, number),
            },
        }
    }

    /// The same, with one erase in so many; 0 is none.
    pub fn draw_or_erase(
        rng: &mut Rng,
        number: u64,
        entities: u64,
        erase_one_in: u64,
    ) -> Operation {
        match Operation::draw(rng, number, entities) {
            drawn if erase_one_in > 0 && rng.one_in(erase_one_in) => {
                let (view, entity) = drawn.target();
                Operation::Erase { view, entity }
            }
            drawn => drawn,
        }
    }

    /// The row it is about: (view, entity).
    pub fn target(&self) -> (usize, u64) {
        match self {
            Operation::Put { view, entity, .. }
            | Operation::Partial { view, entity, .. }
            | Operation::Delete { view, entity, .. }
            | Operation::Erase { view, entity } => (*view, *entity),
        }
    }
}

/// Values that name their row and writer, with nulls and the odd special one.
fn values(rng: &mut Rng, view: usize, entity: u64, number: u64) -> Vec<Value> {
    let float = match rng.below(6) {
        0 => f32::NAN,
        1 => -0.0,
        2 => f32::INFINITY,
        _ => number as f32 / 8.0,
    };
    let text = match rng.below(8) {
        0 => String::new(),
        1 => "zero\0inside".to_owned(),
        _ => format!(
            "view {view} entity {entity} write {number} {}",
            "x".repeat(rng.below(90) as usize)
        ),
    };
    let mut values = vec![Value::Int64(number as i64), Value::Float32(float), Value::String(text)];
    if rng.one_in(4) {
        values[rng.below(3) as usize] = Value::Null;
    }
    values
}

/// The join key value of an entity in a view.
pub fn entity_key(view: usize, entity: u64) -> KeyValue {
    match view {
        0 => KeyValue::Int(entity as i64),
        _ => KeyValue::String(format!("entity-{entity}")),
    }
}

/// Definitions of [`VIEWS`].
pub fn views() -> Vec<FeatureView> {
    let features = || {
        vec![
            Feature::new("number", ValueType::Scalar(Scalar::Int64)),
            Feature::new("ratio", ValueType::Scalar(Scalar::Float32)),
            Feature::new("text", ValueType::Scalar(Scalar::String)),
        ]
    };
    let key = |key_type| vec![JoinKey::new("entity", key_type)];
    vec![
        FeatureView::new("test", "by_number", key(KeyType::Int64), features()),
        FeatureView::new("test", "by_name", key(KeyType::String), features()),
    ]
}
