//! A database server that hangs: it is there, and answers nobody.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use netglass_testing::{Namespace, PostgreSql, Running, Signal, require};

use crate::support::{Database, Edge, Ledger, Probing, clients, server, wait_for};

/// A host with the fleet's server on it, and servers to connect to.
struct Host {
    _servers: Vec<Running>,
    fleet: PostgreSql,
    // After what runs in it.
    namespace: Namespace,
    files: Database,
}

impl Host {
    const PORTS: [u16; 3] = [8080, 8081, 8082];

    fn new() -> Self {
        let namespace = Namespace::new("host");
        let fleet = PostgreSql::new().start_in(&namespace);
        fleet.create_database("fleet");
        let listen = |port| server(&namespace, &format!("127.0.0.1:{port}"));
        let servers = Self::PORTS.map(listen).into();
        Self { _servers: servers, fleet, namespace, files: Database::new() }
    }

    fn netglass(&self, arguments: &[&str]) -> Command {
        let mut command = self.files.netglass(&self.namespace, arguments);
        let url = self.fleet.url("fleet");
        command.env("NETGLASS_DB", format!("{url}?connect_timeout=1"));
        command
    }

    fn probe(&self) -> Probing {
        let mut probe = self.netglass(&["probe", "--format", "json", "--interval", "20ms"]);
        probe
            .args(["--flush-interval", "100ms", "--spool-dir"])
            .arg(self.files.path().with_file_name("spool"));
        Probing::once_ready(Running::spawn(probe))
    }

    /// A client of one of the servers, which has come and gone when this returns, and which the
    /// probe has seen: the port and the client's process id.
    #[track_caller]
    fn connect(&self, port: u16, probe: &Probing) -> (u16, u32) {
        let clients = clients(&self.namespace, &format!("127.0.0.1:{port}"), 3);
        probe.wait_for_collection();
        (port, clients.id())
    }

    /// Fails unless each client is known with all its connections.
    #[track_caller]
    fn assert_known(&self, clients: &[(u16, u32)]) {
        let text = self.netglass(&["look", "--format", "json"]).output().unwrap().stdout;
        let text = String::from_utf8(text).unwrap();
        let edges: Vec<_> = text.lines().map(Edge::read).collect();
        for (port, client) in clients {
            // What is left of a connection after its client has no process.
            let is_of_client =
                |edge: &&Edge| edge.get("client/process/pid").as_u64() == Some((*client).into());
            let found: Vec<_> = edges.iter().filter(is_of_client).collect();
            let [edge] = found[..] else { panic!("{client} in {edges:#?}") };
            assert_eq!(edge.number("server/port"), u64::from(*port), "{edge:?}");
            assert_eq!(edge.number("connections"), 3, "{edge:?}");
        }
    }
}

/// Ends a probe whose server is there: everything is stored.
#[track_caller]
fn end_with_everything_stored(probe: Probing) {
    let ended = probe.end(Signal::TERM);
    assert!(ended.status.success(), "{ended:?}");
    let ledger = Ledger::read(&ended.stdout);
    assert_eq!((ledger.count("spooled"), ledger.count("pending")), (0, 0), "{ledger:?}");
}

#[test]
fn a_probe_goes_on_while_its_server_hangs_and_delivers_when_that_goes_on() {
    require!(root, postgresql);
    let host = Host::new();
    let [before, waiting, trying_again] = Host::PORTS;
    let probe = host.probe();
    let mut known = vec![host.connect(before, &probe)];
    wait_for(|| (probe.ledger().count("stored") > 0).then_some(()));

    let paused = host.fleet.pause();
    known.push(host.connect(waiting, &probe));
    wait_for(|| (probe.ledger().count("spooled") > 0).then_some(()));
    probe.wait_for_line("what was seen waits in the spool");
    known.push(host.connect(trying_again, &probe));
    let stored = probe.ledger().count("stored");
    probe.wait_for_collection();
    assert_eq!(probe.ledger().count("stored"), stored, "nobody took it");
    drop(paused);

    probe.wait_for_line("the database is back; what had waited is delivered");
    end_with_everything_stored(probe);
    host.assert_known(&known);
}

#[test]
fn a_probe_whose_server_hangs_ends_all_the_same_and_the_next_one_delivers() {
    require!(root, postgresql);
    let host = Host::new();
    let [before, meanwhile, after] = Host::PORTS;
    let probe = host.probe();
    let mut known = vec![host.connect(before, &probe)];
    wait_for(|| (probe.ledger().count("stored") > 0).then_some(()));
    let paused = host.fleet.pause();
    known.push(host.connect(meanwhile, &probe));
    let began = Instant::now();
    let ended = probe.end(Signal::TERM);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert!(ended.status.success(), "{ended:?}");
    let ledger = Ledger::read(&ended.stdout);
    assert!(ledger.count("spooled") > 0, "{ledger:?}");
    drop(paused);

    let probe = host.probe();
    known.push(host.connect(after, &probe));
    wait_for(|| (probe.ledger().count("spooled") == 0).then_some(()));
    end_with_everything_stored(probe);
    host.assert_known(&known);
}
