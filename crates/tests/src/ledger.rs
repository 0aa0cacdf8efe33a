//! What a campaign on a real server knows outside of it: every row sent, what was answered, and
//! whether what is there after a crash agrees.
//!
//! A row's value is the number of its write, and numbers only rise: the newest write of an entity is
//! the greatest number, so what an entity holds tells which of its writes survived.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::time::{Duration, Instant};

use thermae_client::{Ack, RowOutcome, Written};

/// A `logged` row that was answered so long before a power cut must be there: the log starts a sync
/// within 50 ms, and the rest is ample time for a busy disk to end it.
pub const LOGGED_LOSS_MAX: Duration = Duration::from_secs(1);

/// What became of a row, as far as its writer was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Durable,
    Logged(Instant),
    /// Not written, and it will not be.
    Refused,
    /// No answer, or that it cannot be told.
    Open,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    entity: u64,
    number: u64,
    fate: Fate,
}

/// Rows counted over all crashes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Acknowledged as durable.
    pub durable: u64,
    /// Acknowledged as logged.
    pub logged: u64,
    /// Refused, by a shard whose log had failed.
    pub refused: u64,
    /// Without an answer that tells.
    pub in_doubt: u64,
    /// Entities found with a row that was in doubt.
    pub survived_in_doubt: u64,
    /// Logged rows that a power cut took.
    pub lost_logged: u64,
    /// How long before its cut the oldest of them had been answered.
    pub oldest_lost: Duration,
}

impl Counts {
    fn count(&mut self, fate: Fate) {
        match fate {
            Fate::Durable => self.durable += 1,
            Fate::Logged(_) => self.logged += 1,
            Fate::Refused => self.refused += 1,
            Fate::Open => self.in_doubt += 1,
        }
    }

    /// Adds the rows of another ledger.
    pub fn add(&mut self, other: &Counts) {
        self.durable += other.durable;
        self.logged += other.logged;
        self.refused += other.refused;
        self.in_doubt += other.in_doubt;
        self.survived_in_doubt += other.survived_in_doubt;
        self.lost_logged += other.lost_logged;
        self.oldest_lost = self.oldest_lost.max(other.oldest_lost);
    }
}

/// What one store was sent, and what it answered.
#[derive(Default)]
pub struct Ledger {
    /// Rows since the last judgement, in the order sent.
    rows: Vec<Row>,
    /// What every entity held at the last judgement.
    recovered: HashMap<u64, u64>,
    number: u64,
    /// An answer that breaks a promise by itself.
    wrong_answer: Option<String>,
    counts: Counts,
}

impl Ledger {
    /// The counts until now.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Enters a row about to be sent; returns its number.
    pub fn enter(&mut self, entity: u64) -> u64 {
        self.number += 1;
        self.rows.push(Row { entity, number: self.number, fate: Fate::Open });
        self.number
    }

    /// Rows entered since the last judgement.
    pub fn entered(&self) -> usize {
        self.rows.len()
    }

    /// Notes the answer to the rows at these places, which asked for `asked`; none if it never came.
    /// Returns whether every row was acknowledged.
    pub fn answer(&mut self, rows: Range<usize>, asked: Ack, written: Option<&Written>) -> bool {
        let Some(written) = written else {
            self.counts.in_doubt += rows.len() as u64;
            return false;
        };
        let now = Instant::now();
        let is_durable = written.level != Ack::Logged;
        for (row, outcome) in self.rows[rows].iter_mut().zip(&written.outcomes) {
            row.fate = match outcome {
                RowOutcome::Ok { .. } if is_durable => Fate::Durable,
                RowOutcome::Ok { .. } => Fate::Logged(now),
                RowOutcome::NotApplied(_)
                | RowOutcome::Overloaded { .. }
                | RowOutcome::FailsCheck { .. }
                | RowOutcome::Quarantined { .. } => Fate::Refused,
                RowOutcome::InDoubt => Fate::Open,
            };
            self.counts.count(row.fate);
            if asked == Ack::Durable && matches!(row.fate, Fate::Logged(_)) {
                let number = row.number;
                self.wrong_answer = Some(format!("write {number}: durable asked, logged answered"));
            }
        }
        written.all_ok()
    }

