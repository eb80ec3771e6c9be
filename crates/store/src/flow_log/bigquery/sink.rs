//! The sink: what it does on the thread of whoever writes.

use std::time::Duration;

use tokio::{
    runtime::{Builder, Runtime},
    time::timeout,
};

use super::{
    config::{BigQueryConfig, BigQueryMode},
    credentials::{Credentials, Surroundings},
    fault::Fault,
    grpc::Grpc,
    http::Client,
    insert_all::InsertAll,
    journal::Journal,
    rest::Rest,
    storage_write::StorageWrite,
    table,
    token::Tokens,
    transport::{Origin, Transport},
};
use crate::flow_log::{FlowBatch, FlowSink, Refusals, SinkError};

const REST_ENDPOINT: &str = "https://bigquery.googleapis.com";
const STORAGE_ENDPOINT: &str = "https://bigquerystorage.googleapis.com";

/// A table of BigQuery.
pub struct BigQuerySink {
    config: BigQueryConfig,
    rest: Rest,
    tokens: Tokens,
    writer: Writer,
    /// Whether the table was seen to be there, with every column.
    is_ready: bool,
    refusals: Refusals,
    // After the connections, which need it until they end.
    runtime: Runtime,
}

enum Writer {
    StorageWrite(Box<StorageWrite>),
    InsertAll(InsertAll),
}

impl BigQuerySink {
    /// Makes ready what does not need a server: finds the credentials, and reads the journal. The
    /// table is looked at, or made, by the first write or by [`FlowSink::prepare`].
    pub fn open(config: BigQueryConfig) -> Result<Self, SinkError> {
        Self::open_in(config, &Surroundings::of_process())
    }

    pub(super) fn open_in(
        config: BigQueryConfig,
        surroundings: &Surroundings,
    ) -> Result<Self, SinkError> {
        config.check()?;
        let target = config.target();
        Self::try_open(config, surroundings).map_err(|fault| fault.into_error("open", &target))
    }

    fn try_open(config: BigQueryConfig, surroundings: &Surroundings) -> Result<Self, Fault> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Fault::Setup(error.to_string()))?;
        let transport = Transport::new(config.root_certificates.as_deref())?;
        let credentials = Credentials::find(&config.credentials, surroundings)?;
        let tokens = Tokens::new(credentials, transport.clone(), config.timeout);
        let endpoint = config.endpoint.as_deref();
        let (origin, prefix) = Origin::parse(endpoint.unwrap_or(REST_ENDPOINT))?;
        let rest = Rest::new(Client::new(transport.clone(), origin, config.timeout), &prefix);
        let writer = match config.mode {
            BigQueryMode::InsertAll => Writer::InsertAll(InsertAll::new(&config)),
            BigQueryMode::StorageWrite => {
                let endpoint = config.storage_endpoint.as_deref().or(endpoint);
                let (origin, _) = Origin::parse(endpoint.unwrap_or(STORAGE_ENDPOINT))?;
                let grpc = Grpc::new(transport, origin, config.timeout);
                let BigQueryConfig { project, dataset, table, .. } = &config;
                let parent = format!("projects/{project}/datasets/{dataset}/tables/{table}");
                let journal = config.journal.clone().map(|file| Journal::new(file, parent.clone()));
                Writer::StorageWrite(Box::new(StorageWrite::new(grpc, parent, journal)?))
            }
        };
        let refusals = Refusals::default();
        Ok(Self { config, rest, tokens, writer, is_ready: false, refusals, runtime })
    }

    /// Sees to it that the table is there and has every column: makes it, or adds columns.
    fn make_ready(&mut self) -> Result<(), SinkError> {
        let Self { config, rest, tokens, runtime, .. } = self;
        let ready = runtime.block_on(table::ensure(rest, tokens, config));
        self.learn(ready)
    }

    fn learn(&mut self, ready: Result<(), Fault>) -> Result<(), SinkError> {
        self.is_ready = ready.is_ok();
        ready.map_err(|fault| fault.into_error("prepare", &self.config.target()))
    }

    fn try_write(&mut self, batch: &FlowBatch) -> Result<(), Fault> {
        let Self { rest, tokens, writer, refusals, runtime, .. } = self;
        runtime.block_on(async {
            match writer {
                Writer::StorageWrite(writer) => writer.write(tokens, batch, refusals).await,
                Writer::InsertAll(writer) => writer.write(rest, tokens, batch, refusals).await,
            }
        })
    }
}

impl FlowSink for BigQuerySink {
    fn prepare(&mut self, patience: Duration) -> Result<(), SinkError> {
        let Self { config, rest, tokens, runtime, .. } = self;
        let ready = runtime.block_on(async {
            let ready = timeout(patience, table::ensure(rest, tokens, config));
            ready.await.unwrap_or(Err(Fault::Silent))
        });
        self.learn(ready)
    }

    fn take_refusals(&mut self) -> Refusals {
        std::mem::take(&mut self.refusals)
    }

    fn write(&mut self, batch: &FlowBatch) -> Result<(), SinkError> {
        if !self.is_ready {
            self.make_ready()?;
        }
        let mut written = self.try_write(batch);
        // Somebody took the table away, or one of its columns.
        if let Err(Fault::Missing(_) | Fault::Conflict(_)) = &written {
            self.make_ready()?;
            written = self.try_write(batch).map_err(|fault| match fault {
                Fault::Missing(reason) | Fault::Conflict(reason) => {
                    Fault::Busy(format!("the table is new, and cannot be written yet: {reason}"))
                }
                fault => fault,
            });
        }
        written.map_err(|fault| fault.into_error("write flows to", &self.config.target()))
    }
}
