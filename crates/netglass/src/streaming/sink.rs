//! Where calls are written to, and in which format.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Write},
    path::Path,
};

use anstream::{AutoStream, ColorChoice};
use anyhow::Context as _;
use netglass_model::Call;

use super::{
    arguments::{Format, WritingArguments},
    json::{self, Json},
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

/// What is written to.
pub(super) struct Target {
    pub(super) out: Box<dyn Write>,
    /// Whether it is a terminal whose user wants colours.
    pub(super) is_colored: bool,
}

impl Target {
    /// Creates the file, or takes standard output where there is none.
    pub(super) fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(path) = path.filter(|path| *path != Path::new("-")) {
            return Ok(Self { out: create(path)?, is_colored: false });
        }
        let stdout = io::stdout();
        let is_colored = stdout.is_terminal() && AutoStream::choice(&stdout) != ColorChoice::Never;
        Ok(Self { out: Box::new(stdout), is_colored })
    }
}

/// Writes calls.
pub(super) struct Sink {
    printer: Printer,
    buffer: Vec<u8>,
    out: Box<dyn Write>,
    failure: Option<io::Error>,
    written: u64,
}

impl Sink {
    /// Opens what is to be written to.
    pub(super) fn open(arguments: &WritingArguments) -> anyhow::Result<Self> {
        let Target { out, is_colored } = Target::open(arguments.output_file.as_deref())?;
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
        Ok(Self { printer, buffer, out, failure: None, written: 0 })
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

fn create(path: &Path) -> anyhow::Result<Box<dyn Write>> {
    let file = File::create(path)
        .with_context(|| format!("opening {} to write calls to it", path.display()))?;
    Ok(Box::new(file))
}
