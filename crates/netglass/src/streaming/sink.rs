//! Where calls are written to, and in which format.

use std::io::{self, Write};

use netglass_model::{Call, CallSum};

use super::{
    arguments::{Format, WritingArguments},
    json::{self, Json},
    output, overload,
    separated::Separator,
    table::Table,
};

/// How much is written at once.
const CHUNK: usize = 256 * 1024;

enum Printer {
    Table(Table),
    Json(Json),
    Separated(Separator),
}

/// Writes calls.
pub(super) struct Sink {
    printer: Printer,
    buffer: Vec<u8>,
    out: Box<dyn Write>,
    failure: Option<io::Error>,
    written: u64,
    format: Format,
}

impl Sink {
    /// Opens what is to be written to.
    pub(super) fn open(arguments: &WritingArguments) -> anyhow::Result<Self> {
        let (out, is_colored) = output::open(arguments)?;
        let mut buffer = Vec::with_capacity(CHUNK + 4096);
        let printer = match arguments.format {
            Format::Table => {
                let table = Table::new(is_colored, arguments.phases);
                table.write_heading(&mut buffer);
                Printer::Table(table)
            }
            Format::Json => Printer::Json(Json::new()),
            Format::Csv => separated(Separator::Comma, &mut buffer),
            Format::Tsv => separated(Separator::Tab, &mut buffer),
        };
        let format = arguments.format;
        Ok(Self { printer, buffer, out, failure: None, written: 0, format })
    }

    /// Writes a call, and the beginning of what it sent or received, soon.
    pub(super) fn write(&mut self, call: &Call, payload: &[u8]) {
        match &mut self.printer {
            Printer::Table(table) => table.write_call(call, payload, &mut self.buffer),
            Printer::Json(json) => json.write_call(call, payload, &mut self.buffer),
            Printer::Separated(separator) => separator.write_call(call, payload, &mut self.buffer),
        }
        self.written += 1;
        if self.buffer.len() >= CHUNK {
            self.write_out();
        }
    }

    /// Says that calls were lost, where the format has a place for it.
    pub(super) fn write_loss(&mut self, reason: &str, words: &str, count: u64) {
        match &mut self.printer {
            Printer::Table(table) => table.write_loss(words, count, &mut self.buffer),
            Printer::Json(_) => json::write_loss(reason, count, &mut self.buffer),
            Printer::Separated(_) => {}
        }
    }

    /// Says that calls are added up from here on, or no more.
    pub(super) fn write_overload(&mut self, is_overload: bool) {
        overload::push_change(self.format, is_overload, &mut self.buffer);
    }

    /// Writes calls that were added up.
    pub(super) fn write_sum(&mut self, sum: &CallSum) {
        let pushed = overload::push_sum(self.format, sum, &mut self.buffer);
        self.failure = self.failure.take().or(pushed.err());
    }

    /// Writes all that waits; fails if anything could not be written since the last time.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.write_out();
        match self.failure.take() {
            Some(error) => Err(error),
            None => self.out.flush(),
        }
    }

    /// How many calls were written.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    fn write_out(&mut self) {
        if self.failure.is_none() {
            self.failure = self.out.write_all(&self.buffer).err();
        }
        self.buffer.clear();
    }
}

fn separated(separator: Separator, buffer: &mut Vec<u8>) -> Printer {
    separator.write_heading(buffer);
    Printer::Separated(separator)
}
