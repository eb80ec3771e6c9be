//! Conversations to BigQuery.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use netglass_store::Password;
#[cfg(feature = "bigquery")]
use netglass_store::flow_log::{BigQueryConfig, BigQueryCredentials, BigQueryMode, BigQuerySink};

use super::remote::{Remote, RemoteArguments};
use crate::usage::UsageError;

/// Where in BigQuery conversations are logged, and as whom.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output to BigQuery")]
pub(super) struct BigQueryArguments {
    /// Project that holds the dataset
    #[arg(long = "bq-project-id", env = "NETGLASS_BQ_PROJECT_ID", value_name = "PROJECT")]
    project: Option<String>,

    /// Dataset, which has to be there
    #[arg(long = "bq-dataset", env = "NETGLASS_BQ_DATASET", value_name = "DATASET")]
    dataset: Option<String>,

    /// Table, which is made if it is not there
    #[arg(long = "bq-table", env = "NETGLASS_BQ_TABLE", value_name = "TABLE")]
    #[arg(default_value = "flow_logs")]
    table: String,

    /// File with the JSON key of a service account; where no key is given, application default
    /// credentials are used
    #[arg(long = "bq-sa-key-file", env = "NETGLASS_BQ_SA_KEY_FILE", value_name = "FILE")]
    #[arg(conflicts_with = "key_data")]
    key_file: Option<PathBuf>,

    /// The same as text, better given in the environment
    #[arg(long = "bq-sa-key-data", env = "NETGLASS_BQ_SA_KEY_DATA", value_name = "KEY")]
    #[arg(value_parser = parse_key, hide_env_values = true, hide_default_value = true)]
    key_data: Option<Password>,

    /// How rows are written
    #[arg(long = "bq-mode", env = "NETGLASS_BQ_MODE", value_name = "MODE")]
    #[arg(default_value = "storage-write")]
    mode: Mode,

    /// URL of a private endpoint or a test server, instead of Google's
    #[arg(long = "bq-endpoint", env = "NETGLASS_BQ_ENDPOINT", value_name = "URL")]
    endpoint: Option<String>,

    /// The same for the Storage Write API, where that is another one
    #[arg(long = "bq-storage-endpoint", env = "NETGLASS_BQ_STORAGE_ENDPOINT", value_name = "URL")]
    storage_endpoint: Option<String>,

    /// PEM file of the authorities that may sign the server's certificate, instead of the system's
    #[arg(long = "bq-root-certificates", env = "NETGLASS_BQ_ROOT_CERTIFICATES")]
    #[arg(value_name = "FILE")]
    root_certificates: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// By the Storage Write API, each exactly once
    StorageWrite,
    /// By the REST API alone; one that has to be sent again may be there twice
    InsertAll,
}

#[expect(clippy::unnecessary_wraps, reason = "as clap wants it")]
fn parse_key(text: &str) -> Result<Password, String> {
    Ok(Password::new(text))
}

impl BigQueryArguments {
    /// Opens the way there.
    #[cfg(feature = "bigquery")]
    pub(super) fn open(&self, remote: &RemoteArguments) -> anyhow::Result<Remote> {
        let mut config = self.config()?;
        // The names become part of a path.
        config.check()?;
        let target = config.target();
        let spool = remote.open_spool("bigquery", &config.to_string())?;
        config.journal = spool.as_ref().map(|spool| spool.directory.join("journal.json"));
        Ok(Remote::new(Box::new(BigQuerySink::open(config)?), target, spool))
    }

    #[cfg(feature = "bigquery")]
    fn config(&self) -> Result<BigQueryConfig, UsageError> {
        let needed = |value: &Option<String>, option: &str| {
            let missing = || UsageError(format!("--output bigquery needs {option}"));
            value.clone().ok_or_else(missing)
        };
        let project = needed(&self.project, "--bq-project-id")?;
        let dataset = needed(&self.dataset, "--bq-dataset")?;
        Ok(BigQueryConfig {
            table: self.table.clone(),
            credentials: match (&self.key_file, &self.key_data) {
                (Some(file), _) => BigQueryCredentials::KeyFile(file.clone()),
                (None, Some(key)) => BigQueryCredentials::KeyData(key.clone()),
                (None, None) => BigQueryCredentials::ApplicationDefault,
            },
            mode: match self.mode {
                Mode::StorageWrite => BigQueryMode::StorageWrite,
                Mode::InsertAll => BigQueryMode::InsertAll,
            },
            endpoint: self.endpoint.clone(),
            storage_endpoint: self.storage_endpoint.clone(),
            root_certificates: self.root_certificates.clone(),
            ..BigQueryConfig::new(project, dataset)
        })
    }

    /// There is none.
    #[cfg(not(feature = "bigquery"))]
    #[expect(clippy::unused_self, reason = "as where there is one")]
    pub(super) fn open(&self, _: &RemoteArguments) -> anyhow::Result<Remote> {
        Err(UsageError(
            "this program was built without BigQuery: build it with --features bigquery".to_owned(),
        )
        .into())
    }
}
