//! How an answer is written: one file for each format.

pub(crate) mod comparison;
pub(crate) mod csv;
mod diagram;
mod dot;
pub(crate) mod json;
mod mermaid;
mod seen;
pub(crate) mod status;
pub(crate) mod table;
#[cfg(feature = "trace")]
pub(crate) mod trace;
pub(crate) mod tree;

use std::io::{self, BufWriter, Write as _};

use clap::ValueEnum;
use netglass_model::Timestamp;

#[cfg(feature = "trace")]
pub(crate) use self::json::write_line as write_json_line;
use crate::tree::Tree;

/// A format in which an answer can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// An aligned tree, to be read by people
    Tree,
    /// One JSON object a line, with a documented and versioned schema
    Json,
    /// A graph in the language of Graphviz
    Dot,
    /// A flowchart of Mermaid
    Mermaid,
    /// Comma-separated values (RFC 4180) with a header
    Csv,
}

/// How much is written at once to whoever takes many lines.
const CHUNK: usize = 64 * 1024;

/// Writes an answer to standard output.
pub(crate) fn print(tree: &Tree<'_>, format: Format, now: Timestamp) -> io::Result<()> {
    let stdout = io::stdout().lock();
    if format == Format::Tree {
        let mut out = BufWriter::new(anstream::AutoStream::auto(stdout));
        tree::render(tree, now, &mut out)?;
        return out.flush();
    }
    let mut out = BufWriter::with_capacity(CHUNK, stdout);
    match format {
        Format::Json => json::render(tree, &mut out)?,
        Format::Dot => dot::render(tree, &mut out)?,
        Format::Mermaid => mermaid::render(tree, &mut out)?,
        Format::Tree | Format::Csv => csv::render(tree, csv::Names::for_stdout(), &mut out)?,
    }
    out.flush()
}
