//! A trace in the JSON of the Go library nettrace: its keys in their order, its enumerations, and
//! times as it writes them. What it has no word for is left out.

mod enumerations;
mod shape;

use jiff::{Timestamp, Zoned, tz::TimeZone};
use sha2::{Digest, Sha256};

pub(crate) use self::enumerations::tcp_state;
use self::{
    enumerations::{conntrack_status, record_type, response_code},
    shape::{
        AddrTuple, Conntrack, Dial, DnsAnswer, DnsQuery, DnsQueryMsg, DnsQuestion, DnsReplyMsg,
        HttpRequest, HttpTrace, PeerCert, ResolverDial, SocketOp, SocketTrace, TcpConn, TlsTunnel,
        UdpConn,
    },
};
use crate::{
    clock::Moment,
    record::{self, DnsSection, FailureKind, Id, OperationKind, TlsRole},
};

const UNDEFINED: &str = "undefined";

/// How records are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ids {
    /// `tid-1`: unique within the process.
    #[default]
    Counter,
    /// 22 characters that are unique everywhere.
    ShortUuid,
}

/// The trace on one line, each of its records named by a counter.
#[must_use]
pub fn to_json(trace: &record::HttpTrace) -> String {
    to_json_with(trace, Ids::Counter)
}

/// The same, with names of another kind.
#[must_use]
pub fn to_json_with(trace: &record::HttpTrace, ids: Ids) -> String {
    let shape = Writer { trace, ids, zone: TimeZone::system() }.trace();
    // Text alone is serialised, so it never fails.
    let json = serde_json::to_string(&shape).unwrap_or_default();
    escape(&json)
}

/// As Go does, so that the text can stand in HTML. The characters only ever stand in strings.
fn escape(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '<' => escaped.push_str("\\u003c"),
            '>' => escaped.push_str("\\u003e"),
            '&' => escaped.push_str("\\u0026"),
            '\u{2028}' => escaped.push_str("\\u2028"),
            '\u{2029}' => escaped.push_str("\\u2029"),
            other => escaped.push(other),
        }
    }
    escaped
}

struct Writer<'a> {
    trace: &'a record::HttpTrace,
    ids: Ids,
    zone: TimeZone,
}

/// An empty list is `null`.
fn list<T>(items: impl IntoIterator<Item = T>) -> Option<Vec<T>> {
    Some(items.into_iter().collect::<Vec<T>>()).filter(|items| !items.is_empty())
}

