//! `thermae serve`: a server until a signal comes.

use std::path::Path;

use serde_json::{Value as Json, json};

use super::args::{Global, ServeArgs};
use super::exit::{Done, Failure};
use crate::serve::{self, Flags, Running, ServeError, ServeOptions};

/// Runs the command.
pub fn run(args: &ServeArgs, global: &Global) -> Result<Done, Failure> {
    let flags = Flags {
        data: args.data.clone(),
        backup_dir: args.backup_dir.clone(),
        listen: args.listen.clone(),
        unix: args.unix.clone(),
        http: args.http.clone(),
        grpc: args.grpc.clone(),
        source_dir: args.source_dir.clone(),
        archive: args.archive.clone(),
        cores: args.cores,
        memory: args.memory,
        insecure_development: args.insecure_development,
        config: args.config.clone(),
    };
    let options = ServeOptions::from_flags(&flags).map_err(|e| Failure::Usage(e.to_string()))?;
    let data = options.data.clone();
    let as_json = global.json;
    let stopped = serve::run(options, |running| {
        if as_json {
            println!("{}", ready_json(running, &data));
        } else {
            print!("{}", banner(running, &data));
        }
    });
    stopped.map_err(failed)?;
    if !as_json {
        println!("stopped; all that was acknowledged is on disk");
    }
    Ok(Done::All)
}

/// A server's error, with its exit code.
pub fn failed(error: ServeError) -> Failure {
    let code = error.exit_code();
    let Failure::Failed(text) = Failure::of(error) else { return Failure::Failed(String::new()) };
    Failure::Serve { text, code }
}

/// Where the server listens and what it found on disk.
pub fn banner(running: &Running, data: &Path) -> String {
    let mut lines = vec![format!("thermae {} is ready", env!("CARGO_PKG_VERSION"))];
    lines.push(format!("  data    {}", data.display()));
    lines.extend(running.tcp_addr().map(|address| format!("  tcp     {address}")));
    lines.extend(running.unix_path().map(|path| format!("  unix    {}", path.display())));
    lines.extend(running.http_addr().map(|address| format!("  http    http://{address}")));
    lines.extend(running.grpc_addr().map(|address| format!("  grpc    {address}")));
    let report = running.recovery();
    if !report.created {
        lines.push(format!("  replay  {} records from {} batches", report.records, report.batches));
    }
    for cut in report.cuts.iter().filter(|cut| !cut.is_clean_stop) {
        let file = cut.file.display();
        lines.push(format!("  note    {file} was cut at offset {}: {}", cut.offset, cut.why));
    }
    for damage in &report.damages {
        let file = damage.file.display();
        lines.push(format!("  DAMAGE  {file}, offset {}: {}", damage.offset, damage.what));
    }
    lines.join("\n") + "\n"
}

fn ready_json(running: &Running, data: &Path) -> Json {
    json!({
        "ready": true,
        "data": data.display().to_string(),
        "tcp": running.tcp_addr().map(|address| address.to_string()),
        "unix": running.unix_path().map(|path| path.display().to_string()),
        "http": running.http_addr().map(|address| address.to_string()),
        "grpc": running.grpc_addr().map(|address| address.to_string()),
        "records_replayed": running.recovery().records,
    })
}
