//! What a waterfall shows only when asked: headers, DNS messages, all certificates, what the kernel
//! knows of connections.

use std::io::{self, Write};

use http_trace::{
    HttpTrace,
    record::{
        AlternativeServices, ConntrackEventKind, DnsExchange, Headers, HttpRequest, QuicClosedBy,
        QuicConnection, TcpConnection, TlsTunnel, UdpConnection,
    },
};
use netglass_model::printable;

use super::{
    detail, show_nanoseconds,
    text::{DIMMED, NAME_WIDTH},
};
use crate::output::tree::show_bytes;

/// Writes all of a request.
pub(super) fn write(
    trace: &HttpTrace,
    request: &HttpRequest,
    out: &mut impl Write,
) -> io::Result<()> {
    let dial = request.dial.filter(|id| trace.dial(*id).is_some());
    for exchange in trace.dns.iter().filter(|exchange| dial.is_some() && exchange.dial == dial) {
        write_exchange(exchange, out)?;
    }
    for tunnel in detail::tunnels(trace, request) {
        write_tunnel(trace, tunnel, out)?;
    }
    if let Some(connection) = request.connection.and_then(|id| trace.tcp_connection(id)) {
        write_connection(connection, out)?;
    }
    let udp = request.connection.and_then(|id| trace.udp_connection(id));
    if let Some((udp, quic)) = udp.and_then(|udp| Some((udp, udp.quic.as_deref()?))) {
        write_quic(udp, quic, out)?;
    }
    write_headers(">", &request.request.headers, out)?;
    write_headers(">", &request.added_headers, out)?;
    for response in &request.informational {
        line("<", &detail::status(response.status), out)?;
        write_headers("<", &response.headers, out)?;
    }
    if let Some(status) = request.status {
        line("<", &detail::status(status), out)?;
    }
    if let Some(response) = &request.response {
        write_headers("<", &response.headers, out)?;
        write_headers("< trailer", &response.trailers, out)?;
    }
    if let Some(alternatives) = &request.alternatives {
        write_alternatives(alternatives, out)?;
    }
    Ok(())
}