impl Writer<'_> {
    fn trace(&self) -> HttpTrace {
        let trace = self.trace;
        let mut tcp: Vec<&record::TcpConnection> = trace.tcp.iter().map(|tcp| &**tcp).collect();
        // Those that were never established come first, the others as they were established.
        tcp.sort_by_key(|tcp| (tcp.connected, tcp.ended_at.filter(|_| tcp.connected)));
        let mut tunnels: Vec<&record::TlsTunnel> = (trace.tls.iter().map(|tunnel| &**tunnel))
            .filter(|tunnel| tunnel.ended_at.is_some() && !was_given_up(tunnel.error.as_ref()))
            .collect();
        tunnels.sort_by_key(|tunnel| tunnel.ended_at);
        HttpTrace {
            description: trace.description.clone(),
            trace_begin_at: self.absolute(trace.began_at_wall),
            trace_end_at: self.relative(trace.ended_at),
            uuid: trace.session.clone(),
            dials: list(trace.dials.iter().map(|dial| self.dial(dial))),
            tcp_conns: list(tcp.into_iter().map(|tcp| self.tcp(tcp))),
            udp_conns: list(trace.udp.iter().map(|udp| self.udp(udp))),
            dns_queries: list(
                (trace.dns.iter())
                    .filter(|exchange| !exchange.queries.is_empty() || has_replies(exchange))
                    .map(|exchange| self.dns(exchange)),
            ),
            tls_tunnels: list(tunnels.into_iter().map(|tunnel| self.tls(tunnel))),
            http_requests: list(trace.requests.iter().map(|request| self.request(request))),
        }
    }

    fn id(&self, id: Id) -> String {
        match self.ids {
            Ids::Counter => format!("tid-{}", id.0),
            Ids::ShortUuid => short_uuid(&self.trace.session, id),
        }
    }

    fn reference(&self, id: Option<Id>) -> String {
        id.map(|id| self.id(id)).unwrap_or_default()
    }

    /// The name of a connection of TCP: that of HTTP/3 is none, and stands with the others of UDP.
    fn tcp_reference(&self, id: Option<Id>) -> String {
        self.reference(id.filter(|id| self.trace.udp_connection(*id).is_none()))
    }

    /// Whole milliseconds since the beginning of the trace; what was before is told by the clock
    /// on the wall.
    fn relative(&self, moment: Moment) -> String {
        if let Ok(nanoseconds) = u64::try_from(self.trace.relative(moment)) {
            return format!("+{}ms", nanoseconds / 1_000_000);
        }
        let before = self.trace.began_at.since(moment);
        self.absolute(self.trace.began_at_wall - before)
    }

    fn time(&self, moment: Option<Moment>) -> String {
        moment.map_or_else(|| UNDEFINED.to_owned(), |moment| self.relative(moment))
    }

    /// RFC 3339 with as many digits as there are, and the zone of this host.
    fn absolute(&self, time: Timestamp) -> String {
        format_time(&time.to_zoned(self.zone.clone()))
    }

    fn dial(&self, dial: &record::Dial) -> Dial {
        let abandoned = matches!(dial.outcome, record::DialOutcome::Abandoned { .. });
        let skipped = dial.skipped_nameservers.iter();
        Dial {
            trace_id: self.id(dial.id),
            dial_begin_at: self.relative(dial.began_at),
            // Nobody waited for its end, so for them it has none.
            dial_end_at: self.time(dial.ended_at.filter(|_| !abandoned)),
            dial_err: dial.outcome.error().map(|error| error.message.clone()).unwrap_or_default(),
            ctx_close_at: UNDEFINED.to_owned(),
            dst_address: dial.destination.clone(),
            resolver_dials: dial
                .resolver_dials
                .iter()
                .map(|dial| self.resolver_dial(dial))
                .collect(),
            skipped_nameservers: skipped.map(|skipped| skipped.nameserver.to_string()).collect(),
            source_ip: dial.source_ip.map(|ip| ip.to_string()).unwrap_or_default(),
            established_conn: self.reference(dial.outcome.connection()),
        }
    }

    fn resolver_dial(&self, dial: &record::ResolverDial) -> ResolverDial {
        ResolverDial {
            dial_begin_at: self.relative(dial.began_at),
            dial_end_at: self.time(dial.ended_at),
            dial_err: dial.error.as_ref().map(|error| error.message.clone()).unwrap_or_default(),
            nameserver: dial.nameserver.to_string(),
            established_conn: self.reference(dial.connection),
        }
    }

    fn tcp(&self, tcp: &record::TcpConnection) -> TcpConn {
        let ended_at = tcp.ended_at.filter(|_| !was_given_up(tcp.error.as_ref()));
        TcpConn {
            trace_id: self.id(tcp.id),
            from_dial: self.reference(tcp.dial),
            from_resolver: tcp.to_nameserver,
            handshake_begin_at: self.relative(tcp.began_at),
            handshake_end_at: self.time(ended_at),
            connected: tcp.connected,
            conn_close_at: self.time(tcp.closed_at),
            addr_tuple: tuple(&tcp.addresses),
            reused: tcp.from_earlier_trace,
            total_sent_bytes: tcp.sent_bytes,
            total_recv_bytes: tcp.received_bytes,
            conntrack: tcp.conntrack.as_deref().map(|entry| self.conntrack(entry)),
            socket_trace: tcp.operations.as_ref().map(|operations| self.operations(operations)),
        }
    }

    fn udp(&self, udp: &record::UdpConnection) -> UdpConn {
        UdpConn {
            trace_id: self.id(udp.id),
            from_dial: self.reference(udp.dial),
            from_resolver: udp.to_nameserver,
            socket_create_at: self.relative(udp.began_at),
            conn_close_at: self.time(udp.closed_at),
            addr_tuple: tuple(&udp.addresses),
            total_sent_bytes: udp.sent_bytes,
            total_recv_bytes: udp.received_bytes,
            conntrack: udp.conntrack.as_deref().map(|entry| self.conntrack(entry)),
            socket_trace: udp.operations.as_ref().map(|operations| self.operations(operations)),
        }
    }

    fn operations(&self, operations: &record::Operations) -> SocketTrace {
        let operations = operations.list.iter().map(|operation| SocketOp {
            kind: match operation.kind {
                OperationKind::Read => "read",
                OperationKind::Write => "write",
            },
            call_at: self.relative(operation.called_at),
            return_at: self.relative(operation.returned_at),
            return_err: operation.error.as_deref().unwrap_or_default().to_owned(),
            data_len: operation.bytes,
        });
        SocketTrace { socket_ops: list(operations) }
    }

    fn conntrack(&self, entry: &record::ConntrackEntry) -> Conntrack {
        Conntrack {
            captured_at: self.relative(entry.captured_at),
            status: conntrack_status(entry.status),
            tcp_state: entry.tcp_state.map(tcp_state).filter(|&state| state != "none"),
            mark: entry.mark,
            addr_orig: tuple(&entry.original),
            addr_reply: tuple(&entry.reply),
            packets_sent: entry.packets_sent,
            packets_recv: entry.packets_received,
            bytes_sent: entry.bytes_sent,
            bytes_recv: entry.bytes_received,
        }
    }

    fn dns(&self, exchange: &record::DnsExchange) -> DnsQuery {
        let queries = exchange.queries.iter().map(|query| DnsQueryMsg {
            sent_at: self.relative(query.sent_at),
            id: query.id,
            recursion_desired: query.recursion_desired,
            truncated: query.truncated,
            size: query.size,
            questions: list(query.questions.iter().map(|question| DnsQuestion {
                name: question.name.clone(),
                kind: record_type(question.record_type),
                class: question.class,
            })),
            opt_udp_payload_size: query.udp_payload_size.unwrap_or(0),
        });
        let replies = exchange.replies.iter().filter_map(|reply| {
            Some(DnsReplyMsg {
                recv_at: self.relative(reply.received_at),
                id: reply.id?,
                authoritative: reply.authoritative,
                recursion_available: reply.recursion_available,
                truncated: reply.truncated,
                size: reply.size,
                r_code: response_code(reply.response_code),
                answers: list(reply.answers.iter().filter_map(answer)),
            })
        });
        DnsQuery {
            trace_id: self.id(exchange.id),
            from_dial: self.reference(exchange.dial),
            connection: self.reference(exchange.connection),
            dns_query_msgs: list(queries),
            dns_reply_msgs: list(replies),
        }
    }

    fn tls(&self, tunnel: &record::TlsTunnel) -> TlsTunnel {
        let failed = tunnel.error.is_some();
        let refused = tunnel.refused_certificate.and_then(|index| usize::try_from(index).ok());
        let certificates = if failed {
            list(refused.and_then(|index| tunnel.certificates.get(index)).map(peer))
        } else {
            list(tunnel.certificates.iter().map(peer))
        };
        TlsTunnel {
            trace_id: self.id(tunnel.id),
            tcp_conn: self.tcp_reference(tunnel.connection),
            handshake_begin_at: self.relative(tunnel.began_at),
            handshake_end_at: self.time(tunnel.ended_at),
            handshake_err: tunnel
                .error
                .as_ref()
                .map(|error| error.message.clone())
                .unwrap_or_default(),
            did_resume: tunnel.resumed,
            peer_certs: certificates,
            cipher_suite: tunnel.cipher_suite.filter(|_| !failed).unwrap_or(0),
            negotiated_proto: tunnel.protocol.clone().filter(|_| !failed).unwrap_or_default(),
            server_name: tunnel.server_name.clone().filter(|_| !failed).unwrap_or_default(),
        }
    }

    fn request(&self, request: &record::HttpRequest) -> HttpRequest {
        let dial = || request.dial.and_then(|dial| self.trace.dial(dial));
        let connection = request.connection.or_else(|| dial()?.outcome.connection());
        let tunnel = |role| {
            let of_it = |tunnel: &&record::TlsTunnel| {
                tunnel.request == Some(request.id)
                    && tunnel.role == role
                    && tunnel.ended_at.is_some()
                    && !was_given_up(tunnel.error.as_ref())
            };
            let tunnel = self.trace.tls.iter().map(|tunnel| &**tunnel).rfind(of_it);
            self.reference(tunnel.map(|tunnel| tunnel.id))
        };
        let (major, minor) = match request.version.as_deref().filter(|_| request.status.is_some()) {
            Some("HTTP/2") => (2, 0),
            Some("HTTP/3") => (3, 0),
            Some("HTTP/1.0") => (1, 0),
            // A request that a redirect asks for says no version itself.
            None if request.via.is_some() => (0, 0),
            _ => (1, 1),
        };
        let response = request.response.as_ref();
        HttpRequest {
            trace_id: self.id(request.id),
            tcp_conn: self.tcp_reference(connection),
            tls_tunnel: tunnel(TlsRole::Server),
            proxy_tls_tunnel: tunnel(TlsRole::Proxy),
            proto_major: major,
            proto_minor: minor,
            network_proxy: request.proxy.clone().unwrap_or_default(),
            req_sent_at: self.relative(request.phases.queued_at),
            req_method: request.method.to_string(),
            req_url: request.url.to_string(),
            req_header: request.request.headers.iter().map(header).collect(),
            req_content_len: request.request.body_bytes,
            req_error: request
                .error
                .as_ref()
                .map(|error| error.message.clone())
                .unwrap_or_default(),
            resp_recv_at: self.time(request.phases.headers_at),
            resp_status_code: request.status.unwrap_or(0),
            resp_header: response.map_or_else(Vec::new, |response| {
                response.headers.iter().filter(is_kept).map(header).collect()
            }),
            resp_content_len: response.map_or(0, |response| response.body_bytes),
        }
    }
}

