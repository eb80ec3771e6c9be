//! A server that speaks the published protocols of BigQuery, and is as strict as it: the REST API
//! (version 2), the Storage Write API over gRPC, and the token endpoint of OAuth 2.0.
//!
//! It keeps the rows for the test to read, and fails on demand. What a real server would refuse as
//! malformed it refuses too, and remembers as a violation.

mod append;
mod columns;
mod connection;
mod fault;
mod grpc;
mod message;
mod oauth;
mod rest;
mod state;

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::Command,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    thread::{self, JoinHandle},
};

use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::{net::TcpListener, runtime::Builder, sync::oneshot};

pub use self::fault::{BigQueryCall, BigQueryFault};
use self::state::State;
use super::{postgresql::certificates, tls::acceptor};
use crate::run;

/// The project that the server knows.
const PROJECT: &str = "test-project";
/// The dataset in it.
const DATASET: &str = "test_dataset";

/// A running server, with the project `test-project` and in it the dataset `test_dataset`.
#[derive(Debug)]
pub struct BigQuery {
    address: SocketAddr,
    is_encrypted: bool,
    state: Arc<Mutex<State>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    folder: TempDir,
}

impl BigQuery {
    /// The project that the server knows.
    pub const PROJECT: &str = PROJECT;
    /// The dataset in it.
    pub const DATASET: &str = DATASET;

    /// Starts it on a free port of this host, without encryption. Needs the command `openssl`.
    pub fn start() -> Self {
        Self::start_with(false)
    }

    /// The same with encryption, and a certificate that [`BigQuery::root_certificate`] vouches for.
    pub fn start_encrypted() -> Self {
        Self::start_with(true)
    }

    fn start_with(is_encrypted: bool) -> Self {
        let folder = tempfile::Builder::new().prefix("netglass-bigquery-").tempdir();
        let folder = folder.expect("a temporary folder");
        let acceptor = is_encrypted.then(|| {
            certificates(folder.path(), "127.0.0.1");
            acceptor(folder.path())
        });
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let scheme = if is_encrypted { "https" } else { "http" };
        let state = State::new(format!("{scheme}://{address}"), rsa_key());
        let state = Arc::new(Mutex::new(state));
        let (stop, stopped) = oneshot::channel();
        let serve = connection::serve(listener, acceptor, Arc::clone(&state));
        let thread = thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, is_encrypted, state, stop: Some(stop), thread: Some(thread), folder }
    }

    /// Its URL.
    pub fn endpoint(&self) -> String {
        let scheme = if self.is_encrypted { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// `HOST:PORT`.
    pub fn authority(&self) -> String {
        self.address.to_string()
    }

    /// The JSON key of a service account that may do everything here.
    pub fn key(&self) -> String {
        json!({
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": oauth::KEY_ID,
            "private_key": rsa_key(),
            "client_email": oauth::ACCOUNT,
            "client_id": "1",
            "token_uri": format!("{}/token", self.endpoint()),
        })
        .to_string()
    }

    /// The credentials of a user who may do everything here, as `gcloud` keeps them.
    pub fn user_credentials(&self) -> String {
        json!({
            "type": "authorized_user",
            "client_id": oauth::CLIENT_ID,
            "client_secret": oauth::CLIENT_SECRET,
            "refresh_token": oauth::REFRESH_TOKEN,
            "quota_project_id": PROJECT,
            "token_uri": format!("{}/token", self.endpoint()),
        })
        .to_string()
    }

    /// A PEM file of who signed its certificate.
    pub fn root_certificate(&self) -> PathBuf {
        self.folder.path().join("root.crt")
    }

    /// The rows of a table, by column; moments are microseconds since 1970.
    pub fn rows(&self, table: &str) -> Vec<Map<String, Value>> {
        self.state().tables.get(table).map(|table| table.rows.clone()).unwrap_or_default()
    }

    /// A table as the REST API shows it.
    pub fn table(&self, table: &str) -> Option<Value> {
        self.state().tables.get(table).map(|table| table.resource.clone())
    }

    /// Makes a table with these columns: `name`, `type` and perhaps `mode`.
    pub fn create_table(&self, table: &str, fields: &Value) {
        let resource = json!({ "schema": { "fields": fields } });
        self.state().create_table(table, resource).expect("a table as documented");
    }

    /// Takes a table away, with its rows.
    pub fn delete_table(&self, table: &str) {
        self.state().tables.remove(table);
    }

    /// The next call of this kind that has no fault yet fails so.
    pub fn fail(&self, call: BigQueryCall, fault: BigQueryFault) {
        self.state().faults.entry(call).or_default().push_back(fault);
    }

    /// How many faults wait still.
    pub fn faults_left(&self) -> usize {
        self.state().faults.values().map(std::collections::VecDeque::len).sum()
    }

    /// Rows whose column `column` has this value are refused, as a server does what does not fit.
    pub fn refuse_rows(&self, column: &str, value: impl Into<Value>) {
        self.state().refused.push((column.to_owned(), value.into()));
    }

    /// How many calls of this kind there were.
    pub fn calls(&self, call: BigQueryCall) -> usize {
        self.state().calls.get(&call).copied().unwrap_or_default()
    }

    /// No token that was given is good any more.
    pub fn revoke_tokens(&self) {
        self.state().tokens.clear();
    }

    /// Tokens are good for so many seconds from now on.
    pub fn set_token_lifetime(&self, seconds: u64) {
        self.state().token_lifetime = seconds;
    }

    /// What a client did that the protocols do not allow.
    pub fn violations(&self) -> Vec<String> {
        self.state().violations.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for BigQuery {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The key of the account, in PEM: made once for each process, for it takes its time.
fn rsa_key() -> &'static str {
    static KEY: OnceLock<String> = OnceLock::new();
    KEY.get_or_init(|| {
        let line = "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048";
        run(Command::new("openssl").args(line.split_whitespace()))
    })
}
