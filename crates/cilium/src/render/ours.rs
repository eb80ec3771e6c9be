//! Our own JSON: for every event one object with the keys that its type always has, `null` where a
//! release does not tell. The schema is documented in docs/monitor-schema.md.

use super::{
    Renderer,
    agent::put_kind,
    drop::{file_name, put_reason},
    kernel::ours_kernel,
    l7::{number, text},
    recorder, trace, trace_sock, verdict,
};
use crate::{
    agent::AgentNotify,
    decode::DecodeError,
    event::{Event, MessageType},
    kernel_facts::KernelFacts,
    notification::{
        DebugCapture, DebugMessage, DropNotify, Notification, PolicyVerdictNotify, RecorderCapture,
        TraceNotify, TraceSockNotify,
    },
    tables::identities::identity,
    text::{put, put_byte, put_json, put_json_text, put_number},
};

/// The version of the schema. New keys can come with the same one.
const VERSION: u8 = 1;

impl Renderer {
    pub(super) fn ours(&mut self, event: &Event<'_>, it: &Notification<'_>, out: &mut Vec<u8>) {
        self.ours_begin(event, it.kind().name(), out);
        match it {
            Notification::Drop(it) => self.ours_drop(it, out),
            Notification::Trace(it) => self.ours_trace(it, out),
            Notification::Capture(it) => self.ours_capture(it, out),
            Notification::Debug(it) => self.ours_debug(it, out),
            Notification::PolicyVerdict(it) => self.ours_verdict(it, out),
            Notification::Recorder(it) => self.ours_recorder(it, out),
            Notification::TraceSock(it) => ours_sock(it, out),
            Notification::L7(it) => super::ours_l7::put_record(it, out),
            Notification::Agent(it) => self.ours_agent(it, out),
        }
        put(out, "}\n");
    }

    pub(super) fn ours_lost(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        self.ours_begin(event, "lost", out);
        number(out, ",\"lost\":", event.lost);
        put(out, "}\n");
    }

    pub(super) fn ours_unknown_payload(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        self.ours_begin(event, "unknown-payload", out);
        number(out, ",\"payload_type\":", event.payload_type);
        number(out, ",\"lost\":", event.lost);
        put(out, ",\"data\":\"");
        put_hex(out, event.data);
        put(out, "\"}\n");
    }

    pub(super) fn ours_unknown_type(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        self.ours_begin(event, "unknown", out);
        number(out, ",\"message_type\":", event.data.first().copied().unwrap_or_default());
        put(out, ",\"data\":\"");
        put_hex(out, event.data);
        put(out, "\"}\n");
    }

    pub(super) fn ours_malformed(
        &mut self,
        event: &Event<'_>,
        kind: Option<MessageType>,
        error: &DecodeError,
        out: &mut Vec<u8>,
    ) {
        self.ours_begin(event, "malformed", out);
        put(out, ",\"message_type\":");
        match kind {
            Some(kind) => put_number(out, kind as u8),
            None => put(out, "null"),
        }
        text(out, ",\"error\":", &error.to_string());
        put(out, ",\"data\":\"");
        put_hex(out, event.data);
        put(out, "\"}\n");
    }

    fn ours_begin(&mut self, event: &Event<'_>, kind: &str, out: &mut Vec<u8>) {
        number(out, "{\"v\":", VERSION);
        put(out, ",\"time\":");
        match event.at {
            Some(at) => {
                out.push(b'"');
                self.clock.put(out, at);
                out.push(b'"');
            }
            None => put(out, "null"),
        }
        number(out, ",\"cpu\":", event.cpu);
        put(out, ",\"type\":\"");
        put(out, kind);
        out.push(b'"');
    }

    fn ours_drop(&mut self, drop: &DropNotify<'_>, out: &mut Vec<u8>) {
        let style = self.options.style;
        put_head(out, drop.source, drop.hash);
        let code = drop.kernel.map_or_else(|| drop.reason.into(), |facts| facts.reason);
        number(out, ",\"reason\":{\"code\":", code);
        put(out, ",\"text\":");
        let reason = DropNotify { extended_error: None, ..*drop };
        put_json(out, |out| put_reason(out, &reason, style));
        put(out, ",\"error\":");
        put_optional(out, drop.extended_error.filter(|_| drop.kernel.is_none()));
        out.push(b'}');
        put_identities(out, drop.source_identity, drop.destination_identity);
        number(out, ",\"destination\":", drop.destination);
        put(out, ",\"interface\":");
        self.put_interface_object(out, drop.interface, drop.kernel.as_ref());
        put(out, ",\"file\":");
        match drop.file.and_then(file_name) {
            Some(name) => put_json_text(out, name),
            None => put_optional(out, drop.file.filter(|file| *file > 0)),
        }
        put(out, ",\"line\":");
        put_optional(out, drop.line.filter(|line| *line > 0));
        put(out, ",\"trace_id\":");
        put_optional(out, drop.trace_id.filter(|id| *id > 0));
        self.ours_packet(&drop.captured, out);
        ours_kernel(out, drop.kernel.as_ref());
    }

    fn ours_trace(&mut self, it: &TraceNotify<'_>, out: &mut Vec<u8>) {
        let style = self.options.style;
        put_head(out, it.source, it.hash);
        put(out, ",\"observation_point\":\"");
        trace::put_point(out, it.observation_point, style);
        put(out, "\",\"summary\":");
        put_json(out, |out| trace::put_summary(out, it, style));
        put(out, ",\"state\":\"");
        trace::put_state(out, it.reason, style);
        super::l7::truth(out, "\",\"encrypted\":", trace::is_encrypted(it.reason));
        put_identities(out, it.source_identity, it.destination_identity);
        number(out, ",\"destination\":", it.destination);
        put(out, ",\"interface\":");
        self.put_interface_object(out, Some(it.interface), it.kernel.as_ref());
        put(out, ",\"original_address\":");
        if it.original_address.is_some_and(|address| address != [0; 16]) {
            put_json(out, |out| trace::put_original(out, it));
        } else {
            put(out, "null");
        }
        put(out, ",\"trace_id\":");
        put_optional(out, it.trace_id.filter(|id| *id > 0));
        self.ours_packet(&it.captured, out);
        ours_kernel(out, it.kernel.as_ref());
    }

