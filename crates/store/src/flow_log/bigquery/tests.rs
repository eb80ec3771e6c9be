//! The sink against a server that is as strict as BigQuery.

mod exactly_once;
mod identity;
mod support;
mod tables;

use std::{sync::Arc, time::Duration};

use netglass_model::{FlowRecord, Timestamp};
use netglass_testing::{BigQuery, BigQueryCall, BigQueryFault, require};
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use self::support::{TABLE, ids, open, records, stored_ids, write_all};
use super::{BigQueryMode, BigQuerySink};
use crate::flow_log::{
    COLUMNS, ColumnType, FlowSink as _,
    fixtures::{bare_record, batch, nasty_record, record},
};

/// A row as the server keeps it.
fn expected(record: &FlowRecord) -> Map<String, Json> {
    let values = COLUMNS.iter().filter_map(|column| {
        let text = column.value(record)?.to_string();
        let integer = || text.parse::<i64>().unwrap();
        let value = match column.column_type {
            ColumnType::String => text.into(),
            ColumnType::Integer => integer().into(),
            ColumnType::Timestamp => integer().div_euclid(1000).into(),
        };
        Some((column.name.to_owned(), value))
    });
    values.collect()
}

#[test]
fn every_value_arrives_as_it_was() {
    require!(command("openssl"));
    let extreme = FlowRecord {
        id: Uuid::from_u128(3),
        first_seen: Timestamp::MIN,
        last_seen: Timestamp::MAX,
        source_bytes: u64::MAX,
        destination_bytes: 0,
        ..record()
    };
    let nasty = FlowRecord { id: Uuid::from_u128(4), ..nasty_record() };
    let records = vec![record(), bare_record(), extreme, nasty];
    for mode in BigQueryMode::ALL {
        let server = BigQuery::start();
        let mut sink = open(&server, mode);
        sink.write(&batch(1, records.clone())).unwrap();
        assert_eq!(server.rows(TABLE), records.iter().map(expected).collect::<Vec<_>>());
        assert_eq!(sink.take_refusals().records, 0);
        assert_eq!(server.violations(), [] as [String; 0]);
    }
}

#[test]
fn nothing_is_asked_for_twice_that_is_known() {
    require!(command("openssl"));
    for (mode, call) in [
        (BigQueryMode::StorageWrite, BigQueryCall::AppendRows),
        (BigQueryMode::InsertAll, BigQueryCall::InsertAll),
    ] {
        let server = BigQuery::start();
        let mut sink = open(&server, mode);
        for sequence in 1..=5 {
            sink.write(&batch(sequence, records(sequence, 10))).unwrap();
        }
        sink.write(&batch(6, Vec::new())).unwrap();
        assert_eq!(server.rows(TABLE).len(), 50);
        let calls = [BigQueryCall::Token, BigQueryCall::GetTable, BigQueryCall::InsertTable, call];
        assert_eq!(calls.map(|call| server.calls(call)), [1, 1, 1, 5]);
        assert!(server.calls(BigQueryCall::CreateWriteStream) <= 1);
    }
}

#[test]
fn what_one_request_cannot_hold_goes_in_several() {
    require!(command("openssl"));
    let large = |number: u64, megabytes: usize| FlowRecord {
        interface: Some("x".repeat(megabytes * 1_000_000).into()),
        ..records(number, 1).remove(0)
    };
    let records = vec![large(1, 4), large(2, 4), large(3, 4), large(4, 10), large(5, 1)];
    for (mode, call) in [
        (BigQueryMode::StorageWrite, BigQueryCall::AppendRows),
        (BigQueryMode::InsertAll, BigQueryCall::InsertAll),
    ] {
        let server = BigQuery::start();
        let mut sink = open(&server, mode);
        sink.write(&batch(1, records.clone())).unwrap();
        let fits = [&records[..3], &records[4..]].concat();
        assert_eq!(stored_ids(&server), ids(&fits));
        let refusals = sink.take_refusals();
        assert_eq!((refusals.records, &*refusals.reason), (1, "a row is too large for BigQuery"));
        assert_eq!(server.calls(call), 2);
        assert_eq!(server.violations(), [] as [String; 0]);
    }
}

#[test]
fn rows_that_are_not_taken_are_counted_and_the_others_stored() {
    require!(command("openssl"));
    for mode in BigQueryMode::ALL {
        let server = BigQuery::start();
        server.refuse_rows("interface", "bad0");
        let mut sink = open(&server, mode);
        let mut records = records(1, 30);
        for record in records.iter_mut().step_by(7) {
            record.interface = Some("bad0".into());
        }
        sink.write(&batch(1, records.clone())).unwrap();
        let refusals = sink.take_refusals();
        assert_eq!(refusals.records, 5);
        assert!(refusals.reason.contains("the value of interface is refused"), "{refusals:?}");
        assert_eq!(sink.take_refusals().records, 0);
        records.retain(|record| record.interface.as_deref() != Some("bad0"));
        assert_eq!(stored_ids(&server), ids(&records));

        // A batch of nothing else, and one after it.
        let all_bad = FlowRecord { interface: Some("bad0".into()), ..record() };
        sink.write(&batch(2, vec![all_bad])).unwrap();
        sink.write(&batch(3, vec![bare_record()])).unwrap();
        assert_eq!(sink.take_refusals().records, 1);
        assert_eq!(server.rows(TABLE).len(), records.len() + 1);
    }
}

