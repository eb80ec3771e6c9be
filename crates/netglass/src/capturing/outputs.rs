//! Where conversations are logged.

mod bigquery;
mod database;
mod drain;
mod remote;

use std::{
    io::{self, IsTerminal as _},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use clap::{Args, ValueEnum};
use netglass_store::flow_log::{
    BatchLimits, FlowLog, FlowOutput, StreamSink, TextFormat, WhenFull, open_file,
};
#[cfg(feature = "parquet")]
use netglass_store::flow_log::{ParquetLimits, ParquetSink};

pub(super) use self::drain::finish;
use self::{
    bigquery::BigQueryArguments,
    database::DatabaseLogArguments,
    remote::{Remote, RemoteArguments},
};
use crate::{
    bytes::parse_bytes,
    database::{DatabaseArguments, is_foreign},
    time::parse_duration,
    usage::UsageError,
};

/// Where conversations are logged, and how.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArguments {
    #[arg(short, long = "output", env = "NETGLASS_OUTPUT", value_name = "OUTPUT")]
    #[arg(value_delimiter = ',', default_value = "stdout")]
    #[arg(help = "\
        Where conversations are logged: stdout, file:PATH (appended to), parquet:DIRECTORY, \
        db, which is that of --db, or bigquery; several may be named, and one that fails does not stop the others")]
    outputs: Vec<Output>,

    /// Format of standard output, which is a table on a terminal and json elsewhere by default, and of
    /// files whose name ends in neither .csv nor .json nor .jsonl
    #[arg(long, env = "NETGLASS_CAPTURE_FORMAT", value_name = "FORMAT")]
    format: Option<FlowFormat>,

    /// How many conversations are logged together at most
    #[arg(long, env = "NETGLASS_BATCH_SIZE", value_name = "N", default_value = "1024")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    batch_size: u32,

    /// How long one waits for others
    #[arg(long, env = "NETGLASS_BATCH_INTERVAL", value_name = "DURATION", default_value = "1s")]
    #[arg(value_parser = parse_duration)]
    batch_interval: Duration,

    /// How many conversations wait for an output that fails; then the oldest are lost
    #[arg(long, env = "NETGLASS_QUEUE_LIMIT", value_name = "N", default_value = "1000000")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    queue_limit: u64,

    /// How large a Parquet file becomes before the next one begins
    #[arg(long, env = "NETGLASS_PARQUET_SIZE", value_name = "SIZE", default_value = "128MiB")]
    #[arg(value_parser = parse_bytes)]
    parquet_size: u64,

    /// How old a Parquet file becomes before the next one begins
    #[arg(long, env = "NETGLASS_PARQUET_INTERVAL", value_name = "DURATION", default_value = "5m")]
    #[arg(value_parser = parse_duration)]
    parquet_interval: Duration,

    #[command(flatten)]
    database: DatabaseLogArguments,

    #[command(flatten)]
    bigquery: BigQueryArguments,

    #[command(flatten)]
    remote: RemoteArguments,
}

/// Outputs that are open; no thread is started for them yet.
pub(super) struct Prepared {
    limits: BatchLimits,
    queue_limit: u64,
    outputs: Vec<PreparedOutput>,
    /// Whether it may take more than this user's own rights to write what comes later.
    pub(super) needs_foreign_files: bool,
    /// What the user should know.
    pub(super) notes: Vec<String>,
}

enum PreparedOutput {
    Direct(FlowOutput),
    Remote(Box<Remote>),
}

/// A format of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FlowFormat {
    /// One JSON object a line (docs/flow-schema.md)
    Json,
    /// Aligned columns, to be read by people
    Table,
    /// Comma-separated values (RFC 4180) with a header
    Csv,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Output {
    Stdout,
    File(PathBuf),
    Parquet(PathBuf),
    Database,
    BigQuery,
}

impl FromStr for Output {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "stdout" => Ok(Self::Stdout),
            None if text == "db" => Ok(Self::Database),
            None if text == "bigquery" => Ok(Self::BigQuery),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("parquet", path)) if !path.is_empty() => Ok(Self::Parquet(path.into())),
            _ => Err("give stdout, file:PATH, parquet:DIRECTORY, db or bigquery".to_owned()),
        }
    }
}

