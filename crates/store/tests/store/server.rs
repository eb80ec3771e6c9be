//! What can happen between here and a server.

use std::{
    collections::HashSet,
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Barrier,
        atomic::{AtomicI64, Ordering},
    },
    thread,
    time::{Duration, SystemTime},
};

use netglass_model::{Flush, HostFlow, NamespaceInode, Probe, ProbeId, Timestamp};
use netglass_store::{Access, Claim, Database, DatabaseUrl, Error, Settings, open};
use netglass_testing::{PostgreSql, flush, require};

use crate::support::{ALWAYS, Place, cluster, flow, flows, host, observations, written};

pub(crate) fn try_open(url: &str, access: Access) -> Result<Box<dyn Database>, Error> {
    open(&url.parse()?, access, Settings::default())
}

/// Flushes of one probe, one after the other: each adds 10 flows of 3 connections, of which 2 are
/// new.
pub(crate) struct Flushes {
    pub(crate) next: Flush,
}

impl Flushes {
    pub(crate) fn new() -> Self {
        let seen = (1..=10).map(|port| flow(port, 60, 61)).collect();
        Self { next: flush(&observations(seen, vec![])) }
    }

    pub(crate) fn advance(&mut self) {
        self.next.sequence += 1;
    }
}

/// Fails unless each flow was counted in exactly `count` flushes.
pub(crate) fn assert_counted(database: &mut dyn Database, count: u64) {
    let read = flows(database, ALWAYS);
    assert_eq!(read.len(), 10);
    for flow in read {
        assert_eq!((flow.counters.opened, flow.counters.bytes_sent), (2 * count, 100 * count));
    }
}

#[test]
fn any_number_may_migrate_at_once() {
    const PROCESSES: usize = 20;
    require!(postgresql);
    let place = Place::postgresql();
    let now = Timestamp::from(SystemTime::now());
    let start = Barrier::new(PROCESSES);
    thread::scope(|scope| {
        for number in 0..PROCESSES {
            let (place, start) = (&place, &start);
            scope.spawn(move || {
                start.wait();
                // Of now, so that all of them want the same partitions, too.
                let seen = HostFlow { first_seen: now, last_seen: now, ..flow(80, 60, 61) };
                let mut written = observations(vec![seen], vec![]);
                written.host.id = host(&number.to_string());
                place.write().write(&flush(&written)).unwrap();
            });
        }
    });
    assert_eq!(flows(place.read().as_mut(), ALWAYS).len(), PROCESSES);
}

#[test]
fn a_schema_that_is_not_ours_to_use_is_refused_and_left_alone() {
    require!(postgresql);
    let place = Place::postgresql();
    let name = place.name();
    let access = |access| open(&place.url, access, Settings::default()).map(drop);
    assert!(matches!(access(Access::Read), Err(Error::OlderSchema { found: 0, .. })));
    place.write();
    let comment = |text: &str| {
        cluster().sql(&name, &format!("COMMENT ON TABLE netglass.extent IS '{text}'"));
    };
    comment("Netglass schema version 0");
    assert!(matches!(access(Access::Read), Err(Error::OlderSchema { found: 0, .. })));
    comment("Netglass schema version 99");
    for how in [Access::Read, Access::Write] {
        assert!(matches!(access(how), Err(Error::NewerSchema { found: 99, .. })));
    }
    comment("of another program");
    for how in [Access::Read, Access::Write] {
        assert!(matches!(access(how), Err(Error::ForeignSchema { .. })));
    }
}

#[test]
fn what_the_server_refuses_is_said_without_the_password() {
    require!(postgresql);
    let place = Place::postgresql();
    place.write();
    let (port, name) = (cluster().port(), place.name());
    let wrong = |url: &str| {
        let error = try_open(url, Access::Read).err().expect("it cannot be opened");
        let (shown, debug) = (error.to_string(), format!("{error:?}"));
        assert!(!shown.contains("PASSWORD") && !debug.contains("PASSWORD"), "{shown} {debug}");
        error
    };
    let user = PostgreSql::USER;
    let error = wrong(&format!("postgres://{user}:PASSWORD@127.0.0.1:{port}/{name}"));
    assert!(matches!(&error, Error::Refused { .. }), "{error}");
    let error = wrong(&cluster().url("nowhere"));
    assert!(matches!(&error, Error::MissingDatabase { .. }), "{error}");
    let error = wrong(&format!("postgres://{user}:PASSWORD@127.0.0.1:1/{name}"));
    assert!(matches!(&error, Error::Unreachable { .. }), "{error}");
    let error = wrong(&format!("postgres://{user}:PASSWORD@no.such.host.invalid/{name}"));
    assert!(matches!(&error, Error::Unreachable { .. }), "{error}");
    let error = wrong(&format!("{}?sslmode=require", cluster().url(&name)));
    assert!(error.to_string().contains("TLS"), "{error}");

    // A reader of another role, which was granted nothing.
    cluster().sql(&name, "CREATE ROLE stranger LOGIN PASSWORD 'secret'");
    let error = wrong(&format!("postgres://stranger:secret@127.0.0.1:{port}/{name}"));
    cluster().sql(&name, "DROP ROLE stranger");
    assert!(matches!(&error, Error::Refused { .. }), "{error}");
}

