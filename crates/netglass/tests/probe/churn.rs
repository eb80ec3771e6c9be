//! Processes, namespaces and connections that come and go while they are looked at, and sockets
//! that several processes hold.

use std::{
    net::TcpListener,
    os::{fd::OwnedFd, unix::process::CommandExt},
    process::{Child, Command, Stdio},
};

use netglass_testing::{
    Finished, Namespace, Nginx, Running, Signal, link, load_command, require, run,
};

use crate::support::{Database, Ledger, Probing, clients, server, wait_for};

/// Every way to find owners.
const OWNERS: [&str; 2] = ["task-file", "procfs"];

/// What a single scan tells of this machine on standard error: some guard their first process even
/// against root.
fn told_of_the_machine(namespace: &Namespace, options: &[&str]) -> Vec<u8> {
    Database::new().probe_once(namespace, options).stderr
}

/// It ended well, told nothing but what it tells of this machine anyway, and stored all that it
/// saw.
#[track_caller]
fn assert_nothing_went_wrong(finished: &Finished, told_of_the_machine: &[u8]) {
    assert!(finished.status.success(), "{finished:?}");
    let told = String::from_utf8_lossy(&finished.stderr);
    assert_eq!(told, String::from_utf8_lossy(told_of_the_machine));
    let ledger = Ledger::read(&finished.stdout);
    assert_eq!((ledger.count("pending"), ledger.skipped_total()), (0, 0), "{ledger:?}");
}

#[test]
fn processes_that_end_while_they_are_read_are_no_error() {
    require!(root, ebpf);
    let (rounds, at_once) = (40, 5);
    for owners in OWNERS {
        let host = Namespace::new("host");
        let _server = server(&host, "127.0.0.1:8080");
        let database = Database::new();
        let told = told_of_the_machine(&host, &["--owners", owners]);
        let options = ["--owners", owners, "--flush-interval", "100ms"];
        let probe = Probing::start_every("1ms", &database, &host, &options);
        // Each opens two connections and ends at once, as its standard input does.
        let mut shell = host.command("sh");
        shell.arg("-c").arg(format!(
            "for round in $(seq {rounds}); do
                for client in $(seq {at_once}); do
                    {} hold-clients --to 127.0.0.1:8080 --connections 2 </dev/null >/dev/null &
                done
                wait
            done
            echo all have ended",
            load_command().display()
        ));
        Running::spawn(shell).wait_for_line("all have ended");
        // The server keeps its ends, so that they are still there for one more whole scan.
        let connections = rounds * at_once * 2;
        let seen_before = probe.ledger().count("seen");
        probe.wait_until_seen(seen_before + 2 * (connections + 1));
        assert_nothing_went_wrong(&probe.end(Signal::TERM), &told);

        let edges = database.edges(&host, &["--port", "8080"]);
        assert!(edges.iter().all(|edge| edge.text("server/process/comm") == "netglass-load"));
        let counted: u64 = edges.iter().map(|edge| edge.number("connections")).sum();
        assert_eq!(counted, connections, "--owners {owners}: {edges:#?}");
    }
}

#[test]
fn namespaces_that_go_while_they_are_scanned_are_no_error_and_are_not_kept() {
    require!(root);
    let (observer, lasting) = (Namespace::new("observer"), Namespace::new("lasting"));
    let devices = || run(lasting.command("ip").args(["-oneline", "link", "show"]));
    let database = Database::new();
    let told = told_of_the_machine(&observer, &["--all-namespaces"]);
    let options = ["--all-namespaces", "--flush-interval", "100ms"];
    let probe = Probing::start_every("1ms", &database, &observer, &options);
    for round in 0..12 {
        let passing = Namespace::new("passing");
        let device = link(&lasting, "10.9.10.1/24", &passing, "10.9.10.2/24").first;
        let _server = server(&passing, "10.9.10.2:8080");
        let _clients = clients(&lasting, "10.9.10.2:8080", 2);
        if round == 0 {
            // Once, it surely is seen; later ones go at any moment of a scan.
            wait_for(|| {
                // Not known yet is an error there.
                let output = database.netglass(&observer, &["look", "10.9.10.2"]).output().unwrap();
                String::from_utf8(output.stdout).unwrap().contains(passing.name()).then_some(())
            });
        }
        assert!(devices().contains(&format!(" {device}@")));
        drop(passing);
        // A device goes when its peer does, which goes when its namespace does, which does not as
        // long as anybody holds it.
        wait_for(|| (!devices().contains(&format!(" {device}@"))).then_some(()));
    }
    assert_nothing_went_wrong(&probe.end(Signal::TERM), &told);
}

