//! Actions as Delta's checkpoint of version 1: a Parquet file, a row an action, a column a kind.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::builder::{MapBuilder, MapFieldNames, StringBuilder};
use arrow_array::{
    ArrayRef, BooleanArray, Int32Array, Int64Array, ListArray, RecordBatch, StringArray,
    StructArray,
};
use arrow_schema::{DataType, Field, Fields, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::action::{Action, Add, MetaData, Protocol, Remove, Txn};
use crate::cold::ColdError;

/// The bytes of the file.
pub(super) fn to_parquet(actions: &[Action]) -> Result<Vec<u8>, ColdError> {
    let columns = [
        ("protocol", protocol(actions)?),
        ("metaData", metadata(actions)?),
        ("txn", txn(actions)?),
        ("add", add(actions)?),
        ("remove", remove(actions)?),
    ];
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, column)| {
            Field::new(*name, arrow_array::Array::data_type(column).clone(), true)
        })
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let arrays = columns.into_iter().map(|(_, column)| Arc::new(column) as ArrayRef).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays)?;
    let zstd = Compression::ZSTD(ZstdLevel::try_new(3)?);
    let properties = WriterProperties::builder().set_compression(zstd).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties))?;
    writer.write(&batch)?;
    Ok(writer.into_inner()?)
}

/// Fields of one kind of action, for every row: null where it is of another kind.
struct Kind<'a, T> {
    rows: Vec<Option<&'a T>>,
    fields: Vec<(Field, ArrayRef)>,
}

impl<'a, T> Kind<'a, T> {
    fn of(actions: &'a [Action], pick: impl Fn(&'a Action) -> Option<&'a T>) -> Self {
        Self { rows: actions.iter().map(pick).collect(), fields: Vec::new() }
    }

    fn push(mut self, name: &str, array: impl arrow_array::Array + 'static) -> Self {
        let field = Field::new(name, array.data_type().clone(), true);
        self.fields.push((field, Arc::new(array)));
        self
    }

    fn text(self, name: &str, get: impl Fn(&T) -> Option<&str>) -> Self {
        let array: StringArray = self.rows.iter().map(|row| row.and_then(&get)).collect();
        self.push(name, array)
    }

    fn long(self, name: &str, get: impl Fn(&T) -> Option<i64>) -> Self {
        let array: Int64Array = self.rows.iter().map(|row| row.and_then(&get)).collect();
        self.push(name, array)
    }

    fn integer(self, name: &str, get: impl Fn(&T) -> u32) -> Self {
        let value = |row: &Option<&T>| row.map(|row| i32::try_from(get(row)).unwrap_or(i32::MAX));
        let array: Int32Array = self.rows.iter().map(value).collect();
        self.push(name, array)
    }

    fn boolean(self, name: &str, get: impl Fn(&T) -> bool) -> Self {
        let array: BooleanArray = self.rows.iter().map(|row| row.map(&get)).collect();
        self.push(name, array)
    }

    fn map(
        self,
        name: &str,
        get: impl Fn(&T) -> Option<&BTreeMap<String, String>>,
    ) -> Result<Self, ColdError> {
        let names = MapFieldNames {
            entry: "key_value".to_owned(),
            key: "key".to_owned(),
            value: "value".to_owned(),
        };
        let mut builder = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
        for row in &self.rows {
            let pairs = row.and_then(&get);
            for (key, value) in pairs.into_iter().flatten() {
                builder.keys().append_value(key);
                builder.values().append_value(value);
            }
            builder.append(pairs.is_some())?;
        }
        Ok(self.push(name, builder.finish()))
    }

    fn structure(self) -> Result<StructArray, ColdError> {
        let is_valid: Vec<bool> = self.rows.iter().map(Option::is_some).collect();
        let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = self.fields.into_iter().unzip();
        Ok(StructArray::try_new(Fields::from(fields), arrays, Some(is_valid.into()))?)
    }
}