#[test]
fn the_first_of_several_servers_that_answers_is_used() {
    require!(postgresql);
    let place = Place::postgresql();
    let url = cluster().url(&place.name()).replace("@127.0.0.1", "@127.0.0.1:1,127.0.0.1");
    let url: DatabaseUrl = url.parse().unwrap();
    let mut database = open(&url, Access::Write, Settings::default()).unwrap();
    assert_eq!(database.snapshot(ALWAYS).unwrap().hosts().unwrap(), []);
}

#[test]
fn a_server_that_restarts_loses_nothing_and_counts_nothing_twice() {
    require!(postgresql);
    let mut server = PostgreSql::new().start();
    server.create_database("fleet");
    let url = server.url("fleet");
    let mut database = try_open(&url, Access::Write).unwrap();
    database.claim(&host("a"), Claim::AllNamespaces).unwrap();
    let mut flushes = Flushes::new();
    let mut count = 0;
    for end in [PostgreSql::stop, PostgreSql::kill] {
        for _ in 0..2 {
            database.write(&flushes.next).unwrap();
            flushes.advance();
            count += 1;
        }
        end(&mut server);
        let error = database.write(&flushes.next).unwrap_err();
        assert!(matches!(&error, Error::Unreachable { .. }), "{error}");
        server.restart();
    }
    database.write(&flushes.next).unwrap();
    assert_counted(database.as_mut(), count + 1);
    let mut other = try_open(&url, Access::Write).unwrap();
    let claimed = other.claim(&host("a"), Claim::AllNamespaces);
    assert!(matches!(claimed, Err(Error::Claimed { .. })), "the claim was taken again");
}

/// Passes connections on to a server until so many bytes have gone in either direction; then cuts
/// them.
pub(crate) struct Cutter {
    pub(crate) port: u16,
    left: Arc<AtomicI64>,
}

impl Cutter {
    pub(crate) fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let left = Arc::new(AtomicI64::new(i64::MAX));
        let shared = Arc::clone(&left);
        thread::spawn(move || {
            for client in listener.incoming() {
                let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
                let client = client.unwrap();
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let left = Arc::clone(&shared);
                    thread::spawn(move || drop(pass(&from, &to, &left)));
                }
            }
        });
        Self { port, left }
    }

    /// Cuts after so many more bytes.
    pub(crate) fn cut_after(&self, bytes: i64) {
        self.left.store(bytes, Ordering::SeqCst);
    }

    pub(crate) fn mend(&self) {
        self.cut_after(i64::MAX);
    }

    /// How many bytes may still go.
    pub(crate) fn left(&self) -> i64 {
        self.left.load(Ordering::SeqCst)
    }
}

fn pass(mut from: &TcpStream, mut to: &TcpStream, left: &AtomicI64) -> io::Result<()> {
    let mut buffer = [0; 4096];
    let outcome = loop {
        let length = match from.read(&mut buffer) {
            Ok(0) => break Ok(()),
            Ok(length) => length,
            Err(error) => break Err(error),
        };
        let read = i64::try_from(length).unwrap();
        let before = left.fetch_sub(read, Ordering::SeqCst);
        let allowed = usize::try_from(before.clamp(0, read)).unwrap();
        if let Err(error) = to.write_all(&buffer[..allowed]) {
            break Err(error);
        }
        if allowed < length {
            break Ok(());
        }
    };
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
    outcome
}

