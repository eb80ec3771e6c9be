//! The formats that are text.

use netglass_model::FlowRecord;

use super::{csv, json, sink::FlowBatch, table::Table, text::Text};

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

/// Appends records as JSON Lines.
pub fn append_json(records: &[FlowRecord], out: &mut Vec<u8>) {
    let mut text = Text::new(out);
    for record in records {
        json::append(record, &mut text);
    }
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

    /// Appends a batch.
    pub(super) fn append(&mut self, batch: &FlowBatch, out: &mut Vec<u8>) {
        match (self, &batch.json) {
            (Self::Json, Some(json)) => out.extend_from_slice(json),
            (Self::Json, None) => append_json(&batch.records, out),
            (Self::Csv { escapes }, _) => {
                let mut text = Text::new(out);
                batch.records.iter().for_each(|record| csv::append(record, *escapes, &mut text));
            }
            (Self::Table(table), _) => {
                batch.records.iter().for_each(|record| table.append(record, out));
            }
        }
    }

    /// What is in `room` with a batch behind it, which is not copied there where it is all.
    pub(super) fn encode<'a>(&mut self, batch: &'a FlowBatch, room: &'a mut Vec<u8>) -> &'a [u8] {
        match (&*self, &batch.json) {
            (Self::Json, Some(json)) if room.is_empty() => json,
            _ => {
                self.append(batch, room);
                room
            }
        }
    }
}
