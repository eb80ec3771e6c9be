//! `netglass top` on a terminal of its own, while programs of known sockets talk.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]
#![cfg(feature = "ebpf")]

mod once;
mod screens;
mod terminal;

use std::{ffi::OsStr, process::Command};

use netglass_testing::{Namespace, Place, Running};

/// `netglass top …`, where nothing of this machine is known.
fn top(place: &Place, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netglass"));
    command.arg("top");
    let mut command = place.prepare(command, arguments);
    command.env("TERM", "xterm-256color");
    command
}

/// One that echoes what it is sent, and one that asks it again and again, and reads once in vain each
/// time.
const TALK: &str = r#"
import os, socket, time
server = socket.create_server(("127.0.0.1", 7090))
child = os.fork()
if child == 0:
    open("/proc/self/comm", "w").write("asker")
    client = socket.create_connection(("127.0.0.1", 7090))
    while True:
        client.sendall(b"x" * 1000)
        received = 0
        while received < 4000:
            received += len(client.recv(65536))
        try:
            client.recv(1, socket.MSG_DONTWAIT)
        except BlockingIOError:
            time.sleep(0.0005)
open("/proc/self/comm", "w").write("echoer")
connection, _ = server.accept()
print("child", child, flush=True)
while True:
    received = 0
    while received < 1000:
        received += len(connection.recv(65536))
    connection.sendall(b"y" * 4000)
"#;

/// The processes of [`TALK`].
struct Talk {
    _namespace: Namespace,
    running: Running,
    asker: u32,
}

impl Talk {
    fn start(label: &str) -> Self {
        let namespace = Namespace::new(label);
        let mut command = namespace.command("python3");
        command.args(["-c", TALK]);
        let running = Running::spawn(command);
        let line = running.wait_for_line("child ");
        let asker = line.trim_start_matches("child ").parse().unwrap();
        Self { _namespace: namespace, running, asker }
    }

    fn pids(&self) -> String {
        format!("{},{}", self.running.id(), self.asker)
    }
}
