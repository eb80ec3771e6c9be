//! What needs a look behind the trait: limits, locks, steps and damaged rows.

use std::{net::IpAddr, path::Path, sync::Arc, time::Duration};

use netglass_model::{
    Attribution, Direction, Endpoint, Failures, FlowCounters, Host, HostAddress, HostFlow, HostId,
    Listener, NamespaceInode, NetworkNamespace, Observations, Process, Protocol, RttSamples,
    Timestamp,
};
use netglass_testing::flush;
use proptest::prelude::*;
use rusqlite::Connection;
use uuid::Uuid;

use super::{Sqlite, connect::Options, migration::STEPS};
use crate::{Access, Database, Error, Settings, Window, flow_log::FlowBatch};

mod resolutions;

const ALWAYS: Window = Window { since: Timestamp::MIN, until: Timestamp::MAX };
const WEEK: i64 = 7 * 24 * 60 * 60;

fn at(second: i64) -> Timestamp {
    Timestamp::from_nanoseconds(second * 1_000_000_000)
}

fn open(path: &Path) -> Sqlite {
    let retention = Duration::from_secs(WEEK.unsigned_abs());
    Sqlite::open(path, Access::Write, Settings { retention, ..Settings::default() }).unwrap()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn flow(port: u16, counters: FlowCounters, second: i64) -> HostFlow {
    HostFlow {
        namespace: NamespaceInode(1),
        protocol: Protocol::Tcp,
        direction: Direction::Active,
        local: Endpoint::many(address("10.0.0.1")),
        peer: Endpoint::numbered(address("10.0.0.2"), port),
        process: Some(Arc::new(Process {
            pid: u32::from(port),
            start_time: at(0),
            pgid: 1,
            ppid: 1,
            family: 1,
            uid: None,
            gid: None,
            comm: "curl".to_owned(),
            exe: None,
            cgroup: None,
            container: None,
            command_line: None,
        })),
        attribution: Attribution::Socket,
        counters,
        first_seen: at(second),
        last_seen: at(second),
    }
}

fn observations(flows: Vec<HostFlow>) -> Observations {
    let host = Host {
        id: HostId { machine_id: "m".to_owned(), hostname: "h".to_owned() },
        namespace: NamespaceInode(1),
        addresses: vec![HostAddress { namespace: NamespaceInode(1), address: address("10.0.0.1") }],
    };
    let listeners = flows
        .iter()
        .map(|flow| Listener {
            namespace: flow.namespace,
            protocol: flow.protocol,
            local: flow.peer,
            process: flow.process.clone(),
            first_seen: flow.first_seen,
            last_seen: flow.last_seen,
        })
        .collect();
    let namespaces =
        vec![NetworkNamespace { inode: NamespaceInode(1), name: Some("blue".to_owned()) }];
    Observations { host, namespaces, flows, listeners, translations: Vec::new() }
}

fn many(count: u16, second: i64) -> Observations {
    let one = FlowCounters { connections: 1, opened: 1, ..FlowCounters::default() };
    observations((1..=count).map(|port| flow(port, one, second)).collect())
}

fn read(database: &mut dyn Database) -> Vec<HostFlow> {
    let mut flows = Vec::new();
    database.snapshot(ALWAYS).unwrap().flows(None, &mut |_, flow| flows.push(flow)).unwrap();
    flows
}

fn rows(connection: &Connection, table: &str) -> i64 {
    connection.query_row(&format!("SELECT count(*) FROM {table}"), (), |row| row.get(0)).unwrap()
}

#[test]
fn a_full_disk_is_said_and_leaves_the_database_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let mut database = open(&directory.path().join("db"));
    database.write(&flush(&many(3, 60))).unwrap();
    let limit = |database: &Sqlite, pages: i64| {
        let connection = &database.connected.connection;
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    };
    limit(&database, 60);
    let error = database.write(&flush(&many(5_000, 120))).unwrap_err();
    assert!(matches!(error, Error::Full { .. }), "{error}");
    assert!(error.to_string().contains("no space is left"), "{error}");
    assert_eq!(read(&mut database).len(), 3);
    assert_eq!(rows(&database.connected.connection, "process"), 3);

    limit(&database, 1_000_000);
    database.write(&flush(&many(5_000, 120))).unwrap();
    let opened = read(&mut database).iter().map(|flow| flow.counters.opened).sum::<u64>();
    assert_eq!(opened, 5_003);
}

#[test]
fn a_lock_held_for_too_long_is_said_and_the_next_write_succeeds() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let options =
        Options { access: Access::Write, patience: Duration::from_millis(20), steps: STEPS };
    let mut database = Sqlite::open_with(&path, Settings::default(), options).unwrap();

    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = database.write(&flush(&many(3, 60))).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    assert!(error.to_string().contains("locked for too long"), "{error}");
    assert!(matches!(database.maintain(at(WEEK)), Err(Error::Locked { .. })));

    other.execute_batch("ROLLBACK").unwrap();
    database.write(&flush(&many(3, 60))).unwrap();
    assert_eq!(read(&mut database).len(), 3);
}

