//! A waterfall, to be read by people: the phases of each request as bars on one time axis.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use http_trace::{
    HttpTrace,
    clock::Moment,
    record::{Dial, HttpRequest, ProxyConnect, TlsRole, TlsTunnel},
};
use netglass_model::printable;

use super::{
    detail,
    failure::{failure, failure_of_itself, layer_name, sentence},
    show_nanoseconds,
    timeline::{Phase, Span, spans, total},
    verbose,
};

/// How wide the names of phases are.
pub(super) const NAME_WIDTH: usize = 11;
/// How wide the time axis is.
const AXIS: usize = 32;
/// How wide durations are.
const TOOK_WIDTH: usize = 9;

pub(super) const DIMMED: Style = Style::new().dimmed();
const TITLE: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default();

/// Writes all requests of a trace, with the styles of a terminal.
pub(crate) fn render(trace: &HttpTrace, is_verbose: bool, out: &mut impl Write) -> io::Result<()> {
    let axis = Axis::of(trace);
    for (index, request) in trace.requests.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        write_request(trace, request, axis, is_verbose, out)?;
    }
    if trace.requests.is_empty() {
        writeln!(out, "no request was made")?;
    }
    write_notes(trace, is_verbose, out)
}

/// The times that all bars are drawn on.
#[derive(Debug, Clone, Copy)]
struct Axis {
    began: u64,
    length: u64,
}

impl Axis {
    fn of(trace: &HttpTrace) -> Self {
        let requests = || trace.requests.iter();
        let began = requests().map(|request| request.phases.queued_at.0).min().unwrap_or_default();
        let ends = requests().map(|request| request.phases.ended_at.unwrap_or(trace.ended_at).0);
        let ended = ends.max().unwrap_or_default();
        Self { began, length: ended.saturating_sub(began).max(1) }
    }

    /// The columns of what is between two moments: at least one.
    fn columns(self, began: Moment, ended: Moment) -> (usize, usize) {
        let column = |moment: Moment| {
            let offset = u128::from(moment.0.saturating_sub(self.began).min(self.length));
            let column = offset * AXIS as u128 / u128::from(self.length);
            usize::try_from(column).unwrap_or(AXIS)
        };
        let first = column(began).min(AXIS - 1);
        (first, column(ended).clamp(first + 1, AXIS))
    }
}

/// A bar, and what is told of it.
struct Line<'a> {
    name: &'a str,
    began: Moment,
    ended: Moment,
    symbol: char,
    style: Style,
    detail: String,
}

impl Line<'_> {
    fn write(&self, axis: Axis, out: &mut impl Write) -> io::Result<()> {
        let Self { name, style, detail, .. } = self;
        let (first, last) = axis.columns(self.began, self.ended);
        let bar: String = std::iter::repeat_n(self.symbol, last - first).collect();
        let took = show_nanoseconds(self.ended.0.saturating_sub(self.began.0));
        write!(
            out,
            "{name:<NAME_WIDTH$} {:first$}{style}{bar}{style:#}{:2$} {took:>TOOK_WIDTH$}",
            "",
            "",
            AXIS - last
        )?;
        if !detail.is_empty() {
            write!(out, "  {}", printable(detail))?;
        }
        writeln!(out)
    }
}

