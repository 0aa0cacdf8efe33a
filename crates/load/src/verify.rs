//! A plan beside what a server of this machine makes of the same requests.

use serde::Serialize;

use crate::calibrate::{Calibration, in_flight_at_peak};
use crate::capacity::{Constants, Description, Keep, Needs, Reserved, answer, needs};
use crate::error::Error;
use crate::run::{Run, Tick};
use crate::target::Way;
use crate::workload::Drive;

/// A plan that is off by more than this share does not hold.
pub const OFF_MAX: f64 = 0.15;
/// Rows that are loaded for it, and bytes of their hot tables, at most.
const ROWS_MAX: f64 = 4e6;
const HOT_BYTES_MAX: f64 = 512.0 * 1024.0 * 1024.0;

/// What is to be driven: the description with as many of its rows as are loaded quickly, all of them hot.
#[derive(Debug, Clone)]
pub struct Sample {
    description: Description,
    /// Share of the rows described.
    pub share: f64,
    planned: Needs,
    /// What `--memory` must say for them, by the plan.
    pub memory_bytes: u64,
}

/// A plan and what was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verified {
    /// The description's name.
    pub name: String,
    /// Rows that were loaded.
    pub rows: f64,
    /// Of those described, as a share.
    pub share: f64,
    /// Requests a second that one busy core makes, by the plan.
    pub planned_per_s: f64,
    /// And as it was.
    pub measured_per_s: f64,
    /// What the client alone can do over that.
    pub headroom: f64,
    /// The client was the limit: a core makes more than that.
    pub is_client_bound: bool,
    /// Bytes of the hot tables, by the plan.
    pub planned_hot_bytes: f64,
    /// And as they were.
    pub measured_hot_bytes: f64,
    /// What the server was given, as planned.
    pub memory_option_bytes: u64,
    /// Share of the rows that the hot tables held with it.
    pub hot_share: f64,
}

impl Sample {
    /// Of a description.
    pub fn of(description: &Description, calibration: &Calibration, reserved: Reserved) -> Self {
        let constants = Constants::of(calibration);
        let mut described = description.clone();
        // One core, today's load: what is measured is one shard.
        described.node.cores = 1.0;
        described.growth.years = 0;
        described.keep = Keep { cold_days: 0.0, ..Keep::default() };
        let whole = needs(&described, &constants, 1.0);
        let share = (ROWS_MAX / whole.rows).min(HOT_BYTES_MAX / whole.hot_bytes.average).min(1.0);
        for view in &mut described.views {
            view.entities = ((view.entities as f64 * share) as u64).max(1);
        }
        let planned = needs(&described, &constants, 1.0);
        // The memory of one machine that holds all of them.
        described.node.memory_gib = 1e9;
        described.node.disk_gib = 1e9;
        let answer = answer(&described, calibration, reserved);
        let memory = answer.resources.iter().find(|resource| resource.name == "memory");
        let memory_gib = memory.map_or(0.0, |memory| memory.need.average);
        let memory_bytes = (memory_gib * f64::from(1 << 30)) as u64;
        Self { description: described, share, planned, memory_bytes }
    }

    /// Drives it at its peak at a server of one shard that was given [`Self::memory_bytes`] and is empty.
    ///
    /// # Errors
    /// As [`Run::open`] and [`Run::step`].
    pub fn drive(
        &self,
        way: Way,
        drive: &Drive,
        told: &mut dyn FnMut(Tick),
    ) -> Result<Driven, Error> {
        let mut workload = self.description.workload();
        workload.drive = drive.clone();
        workload.drive.in_flight = in_flight_at_peak(&workload);
        let mut run = Run::open(way, workload, told)?;
        run.load()?;
        let mut step = run.peak()?;
        if let Some(why) = step.first_failure {
            return Err(Error::Given(format!("{}: {why}", self.description.name)));
        }
        step.with_client(Some(run.client_alone()?));
        let figures = run.target().figures()?;
        Ok(Driven {
            per_s: step.answered_per_s / figures.shards.max(1) as f64,
            headroom: step.headroom.unwrap_or(0.0),
            is_client_bound: step.is_client_bound,
            hot_bytes: figures.hot_used_bytes as f64,
            hot_rows: figures.hot_rows as f64,
            memory_option_bytes: self.memory_bytes,
        })
    }

