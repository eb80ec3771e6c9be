//! A summary as people read it.

use std::{
    io::{self, Write},
    time::Duration,
};

use anstyle::Style;
use netglass_model::{Direction, Process};

use super::{Calls, Summary, Talk, show_endpoint};
use crate::{
    output::{
        table::{Align, Cell, Table},
        tree::show_bytes,
    },
    streaming::{errno, table::show, words},
};

const PLAIN: Style = Style::new();

/// Writes each end on a line of its own.
pub(in crate::streaming) fn write(
    summary: &Summary,
    span: Duration,
    out: &mut impl Write,
) -> io::Result<()> {
    writeln!(out, "-- calls of {}", show(span))?;
    let mut table = Table::new([
        ("PROCESS", Align::Left),
        ("", Align::Left),
        ("PEER", Align::Left),
        ("PROTOCOL", Align::Left),
        ("CALLS", Align::Right),
        ("SENT", Align::Right),
        ("RECEIVED", Align::Right),
        ("P50", Align::Right),
        ("P90", Align::Right),
        ("P99", Align::Right),
        ("ERRORS", Align::Left),
    ]);
    for talk in summary.talks() {
        let Talk { end, total, peers } = &talk;
        let quantile = |thousandths| {
            total.latencies.quantile(thousandths).map(show_latency).unwrap_or_default()
        };
        let cells = [
            end.process.name().to_string(),
            arrow(&talk).to_owned(),
            peer(&talk, peers.iter().map(AsRef::as_ref)),
            protocol(&talk),
            total.latencies.calls().to_string(),
            show_bytes(total.bytes_sent),
            show_bytes(total.bytes_received),
            quantile(500),
            quantile(900),
            quantile(990),
            errors(total),
        ];
        table.push(cells.into_iter().map(|text| Cell::new(text, PLAIN)).collect());
    }
    table.write(out)
}

fn arrow(talk: &Talk<'_>) -> &'static str {
    match (talk.end.connection.and_then(|it| it.remote), talk.end.direction) {
        (None, _) => "",
        (Some(_), Direction::Active) => "->",
        (Some(_), Direction::Passive) => "<-",
    }
}

/// The processes, and the endpoint that serves with the address that asks.
fn peer<'a>(talk: &Talk<'_>, peers: impl Iterator<Item = &'a Process>) -> String {
    let mut words: Vec<String> = peers.map(|process| process.name().to_string()).collect();
    if let Some(connection) = talk.end.connection {
        match (connection.local, connection.remote, talk.end.direction) {
            (_, Some(remote), Direction::Active) => words.push(show_endpoint(remote)),
            (Some(local), Some(remote), Direction::Passive) => {
                words.push(format!("{} at {local}", remote.ip()));
            }
            _ => {}
        }
    }
    words.join(" ")
}

fn protocol(talk: &Talk<'_>) -> String {
    let family = talk.end.family.and_then(words::family_name);
    let protocol = talk.end.connection.as_ref().and_then(words::protocol_name);
    match (talk.end.connection.and_then(|it| it.local), protocol, family) {
        (Some(_), Some(protocol), _) => protocol.to_owned(),
        (_, Some(protocol), Some(family)) => format!("{family} {protocol}"),
        (_, None, Some(family)) => family.to_owned(),
        (_, _, None) => String::new(),
    }
}

/// With one decimal, in its greatest unit.
fn show_latency(latency: Duration) -> String {
    let seconds = latency.as_secs_f64();
    match latency.as_nanos() {
        0..1_000_000 => format!("{:.1}us", seconds * 1e6),
        1_000_000..1_000_000_000 => format!("{:.1}ms", seconds * 1e3),
        _ => format!("{seconds:.1}s"),
    }
}

/// How many of each, the most frequent first.
fn errors(calls: &Calls) -> String {
    let mut errors: Vec<_> = calls.errors.iter().collect();
    errors.sort_by_key(|&(number, count)| (std::cmp::Reverse(*count), *number));
    let words = errors.into_iter().map(|(&number, count)| match errno::name(number) {
        Some(name) => format!("{count} {name}"),
        None => format!("{count} errno {number}"),
    });
    words.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::{super::fixtures::summary, *};

    #[test]
    fn each_end_is_a_line() {
        let mut out = Vec::new();
        write(&summary(), Duration::from_secs(5), &mut out).unwrap();
        let text = anstream::adapter::strip_bytes(&out).into_vec();
        insta::assert_snapshot!(String::from_utf8(text).unwrap(), @r"
        -- calls of 5.0s
        PROCESS                  PEER                                          PROTOCOL  CALLS   SENT  RECEIVED    P50    P90    P99  ERRORS
        ('nginx', pgid=100)  <-  ('wget', pgid=200) 127.0.0.1 at 127.0.0.1:80  tcp          12  500 B     500 B  3.8us  4.1us  4.1us  2 EAGAIN
        ('wget', pgid=200)   ->  ('nginx', pgid=100) 127.0.0.1:80              tcp           8  500 B     300 B  3.8us  4.1us  4.1us
        ('wget', pgid=200)                                                     AF_INET       1    0 B       0 B  4.1us  4.1us  4.1us
        ");
    }
}
