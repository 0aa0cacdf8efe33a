//! The process of one engine: does what it is told on stdin, answers on stdout, a line of JSON each.

use crate::engines::{Engine, Kind};
use crate::process::{Usage, peak_resident_bytes};
use crate::protocol::{Command, Keys, Loaded, Reply};
use crate::reading::Reading;
use crate::rows::Rows;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use thermae_benches::policy::trace::Zipf;
use thermae_benches::warm::EXPONENT;

/// Which engine, and where.
#[derive(clap::Args)]
pub struct Options {
    #[arg(long)]
    engine: Kind,
    #[arg(long)]
    folder: PathBuf,
    #[arg(long)]
    memory_bytes: u64,
}

/// An engine at work.
struct Server {
    engine: Box<dyn Engine>,
    rows: Rows,
    count: u64,
    zipf: Option<Zipf>,
}

/// Serves until it is told to close, or stdin ends.
///
/// # Errors
/// The store cannot be opened, or a line is not a command. What fails later is a reply.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let engine = options.engine.open(&options.folder, options.memory_bytes)?;
    say(&Reply::Ready { version: engine.version() })?;
    let mut server = Server { engine, rows: Rows::new()?, count: 0, zipf: None };
    for line in std::io::stdin().lock().lines() {
        let command = serde_json::from_str(&line?)?;
        if let Command::Close = command {
            server.engine.close()?;
            return say(&Reply::Closed);
        }
        say(&server.answer(&command).unwrap_or_else(|error| Reply::Failed(format!("{error:#}"))))?;
    }
    Ok(())
}

fn say(reply: &Reply) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(reply)?)?;
    Ok(out.flush()?)
}

impl Server {
    fn answer(&mut self, command: &Command) -> anyhow::Result<Reply> {
        Ok(match command {
            Command::Load { rows } => Reply::Loaded(self.load(*rows)?),
            Command::Verify { step } => Reply::Verified(self.reading().verify(*step)?),
            Command::Read(order) => {
                if order.keys == Keys::Zipf && self.zipf.is_none() {
                    self.zipf = Some(Zipf::new(u32::try_from(self.count)?, EXPONENT));
                }
                Reply::Read(self.reading().round(order)?)
            }
            Command::Memory => Reply::Memory(peak_resident_bytes()?),
            Command::Close => Reply::Closed,
        })
    }

    fn load(&mut self, count: u64) -> anyhow::Result<Loaded> {
        let before = Usage::now()?;
        let loaded = self.engine.load(&self.rows, count)?;
        self.count = count;
        Ok(Loaded { cpu_s: Usage::now()?.cpu_s - before.cpu_s, ..loaded })
    }

    fn reading(&self) -> Reading<'_> {
        let Self { engine, rows, count, zipf } = self;
        Reading { engine: &**engine, rows, count: *count, zipf: zipf.as_ref() }
    }
}