    /// The plan beside what was driven.
    pub fn beside(&self, driven: &Driven) -> Verified {
        Verified {
            name: self.description.name.clone(),
            rows: self.planned.rows,
            share: self.share,
            planned_per_s: self.planned.per_core_per_s,
            measured_per_s: driven.per_s,
            headroom: driven.headroom,
            is_client_bound: driven.is_client_bound,
            planned_hot_bytes: self.planned.hot_bytes.average,
            measured_hot_bytes: driven.hot_bytes,
            memory_option_bytes: driven.memory_option_bytes,
            hot_share: driven.hot_rows / self.planned.rows.max(1.0),
        }
    }
}

/// What a server made of a [`Sample`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Driven {
    /// Requests a second that one busy core made.
    pub per_s: f64,
    /// What the client alone can do over that.
    pub headroom: f64,
    /// The client was the limit.
    pub is_client_bound: bool,
    /// Bytes of the hot tables.
    pub hot_bytes: f64,
    /// Rows in them.
    pub hot_rows: f64,
    /// What the server was given.
    pub memory_option_bytes: u64,
}

impl Verified {
    /// How far the planned rate is off the measured one, as a share of that.
    pub fn rate_off(&self) -> f64 {
        self.planned_per_s / self.measured_per_s.max(1e-9) - 1.0
    }

    /// How far the planned hot tables are off the measured ones.
    pub fn memory_off(&self) -> f64 {
        self.planned_hot_bytes / self.measured_hot_bytes.max(1e-9) - 1.0
    }

    /// Whether the plan holds. A client that was the limit shows that a core makes at least so much, and no more.
    pub fn holds(&self) -> bool {
        let rate_off = match self.is_client_bound {
            true => self.rate_off().min(0.0),
            false => self.rate_off(),
        };
        rate_off.abs() <= OFF_MAX && self.memory_off().abs() <= OFF_MAX
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::capacity::EXAMPLE;
    use crate::machine::Machine;
    use crate::shape::Shape;

    fn calibration() -> Calibration {
        Calibration {
            format: crate::calibrate::FORMAT,
            program: "test".to_owned(),
            machine: Machine::default(),
            shards: 1,
            measured: Vec::new(),
            costs_us: vec![1.0; Shape::PARTS],
            worst_fit: 0.05,
            index_bytes_per_row: 11.0,
            base_bytes: 30e6,
            table_bytes_per_byte: 1.0,
            at_load: Vec::new(),
        }
    }

    #[test]
    fn a_large_description_is_driven_with_fewer_rows_and_no_other_requests() {
        let described = Description::from_toml(EXAMPLE).unwrap();
        let sample = Sample::of(&described, &calibration(), |_, _, _| 50 << 20);
        let rows: u64 = sample.description.views.iter().map(|view| view.entities).sum();
        assert!((1_000_000..=4_000_000).contains(&rows), "{rows}");
        assert!((sample.share * 205e6 - rows as f64).abs() < 10.0);
        assert_eq!(sample.description.requests, described.requests);
        // What the server keeps for itself comes on top of the hot tables.
        let least = sample.planned.hot_bytes.average + f64::from(50 << 20);
        assert!(sample.memory_bytes as f64 > least, "{} {least}", sample.memory_bytes);
    }

    #[test]
    fn a_plan_holds_within_15_percent_and_a_bound_client_says_nothing_of_more() {
        let verified = Verified {
            name: String::new(),
            rows: 1.0,
            share: 1.0,
            planned_per_s: 1100.0,
            measured_per_s: 1000.0,
            headroom: 2.0,
            is_client_bound: false,
            planned_hot_bytes: 100.0,
            measured_hot_bytes: 100.0,
            memory_option_bytes: 0,
            hot_share: 1.0,
        };
        assert!(verified.holds());
        let off = Verified { planned_per_s: 1200.0, ..verified.clone() };
        assert!(!off.holds());
        assert!(Verified { is_client_bound: true, ..off }.holds());
        let below = Verified { planned_per_s: 800.0, is_client_bound: true, ..verified.clone() };
        assert!(!below.holds());
        assert!(!Verified { measured_hot_bytes: 120.0, ..verified }.holds());
    }
}
