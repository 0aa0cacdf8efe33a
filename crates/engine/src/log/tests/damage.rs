//! Damaged, missing, moved and foreign bytes: the same answer or a typed error, never another answer.

use thermae_formats::batch::{BatchBuilder, Seal, Unchecked};
use thermae_formats::manifest::{Manifest, SealedLog};
use thermae_formats::segment::SegmentHeader;

use super::*;

/// All files of a data directory.
type Image = Vec<(PathBuf, Vec<u8>)>;

fn image(env: &SimEnv) -> Image {
    let mut paths = vec![Path::new(DIR).join("MANIFEST")];
    paths.extend(log_files(env).into_iter().map(|(path, _)| path));
    paths.into_iter().map(|path| (path.clone(), env.file_bytes(&path).unwrap())).collect()
}

pub(super) fn machine(image: &[(PathBuf, Vec<u8>)]) -> SimEnv {
    let env = SimEnv::new(7);
    env.create_dir_all(&Path::new(DIR).join("log")).unwrap();
    for (path, bytes) in image {
        env.set_file_bytes(path, bytes).unwrap();
    }
    env
}

fn small() -> LogOptions {
    LogOptions { segment_bytes: 16 << 10, max_batch_bytes: 4 << 10, ..options() }
}

/// Two epochs, both over several segments; the second one is the present one, stopped cleanly.
fn two_epochs() -> (Image, Vec<u64>) {
    let env = SimEnv::new(1);
    for epoch in 0..2 {
        let mut rig = Rig::open_with(&env, 1, &small());
        rig.put(epoch * 10..epoch * 10 + 10, true);
        rig.stop();
        assert!(rig.writer(0).stats().segments >= 2);
    }
    (image(&env), (0..20).collect())
}

/// The same with logs that begin later, in their second segment or behind it; what is before is gone.
fn two_epochs_begun_later() -> (Image, Vec<u64>) {
    let env = SimEnv::new(2);
    let mut expected = Vec::new();
    for epoch in 0..2 {
        let mut rig = Rig::open_with(&env, 1, &small());
        rig.put(epoch * 20..epoch * 20 + 12, true);
        rig.run(|progress| progress.durable == progress.assigned);
        let start = rig.writer(0).start_covering(u64::MAX);
        assert!(start.segment > 0 && start.records > 0, "{start:?}");
        let manifest = rig.recovered.manifest.clone();
        let store = ManifestStore::new(env.clone(), Path::new(DIR), manifest).unwrap();
        store.commit(|manifest| manifest.current[0].start = start).unwrap();
        rig.put(epoch * 20 + 12..epoch * 20 + 20, true);
        rig.stop();
        expected.extend(epoch * 20 + start.records..epoch * 20 + 20);
    }
    let mut image = image(&env);
    let manifest = Manifest::parse(&image[0].1).unwrap();
    let starts: Vec<(u32, u32)> = [
        (manifest.sealed[0].epoch, manifest.sealed[0].start.segment),
        (manifest.epoch, manifest.current[0].start.segment),
    ]
    .to_vec();
    image.retain(|(path, bytes)| match SegmentHeader::parse(bytes) {
        Ok(header) => starts.iter().any(|(e, s)| *e == header.epoch && *s <= header.number),
        Err(_) => path.ends_with("MANIFEST"),
    });
    assert!(image.len() >= 4, "{}", image.len());
    (image, expected)
}

/// Directories whose every byte is damaged.
fn directories() -> [(Image, Vec<u64>); 2] {
    [two_epochs(), two_epochs_begun_later()]
}

/// Opens what `image` holds. An answer must be the expected one; an error must name a file.
fn same_or_named(image: &[(PathBuf, Vec<u8>)], expected: &[u64], case: &str) -> Option<LogError> {
    let env = machine(image);
    let report = verify_directory(&env, Path::new(DIR), &mut |_, _| ());
    let (opened, replayed) = open(&env, 1, &small());
    match opened {
        Ok(_) => {
            assert_eq!(numbers(&replayed), expected, "{case}: another answer");
            None
        }
        Err(error) => {
            assert!(error.location().is_some(), "{case}: {error}");
            let is_noticed = report.as_ref().map_or(true, |report| !report.is_sound());
            assert!(is_noticed, "{case}: verify missed {error}");
            Some(error)
        }
    }
}

