//! Snapshots of a simulated store, read while it goes on, against the model.

use std::ops::RangeInclusive;

use thermae_engine::{Ack, Snapshot};
use thermae_env::SimEnv;
use thermae_formats::schema::{History, TierPolicy};
use thermae_formats::{Value, encode_key};
use thermae_tiering::merge::{SeekSource, Source};

use super::history::PartitionHistory;
use super::world::{PARTITIONS, Tiers, World};
use crate::model::{ModelRow, Operation, Rng, VIEWS, entity_key};

/// Entities a view; few, so that they have many versions.
const ENTITIES: u64 = 16;
/// Most turns in which a snapshot must have come.
const TURNS_MAX: usize = 20_000;
/// Times that a read is tried.
const READ_TRIES: usize = 1_000;

/// A version as a scan shows it: what the order of a scan is, and what it says.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    entity_hash: u64,
    key: Vec<u8>,
    row: ModelRow,
}

/// Of each view what its history is.
type Histories = [Vec<Seen>; VIEWS.len()];

/// A snapshot, and what it must show for ever.
pub struct Held {
    snapshot: Snapshot<SimEnv>,
    expected: Histories,
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default)]
pub struct ScanReport {
    /// Snapshots taken.
    pub snapshots: u64,
    /// Snapshots taken while writes were under way.
    pub while_writing: u64,
    /// Snapshots read again after more writes, flushes and merges.
    pub read_again: u64,
    /// Versions that scans showed.
    pub rows: u64,
    /// Times that the store was opened again.
    pub restarts: u64,
}

impl World {
    /// Takes a snapshot; none when the machine stopped first.
    pub(super) fn snapshot(&mut self) -> Result<Option<Snapshot<SimEnv>>, String> {
        let mut ticket = self.handle.submit_snapshot().map_err(|e| e.to_string())?;
        for _ in 0..TURNS_MAX {
            ticket = match ticket.poll().map_err(|e| e.to_string())? {
                Ok(snapshot) => return Ok(Some(snapshot)),
                Err(ticket) => ticket,
            };
            if !self.turn() {
                return Ok(None);
            }
        }
        Err("a snapshot never came".to_owned())
    }

    /// What the model says of one partition after `count` of its writes.
    fn expected_of(&self, partition: usize, count: usize) -> Result<Histories, String> {
        let model = self.histories[partition].model_after(count);
        let mut all = Histories::default();
        let catalogue = self.handle.catalogue();
        for (view, (name, seen)) in VIEWS.iter().zip(&mut all).enumerate() {
            let definition = catalogue.resolve(name).map_err(|e| e.to_string())?;
            for (entity, row) in model.history(view) {
                let (mut key, keys) = (Vec::new(), &definition.latest.definition.join_keys);
                encode_key(keys, &[entity_key(view, entity)], &mut key)
                    .map_err(|e| e.to_string())?;
                let entity_hash = self.handle.reads().hash(&key);
                let values = row.values.clone().map(by_bits);
                seen.push(Seen { entity_hash, key, row: ModelRow { values, ..*row } });
            }
            sort(seen);
        }
        Ok(all)
    }

    /// Finds what the snapshot must show: of each partition a prefix of what was sent, not less than what
    /// was acknowledged.
    pub(super) fn hold(
        &self,
        snapshot: Snapshot<SimEnv>,
        acknowledged: &[u64],
        rng: &mut Rng,
    ) -> Result<Held, String> {
        let found = scan_all(&snapshot, rng)?;
        let mut expected = Histories::default();
        for (partition, &least) in acknowledged.iter().enumerate() {
            let is_here = |seen: &&Seen| {
                usize::from(self.handle.reads().partition(seen.entity_hash)) == partition
            };
            let here: Vec<Vec<Seen>> =
                found.iter().map(|seen| seen.iter().filter(is_here).cloned().collect()).collect();
            let least = least as usize;
            let most = self.histories[partition].accepted.len();
            let mut nearest = None;
            for count in (least..=most).rev() {
                let histories = self.expected_of(partition, count)?;
                if histories[..] == here[..] {
                    nearest = Some(histories);
                    break;
                }
            }
            let Some(histories) = nearest else {
                let want = self.expected_of(partition, most)?;
                return Err(format!(
                    "partition {partition}: no state of {least} to {most} writes is what a scan \
                     shows\nshown {here:?}\n last {want:?}"
                ));
            };
            for (all, one) in expected.iter_mut().zip(histories) {
                all.extend(one);
            }
        }
        expected.iter_mut().for_each(|seen| sort(seen));
        Ok(Held { snapshot, expected })
    }
}

