//! How a comparison of two moments is written: one file for each format. Documented in
//! `docs/diff.md`.

mod csv;
mod json;
mod text;

use std::io::{self, BufWriter, Write as _};

use clap::ValueEnum;
use netglass_store::{Dependencies, Window};

use super::csv::Names;
use crate::comparison::{Comparison, Side, Unobserved};

/// A format in which a comparison can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned lines, to be read by people
    Text,
    /// One JSON object a line, with a documented and versioned schema
    Json,
    /// Comma-separated values (RFC 4180) with a header
    Csv,
}

/// What was compared.
pub(crate) struct Compared<'a> {
    pub(crate) comparison: &'a Comparison<'a>,
    /// The later window's, for the names of hosts.
    pub(crate) dependencies: &'a Dependencies,
    pub(crate) before: Window,
    pub(crate) after: Window,
}

impl Compared<'_> {
    /// The window on one side.
    pub(crate) fn window(&self, side: Side) -> Window {
        match side {
            Side::Before => self.before,
            Side::After => self.after,
        }
    }

    /// What could not be compared, in a sentence for each host.
    pub(crate) fn notes(&self) -> Vec<String> {
        self.comparison.unobserved.iter().map(|it| text::note(it, self)).collect()
    }
}

/// Writes a comparison to standard output.
pub(crate) fn print(compared: &Compared<'_>, format: Format) -> io::Result<()> {
    let stdout = io::stdout().lock();
    if format == Format::Text {
        let mut out = BufWriter::new(anstream::AutoStream::auto(stdout));
        text::render(compared, &mut out)?;
        return out.flush();
    }
    let mut out = BufWriter::new(stdout);
    match format {
        Format::Json => json::render(compared, &mut out)?,
        Format::Text | Format::Csv => csv::render(compared, Names::for_stdout(), &mut out)?,
    }
    out.flush()
}

#[cfg(test)]
mod tests;
