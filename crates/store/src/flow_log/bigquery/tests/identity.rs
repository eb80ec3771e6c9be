//! As whom we come: keys, users, machines, and tokens that do not last.

use std::fs;

use netglass_testing::{BigQuery, BigQueryCall, BigQueryFault, require};

use super::{
    super::{
        BigQueryConfig, BigQueryCredentials, BigQueryMode, BigQuerySink, credentials::Surroundings,
    },
    support::{PATIENCE, TABLE, config, ids, open, records, stored_ids},
};
use crate::{
    Password,
    flow_log::{FlowSink as _, SinkError, fixtures::batch},
};

/// With what is found where nothing else is said.
fn by_default(server: &BigQuery, surroundings: &Surroundings) -> Result<BigQuerySink, SinkError> {
    let config = BigQueryConfig {
        credentials: BigQueryCredentials::ApplicationDefault,
        ..config(server, BigQueryMode::StorageWrite)
    };
    BigQuerySink::open_in(config, surroundings)
}

#[test]
fn every_kind_of_credentials_gets_a_token() {
    require!(command("openssl"));
    let server = BigQuery::start();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: String| {
        let file = folder.path().join(name);
        fs::write(&file, text).unwrap();
        file
    };
    let key = file("key.json", server.key());
    file("application_default_credentials.json", server.user_credentials());

    let with_file = BigQueryConfig {
        credentials: BigQueryCredentials::KeyFile(key.clone()),
        ..config(&server, BigQueryMode::StorageWrite)
    };
    let none = Surroundings::default;
    let gcloud = Some(folder.path().to_owned());
    let sinks = [
        BigQuerySink::open(with_file).unwrap(),
        by_default(&server, &Surroundings { named: Some(key), ..none() }).unwrap(),
        by_default(&server, &Surroundings { gcloud, ..none() }).unwrap(),
        by_default(&server, &Surroundings { metadata_host: Some(server.authority()), ..none() })
            .unwrap(),
    ];
    for (sequence, mut sink) in (1..).zip(sinks) {
        sink.write(&batch(sequence, records(sequence, 1))).unwrap();
    }
    assert_eq!(server.calls(BigQueryCall::Token), 4);
    assert_eq!(server.rows(TABLE).len(), 4);
    assert_eq!(server.violations(), [] as [String; 0]);
}

#[test]
fn a_token_that_is_not_good_any_more_is_replaced_once() {
    require!(command("openssl"));
    for mode in BigQueryMode::ALL {
        let server = BigQuery::start();
        let mut sink = open(&server, mode);
        sink.write(&batch(1, records(1, 2))).unwrap();
        server.revoke_tokens();
        server.fail(BigQueryCall::AppendRows, BigQueryFault::CutBefore);
        server.fail(BigQueryCall::InsertAll, BigQueryFault::CutBefore);
        let failures = super::support::write_all(&mut sink, &batch(2, records(2, 2)));
        assert!(failures <= 1, "{failures}");
        assert_eq!(server.calls(BigQueryCall::Token), 2, "{mode:?}");
        assert_eq!(stored_ids(&server), ids(&[records(1, 2), records(2, 2)].concat()));
    }
}

#[test]
fn a_token_that_ends_soon_is_replaced_before_it_does() {
    require!(command("openssl"));
    let server = BigQuery::start();
    server.set_token_lifetime(100);
    let mut sink = open(&server, BigQueryMode::InsertAll);
    for sequence in 1..=3 {
        sink.write(&batch(sequence, records(sequence, 1))).unwrap();
    }
    // For the look at the table, its making, and three times rows.
    assert_eq!(server.calls(BigQueryCall::Token), 5);
}

#[test]
fn an_account_that_is_not_accepted_is_told_after_a_second_try() {
    require!(command("openssl"));
    for (mode, call) in [
        (BigQueryMode::StorageWrite, BigQueryCall::CreateWriteStream),
        (BigQueryMode::StorageWrite, BigQueryCall::AppendRows),
        (BigQueryMode::InsertAll, BigQueryCall::InsertAll),
    ] {
        let server = BigQuery::start();
        let mut sink = open(&server, mode);
        server.fail(call, BigQueryFault::Unauthenticated);
        sink.write(&batch(1, records(1, 1))).unwrap();
        let mut sink = open(&server, mode);
        server.fail(call, BigQueryFault::Unauthenticated);
        server.fail(call, BigQueryFault::Unauthenticated);
        let error = sink.write(&batch(2, records(2, 1))).unwrap_err();
        assert!(error.is_lasting(), "{error}");
        assert!(error.to_string().contains("credentials are not accepted"), "{error}");
        assert_eq!(server.faults_left(), 0);
    }
}

#[test]
fn no_secret_shows_in_what_goes_wrong() {
    require!(command("openssl"));
    let server = BigQuery::start();
    let mut key: serde_json::Value = serde_json::from_str(&server.key()).unwrap();
    let secret = key["private_key"].as_str().unwrap().lines().nth(3).unwrap().to_owned();
    key["client_email"] = "somebody@else".into();
    let mut shown = Vec::new();
    for text in [key.to_string(), server.key().replace('"', ""), server.key().replace("BEGIN", "X")]
    {
        let config = BigQueryConfig {
            credentials: BigQueryCredentials::KeyData(Password::new(text)),
            ..config(&server, BigQueryMode::StorageWrite)
        };
        shown.push(format!("{config:?}"));
        let opened = BigQuerySink::open(config).and_then(|mut sink| sink.prepare(PATIENCE));
        let error = opened.unwrap_err();
        assert!(error.is_lasting());
        shown.push(format!("{error} {error:?}"));
    }
    assert!(shown[1].contains("invalid_grant Invalid grant: account not found"), "{}", shown[1]);
    for shown in shown {
        assert!(!shown.contains(&secret) && !shown.contains("ya29"), "{shown}");
    }
}
