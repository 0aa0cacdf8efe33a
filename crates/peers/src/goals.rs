//! What the warm tier is meant to reach beside its peers, and whether it does.

use crate::engines::Kind;
use crate::lines::{LoadLine, ReadLine};
use crate::protocol::{Keys, Loaded, ReadRound};
use serde::Serialize;
use thermae_benches::stats::Spread;

/// Look-ups a second over a peer's, at least.
const LOOK_UPS_MIN: f64 = 1.0;
/// Processor time of a look-up over a peer's, at most.
const CPU_MAX: f64 = 0.5;
/// Rows loaded a second over a peer's, at least.
const LOAD_MIN: f64 = 2.0;
/// Bytes of a row in tables over a peer's, at most.
const BYTES_MAX: f64 = 1.0;

/// One goal against one peer.
#[derive(Debug, Clone, Serialize)]
pub struct Goal {
    /// What is meant.
    pub what: String,
    /// Beside whom.
    pub peer: String,
    /// Ours over the peer's, round by round.
    pub ratio: Spread,
    /// Whether the median reaches it.
    pub is_reached: bool,
}

/// All goals against all peers that were measured.
pub fn goals(loads: &[LoadLine], reads: &[ReadLine]) -> Vec<Goal> {
    let mut found = Vec::new();
    let Some(ours) = loads.iter().find(|line| line.engine == Kind::Thermae) else { return found };
    for peer in loads.iter().filter(|line| line.engine != Kind::Thermae) {
        found.extend(load_goals(ours, peer).into_iter().flatten());
    }
    for peer in reads.iter().filter(|line| line.engine != Kind::Thermae && line.what != Keys::Miss)
    {
        let is_same = |line: &&ReadLine| {
            line.engine == Kind::Thermae && (line.what, line.keys) == (peer.what, peer.keys)
        };
        let Some(ours) = reads.iter().find(is_same) else { continue };
        found.extend(read_goals(ours, peer).into_iter().flatten());
    }
    found
}

fn load_goals(ours: &LoadLine, peer: &LoadLine) -> [Option<Goal>; 2] {
    let ratio = |figure: fn(&Loaded) -> f64| {
        let of = |line: &LoadLine| line.rounds.iter().map(figure).collect::<Vec<_>>();
        Spread::of_ratio(&of(ours), &of(peer))
    };
    let name = peer.engine.label();
    [
        at_least(
            format!("Durable load at least {LOAD_MIN} times"),
            name,
            ratio(Loaded::rows_per_s),
            LOAD_MIN,
        ),
        at_most(
            "Bytes of a row in tables at most as many".into(),
            name,
            ratio(Loaded::table_bytes_per_row),
            BYTES_MAX,
        ),
    ]
}

fn read_goals(ours: &ReadLine, peer: &ReadLine) -> [Option<Goal>; 2] {
    let ratio = |figure: fn(&ReadRound) -> f64| {
        let of = |line: &ReadLine| line.rounds.iter().map(figure).collect::<Vec<_>>();
        Spread::of_ratio(&of(ours), &of(peer))
    };
    let (name, keys) = (peer.label(), peer.keys);
    let asked = if peer.what == Keys::Zipf { "skewed keys" } else { "keys" };
    let rate = ratio(|round| round.look_ups_per_s);
    let cpu = ratio(|round| round.cpu_us);
    [
        at_least(
            format!("{keys} {asked} a request: at least as many look-ups/s"),
            &name,
            rate,
            LOOK_UPS_MIN,
        ),
        at_most(
            format!("{keys} {asked} a request: at most {CPU_MAX} of the CPU a look-up"),
            &name,
            cpu,
            CPU_MAX,
        ),
    ]
}

fn at_least(what: String, peer: &str, ratio: Option<Spread>, least: f64) -> Option<Goal> {
    let ratio = ratio?;
    Some(Goal { what, peer: peer.into(), ratio, is_reached: ratio.median >= least })
}

fn at_most(what: String, peer: &str, ratio: Option<Spread>, most: f64) -> Option<Goal> {
    let ratio = ratio?;
    Some(Goal { what, peer: peer.into(), ratio, is_reached: ratio.median <= most })
}
