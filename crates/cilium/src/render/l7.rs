//! What proxies saw.

use super::{Level, Renderer};
use crate::{
    event::Event,
    log_record::{Dns, Endpoint, Generic, Headers, Http, LogRecord, Url},
    style::Style,
    tables::dns_types::{dns_type, is_newer_than_1_5},
    text::{mapped_ipv4, put, put_ipv4, put_ipv6, put_json, put_json_text, put_number},
};

impl Renderer {
    pub(super) fn l7(&mut self, event: &Event<'_>, record: &LogRecord, out: &mut Vec<u8>) {
        if self.options.level == Level::Json {
            put_json_record(out, record, self.options.style);
        } else {
            self.put_time(event, out);
            self.put_record(record, out);
        }
    }

    /// Appends a line of text. Those of Cilium have no end where nothing is told of a protocol, and one
    /// for each of which something is told.
    fn put_record(&self, record: &LogRecord, out: &mut Vec<u8>) {
        let style = self.options.style;
        let is_answer = record.kind == "Response";
        if is_answer || record.kind == "Request" || style.is_ours() {
            put(
                out,
                match record.observation_point.as_str() {
                    "Ingress" => "<- ",
                    "Egress" => "-> ",
                    _ => "?? ",
                },
            );
            put(out, &record.kind);
            out.push(b' ');
            put(out, record.protocol());
            put_ends(out, record, is_answer, style);
            put(out, ", identity ");
            put_number(out, record.source.identity);
            put(out, "->");
            put_number(out, record.destination.identity);
            put(out, ", verdict ");
            put(out, &record.verdict);
        }
        let end = if style.is_ours() { "" } else { "\n" };
        if let Some(http) = &record.http {
            out.push(b' ');
            put(out, &http.method);
            out.push(b' ');
            put_url(out, http, style);
            put(out, " => ");
            put_number(out, http.code);
            put(out, end);
        }
        if let Some(kafka) = record.kafka.as_ref().filter(|_| !style.is_1_20()) {
            out.push(b' ');
            put(out, &kafka.api_key);
            put(out, " topic ");
            put(out, &kafka.topic);
            put(out, " => ");
            put_number(out, kafka.error_code);
            put(out, end);
        }
        if let Some(dns) = &record.dns {
            put_dns(out, dns, &record.kind, style);
            put(out, end);
        }
        if let Some(generic) = &record.generic {
            put_generic(out, generic);
            put(out, end);
        }
        if style.is_ours() {
            out.push(b'\n');
        }
    }
}

/// Appends who asked whom. Of answers, 1.5 takes the ends for each other.
fn put_ends(out: &mut Vec<u8>, record: &LogRecord, is_answer: bool, style: Style) {
    let (source, destination) = (&record.source, &record.destination);
    if is_answer {
        let (to, from) = if style.is_1_5() { (source, destination) } else { (destination, source) };
        put(out, " to ");
        put_end(out, to);
        put(out, " from ");
        put_end(out, from);
    } else {
        put(out, " from ");
        put_end(out, source);
        put(out, " to ");
        put_end(out, destination);
    }
}

fn put_end(out: &mut Vec<u8>, end: &Endpoint) {
    put_number(out, end.id);
    put(out, " ([");
    for (index, label) in end.labels.iter().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        put(out, label);
    }
    put(out, "])");
}

/// Appends a URL. Ours is without the password that it may hold.
fn put_url(out: &mut Vec<u8>, http: &Http, style: Style) {
    let Some(url) = &http.url else { return };
    if style.is_ours() { put(out, &without_password(url)) } else { put(out, url) }
}

/// A URL whose password is not told.
pub(super) fn without_password(url: &str) -> std::borrow::Cow<'_, str> {
    let authority = url.find("//").map_or(url.len(), |start| start + 2);
    let rest = url.get(authority..).unwrap_or_default();
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let user = rest.get(..end).and_then(|it| it.rsplit_once('@')).map(|(user, _)| user);
    match user.and_then(|user| user.split_once(':')) {
        Some((name, password)) => {
            let start = authority + name.len() + 1;
            let behind = url.get(start + password.len()..).unwrap_or_default();
            format!("{}xxxxx{behind}", url.get(..start).unwrap_or_default()).into()
        }
        None => url.into(),
    }
}

