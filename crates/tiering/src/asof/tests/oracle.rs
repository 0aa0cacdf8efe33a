//! Thousands of small histories against the rules written down once more, in the plainest way.

use std::cmp::Reverse;

use thermae_formats::NO_TIME;

use super::super::*;
use super::history::{Answer, Row, Rows, find_all};
use crate::testing::Rng;

/// Times that meet, tie and overflow.
fn any_time(rng: &mut Rng) -> i64 {
    match rng.below(12) {
        0 => i64::MIN + 1 + rng.below(3) as i64,
        1 => i64::MAX - rng.below(3) as i64,
        _ => rng.below(12) as i64,
    }
}

fn any_key(rng: &mut Rng) -> (u64, Vec<u8>) {
    // Few hashes, so that different keys share one.
    (rng.below(3), vec![b'a' + rng.below(3) as u8])
}

fn any_row(rng: &mut Rng, sequence: u64) -> Row {
    let (entity_hash, key) = any_key(rng);
    let created_time = if rng.one_in(3) { NO_TIME } else { any_time(rng) };
    let expire_at = if rng.one_in(6) { any_time(rng) } else { NO_TIME };
    let is_tombstone = rng.one_in(6);
    let row = Row::new(any_time(rng), created_time, sequence);
    Row { entity_hash, key, expire_at, is_tombstone, ..row }
}

/// Rule by rule, in wide arithmetic; the sequence of what is served.
fn expected(rows: &[Row], terms: Terms, key: &(u64, Vec<u8>), time_us: i64) -> Option<u64> {
    let (time, ttl) = (i128::from(time_us), i128::from(terms.ttl_us));
    let same_key = |row: &&Row| (row.entity_hash, &row.key) == (key.0, &key.1);
    let known = |row: &&Row| {
        !terms.as_of_known || (row.created_time != NO_TIME && row.created_time <= time_us)
    };
    let in_time = |row: &&Row| {
        let event = i128::from(row.event_time);
        event <= time && (ttl == 0 || event >= time - ttl)
    };
    let created = |row: &Row| (row.created_time != NO_TIME).then_some(row.created_time);
    let candidates = rows.iter().filter(same_key).filter(known).filter(in_time);
    let winner = candidates.max_by_key(|row| (row.event_time, created(row), row.sequence))?;
    let has_expired = winner.expire_at != NO_TIME && winner.expire_at <= time_us;
    (!winner.is_tombstone && !has_expired).then_some(winner.sequence)
}

#[test]
fn ten_thousand_histories_answer_as_the_rules_say() {
    let mut rng = Rng::new(20_130_101);
    let (mut found, mut asked) = (0, 0);
    for _ in 0..10_000 {
        let rows: Vec<Row> = (0..rng.below(14)).map(|at| any_row(&mut rng, at)).collect();
        let ttl_us = [0, 1, 3, 100, i64::MAX][rng.below(5) as usize];
        let terms = Terms { ttl_us, as_of_known: rng.one_in(2) };
        // Of the versions different keys share a hash at all times, of the keys that are asked for sometimes.
        let is_apart = rng.one_in(2);
        let any_asked = |rng: &mut Rng| {
            let (hash, key) = any_key(rng);
            if is_apart { (hash, b"b".to_vec()) } else { (hash, key) }
        };
        let spine = (0..rng.below(12)).map(|_| (any_asked(&mut rng), Reverse(any_time(&mut rng))));
        let mut spine: Vec<_> = spine.collect();
        spine.extend(spine.first().cloned());
        spine.sort();
        let spine = spine.into_iter().map(|((hash, key), Reverse(time_us))| (hash, key, time_us));
        let spine: Vec<_> = spine.collect();
        let parts = 1 + rng.below(4) as usize;
        let mut source = Rows::new(rows.clone()).in_parts(parts);
        source.block = [0, 1, 2, 100][rng.below(4) as usize];
        let block = source.block;
        let answers = find_all(&mut source, &spine, terms).unwrap();
        for ((hash, key, time_us), answer) in spine.into_iter().zip(answers) {
            let answer = match answer {
                Answer::Present(sequence) => Some(sequence),
                Answer::OutsideMaxAge | Answer::NotFound => None,
            };
            let key = (hash, key);
            let expected = expected(&rows, terms, &key, time_us);
            assert_eq!(
                answer, expected,
                "{terms:?}, {key:?} at {time_us} in {parts} parts by {block} among {rows:#?}"
            );
            asked += 1;
            found += usize::from(answer.is_some());
        }
    }
    assert!(found > asked / 20, "{found} of {asked}: the histories try nothing");
}
