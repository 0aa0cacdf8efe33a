//! A workload: which views there are, what is asked of them, and how it is driven. Read from TOML.

use serde::{Deserialize, Serialize};
use thermae_formats::{Feature, FeatureView, JoinKey, KeyType, ValueType};

use crate::error::Error;
use crate::keys::Keys;

/// Project of every view of a workload: a run can only touch what is there.
pub const PROJECT: &str = "bench";
/// Most features of a view that one list may give.
const FEATURES_MAX: usize = 4096;
/// Most keys of one part of a request.
const KEYS_MAX: u32 = 16_384;
/// Bytes of a decimal row number with its letter, which text and bytes keys begin with.
const KEY_BYTES_MIN: usize = 12;

/// All of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// Shown in results.
    pub name: String,
    /// What it stands for.
    #[serde(default)]
    pub description: String,
    /// The views, loaded before anything is measured.
    #[serde(rename = "view")]
    pub views: Vec<View>,
    /// What is asked, each with its weight.
    #[serde(rename = "operation")]
    pub operations: Vec<Operation>,
    /// How it is driven unless the command line says otherwise.
    #[serde(default)]
    pub drive: Drive,
}

/// A feature view: `entities` rows, numbered from 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct View {
    /// Its name.
    pub name: String,
    /// Rows that are loaded.
    pub entities: u64,
    /// Type of the one join key.
    #[serde(default = "int64")]
    pub key: KeyType,
    /// Bytes of a text or bytes key; 0 for the shortest that there is.
    #[serde(default)]
    pub key_bytes: usize,
    /// How old a row may be when it is read, seconds; 0 without limit.
    #[serde(default)]
    pub ttl_s: u64,
    /// Seconds after which a row lies in the archive alone and is read from there, which takes a server that has one; 0
    /// never.
    #[serde(default)]
    pub cold_after_s: u64,
    /// Its features, some at a time.
    pub features: Vec<Features>,
}

/// Features of one type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Features {
    /// `float32`, `list<int64>`, `vector<float32, 64>`: as in definitions.
    #[serde(rename = "type")]
    pub value_type: ValueType,
    /// How many.
    #[serde(default = "one")]
    pub count: usize,
    /// Bytes of a value of variable width.
    #[serde(default = "ten")]
    pub bytes: usize,
}

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Reads rows.
    Read,
    /// Writes whole rows that are there.
    Write,
    /// Writes rows that were not there.
    Insert,
    /// Reads rows, then writes them; one latency for both.
    Modify,
}

/// One kind of request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// What it does.
    pub kind: Kind,
    /// Its share among all weights.
    #[serde(default = "one_f64")]
    pub weight: f64,
    /// The views that it touches, all in one request; a write touches one.
    pub of: Vec<Part>,
    /// Which rows.
    #[serde(default)]
    pub keys: Keys,
    /// Every part has the rows of the first.
    #[serde(default)]
    pub same_keys: bool,
    /// Rows that follow the first one chosen, instead of rows chosen one by one.
    #[serde(default)]
    pub consecutive: bool,
    /// Answer one float32 block instead of columns.
    #[serde(default)]
    pub matrix: bool,
}

/// What one request takes of one view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The view's name.
    pub view: String,
    /// Rows of a request.
    #[serde(default = "one_count")]
    pub keys: Count,
    /// Features of a row that are read; 0 for all.
    #[serde(default)]
    pub features: usize,
}

/// A number, or one between two, both included, each as likely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Count {
    /// Always this many.
    Exactly(u32),
    /// From the first to the second.
    Between([u32; 2]),
}

impl Count {
    /// The least and the most.
    pub const fn range(self) -> (u32, u32) {
        match self {
            Self::Exactly(count) => (count, count),
            Self::Between([least, most]) => (least, most),
        }
    }

    /// The mean.
    pub fn mean(self) -> f64 {
        let (least, most) = self.range();
        f64::midpoint(f64::from(least), f64::from(most))
    }
}

/// When requests are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arrivals {
    /// One period after the other.
    #[default]
    Steady,
    /// Independently of each other, as from many users: exponential gaps.
    Poisson,
}

/// How a workload is driven.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Drive {
    /// Threads of the client, each polling: one core each.
    pub threads: usize,
    /// Connections over all threads.
    pub connections: usize,
    /// Requests in flight on a connection, at most.
    pub in_flight: usize,
    /// When requests are due.
    pub arrivals: Arrivals,
    /// Seconds driven before anything counts.
    pub warm_up_s: f64,
    /// Seconds that count.
    pub seconds: f64,
    /// Seed of keys and arrivals.
    pub seed: u64,
    /// Acknowledge writes when a killed server would keep them, not only a power cut.
    pub logged: bool,
}

