//! Conversations in a table of BigQuery, with the real program and a server that is as strict.
#![cfg(feature = "bigquery")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    net::UdpSocket,
    process::Command,
    time::{Duration, Instant},
};

use netglass_testing::{BigQuery, BigQueryCall, BigQueryFault, Ended, Running, Signal, require};
use serde_json::{Map, Value};

const TABLE: &str = "flow_logs";

netglass_testing::own_place! {
    /// Where the program runs, with capture files.
    struct Place;
}

impl Place {
    fn new() -> Self {
        let place = netglass_testing::Place::new();
        place.file("none.pcap", pcap(0));
        place.file("three.pcap", pcap(3));
        Self(place)
    }

    /// Captures to the server, with the words of `line` as further arguments.
    fn capture(&self, server: &BigQuery, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_netglass"));
        command.arg("capture");
        let mut command = self.prepare(command, line.split_whitespace());
        command
            .env("NETGLASS_BQ_PROJECT_ID", BigQuery::PROJECT)
            .env("NETGLASS_BQ_DATASET", BigQuery::DATASET)
            .env("NETGLASS_BQ_SA_KEY_DATA", server.key())
            .env("NETGLASS_BQ_ENDPOINT", server.endpoint());
        command
    }

    fn run(&self, server: &BigQuery, line: &str) -> Ended {
        Ended::by(&mut self.capture(server, line))
    }
}

/// A capture file with so many conversations over UDP of one packet each.
fn pcap(conversations: u8) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend(0xa1b2_c3d4_u32.to_le_bytes());
    file.extend([2, 0, 4, 0]);
    file.extend([0; 8]);
    file.extend(65_535_u32.to_le_bytes());
    // Packets begin with the header of IPv4 or IPv6 (LINKTYPE_RAW).
    file.extend(101_u32.to_le_bytes());
    for number in 0..conversations {
        let length = 20 + 8 + 4;
        file.extend(1_700_000_000_u32.to_le_bytes());
        file.extend(u32::from(number).to_le_bytes());
        file.extend(u32::from(length).to_le_bytes());
        file.extend(u32::from(length).to_le_bytes());
        file.extend([0x45, 0, 0, length, 0, 0, 0, 0, 64, 17, 0, 0]);
        file.extend([10, 0, 0, 1]);
        file.extend([10, 0, 1, number]);
        file.extend([0x30, 0x39, 0, 53, 0, 12, 0, 0]);
        file.extend(b"data");
    }
    file
}

/// Of a server that is away: nobody listens there (TCP port service multiplexer).
const AWAY: &str = "http://127.0.0.1:1";

fn ids(rows: &[Map<String, Value>]) -> Vec<&str> {
    rows.iter().map(|row| row["id"].as_str().unwrap()).collect()
}

/// Rows without what is empty, as JSON has them; moments in microseconds since 1970.
fn as_json(row: Map<String, Value>) -> Map<String, Value> {
    row.into_iter().filter(|(_, value)| !value.is_null()).collect()
}

/// A line of JSON as a row: moments there end with the microsecond.
fn as_row(line: &str) -> Map<String, Value> {
    let mut object: Map<String, Value> = serde_json::from_str(line).unwrap();
    assert!(object.remove("version").is_some());
    for moment in ["first_seen_at", "last_seen_at"] {
        let text = object[moment].as_str().unwrap();
        let microseconds = text.parse::<jiff::Timestamp>().unwrap().as_microsecond();
        object.insert(moment.to_owned(), microseconds.into());
    }
    object
}