#[test]
fn an_undamaged_directory_verifies() {
    let (image, expected) = two_epochs();
    let env = machine(&image);
    let mut told = Vec::new();
    let report =
        verify_directory(&env, Path::new(DIR), &mut |done, of| told.push((done, of))).unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!((report.records, report.files), (20, image.len() as u64), "{report:?}");
    assert_eq!(report.bytes, image.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>());
    assert_eq!(told.last(), Some(&(told[0].1, told[0].1)));
    assert!(same_or_named(&image, &expected, "undamaged").is_none());
}

#[test]
fn every_flipped_byte_gives_the_same_answer_or_names_the_file() {
    // Of the second every fourth byte.
    for ((image, expected), step) in directories().into_iter().zip([1, 4]) {
        let mut refused = 0;
        for file in 0..image.len() {
            let len = image[file].1.len();
            // Every byte that is something, and a sample of the zeroes between.
            for at in (0..len).step_by(step).filter(|&at| image[file].1[at] != 0 || at % 251 == 0) {
                let mut broken = image.clone();
                broken[file].1[at] ^= 1 << (at % 8);
                let case = format!("{} byte {at}", broken[file].0.display());
                if let Some(error) = same_or_named(&broken, &expected, &case) {
                    let (path, offset) = error.location().unwrap();
                    assert_eq!(path, broken[file].0, "{case}: {error}");
                    assert!(offset <= at as u64, "{case}: {error}");
                    refused += 1;
                }
            }
        }
        assert!(refused > 1000 / step, "{refused}");
    }
}

/// Whether what is behind `cut` of a file may be given back: the log is sealed before.
fn is_unused_end(image: &[(PathBuf, Vec<u8>)], file: usize, cut: usize) -> bool {
    let manifest = Manifest::parse(&image[0].1).unwrap();
    let Ok(header) = SegmentHeader::parse(&image[file].1) else { return false };
    manifest.sealed.iter().any(|log| {
        let is_last = log.epoch == header.epoch && log.segments == header.number + 1;
        is_last && cut as u64 >= log.end_offset && cut.is_multiple_of(4096)
    })
}

#[test]
fn every_truncation_is_named() {
    for (image, expected) in directories() {
        for file in 0..image.len() {
            let len = image[file].1.len();
            for cut in (0..len)
                .step_by(4096)
                .chain([1, 100, len - 1, len.saturating_sub(512)])
                .filter(|&c| c < len)
            {
                let mut broken = image.clone();
                broken[file].1.truncate(cut);
                let case = format!("{} cut at {cut} of {len}", broken[file].0.display());
                match same_or_named(&broken, &expected, &case) {
                    Some(error) => {
                        assert_eq!(error.location().unwrap().0, broken[file].0, "{case}: {error}");
                    }
                    None => assert!(is_unused_end(&image, file, cut), "{case} is not noticed"),
                }
            }
        }
    }
}

#[test]
fn every_copied_chunk_gives_the_same_answer_or_an_error() {
    for (image, expected) in directories() {
        let blocks: Vec<(usize, usize)> = (1..image.len())
            .flat_map(|file| (0..image[file].1.len() / 4096).map(move |block| (file, block * 4096)))
            .collect();
        for &(from, from_at) in &blocks {
            let chunk = image[from].1[from_at..from_at + 4096].to_vec();
            for &(to, to_at) in blocks.iter().filter(|place| **place != (from, from_at)) {
                if image[to].1[to_at..to_at + 4096] == chunk[..] {
                    continue;
                }
                let mut broken = image.clone();
                broken[to].1[to_at..to_at + 4096].copy_from_slice(&chunk);
                same_or_named(&broken, &expected, &format!("{from}@{from_at} -> {to}@{to_at}"));
            }
        }
    }
}

#[test]
fn every_old_chunk_put_back_gives_the_same_answer_or_an_error() {
    let env = SimEnv::new(3);
    let mut images = Vec::new();
    let mut rig = Rig::open_with(&env, 1, &small());
    for number in 0..12 {
        images.push(image(&env));
        rig.put([number], number % 3 > 0);
        let last = rig.sent[0].last().unwrap().1;
        rig.run(|progress| progress.written >= last);
    }
    rig.stop();
    let (now, expected) = (image(&env), (0..12).collect::<Vec<_>>());
    let mut refused = 0;
    for old in images {
        for (path, bytes) in &old {
            // What was being made then has its name by now.
            let Some(file) = now.iter().position(|(other, _)| other == path) else { continue };
            for at in (0..now[file].1.len()).step_by(4096) {
                let end = now[file].1.len().min(at + 4096);
                if bytes.get(at..end).is_none_or(|chunk| *chunk == now[file].1[at..end]) {
                    continue;
                }
                let mut broken = now.clone();
                broken[file].1[at..end].copy_from_slice(&bytes[at..end]);
                let case = format!("old chunk {}@{at}", path.display());
                refused += usize::from(same_or_named(&broken, &expected, &case).is_some());
            }
        }
    }
    assert!(refused > 20, "{refused}");
}