impl Default for Drive {
    fn default() -> Self {
        Self {
            threads: 1,
            connections: 1,
            in_flight: 16,
            arrivals: Arrivals::Steady,
            warm_up_s: 2.0,
            seconds: 10.0,
            seed: 1,
            logged: false,
        }
    }
}

const fn int64() -> KeyType {
    KeyType::Int64
}
const fn one() -> usize {
    1
}
const fn ten() -> usize {
    10
}
const fn one_f64() -> f64 {
    1.0
}
const fn one_count() -> Count {
    Count::Exactly(1)
}

impl Workload {
    /// Reads a workload and checks it.
    ///
    /// # Errors
    /// What is wrong, where, and what may be written there.
    pub fn from_toml(text: &str) -> Result<Self, Error> {
        let workload: Self = toml::from_str(text)
            .map_err(|error| Error::Given(format!("the workload is wrong: {error}")))?;
        workload.check()?;
        Ok(workload)
    }

    /// Position of a view.
    pub fn view_index(&self, name: &str) -> Option<usize> {
        self.views.iter().position(|view| view.name == name)
    }

    /// Whether any operation writes.
    pub fn writes(&self) -> bool {
        self.operations.iter().any(|operation| operation.kind != Kind::Read)
    }

    /// Checks everything that a run relies on.
    ///
    /// # Errors
    /// As [`Self::from_toml`].
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |what: String| Error::Given(format!("workload {:?}: {what}", self.name));
        self.check_parts("operation").map_err(wrong)?;
        let total: f64 = self.operations.iter().map(|operation| operation.weight).sum();
        if total <= 0.0 {
            return Err(wrong("the weights of its operations add up to nothing".to_owned()));
        }
        self.drive.check().map_err(wrong)
    }

    /// Checks views and operations, which are called `one` where they were written down.
    ///
    /// # Errors
    /// What is wrong, and in which of them.
    pub fn check_parts(&self, one: &str) -> Result<(), String> {
        if self.views.is_empty() || self.operations.is_empty() {
            return Err(format!("it needs at least one [[view]] and one [[{one}]]"));
        }
        for (at, view) in self.views.iter().enumerate() {
            if self.view_index(&view.name) != Some(at) {
                return Err(format!("the view {:?} is there twice", view.name));
            }
            view.check()?;
        }
        for (at, operation) in self.operations.iter().enumerate() {
            operation.check(self).map_err(|what| format!("{one} {}: {what}", at + 1))?;
        }
        Ok(())
    }
}

impl Drive {
    /// Checks the figures.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), String> {
        let lies = |value: usize, most: usize| (1..=most).contains(&value);
        if !lies(self.threads, 256) {
            return Err("threads must be 1 to 256".to_owned());
        }
        if !lies(self.connections, 65_536) || self.connections < self.threads {
            return Err("connections must be as many as threads at least, 65536 at most".to_owned());
        }
        if !lies(self.in_flight, 1024) {
            return Err("in_flight must be 1 to 1024".to_owned());
        }
        let sane = |seconds: f64, least: f64| (least..=86_400.0).contains(&seconds);
        if !sane(self.warm_up_s, 0.0) || !sane(self.seconds, 0.01) {
            return Err("seconds must be 0.01 to 86400, warm_up_s 0 to 86400".to_owned());
        }
        Ok(())
    }
}

impl View {
    fn check(&self) -> Result<(), String> {
        let name = &self.name;
        if self.entities == 0 || self.entities > 1 << 40 {
            return Err(format!("view {name:?}: entities must be 1 to 2^40"));
        }
        let text = matches!(self.key, KeyType::String | KeyType::Bytes);
        if !text && self.key != KeyType::Int64 {
            return Err(format!("view {name:?}: its key must be int64, string or bytes"));
        }
        if text && self.key_bytes != 0 && !(KEY_BYTES_MIN..=1000).contains(&self.key_bytes) {
            return Err(format!("view {name:?}: key_bytes must be {KEY_BYTES_MIN} to 1000, or 0"));
        }
        let count: usize = self.features.iter().map(|features| features.count).sum();
        if !(1..=FEATURES_MAX).contains(&count) {
            return Err(format!("view {name:?}: it needs 1 to {FEATURES_MAX} features"));
        }
        let longest = self.features.iter().map(|features| features.bytes).max().unwrap_or(0);
        if longest > 400_000 {
            return Err(format!("view {name:?}: a value may have 400000 bytes at most"));
        }
        self.definition().validate().map_err(|error| format!("view {name:?}: {error}"))
    }

    /// The type of each feature, in order, and the bytes of its value.
    pub fn columns(&self) -> Vec<(ValueType, usize)> {
        let of = |some: &Features| {
            std::iter::repeat_n((some.value_type.clone(), some.bytes), some.count)
        };
        self.features.iter().flat_map(of).collect()
    }

    /// Bytes of its encoded text or bytes keys, whose row number is written out.
    pub fn key_text_bytes(&self) -> usize {
        self.key_bytes.max(KEY_BYTES_MIN)
    }