#[test]
fn rows_are_what_json_says() {
    require!(command("openssl"));
    for mode in ["storage-write", "insert-all"] {
        let (place, server) = (Place::new(), BigQuery::start());
        let line = format!("-r three.pcap --output stdout,bigquery --bq-mode {mode}");
        let ended = place.run(&server, &line);
        assert_eq!(ended.status, 0, "{ended:?}");
        let expected: Vec<_> = ended.stdout.lines().map(as_row).collect();
        let rows: Vec<_> = server.rows(TABLE).into_iter().map(as_json).collect();
        assert_eq!((expected.len(), rows), (3, expected));
        let ledger = "the BigQuery table test-project.test_dataset.flow_logs: 3 flow records = 3 \
                      stored + 0 dropped";
        assert!(ended.stderr.contains(ledger), "{ended:?}");
        assert_eq!(server.violations(), [""; 0]);
    }
}

#[test]
fn a_server_that_comes_back_gets_what_had_waited() {
    require!(command("openssl"));
    for spool in ["", "--spool-dir spool"] {
        let (place, server) = (Place::new(), BigQuery::start());
        for _ in 0..3 {
            server.fail(BigQueryCall::GetTable, BigQueryFault::CutBefore);
        }
        let ended = place.run(&server, &format!("-r three.pcap --output bigquery {spool}"));
        assert_eq!((ended.status, server.rows(TABLE).len()), (0, 3), "{ended:?}");
        for told in ["packets are captured all the same", "is back; what had waited is delivered"] {
            assert!(ended.stderr.contains(told), "{ended:?}");
        }
    }
}

#[test]
fn a_server_that_is_silent_at_the_start_is_not_waited_for() {
    require!(command("openssl"));
    let (place, server) = (Place::new(), BigQuery::start());
    server.fail(BigQueryCall::GetTable, BigQueryFault::Slow(Duration::from_secs(3600)));
    let ended = place.run(&server, "-r three.pcap --output bigquery");
    assert_eq!((ended.status, server.rows(TABLE).len()), (0, 3), "{ended:?}");
    let told = "there was no answer in time";
    assert!(ended.stderr.contains(told), "{ended:?}");
}

#[test]
fn conversations_of_an_interface_are_stored_while_they_go_on() {
    require!(root, command("openssl"));
    let (place, server) = (Place::new(), BigQuery::start());
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = receiver.local_addr().unwrap().port();
    let line = format!(
        "-i lo --output bigquery --active-timeout 100ms --batch-interval 10ms udp dst port {port}"
    );
    let program = Running::spawn(place.capture(&server, &line));
    let deadline = Instant::now() + Duration::from_secs(60);
    // The kernel tells nobody when an interface is captured on.
    while server.rows(TABLE).is_empty() {
        assert!(Instant::now() < deadline, "{:?}", String::from_utf8(program.stderr()));
        sender.send_to(b"data", ("127.0.0.1", port)).unwrap();
        std::thread::sleep(Duration::from_millis(10));
    }
    program.signal(Signal::TERM);
    let ended = program.wait();
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(0), "{stderr}");
    let rows = server.rows(TABLE);
    let told = format!(" = {} stored + 0 dropped", rows.len());
    assert!(stderr.contains(&told), "{told}: {stderr}");
    assert!(rows.iter().all(|row| row["dst_port"] == port), "{rows:?}");
    assert_eq!(rows[0]["src_process_pid"], std::process::id(), "{rows:?}");
}

#[test]
fn the_spool_is_delivered_by_the_next_run() {
    require!(command("openssl"));
    let (place, server) = (Place::new(), BigQuery::start());
    let spool = "--output bigquery --spool-dir spool --drain-timeout 10ms";
    let away = format!("-r three.pcap {spool} --bq-endpoint {AWAY}");
    let ended = place.run(&server, &away);
    assert_eq!(ended.status, 0, "what is on disk is not lost: {ended:?}");
    assert!(ended.stderr.contains("3 flow records = 0 stored + 3 spooled"), "{ended:?}");
    let told = "3 flow records wait in the spool for the BigQuery table";
    assert!(ended.stderr.contains(told), "{ended:?}");

    // Not to another table.
    let spool = "--output bigquery --spool-dir spool";
    let ended = place.run(&server, &format!("-r none.pcap {spool} --bq-table other"));
    assert_eq!((ended.status, server.rows("other").len()), (0, 0), "{ended:?}");

    let ended = place.run(&server, &format!("-r none.pcap {spool}"));
    assert_eq!((ended.status, server.rows(TABLE).len()), (0, 3), "{ended:?}");
    assert!(ended.stderr.contains("of earlier runs wait in the spool"), "{ended:?}");
}

