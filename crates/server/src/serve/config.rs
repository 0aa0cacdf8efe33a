//! The configuration file: strict TOML, one key per flag, plus the few limits that may be set.
//!
//! ```toml
//! data = "/var/lib/thermae"
//! backup_dir = "/backups"
//! listen = "127.0.0.1:7400"
//! unix = "/run/thermae.sock"
//! http = "127.0.0.1:6566"
//! grpc = "127.0.0.1:6567"
//! source_dir = "/data/sources"
//! archive = "/mnt/archive"
//! archive_lag_s = 60
//! archive_grace_s = 86400
//! cores = 4
//! memory = "8GiB"
//!
//! [object_store]
//! aws_endpoint = "http://127.0.0.1:8333"
//!
//! [limits]
//! connections = 20000
//! buffer_memory = "1GiB"
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::limits::{LimitError, Limits};
use super::options::{Flags, ServeOptions};
use super::size::{Size, SizeError};

/// Larger files are not configuration, whatever they are.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// The file, as written. Unknown keys are errors: a misspelt one must not be ignored silently.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    data: Option<PathBuf>,
    backup_dir: Option<PathBuf>,
    listen: Option<String>,
    unix: Option<PathBuf>,
    http: Option<String>,
    grpc: Option<String>,
    source_dir: Option<PathBuf>,
    archive: Option<PathBuf>,
    archive_lag_s: Option<u32>,
    archive_grace_s: Option<u32>,
    cores: Option<usize>,
    memory: Option<String>,
    spin_us: Option<u64>,
    pin: Option<bool>,
    insecure_development: Option<bool>,
    /// Names are checked where a store is opened; values may be keys, and are not shown.
    #[serde(default)]
    object_store: BTreeMap<String, String>,
    #[serde(default)]
    limits: FileLimits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileLimits {
    connections: Option<u32>,
    frame: Option<String>,
    in_flight: Option<u32>,
    buffer_memory: Option<String>,
}

/// Why the options cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is not the TOML that is expected.
    #[error("the configuration file {} is wrong: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its place.
        reason: String,
    },
    /// A size in the file cannot be read.
    #[error("the configuration file's {key}: {source}")]
    Size {
        /// The key that holds it.
        key: &'static str,
        /// What is wrong.
        source: SizeError,
    },
    /// A limit is out of range.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// There is too little memory to serve anything.
    #[error(
        "--memory {given} is too little for {cores} shards: give at least {needed}, or fewer --cores"
    )]
    Memory {
        /// What was given.
        given: Size,
        /// What is needed with these limits.
        needed: Size,
        /// How many shards share it.
        cores: usize,
    },
    /// Nothing would be listened on.
    #[error("nothing to listen on: give --listen ADDR or --unix PATH")]
    NoListener,
}

impl ServeOptions {
    /// Merges flags over their configuration file over the defaults, and checks the whole.
    ///
    /// # Errors
    /// A [`ConfigError`] naming the file, key or value that is wrong.
    pub fn from_flags(flags: &Flags) -> Result<Self, ConfigError> {
        let file = match &flags.config {
            Some(path) => read(path)?,
            None => File::default(),
        };
        let mut options = Self::default();
        apply_file(&mut options, file)?;
        apply_flags(&mut options, flags);
        options.check()?;
        Ok(options)
    }

