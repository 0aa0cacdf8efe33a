//! Which column of a file feeds which join key, feature or time.

use std::fmt::Write as _;

use thermae_formats::time::parse_timestamp_us;
use thermae_formats::{FeatureView, Value};

use super::cell::Column;
use super::coerce::{Allow, TimeUnit};
use super::error::IngestError;
use thermae_features::model::SourceHint;

/// Names that the event time goes by when nothing was said.
pub const EVENT_TIME_NAMES: [&str; 2] = ["event_time", "event_timestamp"];
/// Names that the created time goes by when nothing was said.
pub const CREATED_TIME_NAMES: [&str; 3] = ["created_time", "created_timestamp", "created"];

/// What the user said on the command line; it goes before the definition's `source`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MappingOptions {
    /// `--event-time COL`
    pub event_time: Option<String>,
    /// `--at TIME`
    pub at: Option<String>,
    /// `--created-time COL`
    pub created_time: Option<String>,
    /// `--map COL=NAME`: (column in the file, join key or feature).
    pub map: Vec<(String, String)>,
    /// `--narrow-floats`, `--time-unit`
    pub allow: Allow,
}

/// Where a time comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeFrom {
    /// A column.
    Column(usize),
    /// The same for all rows, in microseconds.
    Fixed(i64),
}

/// Where a feature's value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeatureFrom {
    /// A column.
    Column(usize),
    /// The feature's default; the file has no column for it.
    Default(Value),
}

/// Which column feeds what, by column index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// A column for each join key, in declared order.
    pub keys: Vec<usize>,
    /// Something for each feature, in declared order.
    pub features: Vec<FeatureFrom>,
    /// The event time.
    pub event_time: TimeFrom,
    /// The created time; `None` leaves it absent.
    pub created_time: Option<usize>,
    /// What is allowed beyond the strict rules.
    pub allow: Allow,
}

impl Mapping {
    /// Finds a column for everything that the view needs.
    ///
    /// # Errors
    /// [`IngestError`] naming what is missing and the columns that are there.
    pub fn resolve(
        view: &FeatureView,
        columns: &[Column],
        options: &MappingOptions,
    ) -> Result<Self, IngestError> {
        let hint = SourceHint::from_source(&view.source);
        let mut finder = Finder { view, columns, map: Vec::new() };
        finder.take_maps(&hint, &options.map)?;
        let mut keys = Vec::with_capacity(view.join_keys.len());
        for key in &view.join_keys {
            keys.push(finder.need(format!("join key {:?}", key.name), &key.name)?);
        }
        let mut features = Vec::with_capacity(view.features.len());
        for feature in &view.features {
            features.push(match (finder.find(&feature.name)?, &feature.default) {
                (Some(column), _) => FeatureFrom::Column(column),
                (None, Some(default)) => FeatureFrom::Default(default.clone()),
                (None, None) => {
                    return Err(
                        finder.missing(format!("feature {:?}", feature.name), &feature.name)
                    );
                }
            });
        }
        Ok(Self {
            keys,
            features,
            event_time: finder.event_time(&hint, options)?,
            created_time: finder.created_time(&hint, options)?,
            allow: options.allow,
        })
    }

    /// Columns that are read, in no order.
    pub fn columns(&self) -> Vec<usize> {
        let features = self.features.iter().filter_map(|f| match f {
            FeatureFrom::Column(column) => Some(*column),
            FeatureFrom::Default(_) => None,
        });
        let mut all: Vec<usize> = self.keys.iter().copied().chain(features).collect();
        if let TimeFrom::Column(column) = self.event_time {
            all.push(column);
        }
        all.extend(self.created_time);
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The mapping as text. Two loads of one file dedupe each other only if this is equal too: a
    /// load corrected by another `--map` is another load.
    pub fn fingerprint(&self, view: &FeatureView) -> String {
        let mut text = format!("{}/{}@{}", view.project, view.name, view.version);
        for (key, column) in view.join_keys.iter().zip(&self.keys) {
            // Writing into a String cannot fail.
            let _ = write!(text, "\nkey {} {} {column}", key.name, key.key_type);
        }
        for (feature, from) in view.features.iter().zip(&self.features) {
            let _ = write!(text, "\nfeature {} {} {from:?}", feature.name, feature.value_type);
        }
        let _ = write!(text, "\n{:?} {:?} {:?}", self.event_time, self.created_time, self.allow);
        text
    }
}

/// The columns and the renamings while a mapping is made.
struct Finder<'a> {
    view: &'a FeatureView,
    columns: &'a [Column],
    /// (column, name in the view)
    map: Vec<(String, String)>,
}