    /// The view as it is defined in a store.
    pub fn definition(&self) -> FeatureView {
        let columns = self.columns();
        let feature = |(at, (value_type, _)): (usize, &(ValueType, usize))| {
            Feature::new(format!("f{at}"), value_type.clone())
        };
        let features = columns.iter().enumerate().map(feature).collect();
        let keys = vec![JoinKey::new("id", self.key)];
        let mut view = FeatureView::new(PROJECT, self.name.clone(), keys, features);
        let us =
            |seconds: u64| i64::try_from(seconds.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
        view.ttl_us = us(self.ttl_s);
        let cold_after_us = us(self.cold_after_s);
        (view.tiers.hot_for_us, view.tiers.warm_for_us) = (cold_after_us, cold_after_us);
        view.tiers.serve_from_cold = self.cold_after_s > 0;
        view
    }
}

impl Operation {
    fn check(&self, workload: &Workload) -> Result<(), String> {
        if !(0.0..=1e12).contains(&self.weight) {
            return Err("its weight must be 0 or more".to_owned());
        }
        if self.of.is_empty() || self.of.len() > 64 {
            return Err("it needs 1 to 64 views in `of`".to_owned());
        }
        if self.kind != Kind::Read && self.of.len() > 1 {
            return Err("a write is of one view".to_owned());
        }
        if self.kind == Kind::Insert && self.consecutive {
            return Err("an insert's rows are always the next ones".to_owned());
        }
        for part in &self.of {
            let Some(view) = workload.views.iter().find(|view| view.name == part.view) else {
                let there: Vec<_> = workload.views.iter().map(|view| view.name.as_str()).collect();
                return Err(format!("no view {:?}; there are {}", part.view, there.join(", ")));
            };
            let (least, most) = part.keys.range();
            if least == 0 || least > most || most > KEYS_MAX {
                return Err(format!(
                    "keys of {:?} must be 1 to {KEYS_MAX}, least first",
                    part.view
                ));
            }
            let columns = view.columns();
            if part.features > columns.len() {
                return Err(format!("{:?} has {} features only", part.view, columns.len()));
            }
            let asked = if part.features == 0 { columns.len() } else { part.features };
            if self.matrix && !columns.iter().take(asked).all(|(kind, _)| kind.is_numeric()) {
                return Err(format!("a matrix needs numbers only, and {:?} has others", part.view));
            }
        }
        self.keys.check()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TEXT: &str = r#"
        name = "t"
        [[view]]
        name = "user"
        entities = 10
        features = [{ type = "float32", count = 3 }, { type = "string", bytes = 5 }]
        [[operation]]
        kind = "read"
        of = [{ view = "user", keys = [1, 5], features = 3 }]
        keys = { distribution = "zipf", exponent = 0.99 }
    "#;

    #[test]
    fn a_workload_is_read_with_its_defaults() {
        let workload = Workload::from_toml(TEXT).unwrap();
        assert_eq!(workload.views[0].columns().len(), 4);
        assert_eq!(workload.operations[0].of[0].keys.mean(), 3.0);
        assert_eq!(workload.drive, Drive::default());
        let tiers = workload.views[0].definition().tiers;
        assert!(!tiers.serve_from_cold && tiers.warm_for_us == 0);
        let cold = TEXT.replace("entities = 10", "entities = 10\ncold_after_s = 3");
        let tiers = Workload::from_toml(&cold).unwrap().views[0].definition().tiers;
        assert!(tiers.serve_from_cold && tiers.warm_for_us == 3_000_000);
        let again = toml::to_string(&workload).unwrap();
        assert_eq!(Workload::from_toml(&again).unwrap(), workload, "{again}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (old, new, said) in [
            ("entities = 10", "entities = 0", "entities must be"),
            ("features = 3 }]", "features = 9 }]", "has 4 features only"),
            ("view = \"user\",", "view = \"item\",", "no view \"item\"; there are user"),
            ("[1, 5]", "[5, 1]", "least first"),
            ("kind = \"read\"", "kind = \"fetch\"", "fetch"),
            ("name = \"t\"", "name = \"t\"\nrate = 5", "rate"),
            ("exponent = 0.99", "exponent = 0.0", "exponent"),
            ("kind = \"read\"", "kind = \"read\"\nweight = 0", "add up to nothing"),
            ("features = 3 }]", "features = 4 }]\nmatrix = true", "matrix needs numbers"),
            ("key", "key", ""),
        ] {
            let text = TEXT.replacen(old, new, 1);
            match Workload::from_toml(&text) {
                Ok(_) => assert!(said.is_empty(), "{new} was taken"),
                Err(error) => {
                    let told = error.to_string();
                    assert!(!said.is_empty() && told.contains(said), "{new}: {told}");
                }
            }
        }
    }
}