fn put_dns(out: &mut Vec<u8>, dns: &Dns, kind: &str, style: Style) {
    let is_answer = kind == "Response";
    if !is_answer && kind != "Request" && !style.is_ours() {
        return;
    }
    put(out, " DNS ");
    match style {
        Style::V1_5 if is_answer && dns.observation_source == "agent-poller" => put(out, "Poll"),
        Style::V1_5 => put(out, "Query"),
        _ => put(out, &dns.observation_source),
    }
    put(out, ": ");
    put(out, &dns.query);
    out.push(b' ');
    for (index, number) in dns.query_types.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let is_known = !(style.is_1_5() && is_newer_than_1_5(*number));
        put(out, dns_type(*number).filter(|_| is_known).unwrap_or_default());
    }
    if !is_answer {
        return;
    }
    put(out, " TTL: ");
    put_number(out, dns.ttl);
    put(out, " Answer: '");
    for (index, address) in dns.addresses.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        put_dns_address(out, address, style);
    }
    out.push(b'\'');
    if !dns.cnames.is_empty() {
        put(out, " CNAMEs: ");
        put(out, &dns.cnames.join(","));
    }
}

/// Appends an address of an answer; 1.5 shows one that stands for an IPv4 address as that.
pub(super) fn put_dns_address(out: &mut Vec<u8>, address: &[u8], style: Style) {
    if let Ok(address) = <[u8; 4]>::try_from(address) {
        put_ipv4(out, address);
        return;
    }
    let Some((address, zone)) = address.split_first_chunk::<16>() else {
        if address.is_empty() {
            put(out, if style.is_1_5() { "<nil>" } else { "invalid IP" });
        } else {
            out.push(b'?');
            crate::text::put_bytes(out, address);
        }
        return;
    };
    match mapped_ipv4(*address) {
        Some(mapped) => {
            put(out, if style.is_1_5() { "" } else { "::ffff:" });
            put_ipv4(out, mapped);
        }
        None => put_ipv6(out, *address),
    }
    if !zone.is_empty() {
        out.push(b'%');
        out.extend_from_slice(zone);
    }
}

fn put_generic(out: &mut Vec<u8>, generic: &Generic) {
    let fields = generic.fields.iter().flatten();
    for (key, value) in fields.clone().filter(|(key, _)| *key != "status") {
        out.push(b' ');
        put(out, key);
        out.push(b':');
        put(out, value);
    }
    for (_, status) in fields.filter(|(key, status)| *key == "status" && !status.is_empty()) {
        put(out, " => status:");
        put(out, status);
    }
}

fn put_json_record(out: &mut Vec<u8>, record: &LogRecord, style: Style) {
    put(out, "{\"type\":\"logRecord\"");
    text(out, ",\"observationPoint\":", &record.observation_point);
    text(out, ",\"flowType\":", &record.kind);
    text(out, ",\"l7Proto\":", record.protocol());
    let ends = [
        (&record.source, [",\"srcEpID\":", ",\"srcEpLabels\":", ",\"srcIdentity\":"]),
        (&record.destination, [",\"dstEpID\":", ",\"dstEpLabels\":", ",\"dstIdentity\":"]),
    ];
    for (end, [id, labels, identity]) in ends {
        number(out, id, end.id);
        put(out, labels);
        if end.labels.is_empty() && style.is_1_5() {
            put(out, "null");
        } else {
            put_texts(out, &end.labels);
        }
        number(out, identity, end.identity);
    }
    text(out, ",\"verdict\":", &record.verdict);
    if let Some(http) = &record.http {
        put_json_http(out, http, style);
    }
    if let Some(kafka) = record.kafka.as_ref().filter(|_| style.is_1_5()) {
        number(out, ",\"kafka\":{\"ErrorCode\":", kafka.error_code);
        number(out, ",\"APIVersion\":", kafka.api_version);
        text(out, ",\"APIKey\":", &kafka.api_key);
        number(out, ",\"CorrelationID\":", kafka.correlation_id);
        put(out, ",\"Topic\":{");
        if !kafka.topic.is_empty() {
            text(out, "\"Topic\":", &kafka.topic);
        }
        put(out, "}}");
    }
    if let Some(dns) = &record.dns {
        put_json_dns(out, dns, style);
    }
    if let Some(generic) = &record.generic {
        put(out, ",\"l7\":{");
        if !generic.protocol.is_empty() {
            text(out, "\"Proto\":", &generic.protocol);
            out.push(b',');
        }
        put(out, "\"Fields\":");
        match &generic.fields {
            None => put(out, "null"),
            Some(fields) => put_object(out, fields.iter(), |out, value| put_json_text(out, value)),
        }
        out.push(b'}');
    }
    put(out, "}\n");
}

