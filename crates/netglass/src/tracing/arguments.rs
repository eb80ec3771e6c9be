//! What is asked, how, and how the answer is written.

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf, time::Duration};

use clap::{Args, Subcommand, ValueEnum, builder::BoolishValueParser};

use super::{
    parse::{parse_connect_to, parse_nameserver, parse_resolve, parse_time},
    places::{ConnectTo, Resolve},
};
use crate::secrets::Hidden;

/// What is asked of whom.
#[derive(Debug, Args)]
#[command(next_help_heading = "Request")]
pub(crate) struct RequestArguments {
    /// What to fetch; http:// where it has no scheme
    #[arg(value_name = "URL", required = true)]
    pub(super) urls: Vec<Hidden>,

    /// The method [default: GET, or POST with --data]
    #[arg(short = 'X', long, env = "NETGLASS_REQUEST", value_name = "METHOD")]
    pub(super) request: Option<String>,

    /// A header, as 'Name: value'; 'Name;' has no value. May be repeated
    #[arg(short = 'H', long, env = "NETGLASS_HEADER", value_name = "HEADER")]
    #[arg(hide_env_values = true, hide_default_value = true)]
    pub(super) header: Vec<Hidden>,

    /// A body, or the file that has it, as @FILE, or @- for standard input: without its line breaks, as a
    /// form that was filled in. Several are joined by &
    #[arg(short, long, env = "NETGLASS_DATA", value_name = "DATA", conflicts_with = "data_binary")]
    #[arg(hide_env_values = true, hide_default_value = true)]
    pub(super) data: Vec<Hidden>,

    /// The same, with its line breaks
    #[arg(long, env = "NETGLASS_DATA_BINARY", value_name = "DATA")]
    #[arg(hide_env_values = true, hide_default_value = true)]
    pub(super) data_binary: Vec<Hidden>,

    /// Name and password for the server
    #[arg(short, long, env = "NETGLASS_USER", value_name = "USER:PASSWORD")]
    #[arg(hide_env_values = true, hide_default_value = true)]
    pub(super) user: Option<Hidden>,

    /// Follow redirects, ten at most
    #[arg(short = 'L', long, env = "NETGLASS_LOCATION", value_parser = BoolishValueParser::new())]
    pub(super) location: bool,

    /// Ask for a compressed response, and unpack it
    #[arg(long, env = "NETGLASS_COMPRESSED", value_parser = BoolishValueParser::new())]
    pub(super) compressed: bool,

    /// How long a request may take, with its redirects and its body
    #[arg(short, long, env = "NETGLASS_MAX_TIME", value_name = "DURATION")]
    #[arg(value_parser = parse_time)]
    pub(super) max_time: Option<Duration>,

    /// How long lookup and connecting together, and then TLS, may take
    #[arg(long, env = "NETGLASS_CONNECT_TIMEOUT", value_name = "DURATION", default_value = "30s")]
    #[arg(value_parser = parse_time)]
    pub(super) connect_timeout: Duration,

    /// Do it so many times, with new connections each time, and show percentiles
    #[arg(long, env = "NETGLASS_REPEAT", value_name = "N", default_value = "1")]
    #[arg(value_parser = clap::value_parser!(NonZeroU32))]
    pub(super) repeat: NonZeroU32,

    /// Time from the beginning of one repetition to the next
    #[arg(long, env = "NETGLASS_TRACE_INTERVAL", value_name = "DURATION", default_value = "1s")]
    #[arg(value_parser = parse_time)]
    pub(super) interval: Duration,
}