#[test]
fn an_old_copy_of_any_file_is_noticed_once_the_directory_was_closed() {
    let env = SimEnv::new(4);
    let mut images = Vec::new();
    let mut rig = Rig::open_with(&env, 1, &small());
    for number in 0..12 {
        images.push(image(&env));
        rig.put([number], true);
        let last = rig.sent[0].last().unwrap().1;
        rig.run(|progress| progress.durable >= last);
    }
    close(rig);
    let (now, expected) = (image(&env), (0..12).collect::<Vec<_>>());
    let mut refused = 0;
    for (path, bytes) in images.iter().flatten() {
        let Some(file) = now.iter().position(|(other, _)| other == path) else { continue };
        if now[file].1 == *bytes {
            continue;
        }
        let mut broken = now.clone();
        broken[file].1.clone_from(bytes);
        let error = same_or_named(&broken, &expected, &format!("old {}", path.display()));
        // The manifest before the close names the same logs as open: their ends are found.
        refused += usize::from(error.is_some());
        assert!(error.is_some() || file == 0, "{}", path.display());
    }
    assert!(refused >= 8, "{refused}");
}

#[test]
fn missing_renamed_empty_and_foreign_files_are_named() {
    for (image, expected) in directories() {
        for file in 0..image.len() {
            let path = image[file].0.clone();
            let mut removed = image.clone();
            removed.remove(file);
            let is_unused = image[file].1.iter().skip(4096).all(|&byte| byte == 0) && file > 0;
            let error = same_or_named(&removed, &expected, &format!("{} removed", path.display()));
            assert_eq!(error.is_none(), is_unused, "{} removed: {error:?}", path.display());
            if let Some(error) = error {
                assert_eq!(error.location().unwrap().0, path);
                assert!(matches!(error, LogError::Missing { .. } | LogError::NoManifest { .. }));
            }
            if file > 0 {
                let mut renamed = image.clone();
                renamed[file].0 = Path::new(DIR).join("log/00000009-0003-00000001.log");
                let error = same_or_named(&renamed, &expected, "renamed").expect("noticed");
                assert!(
                    matches!(error, LogError::Damaged(_) | LogError::Missing { .. }),
                    "{error}"
                );
            }
        }
        let name = Path::new(DIR).join("log/00000009-0000-00000000.log");
        let header = SegmentHeader {
            store_id: *b"another store id",
            epoch: 9,
            shard: 0,
            number: 0,
            salt: 1,
            segment_bytes: 16 << 10,
        };
        let mut foreign = header.to_bytes().to_vec();
        foreign.resize(16 << 10, 0);
        for (bytes, what) in [(Vec::new(), "empty"), (foreign.clone(), "foreign")] {
            let mut more = image.clone();
            more.push((name.clone(), bytes));
            let error = same_or_named(&more, &expected, what).expect("noticed");
            assert_eq!(error.location().unwrap().0, name, "{what}");
            assert_eq!(matches!(error, LogError::Foreign { .. }), what == "foreign");
        }
    }
}

#[test]
fn newer_versions_are_told_from_damage() {
    for (image, expected) in directories() {
        for (file, (path, _)) in image.iter().enumerate() {
            let mut newer = image.clone();
            newer[file].1[8] += 1;
            let error = same_or_named(&newer, &expected, "newer").expect("noticed");
            assert!(
                matches!(&error, LogError::NewerVersion { path: p, .. } if p == path),
                "{error}"
            );
        }
    }
}

#[test]
fn an_old_manifest_is_refused_and_unknown_files_are_left_alone() {
    let env = SimEnv::new(5);
    let mut rig = Rig::open_with(&env, 1, &small());
    rig.put(0..3, true);
    rig.stop();
    drop(rig);
    let old = image(&env);
    let mut rig = Rig::open_with(&env, 1, &small());
    rig.put(3..6, true);
    rig.stop();
    drop(rig);
    let now = image(&env);
    let mut rolled_back = now.clone();
    rolled_back[0] = old[0].clone();
    let error = same_or_named(&rolled_back, &[], "old manifest").expect("noticed");
    assert!(
        matches!(&error, LogError::Extra { path } if path.ends_with("00000002-0000-00000000.log"))
    );

    let stranger = Path::new(DIR).join("log/notes.txt");
    let half_made = Path::new(DIR).join("log/00000002-0000-00000007.log.tmp");
    let env = machine(&now);
    env.set_file_bytes(&stranger, b"mine").unwrap();
    env.set_file_bytes(&half_made, b"half").unwrap();
    let rig = Rig::open_with(&env, 1, &small());
    assert_eq!(rig.recovered.report.unknown_files, ["notes.txt"]);
    assert_eq!(env.file_bytes(&stranger).unwrap(), b"mine");
    assert!(!env.exists(&half_made).unwrap());
}

