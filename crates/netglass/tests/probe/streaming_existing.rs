//! `netglass probe --mode streaming`: the sockets that are older than the probe and that no process
//! which it can see holds.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::MetadataExt as _,
    process::Command,
};

use netglass_testing::{Namespace, Running, Signal, require};
use rustix::process::{Pid, kill_process};
use serde_json::Value;

use crate::support::{Database, Edge, Ledger, Probing, only_edge_to, wait_for};

const OPTIONS: [&str; 4] = ["--mode", "streaming", "--flush-interval", "50ms"];

/// A listener, a client and its accepted end, all held by the test.
struct Connection {
    client: TcpStream,
    server: TcpStream,
    _listener: TcpListener,
}

impl Connection {
    fn new(host: &Namespace, port: u16) -> Self {
        host.inside(|| {
            let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
            let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (server, _) = listener.accept().unwrap();
            Self { client, server, _listener: listener }
        })
    }

    fn send(&mut self, length: usize) {
        self.client.write_all(&vec![0; length]).unwrap();
        self.server.read_exact(&mut vec![0; length]).unwrap();
    }
}

/// A probe in a pid namespace of its own: it sees no process but itself.
struct Secluded {
    parent: Running,
    probe: Pid,
}

impl Secluded {
    fn start(database: &Database, host: &Namespace) -> Self {
        let probe = ["probe", "--format", "json", "--interval", "20ms"];
        let netglass = database.netglass(host, &[&probe[..], &OPTIONS].concat());
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--mount-proc", "--kill-child", "--"]);
        command.arg(netglass.get_program()).args(netglass.get_args());
        command.envs(netglass.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let parent = Running::spawn(command);
        let own = fs::metadata("/proc/self/ns/pid").unwrap().ino();
        let probe = wait_for(|| {
            let id = parent.id();
            let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?;
            let child: i32 = children.split_ascii_whitespace().next()?.parse().ok()?;
            let namespace = fs::metadata(format!("/proc/{child}/ns/pid")).ok()?.ino();
            (namespace != own).then(|| Pid::from_raw(child))?
        });
        Self { parent, probe }
    }

    fn end(self) -> Ledger {
        kill_process(self.probe, Signal::TERM).unwrap();
        let finished = self.parent.wait();
        assert!(finished.status.success(), "{finished:?}");
        let stderr = String::from_utf8_lossy(&finished.stderr);
        assert!(stderr.contains("this is not the host's pid namespace"), "{stderr}");
        Ledger::read(&finished.stdout)
    }
}

/// Waits until the database knows of an edge to a port for which `is_so`.
#[track_caller]
fn wait_for_edge(database: &Database, host: &Namespace, port: u16, is_so: impl Fn(&Edge) -> bool) {
    let is_wanted = |edge: &Edge| edge.number("server/port") == u64::from(port) && is_so(edge);
    // The first of its tables may not be there yet.
    wait_for(|| {
        let look = database.netglass(host, &["look", "--format", "json"]).output().unwrap();
        look.status.success().then_some(())?;
        database.edges(host, &[]).iter().any(is_wanted).then_some(())
    });
}

fn bytes_sent(edge: &Edge) -> u64 {
    edge.get("bytes_sent").as_u64().unwrap_or(0)
}

#[test]
fn from_another_pid_namespace_older_connections_are_seen_without_process() {
    require!(root, ebpf, command("unshare"));
    let host = Namespace::new("host");
    let (mut lasting, mut ending) = (Connection::new(&host, 8080), Connection::new(&host, 8081));
    lasting.send(1000);
    ending.send(1000);
    let database = Database::new();
    let probe = Secluded::start(&database, &host);
    for port in [8080, 8081] {
        wait_for_edge(&database, &host, port, |_| true);
    }
    lasting.send(50);
    ending.send(60);
    drop(ending);
    let mut newer = Connection::new(&host, 8082);
    newer.send(70);
    wait_for_edge(&database, &host, 8082, |edge| bytes_sent(edge) > 0);
    let ledger = probe.end();
    assert_eq!((ledger.skipped("untracked"), ledger.skipped("unaccounted")), (0, 0));

    let edges = database.edges(&host, &[]);
    for (port, bytes) in [(8080, 50), (8081, 60), (8082, 70)] {
        let edge = only_edge_to(&edges, port);
        assert_eq!(edge.ends(), format!("127.0.0.1 -> 127.0.0.1:{port}"));
        assert_eq!((edge.number("connections"), edge.number("failed")), (1, 0), "{edge:?}");
        assert_eq!((bytes_sent(edge), edge.number("bytes_received")), (bytes, 0), "{edge:?}");
    }
    for port in [8080, 8081] {
        let edge = only_edge_to(&edges, port);
        assert_eq!(edge.get("client/process"), &Value::Null, "{edge:?}");
        assert_eq!(edge.get("server/process"), &Value::Null, "{edge:?}");
    }
    let tree = database.tree(&host, &["--listening"]);
    assert!(tree.contains("127.0.0.1:8080 (process unknown)"), "{tree}");
}

#[test]
fn a_connection_that_is_accepted_later_counts_once_and_with_its_worker() {
    require!(root, ebpf);
    let host = Namespace::new("host");
    let (listener, mut client) = host.inside(|| {
        let listener = TcpListener::bind("127.0.0.1:8080").unwrap();
        (listener, TcpStream::connect("127.0.0.1:8080").unwrap())
    });
    client.write_all(&[0; 1000]).unwrap();
    let database = Database::new();
    let probe = Probing::start_every("20ms", &database, &host, &OPTIONS);
    wait_for_edge(&database, &host, 8080, |_| true);
    let (mut server, _) = listener.accept().unwrap();
    client.write_all(&[0; 70]).unwrap();
    server.read_exact(&mut [0; 1070]).unwrap();
    drop((client, server));
    wait_for_edge(&database, &host, 8080, |edge| bytes_sent(edge) == 70);
    assert!(probe.end(Signal::TERM).status.success());

    let edges = database.edges(&host, &[]);
    let edge = only_edge_to(&edges, 8080);
    assert_eq!(edge.ends(), "127.0.0.1 -> 127.0.0.1:8080");
    assert_eq!((edge.number("connections"), bytes_sent(edge)), (1, 70), "{edge:?}");
    for end in ["client", "server"] {
        let pid = edge.number(&format!("{end}/process/pid"));
        assert_eq!(pid, u64::from(std::process::id()), "{end} of {edge:?}");
    }
}
