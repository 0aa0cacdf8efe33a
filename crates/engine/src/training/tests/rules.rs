//! Whole reads against the rules, and that nothing depends on memory, threads or batches.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow_schema::Schema;
use thermae_env::SimEnv;
use thermae_formats::{
    Feature, FeatureView, JoinKey, KeyType, KeyValue, NO_TIME, Scalar, Value, ValueType,
};

use super::super::*;
use super::world::{World, means, spill_files, value_at};

struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn views() -> [FeatureView; 3] {
    let user = FeatureView {
        ttl_us: 300,
        ..FeatureView::new(
            "shop",
            "user",
            vec![JoinKey::new("user_id", KeyType::Int64)],
            vec![
                Feature::new("score", Scalar::Float64),
                Feature::new("name", Scalar::String),
                Feature::new("tags", ValueType::List(Scalar::String)),
            ],
        )
    };
    let stock = FeatureView::new(
        "shop",
        "stock",
        vec![JoinKey::new("item", KeyType::String), JoinKey::new("region", KeyType::Int32)],
        vec![
            Feature::new("place", ValueType::Vector { dimension: 2 }),
            Feature::new("is_open", Scalar::Bool),
        ],
    );
    let day = FeatureView {
        ttl_us: 50,
        ..FeatureView::new("shop", "day", Vec::new(), vec![Feature::new("rate", Scalar::Int64)])
    };
    [user, stock, day]
}

fn maybe(rng: &mut Rng, value: Value) -> Value {
    if rng.below(4) == 0 { Value::Null } else { value }
}

fn any_world(rng: &mut Rng) -> World {
    let mut world = World::new(&views());
    for at in 0..600 {
        let event = rng.below(1_000) as i64;
        let created = if rng.below(4) == 0 { NO_TIME } else { event + rng.below(60) as i64 };
        let (view, key, mut values) = match rng.below(3) {
            0 => {
                let name = "n".repeat(rng.below(30) as usize);
                let tags = (0..rng.below(3)).map(|_| Value::from("tag")).collect();
                let values = [Value::from(at as f64), Value::from(&*name), Value::List(tags)];
                ("user", vec![KeyValue::from(rng.below(20) as i64)], values.to_vec())
            }
            1 => {
                let item = KeyValue::from(["a", "b", "", "long item"][rng.below(4) as usize]);
                let values = vec![Value::Vector(vec![at as f32, -0.0]), Value::Bool(at % 2 == 0)];
                ("stock", vec![item, KeyValue::from(rng.below(3) as i32)], values)
            }
            _ => ("day", Vec::new(), vec![Value::Int64(at)]),
        };
        values = values.into_iter().map(|value| maybe(rng, value)).collect();
        if rng.below(12) == 0 {
            values.clear();
        }
        world.put(view, &key, event, created, &values);
    }
    world
}

/// What one row of the spine holds.
#[derive(Clone)]
struct Row {
    user: Option<i64>,
    friend: Option<i64>,
    item: Option<&'static str>,
    region: Option<i32>,
    time: i64,
}

fn any_row(rng: &mut Rng) -> Row {
    Row {
        user: (rng.below(9) > 0).then(|| rng.below(24) as i64),
        friend: (rng.below(3) > 0).then(|| rng.below(20) as i64),
        item: (rng.below(9) > 0).then(|| ["a", "b", "", "none"][rng.below(4) as usize]),
        region: (rng.below(9) > 0).then(|| rng.below(3) as i32),
        time: rng.below(1_100) as i64,
    }
}

fn spine(rows: &[Row], batch_rows: usize) -> MemorySpine {
    let batch = |rows: &[Row]| {
        let labels: Float64Array = rows.iter().map(|row| Some(row.time as f64 / 2.0)).collect();
        let users: Int64Array = rows.iter().map(|row| row.user).collect();
        let friends: Int64Array = rows.iter().map(|row| row.friend).collect();
        let items: StringArray = rows.iter().map(|row| row.item).collect();
        let regions: Int32Array = rows.iter().map(|row| row.region).collect();
        let times: TimestampMicrosecondArray = rows.iter().map(|row| Some(row.time)).collect();
        RecordBatch::try_from_iter_with_nullable([
            ("label", Arc::new(labels) as ArrayRef, true),
            ("user_id", Arc::new(users), true),
            ("friend", Arc::new(friends), true),
            ("item", Arc::new(items), true),
            ("region", Arc::new(regions), true),
            ("at", Arc::new(times), true),
        ])
        .unwrap()
    };
    let batches: Vec<_> = rows.chunks(batch_rows).map(batch).collect();
    let schema = batches.first().map_or_else(|| batch(&[]).schema(), RecordBatch::schema);
    MemorySpine::new(schema, batches).unwrap()
}

fn request(as_of_known: bool) -> Request {
    Request {
        time_column: "at".to_owned(),
        joins: vec![
            ViewJoin::new("user"),
            ViewJoin::new("stock").with_features(&["is_open", "place"]),
            ViewJoin::new("shop/user")
                .with_features(&["name", "score"])
                .with_column("user_id", "friend")
                .with_alias("friend"),
            ViewJoin::new("day@1"),
        ],
        as_of_known,
        full_names: true,
    }
}

