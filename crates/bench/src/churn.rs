//! Connections that come and go between two namespaces, counted by the kernel.

use std::{fs, time::Duration};

use anyhow::{Context, Result, anyhow};
use netglass_testing::{Namespace, Running, link, load_command};
use serde_json::Value;

use crate::wait::wait_for;

const SERVER: &str = "10.0.0.1";
const CLIENT: &str = "10.0.1.1";
/// One address would do; several are several flows for each pair of processes.
const SOURCES: u8 = 4;
const FIRST_PORT: u16 = 5000;

/// `TIME_WAIT` sockets beyond these are destroyed at once. So the source ports of millions of
/// connections do not run out, and none has to be searched for among thousands in use.
const TIME_WAIT_SOCKETS: &str = "8192";

/// How long all connections together may take.
const PATIENCE: Duration = Duration::from_secs(3600);

/// How long it may take until what a load said at its end is read.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Processes that are ready to open and to accept the connections. Fields are dropped in order.
#[derive(Debug)]
pub(crate) struct Churn {
    clients: Running,
    servers: Running,
    client: Namespace,
    server: Namespace,
    connections: u64,
}

/// How many connections the kernel has counted at either end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Opens {
    /// `TcpActiveOpens` of the clients' namespace.
    pub(crate) active: u64,
    /// `TcpPassiveOpens` of the servers' namespace.
    pub(crate) passive: u64,
}

impl Churn {
    /// Starts `pairs` servers, and as many clients of one of them each.
    pub(crate) fn prepare(pairs: u16, connections: u64) -> Result<Self> {
        let (client, server) = (Namespace::new("churn-client"), Namespace::new("churn-server"));
        let devices = link(&client, &format!("{CLIENT}/16"), &server, &format!("{SERVER}/16"));
        let more = (2..=SOURCES).map(|last| format!("10.0.1.{last}/16"));
        client.add_addresses(&devices.first, more);
        client.sysctl("net.ipv4.tcp_max_tw_buckets", TIME_WAIT_SOCKETS);
        for key in ["net.core.somaxconn", "net.ipv4.tcp_max_syn_backlog"] {
            server.sysctl(key, "65535");
        }
        let (to, pairs) = (format!("{SERVER}:{FIRST_PORT}"), pairs.to_string());
        let start = |namespace: &Namespace, arguments: &[&str]| -> Result<Running> {
            let mut command = namespace.command(load_command());
            command.args(arguments).args(["--processes", &pairs]);
            let running = Running::spawn(command);
            running.lines_within("ready", 1, PATIENCE).map_err(|reason| anyhow!(reason))?;
            Ok(running)
        };
        let servers = start(&server, &["churn-server", "--listen", &to])?;
        let (total, sources) = (connections.to_string(), SOURCES.to_string());
        // A client that awaits the end leaves nothing to happen after it is done, and no FIN for
        // a TIME_WAIT socket that has been destroyed, which would be answered by a reset.
        let options = ["--connections", &total, "--await-end"];
        let source = ["--source", CLIENT, "--sources", &sources];
        let clients =
            start(&client, &[&["churn-clients", "--to", &to][..], &options, &source].concat())?;
        Ok(Self { clients, servers, client, server, connections })
    }

    /// Lets the clients begin.
    pub(crate) fn start(&mut self) {
        self.clients.write_stdin(b"\n");
    }

    /// Waits until so many connections were opened.
    pub(crate) fn wait_until_opened(&self, count: u64) -> Result<()> {
        wait_for("connections to be opened", PATIENCE, || {
            for load in [&self.clients, &self.servers] {
                if load.has_ended() {
                    load.lines_within("done", 1, LAST_WORDS).map_err(|reason| anyhow!(reason))?;
                }
            }
            Ok((self.opens()?.active >= count).then_some(()))
        })
    }

    /// Waits until all were opened and closed.
    pub(crate) fn wait_until_done(&self) -> Result<()> {
        let done = format!("done {}", self.connections);
        self.clients.lines_within(&done, 1, PATIENCE).map_err(|reason| anyhow!(reason))?;
        Ok(())
    }

    /// What the kernel has counted so far.
    pub(crate) fn opens(&self) -> Result<Opens> {
        Ok(Opens {
            active: counter(&self.clients, "ActiveOpens")?,
            passive: counter(&self.servers, "PassiveOpens")?,
        })
    }

    /// The inodes of both namespaces.
    pub(crate) fn namespaces(&self) -> [u64; 2] {
        [self.client.inode(), self.server.inode()]
    }

    /// Whether an edge of `netglass look` is one of these connections.
    pub(crate) fn is_ours(&self, edge: &Value) -> bool {
        let is_ours = |end: &str| {
            edge[end]["netns"].as_u64().is_some_and(|inode| self.namespaces().contains(&inode))
        };
        is_ours("client") || is_ours("server")
    }
}

/// A counter of TCP of the namespace in which a process runs.
fn counter(process: &Running, name: &str) -> Result<u64> {
    let path = format!("/proc/{}/net/snmp", process.id());
    let snmp = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    tcp_counter(&snmp, name).with_context(|| format!("{path} has no TCP counter {name}"))
}

/// In `snmp`, a line of names is followed by one of numbers.
fn tcp_counter(snmp: &str, name: &str) -> Option<u64> {
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let index = names.split_whitespace().position(|found| found == name)?;
    numbers.split_whitespace().nth(index)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_found_by_its_name() {
        let snmp = "Ip: Forwarding\nIp: 1\nTcp: MaxConn ActiveOpens PassiveOpens\nTcp: -1 12 34\n";
        assert_eq!(tcp_counter(snmp, "ActiveOpens"), Some(12));
        assert_eq!(tcp_counter(snmp, "PassiveOpens"), Some(34));
        assert_eq!(tcp_counter(snmp, "Forwarding"), None);
        assert_eq!(tcp_counter("", "ActiveOpens"), None);
    }
}