fn write_request(
    trace: &HttpTrace,
    request: &HttpRequest,
    axis: Axis,
    is_verbose: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    write_title(trace, request, out)?;
    let whole = show_nanoseconds(axis.length);
    let offset = AXIS.saturating_sub(whole.chars().count() + 1);
    writeln!(
        out,
        "{DIMMED}{:<NAME_WIDTH$} 0{:>offset$}{whole} {:>TOOK_WIDTH$}{DIMMED:#}",
        "PHASE", "", "TOOK"
    )?;
    let spans = spans(request, trace.ended_at);
    let dial = request.dial.and_then(|id| trace.dial(id));
    for (index, span) in spans.iter().enumerate() {
        // Nobody waits for a few microseconds.
        let is_nothing = span.phase == Phase::Queued && span.nanoseconds() < 1_000_000;
        if is_nothing && (span.is_complete || spans.len() > 1) {
            continue;
        }
        // It did not get further than there.
        let is_failure = failure_of_itself(request).is_some() && index + 1 == spans.len();
        let detail = detail::of_phase(trace, request, dial, span.phase);
        bar(span, is_failure, detail).write(axis, out)?;
        match span.phase {
            Phase::Quic => {
                write_attempts(trace, dial, span.phase, axis, out)?;
                write_tunnels(trace, request, true, axis, out)?;
            }
            Phase::Connect => write_attempts(trace, dial, span.phase, axis, out)?,
            Phase::Tls => write_tunnels(trace, request, false, axis, out)?,
            _ => {}
        }
    }
    for response in &request.informational {
        let name = response.status.to_string();
        let detail = detail::status(response.status);
        let (at, symbol) = (response.at, '│');
        Line { name: &name, began: at, ended: at, symbol, style: DIMMED, detail }
            .write(axis, out)?;
    }
    if is_verbose {
        verbose::write(trace, request, out)?;
    }
    if let Some(sentence) = sentence(trace, request) {
        // Parts of it are made printable where it is made.
        writeln!(out, "{BAD}{sentence}{BAD:#}")?;
    }
    Ok(())
}

fn bar(span: &Span, is_failure: bool, detail: String) -> Line<'static> {
    let (symbol, style) = match (span.is_complete, is_failure) {
        (_, true) => ('▒', BAD),
        (true, false) => ('█', phase_style(span.phase)),
        (false, false) => ('▒', WARNING),
    };
    let Span { began, ended, .. } = *span;
    Line { name: span.phase.name(), began, ended, symbol, style, detail }
}

const fn phase_style(phase: Phase) -> Style {
    match phase {
        Phase::Queued => DIMMED,
        Phase::Lookup => AnsiColor::Cyan.on_default(),
        Phase::Connect => AnsiColor::Yellow.on_default(),
        Phase::Quic | Phase::Tls => AnsiColor::Magenta.on_default(),
        Phase::Request => AnsiColor::Blue.on_default(),
        Phase::Wait => AnsiColor::Green.on_default(),
        Phase::Response => AnsiColor::BrightBlue.on_default(),
    }
}

fn write_title(trace: &HttpTrace, request: &HttpRequest, out: &mut impl Write) -> io::Result<()> {
    let HttpRequest { method, url, .. } = request;
    write!(out, "{TITLE}{} {}{TITLE:#}: ", printable(method), printable(url))?;
    match request.status {
        Some(status) => {
            let style = match status {
                0..400 => GOOD,
                400.. => WARNING,
            };
            write!(out, "{style}{}{style:#}", detail::status(status))?;
            let but = match (failure_of_itself(request), &request.redirect_error) {
                (Some(_), _) => ", but its body is not whole",
                (None, Some(_)) => ", and its redirect is not followed",
                (None, None) => "",
            };
            write!(out, "{but}")?;
        }
        None if failure(request).is_some() => write!(out, "{BAD}failed{BAD:#}")?,
        None => write!(out, "{WARNING}no response yet{WARNING:#}")?,
    }
    if let Some(version) = &request.version {
        write!(out, ", {}", printable(version))?;
    }
    if let Some(response) = &request.response {
        write!(out, ", {}", detail::body(response))?;
    }
    writeln!(out, " in {}", show_nanoseconds(total(request, trace.ended_at)))
}

/// The attempts of a phase, where there is more to tell than of the one that the phase shows.
fn write_attempts(
    trace: &HttpTrace,
    dial: Option<&Dial>,
    phase: Phase,
    axis: Axis,
    out: &mut impl Write,
) -> io::Result<()> {
    let Some(dial) = dial.filter(|dial| detail::has_several_attempts(dial)) else { return Ok(()) };
    for (_, attempt) in detail::attempts(dial, phase) {
        let (symbol, style) = match detail::attempt_state(attempt) {
            detail::State::Won => ('█', GOOD),
            detail::State::Failed => ('▒', BAD),
            detail::State::Other => ('░', DIMMED),
        };
        let began = attempt.began_at;
        let ended = attempt.ended_at.unwrap_or(trace.ended_at).max(began);
        let detail = detail::of_attempt(attempt);
        Line { name: "  attempt", began, ended, symbol, style, detail }.write(axis, out)?;
    }
    Ok(())
}

