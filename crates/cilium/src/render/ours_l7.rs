//! What proxies saw, in our own JSON.

use super::l7::{number, put_dns_address, put_list, put_object, put_texts, text, without_password};
use crate::{
    log_record::{Dns, Endpoint, Generic, Headers, Http, Kafka, LogRecord},
    style::Style,
    tables::dns_types::dns_type,
    text::{put, put_json, put_json_text, put_number},
};

/// Appends the members of a record.
pub(super) fn put_record(record: &LogRecord, out: &mut Vec<u8>) {
    text(out, ",\"kind\":", &record.kind);
    put(out, ",\"seen\":");
    put_text_or_null(out, &record.time);
    put(out, ",\"direction\":");
    match record.observation_point.as_str() {
        "Ingress" => put(out, "\"ingress\""),
        "Egress" => put(out, "\"egress\""),
        other => put_text_or_null(out, other),
    }
    text(out, ",\"verdict\":", &record.verdict);
    put(out, ",\"transport_protocol\":");
    match record.transport_protocol {
        Some(protocol) => put_number(out, protocol),
        None => put(out, "null"),
    }
    for (key, end) in [(",\"source\":", &record.source), (",\"destination\":", &record.destination)]
    {
        put(out, key);
        put_end(out, end);
    }
    text(out, ",\"protocol\":", record.protocol());
    put(out, ",\"http\":");
    put_or_null(out, record.http.as_ref(), put_http);
    put(out, ",\"kafka\":");
    put_or_null(out, record.kafka.as_ref(), put_kafka);
    put(out, ",\"dns\":");
    put_or_null(out, record.dns.as_ref(), put_dns);
    put(out, ",\"generic\":");
    put_or_null(out, record.generic.as_ref(), put_generic);
}

fn put_or_null<T>(out: &mut Vec<u8>, value: Option<&T>, write: impl FnOnce(&mut Vec<u8>, &T)) {
    match value {
        Some(value) => write(out, value),
        None => put(out, "null"),
    }
}

fn put_text_or_null(out: &mut Vec<u8>, text: &str) {
    if text.is_empty() { put(out, "null") } else { put_json_text(out, text) }
}

fn put_end(out: &mut Vec<u8>, end: &Endpoint) {
    number(out, "{\"endpoint\":", end.id);
    number(out, ",\"identity\":", end.identity);
    put(out, ",\"ipv4\":");
    put_text_or_null(out, &end.ipv4);
    put(out, ",\"ipv6\":");
    put_text_or_null(out, &end.ipv6);
    number(out, ",\"port\":", end.port);
    put(out, ",\"labels\":");
    put_texts(out, &end.labels);
    out.push(b'}');
}

fn put_http(out: &mut Vec<u8>, http: &Http) {
    number(out, "{\"code\":", http.code);
    text(out, ",\"method\":", &http.method);
    put(out, ",\"url\":");
    match &http.url {
        Some(url) => put_json_text(out, &without_password(url)),
        None => put(out, "null"),
    }
    text(out, ",\"protocol\":", &http.protocol);
    for (key, headers) in [
        (",\"headers\":", &http.headers),
        (",\"missing_headers\":", &http.missing_headers),
        (",\"rejected_headers\":", &http.rejected_headers),
    ] {
        put(out, key);
        put_headers(out, headers.as_ref());
    }
    out.push(b'}');
}

fn put_headers(out: &mut Vec<u8>, headers: Option<&Headers>) {
    put_object(out, headers.into_iter().flatten(), |out, values| put_texts(out, values));
}

fn put_kafka(out: &mut Vec<u8>, kafka: &Kafka) {
    number(out, "{\"error_code\":", kafka.error_code);
    number(out, ",\"api_version\":", kafka.api_version);
    text(out, ",\"api_key\":", &kafka.api_key);
    number(out, ",\"correlation_id\":", kafka.correlation_id);
    text(out, ",\"topic\":", &kafka.topic);
    out.push(b'}');
}

fn put_dns(out: &mut Vec<u8>, dns: &Dns) {
    let put_type = |out: &mut Vec<u8>, number: &u16| match dns_type(*number) {
        Some(name) => put_json_text(out, name),
        None => put_json(out, |out| put_number(out, *number)),
    };
    text(out, "{\"query\":", &dns.query);
    put(out, ",\"query_types\":");
    put_list(out, &dns.query_types, put_type);
    put(out, ",\"addresses\":");
    put_list(out, &dns.addresses, |out, address| {
        put_json(out, |out| put_dns_address(out, address, Style::Netglass(None)));
    });
    number(out, ",\"ttl\":", dns.ttl);
    put(out, ",\"cnames\":");
    put_texts(out, &dns.cnames);
    put(out, ",\"observation_source\":");
    put_text_or_null(out, &dns.observation_source);
    number(out, ",\"response_code\":", dns.response_code);
    put(out, ",\"answer_types\":");
    put_list(out, &dns.answer_types, put_type);
    out.push(b'}');
}

fn put_generic(out: &mut Vec<u8>, generic: &Generic) {
    text(out, "{\"name\":", &generic.protocol);
    put(out, ",\"fields\":");
    put_object(out, generic.fields.iter().flatten(), |out, value| put_json_text(out, value));
    out.push(b'}');
}
