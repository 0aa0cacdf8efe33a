//! What a planner writes down: views, requests, how long rows are kept, growth, machines, prices.

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::keys::Keys;
use crate::workload::{Drive, Kind, Operation, Part, View, Workload};

/// A description to begin with.
pub const EXAMPLE: &str = r#"# thermae plan FILE.toml --calibration HERE.json
name = "shop"

[[view]]
name = "user"
entities = 200_000_000
features = [{ type = "float32", count = 70 }, { type = "string", count = 10, bytes = 12 }]

[[view]]
name = "item"
entities = 5_000_000
features = [{ type = "float32", count = 50 }]

# 50,000 times a second: 1 user and 200 items, all features as columns.
[[request]]
per_s = 50_000
kind = "read"
of = [{ view = "user", keys = 1 }, { view = "item", keys = 200 }]

# Updates, 100 rows a request.
[[request]]
per_s = 40
kind = "write"
of = [{ view = "user", keys = 100 }]

[target]
p99_ms = 2.0

[keep]
hot_rows = 0.25      # share of all rows that lie in memory
hot_hits = 0.95      # share of the keys asked for that are among them
warm_days = 30
cold_days = 400

[growth]
per_year = 0.2
years = 3

[node]
cores = 16
memory_gib = 128
disk_gib = 1800
disk_iops = 200_000
network_gbps = 10

[prices]
currency = "USD"
node_month = 700.0
object_gib_month = 0.023
object_1000_writes = 0.005
object_1000_reads = 0.0004
"#;

/// All of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Shown in the answer.
    pub name: String,
    /// The views.
    #[serde(rename = "view")]
    pub views: Vec<View>,
    /// What is asked.
    #[serde(rename = "request")]
    pub requests: Vec<Request>,
    /// What was promised.
    #[serde(default)]
    pub target: Promised,
    /// How long rows stay where.
    #[serde(default)]
    pub keep: Keep,
    /// How all of it grows.
    #[serde(default)]
    pub growth: Growth,
    /// One machine.
    #[serde(default)]
    pub node: Node,
    /// What things cost; without them the plan has no sum.
    #[serde(default)]
    pub prices: Option<Prices>,
}

/// Requests of one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// How many a second, at the busiest time.
    pub per_s: f64,
    /// What they do.
    pub kind: Kind,
    /// What they touch.
    pub of: Vec<Part>,
    /// Answered as one float32 block.
    #[serde(default)]
    pub matrix: bool,
}

/// What was promised.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Promised {
    /// 99 of 100 requests are answered within this, milliseconds.
    pub p99_ms: f64,
}

impl Default for Promised {
    fn default() -> Self {
        Self { p99_ms: 5.0 }
    }
}

/// How long rows stay where.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keep {
    /// Share of all newest rows that lie in memory, 0 to 1.
    pub hot_rows: f64,
    /// Share of the keys read that are among those, 0 to 1; at least `hot_rows` unless reads avoid them.
    pub hot_hits: f64,
    /// Days that superseded versions stay on local disk.
    pub warm_days: f64,
    /// Days that they stay in the archive; 0 without one.
    pub cold_days: f64,
}

impl Default for Keep {
    fn default() -> Self {
        Self { hot_rows: 1.0, hot_hits: 1.0, warm_days: 0.0, cold_days: 0.0 }
    }
}

/// How rows and requests grow.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Growth {
    /// Share a year: 0.2 is a fifth more each year.
    pub per_year: f64,
    /// Years that are planned.
    pub years: u32,
}

/// One machine.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Node {
    /// Cores.
    pub cores: f64,
    /// Memory, GiB.
    pub memory_gib: f64,
    /// Local disk, GiB.
    pub disk_gib: f64,
    /// Reads and writes of 4 KiB a second.
    pub disk_iops: f64,
    /// Network, Gbit/s each way.
    pub network_gbps: f64,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            cores: 16.0,
            memory_gib: 128.0,
            disk_gib: 1800.0,
            disk_iops: 100_000.0,
            network_gbps: 10.0,
        }
    }
}