    /// Checks what does not depend on the machine's network.
    ///
    /// # Errors
    /// A [`ConfigError`] naming the value that is wrong.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.limits.check()?;
        let cores = self.cores.max(1);
        let needed = Size { bytes: self.limits.least_memory_bytes(cores) };
        if self.memory_bytes < needed.bytes {
            let given = Size { bytes: self.memory_bytes };
            return Err(ConfigError::Memory { given, needed, cores });
        }
        if self.listen.is_none() && self.unix.is_none() {
            return Err(ConfigError::NoListener);
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<File, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let malformed = |reason: String| ConfigError::Malformed { path: path.to_owned(), reason };
    if std::fs::metadata(path).map_err(unreadable)?.len() > MAX_CONFIG_BYTES {
        return Err(malformed("it is larger than 1 MiB".to_owned()));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    toml::from_str(&text).map_err(|error: toml::de::Error| {
        // The whole error shows the line, which may hold a key.
        let at = error.span().map_or(0, |span| span.start).min(text.len());
        let line = 1 + text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count();
        malformed(format!("line {line}: {}", error.message()))
    })
}

fn apply_file(options: &mut ServeOptions, file: File) -> Result<(), ConfigError> {
    let size = |key, text: Option<String>| {
        text.map(|text| text.parse::<Size>().map_err(|source| ConfigError::Size { key, source }))
            .transpose()
    };
    if let Some(size) = size("memory", file.memory)? {
        options.memory_bytes = size.bytes;
    }
    set(&mut options.data, file.data);
    set(&mut options.cores, file.cores);
    set(&mut options.spin_us, file.spin_us);
    set(&mut options.pin, file.pin);
    set(&mut options.insecure_development, file.insecure_development);
    if let Some(listen) = file.listen {
        options.listen = address(listen);
    }
    options.unix = file.unix.or(options.unix.take());
    options.backup_dir = file.backup_dir.or(options.backup_dir.take());
    if let Some(http) = file.http {
        options.http = address(http);
    }
    if let Some(grpc) = file.grpc {
        options.grpc = address(grpc);
    }
    options.source_dir = file.source_dir.or(options.source_dir.take());
    options.archive = file.archive.or(options.archive.take());
    set(&mut options.archive_lag_us, file.archive_lag_s.map(|lag_s| i64::from(lag_s) * 1_000_000));
    let grace_us = file.archive_grace_s.map(|grace_s| i64::from(grace_s) * 1_000_000);
    set(&mut options.archive_grace_us, grace_us);
    options.object_store.values.extend(file.object_store);
    let limits: &mut Limits = &mut options.limits;
    set(&mut limits.connections, file.limits.connections);
    set(&mut limits.in_flight, file.limits.in_flight);
    if let Some(frame) = size("limits.frame", file.limits.frame)? {
        limits.frame_bytes = u32::try_from(frame.bytes).unwrap_or(u32::MAX);
    }
    if let Some(buffers) = size("limits.buffer_memory", file.limits.buffer_memory)? {
        limits.buffer_bytes = buffers.bytes;
    }
    Ok(())
}

fn apply_flags(options: &mut ServeOptions, flags: &Flags) {
    set(&mut options.data, flags.data.clone());
    set(&mut options.cores, flags.cores);
    set(&mut options.memory_bytes, flags.memory.map(|size| size.bytes));
    if let Some(listen) = flags.listen.clone() {
        options.listen = address(listen);
    }
    if flags.backup_dir.is_some() {
        options.backup_dir.clone_from(&flags.backup_dir);
    }
    if flags.unix.is_some() {
        options.unix.clone_from(&flags.unix);
    }
    if let Some(http) = flags.http.clone() {
        options.http = address(http);
    }
    if let Some(grpc) = flags.grpc.clone() {
        options.grpc = address(grpc);
    }
    if flags.source_dir.is_some() {
        options.source_dir.clone_from(&flags.source_dir);
    }
    if flags.archive.is_some() {
        options.archive.clone_from(&flags.archive);
    }
    options.insecure_development |= flags.insecure_development;
}

/// `none` means: do not listen.
fn address(text: String) -> Option<String> {
    (text != "none").then_some(text)
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn from_text(text: &str) -> Result<ServeOptions, ConfigError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("thermae.toml");
        std::fs::write(&path, text).unwrap();
        ServeOptions::from_flags(&Flags { config: Some(path), ..Flags::default() })
    }

    #[test]
    fn nothing_given_is_the_defaults() {
        assert_eq!(ServeOptions::from_flags(&Flags::default()).unwrap(), ServeOptions::default());
    }

    #[test]
    fn the_file_sets_and_flags_win() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("thermae.toml");
        std::fs::write(
            &path,
            "memory = '2GiB'\ncores = 3\nlisten = 'none'\nunix = '/tmp/a'\narchive = 's3://b/x'\narchive_lag_s = 5\n[object_store]\naws_secret_access_key = 'SECRET'\n[limits]\nconnections = 7",
        )
        .unwrap();
        let flags = Flags { config: Some(path), cores: Some(2), ..Flags::default() };
        let options = ServeOptions::from_flags(&flags).unwrap();
        assert_eq!((options.cores, options.memory_bytes), (2, 2 << 30));
        assert!(!format!("{options:?}").contains("SECRET"), "a key is shown");
        assert_eq!((options.listen, options.limits.connections), (None, 7));
        let key = options.object_store.values.get("aws_secret_access_key");
        assert_eq!(key.map(String::as_str), Some("SECRET"));
        assert_eq!((options.archive, options.archive_lag_us), (Some("s3://b/x".into()), 5_000_000));
    }

    #[test]
    fn a_misspelt_key_is_an_error_with_its_line() {
        let error = from_text("data = 'x'\nmemroy = '2GiB'\n").unwrap_err().to_string();
        assert!(error.contains("memroy") && error.contains("line 2"), "{error}");
    }

    #[test]
    fn a_line_that_may_hold_a_key_is_not_shown() {
        let error = from_text("[object_store]\naws_secret_access_key = SECRET\n").unwrap_err();
        let error = error.to_string();
        assert!(error.contains("line 2") && !error.contains("SECRET"), "{error}");
    }

    #[test]
    fn values_out_of_range_are_named() {
        for (text, word) in [
            ("memory = '1MiB'", "--memory 1MiB"),
            ("memory = 'much'", "memory"),
            ("listen = 'none'", "--unix"),
            ("[limits]\nframe = '1KiB'", "limits.frame_bytes"),
        ] {
            let error = from_text(text).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let flags = Flags { config: Some("/nowhere/t.toml".into()), ..Flags::default() };
        let error = ServeOptions::from_flags(&flags).unwrap_err().to_string();
        assert!(error.contains("/nowhere/t.toml"), "{error}");
    }
}
