//! The formats that are text.

use netglass_model::FlowRecord;

use super::{csv, json, table::Table};

/// A format that is text, in UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextFormat {
    /// JSON Lines.
    Json,
    /// RFC 4180, with a header.
    Csv,
    /// The same for a terminal: what a name should not do there is escaped.
    CsvForTerminal,
    /// Aligned columns under a heading, for people; those of the columns that fit.
    Table,
}

/// Writes records as text.
#[derive(Debug)]
pub(super) enum Encoder {
    Json,
    Csv { escapes: bool },
    Table(Table),
}

impl From<TextFormat> for Encoder {
    fn from(format: TextFormat) -> Self {
        match format {
            TextFormat::Json => Self::Json,
            TextFormat::Csv => Self::Csv { escapes: false },
            TextFormat::CsvForTerminal => Self::Csv { escapes: true },
            TextFormat::Table => Self::Table(Table::new()),
        }
    }
}

impl Encoder {
    /// What stands before all records.
    pub(super) fn append_header(&self, out: &mut Vec<u8>) {
        match self {
            Self::Json => {}
            Self::Csv { .. } => csv::append_header(out),
            Self::Table(table) => table.append_header(out),
        }
    }

    pub(super) fn append(&mut self, records: &[FlowRecord], out: &mut Vec<u8>) {
        for record in records {
            match self {
                Self::Json => json::append(record, out),
                Self::Csv { escapes } => csv::append(record, *escapes, out),
                Self::Table(table) => table.append(record, out),
            }
        }
    }
}
