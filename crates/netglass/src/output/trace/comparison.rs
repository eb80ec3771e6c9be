//! What is different between two recordings of requests: times, as medians where there are several,
//! and what the network said.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use http_trace::{HttpTrace, record::HttpRequest};
use netglass_model::printable;
use serde::Serialize;

use super::{
    detail,
    failure::{failure, layer_name},
    show_nanoseconds,
    summary::Summary,
    timeline::Phase,
};
use crate::output::table::{Align, Cell, Table};

/// The version of the JSON schema (docs/trace.md).
const VERSION: u32 = 1;

const SLOWER: Style = AnsiColor::Red.on_default();
const FASTER: Style = AnsiColor::Green.on_default();
const DIFFERENT: Style = AnsiColor::Yellow.on_default();

/// A difference from one recording to another.
#[derive(Debug, Serialize)]
pub(crate) struct Comparison {
    version: u32,
    phases: Vec<PhaseDifference>,
    facts: Vec<FactDifference>,
}

#[derive(Debug, Serialize)]
struct PhaseDifference {
    phase: &'static str,
    before_ns: Option<u64>,
    after_ns: Option<u64>,
}

/// Something that the network said, and says otherwise now.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct FactDifference {
    request: String,
    fact: &'static str,
    before: Option<String>,
    after: Option<String>,
}

impl Comparison {
    /// Compares two recordings. Requests are the same that have the same place in their traces; of several
    /// traces the last one speaks.
    pub(crate) fn new(before: &[HttpTrace], after: &[HttpTrace]) -> Self {
        let [first, second] = [before, after].map(|traces| {
            let mut summary = Summary::default();
            for trace in traces {
                summary.add(trace);
            }
            summary
        });
        let mut phases: Vec<_> = Phase::ALL
            .into_iter()
            .map(|phase| (phase.name(), first.median(phase), second.median(phase)))
            .filter(|(_, before, after)| before.is_some() || after.is_some())
            .collect();
        phases.push(("total", first.median_total(), second.median_total()));
        let phases = phases
            .into_iter()
            .map(|(phase, before_ns, after_ns)| PhaseDifference { phase, before_ns, after_ns })
            .collect();
        Self { version: VERSION, phases, facts: facts(before.last(), after.last()) }
    }

    /// Writes it to be read by people, with the styles of a terminal.
    pub(crate) fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        let mut table = Table::new([
            ("PHASE", Align::Left),
            ("BEFORE", Align::Right),
            ("AFTER", Align::Right),
            ("DIFFERENCE", Align::Right),
        ]);
        for PhaseDifference { phase, before_ns, after_ns } in &self.phases {
            let shown = |duration: &Option<u64>| {
                let shown = duration.map_or_else(|| "-".to_owned(), show_nanoseconds);
                Cell::new(shown, Style::new())
            };
            table.push(vec![
                Cell::new((*phase).to_owned(), Style::new()),
                shown(before_ns),
                shown(after_ns),
                difference(*before_ns, *after_ns),
            ]);
        }
        table.write(out)?;
        for FactDifference { request, fact, before, after } in &self.facts {
            let shown = |value: &Option<String>| {
                value
                    .as_deref()
                    .map_or_else(|| "-".to_owned(), |value| printable(value).into_owned())
            };
            let request = printable(request);
            let (before, after) = (shown(before), shown(after));
            writeln!(out, "{request}: {fact}: {before} -> {DIFFERENT}{after}{DIFFERENT:#}")?;
        }
        if self.facts.is_empty() {
            writeln!(out, "nothing but times is different")?;
        }
        Ok(())
    }
}

fn difference(before: Option<u64>, after: Option<u64>) -> Cell {
    let (Some(before), Some(after)) = (before, after) else {
        return Cell::from("-".to_owned());
    };
    if before == after {
        return Cell::from("none".to_owned());
    }
    let (sign, style) = if after > before { ("+", SLOWER) } else { ("-", FASTER) };
    let amount = show_nanoseconds(before.abs_diff(after));
    let shown = if before > 0 {
        let percent = (after as f64 - before as f64) * 100.0 / before as f64;
        format!("{sign}{amount} ({percent:+.0} %)")
    } else {
        format!("{sign}{amount}")
    };
    // What differs by less than a tenth is the same thing measured twice.
    let is_small = before.abs_diff(after) < before / 10;
    Cell::new(shown, if is_small { Style::new() } else { style })
}