/// What things cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// Shown beside sums.
    pub currency: String,
    /// A machine, a month.
    pub node_month: f64,
    /// A GiB of object store, a month; asked for where there is an archive, as the next two are.
    #[serde(default)]
    pub object_gib_month: Option<f64>,
    /// A thousand writes to it.
    #[serde(default)]
    pub object_1000_writes: Option<f64>,
    /// A thousand reads of it.
    #[serde(default)]
    pub object_1000_reads: Option<f64>,
}

impl Prices {
    /// Reads a price list of its own.
    ///
    /// # Errors
    /// What is wrong in it.
    pub fn from_toml(text: &str) -> Result<Self, Error> {
        toml::from_str(text)
            .map_err(|error| Error::Given(format!("the price list is wrong: {error}")))
    }

    fn check(&self, has_archive: bool) -> Result<(), String> {
        let archive = [
            ("object_gib_month", self.object_gib_month),
            ("object_1000_writes", self.object_1000_writes),
            ("object_1000_reads", self.object_1000_reads),
        ];
        let all = archive.into_iter().chain([("node_month", Some(self.node_month))]);
        for (name, price) in all {
            match price {
                Some(price) if !(0.0..1e12).contains(&price) => {
                    return Err(format!("the price {name} must be 0 or more"));
                }
                None if has_archive => {
                    return Err(format!(
                        "rows stay in the archive (cold_days), and there is no price {name}: give it, 0 if it costs \
                         nothing"
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl Request {
    /// As a workload's operation.
    pub fn operation(&self) -> Operation {
        Operation {
            kind: self.kind,
            weight: self.per_s,
            of: self.of.clone(),
            keys: Keys::Uniform,
            same_keys: false,
            consecutive: false,
            matrix: self.matrix,
        }
    }
}

impl Description {
    /// Reads a description and checks it.
    ///
    /// # Errors
    /// What is wrong, where.
    pub fn from_toml(text: &str) -> Result<Self, Error> {
        let found: Self = toml::from_str(text)
            .map_err(|error| Error::Given(format!("the description is wrong: {error}")))?;
        let wrong = |what: &str| Err(Error::Given(format!("{}: {what}", found.name)));
        for (at, request) in found.requests.iter().enumerate() {
            if !(0.0..=1e12).contains(&request.per_s) || request.per_s == 0.0 {
                let (at, per_s) = (at + 1, request.per_s);
                return wrong(&format!(
                    "request {at}: per_s must be above 0 and is {per_s}; write the rate of the busiest time"
                ));
            }
        }
        if let Err(what) = found.workload().check_parts("request") {
            return wrong(&what);
        }
        let Keep { hot_rows, hot_hits, warm_days, cold_days } = found.keep;
        if ![hot_rows, hot_hits].iter().all(|share| (0.0..=1.0).contains(share)) {
            return wrong("hot_rows and hot_hits are shares: they must be 0 to 1");
        }
        if ![warm_days, cold_days].iter().all(|days| (0.0..=100_000.0).contains(days)) {
            return wrong("warm_days and cold_days must be 0 to 100000");
        }
        if !(-0.9..=100.0).contains(&found.growth.per_year) || found.growth.years > 50 {
            return wrong("growth must be above -0.9 a year, over 50 years at most");
        }
        let Node { cores, memory_gib, disk_gib, disk_iops, network_gbps } = found.node;
        if ![cores, memory_gib, disk_gib, disk_iops, network_gbps]
            .iter()
            .all(|of| (1e-3..1e12).contains(of))
        {
            return wrong(
                "a [node] must have some of everything: cores, memory_gib, disk_gib, disk_iops, network_gbps",
            );
        }
        if !(0.001..=60_000.0).contains(&found.target.p99_ms) {
            return wrong("p99_ms must be 0.001 to 60000");
        }
        Ok(found)
    }

    /// Checks the prices, which may have come from elsewhere.
    ///
    /// # Errors
    /// One that is missing, or that is none.
    pub fn check_prices(&self) -> Result<(), Error> {
        let Some(prices) = &self.prices else { return Ok(()) };
        let told = |what: String| Error::Given(format!("{}: {what}", self.name));
        prices.check(self.keep.cold_days > 0.0).map_err(told)
    }

    /// Its views and requests as a workload.
    pub fn workload(&self) -> Workload {
        Workload {
            name: self.name.clone(),
            description: String::new(),
            views: self.views.clone(),
            operations: self.requests.iter().map(Request::operation).collect(),
            drive: Drive::default(),
        }
    }
}