fn peer(certificate: &record::Certificate) -> PeerCert {
    let time = |time: Option<Timestamp>| {
        time.map_or_else(|| UNDEFINED.to_owned(), |time| format_time(&time.to_zoned(TimeZone::UTC)))
    };
    PeerCert {
        subject: certificate.subject.clone(),
        issuer: certificate.issuer.clone(),
        not_before: time(certificate.not_before),
        not_after: time(certificate.not_after),
        is_ca: certificate.is_ca,
    }
}

fn has_replies(exchange: &record::DnsExchange) -> bool {
    exchange.replies.iter().any(|reply| reply.id.is_some())
}

/// What nobody waited for has, for nettrace, no end.
fn was_given_up(error: Option<&record::Failure>) -> bool {
    error.is_some_and(|error| error.kind == FailureKind::Canceled)
}

/// Whether the original's client gives a header of a response to its caller: those that are about
/// the connection and the framing alone it keeps to itself.
fn is_kept(header: &record::Header) -> bool {
    let closes = header.value.as_ref().is_none_or(|value| value.eq_ignore_ascii_case("close"));
    match header.name.as_str() {
        "Transfer-Encoding" | "Trailer" => false,
        "Connection" => !closes,
        _ => true,
    }
}

fn header(header: record::Header) -> shape::Header {
    shape::Header {
        field_name: header.name,
        field_val: header.value.unwrap_or_default(),
        field_val_len: header.length.unwrap_or(0),
    }
}

