//! The form that every comparison is told in: figures, each of several who were measured side by side, in rounds.

use crate::machine::Machine;
use crate::stats::Spread;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Nearer to ours than this share is told as even: machines are not repeatable to that.
const EVEN: f64 = 0.03;

/// One comparison: what `docs/benchmarks/PART.json` has, or what is made of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Part {
    /// The command that takes these figures again.
    pub command: String,
    /// Where.
    pub machine: Machine,
    /// Version of each who was measured.
    pub versions: BTreeMap<String, String>,
    /// Who was not, and why.
    pub absent: Vec<String>,
    /// What was measured, and how.
    pub setting: String,
    /// What came of it.
    pub figures: Vec<Figure>,
}

/// One figure of all who were measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What is measured: figures of one group are a table, and a plot.
    pub group: String,
    /// What differs within a group.
    pub at: String,
    /// Of the numbers.
    pub unit: String,
    /// Whether more is better.
    pub is_more_better: bool,
    /// Who, and what they reached.
    pub lines: Vec<Line>,
}

/// What one reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Who.
    pub who: String,
    /// As what it stands there.
    pub role: Role,
    /// Round by round.
    pub rounds: Vec<f64>,
}

/// As what somebody is in a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// We, with whom the peers are compared.
    Ours,
    /// A peer.
    Peer,
    /// Neither: a limit, or another way into ours.
    Beside,
}

impl Figure {
    /// A figure without lines yet.
    pub fn new(group: &str, at: impl ToString, unit: &str, is_more_better: bool) -> Self {
        let (group, at, unit) = (group.to_owned(), at.to_string(), unit.to_owned());
        Self { group, at, unit, is_more_better, lines: Vec::new() }
    }

    /// Adds one.
    pub fn add(&mut self, who: &str, role: Role, rounds: Vec<f64>) {
        self.lines.push(Line { who: who.to_owned(), role, rounds });
    }

    /// How many times better ours is than a peer's, round by round; `None` of whoever is none.
    pub fn times(&self, line: &Line) -> Option<Spread> {
        let ours = self.lines.iter().find(|line| line.role == Role::Ours)?;
        if line.role != Role::Peer {
            return None;
        }
        match self.is_more_better {
            true => Spread::of_ratio(&ours.rounds, &line.rounds),
            false => Spread::of_ratio(&line.rounds, &ours.rounds),
        }
    }
}

/// Whether that many times better is a loss.
pub fn is_lost(times: Spread) -> bool {
    times.median < 1.0 - EVEN
}

impl Part {
    /// The names of groups, in order.
    pub fn groups(&self) -> Vec<&str> {
        let mut groups: Vec<&str> = Vec::new();
        for figure in &self.figures {
            if !groups.contains(&figure.group.as_str()) {
                groups.push(&figure.group);
            }
        }
        groups
    }

    /// The figures of a group.
    pub fn of_group(&self, group: &str) -> Vec<&Figure> {
        self.figures.iter().filter(|figure| figure.group == group).collect()
    }

    /// The figure of that name, for whoever quotes it.
    pub fn figure(&self, group: &str, at: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.group == group && figure.at == at)
    }
}