#[test]
fn an_older_schema_is_migrated_for_writing_and_refused_for_reading() {
    const NEXT: &[&str] = &[
        STEPS[0],
        STEPS[1],
        STEPS[2],
        STEPS[3],
        STEPS[4],
        "CREATE TABLE next (value INTEGER) STRICT",
    ];
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    open(&path).write(&flush(&many(3, 60))).unwrap();

    let patience = Duration::from_secs(1);
    let reading = Options { access: Access::Read, patience, steps: NEXT };
    let error = Sqlite::open_with(&path, Settings::default(), reading).unwrap_err();
    assert!(matches!(error, Error::OlderSchema { found: 5, known: 6, .. }), "{error}");
    assert!(error.to_string().contains("netglass create-scheme"), "{error}");

    let writing = Options { access: Access::Write, ..reading };
    let mut migrated = Sqlite::open_with(&path, Settings::default(), writing).unwrap();
    assert_eq!(read(&mut migrated).len(), 3);
    drop(migrated);
    assert!(Sqlite::open_with(&path, Settings::default(), reading).is_ok());

    let error = Sqlite::open(&path, Access::Write, Settings::default()).unwrap_err();
    assert!(matches!(error, Error::NewerSchema { found: 6, known: 5, .. }), "{error}");
}

#[test]
fn a_database_of_version_1_keeps_what_it_counted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let patience = Duration::from_secs(1);
    let first = Options { access: Access::Write, patience, steps: &STEPS[..1] };
    let version_1 = Sqlite::open_with(&path, Settings::default(), first).unwrap();
    let connection = &version_1.connected.connection;
    connection
        .execute_batch(
            "INSERT INTO host VALUES (1, 'm', 'h', 1);
             INSERT INTO namespace VALUES (1, 1, 1, 'blue', 60000000000);
             INSERT INTO process VALUES
                (1, 1, 80, 0, 'curl', '/usr/bin/curl', 1, 1, 1, 33, NULL, '/a', NULL);
             INSERT INTO flow VALUES
                (1, 1, 6, 0, x'0a000001', NULL, x'0a000002', 80, 1, 0, 60000000000);
             INSERT INTO flow_observation VALUES
                (60000000000, 1, 3, 2, 5, 100, 1000, 4, 50, 6, 61000000000, 62000000000);",
        )
        .unwrap();
    drop(version_1);

    let mut database = open(&path);
    let kept = read(&mut database);
    assert_eq!(kept.len(), 1);
    let of_version_1 = FlowCounters {
        connections: 3,
        opened: 2,
        failed: Failures { other: 5, ..Failures::default() },
        bytes_sent: 100,
        bytes_received: 1000,
        segments_sent: 0,
        segments_received: 0,
        retransmits: 4,
        rtt: RttSamples { sum_us: 50, count: 6 },
    };
    assert_eq!(kept[0].counters, of_version_1);
    assert_eq!((kept[0].first_seen, kept[0].last_seen), (at(61), at(62)));
    let process = kept[0].process.clone().unwrap();
    assert_eq!((process.pid, process.exe.as_deref()), (80, Some("/usr/bin/curl")));
    assert_eq!(process.command_line, None);

    let later = FlowCounters {
        connections: 1,
        failed: Failures { refused: 1, other: 1, ..Failures::default() },
        segments_sent: 12,
        segments_received: 13,
        ..FlowCounters::default()
    };
    let again = HostFlow { process: Some(process), ..flow(80, later, 63) };
    database.write(&flush(&observations(vec![again]))).unwrap();
    let mut expected = of_version_1;
    expected.append(&later);
    let merged = read(&mut database);
    assert_eq!(merged.len(), 1, "it is the same flow still");
    assert_eq!(merged[0].counters, expected);
}

#[test]
fn a_database_of_version_4_keeps_its_hosts() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let patience = Duration::from_secs(1);
    let fourth = Options { access: Access::Write, patience, steps: &STEPS[..4] };
    let written = many(3, 60);
    Sqlite::open_with(&path, Settings::default(), fourth).unwrap().write(&flush(&written)).unwrap();

    let mut database = open(&path);
    assert_eq!(
        database.snapshot(ALWAYS).unwrap().hosts().unwrap(),
        std::slice::from_ref(&written.host)
    );
    assert_eq!(read(&mut database).len(), 3);
    let batch = FlowBatch::new(Uuid::nil(), 1, Vec::new());
    database.log_flows(&written.host.id, &batch).unwrap();
    let moved = Host { namespace: NamespaceInode(99), ..written.host.clone() };
    let written = Observations { host: moved.clone(), ..written };
    database.write(&flush(&written)).unwrap();
    assert_eq!(
        database.snapshot(ALWAYS).unwrap().hosts().unwrap(),
        [moved],
        "it is the same host still"
    );
}

