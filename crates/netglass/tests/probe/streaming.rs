//! Streaming: kernel programs count what sockets do, however short they live.

mod bounds;
mod churn;
mod database;
mod datagrams;
mod default;
mod failures;
mod lasting;
mod older;
mod polling;
mod selection;
mod short_processes;
mod workers;

use std::fs;

use netglass_testing::{Namespace, Running, Signal, link};

use crate::support::{Database, Edge, Ledger, Probing, wait_for};

/// An interval that does not end while a test lasts: everything is collected at the end.
const NEVER: &str = "1h";

/// A client's and a server's host with a link between them.
struct Hosts {
    client: Namespace,
    server: Namespace,
}

impl Hosts {
    const CLIENT_V4: &str = "10.9.20.1";
    const SERVER_V4: &str = "10.9.20.2";
    const CLIENT_V6: &str = "fd09:20::1";
    const SERVER_V6: &str = "fd09:20::2";

    fn new() -> Self {
        let (client, server) = (Namespace::new("client"), Namespace::new("server"));
        let prefixed = |address: &str, length| format!("{address}/{length}");
        let devices =
            link(&client, &prefixed(Self::CLIENT_V4, 24), &server, &prefixed(Self::SERVER_V4, 24));
        client.add_address(&devices.first, &prefixed(Self::CLIENT_V6, 64));
        server.add_address(&devices.second, &prefixed(Self::SERVER_V6, 64));
        Self { client, server }
    }

    fn both(&self) -> [&Namespace; 2] {
        [&self.client, &self.server]
    }
}

/// Streaming probes, one in each namespace, that write to one database.
///
/// They watch these namespaces alone: what other tests do is not in their ledgers.
struct Watch<'a> {
    database: &'a Database,
    namespaces: Vec<&'a Namespace>,
    probes: Vec<Probing>,
}

impl<'a> Watch<'a> {
    #[track_caller]
    fn new(interval: &str, database: &'a Database, namespaces: &[&'a Namespace]) -> Self {
        Self::with(interval, database, namespaces, &["--flush-interval", interval])
    }

    #[track_caller]
    fn with(
        interval: &str,
        database: &'a Database,
        namespaces: &[&'a Namespace],
        options: &[&str],
    ) -> Self {
        let stream =
            |namespace: &&Namespace| Probing::stream(interval, database, namespace, options);
        let probes = namespaces.iter().map(stream).collect();
        Self { database, namespaces: namespaces.to_vec(), probes }
    }

    /// Waits until everything that has happened before was collected.
    #[track_caller]
    fn wait_for_collection(&self) {
        self.probes.iter().for_each(Probing::wait_for_collection);
    }

    /// Ends the probes, all of which stored all that they saw; returns what is known then, and the
    /// ledgers.
    #[track_caller]
    fn end(self) -> (Vec<Edge>, Vec<Ledger>) {
        let mut ledgers = Vec::new();
        for probe in self.probes {
            let finished = probe.end(Signal::TERM);
            assert!(finished.status.success(), "{finished:?}");
            let ledger = Ledger::read(&finished.stdout);
            assert_eq!((ledger.count("pending"), ledger.skipped_total()), (0, 0), "{ledger:?}");
            let lacking = ["process_buffer_full", "process_forgotten"];
            assert_eq!(lacking.map(|what| ledger.lacking(what)), [0, 0], "{ledger:?}");
            ledgers.push(ledger);
        }
        (self.database.edges(self.namespaces[0], &[]), ledgers)
    }
}

/// Tells a load to start, and waits until it has done `count`.
#[track_caller]
pub(crate) fn run_load(load: &mut Running, count: usize) {
    load.write_stdin(b"\n");
    load.wait_for_line(&format!("done {count}"));
}

/// The kernel's own counter of TCP since the namespace was made.
fn tcp_counter(namespace: &Namespace, name: &str) -> u64 {
    let read = || fs::read_to_string("/proc/thread-self/net/snmp").unwrap();
    let snmp = namespace.inside(read);
    let mut lines = snmp.lines().filter(|line| line.starts_with("Tcp: "));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let mut counters = names.split(' ').zip(values.split(' '));
    counters.find(|(found, _)| *found == name).unwrap().1.parse().unwrap()
}

/// Waits until no TCP connection of the namespace is open any more, in either direction.
#[track_caller]
pub(crate) fn wait_until_closed(namespace: &Namespace) {
    // LISTEN and TIME_WAIT.
    const OVER: [&str; 2] = ["0A", "06"];
    let is_over = |line: &str| line.split_whitespace().nth(3).is_some_and(|it| OVER.contains(&it));
    let read = || {
        let table = |name| fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap();
        ["tcp", "tcp6"].map(table)
    };
    wait_for(|| {
        let tables = namespace.inside(read);
        tables.iter().all(|table| table.lines().skip(1).all(is_over)).then_some(())
    });
}

/// The ends of an edge, the ids of their processes, and its connections.
fn shape(edge: &Edge) -> (String, String, String, u64) {
    let process = |end: &str| edge.get(&format!("{end}/process/pid")).to_string();
    (edge.ends(), process("client"), process("server"), edge.number("connections"))
}

/// Asserts which processes are at the ends of an edge.
#[track_caller]
fn assert_processes(edge: &Edge, client: u32, server: u32) {
    for (end, process) in [("client", client), ("server", server)] {
        let pid = edge.get(&format!("{end}/process/pid")).as_u64();
        assert_eq!(pid, Some(process.into()), "the {end}'s process in {edge:?}");
    }
    assert_eq!(edge.text("client/attribution"), "socket", "{edge:?}");
    // Of a connection that is collected before it is accepted, only the listener is known.
    let attribution = edge.text("server/attribution");
    assert!(["socket", "listener"].contains(&attribution), "{edge:?}");
}

/// `failures` of an edge that are not 0, by kind.
fn failures(edge: &Edge) -> Vec<(String, u64)> {
    let all = edge.get("failures").as_object().unwrap();
    let counted = all.iter().map(|(kind, count)| (kind.clone(), count.as_u64().unwrap()));
    counted.filter(|(_, count)| *count > 0).collect()
}
