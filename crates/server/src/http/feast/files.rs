//! The file that a view's source names, as rows in their order.

use std::error::Error;
use std::path::{Path, PathBuf};

use thermae_engine::store::Row;
use thermae_features::model::SourceHint;
use thermae_features::store::{RowSource, SourceRow};
use thermae_formats::FeatureView;

use super::super::reply::Failure;
use crate::ingest::cell::Reader;
use crate::ingest::csv::CsvOptions;
use crate::ingest::error::IngestError;
use crate::ingest::mapping::{Mapping, MappingOptions};
use crate::ingest::rows::RowReader;
use crate::ingest::source::{FileReader, Source};

/// Where the file of a view's source is: below `source_dir`, whatever the definition says.
///
/// # Errors
/// The source names none, or one that is not there or lies elsewhere.
pub(super) fn path_of(view: &FeatureView, source_dir: &Path) -> Result<PathBuf, Failure> {
    let name = format!("{}/{}", view.project, view.name);
    let Some(file) = SourceHint::from_source(&view.source).file else {
        return Err(Failure::invalid(format!("the source of {name} names no file")));
    };
    let failed = |why: &dyn std::fmt::Display| {
        let what = format!("{file:?}, the file of {name}, below the server's --source-dir: {why}");
        Failure::invalid(what)
    };
    let root = source_dir.canonicalize().map_err(|e| failed(&e))?;
    let path = root.join(&file).canonicalize().map_err(|e| failed(&e))?;
    if !path.starts_with(&root) {
        return Err(failed(&"it lies elsewhere"));
    }
    Ok(path)
}

/// Rows that cannot be written and are told of one by one.
const TOLD_MAX: usize = 10;

/// The rows of a file, whose sequences are their numbers. Those that cannot be written are passed over, and told.
pub(super) struct FileRows<'a> {
    name: String,
    source: Source,
    view: &'a FeatureView,
    /// The file and the number of the last row that was given of it.
    open: Option<(FileReader, RowReader<'a>, u64)>,
    /// Rows that cannot be written.
    pub rejected: u64,
    /// Number and reason of the first of them.
    pub reasons: Vec<String>,
}

impl<'a> FileRows<'a> {
    /// Looks at the file of a view. One that grows is the same source still; otherwise one with other bytes is
    /// another.
    ///
    /// # Errors
    /// It cannot be read, or is of no known format.
    pub fn new(view: &'a FeatureView, path: &Path, grows: bool) -> Result<Self, Failure> {
        let unfit = |e: IngestError| Failure::invalid(e.to_string());
        let source = Source::new(path, None, CsvOptions::default()).map_err(unfit)?;
        let mut name = SourceHint::from_source(&view.source).file.unwrap_or_default();
        if !grows {
            name = format!("{name} {:016x}", source.digest(|_| ()).map_err(unfit)?);
        }
        Ok(Self { name, source, view, open: None, rejected: 0, reasons: Vec::new() })
    }

    fn open(&self) -> Result<(FileReader, RowReader<'a>, u64), Box<dyn Error>> {
        let mut reader = self.source.open()?;
        let mapping = Mapping::resolve(self.view, reader.columns(), &MappingOptions::default())?;
        let columns = reader.columns().to_vec();
        reader.select(&mapping.columns());
        Ok((reader, RowReader::new(self.view, &columns, mapping)?, 0))
    }
}

impl RowSource for FileRows<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn read(&mut self, after: u64) -> Result<Vec<SourceRow>, Box<dyn Error>> {
        let open = match self.open.take() {
            Some(open) if open.2 == after => open,
            _ => self.open()?,
        };
        let Self { open: place, rejected, reasons, .. } = self;
        let (reader, numbered, last) = place.insert(open);
        let mut rows = Vec::new();
        while rows.is_empty() {
            let Some(batch) = reader.next_batch()? else { break };
            numbered.read(batch.as_ref(), |read| match read {
                Ok(row) => {
                    *last = row.number;
                    if row.number > after {
                        let (event_time, created_time) = (row.event_time, row.created_time);
                        let (key, values) = (row.keys, row.values);
                        let sequence = row.number;
                        let row = Row { key, event_time, created_time, values };
                        rows.push(SourceRow { sequence, row });
                    }
                }
                Err(rejection) if rejection.number > after => {
                    *rejected += 1;
                    if reasons.len() < TOLD_MAX {
                        reasons.push(format!("row {}: {}", rejection.number, rejection.detail));
                    }
                }
                Err(_) => {}
            });
        }
        Ok(rows)
    }
}
