//! What is asked, how, and how the answer is written.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, builder::BoolishValueParser};

/// What is done with traces that were written before.
#[derive(Debug, Subcommand)]
pub(crate) enum Recorded {
    Diff(DiffArguments),
    Show(ShowArguments),
}

/// Says what is different between two traces: times, addresses, certificates, answers
///
/// A trace is what --format json writes. Of one with several repetitions, medians are compared.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  netglass trace --format json https://example.org/ > before.json
  netglass trace diff before.json after.json")]
pub(crate) struct DiffArguments {
    /// The earlier trace; - is standard input
    #[arg(value_name = "BEFORE")]
    pub(super) before: PathBuf,

    /// The later trace
    #[arg(value_name = "AFTER")]
    pub(super) after: PathBuf,

    /// How the answer is written
    #[arg(long, env = "NETGLASS_TRACE_DIFF_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub(super) format: ComparisonFormat,
}

/// Shows a trace that was written with --format json, in any format
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  netglass trace show trace.json
  netglass trace show trace.json --format har > trace.har")]
pub(crate) struct ShowArguments {
    /// The trace; - is standard input
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,

    /// How it is written
    #[arg(long, env = "NETGLASS_TRACE_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub(super) format: Format,

    /// Show headers, DNS messages, all certificates and what the kernel knows, too
    #[arg(short, long, env = "NETGLASS_TRACE_VERBOSE", value_parser = BoolishValueParser::new())]
    pub(super) verbose: bool,
}

/// A format in which a trace can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A waterfall, to be read by people
    Text,
    /// All of it, one JSON object a line, with a documented and versioned schema
    Json,
    /// HTTP Archive 1.2, for the developer tools of browsers
    Har,
    /// Spans of OpenTelemetry, one export request of OTLP a line
    Otlp,
}

/// A format in which a comparison can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ComparisonFormat {
    /// Aligned lines, to be read by people
    Text,
    /// One JSON object, with a documented and versioned schema
    Json,
}
