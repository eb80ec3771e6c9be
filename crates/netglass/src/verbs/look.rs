//! `netglass look`: who depends on a node, and on whom it depends, at any time within the
//! retention.

use std::{
    io::{self, Write as _},
    time::SystemTime,
};

use anyhow::bail;
use clap::{Args, builder::BoolishValueParser};
use netglass_model::{Host, HostId, Timestamp, printable};
use netglass_store::{Window, dependencies, dependencies_around};

use crate::{
    database::DatabaseArguments,
    host::this_host_id,
    output::{self, Format},
    query::{Query, QueryArguments},
    time::{Moment, rfc3339},
    tree::{Extent, Tree},
    usage::UsageError,
};

/// Shows who depends on whom, as a tree in both directions
///
/// Below each node that is asked about stand those who depend on it (└<--) and those on whom it
/// depends (└-->). Several conditions must all hold. Without any, this host is shown; with a port
/// alone, the servers at that port.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  netglass look                              this host, for this hour and the one before
  netglass look 10.0.0.10                    whatever is at this address
  netglass look nginx --depth 3              nginx and what is behind it
  netglass look --port 5432 --since 1d       who used PostgreSQL within a day
  netglass look web-1 --since 2h --until 1h  a host, as it was
  netglass look --format dot | dot -Tsvg > map.svg")]
pub(crate) struct Arguments {
    #[command(flatten)]
    query: QueryArguments,

    /// How many steps are followed from each node
    #[arg(long, env = "NETGLASS_DEPTH", value_name = "N", default_value = "1")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100))]
    depth: u32,

    /// From when on: a duration ago or a time stamp (RFC 3339). With /m, /h or /d behind it a duration
    /// reaches back to the start of that minute, hour or day (UTC), which whole hours and days make
    /// quick
    #[arg(long, env = "NETGLASS_SINCE", value_name = "WHEN", default_value = "1h/h")]
    since: Moment,

    /// Until when: a duration ago, a time stamp, or now
    #[arg(long, env = "NETGLASS_UNTIL", value_name = "WHEN", default_value = "now")]
    until: Moment,

    /// How the answer is written
    #[arg(long, env = "NETGLASS_FORMAT", value_name = "FORMAT", default_value = "tree")]
    format: Format,

    /// Show listeners to which nobody talked too
    #[arg(long, env = "NETGLASS_LISTENING", value_parser = BoolishValueParser::new())]
    listening: bool,
}

/// Answers the question.
pub(crate) fn run(arguments: &Arguments, database: &DatabaseArguments) -> anyhow::Result<()> {
    let now = Timestamp::from(SystemTime::now());
    let window = arguments.window(now)?;
    let url = database.url()?;
    let mut opened = database.open_to_read()?;
    let mut snapshot = opened.snapshot(window)?;
    let hosts = snapshot.hosts()?;
    let mut query = arguments.query.query(&hosts);
    let has_conditions = query != Query::default();
    if !has_conditions {
        query = Query::host(shown_host(&hosts, &url.to_string())?);
    }
    // Who merely waits is found only among all that there is.
    let interest = query.interest(arguments.depth).filter(|_| !arguments.listening);
    let known = match &interest {
        Some(interest) => dependencies_around(snapshot.as_mut(), interest, hosts)?,
        None => dependencies(snapshot.as_mut(), None)?,
    };
    drop(snapshot);
    let extent = Extent { depth: arguments.depth, listening: arguments.listening };
    let tree = Tree::build(&known, &query, extent);
    if tree.is_empty() {
        bail!(
            "nothing is known of {query} between {} and {} in {url}; try an earlier --since{}{}",
            rfc3339(window.since),
            rfc3339(window.until),
            if arguments.listening { "" } else { ", --listening for those who only wait" },
            if has_conditions { ", or `netglass look` without conditions" } else { "" },
        );
    }
    Ok(output::print(&tree, arguments.format, now)?)
}

impl Arguments {
    fn window(&self, now: Timestamp) -> Result<Window, UsageError> {
        let window = Window { since: self.since.at(now), until: self.until.at(now) };
        if window.since > window.until {
            return Err(UsageError(format!(
                "--since ({}) is later than --until ({})",
                rfc3339(window.since),
                rfc3339(window.until)
            )));
        }
        Ok(window)
    }
}

/// This host if the database knows it, else the only one that it knows.
fn shown_host(hosts: &[Host], url: &str) -> anyhow::Result<HostId> {
    let this = this_host_id();
    if hosts.iter().any(|host| host.id == this) {
        return Ok(this);
    }
    let name = printable(&this.hostname);
    match hosts {
        [] => bail!("no host has reported to {url} yet; run `netglass probe` or `netglass up`"),
        [only] => {
            let shown = printable(&only.id.hostname);
            // What is said here is no reason to fail when it cannot be said.
            let _ = writeln!(
                io::stderr().lock(),
                "netglass: this host ('{name}') is not in {url}; showing the only one that is, \
                 '{shown}'"
            );
            Ok(only.id.clone())
        }
        several => {
            let names: Vec<_> =
                several.iter().map(|host| printable(&host.id.hostname).into_owned()).collect();
            bail!(
                "this host ('{name}') is not in {url}; name one of those that are: {}",
                names.join(", ")
            )
        }
    }
}
