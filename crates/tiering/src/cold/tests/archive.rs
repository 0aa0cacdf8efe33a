//! Tables: archived, merged, erased from, gone on with under other schemas; in memory and on local disk.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

use thermae_env::{Env, File, OpenHow, RealEnv};
use thermae_formats::hash::partition_of;
use thermae_formats::{CatalogueEntry, Feature, Scalar, SchemaId, ViewId};

use super::rows::*;
use crate::cold::{
    Archive, Batch, ColdFile, ColdScan, Columns, Committed, Definition, LocalObjects,
    MemoryObjects, ObjectError, Objects, OpenFiles, PutNew, Snapshot, table_path,
};
use crate::erase::{PendingErase, PendingErases};
use crate::testing::Rng;

struct Table {
    objects: Arc<dyn Objects>,
    columns: Arc<Columns>,
    entry: CatalogueEntry,
}

impl Table {
    fn new(objects: Arc<dyn Objects>) -> Self {
        let view = small_view();
        let columns = columns(&view);
        Self {
            objects,
            columns,
            entry: CatalogueEntry { schema_id: SchemaId(3), view_id: VIEW, view },
        }
    }

    fn open(&self) -> Archive {
        let table = table_path(&self.entry.view, SchemaId(3));
        let snapshot = Snapshot::load(&*self.objects, &table, STORE).unwrap();
        Archive::new(Arc::clone(&self.objects), snapshot, open_files())
    }

    fn definition(&self) -> Definition<'_> {
        Definition { columns: &self.columns, entry: &self.entry }
    }

    fn columns_of(&self) -> impl Fn(SchemaId) -> Option<Arc<Columns>> {
        let columns = Arc::clone(&self.columns);
        move |schema_id| (schema_id == columns.schema_id()).then(|| Arc::clone(&columns))
    }

    /// Archives rows as sequences from `first` on, of every partition alike.
    fn archive(&self, archive: &mut Archive, rows: &[Owned], first: u64, next: u64) -> Committed {
        let advances = (0..STORE.partitions).map(|partition| (partition, (first, next))).collect();
        let mut batch = Batch::new(STORE, &self.columns, advances);
        for row in rows {
            assert!(batch.push(row.hash, &row.version()));
        }
        archive.archive(&batch, self.definition(), 1_000_000).unwrap()
    }

    fn rows(&self, archive: &Archive) -> Vec<Owned> {
        let mut found = Vec::new();
        for file in archive.snapshot().files() {
            let file = archive.open(file, &self.columns_of()).unwrap();
            found.extend(read_all(ColdScan::new(Arc::clone(&self.objects), file).unwrap()));
        }
        found
    }
}

/// Rows of two days, the second's sequences after the first's.
fn two_days(table: &Table) -> (Vec<Owned>, Vec<Owned>) {
    let view = &table.entry.view;
    let first = rows(&mut Rng::new(1), view, SchemaId(3), 15_000, 30, 200);
    let mut second = rows(&mut Rng::new(2), view, SchemaId(3), 15_001, 30, 200);
    second.iter_mut().for_each(|row| row.sequence += 200);
    (first, second)
}

#[test]
fn an_erased_entity_is_in_no_row_and_its_files_go() {
    let objects = Arc::new(MemoryObjects::default());
    let table = Table::new(objects.clone());
    let mut archive = table.open();
    let (first, second) = two_days(&table);
    table.archive(&mut archive, &first, 0, 200);
    table.archive(&mut archive, &second, 200, 400);
    let erased = first[70].key.clone();
    let sequence = 300;
    let mut erases = PendingErases::default();
    let entity_hash = first[70].hash;
    erases.insert(PendingErase { view: VIEW, entity_hash, key: erased.clone().into(), sequence });
    let is_erased = |row: &Owned| row.key == erased && row.sequence <= sequence;
    let suspects = archive.suspects(VIEW, &erases, &table.columns_of()).unwrap();
    assert_eq!(suspects.len(), 2);
    let of_other_view = archive.suspects(ViewId(VIEW.0 + 1), &erases, &table.columns_of());
    assert_eq!(of_other_view.unwrap(), [""; 0]);
    let mut gone = 0;
    for path in &suspects {
        let dropped = Cell::new(0);
        let note = |_: &crate::merge::Entry<'_>| dropped.set(dropped.get() + 1);
        let (columns_of, definition) = (table.columns_of(), table.definition());
        let done =
            archive.rewrite_without(path, &erases, &columns_of, definition, &note, 2_000_000);
        assert_eq!(done.unwrap(), Committed::Done);
        gone += dropped.get();
    }
    assert_eq!(gone, first.iter().chain(&second).filter(|row| is_erased(row)).count());
    let kept: Vec<Owned> =
        first.iter().chain(&second).filter(|row| !is_erased(row)).cloned().collect();
    assert_eq!(table.rows(&archive), kept);
    assert!(kept.iter().any(|row| row.key == erased), "what came after the erase");
    let mut doomed = archive.doomed().unwrap();
    doomed.sort();
    let mut replaced = suspects.clone();
    replaced.sort();
    assert_eq!(doomed, replaced, "no grace");
    let named = archive.snapshot().files().next().unwrap().path.clone();
    doomed.push(named.clone());
    archive.remove_doomed(&doomed).unwrap();
    assert_eq!(archive.doomed().unwrap(), [""; 0]);
    assert!(objects.get(&archive.snapshot().object(&named)).is_ok(), "it is named");
    assert_eq!(table.rows(&table.open()), kept, "as another process reads it");
}

