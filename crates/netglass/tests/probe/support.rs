//! A database of a test's own, and the program on it.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

pub(crate) use netglass_testing::wait_for;
use netglass_testing::{Finished, Namespace, Running, Signal, directory_in_memory, load_command};
use serde_json::Value;
use tempfile::TempDir;

/// A database in a directory of its own.
pub(crate) struct Database {
    directory: TempDir,
}

impl Database {
    pub(crate) fn new() -> Self {
        let directory = directory_in_memory();
        fs::write(directory.path().join("empty.toml"), "").unwrap();
        Self { directory }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("netglass.db")
    }

    /// `netglass VERB …` inside `namespace`, on this database.
    pub(crate) fn netglass(&self, namespace: &Namespace, arguments: &[&str]) -> Command {
        let mut command = namespace.command(env!("CARGO_BIN_EXE_netglass"));
        command
            .args(arguments)
            .env("NETGLASS_CONFIG", self.directory.path().join("empty.toml"))
            .env("NETGLASS_DB", self.path())
            .env("NETGLASS_MODE", "polling")
            .env_remove("NO_COLOR");
        command
    }

    /// Scans once inside `namespace`; returns what the program wrote.
    #[track_caller]
    pub(crate) fn probe_once(&self, namespace: &Namespace, options: &[&str]) -> Output {
        let arguments = [&["probe", "--once", "--format", "json"], options].concat();
        let output = self.netglass(namespace, &arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output
    }

    /// The ledger that a scan of `namespace` ended with.
    #[track_caller]
    pub(crate) fn ledger_of_one_scan(&self, namespace: &Namespace, options: &[&str]) -> Ledger {
        Ledger::read(&self.probe_once(namespace, options).stdout)
    }

    /// What `look` knows, edge by edge.
    #[track_caller]
    pub(crate) fn edges(&self, namespace: &Namespace, options: &[&str]) -> Vec<Edge> {
        let arguments = [&["look", "--format", "json"], options].concat();
        let output = self.netglass(namespace, &arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(Edge::read).collect()
    }

    /// What `look` shows.
    #[track_caller]
    pub(crate) fn tree(&self, namespace: &Namespace, options: &[&str]) -> String {
        let output = self.netglass(namespace, &[&["look"], options].concat()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

/// A `netglass probe` that runs until it is told to end.
pub(crate) struct Probing(Running);

impl Probing {
    /// Starts it in `namespace`; it listens to signals once this returns.
    #[track_caller]
    pub(crate) fn start(database: &Database, namespace: &Namespace, options: &[&str]) -> Self {
        Self::start_every("10ms", database, namespace, options)
    }

    /// Starts it in `namespace`, to scan at this interval.
    #[track_caller]
    pub(crate) fn start_every(
        interval: &str,
        database: &Database,
        namespace: &Namespace,
        options: &[&str],
    ) -> Self {
        let arguments = [&["probe", "--format", "json", "--interval", interval], options].concat();
        let running = Running::spawn(database.netglass(namespace, &arguments));
        // It listens before it opens the database.
        wait_for(|| database.path().exists().then_some(()));
        Self(running)
    }

    /// Starts to stream in `namespace`, to collect at this interval; its kernel programs see
    /// everything that begins after this returns.
    #[track_caller]
    pub(crate) fn stream(
        interval: &str,
        database: &Database,
        namespace: &Namespace,
        options: &[&str],
    ) -> Self {
        let arguments = ["probe", "--mode", "streaming", "--format", "json"];
        let arguments = [&arguments, &["--interval", interval][..], options].concat();
        Self::once_ready(Running::spawn(database.netglass(namespace, &arguments)))
    }

    /// The same for a command that was made already, and prints its ledger as JSON.
    #[track_caller]
    pub(crate) fn once_ready(running: Running) -> Self {
        running.wait_until_it_catches(Signal::USR1);
        let probing = Self(running);
        // It answers once everything is attached.
        probing.ledger();
        probing
    }

    /// Waits until everything that has happened before was collected, and more than that.
    #[track_caller]
    pub(crate) fn wait_for_collection(&self) {
        // One of which a part came before, and a whole one.
        for _ in 0..2 {
            let before = self.ledger().count("seen");
            self.wait_until_seen(before + 1);
        }
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        self.0.signal(signal);
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// The ledger now.
    #[track_caller]
    pub(crate) fn ledger(&self) -> Ledger {
        let before = String::from_utf8(self.0.stdout()).unwrap().lines().count();
        self.0.signal(Signal::USR1);
        let lines = self.0.wait_for_lines("\"kind\":\"ledger\"", before + 1);
        Ledger::read(lines.last().unwrap().as_bytes())
    }

    /// Waits until at least so many sockets were seen.
    #[track_caller]
    pub(crate) fn wait_until_seen(&self, sockets: u64) {
        wait_for(|| (self.ledger().count("seen") >= sockets).then_some(()));
    }

    /// Waits for a line that the program writes.
    #[track_caller]
    pub(crate) fn wait_for_line(&self, text: &str) {
        self.0.wait_for_line(text);
    }

    /// Tells it to end, and waits until it has.
    #[track_caller]
    pub(crate) fn end(self, signal: Signal) -> Finished {
        self.0.signal(signal);
        self.0.wait()
    }
}

/// One edge as `look --format json` writes it.
#[derive(Debug)]
pub(crate) struct Edge(Value);

impl Edge {
    /// One line of the answer.
    #[track_caller]
    pub(crate) fn read(line: &str) -> Self {
        Self(serde_json::from_str(line).unwrap())
    }

    /// The value at a path such as `client/process/pid`.
    pub(crate) fn get(&self, path: &str) -> &Value {
        self.0.pointer(&format!("/{path}")).unwrap_or(&Value::Null)
    }

    pub(crate) fn number(&self, path: &str) -> u64 {
        self.get(path).as_u64().unwrap_or_else(|| panic!("{path} in {self:?}"))
    }

    pub(crate) fn text(&self, path: &str) -> &str {
        self.get(path).as_str().unwrap_or("")
    }

    /// `client address -> server address:port`.
    pub(crate) fn ends(&self) -> String {
        format!(
            "{} -> {}:{}",
            self.text("client/address"),
            self.text("server/address"),
            self.number("server/port")
        )
    }
}

/// The only edge that leads to a server's port.
#[track_caller]
pub(crate) fn only_edge_to(edges: &[Edge], port: u16) -> &Edge {
    let found: Vec<_> =
        edges.iter().filter(|edge| edge.number("server/port") == u64::from(port)).collect();
    assert_eq!(found.len(), 1, "edges to port {port} in {edges:#?}");
    found[0]
}

/// The ledger as `--format json` writes it.
#[derive(Debug)]
pub(crate) struct Ledger(Value);

impl Ledger {
    /// The last one in what a program wrote.
    #[track_caller]
    pub(crate) fn read(stdout: &[u8]) -> Self {
        let text = std::str::from_utf8(stdout).unwrap();
        let line = text.lines().last().expect("the program prints a ledger");
        let ledger = Self(serde_json::from_str(line).unwrap());
        assert_eq!(ledger.0["kind"], "ledger");
        assert_eq!(
            ledger.count("seen"),
            ["stored", "spooled", "pending"].map(|name| ledger.count(name)).iter().sum::<u64>()
                + ledger.skipped_total(),
            "the ledger balances"
        );
        ledger
    }

    pub(crate) fn count(&self, name: &str) -> u64 {
        self.0[name].as_u64().unwrap()
    }

    pub(crate) fn skipped(&self, reason: &str) -> u64 {
        self.0["skipped"][reason].as_u64().unwrap()
    }

    pub(crate) fn lacking(&self, what: &str) -> u64 {
        self.0["lacking"][what].as_u64().unwrap()
    }

    pub(crate) fn skipped_total(&self) -> u64 {
        let reasons = self.0["skipped"].as_object().unwrap();
        reasons.values().map(|count| count.as_u64().unwrap()).sum()
    }
}

/// `netglass-load` inside `namespace`, once it holds its sockets.
#[track_caller]
pub(crate) fn load(namespace: &Namespace, arguments: &str) -> Running {
    let mut command = namespace.command(load_command());
    command.args(arguments.split_ascii_whitespace());
    let running = Running::spawn(command);
    running.wait_for_line("ready");
    running
}

/// A server that accepts for ever at `address` in `namespace`.
#[track_caller]
pub(crate) fn server(namespace: &Namespace, address: &str) -> Running {
    load(namespace, &format!("hold-server --listen {address}"))
}

/// A client that holds `count` connections to `address`.
#[track_caller]
pub(crate) fn clients(namespace: &Namespace, address: &str, count: usize) -> Running {
    load(namespace, &format!("hold-clients --to {address} --connections {count}"))
}