fn put_json_http(out: &mut Vec<u8>, http: &Http, style: Style) {
    number(out, ",\"http\":{\"Code\":", http.code);
    text(out, ",\"Method\":", &http.method);
    put(out, ",\"URL\":");
    match &http.url {
        None => put(out, "null"),
        Some(url) => put_json_url(out, &Url::parse(url), style),
    }
    text(out, ",\"Protocol\":", &http.protocol);
    put(out, ",\"Headers\":");
    put_headers(out, http.headers.as_ref());
    if !style.is_1_5() {
        put(out, ",\"MissingHeaders\":");
        put_headers(out, http.missing_headers.as_ref());
        put(out, ",\"RejectedHeaders\":");
        put_headers(out, http.rejected_headers.as_ref());
    }
    out.push(b'}');
}

/// Appends a URL in its parts, in the order of the Go version that built the release.
fn put_json_url(out: &mut Vec<u8>, url: &Url, style: Style) {
    text(out, "{\"Scheme\":", &url.scheme);
    text(out, ",\"Opaque\":", &url.opaque);
    put(out, if url.has_user { ",\"User\":{}" } else { ",\"User\":null" });
    text(out, ",\"Host\":", &url.host);
    text(out, ",\"Path\":", &url.path);
    if style.is_1_5() {
        text(out, ",\"RawPath\":", &url.raw_path);
        truth(out, ",\"OmitHost\":", url.omits_host);
        truth(out, ",\"ForceQuery\":", url.forces_query);
        text(out, ",\"RawQuery\":", &url.raw_query);
        text(out, ",\"Fragment\":", &url.fragment);
        text(out, ",\"RawFragment\":", &url.raw_fragment);
    } else {
        text(out, ",\"Fragment\":", &url.fragment);
        text(out, ",\"RawQuery\":", &url.raw_query);
        text(out, ",\"RawPath\":", &url.raw_path);
        text(out, ",\"RawFragment\":", &url.raw_fragment);
        truth(out, ",\"ForceQuery\":", url.forces_query);
        truth(out, ",\"OmitHost\":", url.omits_host);
    }
    out.push(b'}');
}

fn put_json_dns(out: &mut Vec<u8>, dns: &Dns, style: Style) {
    put(out, ",\"dns\":{");
    let start = out.len();
    if !dns.query.is_empty() {
        text(out, ",\"Query\":", &dns.query);
    }
    if !dns.addresses.is_empty() {
        put(out, ",\"IPs\":");
        put_list(out, &dns.addresses, |out, address| {
            put_json(out, |out| {
                if !address.is_empty() {
                    put_dns_address(out, address, style);
                }
            });
        });
    }
    if dns.ttl > 0 {
        number(out, ",\"TTL\":", dns.ttl);
    }
    if !dns.cnames.is_empty() {
        put(out, ",\"CNAMEs\":");
        put_texts(out, &dns.cnames);
    }
    if !dns.observation_source.is_empty() {
        text(out, ",\"ObservationSource\":", &dns.observation_source);
    }
    if dns.response_code != 0 {
        number(out, ",\"RCode\":", dns.response_code);
    }
    for (key, types) in
        [(",\"QTypes\":", &dns.query_types), (",\"AnswerTypes\":", &dns.answer_types)]
    {
        if !types.is_empty() {
            put(out, key);
            put_list(out, types, |out, number| put_number(out, *number));
        }
    }
    // The first member needs no comma.
    if out.len() > start {
        out.remove(start);
    }
    out.push(b'}');
}

fn put_headers(out: &mut Vec<u8>, headers: Option<&Headers>) {
    match headers {
        None => put(out, "null"),
        Some(headers) => put_object(out, headers.iter(), |out, values| put_texts(out, values)),
    }
}

/// Appends a key and a text.
pub(super) fn text(out: &mut Vec<u8>, key: &str, value: &str) {
    put(out, key);
    put_json_text(out, value);
}

/// Appends a key and a number.
pub(super) fn number(out: &mut Vec<u8>, key: &str, value: impl TryInto<i128>) {
    put(out, key);
    put_number(out, value);
}

/// Appends a key and whether it is true.
pub(super) fn truth(out: &mut Vec<u8>, key: &str, value: bool) {
    put(out, key);
    put(out, if value { "true" } else { "false" });
}

/// Appends a list.
pub(super) fn put_list<T>(out: &mut Vec<u8>, values: &[T], element: impl Fn(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        element(out, value);
    }
    out.push(b']');
}

/// Appends a list of texts.
pub(super) fn put_texts(out: &mut Vec<u8>, values: &[String]) {
    put_list(out, values, |out, value| put_json_text(out, value));
}

/// Appends an object.
pub(super) fn put_object<'a, T: 'a>(
    out: &mut Vec<u8>,
    members: impl Iterator<Item = (&'a String, &'a T)>,
    value: impl Fn(&mut Vec<u8>, &T),
) {
    out.push(b'{');
    for (index, (key, member)) in members.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        put_json_text(out, key);
        out.push(b':');
        value(out, member);
    }
    out.push(b'}');
}