fn tuple(addresses: &record::AddressTuple) -> AddrTuple {
    let unbound = if addresses.destination.is_ipv4() { "0.0.0.0" } else { "::" };
    AddrTuple {
        src_ip: addresses
            .source
            .map_or_else(|| unbound.to_owned(), |source| source.ip().to_string()),
        src_port: addresses.source.map_or(0, |source| source.port()),
        dst_ip: addresses.destination.ip().to_string(),
        dst_port: addresses.destination.port(),
    }
}

/// The types whose values nettrace knows; it leaves the others out.
fn answer(answer: &record::DnsAnswer) -> Option<DnsAnswer> {
    const A: u16 = 1;
    const NS: u16 = 2;
    const CNAME: u16 = 5;
    const PTR: u16 = 12;
    const MX: u16 = 15;
    const AAAA: u16 = 28;
    if answer.section != DnsSection::Answer {
        return None;
    }
    let value = match answer.record_type {
        A | NS | CNAME | PTR | AAAA => answer.value.as_str(),
        MX => answer.value.split_once(' ').map_or(answer.value.as_str(), |(_, host)| host),
        _ => return None,
    };
    Some(DnsAnswer {
        name: answer.name.clone(),
        kind: record_type(answer.record_type),
        class: answer.class,
        ttl: answer.ttl,
        resolved_val: value.to_owned(),
    })
}

fn format_time(time: &Zoned) -> String {
    let mut text = time.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    let nanoseconds = time.subsec_nanosecond();
    if nanoseconds != 0 {
        let digits = format!("{nanoseconds:09}");
        text.push('.');
        text.push_str(digits.trim_end_matches('0'));
    }
    if time.offset().is_zero() {
        text.push('Z');
    } else {
        text.push_str(&time.strftime("%:z").to_string());
    }
    text
}

/// As many characters as a UUID takes in base 57, without those that look alike. The same record
/// has the same name in each trace.
fn short_uuid(session: &str, id: Id) -> String {
    const ALPHABET: &[u8; 57] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut hash = Sha256::new();
    hash.update(session.as_bytes());
    hash.update(id.0.to_be_bytes());
    let digest = hash.finalize();
    let mut number = digest.iter().take(16).fold(0, |number, byte| number << 8 | u128::from(*byte));
    let digits = (0..22).map(|_| {
        let digit = usize::try_from(number % 57).unwrap_or(0);
        number /= 57;
        char::from(ALPHABET.get(digit).copied().unwrap_or(b'2'))
    });
    digits.collect()
}