    /// Compares with what every entity holds now. `shard_of` tells the shard (of `shards`) that an
    /// entity was written to; `cut` is when the power was cut, none if only the process was killed.
    ///
    /// # Errors
    /// The promise that is broken, and by which write.
    pub fn judge(
        &mut self,
        found: HashMap<u64, u64>,
        shards: usize,
        shard_of: impl Fn(u64) -> usize,
        cut: Option<Instant>,
    ) -> Result<(), String> {
        if let Some(wrong) = self.wrong_answer.take() {
            return Err(wrong);
        }
        self.nothing_else(&found)?;
        self.all_kept(&found, cut)?;
        self.no_hole(&found, shards, shard_of)?;
        self.count_open(&found, cut);
        // What is there now was recovered: it must be there from now on.
        self.recovered = found;
        self.rows.clear();
        Ok(())
    }

    /// What is there was there before or was sent since, and was not refused.
    fn nothing_else(&self, found: &HashMap<u64, u64>) -> Result<(), String> {
        let sent = self.rows.iter().filter(|row| row.fate != Fate::Refused);
        let mut known: HashSet<(u64, u64)> = sent.map(|row| (row.entity, row.number)).collect();
        known.extend(self.recovered.iter().map(|(entity, number)| (*entity, *number)));
        match found.iter().find(|(entity, number)| !known.contains(&(**entity, **number))) {
            None => Ok(()),
            Some((entity, number)) => {
                let fate =
                    self.rows.iter().find(|row| (row.entity, row.number) == (*entity, *number));
                let why = fate.map_or("was never sent to it", |_| "was refused");
                Err(format!("entity {entity} holds write {number}, which {why}"))
            }
        }
    }

    /// Nothing is older than what was there before or was acknowledged since.
    fn all_kept(&self, found: &HashMap<u64, u64>, cut: Option<Instant>) -> Result<(), String> {
        let there = |entity| found.get(&entity).copied().unwrap_or(0);
        for (&entity, &number) in &self.recovered {
            if there(entity) < number {
                let now = there(entity);
                return Err(format!(
                    "entity {entity}: write {number} had been recovered, {now} is there"
                ));
            }
        }
        for row in &self.rows {
            let (must, level) = match (row.fate, cut) {
                (Fate::Durable, _) => (true, "acknowledged as durable".to_owned()),
                (Fate::Logged(_), None) => (true, "acknowledged as logged".to_owned()),
                (Fate::Logged(at), Some(cut)) => {
                    let age = cut.saturating_duration_since(at);
                    (
                        age > LOGGED_LOSS_MAX,
                        format!("acknowledged as logged {age:?} before the cut"),
                    )
                }
                (Fate::Refused | Fate::Open, _) => continue,
            };
            let (entity, number, now) = (row.entity, row.number, there(row.entity));
            if must && now < number {
                return Err(format!("entity {entity}: write {number} was {level}, {now} is there"));
            }
        }
        Ok(())
    }

    /// What survived is a prefix of what each shard was sent.
    fn no_hole(
        &self,
        found: &HashMap<u64, u64>,
        shards: usize,
        shard_of: impl Fn(u64) -> usize,
    ) -> Result<(), String> {
        let mut first_lost = vec![None; shards];
        for row in self.rows.iter().filter(|row| row.fate != Fate::Refused) {
            let lost = &mut first_lost[shard_of(row.entity)];
            let (number, now) = (row.number, found.get(&row.entity).copied().unwrap_or(0));
            if now < number {
                lost.get_or_insert(number);
            } else if let Some(lost) = lost
                && now == number
            {
                return Err(format!(
                    "write {number} is there, {lost} of the same shard, before it, is not"
                ));
            }
        }
        Ok(())
    }

