//! Traces that were written as JSON, read again: to be shown in another format, or compared.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read as _, Write as _},
    path::Path,
};

use anyhow::{Context as _, bail};
use http_trace::{HttpTrace, record::SCHEMA_VERSION};

use super::{
    arguments::{ComparisonFormat, DiffArguments, Recorded, ShowArguments},
    writer::Writer,
};
use crate::output::trace::comparison::Comparison;

/// The longest file that is read.
const MOST_BYTES: u64 = 1 << 30;

/// Does what is asked of recordings.
pub(crate) fn run(recorded: &Recorded) -> anyhow::Result<()> {
    match recorded {
        Recorded::Diff(arguments) => diff(arguments),
        Recorded::Show(arguments) => show(arguments),
    }
}

fn diff(arguments: &DiffArguments) -> anyhow::Result<()> {
    let comparison = Comparison::new(&read(&arguments.before)?, &read(&arguments.after)?);
    let stdout = io::stdout().lock();
    match arguments.format {
        ComparisonFormat::Text => {
            let mut out = BufWriter::new(anstream::AutoStream::auto(stdout));
            comparison.write_text(&mut out)?;
            out.flush()?;
        }
        ComparisonFormat::Json => {
            let mut out = BufWriter::new(stdout);
            crate::output::write_json_line(&comparison, &mut out)?;
            out.flush()?;
        }
    }
    Ok(())
}

fn show(arguments: &ShowArguments) -> anyhow::Result<()> {
    let traces = read(&arguments.file)?;
    let mut writer = Writer::to_stdout(arguments.format, arguments.verbose, traces.len() > 1);
    for trace in traces {
        writer.write(trace)?;
    }
    Ok(writer.finish()?)
}

/// All traces of a file; `-` is standard input.
fn read(path: &Path) -> anyhow::Result<Vec<HttpTrace>> {
    let source: Box<dyn io::Read> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        let opened = File::open(path);
        Box::new(opened.with_context(|| format!("opening the trace {}", path.display()))?)
    };
    let source = BufReader::new(source.take(MOST_BYTES));
    let traces = serde_json::Deserializer::from_reader(source).into_iter::<HttpTrace>();
    let traces: Vec<_> = traces.collect::<Result<_, _>>().with_context(|| {
        format!(
            "reading the trace {}: such are written by `netglass trace --format json`",
            path.display()
        )
    })?;
    if traces.is_empty() {
        bail!("there is no trace in {}", path.display());
    }
    if let Some(newer) = traces.iter().find(|trace| trace.schema > SCHEMA_VERSION) {
        bail!(
            "the trace {} has version {} of the schema, and this program knows {SCHEMA_VERSION} at most; \
             use a newer one",
            path.display(),
            newer.schema
        );
    }
    Ok(traces)
}
