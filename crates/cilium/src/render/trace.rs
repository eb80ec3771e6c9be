//! Packets that were seen.

use super::{Level, Renderer, SEPARATOR, kernel, put_cpu};
use crate::{
    event::Event,
    notification::TraceNotify,
    style::Style,
    text::{put, put_ipv4, put_ipv6, put_json, put_number, put_prefixed_hexadecimal},
};

/// Where the bit that says encrypted stands.
const ENCRYPTED: u8 = 0x80;
const TO_ENDPOINT: u8 = 0;
const TO_PROXY: u8 = 1;
const FROM_ENDPOINT: u8 = 5;

/// The name of an observation point, and what it is called in a line.
const fn observation_point(number: u8) -> Option<(&'static str, &'static str)> {
    Some(match number {
        TO_ENDPOINT => ("to-endpoint", "-> endpoint "),
        TO_PROXY => ("to-proxy", "-> proxy"),
        2 => ("to-host", "-> host from"),
        3 => ("to-stack", "-> stack"),
        4 => ("to-overlay", "-> overlay"),
        FROM_ENDPOINT => ("from-endpoint", "<- endpoint "),
        6 => ("from-proxy", "<- proxy"),
        7 => ("from-host", "<- host"),
        8 => ("from-stack", "<- stack"),
        9 => ("from-overlay", "<- overlay"),
        10 => ("from-network", "<- network"),
        11 => ("to-network", "-> network"),
        12 => ("from-crypto", "<- crypto"),
        13 => ("to-crypto", "-> crypto"),
        _ => return None,
    })
}

/// The highest observation point that 1.5 knows.
const LAST_OF_1_5: u8 = 9;

fn point(number: u8, style: Style) -> Option<(&'static str, &'static str)> {
    observation_point(number).filter(|_| !(style.is_1_5() && number > LAST_OF_1_5))
}

/// Appends the name of an observation point.
pub(super) fn put_point(out: &mut Vec<u8>, number: u8, style: Style) {
    match point(number, style) {
        Some((name, _)) => put(out, name),
        None => put_number(out, number),
    }
}

/// Appends the state of a connection.
pub(super) fn put_state(out: &mut Vec<u8>, reason: u8, style: Style) {
    const STATES: [&str; 9] = [
        "new",
        "established",
        "reply",
        "related",
        "reopened",
        "unknown",
        "srv6-encap",
        "srv6-decap",
        "encrypt-overlay",
    ];
    let (known, number) = if style.is_1_5() { (4, reason) } else { (9, reason & !ENCRYPTED) };
    match STATES.iter().take(known).nth(usize::from(number)) {
        Some(state) => put(out, state),
        None => put_number(out, reason),
    }
}

/// Whether a packet is encrypted.
pub(super) const fn is_encrypted(reason: u8) -> bool {
    reason & ENCRYPTED != 0
}

/// Appends in which direction a packet goes, and between what.
pub(super) fn put_summary(out: &mut Vec<u8>, trace: &TraceNotify<'_>, style: Style) {
    let Some((_, summary)) = point(trace.observation_point, style) else {
        put(out, "unknown trace");
        return;
    };
    // That is what Cilium says of packets to the host, without saying from where.
    put(out, if style.is_ours() { summary.trim_end_matches(" from") } else { summary });
    match trace.observation_point {
        TO_ENDPOINT => put_number(out, trace.destination),
        FROM_ENDPOINT => put_number(out, trace.source),
        TO_PROXY if !style.is_1_5() && trace.destination > 0 => {
            put(out, " port ");
            put_number(out, trace.destination);
        }
        _ => {}
    }
}

impl Renderer {
    pub(super) fn trace(&mut self, event: &Event<'_>, trace: &TraceNotify<'_>, out: &mut Vec<u8>) {
        match self.options.level {
            Level::Info | Level::Debug => self.trace_info(event, trace, out),
            Level::Verbose => self.trace_verbose(event, trace, out),
            Level::Json => self.trace_json(event, trace, out),
        }
    }

    fn trace_info(&mut self, event: &Event<'_>, trace: &TraceNotify<'_>, out: &mut Vec<u8>) {
        let style = self.options.style;
        self.put_time(event, out);
        put_summary(out, trace, style);
        if !style.is_1_5() && is_encrypted(trace.reason) {
            put(out, " encrypted");
            put(out, if style.is_ours() { "" } else { " " });
        }
        put(out, " flow ");
        put_prefixed_hexadecimal(out, trace.hash);
        if let Some(facts) = &trace.kernel {
            kernel::put_place(out, facts, trace.interface);
            put(out, ": ");
            self.connection(&trace.captured, out);
            out.push(b'\n');
            return;
        }
        put(out, if style.is_1_20() { " , " } else { " " });
        self.put_identities(out, trace.source_identity, trace.destination_identity);
        if !style.is_1_5()
            && let Some(trace_id) = trace.trace_id.filter(|id| *id > 0)
        {
            put(out, " [ ip-trace-id = ");
            put_number(out, trace_id);
            put(out, " ]");
        }
        put(out, " state ");
        put_state(out, trace.reason, style);
        put(out, " ifindex ");
        self.put_interface(out, trace.interface);
        if self.has_original(trace) {
            put(out, " orig-ip ");
            put_original(out, trace);
        }
        put(out, ": ");
        self.connection(&trace.captured, out);
        out.push(b'\n');
    }

