//! What the user says about where in BigQuery flow logs go, and as whom.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use super::fault::Fault;
use crate::{Password, flow_log::SinkError};

/// The longest name of a dataset or table.
const LONGEST_NAME: usize = 1024;

/// Where in BigQuery flow logs go, and as whom.
#[derive(Debug, Clone)]
pub struct BigQueryConfig {
    /// The id of the project that holds the dataset (`--bq-project-id`).
    pub project: String,
    /// The dataset, which has to be there (`--bq-dataset`).
    pub dataset: String,
    /// The table, which is made if it is not there (`--bq-table`).
    pub table: String,
    /// As whom.
    pub credentials: BigQueryCredentials,
    /// How rows are written (`--bq-mode`).
    pub mode: BigQueryMode,
    /// The URL of the server, `https://HOST:PORT`, instead of `https://bigquery.googleapis.com` and
    /// `https://bigquerystorage.googleapis.com`. `http://` for addresses of this host only, since a
    /// token passes there (`--bq-endpoint`).
    pub endpoint: Option<String>,
    /// The same for the Storage Write API alone, where that is another one.
    pub storage_endpoint: Option<String>,
    /// A PEM file of the authorities that may sign the server's certificate, instead of those that
    /// the system trusts.
    pub root_certificates: Option<PathBuf>,
    /// How long an answer is awaited.
    pub timeout: Duration,
    /// A file that remembers how far the batch that is being written has come, so that a batch which
    /// is written again after a crash is stored once. It has to be of this sink alone, and to last as
    /// long as the spool does. Storage Write API only.
    pub journal: Option<PathBuf>,
}

impl BigQueryConfig {
    /// The table `flow_logs` of a dataset, by the Storage Write API, with the application default
    /// credentials.
    #[must_use]
    pub fn new(project: impl Into<String>, dataset: impl Into<String>) -> Self {
        Self {
            project: project.into(),
            dataset: dataset.into(),
            table: "flow_logs".to_owned(),
            credentials: BigQueryCredentials::ApplicationDefault,
            mode: BigQueryMode::StorageWrite,
            endpoint: None,
            storage_endpoint: None,
            root_certificates: None,
            timeout: Duration::from_secs(60),
            journal: None,
        }
    }

    /// What messages call the table.
    #[must_use]
    pub fn target(&self) -> String {
        format!("the BigQuery table {self}")
    }

    /// Fails unless the names are such as BigQuery knows: then they can be parts of URLs and paths.
    pub fn check(&self) -> Result<(), SinkError> {
        // Names that are none are not shown as they are.
        self.check_names().map_err(|fault| fault.into_error("open", "a table of BigQuery"))
    }

    fn check_names(&self) -> Result<(), Fault> {
        for (what, name, more, option) in [
            ("project id", &self.project, "_-.:", "--bq-project-id"),
            ("dataset", &self.dataset, "_", "--bq-dataset"),
            ("table", &self.table, "_-", "--bq-table"),
        ] {
            let fits = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
            if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(fits) {
                return Err(Fault::Setup(format!(
                    "'{}' is no name of a {what}, which has letters, digits and {more} only; set {option}",
                    name.escape_debug(),
                )));
            }
        }
        Ok(())
    }
}

/// `PROJECT.DATASET.TABLE`, as in SQL.
impl fmt::Display for BigQueryConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.project, self.dataset, self.table)
    }
}

/// As whom.
#[derive(Debug, Clone, Default)]
pub enum BigQueryCredentials {
    /// As a service account whose key is in this JSON file (`--bq-sa-key-file`).
    KeyFile(PathBuf),
    /// As a service account whose key is this JSON text (`--bq-sa-key-data`).
    KeyData(Password),
    /// As whom Google's own tools and libraries would: the file that
    /// `GOOGLE_APPLICATION_CREDENTIALS` names, that of `gcloud auth application-default login`, or the
    /// account of the virtual machine.
    #[default]
    ApplicationDefault,
}

/// How rows are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BigQueryMode {
    /// By the Storage Write API: each row is stored exactly once.
    #[default]
    StorageWrite,
    /// By `tabledata.insertAll` of the REST API: what has to be sent again is recognised for about a
    /// minute, by the id of the row.
    InsertAll,
}

impl BigQueryMode {
    /// Every mode.
    pub const ALL: [Self; 2] = [Self::StorageWrite, Self::InsertAll];

    /// The name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::StorageWrite => "storage-write",
            Self::InsertAll => "insert-all",
        }
    }
}

impl FromStr for BigQueryMode {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|mode| mode.name() == name);
        found.ok_or_else(|| format!("'{name}' is none of storage-write, insert-all"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_change_a_url_are_refused() {
        let config = |project: &str, dataset: &str, table: &str| BigQueryConfig {
            table: table.to_owned(),
            ..BigQueryConfig::new(project, dataset)
        };
        assert_eq!(config("example.com:a-1", "d_1", "flow-logs").check_names(), Ok(()));
        for (config, option) in [
            (config("a/b", "d", "t"), "--bq-project-id"),
            (config("a", "d?x", "t"), "--bq-dataset"),
            (config("a", "d-x", "t"), "--bq-dataset"),
            (config("a", "d", ""), "--bq-table"),
            (config("a", "d", "t&x=y\r\n"), "--bq-table"),
        ] {
            let error = config.check().unwrap_err().to_string();
            assert!(error.contains(option), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_mode_goes_by_its_name() {
        for mode in BigQueryMode::ALL {
            assert_eq!(mode.name().parse(), Ok(mode));
        }
        assert!("default".parse::<BigQueryMode>().is_err());
    }

    #[test]
    fn a_key_does_not_show() {
        let credentials = BigQueryCredentials::KeyData(Password::new("SECRET"));
        let config = BigQueryConfig { credentials, ..BigQueryConfig::new("p", "d") };
        assert!(!format!("{config:?}").contains("SECRET"));
    }
}
