//! How the processes are shown.

use std::time::Duration;

use clap::{Args, ValueEnum, builder::BoolishValueParser};

use super::MOST_SUMS;
use crate::time::parse_duration;

/// How the processes are shown.
#[derive(Debug, Args)]
pub(crate) struct TopArguments {
    /// How often what is shown is renewed
    #[arg(long, env = "NETGLASS_INTERVAL", value_name = "DURATION", default_value = "1s")]
    #[arg(value_parser = parse_interval)]
    pub(super) interval: Duration,

    /// What processes are sorted by, the most first
    #[arg(long, env = "NETGLASS_SORT", value_name = "COLUMN", default_value = "throughput")]
    pub(super) sort: Column,

    /// Write one interval to standard output, and end
    #[arg(long, env = "NETGLASS_ONCE", value_parser = BoolishValueParser::new())]
    pub(super) once: bool,

    /// How it is written with --once
    #[arg(long, env = "NETGLASS_TOP_FORMAT", value_name = "FORMAT", default_value = "table")]
    pub(super) format: Format,

    /// How many sums the kernel keeps in an interval: one for each process, service, call and error.
    /// Calls beyond that are counted as lost
    #[arg(long, env = "NETGLASS_MAX_SUMS", value_name = "N", default_value_t = MOST_SUMS)]
    #[arg(value_parser = clap::value_parser!(u32).range(64..=1_048_576))]
    pub(super) max_sums: u32,
}

/// What processes can be sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Column {
    /// Bytes sent and received
    Throughput,
    /// Bytes sent
    Sent,
    /// Bytes received
    Received,
    /// System calls
    Calls,
    /// System calls that failed
    Errors,
    /// The process's name
    Name,
    /// The process's id
    Pid,
}

impl Column {
    /// The one that follows in the order in which the screen has them.
    pub(super) fn next(self) -> Self {
        self.at_distance(1)
    }

    /// The one that comes before.
    pub(super) fn previous(self) -> Self {
        self.at_distance(Self::value_variants().len() - 1)
    }

    fn at_distance(self, distance: usize) -> Self {
        let all = Self::value_variants();
        let own = all.iter().position(|&other| other == self).unwrap_or_default();
        all.get((own + distance) % all.len()).copied().unwrap_or(self)
    }

    /// How the screen calls it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::Sent => "sent",
            Self::Received => "received",
            Self::Calls => "calls",
            Self::Errors => "errors",
            Self::Name => "name",
            Self::Pid => "pid",
        }
    }
}

/// How one interval is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Columns, to be read by people
    Table,
    /// One JSON object a line, with a documented and versioned schema
    Json,
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    let interval = parse_duration(text)?;
    let range = Duration::from_millis(100)..=Duration::from_secs(3600);
    if range.contains(&interval) { Ok(interval) } else { Err("not within 100ms and 1h".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_go_round() {
        assert_eq!(Column::Throughput.next(), Column::Sent);
        assert_eq!(Column::Pid.next(), Column::Throughput);
        assert_eq!(Column::Throughput.previous(), Column::Pid);
    }
}
