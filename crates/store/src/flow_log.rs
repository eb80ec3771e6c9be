//! Flow logs: conversations, written to wherever they are wanted.
//!
//! What stands in a flow log is defined once, by its [`columns`]; a [`FlowSink`] is a place where they
//! can be written.

mod columns;
#[cfg(test)]
#[expect(dead_code, reason = "for the tests of each format")]
mod fixtures;
mod sink;

pub use columns::{COLUMNS, Column, ColumnType, SCHEMA_VERSION, TcpFlags, Value};
pub use sink::{FlowBatch, FlowSink, SinkError};