impl Finder<'_> {
    /// Checks the renamings. The command line's replace the definition's for the same name.
    fn take_maps(
        &mut self,
        hint: &SourceHint,
        given: &[(String, String)],
    ) -> Result<(), IngestError> {
        for (column, name) in given {
            let bad = |reason: String| {
                Err(IngestError::BadMapping { mapping: format!("{column}={name}"), reason })
            };
            if self.position(column).is_none() {
                return bad(format!("the file has no column {column:?}. It has: {}", self.there()));
            }
            let known = self.view.feature(name).is_some()
                || self.view.join_keys.iter().any(|k| k.name == *name);
            if !known {
                return bad(format!("{} has no join key or feature {name:?}", self.view.name));
            }
            if self.map.iter().any(|(_, there)| there == name) {
                return bad(format!("{name:?} is mapped twice"));
            }
            self.map.push((column.clone(), name.clone()));
        }
        for (column, name) in &hint.map {
            if !self.map.iter().any(|(_, there)| there == name) {
                self.map.push((column.clone(), name.clone()));
            }
        }
        Ok(())
    }

    fn position(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == column)
    }

    /// The column that feeds `name`, if there is one; a renamed column must be there.
    fn find(&self, name: &str) -> Result<Option<usize>, IngestError> {
        let found = match self.map.iter().find(|(_, there)| there == name) {
            Some((column, _)) => match self.position(column) {
                Some(position) => Some(position),
                None => {
                    return Err(
                        self.missing(format!("{name:?} (by the definition's source)"), column)
                    );
                }
            },
            None => self.position(name),
        };
        match found.map(|position| &self.columns[position]) {
            Some(column) if !column.readable => Err(IngestError::WrongColumnType {
                column: column.name.clone(),
                found: column.type_name.clone(),
                what: format!("{name:?} of {}", self.view.name),
                wanted: self.wanted(name),
            }),
            _ => Ok(found),
        }
    }

    fn wanted(&self, name: &str) -> String {
        let feature = self.view.feature(name).map(|f| f.value_type.to_string());
        let key =
            self.view.join_keys.iter().find(|k| k.name == name).map(|k| k.key_type.to_string());
        feature.or(key).unwrap_or_else(|| "timestamp".to_owned())
    }

    fn need(&self, what: String, name: &str) -> Result<usize, IngestError> {
        self.find(name)?.ok_or_else(|| self.missing(what, name))
    }

    fn time_column(&self, what: &str, column: &str) -> Result<usize, IngestError> {
        self.position(column).ok_or_else(|| IngestError::MissingColumn {
            what: what.to_owned(),
            column: column.to_owned(),
            there: self.there(),
            help: "Name another one".to_owned(),
        })
    }

    fn event_time(
        &self,
        hint: &SourceHint,
        options: &MappingOptions,
    ) -> Result<TimeFrom, IngestError> {
        // What was said on the command line, whichever of the two, replaces the definition's.
        let said = options.event_time.is_some() || options.at.is_some();
        let (column, at) = if said {
            (options.event_time.as_ref(), options.at.as_ref())
        } else {
            (hint.event_time.as_ref(), hint.at.as_ref())
        };
        if let Some(column) = column {
            return self.time_column("the event time", column).map(TimeFrom::Column);
        }
        if let Some(at) = at {
            let time_us = parse_timestamp_us(at).map_err(|reason| IngestError::BadMapping {
                mapping: "(--at)".to_owned(),
                reason,
            })?;
            return Ok(TimeFrom::Fixed(time_us));
        }
        if let Some(position) = EVENT_TIME_NAMES.iter().find_map(|name| self.position(name)) {
            return Ok(TimeFrom::Column(position));
        }
        let times: Vec<&str> = self
            .columns
            .iter()
            .filter(|c| c.type_name.starts_with("timestamp") || c.type_name.starts_with("date"))
            .map(|c| c.name.as_str())
            .collect();
        let candidates = match times.as_slice() {
            [] => String::new(),
            some => format!(" (of type timestamp: {})", some.join(", ")),
        };
        Err(IngestError::NoEventTime { candidates, there: self.there() })
    }

    fn created_time(
        &self,
        hint: &SourceHint,
        options: &MappingOptions,
    ) -> Result<Option<usize>, IngestError> {
        match options.created_time.as_ref().or(hint.created_time.as_ref()) {
            Some(column) => self.time_column("the created time", column).map(Some),
            None => Ok(CREATED_TIME_NAMES.iter().find_map(|name| self.position(name))),
        }
    }

    fn missing(&self, what: String, column: &str) -> IngestError {
        IngestError::MissingColumn {
            what,
            column: column.to_owned(),
            there: self.there(),
            help: "Name the right one with --map COL=NAME, or give the feature a default"
                .to_owned(),
        }
    }

    fn there(&self) -> String {
        let names: Vec<String> = self.columns.iter().take(40).map(ToString::to_string).collect();
        let more = self.columns.len().saturating_sub(names.len());
        let tail = if more > 0 { format!(", and {more} more") } else { String::new() };
        if names.is_empty() {
            "no columns".to_owned()
        } else {
            format!("{}{tail}", names.join(", "))
        }
    }
}

/// `s`, `ms`, `us` or `ns`, for messages.
impl std::fmt::Display for TimeUnit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::S => "s",
            Self::Ms => "ms",
            Self::Us => "us",
            Self::Ns => "ns",
        })
    }
}
