use super::*;

fn given(memory_bytes: u64, shards: u64) -> Given {
    Given { memory_bytes, shards, ..Given::default() }
}

/// Everything of all shards together.
fn total(given: &Given) -> u64 {
    let plan = MemoryPlan::divide(given);
    let shard = plan.fixed_bytes
        + plan.hot_bytes
        + 3 * plan.memtable_bytes
        + plan.queue_bytes
        + plan.work_bytes
        + plan.look_up_bytes
        + plan.index_bytes
        + plan.slack_bytes;
    given.reserved_bytes + given.shards * shard
}

#[test]
fn the_shares_never_come_to_more_than_was_given() {
    for shards in [1, 2, 3, 16] {
        for mib in 29..2_000 {
            for (pinned_bytes, reserved_bytes) in [(0, 0), (5 * MIB, 7 * MIB), (3 << 30, 0)] {
                let memory_bytes = mib * shards * MIB + reserved_bytes;
                let given = Given { pinned_bytes, reserved_bytes, ..given(memory_bytes, shards) };
                assert!(
                    total(&given) <= memory_bytes,
                    "{given:?}: {:?}",
                    MemoryPlan::divide(&given)
                );
            }
        }
    }
}

#[test]
fn at_the_least_every_share_is_of_use() {
    let plan = MemoryPlan::divide(&given(least_bytes(2, 0), 2));
    assert_eq!(plan.fixed_bytes, FIXED_BYTES);
    assert!(plan.hot_bytes >= 7 * MIB && plan.memtable_bytes >= MIB, "{plan:?}");
    assert!(plan.queue_bytes >= MIB && plan.look_ups() >= 16, "{plan:?}");
}

#[test]
fn more_memory_makes_no_share_smaller() {
    let mut before = MemoryPlan::divide(&given(4 * MIB, 1));
    for mib in 5..5_000 {
        let now = MemoryPlan::divide(&given(mib * MIB, 1));
        let of = |plan: &MemoryPlan| {
            let MemoryPlan { hot_bytes, memtable_bytes, queue_bytes, work_bytes, .. } = *plan;
            [hot_bytes, memtable_bytes, queue_bytes, work_bytes, plan.index_bytes]
        };
        assert!(of(&now).iter().zip(of(&before)).all(|(now, before)| *now >= before), "{mib}");
        before = now;
    }
}

#[test]
fn a_large_store_gives_most_to_the_hot_table() {
    let plan = MemoryPlan::divide(&given(16 << 30, 4));
    assert!(plan.hot_bytes > 3 << 30, "{plan:?}");
}

#[test]
fn the_hot_table_gives_up_what_tables_pin_down_to_an_eighth() {
    let plan = |pinned_bytes| MemoryPlan::divide(&Given { pinned_bytes, ..given(1 << 30, 1) });
    let (usual, more, most) = (plan(0), plan(40 * MIB), plan(1 << 30));
    assert_eq!(plan(10 * MIB), usual);
    assert_eq!(usual.index_excess(usual.index_bytes / 3), 0);
    assert!(more.index_bytes == 150 * MIB && more.hot_bytes < usual.hot_bytes, "{more:?}");
    assert_eq!(usual.hot_bytes + usual.index_bytes, more.hot_bytes + more.index_bytes);
    assert!(more.index_excess(40 * MIB) == 0 && most.index_excess(1 << 30) > 0);
    assert!(most.hot_bytes >= (1 << 30) / 9 && most.hot_bytes < (1 << 30) / 7, "{most:?}");
}

#[test]
fn what_tables_pin_is_near_what_was_measured() {
    // A million rows of some 34 bytes compressed: 10.3 bits of filter, 12 bytes a block.
    assert_eq!(pinned_bytes(1_600_000, 40_960_000), 2_100_000 + 120_000);
}
