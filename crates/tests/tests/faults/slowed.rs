//! Writers that are faster than the flushes: they are made to wait, and nothing of theirs is refused or lost.

use thermae_engine::Outcome;
use thermae_env::SimEnv;

use super::in_doubt::{define, opened, send, turn};

/// Rows of 20,000 bytes: thirty times as much as the memtables hold together.
const ROWS: i64 = 150;
const FLUSH_BYTES: usize = 32 << 10;
/// Rows on their way at most: the queue has room for them, so that none is refused.
const IN_FLIGHT: usize = 10;

#[test]
fn writers_wait_for_flushes_that_are_slower_than_they_are() {
    let env = SimEnv::new(7);
    let mut stepped = opened(&env, FLUSH_BYTES).unwrap();
    define(&mut stepped);
    let (mut ids, mut waiting) = (0..ROWS, Vec::new());
    for _ in 0..1_000_000 {
        waiting.extend(ids.by_ref().take(IN_FLIGHT - waiting.len()).map(|id| send(&stepped, id)));
        turn(&mut stepped, 1);
        waiting = waiting
            .into_iter()
            .filter_map(|ticket| match ticket.poll() {
                Err(ticket) => Some(ticket),
                Ok(outcomes) => {
                    assert!(matches!(outcomes[0], Outcome::Ok { .. }), "{outcomes:?}");
                    None
                }
            })
            .collect();
        if waiting.is_empty() {
            break;
        }
    }
    assert!(waiting.is_empty(), "{} writes were never answered", waiting.len());
    turn(&mut stepped, 1_000);
    let slowed: u64 =
        stepped.handle.stats().shards.iter().map(|shard| shard.tiers.memory.slowed).sum();
    assert!(slowed > 0, "no writer was slowed");
}
