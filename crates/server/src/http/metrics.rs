//! `/metrics`: the counters as OpenMetrics text, merged over the shards at each scrape.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric, LabelSetEncoder,
    LabelValueEncoder,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::net::counters::{AllCounters, Counters, ViewTotals};
use crate::net::histogram::Histogram;
use crate::serve::limits::Limits;

/// One family of the engine's numbers: rows, bytes, log positions.
#[derive(Clone, Debug)]
pub struct EngineFamily {
    /// Metric name without the `thermae_` prefix.
    pub name: &'static str,
    /// What it counts, and its unit.
    pub help: &'static str,
    /// Whether it only ever grows.
    pub counter: bool,
    /// One value for each set of labels.
    pub values: Vec<(Vec<(&'static str, String)>, u64)>,
}

/// Where the scrape's numbers come from.
#[derive(Clone)]
pub struct Source {
    /// The connections' counters.
    pub counters: AllCounters,
    /// The limits in force.
    pub limits: Limits,
    /// Reads the engine's numbers.
    pub engine: Arc<dyn Fn() -> Vec<EngineFamily> + Send + Sync>,
    /// Tells which shard has failed and why, if one has.
    pub failure: Arc<dyn Fn() -> Option<String> + Send + Sync>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// Writes all metrics as text.
pub(super) fn encode(source: &Source, ready: bool) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("thermae");
    registry.register_collector(Box::new(Scrape { source: source.clone(), ready }));
    let mut text = String::with_capacity(16 << 10);
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Scrape {
    source: Source,
    ready: bool,
}

/// Labels made at scrape time.
#[derive(Clone, Debug)]
struct Labels<'a>(&'a [(&'static str, String)]);

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), fmt::Error> {
        for (name, value) in self.0 {
            let mut label = encoder.encode_label();
            let mut key = label.encode_label_key()?;
            key.write_str(name)?;
            let mut place: LabelValueEncoder<'_> = key.encode_label_value()?;
            value.as_str().encode(&mut place)?;
            place.finish()?;
        }
        Ok(())
    }
}

type Row = (Vec<(&'static str, String)>, u64);

fn family(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    counter: bool,
    rows: &[Row],
) -> fmt::Result {
    let kind = if counter { MetricType::Counter } else { MetricType::Gauge };
    let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
    for (labels, value) in rows {
        let labels = Labels(labels);
        let place = if labels.0.is_empty() { None } else { Some(metric.encode_family(&labels)?) };
        match place {
            Some(place) => one(place, counter, *value)?,
            // `encode_family` writes braces even around no label, so a plain metric goes direct.
            None => return one(metric, counter, *value),
        }
    }
    Ok(())
}

fn one(
    place: prometheus_client::encoding::MetricEncoder<'_>,
    counter: bool,
    value: u64,
) -> fmt::Result {
    if counter {
        ConstCounter::new(value).encode(place)
    } else {
        ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(place)
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let ready = u64::from(self.ready);
        family(&mut encoder, "ready", "1 while serving", false, &[(vec![], ready)])?;
        self.connections(&mut encoder)?;
        self.latencies(&mut encoder)?;
        self.views(&mut encoder)?;
        for engine in (self.source.engine)() {
            family(&mut encoder, engine.name, engine.help, engine.counter, &engine.values)?;
        }
        Ok(())
    }
}

impl Scrape {
    fn connections(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        type Pick = fn(&Counters) -> &std::sync::atomic::AtomicU64;
        let picks: [(&str, &str, bool, Pick); 6] = [
            ("connections_accepted", "Connections accepted", true, |c| &c.accepted),
            ("connections", "Connections open now", false, |c| &c.open),
            ("buffered_bytes", "Bytes held in connection buffers", false, |c| &c.buffered_bytes),
            ("requests", "Requests answered", true, |c| &c.requests),
            ("request_errors", "Requests answered with an error", true, |c| &c.errors),
            ("requests_waiting", "Requests waiting now", false, |c| &c.waiting),
        ];
        for (name, help, counter, pick) in picks {
            let rows: Vec<Row> = self
                .source
                .counters
                .shards
                .iter()
                .enumerate()
                .map(|(index, shard)| {
                    let value = pick(shard).load(std::sync::atomic::Ordering::Relaxed);
                    (vec![("shard", index.to_string())], value)
                })
                .collect();
            family(encoder, name, help, counter, &rows)?;
        }
        let cuts: Vec<Row> = self
            .source
            .counters
            .cuts()
            .into_iter()
            .map(|(name, value)| (vec![("limit", name.to_owned())], value))
            .collect();
        family(encoder, "limit_hits", "Times that a limit refused, paused or cut", true, &cuts)?;
        let limits = &self.source.limits;
        let stated: Vec<Row> = [
            ("connections", u64::from(limits.connections)),
            ("frame_bytes", u64::from(limits.frame_bytes)),
            ("in_flight", u64::from(limits.in_flight)),
            ("buffer_bytes", limits.buffer_bytes),
        ]
        .into_iter()
        .map(|(name, value)| (vec![("limit", name.to_owned())], value))
        .collect();
        family(encoder, "limit", "The limits in force", false, &stated)
    }

    fn latencies(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        type Pick = fn(&Counters) -> &Histogram;
        let picks: [(&str, &str, Pick); 2] = [
            ("read_seconds", "From a read's last byte to its answer", |c| &c.read_latency),
            ("write_seconds", "From a write's last byte to its answer", |c| &c.write_latency),
        ];
        for (name, help, pick) in picks {
            let snapshot = self.source.counters.latency(pick);
            let mut buckets = Vec::with_capacity(22);
            let mut before = 0;
            for (edge, cumulative) in snapshot.cumulative() {
                buckets.push((edge, cumulative - before));
                before = cumulative;
            }
            buckets.push((f64::INFINITY, snapshot.count() - before));
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
            metric.encode_histogram::<Labels<'_>>(
                snapshot.sum_seconds(),
                snapshot.count(),
                &buckets,
                None,
            )?;
        }
        Ok(())
    }

    fn views(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let views = self.source.counters.views();
        type Pick = fn(&ViewTotals) -> u64;
        let label = |name: &str| ("view", name.to_owned());
        let results: [(&str, Pick); 5] = [
            ("hit", |v| v.hits),
            ("miss", |v| v.misses),
            ("expired", |v| v.expired),
            ("corrupt", |v| v.corrupt),
            ("unavailable", |v| v.unavailable),
        ];
        let mut rows: Vec<Row> = Vec::with_capacity(views.len() * results.len());
        for (name, totals) in &views {
            for (result, pick) in results {
                rows.push((vec![label(name), ("result", result.to_owned())], pick(totals)));
            }
        }
        family(encoder, "view_keys_read", "Keys read, by result", true, &rows)?;
        let picks: [(&str, &str, Pick); 3] = [
            ("view_rows_written", "Rows put or deleted, as asked", |v| v.rows_written),
            ("view_bytes_in", "Bytes of rows put", |v| v.bytes_in),
            ("view_bytes_out", "Bytes of answers", |v| v.bytes_out),
        ];
        for (name, help, pick) in picks {
            let rows: Vec<Row> =
                views.iter().map(|(view, totals)| (vec![label(view)], pick(totals))).collect();
            family(encoder, name, help, true, &rows)?;
        }
        Ok(())
    }
}
