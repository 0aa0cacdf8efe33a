//! How full the index gets, and what a row costs.

use thermae_hot::HotWriter;

use crate::support::{Random, config, put, put_hashed};

#[test]
fn the_first_segment_is_nearly_full_when_it_first_gives_cells_away() {
    let mut fills = Vec::new();
    for seed in 0..20 {
        let mut writer = HotWriter::create_on_heap(&config(2 << 20)).unwrap();
        let mut random = Random(seed);
        let mut load = 0.0;
        for number in 0.. {
            let stats = writer.stats();
            if stats.cell_moves > 0 {
                break;
            }
            load = stats.index_load;
            put_hashed(&mut writer, random.next(), number, 1, 0).unwrap();
        }
        fills.push(load);
    }
    let mean = fills.iter().sum::<f64>() / fills.len() as f64;
    println!("fill at the first move: mean {mean:.3}, {fills:.3?}");
    assert!(mean >= 0.93 && fills.iter().all(|&fill| fill >= 0.85), "mean {mean}: {fills:?}");
}

#[test]
fn the_index_stays_above_four_fifths_and_a_row_below_48_bytes() {
    let mut writer = HotWriter::create_on_heap(&config(40 << 20)).unwrap();
    let (mut checks, mut load_sum, mut overhead_max) = (0, 0.0, 0.0f64);
    for number in 0..300_000u64 {
        put(&mut writer, number, number * 3 + 1, 5).unwrap();
        if number > 20_000 && number % 1_000 == 0 {
            let stats = writer.stats();
            checks += 1;
            load_sum += stats.index_load;
            overhead_max = overhead_max.max(stats.overhead_bytes_per_row());
            assert_eq!((stats.slack_bytes, stats.overflow_buckets), (0, 0));
            assert!(stats.index_load > 0.76, "{} at {number} rows", stats.index_load);
        }
    }
    let mean = load_sum / f64::from(checks);
    println!("load mean {mean:.3}, overhead at most {overhead_max:.1} bytes a row");
    assert!(mean >= 0.80, "mean load {mean}");
    assert!(overhead_max <= 48.0, "{overhead_max} bytes a row");
}