/// The tunnels that a request made or uses, each with its certificate, and what a proxy was asked.
fn write_tunnels(
    trace: &HttpTrace,
    request: &HttpRequest,
    over_quic: bool,
    axis: Axis,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut tunnels: Vec<&TlsTunnel> = detail::tunnels(trace, request)
        .filter(|tunnel| detail::is_of_quic(trace, tunnel) == over_quic)
        .collect();
    let is_proxied = tunnels.iter().any(|tunnel| tunnel.role == TlsRole::Proxy);
    tunnels.sort_by_key(|tunnel| tunnel.began_at);
    for tunnel in tunnels {
        if is_proxied {
            let ended = tunnel.ended_at.unwrap_or(trace.ended_at).max(tunnel.began_at);
            let name = match tunnel.role {
                TlsRole::Server => "  server",
                TlsRole::Proxy => "  proxy",
            };
            let (symbol, style) = if tunnel.error.is_some() {
                ('▒', BAD)
            } else {
                ('█', phase_style(Phase::Tls))
            };
            let (began, detail) = (tunnel.began_at, detail::of_tunnel(tunnel));
            Line { name, began, ended, symbol, style, detail }.write(axis, out)?;
        }
        if let Some((detail, is_bad)) = detail::of_certificate(trace, tunnel) {
            let style = if is_bad { WARNING } else { Style::new() };
            let blank = NAME_WIDTH + AXIS + TOOK_WIDTH + 4;
            writeln!(out, "{:blank$}{style}{}{style:#}", "", printable(&detail))?;
        }
    }
    Ok(())
}

/// What a proxy was asked for a request.
pub(super) fn proxy_connect<'a>(
    trace: &'a HttpTrace,
    request: &HttpRequest,
) -> Option<&'a ProxyConnect> {
    let mut connects = trace.connects.iter().map(|connect| &**connect);
    connects.find(|connect| match request.proxy_connect {
        Some(id) => connect.id == id,
        None => connect.request == Some(request.id),
    })
}

/// What is not in the trace.
fn write_notes(trace: &HttpTrace, is_verbose: bool, out: &mut impl Write) -> io::Result<()> {
    let dropped = &trace.dropped;
    for (what, count) in [
        ("dials", dropped.dials),
        ("TCP connections", dropped.tcp),
        ("UDP sockets", dropped.udp),
        ("DNS exchanges", dropped.dns),
        ("TLS tunnels", dropped.tls),
        ("CONNECT requests", dropped.connects),
        ("requests", dropped.requests),
    ] {
        if count > 0 {
            writeln!(out, "note: {count} {what} had to make way for newer ones")?;
        }
    }
    if dropped.conntrack_events > 0 {
        writeln!(
            out,
            "note: events of connection tracking were lost, and connections asked for instead"
        )?;
    }
    if is_verbose {
        for missing in &trace.missing {
            let (what, why) = (printable(&missing.what), printable(&missing.why));
            writeln!(out, "note: {what} is not recorded: {why}")?;
        }
    }
    Ok(())
}

/// How long all requests of a trace took, in nanoseconds.
pub(crate) fn length(trace: &HttpTrace) -> u64 {
    Axis::of(trace).length
}

/// Writes one line for each request of the repetition of this number.
pub(crate) fn render_line(number: u64, trace: &HttpTrace, out: &mut impl Write) -> io::Result<()> {
    for request in &trace.requests {
        write!(out, "{number:>5}  ")?;
        match (request.status, failure(request)) {
            (_, Some(failure)) => {
                let message = printable(&failure.message);
                write!(out, "{BAD}{} failed{BAD:#}: {message}", layer_name(failure.layer))?;
            }
            (Some(status), None) => write!(out, "{}", detail::status(status))?,
            (None, None) => write!(out, "no response yet")?,
        }
        write!(out, " in {}", show_nanoseconds(total(request, trace.ended_at)))?;
        let phases: Vec<String> = spans(request, trace.ended_at)
            .iter()
            .filter(|span| span.phase != Phase::Queued)
            .map(|span| format!("{} {}", span.phase.name(), show_nanoseconds(span.nanoseconds())))
            .collect();
        writeln!(out, "  {DIMMED}{}{DIMMED:#}", phases.join(", "))?;
    }
    Ok(())
}
