//! `netglass diff`: which dependencies appeared, vanished or began to fail between two moments.

use std::time::{Duration, SystemTime};

use anyhow::bail;
use clap::Args;
use netglass_model::Timestamp;
use netglass_store::{Dependencies, Window, dependencies};

use crate::{
    comparison::{Comparison, reporting},
    database::DatabaseArguments,
    output::comparison::{Compared, Format, print},
    probing::tell,
    query::{Query, QueryArguments},
    time::{Moment, parse_duration, rfc3339},
    usage::UsageError,
};

/// Shows which dependencies appeared, vanished, or began to fail between two moments
///
/// A moment stands for the time before it, as long as --window says. A dependency is the same after
/// its processes were started again, in other containers or of another version: hosts, ports and the
/// names of processes tell. Several conditions must all hold; without any, all hosts are compared.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  netglass diff --from 1d                    what changed since yesterday at this time
  netglass diff --from 2h --to 1h            within an hour
  netglass diff nginx --from 10m             of nginx, since the deployment just now
  netglass diff --port 5432 --from 7d --window 1d
  netglass diff --from 2026-01-31T14:00:00Z --to 2026-01-31T15:00:00Z --format json")]
pub(crate) struct Arguments {
    #[command(flatten)]
    query: QueryArguments,

    /// The earlier moment: a duration ago or a time stamp (RFC 3339)
    #[arg(long, env = "NETGLASS_FROM", value_name = "WHEN", required = true)]
    from: Moment,

    /// The later moment: a duration ago, a time stamp, or now
    #[arg(long, env = "NETGLASS_TO", value_name = "WHEN", default_value = "now")]
    to: Moment,

    /// How much time before each moment counts; never more than lies between the two
    #[arg(long, env = "NETGLASS_WINDOW", value_name = "DURATION", default_value = "1h")]
    #[arg(value_parser = parse_duration)]
    window: Duration,

    /// How the answer is written
    #[arg(long, env = "NETGLASS_DIFF_FORMAT", value_name = "FORMAT", default_value = "text")]
    format: Format,
}

/// Compares the two moments.
pub(crate) fn run(arguments: &Arguments, database: &DatabaseArguments) -> anyhow::Result<()> {
    let now = Timestamp::from(SystemTime::now());
    let [before_window, after_window] = arguments.windows(now)?;
    let url = database.url()?;
    let mut opened = database.open_to_read()?;
    // What moved here may have been at nodes that nobody asks about: all that there is is read.
    let before = dependencies(opened.snapshot(before_window)?.as_mut(), None)?;
    let after = dependencies(opened.snapshot(after_window)?.as_mut(), None)?;
    for (window, known) in [(before_window, &before), (after_window, &after)] {
        if reporting(known).is_empty() {
            bail!(
                "no host reported to {url} between {} and {}, so there is nothing to compare; try \
                 other moments, or a longer --window",
                rfc3339(window.since),
                rfc3339(window.until)
            );
        }
    }

    let query = arguments.query.query(&after.hosts);
    let is_known = |known: &Dependencies| known.edges.iter().any(|edge| query.wants_edge(edge));
    if query != Query::default() && !is_known(&before) && !is_known(&after) {
        bail!(
            "nothing is known of {query} between {} and {} nor between {} and {} in {url}; try \
             other moments, or a longer --window",
            rfc3339(before_window.since),
            rfc3339(before_window.until),
            rfc3339(after_window.since),
            rfc3339(after_window.until),
        );
    }
    let compared = Compared {
        comparison: &Comparison::new(&before, &after, &query),
        dependencies: &after,
        before: before_window,
        after: after_window,
    };
    print(&compared, arguments.format)?;
    if arguments.format == Format::Csv {
        tell(&compared.notes());
    }
    Ok(())
}

impl Arguments {
    /// The times that the two moments stand for.
    fn windows(&self, now: Timestamp) -> Result<[Window; 2], UsageError> {
        let (from, to) = (self.from.at(now), self.to.at(now));
        if from >= to {
            return Err(UsageError(format!(
                "--from ({}) is not earlier than --to ({})",
                rfc3339(from),
                rfc3339(to)
            )));
        }
        let length = self.window.min(to.since(from));
        Ok([from, to].map(|until| Window { since: until.saturating_sub(length), until }))
    }
}
