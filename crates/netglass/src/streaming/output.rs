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
    summary::{self, Summary},
};

/// Opens what is to be written to, and says whether it is to be colored.
pub(super) fn open(arguments: &WritingArguments) -> anyhow::Result<(Box<dyn Write>, bool)> {
    Ok(match arguments.output_file.as_deref() {
        Some(path) if path != Path::new("-") => (create(path)?, false),
        _ => {
            let stdout = io::stdout();
            let is_colored =
                stdout.is_terminal() && AutoStream::choice(&stdout) != ColorChoice::Never;
            (Box::new(stdout), is_colored)
        }
    })
}

fn create(path: &Path) -> anyhow::Result<Box<dyn Write>> {
    let file = File::create(path)
        .with_context(|| format!("opening {} to write calls to it", path.display()))?;
    Ok(Box::new(file))
}

/// Writes summaries.
pub(super) struct Output {
    out: Box<dyn Write>,
    is_colored: bool,
    format: Format,
}

impl Output {
    pub(super) fn open(arguments: &WritingArguments) -> anyhow::Result<Self> {
        let (out, is_colored) = open(arguments)?;
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
