//! Processes that have ended before anybody could look at them.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use netglass_testing::{Namespace, Signal, copy_program, load_command, require};
use rusqlite::Connection;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::{NEVER, assert_processes};
use crate::support::{Database, Ledger, Probing, load, only_edge_to};

const COUNT: u16 = 300;

/// A control group of the v2 hierarchy, for as long as a test lasts.
struct ControlGroup(PathBuf);

impl ControlGroup {
    /// None where the hierarchy is not there or may not be changed.
    fn new(name: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/mounts").ok()?;
        let fields = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let mount = mounts.lines().map(fields).find(|fields| fields[2] == "cgroup2")?;
        let path = PathBuf::from(&mount[1]).join(format!("{name}-{}", std::process::id()));
        fs::create_dir(&path).ok()?;
        Some(Self(path))
    }

    /// As `/proc/PID/cgroup` writes it, where the whole hierarchy is mounted.
    fn path(&self) -> String {
        format!("/{}", self.0.file_name().unwrap().to_str().unwrap())
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// What is known of a process from elsewhere.
#[derive(Debug, PartialEq)]
struct Ended {
    pid: u32,
    start_ticks: u64,
    command_line: String,
}

/// Runs a command to its end; its remains say when it started.
fn run_and_look(mut command: Command, line: String) -> Ended {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let pid = Pid::from_child(&child);
    waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let start = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap();
    let start_ticks = start.parse().unwrap();
    assert!(child.wait().unwrap().success());
    Ended { pid: child.id(), start_ticks, command_line: line }
}

#[test]
fn hundreds_that_opened_one_connection_each_are_known_in_full() {
    require!(root, ebpf, command("setpriv"));
    let host = Namespace::new("host");
    let server = load(&host, "churn-server --listen 127.0.0.1:8080");
    let group = ControlGroup::new("netglass-test");
    let directory = tempfile::tempdir().unwrap();
    // Open to the user that it is to run as, whatever our own directories are.
    let program = directory.path().join("short");
    copy_program(load_command(), &program);
    for path in [directory.path(), &program] {
        std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
    }
    let database = Database::new();
    let probe = Probing::stream(NEVER, &database, &host, &["--flush-interval", NEVER]);
    let started: Vec<Ended> = (1..=COUNT)
        .map(|number| {
            let mut command = host.command("sh");
            let enter = group.as_ref().map_or(String::new(), |group| {
                format!("echo 0 > {}/cgroup.procs; ", group.0.display())
            });
            // The number makes each command line another one.
            let line =
                format!("{} hold-clients --to 127.0.0.1:8080 --send {number}", program.display());
            command.arg("-c").arg(format!(
                "{enter}exec setpriv --reuid=65534 --regid=65533 --clear-groups {line}"
            ));
            run_and_look(command, line)
        })
        .collect();
    let finished = probe.end(Signal::TERM);
    let ledger = Ledger::read(&finished.stdout);
    assert_eq!(ledger.skipped_total(), 0, "{ledger:?}");
    assert_eq!(ledger.lacking("process_vanished"), u64::from(COUNT), "{ledger:?}");
    assert_eq!(ledger.lacking("process_buffer_full"), 0);

    let edges = database.edges(&host, &[]);
    assert_eq!(edges.len(), usize::from(COUNT), "an edge for each process");
    let stored = Connection::open(database.path()).unwrap();
    let boot = boot_nanoseconds();
    for (number, process) in (1_u64..).zip(&started) {
        let of = |edge: &&crate::support::Edge| {
            edge.number("client/process/pid") == u64::from(process.pid)
        };
        let edge = edges.iter().find(of).unwrap_or_else(|| panic!("no edge of {process:?}"));
        assert_eq!(edge.number("connections"), 1);
        assert_eq!(edge.number("bytes_sent"), number);
        assert_processes(edge, process.pid, server.id());
        assert_eq!(edge.text("client/process/comm"), "short");
        assert_eq!(edge.text("client/process/exe"), program.to_str().unwrap());
        assert_eq!(edge.text("client/process/command_line"), process.command_line);
        assert_eq!(edge.number("client/process/uid"), 65534);
        let details: (i64, i64, Option<String>) = stored
            .query_row(
                "SELECT start_time, gid, cgroup FROM process WHERE pid = ? AND comm = 'short'",
                [process.pid],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
            .unwrap();
        let ticks = u64::try_from(details.0 - boot).unwrap() / (1_000_000_000 / 100);
        assert_eq!(ticks, process.start_ticks, "{edge:?}");
        assert_eq!(details.1, 65533);
        if let Some(group) = &group {
            assert_eq!(details.2.as_deref(), Some(group.path().as_str()));
        }
    }
}

fn boot_nanoseconds() -> i64 {
    let stat = fs::read_to_string("/proc/stat").unwrap();
    let line = stat.lines().find_map(|line| line.strip_prefix("btime ")).unwrap();
    line.parse::<i64>().unwrap() * 1_000_000_000
}

#[test]
fn those_that_live_are_not_said_to_have_ended() {
    require!(root, ebpf);
    let host = Namespace::new("host");
    let server = load(&host, "churn-server --listen 127.0.0.1:8080");
    let database = Database::new();
    let probe = Probing::stream(NEVER, &database, &host, &["--flush-interval", NEVER]);
    let client = load(&host, "hold-clients --to 127.0.0.1:8080");
    let finished = probe.end(Signal::TERM);
    let ledger = Ledger::read(&finished.stdout);
    assert_eq!(ledger.lacking("process_vanished"), 0, "{ledger:?}");
    let edges = database.edges(&host, &[]);
    assert_processes(only_edge_to(&edges, 8080), client.id(), server.id());
}
