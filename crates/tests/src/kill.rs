//! kill -9 on the real binary, with acknowledgements recorded outside of it: after each kill the
//! server is started again and what it holds is compared with the [ledger](crate::ledger).

use std::path::Path;

use thermae_client::{Ack, Client};

use crate::ledger::{Counts, Ledger};
use crate::model::Rng;
use crate::numbered::{Writer, define, judge};
use crate::server_process::Server;

/// Kills `binary` over `dir` again and again; `tell` hears of each cycle that held. Returns what was
/// sent and found.
///
/// # Errors
/// A broken promise with its cycle, or why the server could not be run.
pub fn kill_cycles(
    binary: &Path,
    dir: &Path,
    cycles: u64,
    mut tell: impl FnMut(u64),
) -> Result<Counts, String> {
    let mut rng = Rng::new(cycles);
    let mut ledger = Ledger::default();
    let mut cores = 1;
    for cycle in 0..=cycles {
        let written_under = std::mem::replace(&mut cores, 1 + cycle as usize % 2);
        let mut server = Server::start(binary, dir, cores)?;
        let client = server.connect()?;
        if cycle == 0 {
            define(&client)?;
        } else {
            judge(&client, &mut ledger, written_under, None)
                .map_err(|e| format!("cycle {cycle}: {e}"))?;
            tell(cycle);
        }
        if cycle < cycles {
            write_until_killed(&client, &mut server, &mut rng, &mut ledger)?;
        }
    }
    Ok(*ledger.counts())
}

fn write_until_killed(
    client: &Client,
    server: &mut Server,
    rng: &mut Rng,
    ledger: &mut Ledger,
) -> Result<(), String> {
    let mut writer = Writer::new(client)?;
    for _ in 0..1 + rng.below(60) {
        writer.send(rng, ledger, Ack::Durable)?;
    }
    server.kill()?;
    writer.drain(ledger);
    Ok(())
}
