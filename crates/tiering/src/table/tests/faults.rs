//! A disk that refuses leaves no table, and no half of one.

use std::path::Path;

use thermae_env::{Env, SimEnv, SimOp};
use thermae_formats::table::{TableKind, TableRef};

use super::support::*;
use crate::WarmError;
use crate::table::{Table, TableWriter, temporary_path};

fn rows() -> Vec<OwnedRow> {
    let mut rng = Rng(21);
    let mut rows: Vec<_> = (0..600_u32)
        .map(|n| {
            let value = rng.bytes(4000);
            OwnedRow::new(0, &n.to_le_bytes(), &value)
        })
        .collect();
    sort(&mut rows);
    rows
}

fn try_build(env: &SimEnv, dir: &Path, rows: &[OwnedRow]) -> Result<TableRef, WarmError> {
    let mut writer = TableWriter::create(env, dir, spec(TableKind::Latest, 1))?;
    for row in rows {
        writer.add(row.view, row.hash, &row.version())?;
    }
    writer.finish()
}

#[test]
fn a_full_disk_is_named_and_nothing_is_left() {
    let rows = rows();
    for capacity in [0, 4096, 1 << 20, 2_400_000] {
        let (env, dir) = sim();
        env.set_capacity_bytes(Some(capacity));
        let refused = try_build(&env, &dir, &rows);
        let Err(error @ WarmError::DiskFull { .. }) = &refused else {
            panic!("{capacity}: {refused:?}")
        };
        assert!(error.is_disk_full() && !error.is_damage());
        assert_eq!(env.list(&dir).unwrap(), [], "{capacity}");
        env.set_capacity_bytes(None);
        let what = try_build(&env, &dir, &rows).unwrap();
        Table::open(&env, &dir, &STORE, &what).unwrap();
    }
}

#[test]
fn any_failing_operation_leaves_no_file() {
    let rows = rows();
    let (env, dir) = sim();
    let before = env.disk_ops();
    try_build(&env, &dir, &rows).unwrap();
    let operations = env.op_log()[before as usize..].to_vec();
    assert!(operations.len() >= 7, "{operations:?}");
    for op in [SimOp::Create, SimOp::Write, SimOp::Sync, SimOp::Rename, SimOp::SyncDir] {
        let times = operations.iter().filter(|done| **done == op).count() as u64;
        assert!(times > 0, "{op:?}");
        for after in 0..times {
            let (env, dir) = sim();
            env.fail(op, after);
            let refused = try_build(&env, &dir, &rows);
            assert!(matches!(refused, Err(WarmError::Io { .. })), "{op:?} {after}");
            assert_eq!(env.faults_injected(), 1);
            assert_eq!(env.list(&dir).unwrap(), [], "{op:?} {after}");
        }
    }
}

#[test]
fn a_named_table_is_whole_after_every_crash() {
    let rows = rows();
    let (env, dir) = sim();
    let before = env.disk_ops();
    let written = try_build(&env, &dir, &rows).unwrap();
    let operations = env.disk_ops() - before;
    for after in 0..operations {
        let (env, dir) = sim();
        env.crash_after(after);
        assert!(try_build(&env, &dir, &rows).is_err());
        let env = env.crash();
        for entry in env.list(&dir).unwrap() {
            assert!(entry.name.ends_with(".tbl.tmp") || entry.len_bytes == written.bytes);
        }
        // What was left behind does not hinder the next one of that number, once it is removed.
        let _ = env.remove(&crate::table::table_path(&dir, 1));
        let what = try_build(&env, &dir, &rows).unwrap();
        assert!(!env.exists(&temporary_path(&dir, 1)).unwrap());
        Table::open(&env, &dir, &STORE, &what).unwrap();
    }
}

#[test]
fn an_abandoned_table_leaves_nothing_and_an_existing_one_is_not_overwritten() {
    let rows = rows();
    let (env, dir) = sim();
    let mut writer = TableWriter::create(&env, &dir, spec(TableKind::Latest, 1)).unwrap();
    writer.add(rows[0].view, rows[0].hash, &rows[0].version()).unwrap();
    assert_eq!(env.list(&dir).unwrap().len(), 1);
    writer.abandon();
    assert_eq!(env.list(&dir).unwrap(), []);
    try_build(&env, &dir, &rows[..1]).unwrap();
    let again = try_build(&env, &dir, &rows[..1]);
    assert!(matches!(again, Err(WarmError::Io { what: "create", .. })), "{again:?}");
}
