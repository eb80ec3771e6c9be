//! Whatever happens, each row is stored once.

use std::time::Duration;

use netglass_testing::{BigQuery, BigQueryCall, BigQueryFault, require};
use proptest::{collection::vec, prelude::*, sample::select, test_runner::TestRunner};

use super::{
    super::{BigQueryMode, BigQuerySink},
    support::{config, ids, open, records, stored_ids, write_all},
};
use crate::flow_log::{FlowSink as _, fixtures::batch};

/// After which it has to be found out what was stored.
const FAULTS: [BigQueryFault; 9] = [
    BigQueryFault::Unauthenticated,
    BigQueryFault::RateLimited,
    BigQueryFault::Unavailable,
    BigQueryFault::UnavailableAfter,
    BigQueryFault::CutBefore,
    BigQueryFault::CutAfter,
    BigQueryFault::Finalized,
    BigQueryFault::FinalizedAfter,
    BigQueryFault::StreamForgotten,
];

#[test]
fn after_every_fault_rows_are_stored_once() {
    require!(command("openssl"));
    for (mode, call) in [
        (BigQueryMode::StorageWrite, BigQueryCall::AppendRows),
        (BigQueryMode::StorageWrite, BigQueryCall::CreateWriteStream),
        (BigQueryMode::StorageWrite, BigQueryCall::GetTable),
        (BigQueryMode::StorageWrite, BigQueryCall::InsertTable),
        (BigQueryMode::StorageWrite, BigQueryCall::Token),
        (BigQueryMode::InsertAll, BigQueryCall::InsertAll),
    ] {
        // The same twice and three times: neither the first call nor the next help.
        for (fault, times) in FAULTS.into_iter().flat_map(|fault| [1, 2, 3].map(|n| (fault, n))) {
            // Twice in a row, or by the token server itself, it is meant.
            if fault == BigQueryFault::Unauthenticated && (times > 1 || call == BigQueryCall::Token)
            {
                continue;
            }
            let server = BigQuery::start();
            let mut sink = open(&server, mode);
            for _ in 0..times {
                server.fail(call, fault);
            }
            let mut sent = Vec::new();
            for sequence in 1..=3 {
                write_all(&mut sink, &batch(sequence, records(sequence, 4)));
                sent.extend(ids(&records(sequence, 4)));
            }
            if matches!(call, BigQueryCall::AppendRows | BigQueryCall::InsertAll) {
                assert_eq!(server.faults_left(), 0);
            }
            assert_eq!(stored_ids(&server), sent, "{mode:?} {call:?} {times} times {fault:?}");
            assert_eq!(server.violations(), [] as [String; 0], "{mode:?} {call:?} {fault:?}");
        }
    }
}

#[test]
fn a_batch_that_failed_may_come_after_others() {
    require!(command("openssl"));
    let server = BigQuery::start();
    let mut sink = open(&server, BigQueryMode::StorageWrite);
    sink.write(&batch(1, records(1, 3))).unwrap();
    for _ in 0..2 {
        server.fail(BigQueryCall::AppendRows, BigQueryFault::CutAfter);
    }
    sink.write(&batch(2, records(2, 3))).unwrap_err();
    sink.write(&batch(3, records(3, 3))).unwrap();
    sink.write(&batch(2, records(2, 3))).unwrap();
    sink.write(&batch(4, records(4, 3))).unwrap();
    let mut stored = stored_ids(&server);
    stored.sort();
    let sent: Vec<_> = (1..=4).flat_map(|sequence| ids(&records(sequence, 3))).collect();
    assert_eq!(stored, sent);
}

#[test]
fn a_batch_that_comes_again_after_a_crash_is_stored_once() {
    require!(command("openssl"));
    let server = BigQuery::start();
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&server, BigQueryMode::StorageWrite);
    config.journal = Some(folder.path().join("journal"));
    let open = || BigQuerySink::open(config.clone()).unwrap();
    let mut sink = open();
    sink.write(&batch(1, records(1, 3))).unwrap();
    drop(sink);
    for _ in 0..2 {
        server.fail(BigQueryCall::AppendRows, BigQueryFault::CutAfter);
    }
    open().write(&batch(2, records(2, 3))).unwrap_err();
    // What was stored, but not yet known to be by who gives it.
    let mut sink = open();
    sink.write(&batch(2, records(2, 3))).unwrap();
    sink.write(&batch(3, records(3, 3))).unwrap();
    drop(sink);
    let mut sink = open();
    sink.write(&batch(3, records(3, 3))).unwrap();
    sink.write(&batch(4, records(4, 3))).unwrap();
    let sent: Vec<_> = (1..=4).flat_map(|sequence| ids(&records(sequence, 3))).collect();
    let mut stored = stored_ids(&server);
    stored.sort();
    assert_eq!(stored, sent);
}