impl Held {
    /// Whether it shows what it did.
    pub(super) fn check(&self, rng: &mut Rng) -> Result<u64, String> {
        let found = scan_all(&self.snapshot, rng)?;
        if found != self.expected {
            return Err(format!("now {found:?}\nwas {:?}", self.expected));
        }
        Ok(found.iter().map(|seen| seen.len() as u64).sum())
    }
}

fn sort(seen: &mut [Seen]) {
    seen.sort_by(|a, b| {
        let by_key = (a.entity_hash, &a.key).cmp(&(b.entity_hash, &b.key));
        by_key.then(b.row.order.cmp(&a.row.order))
    });
}

/// Every view, in one go or in two ranges of hashes.
fn scan_all(snapshot: &Snapshot<SimEnv>, rng: &mut Rng) -> Result<Histories, String> {
    let mut all = Histories::default();
    for (name, seen) in VIEWS.iter().zip(&mut all) {
        let split = rng.next_u64().clamp(1, u64::MAX - 1);
        if rng.one_in(2) {
            scan(snapshot, name, 0..=u64::MAX, rng, seen)?;
        } else {
            scan(snapshot, name, 0..=split, rng, seen)?;
            scan(snapshot, name, split + 1..=u64::MAX, rng, seen)?;
        }
    }
    Ok(all)
}

fn scan(
    snapshot: &Snapshot<SimEnv>,
    name: &str,
    hashes: RangeInclusive<u64>,
    rng: &mut Rng,
    seen: &mut Vec<Seen>,
) -> Result<(), String> {
    let catalogue = snapshot.catalogue();
    let view = catalogue.resolve(name).map_err(|e| e.to_string())?;
    let scan_bytes = 4096 << rng.below(5);
    let mut rows = patiently(|| snapshot.view(view.id, hashes.clone(), scan_bytes))?;
    while let Some((_, entity_hash, version)) = rows.peek() {
        let schema = catalogue.schema(version.schema_id).ok_or("a row of an unknown schema")?;
        let values = (!version.is_tombstone())
            .then(|| schema.layout.decode(version.value, version.is_dense()));
        let values = values.transpose().map_err(|e| e.to_string())?;
        let (order, expire_at) = (version.order(), version.expire_at);
        let row = ModelRow { order, expire_at, values: values.map(by_bits) };
        let key = version.key.to_vec();
        if rng.one_in(2) {
            patiently(|| rows.advance())?;
        } else {
            // To where it stands already: it must stay, and then go on.
            patiently(|| rows.seek(entity_hash, &key))?;
            patiently(|| rows.advance())?;
        }
        seen.push(Seen { entity_hash, key, row });
    }
    Ok(())
}

/// A read that is tried again, as its reader may: an object store fails now and then.
fn patiently<T, E: std::error::Error>(mut read: impl FnMut() -> Result<T, E>) -> Result<T, String> {
    let mut tries = 0;
    loop {
        match read() {
            Err(error)
                if tries == READ_TRIES || error.to_string().contains("the machine is dead") =>
            {
                return Err(error.to_string());
            }
            Err(_) => tries += 1,
            Ok(read) => return Ok(read),
        }
    }
}

