//! A file to load: what it is, what its bytes hash to, and how to read it.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use super::cell::{Batch, Column, Reader};
use super::csv::{CsvOptions, CsvReader};
use super::error::IngestError;
use super::ndjson::NdjsonReader;
use super::parquet::ParquetReader;

/// Read this much at a time.
const BUFFER_BYTES: usize = 1 << 18;

/// The file formats that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serve", derive(clap::ValueEnum))]
pub enum Format {
    /// Apache Parquet.
    Parquet,
    /// Comma-separated values with a header line.
    Csv,
    /// One JSON object a line.
    Ndjson,
}

/// A file that exists, is not empty, and whose format is known.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where it is.
    pub path: PathBuf,
    /// Its format.
    pub format: Format,
    /// Its length in bytes.
    pub length_bytes: u64,
    /// How CSV is written.
    pub csv: CsvOptions,
}

impl Source {
    /// Looks at the file. The format is the one given, or else told by its first bytes and its name.
    ///
    /// # Errors
    /// [`IngestError`] if it cannot be read, is empty or of no known format.
    pub fn new(path: &Path, format: Option<Format>, csv: CsvOptions) -> Result<Self, IngestError> {
        let io = |source| IngestError::Io { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
        if metadata.is_dir() {
            return Err(io(std::io::Error::other("it is a directory; name one file")));
        }
        if metadata.is_file() && metadata.len() == 0 {
            return Err(IngestError::Empty { path: path.to_owned() });
        }
        let mut magic = [0_u8; 4];
        let is_parquet =
            metadata.is_file() && file.read_exact(&mut magic).is_ok() && &magic == b"PAR1";
        let format = match format.or_else(|| is_parquet.then_some(Format::Parquet)) {
            Some(format) => format,
            None => Format::of_name(path)
                .ok_or_else(|| IngestError::UnknownFormat { path: path.to_owned() })?,
        };
        Ok(Self { path: path.to_owned(), format, length_bytes: metadata.len(), csv })
    }

    /// XXH3-64 of the file's bytes; `progress` is told the bytes read so far.
    ///
    /// # Errors
    /// [`IngestError::Io`].
    pub fn digest(&self, mut progress: impl FnMut(u64)) -> Result<u64, IngestError> {
        let io = |source| IngestError::Io { path: self.path.clone(), source };
        let mut file = File::open(&self.path).map_err(io)?;
        let mut hasher = Xxh3::new();
        let mut buffer = vec![0_u8; BUFFER_BYTES];
        let mut done = 0;
        loop {
            let read = match file.read(&mut buffer) {
                Ok(0) => return Ok(hasher.digest()),
                Ok(read) => read,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(io(e)),
            };
            hasher.update(&buffer[..read]);
            done += read as u64;
            progress(done);
        }
    }

    /// Opens the file for reading rows.
    ///
    /// # Errors
    /// [`IngestError`] if it cannot be opened or is not of its format.
    pub fn open(&self) -> Result<FileReader, IngestError> {
        let io = |source| IngestError::Io { path: self.path.clone(), source };
        let file = File::open(&self.path).map_err(io)?;
        let buffered = |file| BufReader::with_capacity(BUFFER_BYTES, file);
        Ok(match self.format {
            Format::Parquet => FileReader::Parquet(Box::new(ParquetReader::new(&self.path, file)?)),
            Format::Csv => {
                FileReader::Csv(Box::new(CsvReader::new(&self.path, buffered(file), &self.csv)?))
            }
            Format::Ndjson => FileReader::Ndjson(NdjsonReader::new(&self.path, buffered(file))?),
        })
    }
}

impl Format {
    /// The format that the name of a file tells.
    pub fn of_name(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "parquet" | "pq" => Some(Self::Parquet),
            "csv" => Some(Self::Csv),
            "ndjson" | "jsonl" | "json" => Some(Self::Ndjson),
            _ => None,
        }
    }
}

/// An open file of any format.
pub enum FileReader {
    /// Parquet.
    Parquet(Box<ParquetReader>),
    /// CSV.
    Csv(Box<CsvReader<BufReader<File>>>),
    /// NDJSON.
    Ndjson(NdjsonReader<BufReader<File>>),
}

impl FileReader {
    /// Only these columns will be asked for; saves decoding the others where the format can.
    pub fn select(&mut self, columns: &[usize]) {
        if let Self::Parquet(reader) = self {
            reader.select(columns);
        }
    }
}

impl Reader for FileReader {
    fn columns(&self) -> &[Column] {
        match self {
            Self::Parquet(reader) => reader.columns(),
            Self::Csv(reader) => reader.columns(),
            Self::Ndjson(reader) => reader.columns(),
        }
    }

    fn next_batch(&mut self) -> Result<Option<Box<dyn Batch + '_>>, IngestError> {
        match self {
            Self::Parquet(reader) => reader.next_batch(),
            Self::Csv(reader) => reader.next_batch(),
            Self::Ndjson(reader) => reader.next_batch(),
        }
    }

    fn rows_total(&self) -> Option<u64> {
        match self {
            Self::Parquet(reader) => reader.rows_total(),
            Self::Csv(reader) => reader.rows_total(),
            Self::Ndjson(reader) => reader.rows_total(),
        }
    }
}
