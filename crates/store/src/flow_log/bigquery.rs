//! Flow logs in a table of BigQuery.
//!
//! Everything of a call runs on the thread that makes it, and no answer is awaited for ever. What is
//! not said here stands in `docs/bigquery.md`.

mod config;
mod credentials;
mod fault;
mod grpc;
mod http;
mod insert_all;
mod journal;
mod message;
mod request;
mod rest;
mod sink;
mod storage_write;
mod table;
#[cfg(test)]
mod tests;
mod token;
mod transport;

pub use config::{BigQueryConfig, BigQueryCredentials, BigQueryMode};
pub use sink::BigQuerySink;