#[test]
fn what_was_refused_before_a_crash_is_counted_after_it() {
    require!(command("openssl"));
    let server = BigQuery::start();
    server.refuse_rows("interface", "bad0");
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&server, BigQueryMode::StorageWrite);
    config.journal = Some(folder.path().join("journal"));
    let mut sent = records(1, 3);
    sent[1].interface = Some("bad0".into());
    // The refusal arrives; then what is left is stored, and nobody learns of it.
    server.fail(BigQueryCall::AppendRows, BigQueryFault::Slow(Duration::ZERO));
    for _ in 0..2 {
        server.fail(BigQueryCall::AppendRows, BigQueryFault::CutAfter);
    }
    BigQuerySink::open(config.clone()).unwrap().write(&batch(1, sent.clone())).unwrap_err();
    let mut sink = BigQuerySink::open(config).unwrap();
    sink.write(&batch(1, sent.clone())).unwrap();
    assert_eq!(sink.take_refusals().records, 1);
    sent.remove(1);
    assert_eq!(stored_ids(&server), ids(&sent));
}

#[test]
fn a_journal_that_cannot_be_read_is_not_passed_over() {
    require!(command("openssl"));
    let server = BigQuery::start();
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&server, BigQueryMode::StorageWrite);
    let journal = folder.path().join("journal");
    std::fs::write(&journal, "{").unwrap();
    config.journal = Some(journal);
    let error = BigQuerySink::open(config).err().unwrap().to_string();
    assert!(error.contains("move it away"), "{error}");
}

fn any_call() -> impl Strategy<Value = BigQueryCall> {
    prop_oneof![
        8 => Just(BigQueryCall::AppendRows),
        2 => Just(BigQueryCall::CreateWriteStream),
        1 => Just(BigQueryCall::FinalizeWriteStream),
        1 => Just(BigQueryCall::GetTable),
        8 => Just(BigQueryCall::InsertAll),
        1 => Just(BigQueryCall::Token),
    ]
}

/// What an account that is not accepted twice in a row needs is somebody, and no patience; and whether
/// rows were stored before their stream was forgotten nobody can tell.
fn any_fault() -> impl Strategy<Value = BigQueryFault> {
    let passing = FAULTS.into_iter().filter(|fault| {
        !matches!(fault, BigQueryFault::Unauthenticated | BigQueryFault::StreamForgotten)
    });
    select(passing.chain([BigQueryFault::Partial, BigQueryFault::Stopped]).collect::<Vec<_>>())
}

#[test]
fn each_row_is_stored_once_whatever_fails() {
    require!(command("openssl"));
    let faults = vec((any_call(), any_fault()), 0..4);
    let batches = vec((1_u64..20, faults, any::<bool>()), 1..30);
    let config =
        ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new(config);
    let checked = runner.run(&(any::<bool>(), batches), |(insert_all, batches)| {
        let mode = if insert_all { BigQueryMode::InsertAll } else { BigQueryMode::StorageWrite };
        let server = BigQuery::start();
        server.refuse_rows("interface", "bad0");
        let mut sink = open(&server, mode);
        let mut sent = Vec::new();
        let mut refused = 0;
        for (sequence, (count, faults, has_bad)) in (1..).zip(batches) {
            for (call, fault) in faults {
                server.fail(call, fault);
            }
            let mut records = records(sequence, count);
            if has_bad {
                server.revoke_tokens();
                records[0].interface = Some("bad0".into());
                refused += 1;
            }
            sent.extend(ids(&records[usize::from(has_bad)..]));
            write_all(&mut sink, &batch(sequence, records));
        }
        let mut stored = stored_ids(&server);
        stored.sort();
        prop_assert_eq!(stored, sent);
        prop_assert_eq!(sink.take_refusals().records, refused);
        prop_assert_eq!(server.violations(), Vec::<String>::new());
        Ok(())
    });
    checked.unwrap();
}