#[test]
fn a_connection_that_is_cut_at_any_point_of_a_flush_counts_nothing_twice() {
    require!(postgresql);
    let place = Place::postgresql();
    place.write();
    let cutter = Cutter::start(cluster().port());
    let url = cluster().url_at("127.0.0.1", cutter.port, &place.name());
    let url = format!("{url}?sslmode=disable");
    let mut flushes = Flushes::new();

    // What a flush takes, on a connection that has made one before, and all from the beginning.
    let mut database = try_open(&url, Access::Write).unwrap();
    let mut count = 0;
    let mut write = |database: &mut dyn Database| {
        database.write(&flushes.next)?;
        flushes.advance();
        count += 1;
        Ok::<_, Error>(count)
    };
    write(database.as_mut()).unwrap();
    cutter.cut_after(1 << 40);
    write(database.as_mut()).unwrap();
    let whole = (1 << 40) - cutter.left();
    assert!(whole > 1000, "{whole} bytes of a flush went through the proxy");

    let mut failed = 0;
    for bytes in (0..=whole + 20).step_by(37) {
        // Neither can it reconnect until it is mended.
        cutter.cut_after(bytes);
        if write(database.as_mut()).is_err() {
            failed += 1;
            cutter.mend();
            write(database.as_mut()).unwrap();
        }
        cutter.mend();
        let expected = write(database.as_mut()).unwrap();
        assert_counted(database.as_mut(), expected);
    }
    assert!(failed > 20, "{failed} of the flushes were cut");
}

#[test]
fn a_write_that_fails_leaves_nothing_behind_and_the_next_one_works() {
    require!(postgresql);
    let place = Place::postgresql();
    let mut database = place.write();
    let mut flushes = Flushes::new();
    database.write(&flushes.next).unwrap();
    flushes.advance();
    let rename = |from: &str, to: &str| {
        let command = format!("ALTER TABLE netglass.{from} RENAME TO {to}");
        cluster().sql(&place.name(), &command);
    };
    // In the middle of the transaction, and at its beginning.
    for table in ["recent", "probe"] {
        rename(table, "elsewhere");
        let error = database.write(&flushes.next).unwrap_err();
        assert!(matches!(&error, Error::Damaged { .. }), "{error}");
        rename("elsewhere", table);
    }
    cluster().sql(&place.name(), "UPDATE netglass.flow SET protocol = 99");
    let error = database.snapshot(ALWAYS).unwrap().flows(None, &mut |_, _| {}).unwrap_err();
    assert!(matches!(&error, Error::Damaged { .. }), "{error}");
    cluster().sql(&place.name(), "UPDATE netglass.flow SET protocol = 6");
    database.write(&flushes.next).unwrap();
    assert_counted(database.as_mut(), 2);
}

