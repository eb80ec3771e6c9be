//! Bounds, and bad surroundings.

use std::fs;

use netglass_testing::{Namespace, Signal, require};

use crate::support::{Database, Ledger, Probing, clients, server};

#[test]
fn a_full_table_is_counted_and_the_option_to_raise_is_named() {
    require!(root);
    let host = Namespace::new("host");
    let _servers: Vec<_> =
        (8001..8005).map(|port| server(&host, &format!("127.0.0.1:{port}"))).collect();
    let _clients: Vec<_> =
        (8001..8005).map(|port| clients(&host, &format!("127.0.0.1:{port}"), 2)).collect();
    let database = Database::new();
    let output = database.probe_once(&host, &["--max-flows", "2"]);
    let ledger = Ledger::read(&output.stdout);
    assert!(ledger.skipped("table_full") > 0, "{ledger:?}");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("raise --max-flows or --max-sockets"), "{stderr}");
}

#[test]
fn an_interval_longer_than_the_flush_interval_is_wrong_usage() {
    require!(root);
    let host = Namespace::new("host");
    let database = Database::new();
    let output = database
        .netglass(&host, &["probe", "--interval", "20s", "--flush-interval", "10s"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("--interval (20s) is longer than --flush-interval (10s)"), "{stderr}");
    assert!(!database.path().exists(), "nothing was begun");
}

#[test]
fn what_the_database_cannot_take_is_kept_until_it_can() {
    require!(root);
    let host = Namespace::new("host");
    let _server = server(&host, "127.0.0.1:8080");
    let _clients = clients(&host, "127.0.0.1:8080", 3);
    let database = Database::new();
    // Another program holds the database.
    database.probe_once(&host, &[]);
    let path = database.path();
    let lock = rusqlite::Connection::open(&path).unwrap();
    lock.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let probe = Probing::start(&database, &host, &["--flush-interval", "10ms"]);
    probe.wait_for_line("what was seen is kept and tried again");
    lock.execute_batch("COMMIT").unwrap();
    probe.wait_for_line("the database is back; what had waited is stored");
    let finished = probe.end(Signal::TERM);
    assert!(finished.status.success(), "{finished:?}");
    let ledger = Ledger::read(&finished.stdout);
    assert_eq!((ledger.count("seen"), ledger.skipped_total()), (ledger.count("stored"), 0));
}

#[test]
fn what_was_never_stored_is_told_and_is_a_failure() {
    require!(root);
    let host = Namespace::new("host");
    let _server = server(&host, "127.0.0.1:8080");
    let database = Database::new();
    let probe = Probing::start(&database, &host, &["--flush-interval", "1h"]);
    probe.wait_until_seen(1);
    let other = rusqlite::Connection::open(database.path()).unwrap();
    other.execute_batch("DROP TABLE flow_observation").unwrap();
    let finished = probe.end(Signal::TERM);
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    let ledger = Ledger::read(&finished.stdout);
    assert!(ledger.skipped("database") > 0);
    let stderr = String::from_utf8(finished.stderr).unwrap();
    assert!(stderr.contains("sightings of sockets could not be stored"), "{stderr}");
}

#[test]
fn a_path_that_cannot_be_written_is_a_clear_error() {
    require!(root);
    let host = Namespace::new("host");
    let database = Database::new();
    fs::create_dir(database.path()).unwrap();
    let output = database.netglass(&host, &["probe", "--once"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains(database.path().to_str().unwrap()), "{stderr}");
    assert!(stderr.contains("directory"), "{stderr}");
}

#[test]
fn a_second_probe_of_the_same_sockets_is_refused() {
    require!(root);
    let (host, other_host) = (Namespace::new("host"), Namespace::new("other"));
    let _server = server(&host, "127.0.0.1:8080");
    let database = Database::new();
    let probe = Probing::start(&database, &host, &["--flush-interval", "10ms"]);
    probe.wait_until_seen(1);
    for options in [&[][..], &["--all-namespaces"]] {
        let arguments = [&["probe", "--once"], options].concat();
        let output = database.netglass(&host, &arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains("another probe of this host writes there"), "{stderr}");
    }
    // Another namespace's sockets are others.
    database.probe_once(&other_host, &[]);
    // A probe that is killed leaves nothing behind that would have to be removed.
    drop(probe);
    database.probe_once(&host, &[]);
}
