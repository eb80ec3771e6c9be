//! Which capabilities a probe keeps, and that it sees and writes as much with these.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt as _, chown},
    path::{Path, PathBuf},
    process::Command,
};

use netglass_testing::{Namespace, Running, Signal, copy_program, load_command, require};
use tempfile::TempDir;

use crate::support::{Database, Probing, clients, only_edge_to, server, wait_for};

const NOBODY: u32 = 65_534;

/// Capabilities by their numbers in `linux/capability.h`.
const CHOWN: u64 = 1 << 0;
const DAC_OVERRIDE: u64 = 1 << 1;
const DAC_READ_SEARCH: u64 = 1 << 2;
const NET_ADMIN: u64 = 1 << 12;
const SYS_PTRACE: u64 = 1 << 19;
const SYS_ADMIN: u64 = 1 << 21;
const BPF: u64 = 1 << 39;

const PROCESSES: u64 = DAC_READ_SEARCH | SYS_PTRACE;

/// What is kept to ask for tracked connections, which takes that there can be any.
fn net_admin() -> u64 {
    let is_tracked = Path::new("/proc/sys/net/netfilter/nf_conntrack_count").exists();
    if is_tracked { NET_ADMIN } else { 0 }
}

/// The sets of capabilities, and `NoNewPrivs`, of one thread.
type Privileges = BTreeMap<String, u64>;

/// What a `status` file in `/proc` says; `None` where the thread has ended.
fn privileges(status: &Path) -> Option<Privileges> {
    let text = fs::read_to_string(status).ok()?;
    let field = |line: &str| {
        let (name, value) = line.split_once(':')?;
        let is_ours = name.starts_with("Cap") || name == "NoNewPrivs";
        is_ours.then(|| (name.to_owned(), u64::from_str_radix(value.trim(), 16).unwrap()))
    };
    Some(text.lines().filter_map(field).collect())
}

fn keeping(kept: u64) -> Privileges {
    let sets = [("CapInh", 0), ("CapPrm", kept), ("CapEff", kept), ("CapBnd", kept), ("CapAmb", 0)];
    sets.into_iter().chain([("NoNewPrivs", 1)]).map(|(name, set)| (name.to_owned(), set)).collect()
}

/// The privileges of each thread of a process, looked at a few times: some threads live for a
/// moment only.
fn of_each_thread(process: u32) -> BTreeMap<String, Privileges> {
    let mut found = BTreeMap::new();
    for _ in 0..200 {
        for thread in fs::read_dir(format!("/proc/{process}/task")).unwrap().flatten() {
            let name = fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
            if let Some(privileges) = privileges(&thread.path().join("status")) {
                found.insert(format!("{} {}", name.trim(), thread.path().display()), privileges);
            }
        }
    }
    found
}

#[track_caller]
fn assert_keeps(process: u32, kept: u64) {
    // What is not there cannot be kept.
    let kept = kept & privileges(Path::new("/proc/self/status")).unwrap()["CapEff"];
    let threads = of_each_thread(process);
    assert!(threads.len() >= 2, "{threads:?}");
    for (thread, privileges) in threads {
        assert_eq!(privileges, keeping(kept), "{thread}");
    }
}

/// A copy of a program that everybody may run, wherever the original is.
struct Copy {
    _directory: TempDir,
    path: PathBuf,
}

impl Copy {
    fn of(program: &Path) -> Self {
        let directory = tempfile::tempdir().unwrap();
        chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        let path = directory.path().join(program.file_name().unwrap());
        copy_program(program, &path);
        chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
        Self { _directory: directory, path }
    }

