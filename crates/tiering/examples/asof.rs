//! What the point-in-time join itself costs, apart from reading: rows of a spine a second, and versions passed.
//!
//! `cargo run --release -p thermae-tiering --example asof [-- ENTITIES]` joins spines of several densities with a
//! history that is computed, not stored: 10 versions of each entity, so that a move costs next to nothing.

use std::convert::Infallible;
use std::error::Error;
use std::io::Write;

use thermae_env::{Env, RealEnv};
use thermae_formats::version::Version;
use thermae_formats::{NO_TIME, SchemaId, ViewId};
use thermae_tiering::asof::{AsOfJoin, Asked, Found, Memory, Terms};
use thermae_tiering::merge::{Entry, PartedSource, SeekSource, Source};

const VERSIONS: u64 = 10;

/// Entity `n` has the hash `n * 1024` and versions at 10, 20, .. of which the newest comes first.
struct Computed {
    entities: u64,
    at: u64,
    key: [u8; 8],
    parts: u64,
}

impl Source for Computed {
    type Error = Infallible;

    fn peek(&self) -> Option<Entry<'_>> {
        let (entity, version) = (self.at / VERSIONS, VERSIONS - self.at % VERSIONS);
        (entity < self.entities).then_some((
            ViewId(1),
            entity * 1024,
            Version {
                schema_id: SchemaId(1),
                flags: 2,
                sequence: version,
                event_time: 10 * version as i64,
                created_time: NO_TIME,
                expire_at: NO_TIME,
                key: &self.key,
                value: &[],
            },
        ))
    }

    fn advance(&mut self) -> Result<(), Self::Error> {
        self.at += 1;
        self.key = (self.at / VERSIONS).to_be_bytes();
        Ok(())
    }
}

impl SeekSource for Computed {
    fn seek(&mut self, entity_hash: u64, _key: &[u8]) -> Result<(), Self::Error> {
        self.at = self.at.max(entity_hash.div_ceil(1024) * VERSIONS);
        self.key = (self.at / VERSIONS).to_be_bytes();
        Ok(())
    }
}

impl PartedSource for Computed {
    fn next_part(&mut self) -> Result<bool, Self::Error> {
        self.parts = self.parts.wrapping_sub(1);
        Ok(self.parts == 0)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let entities = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(2_000_000);
    let env = RealEnv::new();
    let mut out = std::io::stdout();
    writeln!(
        out,
        "one row of     spine rows   million rows/s   ns/row   ns/version of the history"
    )?;
    for every in [1, 2, 5, 10, 100, 1_000] {
        let mut source = Computed { entities, at: 0, key: [0; 8], parts: 1 };
        let mut asked = Asked::default();
        for entity in (0..entities).step_by(every) {
            asked.push(entity * 1024, &entity.to_be_bytes(), 55);
        }
        let terms = Terms { ttl_us: 0, as_of_known: false };
        let begin = env.monotonic_ns();
        let (rows, mut found) = (asked.len() as u64, 0_u64);
        AsOfJoin::new(&asked, 0..asked.len(), terms, Memory::default()).join(
            &mut source,
            |_, answer| {
                found +=
                    u64::from(matches!(answer, Found::Present(version) if version.sequence == 5));
                Ok::<_, Infallible>(())
            },
        )?;
        let ns = (env.monotonic_ns() - begin) as f64;
        if found != rows {
            return Err(format!("{found} of {rows} rows found their version").into());
        }
        let (rows, versions) = (rows as f64, (entities * VERSIONS) as f64);
        let (rate, per_row, per_version) = (rows * 1e3 / ns, ns / rows, ns / versions);
        writeln!(
            out,
            "{every:>5} entities {rows:>12} {rate:>16.1} {per_row:>8.0} {per_version:>12.2}"
        )?;
    }
    Ok(())
}