#[test]
fn a_batch_that_outlives_its_process_is_stored_once() {
    require!(command("openssl"));
    let (place, server) = (Place::new(), BigQuery::start());
    // Rows are stored, but nobody learns of it.
    let long = Duration::from_secs(60);
    server.fail(BigQueryCall::AppendRows, BigQueryFault::Slow(long));
    let line = "-r three.pcap --output bigquery --spool-dir spool --drain-timeout 60s";
    let program = Running::spawn(place.capture(&server, line));
    let deadline = Instant::now() + long;
    while server.rows(TABLE).is_empty() {
        assert!(Instant::now() < deadline, "{:?}", String::from_utf8(program.stderr()));
        std::thread::sleep(Duration::from_millis(5));
    }
    program.signal(Signal::KILL);
    program.wait();

    let ended = place.run(&server, "-r none.pcap --output bigquery --spool-dir spool");
    assert_eq!((ended.status, server.rows(TABLE).len()), (0, 3), "{ended:?}");
    let rows = server.rows(TABLE);
    let mut different = ids(&rows);
    different.sort_unstable();
    different.dedup();
    assert_eq!(different.len(), 3);
}

#[test]
fn a_signal_is_heard_while_a_full_queue_is_waited_for() {
    require!(command("openssl"));
    let (place, server) = (Place::new(), BigQuery::start());
    fs::write(place.path("many.pcap"), pcap(200)).unwrap();
    // It takes what it is given, and is in no hurry to say so.
    server.fail(BigQueryCall::AppendRows, BigQueryFault::Slow(Duration::from_secs(3600)));
    let line = "-r many.pcap --output bigquery --batch-size 10 --queue-limit 20 --max-flows 10 \
                --drain-timeout 200ms --stats-format json --stats-interval 50ms";
    let program = Running::spawn(place.capture(&server, line));
    let deadline = Instant::now() + Duration::from_secs(60);
    while server.rows(TABLE).is_empty() {
        assert!(Instant::now() < deadline, "{:?}", String::from_utf8(program.stderr()));
        std::thread::sleep(Duration::from_millis(5));
    }
    // By now the queue is full, or will be soon.
    let asked = Instant::now();
    program.signal(Signal::TERM);
    let ended = program.wait();
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert!(asked.elapsed() < Duration::from_secs(30), "{stderr}");
    assert_eq!(ended.status.code(), Some(1), "{stderr}");
    let ledger = stderr.lines().rfind(|line| line.contains("capture_ledger")).unwrap();
    let ledger: Value = serde_json::from_str(ledger).unwrap();
    let output = &ledger["outputs"][0];
    let number = |value: &Value| value.as_u64().unwrap();
    let dropped: u64 = output["dropped"].as_object().unwrap().values().map(number).sum();
    assert_eq!(number(&output["records"]), number(&output["stored"]) + dropped, "{stderr}");
    // Each packet is of another conversation, and each of those that were read is named.
    assert_eq!(ledger["packets"]["in_flows"], output["records"], "{stderr}");
}