fn protocol(actions: &[Action]) -> Result<StructArray, ColdError> {
    fn pick(action: &Action) -> Option<&Protocol> {
        if let Action::Protocol(it) = action { Some(it) } else { None }
    }
    Kind::of(actions, pick)
        .integer("minReaderVersion", |it: &Protocol| it.min_reader_version)
        .integer("minWriterVersion", |it: &Protocol| it.min_writer_version)
        .structure()
}

fn metadata(actions: &[Action]) -> Result<StructArray, ColdError> {
    fn pick(action: &Action) -> Option<&MetaData> {
        if let Action::MetaData(it) = action { Some(it) } else { None }
    }
    let kind = Kind::of(actions, pick);
    let format = Kind { rows: kind.rows.clone(), fields: Vec::new() }
        .text("provider", |it: &MetaData| Some(&it.format.provider))
        .map("options", |it: &MetaData| Some(&it.format.options))?
        .structure()?;
    let columns = kind.rows.iter().map(|row| row.map(|it| &it.partition_columns));
    let partition_columns = texts(columns)?;
    kind.text("id", |it: &MetaData| Some(&it.id))
        .text("name", |it| Some(&it.name))
        .push("format", format)
        .text("schemaString", |it| Some(&it.schema_string))
        .push("partitionColumns", partition_columns)
        .map("configuration", |it| Some(&it.configuration))?
        .long("createdTime", |it| Some(it.created_time))
        .structure()
}

fn texts<'a>(rows: impl Iterator<Item = Option<&'a Vec<String>>>) -> Result<ListArray, ColdError> {
    let field = Arc::new(Field::new("element", DataType::Utf8, true));
    let mut builder =
        arrow_array::builder::ListBuilder::new(StringBuilder::new()).with_field(field);
    for row in rows {
        for text in row.into_iter().flatten() {
            builder.values().append_value(text);
        }
        builder.append(row.is_some());
    }
    Ok(builder.finish())
}

fn txn(actions: &[Action]) -> Result<StructArray, ColdError> {
    fn pick(action: &Action) -> Option<&Txn> {
        if let Action::Txn(it) = action { Some(it) } else { None }
    }
    Kind::of(actions, pick)
        .text("appId", |it: &Txn| Some(&it.app_id))
        .long("version", |it| i64::try_from(it.version).ok())
        .long("lastUpdated", |it| Some(it.last_updated))
        .structure()
}

fn add(actions: &[Action]) -> Result<StructArray, ColdError> {
    fn pick(action: &Action) -> Option<&Add> {
        if let Action::Add(it) = action { Some(it) } else { None }
    }
    let tags: Vec<Option<BTreeMap<String, String>>> =
        actions.iter().map(|action| pick(action).map(tags_of)).collect();
    let kind = Kind::of(actions, pick)
        .text("path", |it: &Add| Some(&it.path))
        .map("partitionValues", |it| Some(&it.partition_values))?
        .long("size", |it| i64::try_from(it.size).ok())
        .long("modificationTime", |it| Some(it.modification_time))
        .boolean("dataChange", |it| it.data_change)
        .text("stats", |it| Some(&it.stats));
    let tag_rows = Kind { rows: tags.iter().map(Option::as_ref).collect(), fields: Vec::new() };
    let tags = tag_rows.map("tags", |it: &BTreeMap<String, String>| Some(it))?;
    let (_, tags) = tags.fields.into_iter().next().ok_or(ColdError::Order("no tags"))?;
    kind.push("tags", tags).structure()
}

fn tags_of(add: &Add) -> BTreeMap<String, String> {
    BTreeMap::from([("thermae.file".to_owned(), add.tags.file.clone())])
}

fn remove(actions: &[Action]) -> Result<StructArray, ColdError> {
    fn pick(action: &Action) -> Option<&Remove> {
        if let Action::Remove(it) = action { Some(it) } else { None }
    }
    Kind::of(actions, pick)
        .text("path", |it: &Remove| Some(&it.path))
        .long("deletionTimestamp", |it| Some(it.deletion_timestamp))
        .boolean("dataChange", |it| it.data_change)
        .boolean("extendedFileMetadata", |it| it.extended_file_metadata)
        .structure()
}