#[test]
fn a_namespace_of_a_host_has_one_probe() {
    require!(postgresql);
    let place = Place::postgresql();
    let [one, other] = [1, 2].map(|inode| Claim::Namespace(NamespaceInode(inode)));
    let is_claimed = |claimed| matches!(claimed, Err(Error::Claimed { .. }));
    let (mut first, mut second) = (place.write(), place.write());
    first.claim(&host("a"), one).unwrap();
    assert!(is_claimed(second.claim(&host("a"), one)));
    assert!(is_claimed(second.claim(&host("a"), Claim::AllNamespaces)));
    second.claim(&host("a"), other).unwrap();
    second.claim(&host("b"), Claim::AllNamespaces).unwrap();
    let mut third = place.write();
    assert!(is_claimed(third.claim(&host("b"), one)));
    third.claim(&host("a"), other).unwrap();
    assert!(is_claimed(second.claim(&host("a"), Claim::AllNamespaces)));
    drop((first, third));
    // The server notices that a connection has ended a moment later.
    let mut claimed = Err(());
    for _ in 0..500 {
        claimed = second.claim(&host("a"), Claim::AllNamespaces).map_err(drop);
        if claimed.is_ok() {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    claimed.unwrap();
}

#[test]
fn two_hosts_of_the_same_identity_are_not_taken_for_one() {
    require!(postgresql);
    let place = Place::postgresql();
    let mut database = place.write();
    let boot = |boot_id: &str| {
        let seen = flush(&observations(vec![flow(80, 60, 61)], vec![]));
        let probe = Probe { boot_id: boot_id.to_owned(), id: ProbeId::new(), ..seen.probe.clone() };
        Flush { probe, ..seen }
    };
    let (mut first, mut second) = (boot("one"), boot("two"));
    database.write(&first).unwrap();
    // It may have been started anew.
    database.write(&second).unwrap();
    first.sequence += 1;
    database.write(&first).unwrap();
    second.sequence += 1;
    let error = database.write(&second).unwrap_err();
    assert!(matches!(&error, Error::DuplicateHost { .. }), "{error}");
    first.sequence += 1;
    database.write(&first).unwrap();
    assert_eq!(flows(database.as_mut(), ALWAYS)[0].counters.opened, 2 * 4);
    let sequences: Vec<_> = database.probes().unwrap().iter().map(|one| one.sequence).collect();
    assert_eq!(sequences.iter().sum::<u64>(), 4, "what was refused left no trace");
}

#[test]
fn the_server_is_checked_as_far_as_it_was_asked_for() {
    require!(postgresql, command("openssl"));
    let server = PostgreSql::new().tls("localhost").start();
    let other = PostgreSql::new().tls("127.0.0.1").start();
    server.create_database("fleet");
    other.create_database("fleet");
    let root = server.root_certificate();
    let try_with = |server: &PostgreSql, host: &str, parameters: &str| {
        let url = server.url_at(host, server.port(), "fleet");
        try_open(&format!("{url}?{parameters}"), Access::Write).map(drop)
    };
    let root = format!("sslrootcert={}", root.display());
    for parameters in ["sslmode=require", "sslmode=prefer", "sslmode=disable"] {
        try_with(&server, "127.0.0.1", parameters).unwrap();
    }
    try_with(&server, "localhost", &format!("sslmode=verify-full&{root}")).unwrap();
    try_with(&server, "127.0.0.1", &format!("sslmode=verify-ca&{root}")).unwrap();
    for (server, parameters, reason) in [
        (&server, format!("sslmode=verify-full&{root}"), "not valid for name"),
        (&server, "sslmode=verify-ca&sslrootcert=/nowhere".to_owned(), "/nowhere"),
        (&other, format!("sslmode=verify-full&{root}"), "invalid peer certificate"),
        (&other, format!("sslmode=verify-ca&{root}"), "invalid peer certificate"),
        (&other, format!("sslmode=require&{root}"), "invalid peer certificate"),
    ] {
        let error = try_with(server, "127.0.0.1", &parameters).unwrap_err();
        assert!(error.to_string().contains(reason), "{parameters}: {error}");
    }
    let encrypted = |mode: &str| {
        let url = server.url_at("localhost", server.port(), "fleet");
        let url = format!("{url}?application_name={mode}&sslmode={mode}");
        let _open = try_open(&url, Access::Write).unwrap();
        let query = "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                     WHERE application_name = ";
        server.sql("fleet", &format!("{query}'{mode}'"))
    };
    for (mode, is_encrypted) in [("disable", "f"), ("prefer", "t"), ("require", "t")] {
        assert_eq!(encrypted(mode), is_encrypted);
    }
}

#[test]
fn partitions_are_made_for_the_present_and_dropped_as_a_whole() {
    const HOUR: u64 = 3600;
    require!(postgresql);
    let place = Place::postgresql();
    let now = Timestamp::from(SystemTime::now());
    let ago = |hours: u64| now.saturating_sub(Duration::from_secs(hours * HOUR));
    let mut database = place.write();
    for hours in [0, 5, 30, 47] {
        let mut seen = flow(80, 0, 0);
        (seen.first_seen, seen.last_seen) = (ago(hours), ago(hours));
        database.write(&flush(&observations(vec![seen], vec![]))).unwrap();
    }
    let partitions = |parent: &str| {
        let query = format!(
            "SELECT count(*) FROM pg_inherits WHERE inhparent = 'netglass.{parent}'::regclass"
        );
        cluster().sql(&place.name(), &query)
    };
    let before = flows(database.as_mut(), ALWAYS);
    assert_eq!(database.maintain(now).unwrap(), 0);
    assert_eq!(partitions("flow_observation"), "3", "now, five hours ago, the default one");
    assert_eq!(flows(database.as_mut(), ALWAYS), before);

    let keep = Settings { retention: Duration::from_secs(HOUR), ..Settings::default() };
    let days: HashSet<_> =
        [5, 30, 47].map(|hours| ago(hours).bucket(Duration::from_secs(24 * HOUR))).into();
    assert_eq!(place.open(keep).maintain(now).unwrap(), days.len() as u64);
    assert_eq!(written(database.as_mut()), 1);
    assert_eq!(partitions("flow_observation"), "2");
    let later = ago(0).saturating_add(3 * Duration::from_secs(HOUR));
    assert_eq!(place.open(keep).maintain(later).unwrap(), 1);
    assert_eq!(flows(database.as_mut(), ALWAYS), []);
}