/// Floats are told apart by their bits.
fn by_bits(values: Vec<Value>) -> Vec<Value> {
    let named = |value| match value {
        Value::Float32(float) => Value::Bytes(float.to_bits().to_le_bytes().to_vec()),
        value => value,
    };
    values.into_iter().map(named).collect()
}

/// Runs one seed: writes of all kinds, snapshots taken and kept, restarts with other numbers of shards,
/// and, with `crashes`, machines that stop anywhere.
///
/// # Errors
/// What a scan showed and must not have.
pub fn scan_run(seed: u64, crashes: bool) -> Result<ScanReport, String> {
    let mut rng = Rng::new(seed);
    let mut report = ScanReport::default();
    let policies = [(); VIEWS.len()].map(|()| policy(&mut rng));
    let mut histories = vec![PartitionHistory::with_policies(policies); usize::from(PARTITIONS)];
    let mut env = SimEnv::new(seed);
    let mut log_order = Vec::new();
    for round in 0..3 {
        env.set_delay_us(1, 1 + rng.below(2000));
        let cores = 1 + rng.below(3) as usize;
        let flush_bytes = [16 << 10, 24 << 10, 64 << 10, 16 << 20][rng.below(4) as usize];
        let tiers = Tiers { flush_bytes, preload_bytes: rng.below(2) << 20 };
        let mut world = World::open(env.clone(), cores, tiers, histories)
            .map_err(|e| format!("round {round}: {e}"))?;
        world.judge_log(&log_order).map_err(|e| format!("round {round}: {e}"))?;
        report.restarts += u64::from(round > 0);
        if world.define()? {
            if crashes {
                env.crash_after(20 + rng.below(200));
            }
            stir(&mut world, round, &mut rng, &mut report)
                .map_err(|e| format!("round {round}: {e}"))?;
        }
        (histories, log_order) = world.into_past();
        env = if rng.one_in(2) { env.kill() } else { env.crash() };
    }
    Ok(report)
}

pub(super) fn policy(rng: &mut Rng) -> TierPolicy {
    let history = if rng.one_in(3) { History::Latest } else { History::Full };
    // Event times span 12 microseconds.
    TierPolicy { keep_for_us: [0, 3, 8][rng.below(3) as usize], history, ..TierPolicy::default() }
}

fn stir(
    world: &mut World,
    round: u64,
    rng: &mut Rng,
    report: &mut ScanReport,
) -> Result<(), String> {
    let mut held: Vec<Held> = Vec::new();
    let erase_one_in = [0, 0, 50][rng.below(3) as usize];
    for batch in 0..30 + rng.below(30) {
        let operations: Vec<_> = (0..1 + rng.below(30))
            .map(|row| {
                let number = (round * 1_000 + batch) * 1_000 + row;
                Operation::draw_or_erase(rng, number, ENTITIES, erase_one_in)
            })
            .collect();
        world.send(&operations, None, Ack::Durable);
        let is_settled = rng.one_in(2);
        if is_settled && !world.settle()? {
            return Ok(());
        }
        for _ in 0..rng.below(40) {
            if !world.turn() {
                return Ok(());
            }
        }
        world.collect()?;
        if rng.one_in(4) {
            let acknowledged: Vec<u64> =
                world.histories.iter().map(PartitionHistory::must_survive).collect();
            let Some(snapshot) = world.snapshot()? else { return Ok(()) };
            match world.hold(snapshot, &acknowledged, rng) {
                Ok(snapshot) => held.push(snapshot),
                Err(_) if world.env.is_frozen() => return Ok(()),
                Err(error) => return Err(error),
            }
            report.snapshots += 1;
            report.while_writing += u64::from(!is_settled);
        }
        if held.len() > 3 || (rng.one_in(4) && !held.is_empty()) {
            let at = rng.below(held.len() as u64) as usize;
            match held.swap_remove(at).check(rng) {
                Ok(rows) => report.rows += rows,
                Err(_) if world.env.is_frozen() => return Ok(()),
                Err(error) => return Err(error),
            }
            report.read_again += 1;
        }
    }
    Ok(())
}