    /// Counts what a crash may take or leave.
    fn count_open(&mut self, found: &HashMap<u64, u64>, cut: Option<Instant>) {
        for row in &self.rows {
            let now = found.get(&row.entity).copied().unwrap_or(0);
            match row.fate {
                Fate::Open if now == row.number => self.counts.survived_in_doubt += 1,
                Fate::Logged(at) if now < row.number => {
                    self.counts.lost_logged += 1;
                    let age = cut.map(|cut| cut.saturating_duration_since(at)).unwrap_or_default();
                    self.counts.oldest_lost = self.counts.oldest_lost.max(age);
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn written(level: Ack, outcomes: Vec<RowOutcome>) -> Written {
        Written { level, outcomes, message: String::new() }
    }

    fn ok() -> RowOutcome {
        let token = thermae_client::Token { partition: 0, sequence: 1 };
        RowOutcome::Ok { token, duplicate: false }
    }

    /// Writes 1, 2, 3 to entities 10, 20, 30, each answered by itself.
    fn ledger(fates: [Option<(Ack, RowOutcome)>; 3]) -> Ledger {
        let mut ledger = Ledger::default();
        for (place, fate) in fates.into_iter().enumerate() {
            assert_eq!(ledger.enter(10 * (place as u64 + 1)), place as u64 + 1);
            let answer = fate.map(|(level, outcome)| written(level, vec![outcome]));
            ledger.answer(
                place..place + 1,
                answer.as_ref().map_or(Ack::Durable, |a| a.level),
                answer.as_ref(),
            );
        }
        ledger
    }

    fn judged(
        ledger: &mut Ledger,
        found: &[(u64, u64)],
        cut: Option<Instant>,
    ) -> Result<(), String> {
        ledger.judge(found.iter().copied().collect(), 1, |_| 0, cut)
    }

    #[test]
    fn a_durable_row_must_be_there_and_what_was_recovered_stays() {
        let durable = Some((Ack::Durable, ok()));
        let mut all = ledger([durable, durable, None]);
        let missing = judged(&mut all, &[(10, 1)], Some(Instant::now())).unwrap_err();
        assert!(missing.contains("write 2 was acknowledged as durable, 0 is there"), "{missing}");
        judged(&mut all, &[(10, 1), (20, 2), (30, 3)], None).unwrap();
        assert_eq!((all.counts().durable, all.counts().survived_in_doubt), (2, 1));
        let gone = judged(&mut all, &[(10, 1), (20, 2)], None).unwrap_err();
        assert!(gone.contains("write 3 had been recovered"), "{gone}");
    }

    #[test]
    fn nothing_is_there_that_nobody_wrote_or_that_was_refused() {
        let refused = RowOutcome::NotApplied(thermae_client::NotApplied::ReadOnly);
        let mut all = ledger([None, Some((Ack::Durable, refused)), None]);
        let cut = Some(Instant::now());
        let found = judged(&mut all, &[(10, 1), (20, 2)], cut).unwrap_err();
        assert!(found.contains("write 2, which was refused"), "{found}");
        let found = judged(&mut all, &[(10, 3)], cut).unwrap_err();
        assert!(found.contains("write 3, which was never sent to it"), "{found}");
        // A refused row is no hole.
        judged(&mut all, &[(10, 1), (30, 3)], cut).unwrap();
        assert_eq!((all.counts().refused, all.counts().in_doubt), (1, 2));
    }

    #[test]
    fn logged_rows_are_lost_from_the_end_to_a_late_power_cut_only() {
        let logged = Some((Ack::Logged, ok()));
        let mut all = ledger([logged; 3]);
        let cut = Instant::now();
        let hole = judged(&mut all, &[(10, 1), (30, 3)], Some(cut)).unwrap_err();
        assert!(hole.contains("write 3 is there, 2 of the same shard"), "{hole}");
        let killed = judged(&mut all, &[(10, 1)], None).unwrap_err();
        assert!(killed.contains("write 2 was acknowledged as logged, 0"), "{killed}");
        let late = cut + 2 * LOGGED_LOSS_MAX;
        let stale = judged(&mut all, &[(10, 1)], Some(late)).unwrap_err();
        assert!(stale.contains("before the cut, 0 is there"), "{stale}");
        judged(&mut all, &[(10, 1)], Some(cut)).unwrap();
        assert_eq!(all.counts().lost_logged, 2);
    }

    #[test]
    fn durable_asked_and_logged_answered_is_broken() {
        let mut all = Ledger::default();
        all.enter(1);
        assert!(all.answer(0..1, Ack::Durable, Some(&written(Ack::Logged, vec![ok()]))));
        let wrong = judged(&mut all, &[(1, 1)], None).unwrap_err();
        assert!(wrong.contains("durable asked"), "{wrong}");
    }
}
