//! Where is written to.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Write},
    path::Path,
    time::Duration,
};

use anstream::{AutoStream, ColorChoice, StripStream};
use anyhow::Context as _;
use netglass_model::Timestamp;

use super::{
    arguments::{Format, WritingArguments},
    file::DirectFile,
    summary::{self, Summary},
};

/// How old what is written to a file may become before it is there.
const SHOWN_EVERY: Duration = Duration::from_millis(200);

/// What is written to.
pub(super) struct Target {
    pub(super) out: Box<dyn Write>,
    pub(super) is_colored: bool,
    /// How long what is written may wait for more to come.
    pub(super) patience: Duration,
}

impl Target {
    /// Opens it.
    pub(super) fn open(arguments: &WritingArguments) -> anyhow::Result<Self> {
        let Some(path) = arguments.output_file.as_deref().filter(|path| *path != Path::new("-"))
        else {
            let stdout = io::stdout();
            let is_colored =
                stdout.is_terminal() && AutoStream::choice(&stdout) != ColorChoice::Never;
            return Ok(Self { out: Box::new(stdout), is_colored, patience: Duration::ZERO });
        };
        let opening = || format!("opening {} to write calls to it", path.display());
        let file = File::create(path).with_context(opening)?;
        let is_colored = false;
        if !file.metadata().with_context(opening)?.is_file() {
            // Pipes and devices are given what there is, as it comes.
            return Ok(Self { out: Box::new(file), is_colored, patience: Duration::ZERO });
        }
        Ok(Self { out: Box::new(DirectFile::new(file)), is_colored, patience: SHOWN_EVERY })
    }
}

/// Writes summaries.
pub(super) struct Output {
    out: Box<dyn Write>,
    is_colored: bool,
    format: Format,
}

impl Output {
    pub(super) fn open(arguments: &WritingArguments) -> anyhow::Result<Self> {
        let Target { out, is_colored, .. } = Target::open(arguments)?;
        Ok(Self { out, is_colored, format: arguments.format })
    }

    /// Writes what was called between two moments.
    pub(super) fn write(
        &mut self,
        summary: &Summary,
        span: (Timestamp, Timestamp),
    ) -> io::Result<()> {
        let mut text = Vec::new();
        if self.format == Format::Json {
            summary::json::write(summary, span, &mut text)?;
        } else {
            let nanoseconds = span.1.as_nanoseconds().saturating_sub(span.0.as_nanoseconds());
            let span = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or_default());
            if self.is_colored {
                summary::table::write(summary, span, &mut text)?;
            } else {
                summary::table::write(summary, span, &mut StripStream::new(&mut text))?;
            }
        }
        self.out.write_all(&text)?;
        self.out.flush()
    }
}