/// The image of a log that was killed after `numbers` became durable, and its last segment with
/// data.
fn killed_after(numbers_sent: u64, idle: bool) -> (Image, usize) {
    let env = SimEnv::new(6);
    let mut rig = Rig::open(&env, 1);
    for number in 0..numbers_sent {
        rig.put([number], true);
        let last = rig.sent[0].last().unwrap().1;
        rig.run(|progress| progress.durable >= last);
    }
    if idle {
        let horizons = rig.writer(0).stats().horizon_batches;
        while rig.writer(0).stats().horizon_batches == horizons {
            assert!(rig.turn(Some(env.monotonic_ns() + 11_000_000)));
        }
        rig.run(|progress| progress.durable == progress.assigned);
    }
    let image = image(&env);
    let last = (1..image.len()).rfind(|&file| image[file].1[4096..].iter().any(|&b| b != 0));
    (image, last.unwrap())
}

#[test]
fn a_torn_last_batch_is_cut_wherever_it_is_torn() {
    let (image, file) = killed_after(5, false);
    let last_block = image[file].1.chunks(4096).rposition(|b| b.iter().any(|&b| b != 0)).unwrap();
    for sector in 0..8 {
        for fill in [0, 0xAB] {
            let mut torn = image.clone();
            let at = last_block * 4096 + sector * 512;
            if torn[file].1[at..at + 512].iter().all(|&byte| byte == fill) {
                continue;
            }
            torn[file].1[at..at + 512].fill(fill);
            let env = machine(&torn);
            let rig = Rig::open(&env, 1);
            assert_eq!(numbers(&rig.replayed), [0, 1, 2, 3], "sector {sector}");
            let cut = &rig.recovered.report.cuts[0];
            assert_eq!((cut.batch, cut.offset), (4, last_block as u64 * 4096));
            assert!(!cut.is_clean_stop && cut.file == image[file].0);
            // And the new epoch names the cut: the torn bytes can never come back.
            drop(rig);
            let env = env.crash();
            env.set_file_bytes(&image[file].0, &image[file].1).unwrap();
            assert_eq!(numbers(&Rig::open(&env, 1).replayed), [0, 1, 2, 3]);
        }
    }
}

#[test]
fn the_same_damage_is_refused_once_a_later_batch_says_that_it_was_durable() {
    let (image, file) = killed_after(5, true);
    let expected: Vec<u64> = (0..5).collect();
    let blocks = image[file].1.chunks(4096).rposition(|b| b.iter().any(|&b| b != 0)).unwrap();
    assert_eq!(blocks, 6, "five batches and the horizon batch behind the header");
    for block in 1..=blocks {
        let mut broken = image.clone();
        broken[file].1[block * 4096..block * 4096 + 512].fill(0);
        let env = machine(&broken);
        let (opened, replayed) = open(&env, 1, &options());
        if block == blocks {
            opened.unwrap();
            assert_eq!(numbers(&replayed), expected, "only the horizon batch is gone");
            continue;
        }
        let error = opened.err().expect("acknowledged data is gone");
        assert!(replayed.is_empty(), "decided before anything is replayed");
        assert_eq!(error.location().unwrap(), (image[file].0.as_path(), block as u64 * 4096));
        assert!(
            matches!(&error, LogError::Damaged(d) if d.what.contains("was durable")),
            "{error}"
        );
        // Asked for, what verifies is served, read-only, and nothing is changed.
        let before = super::damage::image(&env);
        let options = LogOptions { damage: OnDamage::Salvage, ..options() };
        let (opened, replayed) = open(&env, 1, &options);
        let recovered = opened.unwrap();
        let rest: Vec<u64> = (0..5).filter(|&n| n != block as u64 - 1).collect();
        assert_eq!(numbers(&replayed), rest);
        assert!(recovered.writers.is_empty() && recovered.report.damages.len() == 1);
        assert_eq!(super::damage::image(&env), before);
    }
}

