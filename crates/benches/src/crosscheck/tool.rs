//! redis-benchmark: how it is asked for a load, and what it says.

use super::{Asks, KEYS, Options, Tool};
use crate::peers::program;
use anyhow::{Context, ensure};
use std::net::SocketAddr;
use std::process::Command;

/// Runs it with so many requests.
pub fn run(
    address: SocketAddr,
    options: &Options,
    asks: Asks,
    requests: u64,
) -> anyhow::Result<Tool> {
    let mut command = Command::new(program("redis-benchmark")?);
    command.args([
        "-h",
        "127.0.0.1",
        "-p",
        &address.port().to_string(),
        "--csv",
        "--precision",
        "3",
    ]);
    command.args(["-c", &options.connections.to_string(), "-r", &KEYS.to_string()]);
    // It counts commands, of which each of its requests has so many.
    let commands = match asks {
        Asks::Gets(pipeline) => requests * u64::from(pipeline),
        Asks::Mget(_) => requests,
    };
    command.args(["-n", &commands.to_string()]);
    match asks {
        Asks::Gets(pipeline) => command.args(["-P", &pipeline.to_string(), "-t", "get"]),
        Asks::Mget(keys) => command.arg("MGET").args(vec!["key:__rand_int__"; keys as usize]),
    };
    let output = command.output().context("redis-benchmark does not start")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "redis-benchmark ended with {}", output.status);
    let mut found = read_csv(&text).with_context(|| format!("redis-benchmark said {text:?}"))?;
    if let Asks::Gets(pipeline) = asks {
        found.per_s /= f64::from(pipeline);
    }
    Ok(found)
}

/// The only test's line: name, "rps","avg","min","p50","p95","p99","max", milliseconds.
fn read_csv(text: &str) -> anyhow::Result<Tool> {
    let rows: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split(',').map(|field| field.trim_matches(['"', ' '])).collect())
        .collect();
    let head = rows.iter().position(|row| row.first() == Some(&"test")).context("no head")?;
    let test = rows.get(head + 1).context("no test")?;
    let field = |name: &str| -> anyhow::Result<f64> {
        let at = rows[head].iter().position(|found| *found == name);
        let at = at.with_context(|| format!("no {name}"))?;
        Ok(test.get(at).with_context(|| format!("no {name}"))?.parse()?)
    };
    Ok(Tool {
        per_s: field("rps")?,
        p50_us: field("p50_latency_ms")? * 1000.0,
        p99_us: field("p99_latency_ms")? * 1000.0,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_redis_benchmark_says_is_read_by_its_head() {
        let text = "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\"p95_latency_ms\",\
                    \"p99_latency_ms\",\"max_latency_ms\"\n\"GET\",\"84745.77\",\"0.101\",\"0.040\",\"0.095\",\"0.127\",\
                    \"0.183\",\"0.311\"\n";
        let round = read_csv(text).unwrap();
        assert_eq!((round.per_s, round.p50_us, round.p99_us), (84_745.77, 95.0, 183.0));
        assert!(read_csv("\"test\",\"rps\"\n").is_err());
    }
}
