//! The table: made, checked, completed.

use netglass_testing::{BigQuery, BigQueryCall, BigQueryFault, require};
use serde_json::{Value, json};

use super::{
    super::{BigQueryMode, BigQuerySink},
    support::{PATIENCE, TABLE, config, ids, open, records, stored_ids},
};
use crate::flow_log::{COLUMNS, FlowSink as _, fixtures::batch};

fn fields(server: &BigQuery) -> Vec<Value> {
    server.table(TABLE).unwrap()["schema"]["fields"].as_array().unwrap().clone()
}

#[test]
fn a_table_that_is_missing_is_made_by_day_and_address() {
    require!(command("openssl"));
    let server = BigQuery::start();
    open(&server, BigQueryMode::StorageWrite).prepare(PATIENCE).unwrap();
    let table = server.table(TABLE).unwrap();
    assert_eq!(table["timePartitioning"], json!({ "type": "DAY", "field": "first_seen_at" }));
    assert_eq!(table["clustering"], json!({ "fields": ["src_addr", "dst_addr"] }));
    let fields = fields(&server);
    assert_eq!(fields.len(), COLUMNS.len());
    let first: Vec<_> = fields
        .iter()
        .take(13)
        .map(|field| {
            format!("{} {}", field["name"].as_str().unwrap(), field["type"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        first,
        [
            "id STRING",
            "protocol STRING",
            "src_addr STRING",
            "dst_addr STRING",
            "src_port INTEGER",
            "dst_port INTEGER",
            "first_seen_at TIMESTAMP",
            "last_seen_at TIMESTAMP",
            "src_bytes INTEGER",
            "dst_bytes INTEGER",
            "src_packets INTEGER",
            "dst_packets INTEGER",
            "status STRING",
        ]
    );
    // It fits what made it.
    open(&server, BigQueryMode::InsertAll).prepare(PATIENCE).unwrap();
    assert_eq!(server.calls(BigQueryCall::PatchTable), 0);
    assert_eq!(server.violations(), [] as [String; 0]);
}

#[test]
fn a_table_of_somebody_elses_is_given_what_it_lacks() {
    require!(command("openssl"));
    for mode in BigQueryMode::ALL {
        let server = BigQuery::start();
        server.create_table(
            TABLE,
            &json!([
                { "name": "Id", "type": "STRING", "mode": "REQUIRED", "description": "mine" },
                { "name": "note", "type": "JSON" },
                { "name": "src_bytes", "type": "INT64" },
            ]),
        );
        // Somebody else changes it between our look and our change.
        server.fail(BigQueryCall::PatchTable, BigQueryFault::UnavailableAfter);
        let mut sink = open(&server, mode);
        assert!(!sink.prepare(PATIENCE).unwrap_err().is_lasting());
        sink.write(&batch(1, records(1, 2))).unwrap();
        let fields = fields(&server);
        assert_eq!(fields.len(), COLUMNS.len() + 1);
        assert_eq!(fields[0]["description"], "mine");
        assert_eq!(fields[1], json!({ "name": "note", "type": "JSON" }));
        assert!(fields[3..].iter().all(|field| field["mode"] == "NULLABLE"));
        assert_eq!(server.rows(TABLE)[1]["Id"], ids(&records(1, 2))[1].as_str());
        assert_eq!(server.violations(), [] as [String; 0]);
    }
}

#[test]
fn a_column_that_does_not_fit_is_named_and_nothing_is_changed() {
    require!(command("openssl"));
    let server = BigQuery::start();
    let wrong = json!([{ "name": "src_port", "type": "STRING" }]);
    server.create_table(TABLE, &wrong);
    let error = open(&server, BigQueryMode::StorageWrite).write(&batch(1, records(1, 1)));
    let error = error.unwrap_err();
    assert!(error.is_lasting());
    assert_eq!(
        error.to_string(),
        "cannot prepare the BigQuery table test-project.test_dataset.flow_logs: its column src_port \
         is of type STRING, and has to be INTEGER; change it, or name another table with --bq-table"
    );
    assert_eq!(Value::from(fields(&server)), wrong);
}

#[test]
fn a_dataset_that_is_missing_is_named_and_not_made() {
    require!(command("openssl"));
    let server = BigQuery::start();
    let mut config = config(&server, BigQueryMode::StorageWrite);
    config.dataset = "other".to_owned();
    let error = BigQuerySink::open(config).unwrap().prepare(PATIENCE).unwrap_err();
    assert!(error.is_lasting());
    assert!(error.to_string().contains("Not found: Dataset"), "{error}");
    assert!(error.to_string().contains("bq mk --dataset"), "{error}");
}

#[test]
fn a_table_that_is_taken_away_is_made_again() {
    require!(command("openssl"));
    for mode in BigQueryMode::ALL {
        let server = BigQuery::start();
        let mut sink = open(&server, mode);
        sink.write(&batch(1, records(1, 2))).unwrap();
        server.delete_table(TABLE);
        sink.write(&batch(2, records(2, 2))).unwrap();
        assert_eq!(stored_ids(&server), ids(&records(2, 2)), "{mode:?}");
        // Of another shape, without what is ours.
        server.delete_table(TABLE);
        server.create_table(TABLE, &json!([{ "name": "note", "type": "STRING" }]));
        sink.write(&batch(3, records(3, 2))).unwrap();
        assert_eq!(stored_ids(&server), ids(&records(3, 2)), "{mode:?}");
        assert_eq!(sink.take_refusals().records, 0);
    }
}

#[test]
fn two_that_make_the_table_at_once_are_of_one_mind() {
    require!(command("openssl"));
    let server = BigQuery::start();
    let mut sink = open(&server, BigQueryMode::StorageWrite);
    // It is made, but whoever made it does not learn of it.
    server.fail(BigQueryCall::InsertTable, BigQueryFault::CutAfter);
    server.fail(BigQueryCall::InsertTable, BigQueryFault::CutBefore);
    let mut other = open(&server, BigQueryMode::StorageWrite);
    assert!(!sink.prepare(PATIENCE).unwrap_err().is_lasting());
    other.prepare(PATIENCE).unwrap();
    sink.prepare(PATIENCE).unwrap();
    assert_eq!(server.violations(), [] as [String; 0]);
}