    /// Whether the address before it was translated is shown: 1.20 always does.
    fn has_original(&self, trace: &TraceNotify<'_>) -> bool {
        match self.options.style {
            Style::V1_5 => false,
            Style::V1_20 => true,
            Style::Netglass(_) => trace.original_address.is_some_and(|address| address != [0; 16]),
        }
    }

    fn trace_verbose(&mut self, event: &Event<'_>, trace: &TraceNotify<'_>, out: &mut Vec<u8>) {
        let style = self.options.style;
        put(out, SEPARATOR);
        self.put_time(event, out);
        put_cpu(out, event.cpu);
        put(out, " MARK ");
        put_prefixed_hexadecimal(out, trace.hash);
        if !style.is_1_5()
            && let Some(trace_id) = trace.trace_id.filter(|id| *id > 0)
        {
            put(out, " [ IP-TRACE-ID = ");
            put_number(out, trace_id);
            put(out, " ]");
        }
        put(out, " FROM ");
        put_number(out, trace.source);
        out.push(b' ');
        put_point(out, trace.observation_point, style);
        put(out, ": ");
        put_number(out, trace.captured.original_length);
        put(out, " bytes (");
        put_number(out, trace.captured.captured_length);
        put(out, " captured)");
        if let Some(facts) = &trace.kernel {
            kernel::put_place(out, facts, trace.interface);
            out.push(b'\n');
            self.packet(&trace.captured, self.options.hex, out);
            return;
        }
        put(out, ", state ");
        put_state(out, trace.reason, style);
        if style.is_ours() && is_encrypted(trace.reason) {
            put(out, ", encrypted");
        }
        if trace.interface > 0 {
            put(out, ", interface ");
            self.put_interface(out, trace.interface);
        }
        if trace.source_identity > 0 || trace.destination_identity > 0 {
            put(out, if style.is_1_20() { ", , " } else { ", " });
            self.put_identities(out, trace.source_identity, trace.destination_identity);
        }
        if self.has_original(trace) {
            put(out, ", orig-ip ");
            put_original(out, trace);
        }
        if trace.destination > 0 {
            let is_proxy = trace.observation_point == TO_PROXY && !style.is_1_5();
            put(out, if is_proxy { ", to proxy-port " } else { ", to endpoint " });
            put_number(out, trace.destination);
        }
        out.push(b'\n');
        if trace.captured.captured_length > 0 && !trace.captured.rest.is_empty() {
            self.packet(&trace.captured, self.options.hex, out);
        }
    }

    fn trace_json(&mut self, event: &Event<'_>, trace: &TraceNotify<'_>, out: &mut Vec<u8>) {
        let style = self.options.style;
        put(out, "{\"cpu\":\"");
        put_cpu(out, event.cpu);
        put(out, "\",\"type\":\"trace\",\"mark\":\"");
        put_prefixed_hexadecimal(out, trace.hash);
        put(out, "\",\"ifindex\":");
        put_json(out, |out| self.put_interface(out, trace.interface));
        put(out, ",\"state\":\"");
        put_state(out, trace.reason, style);
        put(out, "\",\"observationPoint\":\"");
        put_point(out, trace.observation_point, style);
        put(out, "\",\"traceSummary\":");
        put_json(out, |out| put_summary(out, trace, style));
        put(out, ",\"source\":");
        put_number(out, trace.source);
        put(out, ",\"bytes\":");
        put_number(out, trace.captured.original_length);
        put(out, ",\"srcLabel\":");
        put_number(out, trace.source_identity);
        put(out, ",\"dstLabel\":");
        put_number(out, trace.destination_identity);
        put(out, ",\"dstID\":");
        put_number(out, trace.destination);
        if style.is_1_20() {
            put(out, ",\"IpTraceID\":");
            put_number(out, trace.trace_id.unwrap_or_default());
        }
        self.summary(&trace.captured, out);
        put(out, "}\n");
    }
}

/// Appends the address before it was translated: those of IPv6 are shown as such, whatever they stand for.
pub(super) fn put_original(out: &mut Vec<u8>, trace: &TraceNotify<'_>) {
    let address = trace.original_address.unwrap_or_default();
    put_flagged_address(out, address, trace.captured.flags.ipv6);
}

/// Appends an address that is one of IPv6, or one of IPv4 in the first four bytes.
pub(super) fn put_flagged_address(out: &mut Vec<u8>, address: [u8; 16], is_ipv6: bool) {
    if is_ipv6 {
        match crate::text::mapped_ipv4(address) {
            Some(mapped) => {
                put(out, "::ffff:");
                put_ipv4(out, mapped);
            }
            None => put_ipv6(out, address),
        }
    } else {
        let [a, b, c, d, ..] = address;
        put_ipv4(out, [a, b, c, d]);
    }
}