fn facts(before: Option<&HttpTrace>, after: Option<&HttpTrace>) -> Vec<FactDifference> {
    let requests = |trace: Option<&'_ HttpTrace>| trace.map_or(0, |trace| trace.requests.len());
    let request = |trace: Option<&'_ HttpTrace>,
                   index: usize|
     -> Option<Vec<(&'static str, Option<String>)>> {
        let trace = trace?;
        Some(facts_of(trace, trace.requests.get(index)?))
    };
    let mut differences = Vec::new();
    for index in 0..requests(before).max(requests(after)) {
        let name = |trace: Option<&HttpTrace>| {
            let request = trace?.requests.get(index)?;
            Some(format!("{} {}", request.method, request.url))
        };
        let shown = name(after).or_else(|| name(before)).unwrap_or_default();
        match (request(before, index), request(after, index)) {
            (Some(first), Some(second)) => {
                for ((fact, before), (_, after)) in first.into_iter().zip(second) {
                    if before != after {
                        let request = shown.clone();
                        differences.push(FactDifference { request, fact, before, after });
                    }
                }
            }
            (first, second) => differences.push(FactDifference {
                request: shown,
                fact: "request",
                before: first.map(|_| "made".to_owned()),
                after: second.map(|_| "made".to_owned()),
            }),
        }
    }
    differences
}

/// What the network said of a request, in an order that is always the same.
fn facts_of(trace: &HttpTrace, request: &HttpRequest) -> Vec<(&'static str, Option<String>)> {
    let dial = request.dial.and_then(|id| trace.dial(id));
    let lookup = dial.and_then(|dial| dial.lookup.as_ref());
    let addresses = lookup.map(|lookup| {
        let mut addresses = lookup.addresses.clone();
        // The order is left to chance by many name servers.
        addresses.sort_unstable();
        addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    });
    let addresses_of_connection = request.connection.and_then(|id| trace.addresses(id));
    let tunnel = request.tls.and_then(|id| trace.tls_tunnel(id));
    let tunnel = tunnel.or_else(|| detail::tunnels(trace, request).next_back());
    let certificate = tunnel.and_then(|tunnel| tunnel.certificates.first());
    let header = |name: &str| {
        let headers = &request.response.as_ref()?.headers;
        headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?.value
    };
    vec![
        ("request", Some(format!("{} {}", request.method, request.url))),
        ("failure", failure(request).map(|it| format!("{}: {}", layer_name(it.layer), it.message))),
        ("status", request.status.map(detail::status)),
        ("version", request.version.as_deref().map(ToOwned::to_owned)),
        ("addresses of the name", addresses),
        ("address", addresses_of_connection.map(|it| it.destination.to_string())),
        ("attempts to connect", dial.map(|dial| dial.attempts.len().to_string())),
        ("proxy", request.proxy.clone()),
        ("open connection used", request.uses.last().map(|last| last.reused.to_string())),
        ("TLS version", tunnel.and_then(|tunnel| tunnel.version.clone())),
        ("cipher suite", tunnel.and_then(|tunnel| tunnel.cipher_suite_name.clone())),
        ("key exchange", tunnel.and_then(|tunnel| tunnel.group.clone())),
        ("session resumed", tunnel.map(|tunnel| tunnel.resumed.to_string())),
        ("certificate", certificate.map(|it| it.subject.clone())),
        ("certificate's SHA-256", certificate.map(|it| it.sha256.clone())),
        ("certificate's end", certificate.and_then(|it| it.not_after).map(|it| it.to_string())),
        ("redirect to", header("location")),
        ("type", header("content-type")),
        ("server", header("server")),
        ("coding", request.decoded.clone()),
        ("bytes of the body", request.response.as_ref().map(|it| it.body_bytes.to_string())),
    ]
}
