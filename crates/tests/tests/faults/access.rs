//! A directory that may not be written to, or not be touched at all: a typed error, and everything as it
//! was.

use std::path::{Path, PathBuf};
use std::process::Command;

use thermae_engine::store::{Row, Status, Store};
use thermae_engine::{Error, Options};
use thermae_formats::{Feature, FeatureView, JoinKey, KeyType, KeyValue, Scalar, Value};

use super::small_disk::{skipped, small_disk};

fn open(dir: &Path) -> Result<Store, Error> {
    let options = Options { memory_bytes: 8 << 20, segment_bytes: 64 << 10, ..Options::default() };
    Store::open_with(dir, options)
}

/// A closed store with a few rows in it.
fn written(dir: &Path) {
    let store = open(dir).unwrap();
    let keys = vec![JoinKey::new("id", KeyType::Int64)];
    let view = FeatureView::new("test", "few", keys, vec![Feature::new("n", Scalar::Int64)]);
    store.apply(&[view]).unwrap();
    let row = |id| Row::new([KeyValue::Int(id)], 1_000, [Value::Int64(-id)]);
    store.put("few", &(0..10).map(row).collect::<Vec<_>>()).unwrap();
    store.close().unwrap();
}

fn check(dir: &Path) {
    let store = open(dir).unwrap();
    let plan = store.plan("few", &["n"]).unwrap();
    for id in 0..10 {
        let answer = store.get(&plan, &[vec![KeyValue::Int(id)]]).unwrap().swap_remove(0);
        assert_eq!((answer.status, answer.values), (Status::Present, vec![Value::Int64(-id)]));
    }
    store.close().unwrap();
}

/// Every file under a directory, and what it holds.
fn image(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        match entry.is_dir() {
            true => files.extend(image(&entry)),
            false => files.push((entry.clone(), std::fs::read(&entry).unwrap())),
        }
    }
    files.sort();
    files
}

/// Opens what may not be opened; the error names what was refused.
fn refused(dir: &Path, number: i32) {
    let before = image(dir);
    let Err(error) = open(dir) else { panic!("it opens") };
    let Error::Io { context, source } = &error else { panic!("{error:?}") };
    assert_eq!(source.raw_os_error(), Some(number), "{error}");
    assert!(context.contains(dir.to_str().unwrap()), "{error}");
    assert!(image(dir) == before, "something was changed");
}

#[test]
fn a_read_only_file_system_is_a_typed_error_and_nothing_is_changed() {
    let Some(disk) = small_disk("a read-only file system", 64 << 20) else { return };
    let dir = disk.path().join("data");
    written(&dir);
    disk.set_read_only(true).unwrap();
    refused(&dir, errno::EROFS);
    disk.set_read_only(false).unwrap();
    check(&dir);
}

#[test]
fn a_manifest_that_may_not_be_replaced_is_a_typed_error_and_nothing_is_lost() {
    let Some(disk) = small_disk("an immutable file", 64 << 20) else { return };
    let dir = disk.path().join("data");
    written(&dir);
    let immutable = |how: &str| {
        let done = Command::new("chattr").arg(how).arg(dir.join("MANIFEST")).status();
        done.is_ok_and(|status| status.success())
    };
    if !immutable("+i") {
        return skipped("an immutable file", "chattr (apt-get install e2fsprogs)");
    }
    // Root may write to what it has no permission for, but not to this.
    let outcome = open(&dir).map(|_| ());
    assert!(immutable("-i"));
    let Err(Error::Io { context, source }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(source.raw_os_error(), Some(errno::EPERM), "{context}: {source}");
    assert!(context.contains("MANIFEST"), "{context}");
    check(&dir);
}

/// Numbers of Linux.
mod errno {
    pub const EPERM: i32 = 1;
    pub const EROFS: i32 = 30;
}