#[test]
fn partial_failures_of_insert_all_are_sent_again_without_what_is_stored() {
    require!(command("openssl"));
    let server = BigQuery::start();
    let mut sink = open(&server, BigQueryMode::InsertAll);
    for fault in [BigQueryFault::Stopped, BigQueryFault::Partial, BigQueryFault::Partial] {
        server.fail(BigQueryCall::InsertAll, fault);
    }
    server.refuse_rows("interface", "bad0");
    let mut records = records(1, 9);
    records[4].interface = Some("bad0".into());
    let failures = write_all(&mut sink, &batch(1, records.clone()));
    assert_eq!(failures, 2, "those of which only the server knows when it is better");
    assert_eq!(sink.take_refusals().records, 1);
    records.remove(4);
    let mut stored = stored_ids(&server);
    stored.sort();
    assert_eq!(stored, ids(&records));
}

#[test]
fn a_server_that_asks_for_patience_is_given_it() {
    require!(command("openssl"));
    let modes = [
        (BigQueryMode::StorageWrite, BigQueryCall::AppendRows),
        (BigQueryMode::StorageWrite, BigQueryCall::CreateWriteStream),
        (BigQueryMode::InsertAll, BigQueryCall::InsertAll),
        (BigQueryMode::InsertAll, BigQueryCall::GetTable),
        (BigQueryMode::InsertAll, BigQueryCall::Token),
    ];
    for (mode, call) in modes {
        let server = BigQuery::start();
        let mut sink = open(&server, mode);
        server.fail(call, BigQueryFault::TooMany);
        let error = sink.write(&batch(1, records(1, 3))).unwrap_err();
        assert!(!error.is_lasting() && !error.is_final(), "{call:?}: {error}");
        assert!(error.to_string().contains("asks for patience"), "{call:?}: {error}");
        assert_eq!(server.calls(call), 1, "{call:?}: who is told to wait does not ask at once");
        sink.write(&batch(1, records(1, 3))).unwrap();
        assert_eq!(server.rows(TABLE).len(), 3);
    }
}

#[test]
fn an_account_that_may_not_write_is_told_what_to_be_granted() {
    require!(command("openssl"));
    for (mode, call) in [
        (BigQueryMode::StorageWrite, BigQueryCall::AppendRows),
        (BigQueryMode::InsertAll, BigQueryCall::InsertAll),
    ] {
        let server = BigQuery::start();
        let mut sink = open(&server, mode);
        server.fail(call, BigQueryFault::Denied);
        let error = sink.write(&batch(1, records(1, 3))).unwrap_err();
        assert!(error.is_lasting(), "{error}");
        assert!(error.to_string().contains("roles/bigquery.dataEditor"), "{error}");
    }
}

#[test]
fn a_server_that_does_not_answer_is_not_awaited_for_ever() {
    require!(command("openssl"));
    for (mode, call) in [
        (BigQueryMode::StorageWrite, BigQueryCall::AppendRows),
        (BigQueryMode::StorageWrite, BigQueryCall::CreateWriteStream),
        (BigQueryMode::InsertAll, BigQueryCall::InsertAll),
    ] {
        let server = BigQuery::start();
        let mut config = support::config(&server, mode);
        config.timeout = Duration::from_millis(300);
        let mut sink = BigQuerySink::open(config).unwrap();
        server.fail(call, BigQueryFault::Slow(Duration::from_secs(3600)));
        let error = sink.write(&batch(1, records(1, 3))).unwrap_err();
        assert!(error.to_string().contains("no answer in time"), "{call:?}: {error}");
        assert_eq!(write_all(&mut sink, &batch(1, records(1, 3))), 0);
        assert_eq!(stored_ids(&server), ids(&records(1, 3)), "{call:?}");
    }
}

#[test]
fn a_server_that_is_not_there_is_named() {
    require!(command("openssl"));
    let server = BigQuery::start();
    let mut config = support::config(&server, BigQueryMode::StorageWrite);
    // Nobody listens on a port of a socket that is bound, and not listening.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    drop(taken);
    config.endpoint = Some(format!("http://{address}"));
    let error = BigQuerySink::open(config).unwrap().write(&batch(1, records(1, 1))).unwrap_err();
    assert!(!error.is_lasting());
    assert!(error.to_string().contains(&format!("{address} cannot be reached")), "{error}");
}

#[test]
fn an_encrypted_server_has_to_be_vouched_for() {
    require!(command("openssl"));
    let server = BigQuery::start_encrypted();
    for mode in BigQueryMode::ALL {
        let mut config = support::config(&server, mode);
        config.root_certificates = Some(server.root_certificate());
        let sent = batch(mode as u64 + 1, records(mode as u64 + 1, 3));
        BigQuerySink::open(config.clone()).unwrap().write(&sent).unwrap();
        config.root_certificates = None;
        let error = BigQuerySink::open(config).unwrap().write(&sent).unwrap_err();
        assert!(error.to_string().contains("certificate"), "{error}");
    }
    assert_eq!(server.rows(TABLE).len(), 6);
}

#[test]
fn a_sink_can_be_made_on_one_thread_and_used_on_another() {
    require!(command("openssl"));
    let server = Arc::new(BigQuery::start());
    let mut sink = open(&server, BigQueryMode::StorageWrite);
    let sent = records(1, 3);
    let written = std::thread::spawn(move || sink.write(&batch(1, sent)));
    written.join().unwrap().unwrap();
    assert_eq!(server.rows(TABLE).len(), 3);
}