#[test]
fn damage_in_a_sealed_log_is_refused_even_at_its_very_end() {
    let (image, _) = killed_after(5, false);
    let env = machine(&image);
    drop(Rig::open(&env, 1));
    let path = Path::new(DIR).join("log/00000001-0000-00000000.log");
    let mut bytes = env.file_bytes(&path).unwrap();
    let end = 6 * 4096;
    assert!(bytes.len() >= end && bytes[end - 4096] != 0, "sealed after five batches");
    bytes[end - 4096] ^= 1;
    env.set_file_bytes(&path, &bytes).unwrap();
    let error = open(&env, 1, &options()).0.err().expect("noticed");
    assert_eq!(error.location().unwrap(), (path.as_path(), end as u64 - 4096));
    let options = LogOptions { damage: OnDamage::Salvage, ..options() };
    let (opened, replayed) = open(&env, 1, &options);
    assert_eq!(numbers(&replayed), [0, 1, 2, 3]);
    assert_eq!(opened.unwrap().report.damages.len(), 1);
}

/// The image of `two_epochs`, closed, with its manifest changed and signed anew.
fn with_manifest(change: impl FnOnce(&mut Manifest)) -> Image {
    let env = SimEnv::new(8);
    let mut rig = Rig::open_with(&env, 1, &small());
    rig.put(0..10, true);
    close(rig);
    let mut image = image(&env);
    let mut manifest = Manifest::parse(&image[0].1).unwrap();
    change(&mut manifest);
    image[0].1 = manifest.to_bytes();
    image
}

#[test]
fn a_sealed_log_must_end_exactly_where_and_as_the_manifest_says() {
    let expected: Vec<u64> = (0..10).collect();
    assert!(same_or_named(&with_manifest(|_| ()), &expected, "unchanged").is_none());
    let changes: [fn(&mut SealedLog); 5] = [
        |log| log.chain ^= 1,
        |log| log.records += 1,
        |log| log.batches -= 1,
        |log| log.end_offset -= 4096,
        |log| log.start.salt ^= 1,
    ];
    for (case, change) in changes.into_iter().enumerate() {
        let image = with_manifest(|manifest| change(&mut manifest.sealed[0]));
        let error = same_or_named(&image, &expected, "sealed").expect("noticed");
        assert!(matches!(error, LogError::Damaged(_)), "case {case}: {error}");
    }
}

#[test]
fn a_fresh_file_in_the_place_of_a_segment_is_not_an_empty_log() {
    let env = SimEnv::new(9);
    let mut rig = Rig::open(&env, 1);
    rig.put(0..3, true);
    rig.run(|progress| progress.durable > 0 && progress.durable == progress.assigned);
    let mut image = image(&env);
    let header = SegmentHeader::parse(&image[1].1).unwrap();
    let other = SegmentHeader { salt: header.salt ^ 1, ..header };
    image[1].1.fill(0);
    image[1].1[..4096].copy_from_slice(&other.to_bytes());
    let error = open(&machine(&image), 1, &options()).0.err().expect("noticed");
    assert_eq!(error.location().unwrap(), (image[1].0.as_path(), 40), "{error}");
}

#[test]
fn a_batch_that_verifies_but_does_not_chain_is_damage() {
    let (image, _) = killed_after(3, false);
    let header = SegmentHeader::parse(&image[1].1).unwrap();
    let at = |block: u64| block * 4096;
    let third = Unchecked::new(&image[1].1[at(3) as usize..]).header(&header, at(3)).unwrap();
    let right = Seal {
        segment: &header,
        offset: at(4),
        flags: 0,
        number: 4,
        horizon: 3,
        first_record: 3,
        previous: third.hash,
    };
    let planted = [
        (right, None),
        (Seal { number: 5, ..right }, Some("number")),
        (Seal { previous: 1, ..right }, Some("previous hash")),
        (Seal { first_record: 2, ..right }, Some("first record")),
        (Seal { horizon: 0, ..right }, Some("horizon")),
    ];
    for (seal, wrong) in planted {
        let mut image = image.clone();
        BatchBuilder::new().seal(&mut image[1].1[at(4) as usize..], &seal).unwrap();
        let (opened, replayed) = open(&machine(&image), 1, &options());
        match (opened.err(), wrong) {
            (None, None) => assert_eq!(numbers(&replayed), [0, 1, 2]),
            (Some(LogError::Damaged(damage)), Some(what)) => {
                assert!(damage.offset == at(4) && damage.what.contains(what), "{damage:?}");
            }
            (other, _) => panic!("{wrong:?}: {other:?}"),
        }
    }
}
