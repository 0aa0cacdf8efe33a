//! Calls that only some rooms may make: disk, network, clock, sleeping, printing, panicking.

use super::{Violation, sources::Source};

/// One banned word and where it may stand.
pub struct Ban {
    /// What must not stand in code.
    pub word: &'static str,
    /// Path prefixes where it may.
    pub allowed: &'static [&'static str],
    /// Whether test code may hold it anywhere.
    pub tests_may: bool,
    /// What to do instead.
    pub instead: &'static str,
}

/// Rooms for people at a keyboard and for measuring, and the pauses of the client before it connects again and of
/// a load before it repeats rows: their callers wait there in any case.
const SLEEP: &[&str] = &[
    "crates/client/src/lane.rs",
    "crates/load/src/clock.rs",
    "crates/server/src/cli/",
    "crates/server/src/ingest/writer.rs",
    "crates/benches/",
    "crates/peers/",
    "crates/tests/",
    "xtask/",
];

/// The same rooms and the doors: env, the client (a door of its own), the clock, the traces and the machine's own
/// figures of a load, what the server reads and writes at its edge.
const DOORS: &[&str] = &[
    "crates/env/",
    "crates/client/",
    "crates/load/src/clock.rs",
    "crates/load/src/keys.rs",
    "crates/load/src/machine.rs",
    "crates/server/src/cli/",
    "crates/features/src/definitions/",
    "crates/server/src/serve/",
    "crates/server/src/http/",
    "crates/server/src/ingest/",
    "crates/server/src/export/",
    "crates/benches/",
    "crates/peers/",
    "crates/tests/",
    "xtask/",
    "fuzz/",
];
const NETWORK: &[&str] = &[
    "crates/env/",
    "crates/client/",
    "crates/load/src/null.rs",
    "crates/server/",
    "crates/benches/",
    "xtask/src/objects/",
];
const PRINT: &[&str] = &[
    "crates/server/src/cli/",
    "crates/server/src/main.rs",
    "crates/benches/",
    "crates/peers/",
    "xtask/",
    "fuzz/fuzz_targets/",
    "crates/env/examples/",
];
/// The registry's database: it has the disk through `Env`, by a door of its own, and nobody else has it.
const DATABASE: &[&str] =
    &["crates/features/src/registry/database.rs", "crates/features/src/registry/door.rs"];
const PANIC: &[&str] = &["crates/tests/", "fuzz/"];

const fn ban(word: &'static str, allowed: &'static [&'static str], instead: &'static str) -> Ban {
    Ban { word, allowed, tests_may: true, instead }
}

/// Every ban of the house.
pub const BANS: &[Ban] = &[
    ban("std::fs", DOORS, "reach files through Env"),
    ban("fs::read", DOORS, "reach files through Env"),
    ban("fs::write", DOORS, "reach files through Env"),
    ban("fs::File", DOORS, "reach files through Env"),
    ban("File::open(", DOORS, "reach files through Env"),
    ban("File::create(", DOORS, "reach files through Env"),
    ban("OpenOptions::new(", DOORS, "reach files through Env"),
    Ban {
        word: "redb::",
        allowed: DATABASE,
        tests_may: false,
        instead: "reach the registry through registry::Registry",
    },
    ban("TcpListener::bind(", NETWORK, "listen through Env's ring"),
    ban("TcpStream::connect(", NETWORK, "connect through the client"),
    ban("UnixListener::bind(", NETWORK, "listen through Env's ring"),
    ban("UnixStream::connect(", NETWORK, "connect through the client"),
    ban("Instant::now(", DOORS, "use Env::monotonic_ns"),
    ban("SystemTime::now(", DOORS, "use Env::now_us"),
    ban("thread::sleep(", SLEEP, "wait on the ring, a condition or a channel"),
    ban("println!", PRINT, "return it; only the command line prints"),
    ban("print!", PRINT, "return it; only the command line prints"),
    ban("eprintln!", PRINT, "return it; only the command line prints"),
    ban("eprint!", PRINT, "return it; only the command line prints"),
    Ban { word: "dbg!", allowed: &[], tests_may: false, instead: "remove it" },
    Ban { word: "todo!", allowed: &[], tests_may: false, instead: "do it" },
    Ban { word: "unimplemented!", allowed: &[], tests_may: false, instead: "implement it" },
    Ban {
        word: "#[ignore",
        allowed: &[],
        tests_may: false,
        instead: "a test runs, or is not there",
    },
    ban(".unwrap()", PANIC, "return a typed error"),
    ban(".expect(", PANIC, "return a typed error"),
    ban(".unwrap_err()", PANIC, "return a typed error"),
    ban("panic!", PANIC, "return a typed error"),
];

/// Every banned word of `source` that stands where it may not.
pub fn check(source: &Source, bans: &[Ban]) -> Vec<Violation> {
    let mut found = Vec::new();
    for ban in bans {
        if ban.allowed.iter().any(|prefix| source.path.starts_with(prefix)) {
            continue;
        }
        for at in source.find(ban.word) {
            let foreign = source.code[..at].ends_with("rustix::");
            if foreign || (ban.tests_may && source.in_test(at)) {
                continue;
            }
            let what = format!("`{}` is banned here: {}", ban.word, ban.instead);
            found.push(Violation::new(&source.path, source.line(at), what));
        }
    }
    found
}
