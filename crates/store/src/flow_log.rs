//! Flow logs: conversations, written to wherever they are wanted.
//!
//! What stands in a flow log is defined once, by its [`COLUMNS`]; a [`FlowSink`] is a place where they
//! can be written.

#[cfg(feature = "bigquery")]
mod bigquery;
mod columns;
mod csv;
mod database;
mod direct;
mod encoding;
mod file;
#[cfg(test)]
mod fixtures;
mod format;
mod json;
mod ledger;
mod log;
mod output;
#[cfg(feature = "parquet")]
mod parquet;
mod sink;
mod stream;
mod table;
mod text;

#[cfg(feature = "bigquery")]
pub use bigquery::{BigQueryConfig, BigQueryCredentials, BigQueryMode, BigQuerySink};
pub use columns::{COLUMNS, Column, ColumnType, SCHEMA_VERSION, TcpFlags, Value};
pub use database::DatabaseSink;
pub use file::open_file;
pub use format::{TextFormat, append_json};
pub use ledger::{DropReason, FlowLedger};
pub use log::{BatchLimits, FlowLog};
pub use output::{FlowOutput, WhenFull};
#[cfg(feature = "parquet")]
pub use parquet::{ParquetLimits, ParquetSink};
pub use sink::{FlowBatch, FlowSink, Refusals, SinkError};
pub use stream::StreamSink;
