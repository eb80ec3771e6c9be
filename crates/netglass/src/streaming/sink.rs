//! Where calls are written to, and in which format.

use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

use netglass_kernel::calls::ToldCall;
use netglass_model::CallSum;

use super::{
    arguments::{Format, WritingArguments},
    delivery::Delivery,
    json::{self, Json},
    ledger::Undelivered,
    output::Target,
    overload,
    separated::Separator,
    table::Table,
};

/// How much is written at once: what is kept in the caches of a processor.
const CHUNK: usize = 64 * 1024;

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
    /// Who takes calls instead.
    delivery: Option<Box<dyn Delivery>>,
    failure: Option<io::Error>,
    written: u64,
    format: Format,
    /// How long is waited for more before what there is is shown, and since when.
    patience: Duration,
    shown: Instant,
}

impl Sink {
    /// Opens what is to be written to.
    pub(super) fn open(arguments: &WritingArguments) -> anyhow::Result<Self> {
        let delivery = arguments.delivery()?;
        let Target { out, is_colored, patience } = Target::open(arguments)?;
        let mut buffer = Vec::with_capacity(CHUNK + 4096);
        let format = if delivery.is_some() { Format::Json } else { arguments.format };
        let printer = match format {
            Format::Table => {
                let table = Table::new(is_colored, arguments.phases);
                table.write_heading(&mut buffer);
                Printer::Table(table)
            }
            Format::Json => Printer::Json(Json::new()),
            Format::Csv => separated(Separator::Comma, &mut buffer),
            Format::Tsv => separated(Separator::Tab, &mut buffer),
        };
        let (failure, written, shown) = (None, 0, Instant::now());
        Ok(Self { printer, buffer, out, delivery, failure, written, format, patience, shown })
    }

    /// Begins, once privileges are given up.
    pub(super) fn start(&mut self) -> anyhow::Result<()> {
        self.delivery.as_mut().map_or(Ok(()), |delivery| delivery.start())
    }

    /// Writes a call, and the beginning of what it sent or received, soon.
    pub(super) fn write(&mut self, told: &ToldCall<'_>) {
        let Self { printer, buffer, .. } = self;
        match printer {
            Printer::Table(table) => table.write_call(&told.call(), told.payload(), buffer),
            Printer::Json(json) => json.write_told(told, buffer),
            Printer::Separated(separator) => {
                separator.write_call(&told.call(), told.payload(), buffer);
            }
        }
        self.written += 1;
        self.deliver(told.pid(), 1);
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
        self.deliver(0, 0);
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

    /// Shows what has waited for long enough; fails if anything could not be written.
    pub(super) fn tick(&mut self) -> io::Result<()> {
        if self.failure.is_none() && self.shown.elapsed() < self.patience {
            return Ok(());
        }
        self.shown = Instant::now();
        self.flush()
    }

    /// Writes all that waits; fails if anything could not be written since the last time.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.write_out();
        match self.failure.take() {
            Some(error) => Err(error),
            None => self.out.flush(),
        }
    }

    /// Waits until what was written has arrived, where somebody says that.
    pub(super) fn finish(&mut self) {
        if let Some(delivery) = &mut self.delivery {
            delivery.finish();
        }
    }

    /// How many calls were written, and have arrived where somebody says that.
    pub(super) fn written(&self) -> u64 {
        self.delivery.as_ref().map_or(self.written, |delivery| delivery.delivered())
    }

    /// What became of calls that were to be delivered and have not arrived.
    pub(super) fn undelivered(&self) -> Undelivered {
        self.delivery.as_ref().map_or_else(Undelivered::default, |it| it.undelivered())
    }

    /// What the user should know and was not told yet.
    pub(super) fn take_note(&mut self) -> Option<String> {
        self.delivery.as_mut().and_then(|delivery| delivery.take_note())
    }

    /// Hands over what was just written to whoever delivers it.
    fn deliver(&mut self, pid: u32, calls: u64) {
        if let Some(delivery) = &mut self.delivery {
            delivery.send(pid, self.buffer.trim_ascii_end(), calls);
            self.buffer.clear();
        }
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
