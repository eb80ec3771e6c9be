//! A connection to the server, with everything that is bound to it.

use std::{collections::HashMap, future::Future, net::ToSocketAddrs as _, time::Duration};

use tokio::{
    runtime::{Handle, Runtime},
    task::JoinHandle,
    time::timeout,
};
use tokio_postgres::{Client, Config, Statement, config::SslMode};

use super::{
    dimensions::Memory,
    fault::Fault,
    migration::{self, State},
    partition::Partitions,
    password,
    tls::Tls,
};
use crate::{Access, PostgresUrl, TlsMode, url::Server};

/// Longer than any write of ours, short enough to be told before much is spooled.
const WRITE_PATIENCE: Duration = Duration::from_secs(25);
/// A window may hold a long history.
pub(super) const READ_PATIENCE: Duration = Duration::from_secs(300);
/// How long data may stay unacknowledged before the other end counts as gone.
const NETWORK_PATIENCE: Duration = Duration::from_secs(20);
/// How many addresses are tried.
const MAX_ADDRESSES: usize = 32;

/// An open connection.
pub(super) struct Session {
    pub(super) client: Client,
    /// What was written over it and need not be written again soon.
    pub(super) memory: Memory,
    /// The partitions that are known to be there.
    pub(super) partitions: Partitions,
    /// It is not to be used any more: what comes next may be the answer to what came before.
    pub(super) is_spoiled: bool,
    statements: HashMap<String, Statement>,
    url: PostgresUrl,
    patience: Duration,
    connection: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        // It would wait for a server that says nothing any more to take its leave.
        self.connection.abort();
    }
}

impl Session {
    /// Connects, and brings the schema to the newest version, or checks that it is there.
    pub(super) async fn open(
        runtime: &Runtime,
        url: &PostgresUrl,
        access: Access,
        steps: &[&str],
    ) -> Result<Self, Fault> {
        let patience = match access {
            Access::Write => WRITE_PATIENCE,
            Access::Read => READ_PATIENCE,
        };
        let mut session = Self::connect(runtime.handle(), url.clone(), patience).await?;
        let newest = migration::newest(steps);
        // Both are sent at once.
        let (set, state) = tokio::join!(session.set(), migration::state(&session));
        set?;
        match state? {
            State::Version(found) if found > newest => {
                return Err(Fault::Newer { found, known: newest });
            }
            State::Version(found) if found == newest => {}
            _ if access == Access::Write => migration::migrate(&mut session, steps).await?,
            State::Version(found) => return Err(Fault::Older { found, known: newest }),
            State::Empty => return Err(Fault::Older { found: 0, known: newest }),
        }
        Ok(session)
    }

    /// Another connection of the same kind.
    pub(super) async fn another(&self) -> Result<Self, Fault> {
        let session = Self::connect(&Handle::current(), self.url.clone(), self.patience).await?;
        session.set().await?;
        Ok(session)
    }

    async fn connect(
        runtime: &Handle,
        url: PostgresUrl,
        patience: Duration,
    ) -> Result<Self, Fault> {
        let (client, connection) = connect(runtime, &url).await?;
        Ok(Self {
            client,
            memory: Memory::default(),
            partitions: Partitions::default(),
            is_spoiled: false,
            statements: HashMap::new(),
            url,
            patience,
            connection,
        })
    }

    /// Has the server treat it as is expected of a session.
    async fn set(&self) -> Result<(), Fault> {
        let milliseconds = self.patience.as_millis();
        let network = NETWORK_PATIENCE.as_millis();
        self.run(&format!(
            "SET search_path = netglass, pg_temp; SET timezone = 'UTC';
             SET statement_timeout = {milliseconds}; SET lock_timeout = '20s';
             SET idle_in_transaction_session_timeout = '60s';
             SET client_min_messages = warning; SET tcp_user_timeout = {network};
             SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5;
             SET tcp_keepalives_count = 2"
        ))
        .await
    }

    /// What `work` comes to, unless it takes too long.
    pub(super) async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Fault> {
        within(self.patience, work).await
    }

    /// Runs statements that have no parameters.
    pub(super) async fn run(&self, statements: &str) -> Result<(), Fault> {
        self.within(self.client.batch_execute(statements)).await
    }

    /// The statement, which the server prepares once.
    pub(super) async fn statement(&mut self, text: &str) -> Result<Statement, Fault> {
        if let Some(statement) = self.statements.get(text) {
            return Ok(statement.clone());
        }
        let statement = self.within(self.client.prepare(text)).await?;
        self.statements.insert(text.to_owned(), statement.clone());
        Ok(statement)
    }
}

/// What `work` comes to, unless it takes longer than `patience`.
pub(super) async fn within<T>(
    patience: Duration,
    work: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Fault> {
    // The server ends what takes too long by itself; this is for one that says nothing any more.
    match timeout(patience + Duration::from_secs(3), work).await {
        Ok(result) => result.map_err(Fault::from),
        Err(_) => Err(Fault::Silent),
    }
}

async fn connect(runtime: &Handle, url: &PostgresUrl) -> Result<(Client, JoinHandle<()>), Fault> {
    let tls = Tls::new(url)?;
    let mut last = None;
    for server in &url.servers {
        let config = match config(url, server) {
            Ok(config) => config,
            Err(fault @ Fault::Unreachable(_)) => {
                last = Some(fault);
                continue;
            }
            Err(fault) => return Err(fault),
        };
        let addresses = u32::try_from(config.get_hosts().len()).unwrap_or(1);
        let connected = within(url.connect_timeout * addresses, config.connect(tls.clone())).await;
        match connected {
            Ok((client, connection)) => {
                // What ends it is told to those who wait for an answer.
                let connection = runtime.spawn(async move { drop(connection.await) });
                return Ok((client, connection));
            }
            Err(fault) if fault.is_lost() => last = Some(fault),
            Err(fault) => return Err(fault),
        }
    }
    Err(last.unwrap_or(Fault::Unreachable("no server is named".to_owned())))
}

fn config(url: &PostgresUrl, server: &Server) -> Result<Config, Fault> {
    let mut config = Config::new();
    config
        .user(&url.user)
        .dbname(&url.database)
        .application_name(&url.application)
        .connect_timeout(url.connect_timeout)
        .tcp_user_timeout(NETWORK_PATIENCE)
        .keepalives_idle(Duration::from_secs(10))
        .keepalives_interval(Duration::from_secs(5))
        .keepalives_retries(2)
        .ssl_mode(match url.tls {
            TlsMode::Disable => SslMode::Disable,
            TlsMode::Prefer => SslMode::Prefer,
            TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => SslMode::Require,
        });
    if let Some(password) = password::find(url, server)? {
        config.password(password.reveal());
    }
    if server.host.starts_with('/') {
        config.host(&server.host).port(server.port);
        return Ok(config);
    }
    // Looked up here and not by the client, which would start a thread for it: one that keeps the
    // privileges that this one gives up later.
    let addresses = (server.host.as_str(), server.port).to_socket_addrs().map_err(|error| {
        Fault::Unreachable(format!("the address of {} cannot be found: {error}", server.host))
    })?;
    for address in addresses.take(MAX_ADDRESSES) {
        config.host(&server.host).hostaddr(address.ip()).port(server.port);
    }
    Ok(config)
}
