//! What the tests of the sink share.

use std::time::Duration;

use netglass_model::{FlowRecord, Timestamp};
use netglass_testing::BigQuery;
use uuid::Uuid;

use crate::{
    Password,
    flow_log::{
        BigQueryConfig, BigQueryCredentials, BigQueryMode, BigQuerySink, FlowBatch, FlowSink as _,
        SinkError, fixtures::record,
    },
};

/// The table that is written to where nothing else is said.
pub(super) const TABLE: &str = "flow_logs";

/// Longer than a busy machine takes.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn config(server: &BigQuery, mode: BigQueryMode) -> BigQueryConfig {
    BigQueryConfig {
        credentials: BigQueryCredentials::KeyData(Password::new(server.key())),
        mode,
        endpoint: Some(server.endpoint()),
        ..BigQueryConfig::new(BigQuery::PROJECT, BigQuery::DATASET)
    }
}

pub(super) fn open(server: &BigQuery, mode: BigQueryMode) -> BigQuerySink {
    BigQuerySink::open(config(server, mode)).unwrap()
}

/// `count` records that no other batch has.
pub(super) fn records(sequence: u64, count: u64) -> Vec<FlowRecord> {
    let record_of = |number| FlowRecord {
        id: Uuid::from_u64_pair(sequence, number),
        first_seen: Timestamp::from_nanoseconds(1_700_000_000_000_000_000),
        ..record()
    };
    (0..count).map(record_of).collect()
}

pub(super) fn ids(records: &[FlowRecord]) -> Vec<String> {
    records.iter().map(|record| record.id.to_string()).collect()
}

/// Of the rows that can be read, as often as they can.
pub(super) fn stored_ids(server: &BigQuery) -> Vec<String> {
    let rows = server.rows(TABLE);
    rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

/// Writes a batch as often as it takes, as long as that may help; how often it failed.
pub(super) fn write_all(sink: &mut BigQuerySink, batch: &FlowBatch) -> usize {
    for failures in 0..100 {
        match sink.write(batch) {
            Ok(()) => return failures,
            Err(SinkError::Away { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the batch is not taken");
}
