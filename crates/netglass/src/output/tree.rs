//! The dependency tree as people read it: a line for each node, aligned columns behind it.

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

use anstyle::Style;
use netglass_model::{Host, HostId, Node, Protocol, Timestamp};
use unicode_width::UnicodeWidthStr as _;

use crate::{
    graph::Way,
    text::printable,
    time::age,
    tree::{Branch, Mark, Totals, Tree},
};

const GAP: &str = "  ";
const HEADING: Style = Style::new().dimmed();
const ROOT: Style = Style::new().bold();
const CELL: Style = Style::new().dimmed();

/// Writes the tree, with the styles of a terminal: a writer that is none has to strip them, as
/// `anstream` does. Ages are those at `now`.
pub(crate) fn render(tree: &Tree<'_>, now: Timestamp, out: &mut impl Write) -> io::Result<()> {
    let table = Table::of(tree, now);
    let widths = table.widths();
    let heading: Vec<&str> = table.columns.iter().map(|column| column.title()).collect();
    table.write_line(&heading, &widths, (HEADING, HEADING), out)?;
    for line in &table.lines {
        let cells: Vec<&str> = line.cells.iter().map(String::as_str).collect();
        let style = if line.is_root { ROOT } else { Style::new() };
        table.write_line(&cells, &widths, (style, CELL), out)?;
    }
    Ok(())
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

    fn is_text(self) -> bool {
        matches!(self, Self::Node | Self::Protocol | Self::Namespace | Self::Host)
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

struct Line {
    is_root: bool,
    cells: Vec<String>,
}

struct Table<'a> {
    hosts: &'a [Host],
    now: Timestamp,
    columns: Vec<Column>,
    lines: Vec<Line>,
}

impl<'a> Table<'a> {
    fn of(tree: &Tree<'a>, now: Timestamp) -> Self {
        let mut seen = Seen::default();
        for root in &tree.roots {
            seen.add(root.node, root.protocol);
            seen.add_all(&root.branches);
        }
        let hosts = &tree.dependencies.hosts;
        let mut table = Self { hosts, now, columns: seen.columns(), lines: Vec::new() };
        for root in &tree.roots {
            table.add(root.node, node_text(root.node), root.protocol, None);
            table.add_branches(&root.branches, 0);
        }
        table
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
        let mut text = Some(text);
        let cells = self
            .columns
            .iter()
            .map(|column| match column {
                Column::Node => text.take().unwrap_or_default(),
                Column::Protocol => protocol.map(|it| it.name().to_owned()).unwrap_or_default(),
                Column::Namespace => node.namespace.as_ref().map_or_else(
                    || "-".to_owned(),
                    |namespace| printable(&namespace.to_string()).into_owned(),
                ),
                Column::Host => node
                    .host
                    .as_ref()
                    .map_or_else(|| "-".to_owned(), |id| host_name(id, self.hosts)),
                column => totals.map(|it| column.cell(it, self.now)).unwrap_or_default(),
            })
            .collect();
        self.lines.push(Line { is_root: totals.is_none(), cells });
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> =
            self.columns.iter().map(|column| column.title().width()).collect();
        for line in &self.lines {
            for (width, cell) in widths.iter_mut().zip(&line.cells) {
                *width = (*width).max(cell.width());
            }
        }
        widths
    }

    fn write_line(
        &self,
        cells: &[&str],
        widths: &[usize],
        (first, others): (Style, Style),
        out: &mut impl Write,
    ) -> io::Result<()> {
        // Spaces are written only once something follows them, so that no line ends in them.
        let mut spaces = 0;
        for (index, ((cell, &width), column)) in
            cells.iter().zip(widths).zip(&self.columns).enumerate()
        {
            let padding = width.saturating_sub(cell.width());
            let (before, after) = if column.is_text() { (0, padding) } else { (padding, 0) };
            if cell.is_empty() {
                spaces += width + GAP.len();
            } else {
                let style = if index == 0 { first } else { others };
                write!(out, "{:1$}{style}{cell}{style:#}", "", spaces + before)?;
                spaces = after + GAP.len();
            }
        }
        writeln!(out)
    }
}

/// What occurs in an answer, which decides on the columns that are worth their space.
#[derive(Default)]
struct Seen {
    namespaces: BTreeSet<(Option<HostId>, u64)>,
    hosts: BTreeSet<HostId>,
    udp: bool,
}

impl Seen {
    fn add(&mut self, node: &Node, protocol: Option<Protocol>) {
        self.udp |= protocol == Some(Protocol::Udp);
        if let Some(host) = &node.host
            && !self.hosts.contains(host)
        {
            self.hosts.insert(host.clone());
        }
        if let Some(namespace) = &node.namespace {
            self.namespaces.insert((node.host.clone(), namespace.inode.0));
        }
    }

    fn add_all(&mut self, branches: &[Branch<'_>]) {
        for branch in branches {
            self.add(branch.node, Some(branch.protocol));
            self.add_all(&branch.branches);
        }
    }

    fn columns(&self) -> Vec<Column> {
        let mut columns = vec![Column::Node];
        columns.extend(self.udp.then_some(Column::Protocol));
        columns.extend([
            Column::Connections,
            Column::Failed,
            Column::ToServer,
            Column::ToClient,
            Column::Rtt,
            Column::LastSeen,
        ]);
        let hosts_with_namespace =
            self.namespaces.iter().map(|(host, _)| host).collect::<BTreeSet<_>>().len();
        columns.extend((self.namespaces.len() > hosts_with_namespace).then_some(Column::Namespace));
        columns.extend((self.hosts.len() > 1).then_some(Column::Host));
        columns
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
fn show_bytes(count: u64) -> String {
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
