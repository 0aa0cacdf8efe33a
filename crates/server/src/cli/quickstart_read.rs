//! The quickstart's reads: some answers to look at, and how long reading takes.

use std::collections::BTreeMap;

use thermae_client::{Client, Described, ReadOptions};
use thermae_formats::time::parse_timestamp_us;
use thermae_formats::{KeyValue, NO_TIME};

use super::answers::{Answers, Asked};
use super::connect::failed;
use super::exit::Failure;
use super::get;
use super::keys;
use super::quickstart_mapped::mapped;
use super::quickstart_time::{Latency, latency, push_keys, time};

/// Keys of a batched read.
const BATCH_KEYS: usize = 100;

/// One table of answers.
pub struct Shown {
    /// What it shows.
    pub title: &'static str,
    /// The command that asks the same.
    pub command: String,
    /// What was asked.
    pub asked: Vec<Asked>,
    /// What was answered.
    pub answers: Answers,
}

/// (title, views and features, keys, read time)
const QUESTIONS: [(&str, &[&str], &[&str], &str); 3] = [
    (
        "the weather at four airports, as of the last hour of data",
        &["nyc/weather_by_origin:temp,wind_speed,wind_gust,visib"],
        &["origin=JFK", "origin=EWR", "origin=LGA", "origin=SFO"],
        "2013-12-31T00:00:00Z",
    ),
    (
        "the same a day later: the ttl of 3h has passed, so nothing stale is served",
        &["nyc/weather_by_origin:temp,wind_speed,wind_gust,visib"],
        &["origin=JFK"],
        "2014-01-01T00:00:00Z",
    ),
    (
        "several views in one request: what a model that predicts delays would ask",
        &[
            "nyc/route_last_flight:carrier,dep_delay,arr_delay",
            "nyc/carrier_daily:name,late_share",
            "nyc/dest_daily:flights,arr_delay_mean",
        ],
        &["origin=JFK,dest=LAX,carrier=AA", "origin=EWR,dest=SFO,carrier=UA"],
        "2014-01-01T12:00:00Z",
    ),
];

/// Asks the example's questions over the binary protocol.
pub fn answers(client: &Client, views: &[Described]) -> Result<Vec<Shown>, Failure> {
    let mut shown = Vec::with_capacity(QUESTIONS.len());
    for (title, features, key_texts, time) in QUESTIONS {
        let wanted = features
            .iter()
            .map(|text| text.parse().map_err(Failure::Failed))
            .collect::<Result<Vec<_>, _>>()?;
        let asked = get::resolve(views.to_vec(), &wanted)?;
        let needed = keys::needed(asked.iter().map(|a| &a.view))?;
        let texts: Vec<String> = key_texts.iter().map(|&k| k.to_owned()).collect();
        let rows = keys::from_arguments(&texts, &needed)?;
        let read_time = parse_timestamp_us(time).map_err(Failure::Failed)?;
        let answers = get::read(client, &asked, rows, &BTreeMap::new(), read_time)?;
        let keys: Vec<String> = key_texts.iter().map(|k| format!("--key {k}")).collect();
        let command =
            format!("thermae get {} {} --read-time {time}", features.join(" "), keys.join(" "));
        shown.push(Shown { title, command, asked, answers });
    }
    Ok(shown)
}

/// Times reads of one key and of a batch, each way in, after checking that the ways agree.
pub fn latencies(
    tcp: &Client,
    unix: &Client,
    views: &[Described],
) -> Result<Vec<Latency>, Failure> {
    let wanted = ["nyc/planes:year,manufacturer,model,engines,seats"];
    let wanted = wanted
        .iter()
        .map(|text| text.parse().map_err(Failure::Failed))
        .collect::<Result<Vec<_>, _>>()?;
    let asked = get::resolve(views.to_vec(), &wanted)?;
    let options = ReadOptions { event_times: true, read_time: NO_TIME, ..ReadOptions::default() };
    let mut out = Vec::new();
    for keys in [1, BATCH_KEYS] {
        for (way, client) in [("TCP", tcp), ("unix socket", unix)] {
            let plan = get::prepare(client, &asked)?;
            let mut packed = plan.keys(0).map_err(failed)?;
            push_keys(keys, |tail_number| {
                packed.push(&[KeyValue::from(tail_number)]).map_err(failed)
            })?;
            let times =
                time(|| client.read(&plan, &[&packed], &options).map(drop).map_err(failed))?;
            out.push(latency(way, keys, times));
        }
        out.push(mapped(unix, &asked, keys, &options)?);
    }
    Ok(out)
}