#[test]
fn an_open_file_that_is_closed_leaves_nothing_beside_the_database() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    open(&path).write(&flush(&many(3, 60))).unwrap();
    let mut reader = Sqlite::open(&path, Access::Read, Settings::default()).unwrap();
    assert_eq!(read(&mut reader).len(), 3);
    drop(reader);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn values_that_netglass_does_not_write_are_an_error() {
    for damage in [
        "UPDATE flow SET local_address = x'0a'",
        "UPDATE flow SET peer_address = zeroblob(17)",
        "UPDATE flow SET protocol = 99",
        "UPDATE flow SET protocol = -1",
        "UPDATE flow SET direction = 2",
        "UPDATE flow SET attribution = 3",
        "UPDATE flow SET peer_port = 65536",
        "UPDATE flow SET local_port = -1",
        "UPDATE flow SET namespace_id = 77",
        "UPDATE flow SET process_id = 77",
        "UPDATE flow_observation SET connections = -1",
        "UPDATE flow_observation SET rtt_count = -1",
        "DELETE FROM flow",
        "DELETE FROM namespace",
        "DELETE FROM host",
        "DELETE FROM extent",
        "DROP TABLE flow_observation",
        "UPDATE process SET pid = -1",
        "UPDATE process SET uid = 4294967296",
        "UPDATE process SET comm = CAST(x'ff' AS TEXT)",
        "UPDATE process SET command_line = CAST(x'ff' AS TEXT)",
        "UPDATE flow_observation SET failed_refused = -1",
        "UPDATE flow_observation SET segments_received = -1",
        "UPDATE process SET exe = CAST(zeroblob(20000000) AS TEXT)",
    ] {
        let (directory, mut database) = damaged(damage);
        let outcome = database.snapshot(ALWAYS).unwrap().flows(None, &mut |_, _| {});
        assert!(matches!(outcome, Err(Error::Corrupt { .. })), "{damage}: {outcome:?}");
        drop(directory);
    }
    for damage in [
        "UPDATE listener SET local_address = x''",
        "UPDATE listener SET protocol = 0",
        "DELETE FROM listener",
    ] {
        let (directory, mut database) = damaged(damage);
        let outcome = database.snapshot(ALWAYS).unwrap().listeners(None, &mut |_, _| {});
        assert!(matches!(outcome, Err(Error::Corrupt { .. })), "{damage}: {outcome:?}");
        drop(directory);
    }
    for damage in ["UPDATE host_address SET address = x'0102'", "UPDATE namespace SET host_id = 9"]
    {
        let (directory, mut database) = damaged(damage);
        let outcome = database.snapshot(ALWAYS).unwrap().hosts();
        assert!(matches!(outcome, Err(Error::Corrupt { .. })), "{damage}: {outcome:?}");
        drop(directory);
    }
}

fn damaged(damage: &str) -> (tempfile::TempDir, Sqlite) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let mut database = open(&path);
    database.write(&flush(&many(1, 60))).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("PRAGMA foreign_keys = 0; PRAGMA ignore_check_constraints = 1").unwrap();
    other.execute_batch(damage).unwrap();
    (directory, database)
}

#[test]
fn counts_beyond_what_a_column_holds_stop_there() {
    let directory = tempfile::tempdir().unwrap();
    let mut database = open(&directory.path().join("db"));
    let largest = FlowCounters {
        connections: u64::MAX,
        opened: u64::MAX,
        failed: Failures::from_counts([u64::MAX; Failures::KINDS]),
        bytes_sent: u64::MAX,
        bytes_received: u64::MAX,
        segments_sent: u64::MAX,
        segments_received: u64::MAX,
        retransmits: u64::MAX,
        rtt: RttSamples { sum_us: u64::MAX, count: u64::MAX },
    };
    for _ in 0..2 {
        database.write(&flush(&observations(vec![flow(80, largest, 60)]))).unwrap();
    }
    assert_eq!(read(&mut database)[0].counters, clamped(largest));
}

fn clamped(counters: FlowCounters) -> FlowCounters {
    let clamp = |count: u64| count.min(i64::MAX.cast_unsigned());
    FlowCounters {
        connections: clamp(counters.connections),
        opened: clamp(counters.opened),
        failed: Failures::from_counts(counters.failed.counts().map(clamp)),
        bytes_sent: clamp(counters.bytes_sent),
        bytes_received: clamp(counters.bytes_received),
        segments_sent: clamp(counters.segments_sent),
        segments_received: clamp(counters.segments_received),
        retransmits: clamp(counters.retransmits),
        rtt: RttSamples { sum_us: clamp(counters.rtt.sum_us), count: clamp(counters.rtt.count) },
    }
}