#[test]
fn what_is_wrong_with_the_key_is_said_at_once_and_without_it() {
    require!(command("openssl"));
    let (place, server) = (Place::new(), BigQuery::start());
    let mut foreign: Value = serde_json::from_str(&server.key()).unwrap();
    let secret = foreign["private_key"].as_str().unwrap().lines().nth(3).unwrap().to_owned();
    foreign["client_email"] = "somebody@else".into();
    for (key, told) in [
        (foreign.to_string(), "the credentials are not accepted"),
        (server.key().replace("BEGIN", "X"), "no key in PEM"),
        (server.key().replace('"', ""), "is not as in a JSON key of Google"),
    ] {
        let mut command = place.capture(&server, "-r three.pcap --output stdout,bigquery");
        let ended = Ended::by(
            command.env_remove("NETGLASS_BQ_SA_KEY_DATA").args(["--bq-sa-key-data", &key]),
        );
        assert_eq!((ended.status, &*ended.stdout), (1, ""), "{ended:?}");
        assert!(ended.stderr.contains(told), "{ended:?}");
        assert!(!ended.stderr.contains(&secret), "{ended:?}");
    }
}

#[test]
fn what_is_missing_is_said_at_once() {
    require!(command("openssl"));
    let (place, server) = (Place::new(), BigQuery::start());
    let capture = |arguments: &str| {
        place.run(&server, &format!("-r three.pcap --output bigquery {arguments}"))
    };
    for (arguments, status, told) in [
        ("--bq-dataset none", 1, "make the dataset with `bq mk --dataset PROJECT:DATASET`"),
        ("--bq-dataset a/b", 1, "set --bq-dataset"),
        ("--bq-mode quick", 2, "storage-write, insert-all"),
        ("--bq-sa-key-file key.json", 2, "cannot be used with"),
    ] {
        let ended = capture(arguments);
        assert_eq!((ended.status, &*ended.stdout), (status, ""), "{ended:?}");
        assert!(ended.stderr.contains(told), "{told}: {ended:?}");
    }
    let mut command = place.capture(&server, "-r three.pcap --output bigquery");
    let ended = Ended::by(command.env_remove("NETGLASS_BQ_PROJECT_ID"));
    assert_eq!(ended.status, 2, "{ended:?}");
    assert!(ended.stderr.contains("--output bigquery needs --bq-project-id"), "{ended:?}");
}

#[test]
fn the_key_is_taken_out_of_sight_and_other_outputs_go_on_while_bigquery_is_away() {
    require!(command("openssl"));
    let (place, server) = (Place::new(), BigQuery::start());
    let line = "-r three.pcap --output bigquery,stdout --drain-timeout 60s";
    let mut command = place.capture(&server, line);
    command
        .env_remove("NETGLASS_BQ_SA_KEY_DATA")
        .args(["--bq-sa-key-data", &server.key()])
        .args(["--bq-endpoint", AWAY]);
    let program = Running::spawn(command);
    program.wait_for_lines("\"id\":", 3);
    program.wait_for_line("waits in memory");
    let seen = fs::read(format!("/proc/{}/cmdline", program.id())).unwrap();
    let seen = String::from_utf8(seen).unwrap();
    assert!(seen.contains("--bq-endpoint\0http://"), "{seen}");
    assert!(!seen.contains("--bq-sa-key-data") && !seen.contains("private_key"), "{seen}");

    // Nobody has to wait for as long as that.
    program.signal(Signal::INT);
    let ended = program.wait();
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("not everything was logged"), "{stderr}");
    assert!(stderr.contains("3 flow records = 0 stored + 3 dropped (3 abandoned)"), "{stderr}");
}

#[test]
fn no_thread_keeps_privileges() {
    require!(root, command("openssl"));
    let (place, server) = (Place::new(), BigQuery::start());
    let line = "-r three.pcap --output bigquery --drain-timeout 60s --spool-dir spool";
    let mut command = place.capture(&server, line);
    let program = Running::spawn({
        command.args(["--bq-endpoint", AWAY]);
        command
    });
    program.wait_for_line("waits in the spool");
    let mut threads = 0;
    for task in fs::read_dir(format!("/proc/{}/task", program.id())).unwrap() {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
        assert_eq!(u64::from_str_radix(effective.trim(), 16), Ok(0), "{status}");
        threads += 1;
    }
    assert!(threads >= 3, "the main one, that of signals, and that which delivers: {threads}");
}
