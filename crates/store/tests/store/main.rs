//! The dependency database through its public face.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers included")]

mod concurrency;
mod faults;
mod files;
mod flow_database;
mod flow_log;
mod history;
mod interrupted;
mod migration;
mod read_only;
mod same;
mod selection;
mod server;
mod spool;
mod support;