    fn ours_capture(&mut self, capture: &DebugCapture<'_>, out: &mut Vec<u8>) {
        put_head(out, capture.source, capture.hash);
        number(out, ",\"sub_type\":", capture.sub_type);
        put(out, ",\"message\":");
        put_json(out, |out| super::capture::put_capture_sentence(capture, out));
        number(out, ",\"argument\":", capture.argument);
        self.ours_packet(&capture.captured, out);
    }

    fn ours_debug(&self, debug: &DebugMessage, out: &mut Vec<u8>) {
        put_head(out, debug.source, debug.hash);
        number(out, ",\"sub_type\":", debug.sub_type);
        put(out, ",\"message\":");
        put_json(out, |out| self.put_sentence(debug, out));
        put(out, ",\"arguments\":");
        super::l7::put_list(out, &debug.arguments, |out, argument| put_number(out, *argument));
    }

    fn ours_verdict(&mut self, it: &PolicyVerdictNotify<'_>, out: &mut Vec<u8>) {
        put_head(out, it.source, it.hash);
        put(out, ",\"direction\":\"");
        put(out, if it.is_ingress() { "ingress" } else { "egress" });
        put(out, "\",\"action\":\"");
        put(out, verdict::action(it));
        number(out, "\",\"verdict\":", it.verdict);
        put(out, ",\"match\":\"");
        put(out, verdict::match_name(it));
        put(out, "\",\"authentication\":");
        match it.authentication {
            Some(number) => put_json(out, |out| verdict::put_authentication(out, number)),
            None => put(out, "null"),
        }
        put(out, ",\"remote\":");
        put_identity(out, it.remote_identity);
        number(out, ",\"protocol\":", it.protocol);
        number(out, ",\"destination_port\":", it.destination_port);
        put(out, ",\"cookie\":");
        put_optional(out, it.cookie.filter(|cookie| *cookie > 0));
        self.ours_packet(&it.captured, out);
    }

    fn ours_recorder(&mut self, it: &RecorderCapture<'_>, out: &mut Vec<u8>) {
        put(out, ",\"direction\":\"");
        put(out, recorder::direction(it));
        number(out, "\",\"rule\":", it.rule);
        number(out, ",\"nanoseconds_since_start\":", it.time);
        self.ours_packet(&it.captured, out);
    }

    fn ours_agent(&self, agent: &AgentNotify, out: &mut Vec<u8>) {
        number(out, ",\"event\":{\"code\":", agent.kind);
        put(out, ",\"text\":");
        put_json(out, |out| put_kind(out, agent, self.options.style));
        put(out, "},\"message\":");
        // Agents write JSON there, but nothing makes them.
        match serde_json::from_str::<serde_json::Value>(&agent.text) {
            Ok(value) => put(out, &value.to_string()),
            Err(_) => put_json_text(out, &agent.text),
        }
    }

    fn put_interface_object(
        &self,
        out: &mut Vec<u8>,
        index: Option<u32>,
        kernel: Option<&KernelFacts<'_>>,
    ) {
        let Some(index) = index.filter(|index| *index > 0) else {
            put(out, "null");
            return;
        };
        number(out, "{\"index\":", index);
        put(out, ",\"name\":");
        // Those of other namespaces have their names with them.
        let name = match kernel {
            Some(facts) => facts.names().interface,
            None => self.interfaces.get(&index).map(String::as_str),
        };
        match name {
            Some(name) => put_json_text(out, name),
            None => put(out, "null"),
        }
        out.push(b'}');
    }
}

fn ours_sock(sock: &TraceSockNotify, out: &mut Vec<u8>) {
    put(out, ",\"point\":\"");
    put(out, trace_sock::point_name(sock));
    put(out, "\",\"protocol\":\"");
    put(out, trace_sock::protocol_name(sock));
    put(out, "\",\"destination\":\"");
    trace::put_flagged_address(out, sock.address, sock.ipv6);
    number(out, "\",\"destination_port\":", sock.port);
    number(out, ",\"socket_cookie\":", sock.socket_cookie);
    number(out, ",\"cgroup\":", sock.cgroup);
}

/// What most notifications begin with.
fn put_head(out: &mut Vec<u8>, source: u16, hash: u32) {
    number(out, ",\"source\":", source);
    number(out, ",\"hash\":", hash);
}

fn put_identities(out: &mut Vec<u8>, source: u32, destination: u32) {
    put(out, ",\"identity\":{\"source\":");
    put_identity(out, source);
    put(out, ",\"destination\":");
    put_identity(out, destination);
    out.push(b'}');
}

fn put_identity(out: &mut Vec<u8>, number_of: u32) {
    number(out, "{\"id\":", number_of);
    put(out, ",\"name\":");
    match identity(number_of) {
        Some(name) => put_json_text(out, name),
        None => put(out, "null"),
    }
    out.push(b'}');
}

fn put_optional(out: &mut Vec<u8>, value: Option<impl TryInto<i128>>) {
    match value {
        Some(value) => put_number(out, value),
        None => put(out, "null"),
    }
}

fn put_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        put_byte(out, *byte);
    }
}
