//! A comparison as people read it: a line for each edge, with a sign before it.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use netglass_model::{HostId, Node};

use super::{Compared, Unobserved};
use crate::{
    comparison::{Change, Kind},
    output::{
        seen::Seen,
        table::{Align, Cell, Table},
        tree::{host_name, namespace_name, node_text},
    },
    time::rfc3339,
};

const APPEARED: Style = AnsiColor::Green.on_default();
const VANISHED: Style = AnsiColor::Red.on_default();
const FAILING: Style = AnsiColor::Yellow.on_default().bold();

/// Writes the edges, then what could not be compared, with the styles of a terminal.
pub(super) fn render(compared: &Compared<'_>, out: &mut impl Write) -> io::Result<()> {
    let changes = &compared.comparison.changes;
    if changes.is_empty() {
        writeln!(out, "nothing appeared, vanished, or began to fail")?;
    } else {
        table(changes, compared).write(out)?;
    }
    for note in compared.notes() {
        writeln!(out, "note: {note}")?;
    }
    Ok(())
}

/// Of a host that did not report.
pub(super) fn note(unobserved: &Unobserved<'_>, compared: &Compared<'_>) -> String {
    let window = compared.window(unobserved.side);
    let edges = match unobserved.edges {
        1 => "a dependency that it alone saw is".to_owned(),
        several => format!("{several} dependencies that it alone saw are"),
    };
    format!(
        "host '{}' did not report between {} and {}: {edges} left out",
        host_name(unobserved.host, &compared.dependencies.hosts),
        rfc3339(window.since),
        rfc3339(window.until)
    )
}

fn table(changes: &[Change<'_>], compared: &Compared<'_>) -> Table {
    let mut seen = Seen::default();
    for Change { edge, .. } in changes {
        seen.add(&edge.client, Some(edge.protocol));
        seen.add(&edge.server, None);
    }
    let (udp, namespaces, hosts) =
        (seen.has_udp(), seen.has_several_namespaces(), seen.has_several_hosts());
    let mut columns = vec![("EDGE", Align::Left)];
    columns.extend(udp.then_some(("PROTO", Align::Left)));
    columns.extend([("CONNECTIONS", Align::Right), ("FAILED", Align::Right)]);
    let of_ends =
        [(namespaces, ["CLIENT NETNS", "SERVER NETNS"]), (hosts, ["CLIENT HOST", "SERVER HOST"])];
    for (_, titles) in of_ends.iter().filter(|(is_shown, _)| *is_shown) {
        columns.extend(titles.map(|title| (title, Align::Left)));
    }

    let mut table = Table::new(columns);
    for Change { kind, edge, before, after } in changes {
        let (sign, style) = match kind {
            Kind::Appeared => ('+', APPEARED),
            Kind::Vanished => ('-', VANISHED),
            Kind::Failing => ('!', FAILING),
        };
        let ends = [&edge.client, &edge.server];
        let [client, server] = ends.map(node_text);
        let mut cells = vec![Cell::new(format!("{sign} {client} → {server}"), style)];
        cells.extend(udp.then(|| Cell::from(edge.protocol.name().to_owned())));
        let sum = after.or(*before);
        let failed = sum.map(|sum| sum.failed.total()).filter(|failed| *failed > 0);
        cells.push(Cell::from(sum.map(|sum| sum.connections.to_string()).unwrap_or_default()));
        cells.push(Cell::from(failed.map_or_else(|| "-".to_owned(), |it| it.to_string())));
        if namespaces {
            cells.extend(ends.map(|node| Cell::from(namespace_name(node))));
        }
        if hosts {
            let name = |id: &HostId| host_name(id, &compared.dependencies.hosts);
            let host = |node: &Node| node.host.as_ref().map_or_else(|| "-".to_owned(), name);
            cells.extend(ends.map(|node| Cell::from(host(node))));
        }
        table.push(cells);
    }
    table
}