fn any_counters() -> impl Strategy<Value = FlowCounters> {
    let any_count = prop_oneof![0_u64..100, any::<u64>(), Just(i64::MAX.cast_unsigned())];
    let failed = prop::array::uniform6(any_count.clone()).prop_map(Failures::from_counts);
    (prop::array::uniform9(any_count), failed).prop_map(|(counts, failed)| FlowCounters {
        connections: counts[0],
        opened: counts[1],
        failed,
        bytes_sent: counts[2],
        bytes_received: counts[3],
        segments_sent: counts[4],
        segments_received: counts[5],
        retransmits: counts[6],
        rtt: RttSamples { sum_us: counts[7], count: counts[8] },
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn rows_are_merged_as_counters_are_appended(
        counters in prop::collection::vec(any_counters(), 1..5),
        bursts in 1_usize..3,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let mut database = open(&directory.path().join("db"));
        for burst in counters.chunks(bursts) {
            let flows = burst.iter().map(|&counters| flow(80, counters, 60)).collect();
            database.write(&flush(&observations(flows))).unwrap();
        }
        let mut expected = clamped(counters[0]);
        for later in &counters[1..] {
            expected.append(&clamped(*later));
            expected = clamped(expected);
        }
        let kept = read(&mut database);
        prop_assert_eq!(kept.len(), 1);
        prop_assert_eq!(kept[0].counters, expected);
    }
}

#[test]
fn what_is_older_than_the_retention_goes_with_all_that_only_it_named() {
    let directory = tempfile::tempdir().unwrap();
    let mut database = open(&directory.path().join("db"));
    // More than one transaction removes, three times over.
    database.write(&flush(&many(5_000, 60))).unwrap();
    database.write(&flush(&many(2, 60 + WEEK))).unwrap();
    assert_eq!(database.maintain(at(30 + WEEK)).unwrap(), 0, "nothing is too old yet");
    assert_eq!(database.maintain(at(600 + WEEK)).unwrap(), 10_000);
    assert_eq!(database.maintain(at(600 + WEEK)).unwrap(), 0);
    let connection = &database.connected.connection;
    for (table, left) in [
        ("flow", 2),
        ("listener", 2),
        ("process", 2),
        ("namespace", 1),
        ("host_address", 1),
        // At each resolution.
        ("flow_observation", 6),
        ("listener_observation", 6),
        ("address_observation", 3),
    ] {
        assert_eq!(rows(connection, table), left, "{table}");
    }

    database.maintain(at(600 + 3 * WEEK)).unwrap();
    let connection = &database.connected.connection;
    for table in ["flow", "listener", "process", "namespace", "host_address"] {
        assert_eq!(rows(connection, table), 0, "{table}");
    }
    let hosts = database.snapshot(ALWAYS).unwrap().hosts().unwrap();
    assert_eq!(hosts.len(), 1, "every host that ever reported stays known");
    assert_eq!(hosts[0].addresses, []);
}

#[test]
fn a_file_that_is_pruned_does_not_grow_for_ever_and_shrinks_when_the_load_does() {
    let directory = tempfile::tempdir().unwrap();
    let mut database = open(&directory.path().join("db"));
    let pages = |database: &Sqlite| -> i64 {
        let connection = &database.connected.connection;
        connection.query_row("PRAGMA page_count", (), |row| row.get(0)).unwrap()
    };
    let mut sizes = Vec::new();
    for week in 1..7 {
        database.write(&flush(&many(2_000, 60 + week * 2 * WEEK))).unwrap();
        sizes.push(pages(&database));
        database.maintain(at(600 + (week + 1) * 2 * WEEK)).unwrap();
    }
    assert!(sizes.iter().all(|&size| size <= sizes[0] * 11 / 10), "{sizes:?}");
    assert!(pages(&database) < sizes[0] / 2, "{} of {sizes:?}", pages(&database));
}

#[test]
fn a_file_that_is_replaced_while_it_is_open_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let mut database = open(&path);
    let mut reader = Sqlite::open(&path, Access::Read, Settings::default()).unwrap();
    database.write(&flush(&many(3, 60))).unwrap();
    for suffix in ["", "-wal", "-shm"] {
        let mut file = path.clone().into_os_string();
        file.push(suffix);
        std::fs::remove_file(file).unwrap();
    }
    let error = reader.snapshot(ALWAYS).and_then(|mut snapshot| snapshot.hosts()).unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error}");
    database.write(&flush(&many(4, 120))).unwrap();
    assert_eq!(read(&mut open(&path)).len(), 4);
    assert_eq!(read(&mut reader).len(), 4);
}
