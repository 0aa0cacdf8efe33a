//! Interleavings made certain: in tests, a hook runs a whole look-up at every step of a write, and a whole
//! write in the middle of a look-up.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use thermae_formats::{NO_TIME, ViewId, hash};

use crate::hooks::{AT_READ, AT_WRITE};
use crate::lookup::{Lookup, Place, Probe};
use crate::map::HotConfig;
use crate::reader::HotReader;
use crate::row::{NewRow, RowBuf};
use crate::writer::HotWriter;

fn row_hash(number: u64) -> u64 {
    hash::row_hash(hash::entity_hash(&number.to_le_bytes(), 5), ViewId(2))
}

fn put(writer: &mut HotWriter, number: u64) {
    let key = number.to_le_bytes();
    let row = NewRow {
        schema_id: 1,
        flags: 0,
        sequence: 1,
        event_time: 1,
        created_time: NO_TIME,
        expire_at: NO_TIME,
        key: &key,
        value: &key,
    };
    let reservation = writer.reserve(row.body_bytes()).unwrap();
    writer.upsert(reservation, row_hash(number), &[1], &row).unwrap();
}

fn table() -> HotWriter {
    HotWriter::create_on_heap(&HotConfig {
        bytes: 1 << 20,
        hash_seed: 5,
        store_id: 1,
        epoch: 1,
        shard: 0,
        shards: 1,
        domain: 0,
    })
    .unwrap()
}

fn is_found(reader: &HotReader, number: u64, buffer: &mut RowBuf) -> bool {
    let key = number.to_le_bytes();
    let probe = Probe { table: 0, row_hash: row_hash(number), key: &key, schema_ids: &[1] };
    match reader.get(&probe, buffer) {
        Lookup::Found(row) => row.key() == key && row.value() == key,
        Lookup::Busy => true,
        _ => false,
    }
}

#[test]
fn every_row_is_found_at_every_step_of_a_move() {
    let mut writer = table();
    let rows = 1_550;
    (0..rows).for_each(|number| put(&mut writer, number));
    let reader = writer.reader();
    let (mut step, mut buffer) = (0, RowBuf::default());
    AT_WRITE.with(|hook| {
        hook.replace(Some(Box::new(move || {
            for _ in 0..10 {
                step = (step + 641) % rows;
                assert!(is_found(&reader, step, &mut buffer), "row {step} went missing in a write");
            }
        })))
    });
    let mut number = rows;
    while writer.stats().cell_moves < 3 {
        put(&mut writer, number);
        number += 1;
    }
    AT_WRITE.with(|hook| hook.replace(None));
}

#[test]
fn a_look_up_that_a_move_overtakes_looks_again() {
    let mut sure = 0;
    for wanted in 0..12 {
        let mut writer = table();
        (0..1_600).for_each(|number| put(&mut writer, number));
        assert_eq!(writer.stats().cell_moves, 0);
        let reader = writer.reader();
        let before = Place::find(&writer.map, row_hash(wanted)).unwrap().segment;
        let map = std::sync::Arc::clone(&writer.map);
        let mut writer = Some(writer);
        AT_READ.with(|hook| {
            hook.replace(Some(Box::new(move || {
                let Some(mut writer) = writer.take() else { return };
                let mut number = 1_600;
                while writer.stats().cell_moves == 0 {
                    put(&mut writer, number);
                    number += 1;
                }
            })))
        });
        let found = is_found(&reader, wanted, &mut RowBuf::default());
        AT_READ.with(|hook| hook.replace(None));
        assert!(found, "row {wanted} went missing in a read");
        let after = Place::find(&map, row_hash(wanted)).unwrap().segment;
        sure += u32::from(before != after);
    }
    assert!(sure > 0, "only {sure} of the rows were moved");
}
