//! Comma-separated values (RFC 4180): a header, then one dependency a line.

use std::io::{self, IsTerminal as _, Write};

use netglass_model::{Edge, Failures, Node, printable};

use crate::{time::rfc3339, tree::Tree};

/// How names from outside are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    /// Exactly, for a program that reads them.
    Exact,
    /// With control characters escaped, for a terminal.
    Escaped,
}

const NODE_COLUMNS: [&str; 10] =
    ["host", "address", "netns", "pid", "start_time", "pgid", "comm", "exe", "uid", "container"];

const EDGE_COLUMNS: [&str; 9] = [
    "protocol",
    "connections",
    "failed",
    "bytes_sent",
    "bytes_received",
    "rtt_us",
    "first_seen",
    "last_seen",
    "retransmits",
];

impl Names {
    /// As it suits where standard output goes.
    pub(super) fn for_stdout() -> Self {
        if io::stdout().is_terminal() { Self::Escaped } else { Self::Exact }
    }

    fn write(self, text: &str) -> String {
        match self {
            Self::Exact => text.to_owned(),
            Self::Escaped => printable(text).into_owned(),
        }
    }
}

/// Writes each dependency of the answer, then each listener to which nobody talked, with nothing
/// in the client's columns and in the counts. What is not known is empty.
pub(crate) fn render(tree: &Tree<'_>, names: Names, out: &mut impl Write) -> io::Result<()> {
    let mut header: Vec<String> = node_titles("client").into();
    header.extend(node_titles("server"));
    header.push("server_port".to_owned());
    header.extend(EDGE_COLUMNS.map(str::to_owned));
    // What came later stands behind, so that no column changes its place.
    header.extend(["segments_sent", "segments_received"].map(str::to_owned));
    header.extend(Failures::NAMES.map(|kind| format!("failures_{kind}")));
    header.extend(["client_command_line", "server_command_line"].map(str::to_owned));
    write_record(&header, out)?;
    for edge in tree.edges() {
        let mut record = node_fields(&edge.client, names);
        record.extend(node_fields(&edge.server, names));
        record.push(optional(edge.server.port.number()));
        record.extend(edge_fields(edge));
        record.extend([edge.segments_sent, edge.segments_received].map(|count| count.to_string()));
        record.extend(edge.failed.counts().map(|count| count.to_string()));
        record.extend([&edge.client, &edge.server].map(|node| command_line(node, names)));
        write_record(&record, out)?;
    }
    for (protocol, node) in tree.idle_listeners() {
        let mut record = vec![String::new(); NODE_COLUMNS.len()];
        record.extend(node_fields(node, names));
        record.push(optional(node.port.number()));
        record.push(protocol.to_string());
        record.resize(header.len() - 1, String::new());
        record.push(command_line(node, names));
        write_record(&record, out)?;
    }
    Ok(())
}

/// The names of the columns of one end.
pub(super) fn node_titles(end: &str) -> [String; NODE_COLUMNS.len()] {
    NODE_COLUMNS.map(|column| format!("{end}_{column}"))
}

/// What stands in these columns.
pub(super) fn node_fields(node: &Node, names: Names) -> Vec<String> {
    let text = |text: &str| names.write(text);
    let process = node.process.as_deref();
    vec![
        node.host.as_ref().map(|id| text(&id.hostname)).unwrap_or_default(),
        node.address.to_string(),
        optional(node.namespace.as_ref().map(|namespace| namespace.inode.0)),
        optional(process.map(|process| process.pid)),
        optional(process.map(|process| rfc3339(process.start_time))),
        optional(process.map(|process| process.pgid)),
        process.map(|process| text(&process.comm)).unwrap_or_default(),
        process.and_then(|process| process.exe.as_deref()).map(text).unwrap_or_default(),
        optional(process.and_then(|process| process.uid)),
        process.and_then(|process| process.container.as_deref()).map(text).unwrap_or_default(),
    ]
}

fn command_line(node: &Node, names: Names) -> String {
    let text = node.process.as_deref().and_then(|process| process.command_line.as_deref());
    text.map(|text| names.write(text)).unwrap_or_default()
}

fn edge_fields(edge: &Edge) -> [String; EDGE_COLUMNS.len()] {
    [
        edge.protocol.to_string(),
        edge.connections.to_string(),
        edge.failed.total().to_string(),
        edge.bytes_sent.to_string(),
        edge.bytes_received.to_string(),
        optional(edge.rtt.mean_us()),
        rfc3339(edge.first_seen),
        rfc3339(edge.last_seen),
        edge.retransmits.to_string(),
    ]
}

pub(super) fn optional(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

pub(super) fn write_record(fields: &[String], out: &mut impl Write) -> io::Result<()> {
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        if field.contains([',', '"', '\r', '\n']) {
            write!(out, "\"{}\"", field.replace('"', "\"\""))?;
        } else {
            out.write_all(field.as_bytes())?;
        }
    }
    out.write_all(b"\r\n")
}

#[cfg(test)]
mod tests {
    use netglass_testing::csv_records;
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures::{Edges, named_edge, tree_of_everything};

    fn text(edges: Edges, names: Names) -> String {
        let dependencies = edges.dependencies();
        let mut out = Vec::new();
        render(&tree_of_everything(&dependencies), names, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_dependency_is_one_record() {
        insta::assert_snapshot!(text(Edges::web(), Names::Exact).replace('\r', ""));
    }

    #[test]
    fn a_listener_is_one_record_without_client() {
        let records = csv_records(&text(Edges::only_listening(), Names::Exact));
        assert!(records.iter().all(|record| record.len() == records[0].len()));
        assert!(records[1][..NODE_COLUMNS.len()].iter().all(String::is_empty));
        let [.., client, server] = &records[1][..] else { panic!("{records:?}") };
        assert_eq!((&**client, &**server), ("", "sshd -c /etc/sshd.conf"));
    }

    proptest! {
        #[test]
        fn any_name_comes_back(comm in any::<String>()) {
            let records = csv_records(&text(named_edge(&comm), Names::Exact));
            let column = |title| records[0].iter().position(|name| name == title).unwrap();
            prop_assert_eq!(records.len(), 2);
            prop_assert_eq!(records[1].len(), records[0].len());
            prop_assert_eq!(&records[1][column("server_comm")], &comm);
            prop_assert_eq!(&records[1][column("server_command_line")], &comm);
        }

        #[test]
        fn a_terminal_gets_no_control_characters(comm in any::<String>()) {
            let text = text(named_edge(&comm), Names::Escaped);
            prop_assert!(!text.replace("\r\n", "").contains(char::is_control));
        }
    }
}