#[test]
fn a_connection_that_was_not_accepted_is_counted_and_its_server_is_the_listener() {
    require!(root, ebpf);
    let host = Namespace::new("host");
    // We never accept.
    let _listener = host.inside(|| TcpListener::bind("127.0.0.1:8080").unwrap());
    let client = clients(&host, "127.0.0.1:8080", 3);
    for owners in OWNERS {
        let database = Database::new();
        let ledger = database.ledger_of_one_scan(&host, &["--owners", owners]);
        assert_eq!((ledger.count("seen"), ledger.count("stored")), (7, 7), "both ends of each");
        let edges = database.edges(&host, &["--port", "8080"]);
        assert_eq!(edges.len(), 1, "{edges:#?}");
        let edge = &edges[0];
        assert_eq!(edge.number("server/process/pid"), u64::from(std::process::id()));
        assert_eq!(edge.text("server/attribution"), "listener");
        assert_eq!(edge.number("client/process/pid"), u64::from(client.id()));
        assert_eq!(edge.text("client/attribution"), "socket");
        assert_eq!((edge.number("connections"), edge.number("failed")), (3, 0));

        // The server's own end: 1 is passive.
        let stored = rusqlite::Connection::open(database.path()).unwrap();
        let passive = "SELECT process_id, connections
                       FROM flow JOIN flow_observation USING (flow_id)
                       WHERE resolution = 0 AND direction = 1";
        let row: (Option<i64>, i64) =
            stored.query_row(passive, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert_eq!(row, (None, 3));
    }
}

/// The process that a listening socket of ours belongs to.
#[track_caller]
fn process_of_listener(host: &Namespace, owners: &str) -> u64 {
    let database = Database::new();
    database.probe_once(host, &["--owners", owners]);
    let lines = database.edges(host, &["--listening"]);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert_eq!(lines[0].number("listener/port"), 8080);
    lines[0].number("listener/process/pid")
}

#[test]
fn a_listening_socket_that_workers_inherited_is_the_masters() {
    require!(root, ebpf, command("nginx"));
    let host = Namespace::new("host");
    let nginx = Nginx::new().workers(3).listen("127.0.0.1:8080").start(&host);
    for owners in OWNERS {
        assert_eq!(process_of_listener(&host, owners), u64::from(nginx.id()), "{owners}");
    }
}

/// A process that does nothing but hold a socket, in a process group of its own.
struct Holder(Child);

impl Holder {
    fn of(socket: OwnedFd) -> Self {
        let mut command = Command::new("sleep");
        command.arg("600").stdin(Stdio::from(socket)).process_group(0);
        Self(command.spawn().unwrap())
    }

    fn id(&self) -> u64 {
        self.0.id().into()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_socket_of_several_process_groups_is_the_oldest_ones_until_that_ends() {
    require!(root, ebpf);
    let host = Namespace::new("host");
    let socket: OwnedFd = host.inside(|| TcpListener::bind("127.0.0.1:8080").unwrap()).into();
    let copy = || Holder::of(socket.try_clone().unwrap());
    let mut holders = vec![copy(), copy(), copy()];
    drop(socket);
    while !holders.is_empty() {
        for owners in OWNERS {
            // More than once: it must not depend on the order in which they are found.
            for _ in 0..3 {
                assert_eq!(process_of_listener(&host, owners), holders[0].id(), "{owners}");
            }
        }
        holders.remove(0);
    }
}
