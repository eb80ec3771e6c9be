//! The dependency tree as people read it: a line for each node, aligned columns behind it.

use std::io::{self, Write};

use anstyle::Style;
use netglass_model::{Host, HostId, Node, Protocol, Timestamp, printable};

use super::{
    seen::Seen,
    table::{Align, Cell, Table},
};
use crate::{
    graph::Way,
    time::age,
    tree::{Branch, Mark, Totals, Tree},
};

const ROOT: Style = Style::new().bold();

/// Writes the tree, with the styles of a terminal: a writer that is none has to strip them, as
/// `anstream` does. Ages are those at `now`.
pub(crate) fn render(tree: &Tree<'_>, now: Timestamp, out: &mut impl Write) -> io::Result<()> {
    Lines::of(tree, now).table.write(out)
}

/// What a process or its absence is called behind an address.
pub(crate) fn node_text(node: &Node) -> String {
    let endpoint = node.endpoint();
    match &node.process {
        Some(process) => format!("{endpoint} {}", printable(&process.name().to_string())),
        None => format!("{endpoint} (process unknown)"),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Node,
    Protocol,
    Connections,
    Failed,
    ToServer,
    ToClient,
    Rtt,
    LastSeen,
    Namespace,
    Host,
}

impl Column {
    fn title(self) -> &'static str {
        match self {
            Self::Node => "NODE",
            Self::Protocol => "PROTO",
            Self::Connections => "CONNECTIONS",
            Self::Failed => "FAILED",
            Self::ToServer => "TO SERVER",
            Self::ToClient => "TO CLIENT",
            Self::Rtt => "RTT",
            Self::LastSeen => "LAST SEEN",
            Self::Namespace => "NETNS",
            Self::Host => "HOST",
        }
    }

    fn align(self) -> Align {
        match self {
            Self::Node | Self::Protocol | Self::Namespace | Self::Host => Align::Left,
            _ => Align::Right,
        }
    }

    fn cell(self, totals: &Totals, now: Timestamp) -> String {
        let bytes = |count| if totals.has_bytes() { show_bytes(count) } else { "-".to_owned() };
        match self {
            Self::Connections => totals.connections.to_string(),
            Self::Failed if totals.failed == 0 => "-".to_owned(),
            Self::Failed => totals.failed.to_string(),
            Self::ToServer => bytes(totals.bytes_sent),
            Self::ToClient => bytes(totals.bytes_received),
            Self::Rtt => totals.rtt.mean_us().map_or_else(|| "-".to_owned(), show_rtt),
            Self::LastSeen => age(now, totals.last_seen),
            Self::Node | Self::Protocol | Self::Namespace | Self::Host => String::new(),
        }
    }
}

/// The lines of a tree in the making.
struct Lines<'a> {
    hosts: &'a [Host],
    now: Timestamp,
    columns: Vec<Column>,
    table: Table,
}

impl<'a> Lines<'a> {
    fn of(tree: &Tree<'a>, now: Timestamp) -> Self {
        let mut seen = Seen::default();
        for root in &tree.roots {
            seen.add(root.node, root.protocol);
            add_all(&mut seen, &root.branches);
        }
        let hosts = &tree.dependencies.hosts;
        let columns = columns(&seen);
        let table = Table::new(columns.iter().map(|column| (column.title(), column.align())));
        let mut lines = Self { hosts, now, columns, table };
        for root in &tree.roots {
            lines.add(root.node, node_text(root.node), root.protocol, None);
            lines.add_branches(&root.branches, 0);
        }
        lines
    }

    fn add_branches(&mut self, branches: &[Branch<'_>], level: usize) {
        for branch in branches {
            let arrow = match branch.way {
                Way::ToClients => "└<--",
                Way::ToServers => "└-->",
            };
            let mark = match branch.mark {
                Some(Mark::Cycle) => " (cycle)",
                Some(Mark::ShownAbove) => " (shown above)",
                None => "",
            };
            let indent = level * 4;
            let text = format!("{:indent$}{arrow} {}{mark}", "", node_text(branch.node));
            self.add(branch.node, text, Some(branch.protocol), Some(&branch.totals));
            self.add_branches(&branch.branches, level + 1);
        }
    }

    fn add(
        &mut self,
        node: &Node,
        text: String,
        protocol: Option<Protocol>,
        totals: Option<&Totals>,
    ) {
        let node_style = if totals.is_none() { ROOT } else { Style::new() };
        let mut text = Some(text);
        let cells = self
            .columns
            .iter()
            .map(|column| match column {
                Column::Node => Cell::new(text.take().unwrap_or_default(), node_style),
                Column::Protocol => {
                    Cell::from(protocol.map(|it| it.name().to_owned()).unwrap_or_default())
                }
                Column::Namespace => Cell::from(namespace_name(node)),
                Column::Host => Cell::from(
                    node.host
                        .as_ref()
                        .map_or_else(|| "-".to_owned(), |id| host_name(id, self.hosts)),
                ),
                column => {
                    Cell::from(totals.map(|it| column.cell(it, self.now)).unwrap_or_default())
                }
            })
            .collect();
        self.table.push(cells);
    }
}

/// The namespace of a node, by its name if it has one.
pub(super) fn namespace_name(node: &Node) -> String {
    node.namespace
        .as_ref()
        .map_or_else(|| "-".to_owned(), |namespace| printable(&namespace.to_string()).into_owned())
}

fn columns(seen: &Seen) -> Vec<Column> {
    let mut columns = vec![Column::Node];
    columns.extend(seen.has_udp().then_some(Column::Protocol));
    columns.extend([
        Column::Connections,
        Column::Failed,
        Column::ToServer,
        Column::ToClient,
        Column::Rtt,
        Column::LastSeen,
    ]);
    columns.extend(seen.has_several_namespaces().then_some(Column::Namespace));
    columns.extend(seen.has_several_hosts().then_some(Column::Host));
    columns
}

fn add_all(seen: &mut Seen, branches: &[Branch<'_>]) {
    for branch in branches {
        seen.add(branch.node, Some(branch.protocol));
        add_all(seen, &branch.branches);
    }
}

/// A host's name, with the beginning of its machine-id where another host has the same name.
pub(crate) fn host_name(id: &HostId, hosts: &[Host]) -> String {
    let name = printable(&id.hostname);
    if hosts.iter().any(|host| host.id.hostname == id.hostname && host.id != *id) {
        let machine_id: String = id.machine_id.chars().take(8).collect();
        return format!("{name} ({})", printable(&machine_id));
    }
    name.into_owned()
}

/// `512 B`, `1.5 KiB`, `12.0 MiB`.
pub(crate) fn show_bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        // What would be rounded to 1024.0 belongs to the next unit.
        if value < 1023.95 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// Milliseconds with about three digits.
fn show_rtt(microseconds: u64) -> String {
    let milliseconds = microseconds as f64 / 1000.0;
    match microseconds {
        0..10_000 => format!("{milliseconds:.2} ms"),
        10_000..100_000 => format!("{milliseconds:.1} ms"),
        _ => format!("{milliseconds:.0} ms"),
    }
}

#[cfg(test)]
mod tests;