/// Which way it goes.
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectionArguments {
    #[arg(short = 'x', long, env = "NETGLASS_PROXY", value_name = "URL")]
    #[arg(help = "\
        Go through this proxy: http, https, socks5 or socks5h, with USER:PASSWORD@ before its host if \
        need be; '' goes directly [default: what HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY say]")]
    #[arg(hide_env_values = true, hide_default_value = true)]
    pub(super) proxy: Option<Hidden>,

    /// Addresses of a name that is not looked up. May be repeated
    #[arg(long, env = "NETGLASS_RESOLVE", value_name = "HOST:PORT:ADDRESS[,ADDRESS]...")]
    #[arg(value_parser = parse_resolve)]
    pub(super) resolve: Vec<Resolve>,

    /// Connect elsewhere than the URL says; what is empty stands for any, or for the same. May be repeated
    #[arg(long, env = "NETGLASS_CONNECT_TO", value_name = "HOST:PORT:HOST:PORT")]
    #[arg(value_parser = parse_connect_to)]
    pub(super) connect_to: Vec<ConnectTo>,

    /// Use IPv4 alone
    #[arg(short = '4', long, env = "NETGLASS_TRACE_IPV4", conflicts_with = "ipv6")]
    #[arg(value_parser = BoolishValueParser::new())]
    pub(super) ipv4: bool,

    /// Use IPv6 alone
    #[arg(short = '6', long, env = "NETGLASS_TRACE_IPV6", value_parser = BoolishValueParser::new())]
    pub(super) ipv6: bool,

    /// Speak HTTP/1.1 [default: HTTP/2 where a server takes it, over TLS]
    #[arg(long = "http1.1", env = "NETGLASS_HTTP1_1")]
    #[arg(conflicts_with_all = ["http2", "http3", "http3_only"])]
    #[arg(value_parser = BoolishValueParser::new())]
    pub(super) http1_1: bool,

    /// Speak HTTP/2 alone, also without TLS
    #[arg(long, env = "NETGLASS_HTTP2", conflicts_with_all = ["http3", "http3_only"])]
    #[arg(value_parser = BoolishValueParser::new())]
    pub(super) http2: bool,

    /// Speak HTTP/3 where QUIC connects soon, over TLS and without a proxy; else as by default
    #[arg(long, env = "NETGLASS_HTTP3", conflicts_with = "http3_only")]
    #[arg(value_parser = BoolishValueParser::new())]
    pub(super) http3: bool,

    /// Speak HTTP/3 alone
    #[arg(long, env = "NETGLASS_HTTP3_ONLY", value_parser = BoolishValueParser::new())]
    pub(super) http3_only: bool,

    /// Send from this interface, or this address
    #[arg(long, env = "NETGLASS_TRACE_INTERFACE", value_name = "NAME|ADDRESS")]
    pub(super) interface: Option<String>,

    /// Ask these name servers, rather than those of the system
    #[arg(
        long,
        env = "NETGLASS_DNS_SERVERS",
        value_name = "ADDRESS[:PORT]",
        value_delimiter = ','
    )]
    #[arg(value_parser = parse_nameserver)]
    pub(super) dns_servers: Vec<SocketAddr>,
}

/// How TLS is spoken.
#[derive(Debug, Args)]
#[command(next_help_heading = "TLS")]
pub(crate) struct TlsArguments {
    /// Accept any certificate
    #[arg(short = 'k', long, env = "NETGLASS_INSECURE", value_parser = BoolishValueParser::new())]
    pub(super) insecure: bool,

    /// File with the authorities that are trusted, rather than those of the system (PEM)
    #[arg(long, env = "NETGLASS_CACERT", value_name = "FILE")]
    pub(super) cacert: Option<PathBuf>,

    /// File with our certificate, and those between it and an authority (PEM)
    #[arg(long, env = "NETGLASS_CERT", value_name = "FILE")]
    pub(super) cert: Option<PathBuf>,

    /// File with its key, where that is not in the same one (PEM)
    #[arg(long, env = "NETGLASS_KEY", value_name = "FILE", requires = "cert")]
    pub(super) key: Option<PathBuf>,
}

/// How the answer is written.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArguments {
    /// How the trace is written
    #[arg(long, env = "NETGLASS_TRACE_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub(super) format: Format,

    /// File for the response's body; with - it goes to standard output, and the trace to standard error
    #[arg(short, long, env = "NETGLASS_TRACE_OUTPUT", value_name = "FILE")]
    pub(super) output: Option<PathBuf>,

    /// Show headers, DNS messages, all certificates and what the kernel knows, too
    #[arg(short, long, env = "NETGLASS_TRACE_VERBOSE", value_parser = BoolishValueParser::new())]
    pub(super) verbose: bool,

    /// File for the packets of the client's connections (pcapng); with --show-secrets it holds the keys of
    /// TLS, too, so that Wireshark decrypts them
    #[arg(long, env = "NETGLASS_PCAP", value_name = "FILE")]
    pub(super) pcap: Option<PathBuf>,

    /// Send spans to this collector of OpenTelemetry, too (OTLP over HTTP, as JSON); /v1/traces where the
    /// URL has no path
    #[arg(long, env = "NETGLASS_COLLECTOR", value_name = "URL")]
    #[arg(hide_env_values = true, hide_default_value = true)]
    pub(super) collector: Option<Hidden>,

    /// Write passwords, tokens and cookies as they are, rather than leave them out
    #[arg(long, env = "NETGLASS_SHOW_SECRETS", value_parser = BoolishValueParser::new())]
    pub(super) show_secrets: bool,
}

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
    /// The JSON of the Go library nettrace
    Nettrace,
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