/// Values that a row should be answered with, in the order of the request's columns.
fn expected(world: &World, row: &Row, known: bool) -> Vec<Value> {
    let of = |view: &str, key: Option<Vec<KeyValue>>, features: &[usize]| -> Vec<Value> {
        let found = key.and_then(|key| world.expected(view, &key, row.time, known));
        features.iter().map(|at| found.map_or(Value::Null, |values| values[*at].clone())).collect()
    };
    let stock = row.item.zip(row.region);
    let user = |id: Option<i64>| id.map(|id| vec![KeyValue::from(id)]);
    let mut values = of("user", user(row.user), &[0, 1, 2]);
    let stock = stock.map(|(item, region)| vec![KeyValue::from(item), KeyValue::from(region)]);
    values.extend(of("stock", stock, &[1, 0]));
    values.extend(of("user", user(row.friend), &[1, 0]));
    values.extend(of("day", Some(Vec::new()), &[0]));
    values
}

fn types() -> Vec<ValueType> {
    let [user, stock, day] = views();
    let of = |view: &FeatureView, at: usize| view.features[at].value_type.clone();
    let user = |at| of(&user, at);
    vec![user(0), user(1), user(2), of(&stock, 1), of(&stock, 0), user(1), user(0), of(&day, 0)]
}

/// The answered values of every row, after checking that the spine's columns are there unchanged.
fn answered(batches: &[RecordBatch], spine: &MemorySpine) -> Vec<Vec<Value>> {
    let own = spine.schema().fields().len();
    let indices: Vec<usize> = (0..own).collect();
    let mut begin = 0;
    let mut rows = Vec::new();
    let inputs: Vec<_> = spine.read().unwrap().map(Result::unwrap).collect();
    let mut inputs = inputs.iter();
    let mut input = inputs.next();
    for batch in batches {
        while input.is_some_and(|input| begin == input.num_rows()) {
            (input, begin) = (inputs.next(), 0);
        }
        let same = input.unwrap().slice(begin, batch.num_rows());
        assert_eq!(batch.project(&indices).unwrap(), same);
        begin += batch.num_rows();
        for at in 0..batch.num_rows() {
            let column =
                |(column, value_type)| value_at(batch.column(own + column), at, value_type);
            rows.push(types().iter().enumerate().map(column).collect());
        }
    }
    rows
}

#[test]
fn every_row_is_answered_in_its_place_as_the_rules_say() {
    let mut rng = Rng(3);
    for (rows, batch_rows, known) in
        [(400, 400, false), (900, 70, true), (1, 1, true), (0, 1, false)]
    {
        let world = any_world(&mut rng);
        let mut rows: Vec<Row> = (0..rows).map(|_| any_row(&mut rng)).collect();
        rows.extend(rows.first().cloned());
        let spine = spine(&rows, batch_rows);
        let batches = world.read_all(&request(known), &spine).unwrap();
        let answered = answered(&batches, &spine);
        assert_eq!(answered.len(), rows.len());
        for (at, (answer, row)) in answered.iter().zip(&rows).enumerate() {
            assert_eq!(*answer, expected(&world, row, known), "row {at}");
        }
        let values = answered.iter().flatten();
        let present = values.filter(|value| !value.is_null()).count();
        assert!(present > rows.len() * 2 || rows.len() < 3, "{present}: the world tries nothing");
    }
}

#[test]
fn neither_memory_nor_threads_change_the_answer() {
    let mut rng = Rng(4);
    let world = any_world(&mut rng);
    let rows: Vec<Row> = (0..2_000).map(|_| any_row(&mut rng)).collect();
    let spine = spine(&rows, 600);
    let expected = world.read_all(&request(true), &spine).unwrap();
    for threads in 1..=4 {
        for budget_bytes in [0, 300_000, 1 << 30] {
            let env = SimEnv::new(threads as u64);
            let means = means(&env, budget_bytes, threads);
            let progress = Progress::new();
            let request = request(true);
            let answer =
                read(&request, &world.catalogue, &world, &spine, &means, &progress).unwrap();
            assert_eq!(spill_files(&env) > 0, budget_bytes < 1 << 30, "{budget_bytes}");
            let batches: Vec<_> = answer.map(Result::unwrap).collect();
            assert_eq!(batches, expected, "{threads} threads, {budget_bytes} bytes");
            assert_eq!(spill_files(&env), 0, "no spill file outlives the answer");
            let steps = progress.steps();
            assert_eq!((steps.rows, steps.read, steps.answered), (2_000, 2_000, 2_000));
            assert_eq!(steps.joined, steps.to_join);
            assert!((steps.part_done() - 1.0).abs() < 1e-9);
        }
    }
}

#[test]
fn large_values_end_a_batch_early_wherever_they_lie() {
    let view = FeatureView::new(
        "shop",
        "page",
        vec![JoinKey::new("user_id", KeyType::Int64)],
        vec![Feature::new("text", Scalar::Bytes)],
    );
    let mut world = World::new(&[view]);
    world.put("page", &[KeyValue::Int(1)], 5, 5, &[Value::Bytes(vec![7; 400_000])]);
    let row = Row { user: Some(1), friend: None, item: None, region: None, time: 9 };
    let spine = spine(&vec![row; 50], 50);
    let request = Request {
        time_column: "at".to_owned(),
        joins: vec![ViewJoin::new("page")],
        ..Request::default()
    };
    let expected = world.read_all(&request, &spine).unwrap();
    let sizes: Vec<usize> = expected.iter().map(RecordBatch::num_rows).collect();
    assert_eq!(sizes, [21, 21, 8]);
    let env = SimEnv::new(8);
    assert_eq!(world.read(&request, &spine, &means(&env, 0, 3)).unwrap(), expected);
    let empty = MemorySpine::new(Arc::new(Schema::clone(&spine.schema())), Vec::new()).unwrap();
    assert_eq!(world.read_all(&request, &empty).unwrap(), []);
}