impl OutputArguments {
    /// Opens all of them, as far as it takes privileges or may fail.
    pub(super) fn open(&self, database: &DatabaseArguments) -> anyhow::Result<Prepared> {
        let mut prepared = Prepared {
            limits: BatchLimits {
                records: usize::try_from(self.batch_size).unwrap_or(usize::MAX),
                age: self.batch_interval,
            },
            queue_limit: self.queue_limit,
            outputs: Vec::with_capacity(self.outputs.len()),
            needs_foreign_files: false,
            notes: Vec::new(),
        };
        for (index, output) in self.outputs.iter().enumerate() {
            if self.outputs.iter().take(index).any(|earlier| earlier == output) {
                return Err(UsageError(format!("--output names {} twice", output.name())).into());
            }
            let mut opened = self.open_one(output, database)?;
            // Parquet files are made one after the other, and so are those beside a database.
            prepared.needs_foreign_files |= matches!(output, Output::Parquet(_) | Output::Database);
            // A file that is moved is begun anew.
            prepared.needs_foreign_files |=
                matches!(output, Output::File(path) if path.is_file() && is_foreign(path));
            if let PreparedOutput::Remote(remote) = &mut opened {
                prepared.needs_foreign_files |= remote.needs_foreign_files();
                prepared.notes.extend(remote.prepare()?);
            }
            prepared.outputs.push(opened);
        }
        Ok(prepared)
    }

    /// Whether standard output is one of them.
    pub(super) fn take_standard_output(&self) -> bool {
        self.outputs.contains(&Output::Stdout)
    }

    /// How long the end waits for an output that takes nothing.
    pub(super) fn drain_timeout(&self) -> Duration {
        self.remote.drain_timeout
    }

    fn open_one(
        &self,
        output: &Output,
        database: &DatabaseArguments,
    ) -> anyhow::Result<PreparedOutput> {
        let sink = match output {
            Output::Stdout => {
                let stdout = io::stdout();
                let format = text_format(self.format, stdout.is_terminal());
                Box::new(StreamSink::new(stdout, output.name(), format))
            }
            Output::File(path) => {
                let by_name = match path.extension().and_then(|extension| extension.to_str()) {
                    Some("csv") => Some(FlowFormat::Csv),
                    Some("json" | "jsonl") => Some(FlowFormat::Json),
                    _ => self.format,
                };
                open_file(path, text_format(by_name, false))?
            }
            #[cfg(feature = "parquet")]
            Output::Parquet(directory) => {
                let limits = ParquetLimits { bytes: self.parquet_size, age: self.parquet_interval };
                Box::new(ParquetSink::open(directory, limits)?)
            }
            #[cfg(not(feature = "parquet"))]
            Output::Parquet(_) => {
                return Err(UsageError(
                    "this program was built without Parquet: build it with --features parquet"
                        .to_owned(),
                )
                .into());
            }
            Output::Database => {
                return self.database.open(database, &self.remote, self.queue_limit);
            }
            Output::BigQuery => {
                let remote = self.bigquery.open(&self.remote)?;
                return Ok(PreparedOutput::Remote(Box::new(remote)));
            }
        };
        let output = FlowOutput::direct(sink, output.name(), self.queue_limit);
        Ok(PreparedOutput::Direct(output))
    }
}

impl Prepared {
    /// Starts those that need a thread, with the privileges that there are. `when_full` says whether
    /// whoever brings conversations can wait.
    pub(super) fn start(self, when_full: WhenFull) -> anyhow::Result<FlowLog> {
        let start = |output| match output {
            PreparedOutput::Direct(output) => Ok(output),
            PreparedOutput::Remote(remote) => remote.start(self.queue_limit, when_full),
        };
        let outputs: anyhow::Result<_> = self.outputs.into_iter().map(start).collect();
        Ok(FlowLog::new(self.limits, outputs?))
    }
}

impl Output {
    /// How messages name it.
    fn name(&self) -> String {
        match self {
            Self::Stdout => "standard output".to_owned(),
            Self::File(path) | Self::Parquet(path) => path.display().to_string(),
            Self::Database => "the database".to_owned(),
            Self::BigQuery => "bigquery".to_owned(),
        }
    }
}

fn text_format(format: Option<FlowFormat>, is_terminal: bool) -> TextFormat {
    match format {
        Some(FlowFormat::Csv) if is_terminal => TextFormat::CsvForTerminal,
        Some(FlowFormat::Csv) => TextFormat::Csv,
        Some(FlowFormat::Table) => TextFormat::Table,
        None if is_terminal => TextFormat::Table,
        Some(FlowFormat::Json) | None => TextFormat::Json,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_is_named_by_its_kind_and_where_it_is() {
        assert_eq!("stdout".parse(), Ok(Output::Stdout));
        assert_eq!("file:a:b".parse(), Ok(Output::File("a:b".into())));
        assert_eq!("parquet:/srv/flows".parse(), Ok(Output::Parquet("/srv/flows".into())));
        assert_eq!("db".parse(), Ok(Output::Database));
        assert_eq!("bigquery".parse(), Ok(Output::BigQuery));
        for text in ["", "file", "file:", "flows.json", "stdout:x", "kafka:topic"] {
            assert!(text.parse::<Output>().unwrap_err().contains("file:PATH"), "{text}");
        }
    }
}
