//! JSON Lines: one dependency a line, for programs. The schema is documented in `docs/look.md`.

use std::{
    io::{self, Write},
    net::IpAddr,
};

use netglass_model::{Attribution, Edge, Failures, Node, Process, Protocol};
use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

use crate::{time::rfc3339, tree::Tree};

/// The version of the schema; it grows when a key changes its meaning or goes away.
const VERSION: u32 = 1;

/// Writes each dependency of the answer, then each listener to which nobody talked.
pub(crate) fn render(tree: &Tree<'_>, out: &mut impl Write) -> io::Result<()> {
    for edge in tree.edges() {
        write_line(&EdgeLine::of(edge), out)?;
    }
    for (protocol, node) in tree.idle_listeners() {
        let listener = NodeObject::server(node);
        write_line(&ListenerLine { listener, protocol, version: VERSION }, out)?;
    }
    Ok(())
}

/// Writes one object on a line of its own.
pub(crate) fn write_line(value: &impl Serialize, out: &mut impl Write) -> io::Result<()> {
    let mut serializer = Serializer::with_formatter(&mut *out, TerminalSafe);
    value.serialize(&mut serializer)?;
    out.write_all(b"\n")
}

#[derive(Serialize)]
struct EdgeLine<'a> {
    client: NodeObject<'a>,
    server: NodeObject<'a>,
    protocol: Protocol,
    connections: u64,
    failed: u64,
    bytes_sent: u64,
    bytes_received: u64,
    rtt_us: Option<u64>,
    first_seen: String,
    last_seen: String,
    retransmits: u64,
    version: u32,
    segments_sent: u64,
    segments_received: u64,
    failures: Failures,
}

#[derive(Serialize)]
struct ListenerLine<'a> {
    listener: NodeObject<'a>,
    protocol: Protocol,
    version: u32,
}

/// An end of a dependency.
#[derive(Serialize)]
pub(super) struct NodeObject<'a> {
    host: Option<&'a str>,
    address: IpAddr,
    netns: Option<u64>,
    process: Option<ProcessObject<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<PortNumber>,
    netns_name: Option<&'a str>,
    machine_id: Option<&'a str>,
    attribution: Attribution,
}

/// Null for many ports.
#[derive(Serialize)]
#[serde(transparent)]
struct PortNumber(Option<u16>);

/// A process.
#[derive(Serialize)]
pub(crate) struct ProcessObject<'a> {
    pid: u32,
    start_time: String,
    pgid: u32,
    comm: &'a str,
    exe: Option<&'a str>,
    uid: Option<u32>,
    container: Option<&'a str>,
    command_line: Option<&'a str>,
}

impl<'a> EdgeLine<'a> {
    fn of(edge: &'a Edge) -> Self {
        Self {
            client: NodeObject::client(&edge.client),
            server: NodeObject::server(&edge.server),
            protocol: edge.protocol,
            connections: edge.connections,
            failed: edge.failed.total(),
            bytes_sent: edge.bytes_sent,
            bytes_received: edge.bytes_received,
            rtt_us: edge.rtt.mean_us(),
            first_seen: rfc3339(edge.first_seen),
            last_seen: rfc3339(edge.last_seen),
            retransmits: edge.retransmits,
            version: VERSION,
            segments_sent: edge.segments_sent,
            segments_received: edge.segments_received,
            failures: edge.failed,
        }
    }
}

impl<'a> NodeObject<'a> {
    pub(super) fn client(node: &'a Node) -> Self {
        Self::of(node, None)
    }

    pub(super) fn server(node: &'a Node) -> Self {
        Self::of(node, Some(PortNumber(node.port.number())))
    }

    /// `port` is none for a node that has no key for it.
    fn of(node: &'a Node, port: Option<PortNumber>) -> Self {
        let namespace = node.namespace.as_ref();
        Self {
            host: node.host.as_ref().map(|id| id.hostname.as_str()),
            address: node.address,
            netns: namespace.map(|namespace| namespace.inode.0),
            process: node.process.as_deref().map(ProcessObject::of),
            port,
            netns_name: namespace.and_then(|namespace| namespace.name.as_deref()),
            machine_id: node.host.as_ref().map(|id| id.machine_id.as_str()),
            attribution: node.attribution,
        }
    }
}

impl<'a> ProcessObject<'a> {
    pub(crate) fn of(process: &'a Process) -> Self {
        Self {
            pid: process.pid,
            start_time: rfc3339(process.start_time),
            pgid: process.pgid,
            comm: &process.comm,
            exe: process.exe.as_deref(),
            uid: process.uid,
            container: process.container.as_deref(),
            command_line: process.command_line.as_deref(),
        }
    }
}

/// Escapes DEL and the C1 control characters too, which JSON allows in a string, but which some
/// terminals obey.
struct TerminalSafe;

impl Formatter for TerminalSafe {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + Write,
    {
        let mut rest = fragment;
        while let Some(at) = rest.find(char::is_control) {
            let (before, found) = rest.split_at(at);
            CompactFormatter.write_string_fragment(writer, before)?;
            let mut characters = found.chars();
            if let Some(control) = characters.next() {
                write!(writer, "\\u{:04x}", u32::from(control))?;
            }
            rest = characters.as_str();
        }
        CompactFormatter.write_string_fragment(writer, rest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures::{Edges, named_edge, tree_of_everything};

    fn lines(edges: Edges) -> String {
        let dependencies = edges.dependencies();
        let mut out = Vec::new();
        render(&tree_of_everything(&dependencies), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_dependency_is_one_line() {
        insta::assert_snapshot!(lines(Edges::web()));
    }

    #[test]
    fn a_listener_is_one_line() {
        insta::assert_snapshot!(lines(Edges::only_listening()));
    }

    proptest! {
        #[test]
        fn any_name_comes_back_and_none_has_control_characters(comm in any::<String>()) {
            let text = lines(named_edge(&comm));
            prop_assert!(!text.trim_end_matches('\n').contains(char::is_control));
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            let process = &value["server"]["process"];
            prop_assert_eq!(process["comm"].as_str(), Some(comm.as_str()));
            prop_assert_eq!(process["command_line"].as_str(), Some(comm.as_str()));
        }
    }
}
