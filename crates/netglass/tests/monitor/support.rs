//! The program in a place of its own, and events to show it.

use std::{
    fmt::Write as _,
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use netglass_testing::{Finished, Running, directory_in_memory};
use serde_json::Value;
use tempfile::TempDir;

/// From 10.15.28.238:45678 to 10.15.116.202:80, TCP, the first of a connection.
const PACKET: &str = "5e6f1a2b3c4d0a580a0f1cee0800450000281c4640003f0679b40a0f1cee0a0f74cab26e0050\
                      112233440000000050027210beef0000";

/// A drop of endpoint 1022 for a reason, as Cilium 1.5 tells it.
pub(crate) fn drop(reason: u8) -> String {
    format!("01{reason:02x}fe03e4d37a8f36000000360000009fbf0000664b0000fe03000000000000{PACKET}")
}

/// A packet that comes from endpoint 1022, as Cilium 1.5 tells it.
pub(crate) fn trace() -> String {
    format!("0405fe0373ed5cbe36000000360000009fbf0000664b0000fe0302002a000000{PACKET}")
}

/// A drop as Cilium 1.5 shows it.
pub(crate) fn shown_drop(reason: &str) -> String {
    format!(
        "xx drop ({reason}) flow 0x8f7ad3e4 to endpoint 1022, identity 49055->19302: \
         10.15.28.238:45678 -> 10.15.116.202:80 tcp SYN\n"
    )
}

/// Lines of JSON with these events.
pub(crate) fn lines(events: &[String]) -> Vec<u8> {
    let mut text = String::new();
    for event in events {
        writeln!(text, "{{\"hex\":\"{event}\",\"cpu\":3}}").unwrap();
    }
    text.into_bytes()
}

/// Two drops and a packet.
pub(crate) fn three() -> Vec<u8> {
    lines(&[drop(133), trace(), drop(181)])
}

/// A directory in which nothing of this machine is known.
pub(crate) struct Place {
    directory: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let directory = directory_in_memory();
        fs::write(directory.path().join("empty.toml"), "").unwrap();
        Self { directory }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn file(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    /// `netglass monitor …` here.
    pub(crate) fn netglass(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_netglass"));
        command
            .arg("monitor")
            .args(arguments)
            .current_dir(self.directory.path())
            .env_clear()
            .env("HOME", self.directory.path())
            .env("TZ", "UTC")
            .env("NETGLASS_CONFIG", self.path("empty.toml"))
            .stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    #[track_caller]
    pub(crate) fn monitor(&self, arguments: &[&str]) -> Monitored {
        Monitored::of(Running::spawn(self.netglass(arguments)).wait())
    }

    /// Runs it to its end on events of a file.
    #[track_caller]
    pub(crate) fn monitor_file(&self, file: &[u8], arguments: &[&str]) -> Monitored {
        self.file("in", file);
        let monitored = self.monitor(&[&["-r", "in"], arguments].concat());
        assert_eq!(monitored.status, 0, "{monitored:?}");
        monitored
    }
}

/// How it ended, and what it told.
#[derive(Debug)]
pub(crate) struct Monitored {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Monitored {
    #[track_caller]
    pub(crate) fn of(finished: Finished) -> Self {
        let Finished { status, stdout, stderr } = finished;
        let stderr = String::from_utf8(stderr).unwrap();
        assert!(!stderr.contains("panicked"), "{stderr}");
        let stdout = String::from_utf8_lossy(&stdout).into_owned();
        Self { status: status.code().unwrap(), stdout, stderr }
    }

    /// What it wrote, as lines of JSON.
    #[track_caller]
    pub(crate) fn objects(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[track_caller]
    pub(crate) fn assert_fails(&self, status: i32, parts: &[&str]) {
        assert_eq!(self.status, status, "{self:?}");
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is missing in {self:?}");
        }
    }

    #[track_caller]
    pub(crate) fn assert_ledger(&self, text: &str) {
        let ledger = self.stderr.lines().last().unwrap_or_default();
        assert_eq!(ledger, format!("netglass: {text}"));
    }
}
