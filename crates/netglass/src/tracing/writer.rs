//! Writes one trace after the other in one format.

use std::io::{self, BufWriter, Write};

use anstream::{
    AutoStream,
    stream::{AsLockedWrite, RawStream},
};
use http_trace::{HttpTrace, nettrace};

use super::arguments::Format;
use crate::output::{
    trace::{har, otlp, summary::Summary, text},
    write_json_line,
};

/// Writes traces.
pub(super) struct Writer {
    format: Format,
    is_verbose: bool,
    /// Whether there are several, of which people want to see how they differ.
    repetitions: Option<Repetitions>,
    out: Box<dyn Write>,
    entries: u64,
}

#[derive(Default)]
struct Repetitions {
    summary: Summary,
    count: u64,
    /// That which took longest, and for how long.
    slowest: Option<(u64, HttpTrace)>,
}

impl Writer {
    /// Writes to standard output.
    pub(super) fn to_stdout(format: Format, is_verbose: bool, is_repeated: bool) -> Self {
        Self::new(io::stdout(), format, is_verbose, is_repeated)
    }

    /// Writes to standard error, where standard output is used for something else.
    pub(super) fn to_stderr(format: Format, is_verbose: bool, is_repeated: bool) -> Self {
        Self::new(io::stderr(), format, is_verbose, is_repeated)
    }

    fn new(
        out: impl RawStream + AsLockedWrite + 'static,
        format: Format,
        is_verbose: bool,
        is_repeated: bool,
    ) -> Self {
        let out: Box<dyn Write> = match format {
            Format::Text => Box::new(BufWriter::new(AutoStream::auto(out))),
            _ => Box::new(BufWriter::new(out)),
        };
        let repetitions = (is_repeated && format == Format::Text).then(Repetitions::default);
        Self { format, is_verbose, repetitions, out, entries: 0 }
    }

    /// Writes a trace, all of it that can be written now.
    pub(super) fn write(&mut self, trace: HttpTrace) -> io::Result<()> {
        let out = &mut self.out;
        match self.format {
            Format::Text => match &mut self.repetitions {
                Some(repetitions) => repetitions.write(trace, self.is_verbose, out)?,
                None => text::render(&trace, self.is_verbose, out)?,
            },
            Format::Json => write_json_line(&trace, out)?,
            Format::Nettrace => writeln!(out, "{}", nettrace::to_json(&trace))?,
            Format::Har => {
                for entry in har::entries(&trace) {
                    let before = if self.entries == 0 { har::head() } else { ",\n".to_owned() };
                    write!(out, "{before}{entry}")?;
                    self.entries += 1;
                }
            }
            Format::Otlp => write_json_line(&otlp::export(&trace), out)?,
        }
        out.flush()
    }

    /// Writes what can be said only at the end.
    pub(super) fn finish(mut self) -> io::Result<()> {
        let out = &mut self.out;
        if let Some(Repetitions { summary, slowest, .. }) = &self.repetitions {
            writeln!(out)?;
            summary.write(out)?;
            if let Some((_, slowest)) = slowest {
                writeln!(out, "\nThe slowest:")?;
                text::render(slowest, self.is_verbose, out)?;
            }
        }
        if self.format == Format::Har {
            let before = if self.entries == 0 { har::head() } else { String::new() };
            write!(out, "{before}{}", har::TAIL)?;
        }
        out.flush()
    }
}

impl Repetitions {
    fn write(
        &mut self,
        trace: HttpTrace,
        is_verbose: bool,
        out: &mut impl Write,
    ) -> io::Result<()> {
        self.count += 1;
        if is_verbose {
            text::render(&trace, true, out)?;
            writeln!(out)?;
        } else {
            text::render_line(self.count, &trace, out)?;
        }
        self.summary.add(&trace);
        let took = text::length(&trace);
        if self.slowest.as_ref().is_none_or(|(slowest, _)| took > *slowest) {
            self.slowest = Some((took, trace));
        }
        Ok(())
    }
}
