//! Aligned columns under a heading, for people: those of the columns that fit a wide terminal.

use netglass_model::{FlowRecord, printable};
use unicode_width::UnicodeWidthStr as _;

use super::{
    columns::{COLUMNS, Column, ColumnType, Value},
    text::Text,
};

/// What is shown, and how wide it is at least: as wide as most values are, since what follows is
/// not known when a line is written.
const SHOWN: [(&str, usize); 13] = [
    ("first_seen_at", 30),
    ("protocol", 8),
    ("src_addr", 15),
    ("src_port", 8),
    ("dst_addr", 15),
    ("dst_port", 8),
    ("src_packets", 11),
    ("dst_packets", 11),
    ("src_bytes", 11),
    ("dst_bytes", 11),
    ("tcp_state", 9),
    ("src_process_comm", 16),
    ("dst_process_comm", 16),
];

const GAP: &str = "  ";
const NOTHING: &str = "-";

/// Lines of a table. A column that was too narrow stays as wide as it had to become.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<(&'static Column, usize)>,
    cell: Vec<u8>,
}

impl Table {
    pub(super) fn new() -> Self {
        let shown = |(name, width): &(&str, usize)| {
            COLUMNS.iter().find(|column| column.name == *name).map(|column| (column, *width))
        };
        Self { columns: SHOWN.iter().filter_map(shown).collect(), cell: Vec::new() }
    }

    /// Appends the names of the columns.
    pub(super) fn append_header(&self, out: &mut Vec<u8>) {
        let mut line = Line { out, trailing: 0 };
        for (column, width) in &self.columns {
            line.append(column.name, *width, column.column_type);
        }
        line.end();
    }

    /// Appends a record.
    pub(super) fn append(&mut self, record: &FlowRecord, out: &mut Vec<u8>) {
        let mut line = Line { out, trailing: 0 };
        for (column, width) in &mut self.columns {
            self.cell.clear();
            let value = column.value(record);
            let outside =
                value.and_then(|value: Value<'_>| Text::new(&mut self.cell).append(value));
            let outside = outside.map(printable);
            let cell = match &outside {
                Some(text) => text,
                // What is written there is text.
                None => std::str::from_utf8(&self.cell).unwrap_or_default(),
            };
            let cell = if cell.is_empty() { NOTHING } else { cell };
            *width = cell.width().max(*width);
            line.append(cell, *width, column.column_type);
        }
        line.end();
    }
}

struct Line<'a> {
    out: &'a mut Vec<u8>,
    /// Spaces that are owed if something follows.
    trailing: usize,
}

impl Line<'_> {
    fn append(&mut self, cell: &str, width: usize, column_type: ColumnType) {
        let padding = width.saturating_sub(cell.width());
        let (before, behind) =
            if column_type == ColumnType::Integer { (padding, 0) } else { (0, padding) };
        self.out.extend(std::iter::repeat_n(b' ', self.trailing + before));
        self.out.extend_from_slice(cell.as_bytes());
        self.trailing = behind + GAP.len();
    }

    fn end(self) {
        self.out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow_log::fixtures;

    #[test]
    fn all_that_is_shown_is_a_column() {
        assert_eq!(Table::new().columns.len(), SHOWN.len());
    }

    #[test]
    fn a_column_is_as_wide_as_it_had_to_become() {
        let mut out = Vec::new();
        let mut table = Table::new();
        table.append_header(&mut out);
        let mut wide = fixtures::nasty_record();
        wide.source = "2001:db8:1111:2222:3333:4444:5555:6666".parse().unwrap();
        for record in [fixtures::bare_record(), wide, fixtures::record()] {
            table.append(&record, &mut out);
        }
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r#"
first_seen_at                   protocol  src_addr         src_port  dst_addr         dst_port  src_packets  dst_packets    src_bytes    dst_bytes  tcp_state  src_process_comm  dst_process_comm
2023-11-14T22:13:20.123456789Z  47        10.0.0.11               0  fe80::1                 0           12           44         1258        56623  -          -                 -
2023-11-14T22:13:20.123456789Z  tcp       2001:db8:1111:2222:3333:4444:5555:6666     40312  fe80::1               443           12           44         1258        56623  SF         wrk               a"b\c,d\r\ne\tf\u{1b}[31m\u{7f}\u{9b}\u{0}é\u{2028}=1+1
2023-11-14T22:13:20.123456789Z  tcp       10.0.0.11                                  40312  fe80::1               443           12           44         1258        56623  SF         wrk               -
"#);
    }
}
