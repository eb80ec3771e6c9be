//! Where conversations are logged.

use std::{
    io::{self, IsTerminal as _},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
#[cfg(feature = "parquet")]
use netglass_store::flow_log::{ParquetLimits, ParquetSink};
use netglass_store::{
    Access, DatabaseUrl, Settings,
    flow_log::{
        BatchLimits, DatabaseSink, FlowLog, FlowOutput, StreamSink, TextFormat, WhenFull, open_file,
    },
};

use crate::{
    bytes::parse_bytes, database::DatabaseArguments, host::this_host_id, time::parse_duration,
    usage::UsageError,
};

/// Where conversations are logged, and how.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArguments {
    /// Where conversations are logged: stdout, file:PATH (appended to), parquet:DIRECTORY or db (the
    /// database of --db); several may be named, and one that fails does not stop the others
    #[arg(short, long = "output", env = "NETGLASS_OUTPUT", value_name = "OUTPUT")]
    #[arg(value_delimiter = ',', default_value = "stdout")]
    outputs: Vec<Output>,

    /// Format of standard output, which is a table on a terminal and json elsewhere by default, and of
    /// files whose name ends in neither .csv nor .json nor .jsonl
    #[arg(long, env = "NETGLASS_FORMAT", value_name = "FORMAT")]
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

    /// How long conversations are kept in the database
    #[arg(long, env = "NETGLASS_RETENTION", value_name = "DURATION", default_value = "30d")]
    #[arg(value_parser = parse_duration)]
    retention: Duration,
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
    Db,
}

impl FromStr for Output {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "stdout" => Ok(Self::Stdout),
            None if text == "db" => Ok(Self::Db),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("parquet", path)) if !path.is_empty() => Ok(Self::Parquet(path.into())),
            _ => Err("give stdout, file:PATH, parquet:DIRECTORY or db".to_owned()),
        }
    }
}

impl OutputArguments {
    /// Opens all of them.
    pub(super) fn open(&self, database: &DatabaseArguments) -> anyhow::Result<FlowLog> {
        let mut outputs = Vec::with_capacity(self.outputs.len());
        for (index, output) in self.outputs.iter().enumerate() {
            if self.outputs.iter().take(index).any(|earlier| earlier == output) {
                return Err(UsageError(format!("--output names {} twice", output.name())).into());
            }
            outputs.push(self.open_one(output, database)?);
        }
        let records = usize::try_from(self.batch_size).unwrap_or(usize::MAX);
        Ok(FlowLog::new(BatchLimits { records, age: self.batch_interval }, outputs))
    }

    /// Whether files are made later, too.
    pub(super) fn makes_files(&self) -> bool {
        self.outputs.iter().any(|output| matches!(output, Output::Parquet(_) | Output::Db))
    }

    fn open_one(
        &self,
        output: &Output,
        database: &DatabaseArguments,
    ) -> anyhow::Result<FlowOutput> {
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
            Output::Db => return self.open_database(database),
        };
        Ok(FlowOutput::direct(sink, output.name(), self.queue_limit))
    }

    fn open_database(&self, database: &DatabaseArguments) -> anyhow::Result<FlowOutput> {
        let url = database.url()?;
        let target = url.to_string();
        let is_file = matches!(url, DatabaseUrl::Sqlite(_));
        let settings = Settings { retention: self.retention, ..Settings::default() };
        let open = move || netglass_store::open(&url, Access::Write, settings);
        let mut sink = DatabaseSink::new(Box::new(open), this_host_id());
        if is_file {
            sink.connect()?;
            return Ok(FlowOutput::direct(Box::new(sink), target, self.queue_limit));
        }
        FlowOutput::queued(Box::new(sink), target, self.queue_limit, WhenFull::Wait)
            .context("starting the thread that writes to the database")
    }
}

impl Output {
    /// How messages name it.
    fn name(&self) -> String {
        match self {
            Self::Stdout => "standard output".to_owned(),
            Self::File(path) | Self::Parquet(path) => path.display().to_string(),
            Self::Db => "the database".to_owned(),
        }
    }
}

fn text_format(format: Option<FlowFormat>, is_terminal: bool) -> TextFormat {
    match format {
        Some(FlowFormat::Json) => TextFormat::Json,
        Some(FlowFormat::Csv) if is_terminal => TextFormat::CsvForTerminal,
        Some(FlowFormat::Csv) => TextFormat::Csv,
        Some(FlowFormat::Table) => TextFormat::Table,
        None if is_terminal => TextFormat::Table,
        None => TextFormat::Json,
    }
}

/// Ends a log, and returns an error if something could not be stored that should have been.
pub(super) fn finish(log: &mut FlowLog, patience: Duration) -> anyhow::Result<()> {
    log.finish(patience);
    let failed: Vec<_> = (log.outputs().iter())
        // Whoever reads as much as he wants and then goes has got what he wanted.
        .filter(|output| !output.is_closed())
        .filter(|output| output.ledger().stored < output.ledger().records)
        .map(|output| format!("{}: {}", output.target(), output.ledger()))
        .collect();
    if failed.is_empty() {
        return Ok(());
    }
    Err(anyhow::anyhow!(failed.join("; "))).context("not everything was logged")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_is_named_by_its_kind_and_where_it_is() {
        assert_eq!("stdout".parse(), Ok(Output::Stdout));
        assert_eq!("db".parse(), Ok(Output::Db));
        assert_eq!("file:a:b".parse(), Ok(Output::File("a:b".into())));
        assert_eq!("parquet:/srv/flows".parse(), Ok(Output::Parquet("/srv/flows".into())));
        for text in ["", "file", "file:", "flows.json", "stdout:x", "db:x", "kafka:topic"] {
            assert!(text.parse::<Output>().unwrap_err().contains("file:PATH"), "{text}");
        }
    }
}