    /// The command that runs it in `namespace` as a user who is not root.
    fn as_nobody(&self, namespace: &Namespace) -> Command {
        let mut command = namespace.command("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]);
        command.arg(&self.path);
        command
    }
}

/// A database whose directory belongs to another user.
fn database_of_nobody() -> Database {
    let database = Database::new();
    chown(database.path().parent().unwrap(), Some(NOBODY), Some(NOBODY)).unwrap();
    database
}

fn owner(path: &Path) -> u32 {
    fs::metadata(path).unwrap().uid()
}

/// The file that SQLite makes beside a database.
fn log(database: &Database) -> PathBuf {
    database.path().with_extension("db-wal")
}

#[test]
fn every_thread_keeps_what_is_needed_and_no_more() {
    require!(root);
    let host = Namespace::new("host");
    let _server = server(&host, "127.0.0.1:8080");
    let way = ["--owners", "procfs"];
    for (options, kept) in [(&[][..], PROCESSES), (&["--all-namespaces"], PROCESSES | SYS_ADMIN)] {
        let database = Database::new();
        let probe = Probing::start(&database, &host, &[&way, options].concat());
        probe.wait_until_seen(2);
        assert_keeps(probe.id(), kept | net_admin());
        assert!(probe.end(Signal::TERM).status.success());
    }
}

#[test]
fn a_probe_that_streams_keeps_no_more() {
    require!(root, ebpf);
    let host = Namespace::new("host");
    let _server = server(&host, "127.0.0.1:8080");
    for (options, kept) in [(&[][..], PROCESSES), (&["--all-namespaces"], PROCESSES | SYS_ADMIN)] {
        let database = Database::new();
        let probe = Probing::stream("50ms", &database, &host, options);
        probe.wait_until_seen(2);
        let status = PathBuf::from(format!("/proc/{}/status", probe.id()));
        // As below.
        let wanted = privileges(&status).unwrap()["CapEff"] & BPF;
        assert_keeps(probe.id(), kept | net_admin() | wanted);
        assert!(probe.end(Signal::TERM).status.success());
    }
}

#[test]
fn kernel_programs_are_used_with_what_the_kernel_wants_for_it() {
    require!(root, ebpf);
    let host = Namespace::new("host");
    let _server = server(&host, "127.0.0.1:8080");
    let database = Database::new();
    let probe = Probing::start(&database, &host, &["--owners", "task-file"]);
    probe.wait_until_seen(2);
    let status = PathBuf::from(format!("/proc/{}/status", probe.id()));
    // Some kernels want it from whoever uses a kernel program (docs/probe.md).
    let wanted = privileges(&status).unwrap()["CapEff"] & BPF;
    assert_keeps(probe.id(), PROCESSES | net_admin() | wanted);
    assert!(probe.end(Signal::TERM).status.success());
}

#[test]
fn the_map_of_another_probe_takes_no_privileges() {
    require!(root);
    let host = Namespace::new("host");
    let _server = server(&host, "127.0.0.1:8080");
    let _clients = clients(&host, "127.0.0.1:8080", 1);
    let database = Database::new();
    let probe = Probing::start(&database, &host, &["--flush-interval", "10ms"]);
    let up = database.netglass(&host, &["up", "--interval", "50ms"]);
    probe.wait_until_seen(2);
    let up = Running::spawn(up);
    up.wait_for_line("└<-- 127.0.0.1:many ('netglass-load', pgid=");
    assert_keeps(up.id(), 0);
    assert!(probe.end(Signal::TERM).status.success());
    up.signal(Signal::INT);
    assert!(up.wait().status.success());
}

#[test]
fn processes_of_other_users_are_seen_in_other_namespaces_too() {
    require!(root, ebpf, command("setpriv"));
    let (host, other) = (Namespace::new("host"), Namespace::new("other"));
    let load = Copy::of(load_command());
    // All namespaces are those of other tests too, so these ports are nobody else's.
    let running = [(&host, "18001"), (&other, "18002")].map(|(namespace, port)| {
        let mut command = load.as_nobody(namespace);
        command.args(["hold-server", "--listen", &format!("127.0.0.1:{port}")]);
        let server = Running::spawn(command);
        server.wait_for_line("ready");
        (server, clients(namespace, &format!("127.0.0.1:{port}"), 1))
    });
    for owners in ["task-file", "procfs"] {
        let database = Database::new();
        database.probe_once(&host, &["--all-namespaces", "--owners", owners]);
        for ((server, client), port) in running.iter().zip([18_001, 18_002]) {
            let edges = database.edges(&host, &["--port", &port.to_string()]);
            let edge = only_edge_to(&edges, port);
            assert_eq!(edge.number("server/process/pid"), u64::from(server.id()), "{owners}");
            assert_eq!(edge.number("server/process/uid"), u64::from(NOBODY));
            assert_eq!(edge.text("server/process/exe"), load.path.to_str().unwrap());
            assert_eq!(edge.number("client/process/pid"), u64::from(client.id()));
        }
    }
}

#[test]
fn a_database_in_another_user_s_directory_is_made_anew_where_it_is_removed() {
    require!(root);
    let host = Namespace::new("host");
    let _server = server(&host, "127.0.0.1:8080");
    let database = database_of_nobody();
    let options = ["--owners", "procfs", "--flush-interval", "10ms"];
    let probe = Probing::start(&database, &host, &options);
    probe.wait_until_seen(2);
    assert_keeps(probe.id(), PROCESSES | DAC_OVERRIDE | CHOWN | net_admin());
    // It must not make one of them anew before the other is removed.
    probe.signal(Signal::STOP);
    for path in [database.path(), log(&database)] {
        fs::remove_file(path).unwrap();
    }
    probe.signal(Signal::CONT);
    wait_for(|| log(&database).exists().then_some(()));
    let finished = probe.end(Signal::TERM);
    assert!(finished.status.success(), "{finished:?}");
    let stderr = String::from_utf8(finished.stderr).unwrap();
    assert!(!stderr.contains("cannot write"), "{stderr}");
    assert!(database.tree(&host, &["--listening"]).contains("127.0.0.1:8080"));
}

#[test]
fn what_is_made_beside_another_user_s_database_is_that_user_s() {
    require!(root, command("setpriv"));
    let host = Namespace::new("host");
    let _server = server(&host, "127.0.0.1:8080");
    let database = database_of_nobody();
    let netglass = Copy::of(Path::new(env!("CARGO_BIN_EXE_netglass")));
    let create = |path: &Path| {
        let mut command = netglass.as_nobody(&host);
        command.arg("create-scheme").env("NETGLASS_DB", path);
        let output = command.env_remove("NETGLASS_CONFIG").output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    create(&database.path());
    let probe = Probing::start(&database, &host, &["--flush-interval", "10ms"]);
    wait_for(|| log(&database).exists().then_some(()));
    probe.wait_until_seen(2);
    assert_eq!(owner(&log(&database)), NOBODY);
    // Another database takes its place while the probe runs.
    let other = database.path().with_file_name("other.db");
    create(&other);
    for path in [log(&database), database.path().with_extension("db-shm")] {
        fs::remove_file(path).unwrap();
    }
    fs::rename(other, database.path()).unwrap();
    wait_for(|| fs::metadata(log(&database)).is_ok_and(|log| log.len() > 0).then_some(()));
    assert_eq!(owner(&database.path()), NOBODY);
    assert_eq!(owner(&log(&database)), NOBODY);
    assert!(probe.end(Signal::TERM).status.success());
}

#[test]
fn without_privileges_a_probe_sees_its_own_user_s_processes() {
    require!(root, command("setpriv"));
    let host = Namespace::new("host");
    let load = Copy::of(load_command());
    let mut command = load.as_nobody(&host);
    command.args(["hold-server", "--listen", "127.0.0.1:8080"]);
    let server = Running::spawn(command);
    server.wait_for_line("ready");
    let netglass = Copy::of(Path::new(env!("CARGO_BIN_EXE_netglass")));
    let database = database_of_nobody();
    let mut command = netglass.as_nobody(&host);
    command.args(["probe", "--once", "--owners", "procfs"]);
    command.env("NETGLASS_DB", database.path()).env("HOME", database.path().parent().unwrap());
    let output = command.env_remove("NETGLASS_CONFIG").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!stderr.contains("the least privileges"), "{stderr}");
    let listener = format!("127.0.0.1:8080 ('netglass-load', pgid={})", server.id());
    let tree = database.tree(&host, &["--listening"]);
    assert!(tree.contains(&listener), "{tree}");
}
