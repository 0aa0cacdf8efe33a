//! What a calibration asks for.

use thermae_formats::KeyType;

use crate::error::Error;
use crate::keys::Keys;
use crate::workload::{Count, Features, Kind, Operation, Part, View};

/// The request whose latency is measured under load.
pub const HUNDRED: &str = "100 keys x 10 float32";

fn view(
    name: &str,
    entities: u64,
    value_type: &str,
    count: usize,
    bytes: usize,
) -> Result<View, Error> {
    let value_type =
        value_type.parse().map_err(|error| Error::Given(format!("type {value_type}: {error}")))?;
    let features = vec![Features { value_type, count, bytes }];
    Ok(View {
        name: name.to_owned(),
        entities,
        key: KeyType::Int64,
        key_bytes: 0,
        ttl_s: 0,
        cold_after_s: 0,
        features,
    })
}

fn operation(kind: Kind, of: &[&str], keys: u32, matrix: bool) -> Operation {
    let part =
        |view: &&str| Part { view: (*view).to_owned(), keys: Count::Exactly(keys), features: 0 };
    Operation {
        kind,
        weight: 1.0,
        of: of.iter().map(part).collect(),
        keys: Keys::Uniform,
        same_keys: false,
        consecutive: false,
        matrix,
    }
}

/// Views that are read together. Their rows are short.
const MANY: [&str; 12] = [
    "cal_many00",
    "cal_many01",
    "cal_many02",
    "cal_many03",
    "cal_many04",
    "cal_many05",
    "cal_many06",
    "cal_many07",
    "cal_many08",
    "cal_many09",
    "cal_many10",
    "cal_many11",
];

/// The views that a calibration reads and writes.
pub fn views(entities: u64) -> Result<Vec<View>, Error> {
    let mut views = vec![
        view("cal_narrow", entities, "float32", 10, 0)?,
        view("cal_wide", entities / 4, "float32", 50, 0)?,
        view("cal_text", entities / 4, "bytes", 10, 20)?,
        view("cal_long", entities / 4, "bytes", 1, 400)?,
    ];
    for name in MANY {
        // Together they are as large as the others: their rows, too, come from memory.
        views.push(view(name, entities / MANY.len() as u64, "float32", 3, 0)?);
    }
    Ok(views)
}

/// What is measured: each tells the costs of some parts apart from the others. The last has two operations, because
/// what is written between reads costs other than what is written alone.
pub fn operations() -> Vec<(&'static str, Vec<Operation>)> {
    use Kind::{Read, Write};
    let write_of_ten = operation(Write, &["cal_long"], 1, false);
    let nine_reads = Operation { weight: 9.0, ..operation(Read, &["cal_long"], 1, false) };
    vec![
        ("1 key x 10 float32", vec![operation(Read, &["cal_narrow"], 1, true)]),
        (HUNDRED, vec![operation(Read, &["cal_narrow"], 100, true)]),
        ("1000 keys x 10 float32", vec![operation(Read, &["cal_narrow"], 1000, true)]),
        ("100 keys x 50 float32", vec![operation(Read, &["cal_wide"], 100, true)]),
        ("500 keys x 50 float32", vec![operation(Read, &["cal_wide"], 500, true)]),
        ("100 keys x 10 float32 in columns", vec![operation(Read, &["cal_narrow"], 100, false)]),
        ("100 keys x 50 float32 in columns", vec![operation(Read, &["cal_wide"], 100, false)]),
        ("12 views of 10 keys", vec![operation(Read, &MANY, 10, true)]),
        ("12 views of 10 keys in columns", vec![operation(Read, &MANY, 10, false)]),
        ("12 views of 1 key in columns", vec![operation(Read, &MANY, 1, false)]),
        ("20 keys x 10 texts", vec![operation(Read, &["cal_text"], 20, false)]),
        ("1 key x 400 bytes", vec![operation(Read, &["cal_long"], 1, false)]),
        ("20 keys x 400 bytes", vec![operation(Read, &["cal_long"], 20, false)]),
        ("1 row written", vec![operation(Write, &["cal_narrow"], 1, false)]),
        ("100 rows written", vec![operation(Write, &["cal_narrow"], 100, false)]),
        ("1 row of 400 bytes written", vec![operation(Write, &["cal_long"], 1, false)]),
        ("100 rows of 400 bytes written", vec![operation(Write, &["cal_long"], 100, false)]),
        ("1 row of 400 bytes written, 9 read", vec![write_of_ten, nine_reads]),
    ]
}
