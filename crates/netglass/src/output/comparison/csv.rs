//! A comparison as comma-separated values (RFC 4180): a header, then one edge a line.

use std::io::{self, Write};

use super::Compared;
use crate::{
    comparison::Sum,
    output::csv::{Names, node_fields, node_titles, optional, write_record},
    time::rfc3339,
};

const SUM_COLUMNS: [&str; 4] = ["connections", "failed", "first_seen", "last_seen"];

/// Writes each change. What is not known is empty, as is what was counted where nothing was.
pub(super) fn render(
    compared: &Compared<'_>,
    names: Names,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut header = vec!["change".to_owned()];
    header.extend(["client", "server"].iter().flat_map(|end| node_titles(end)));
    header.extend(["server_port", "protocol"].map(str::to_owned));
    for window in ["before", "after"] {
        header.extend(SUM_COLUMNS.map(|column| format!("{window}_{column}")));
    }
    write_record(&header, out)?;
    for change in &compared.comparison.changes {
        let mut record = vec![change.kind.name().to_owned()];
        record.extend(node_fields(&change.edge.client, names));
        record.extend(node_fields(&change.edge.server, names));
        record.push(optional(change.edge.server.port.number()));
        record.push(change.edge.protocol.to_string());
        record.extend(sum_fields(change.before.as_ref()));
        record.extend(sum_fields(change.after.as_ref()));
        write_record(&record, out)?;
    }
    Ok(())
}

fn sum_fields(sum: Option<&Sum>) -> [String; SUM_COLUMNS.len()] {
    [
        optional(sum.map(|sum| sum.connections)),
        optional(sum.map(|sum| sum.failed.total())),
        optional(sum.map(|sum| rfc3339(sum.first_seen))),
        optional(sum.map(|sum| rfc3339(sum.last_seen))),
    ]
}