fn line(mark: &str, text: &str, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{DIMMED}{mark:<NAME_WIDTH$}{DIMMED:#} {}", printable(text))
}

fn write_headers(mark: &str, headers: &Headers, out: &mut impl Write) -> io::Result<()> {
    for header in headers {
        let value = match (header.value, header.length, header.redacted) {
            (_, _, true) => "(redacted)".to_owned(),
            (Some(value), _, _) => value,
            (None, Some(length), _) => format!("({length} bytes)"),
            (None, None, _) => String::new(),
        };
        line(mark, &format!("{}: {value}", header.name), out)?;
    }
    Ok(())
}

fn write_exchange(exchange: &DnsExchange, out: &mut impl Write) -> io::Result<()> {
    for query in &exchange.queries {
        for question in &query.questions {
            let what = format!(
                "{} {}? of {}, {} bytes",
                question.name, question.record_type_name, exchange.nameserver, query.size
            );
            line("dns", &what, out)?;
        }
    }
    for reply in &exchange.replies {
        let mut what = match reply.response_code {
            Some(code) => format!("code {code}, {} bytes", reply.size),
            None => format!("{} bytes that are no message", reply.size),
        };
        if reply.truncated {
            what.push_str(", cut short");
        }
        if !reply.accepted {
            what.push_str(", not the answer to the query");
        }
        if let Some(malformed) = &reply.malformed {
            what.push_str(", malformed: ");
            what.push_str(malformed);
        }
        line("dns <", &what, out)?;
        for answer in &reply.answers {
            let what = format!(
                "{} {} {} {}",
                answer.name, answer.ttl, answer.record_type_name, answer.value
            );
            line("dns <", &what, out)?;
        }
        for error in reply.edns.iter().flat_map(|edns| &edns.extended_errors) {
            line("dns <", &format!("extended error {}: {}", error.code, error.text), out)?;
        }
    }
    Ok(())
}

fn write_tunnel(trace: &HttpTrace, tunnel: &TlsTunnel, out: &mut impl Write) -> io::Result<()> {
    if !tunnel.offered_protocols.is_empty() {
        line("tls", &format!("offered {}", tunnel.offered_protocols.join(", ")), out)?;
    }
    let now = detail::wall(trace, trace.relative(trace.ended_at));
    for certificate in &tunnel.certificates {
        let (validity, _) = detail::validity(certificate, now);
        line("certificate", &format!("{}: {validity}", certificate.subject), out)?;
        if !certificate.names.is_empty() {
            line("", &format!("for {}", certificate.names.join(", ")), out)?;
        }
        line("", &format!("signed by {}", certificate.issuer), out)?;
        let bits = certificate.key_bits.map(|bits| format!(" of {bits} bits")).unwrap_or_default();
        let key = format!(
            "{}{bits}, {}, SHA-256 {}",
            certificate.key_algorithm, certificate.signature_algorithm, certificate.sha256
        );
        line("", &key, out)?;
    }
    Ok(())
}

fn write_connection(connection: &TcpConnection, out: &mut impl Write) -> io::Result<()> {
    let sent = show_bytes(connection.sent_bytes);
    let received = show_bytes(connection.received_bytes);
    line("tcp", &format!("{sent} sent, {received} received"), out)?;
    let information = &connection.information_at_close;
    if let Some(information) = information.as_ref().or(connection.information_at_connect.as_ref()) {
        let what = format!(
            "{} segments sent more than once, largest segment {} bytes, window {} segments",
            information.retransmits, information.send_mss, information.congestion_window
        );
        line("", &what, out)?;
    }
    if let Some(entry) = &connection.conntrack {
        let (original, reply) = (&entry.original.destination, &entry.reply.destination);
        line("conntrack", &format!("to {original}, answers to {reply}"), out)?;
        for event in &entry.events {
            let what = match event.kind {
                ConntrackEventKind::New => "tracked",
                ConntrackEventKind::Updated => "in another state",
                ConntrackEventKind::Destroyed => "not tracked any more",
            };
            let state = event.tcp_state_name().map(|state| format!(" ({state})"));
            let after = event.at.since(connection.began_at).as_nanos();
            let after = show_nanoseconds(u64::try_from(after).unwrap_or(u64::MAX));
            line("", &format!("{what}{} after {after}", state.unwrap_or_default()), out)?;
        }
    }
    Ok(())
}

fn write_quic(udp: &UdpConnection, quic: &QuicConnection, out: &mut impl Write) -> io::Result<()> {
    let (sent, received) = (show_bytes(udp.sent_bytes), show_bytes(udp.received_bytes));
    line("quic", &format!("{sent} sent, {received} received"), out)?;
    let destination = quic.destination_connection_id.as_deref().unwrap_or("none");
    let what = format!(
        "connection identifiers: ours {}, the server's {destination}, at first {}",
        quic.source_connection_id, quic.original_destination_connection_id
    );
    line("", &what, out)?;
    if !quic.offered_versions.is_empty() {
        let versions: Vec<_> =
            quic.offered_versions.iter().map(|version| detail::quic_version(*version)).collect();
        line("", &format!("the server speaks {}", versions.join(", ")), out)?;
    }
    if let Some(statistics) = &quic.statistics {
        let what = format!(
            "{} datagrams sent, {} received, {} packets lost, window {}, largest datagram {} bytes",
            statistics.sent_datagrams,
            statistics.received_datagrams,
            statistics.lost_packets,
            show_bytes(statistics.congestion_window),
            statistics.path_mtu
        );
        line("", &what, out)?;
    }
    if let Some(go_away) = &quic.go_away {
        let what = format!("the server takes no requests from stream {} on", go_away.stream);
        line("", &what, out)?;
    }
    if let Some(close) = &quic.close {
        let who = match close.by {
            QuicClosedBy::Client => "we ended it",
            QuicClosedBy::Server => "the server ended it",
            QuicClosedBy::Timeout => "it ended for want of an answer",
            QuicClosedBy::Reset => "the server did not know it any more",
        };
        let code = close.code.map(|code| format!(" with code {code}")).unwrap_or_default();
        let separator = if close.reason.is_empty() { "" } else { ": " };
        line("", &format!("{who}{code}{separator}{}", close.reason), out)?;
    }
    Ok(())
}

fn write_alternatives(alternatives: &AlternativeServices, out: &mut impl Write) -> io::Result<()> {
    if alternatives.clear {
        line("alt-svc", "what was said before is to be forgotten", out)?;
    }
    for service in &alternatives.services {
        let host = service.host.as_deref().unwrap_or_default();
        let persist = if service.persist { ", also on other networks" } else { "" };
        let what = format!(
            "{} at {host}:{} for {} s{persist}",
            service.protocol, service.port, service.max_age
        );
        line("alt-svc", &what, out)?;
    }
    if alternatives.dropped > 0 {
        line("alt-svc", &format!("and {} more", alternatives.dropped), out)?;
    }
    if let Some(malformed) = &alternatives.malformed {
        line("alt-svc", &format!("malformed: {malformed}"), out)?;
    }
    Ok(())
}