#[test]
fn an_entity_that_is_all_of_a_file_takes_the_file_with_it() {
    let table = Table::new(Arc::new(MemoryObjects::default()));
    let mut archive = table.open();
    let (first, _) = two_days(&table);
    table.archive(&mut archive, &first[..1], 0, 200);
    let paths: Vec<_> = archive.snapshot().files().map(|file| file.path.clone()).collect();
    let keeps_none = |_: crate::merge::Entry<'_>| false;
    let definition = table.definition();
    archive.rewrite(&paths, &table.columns_of(), definition, &keeps_none, true, 2).unwrap();
    assert_eq!(archive.snapshot().files().count(), 0);
    assert_eq!(archive.snapshot().archived(3), 200, "what is erased stays archived");
}

#[test]
fn merged_files_hold_the_same_rows_and_a_single_file_stays_as_it_is() {
    let table = Table::new(Arc::new(MemoryObjects::default()));
    let mut archive = table.open();
    let (first, _) = two_days(&table);
    let (mut some, mut others) = (Vec::new(), Vec::new());
    for row in &first {
        if row.sequence < 100 { some.push(row.clone()) } else { others.push(row.clone()) }
    }
    table.archive(&mut archive, &some, 0, 100);
    table.archive(&mut archive, &others, 100, 200);
    for merged_from in [2, 1] {
        let paths: Vec<_> = archive.snapshot().files().map(|file| file.path.clone()).collect();
        assert_eq!(paths.len(), merged_from);
        let commits = archive.snapshot().commits();
        let keeps = |_: crate::merge::Entry<'_>| true;
        let definition = table.definition();
        archive.rewrite(&paths, &table.columns_of(), definition, &keeps, false, 2).unwrap();
        assert_eq!(table.rows(&archive), first);
        assert_eq!(archive.snapshot().commits() - commits, merged_from as u64 - 1);
    }
}

#[test]
fn a_table_of_wider_columns_begins_where_the_former_ends() {
    let mut table = Table::new(Arc::new(MemoryObjects::default()));
    let mut archive = table.open();
    let (first, second) = two_days(&table);
    table.archive(&mut archive, &first, 0, 200);
    let former = table.entry.view.clone();
    table.entry.view.features[0] = Feature::new("a", Scalar::Float64);
    table.entry.schema_id = SchemaId(4);
    let schemas = [(SchemaId(3), &former), (SchemaId(4), &table.entry.view)];
    let wider = Arc::new(Columns::new(VIEW, &schemas).unwrap());
    assert!(!wider.continues(&table.columns));
    table.columns = wider;
    let path = table_path(&table.entry.view, SchemaId(4));
    let snapshot = Snapshot::load(&*table.objects, &path, STORE).unwrap();
    let mut next = Archive::new(Arc::clone(&table.objects), snapshot, open_files());
    assert_eq!(table.archive(&mut next, &second, 200, 400), Committed::Superseded);
    let begun = next.begin_after(archive.snapshot(), table.definition(), 1);
    assert_eq!(begun.unwrap(), Committed::Done);
    assert_eq!(table.archive(&mut next, &second, 200, 400), Committed::Done);
    assert_eq!(table.rows(&next).len(), second.len());
}

#[test]
fn a_batch_takes_the_rows_of_its_partitions_and_sequences_once() {
    let table = Table::new(Arc::new(MemoryObjects::default()));
    let (rows, _) = two_days(&table);
    let advances = (2..STORE.partitions).map(|partition| (partition, (50, 120))).collect();
    let mut batch = Batch::new(STORE, &table.columns, advances);
    let is_its = |row: &&Owned| {
        let partition = partition_of(row.hash, STORE.partitions);
        partition >= 2 && (50..120).contains(&row.sequence)
    };
    for row in rows.iter().rev().chain(&rows) {
        assert_eq!(batch.push(row.hash, &row.version()), is_its(&row));
    }
    let mut archive = table.open();
    let snapshot = archive.snapshot().clone();
    let advances = (2..STORE.partitions).map(|partition| (partition, (0, 50))).collect();
    let before = Batch::new(STORE, &table.columns, advances);
    archive.archive(&before, table.definition(), 1).unwrap();
    assert_eq!(archive.archive(&batch, table.definition(), 2).unwrap(), Committed::Done);
    assert_eq!((snapshot.archived(2), archive.snapshot().archived(2)), (0, 120));
    assert_eq!(table.rows(&archive), rows.iter().filter(is_its).cloned().collect::<Vec<_>>());
}

