//! bpftrace as who would rather write three lines than start Netglass: it prints a line for each
//! connection that is opened or accepted.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    net::{Ipv4Addr, TcpStream},
    path::PathBuf,
    process::{self, Command},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use netglass_testing::{Running, Signal};
use tempfile::TempDir;

use crate::wait::wait_for;

const PATIENCE: Duration = Duration::from_secs(60);

/// To connect to this fails at once.
const NOBODYS_PORT: u16 = 1;

const SCRIPT: &str = r#"
tracepoint:syscalls:sys_enter_connect { printf("connect %d %s %d\n", pid, comm, args->fd); }
tracepoint:syscalls:sys_exit_accept4 /args->ret >= 0/ {
    printf("accept %d %s %d\n", pid, comm, args->ret);
}
"#;

/// Tracepoints are found by tracefs, which is not mounted everywhere; what is mounted here is seen
/// by nobody else.
const START: &str = r#"
if [ ! -d /sys/kernel/tracing/events ]; then mount -t tracefs tracefs /sys/kernel/tracing; fi
exec bpftrace "$1" >"$2"
"#;

/// A running bpftrace.
#[derive(Debug)]
pub(crate) struct Bpftrace {
    running: Running,
    folder: TempDir,
}

impl Bpftrace {
    /// Starts it; it observes once this returns.
    pub(crate) fn start() -> Result<Self> {
        let folder = tempfile::tempdir().context("a temporary folder for bpftrace")?;
        let script = folder.path().join("connections.bt");
        fs::write(&script, SCRIPT).context("writing the script of bpftrace")?;
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", START, "sh"]).arg(&script);
        command.arg(folder.path().join("lines"));
        let bpftrace = Self { running: Running::spawn(command), folder };
        // What it prints at its start, it prints before it observes: it does when it has seen what
        // is done here.
        wait_for("the first line of bpftrace", PATIENCE, || {
            let said = String::from_utf8_lossy(&bpftrace.running.stderr()).into_owned();
            ensure!(!bpftrace.running.has_ended(), "bpftrace ended by itself: {}", said.trim());
            let _refused = TcpStream::connect((Ipv4Addr::LOCALHOST, NOBODYS_PORT));
            let lines = fs::read_to_string(bpftrace.lines()).unwrap_or_default();
            Ok(lines.lines().any(|line| line.starts_with(&own_connect())).then_some(()))
        })?;
        Ok(bpftrace)
    }

    /// The processor time that it has used.
    pub(crate) fn cpu_time(&self) -> Duration {
        self.running.cpu_time()
    }

    /// Ends it; returns how many ends of connections it has printed.
    pub(crate) fn end(self) -> Result<u64> {
        self.running.signal(Signal::INT);
        let path = self.lines();
        let _ = self.running.wait();
        let lines = BufReader::new(File::open(path).context("opening what bpftrace has printed")?);
        let (mut count, own) = (0, own_connect());
        for line in lines.split(b'\n') {
            let line = line.context("reading what bpftrace has printed")?;
            let is_end = line.starts_with(b"connect ") || line.starts_with(b"accept ");
            count += u64::from(is_end && !line.starts_with(own.as_bytes()));
        }
        Ok(count)
    }

    fn lines(&self) -> PathBuf {
        self.folder.path().join("lines")
    }
}

/// How a line about a connection of this process begins.
fn own_connect() -> String {
    format!("connect {} ", process::id())
}