#[test]
fn a_directory_holds_objects_whole_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let objects = LocalObjects::new(folder.path()).unwrap();
    assert_eq!(objects.get("a/b"), Err(ObjectError::NotFound));
    assert_eq!(objects.put_new("a/b", "first".into()), Ok(PutNew::Created));
    assert_eq!(objects.put_new("a/b", "second".into()), Ok(PutNew::Exists));
    assert_eq!(objects.put_new("a/c", "third".into()), Ok(PutNew::Created));
    assert_eq!(objects.get("a/b").unwrap(), "first");
    assert_eq!(objects.get_range("a/b", 1..3).unwrap(), "ir");
    assert_eq!(objects.get_range("a/b", 3..30).unwrap(), "st");
    let paths = |after: &str| {
        let listed = objects.list("a/", after).unwrap();
        listed.into_iter().map(|object| (object.path, object.bytes)).collect::<Vec<_>>()
    };
    assert_eq!(paths(""), [("a/b".to_owned(), 5), ("a/c".to_owned(), 5)]);
    assert_eq!(paths("a/b"), [("a/c".to_owned(), 5)]);
    assert_eq!((objects.delete("a/b"), objects.delete("a/b")), (Ok(()), Ok(())));
    assert_eq!(objects.get("a/b"), Err(ObjectError::NotFound));
    // What an upload that did not end has left is no object, and goes when that is asked.
    RealEnv.create_dir_all(&folder.path().join("a/deep")).unwrap();
    for half in ["a/d#1", "a/deep/e.parquet#27", "f#1"] {
        let file = RealEnv.open(&folder.path().join(half), OpenHow::CREATE).unwrap();
        file.write_all_at(b"half", 0).unwrap();
    }
    assert_eq!(paths(""), [("a/c".to_owned(), 5)]);
    assert_eq!(
        (objects.remove_unfinished("a/"), objects.remove_unfinished("none/")),
        (Ok(()), Ok(()))
    );
    let is_there = |path: &str| folder.path().join(path).exists();
    assert_eq!(
        ["a/d#1", "a/deep/e.parquet#27", "f#1", "a/c"].map(is_there),
        [false, false, true, true]
    );
    assert!(LocalObjects::new(Path::new("/nowhere/at/all")).is_err());
}

#[test]
fn a_table_on_local_disk_is_there_for_the_next_process() {
    let folder = tempfile::tempdir().unwrap();
    let table = Table::new(Arc::new(LocalObjects::new(folder.path()).unwrap()));
    let (first, second) = two_days(&table);
    let mut archive = table.open();
    table.archive(&mut archive, &first, 0, 200);
    table.archive(&mut archive, &second, 200, 400);
    let expected: Vec<Owned> = first.into_iter().chain(second).collect();
    let table = Table::new(Arc::new(LocalObjects::new(folder.path()).unwrap()));
    assert_eq!(table.rows(&table.open()), expected);
}

#[test]
fn open_files_are_kept_within_their_budget_those_used_last() {
    let view = small_view();
    let columns = columns(&view);
    let made: Vec<_> = (0..6)
        .map(|day| {
            write(
                &columns,
                &rows(&mut Rng::new(day), &view, SchemaId(3), 15_000 + day as i64, 9, 50),
            )
        })
        .collect();
    let opened = std::cell::Cell::new(0);
    let get = |kept: &OpenFiles, number: usize| {
        let (file, bytes) = &made[number];
        let open = || {
            opened.set(opened.get() + 1);
            ColdFile::open(&*store_of(file, bytes.clone()), &file.path, file, STORE, &columns)
        };
        kept.get_or_open(&file.path, open).unwrap().memory_bytes()
    };
    let one = get(&OpenFiles::new(0), 0);
    let kept = OpenFiles::new(4 * one);
    opened.set(0);
    // Three fit; the one that was not used for longest goes.
    for (number, opens) in [(0, 1), (1, 2), (2, 3), (0, 3), (3, 4), (4, 5), (0, 5), (1, 6), (4, 6)]
    {
        get(&kept, number);
        assert!(kept.bytes() <= 4 * one, "{} of {}", kept.bytes(), 4 * one);
        assert_eq!(opened.get(), opens, "after {number}");
    }
}
