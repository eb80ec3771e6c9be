//! Packets for debugging.

use super::{Level, Renderer, SEPARATOR, put_cpu};
use crate::{
    event::Event,
    notification::DebugCapture,
    text::{put, put_json, put_number, put_prefixed_hexadecimal},
};

impl Renderer {
    pub(super) fn capture(
        &mut self,
        event: &Event<'_>,
        capture: &DebugCapture<'_>,
        out: &mut Vec<u8>,
    ) {
        match self.options.level {
            Level::Info | Level::Debug => self.capture_info(event, capture, out),
            Level::Verbose => self.capture_verbose(event, capture, out),
            Level::Json => self.capture_json(event, capture, out),
        }
    }

    fn capture_info(&mut self, event: &Event<'_>, capture: &DebugCapture<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        self.put_time(event, out);
        let before = out.len();
        self.put_capture_prefix(capture, out);
        if out.len() == before {
            out.truncate(start);
            return;
        }
        put(out, ": ");
        self.connection(&capture.captured, out);
        out.push(b'\n');
    }

    fn capture_verbose(
        &mut self,
        event: &Event<'_>,
        capture: &DebugCapture<'_>,
        out: &mut Vec<u8>,
    ) {
        let style = self.options.style;
        let length = self.shown_length(capture);
        put(out, SEPARATOR);
        self.put_time(event, out);
        put_cpu(out, event.cpu);
        put(out, " MARK ");
        put_prefixed_hexadecimal(out, capture.hash);
        put(out, " FROM ");
        put_number(out, capture.source);
        put(out, " DEBUG: ");
        put_number(out, length);
        put(out, " bytes, ");
        if style.is_ours() && capture.captured.original_length != length {
            put(out, "of ");
            put_number(out, capture.captured.original_length);
            put(out, ", ");
        }
        put_capture_sentence(capture, out);
        if !style.is_1_20() {
            out.push(b'\n');
        }
        if length > 0 {
            self.packet(&capture.captured, self.options.hex, out);
        }
    }

    fn capture_json(&mut self, event: &Event<'_>, capture: &DebugCapture<'_>, out: &mut Vec<u8>) {
        put(out, "{\"cpu\":\"");
        put_cpu(out, event.cpu);
        put(out, "\",\"type\":\"capture\",\"mark\":\"");
        put_prefixed_hexadecimal(out, capture.hash);
        put(out, "\",\"message\":");
        put_json(out, |out| put_capture_sentence(capture, out));
        let start = out.len();
        put(out, ",\"prefix\":");
        let before = out.len();
        put_json(out, |out| self.put_capture_prefix(capture, out));
        // An empty one is left out.
        if out.len() == before + 2 {
            out.truncate(start);
        }
        put(out, ",\"source\":");
        put_number(out, capture.source);
        put(out, ",\"bytes\":");
        put_number(out, self.shown_length(capture));
        put(out, ",\"summary\":");
        put_json(out, |out| self.connection(&capture.captured, out));
        put(out, "}\n");
    }

    /// 1.5 takes both lengths for each other.
    fn shown_length(&self, capture: &DebugCapture<'_>) -> u32 {
        if self.options.style.is_1_5() {
            capture.captured.original_length
        } else {
            capture.captured.captured_length
        }
    }

    /// Where it was captured, if that is shown on the line of a packet.
    pub(super) fn put_capture_prefix(&self, capture: &DebugCapture<'_>, out: &mut Vec<u8>) {
        match capture.sub_type {
            4 => {
                put(out, "-> ");
                self.put_interface(out, capture.argument);
            }
            5 => {
                put(out, "<- load-balancer ");
                self.put_interface(out, capture.argument);
            }
            6 => {
                put(out, "== v4->v6 ");
                put_number(out, capture.argument);
            }
            7 => {
                put(out, "== v6->v4 ");
                put_number(out, capture.argument);
            }
            9 => {
                put(out, "-> proxy port ");
                put_number(out, port(capture.argument));
            }
            _ => {}
        }
    }
}

/// Where it was captured, in words.
pub(super) fn put_capture_sentence(capture: &DebugCapture<'_>, out: &mut Vec<u8>) {
    let words = match capture.sub_type {
        4 => "Delivery to ifindex ",
        5 => "Incoming packet to load balancer on ifindex ",
        6 => "Packet after nat46 ifindex ",
        7 => "Packet after nat64 ifindex ",
        10 => "Packet going into snat engine on ifindex ",
        11 => "Packet coming from snat engine on ifindex ",
        8 | 9 => {
            put(out, "Packet to proxy port ");
            put_number(out, port(capture.argument));
            put(out, if capture.sub_type == 8 { " (Pre)" } else { " (Post)" });
            return;
        }
        _ => {
            put(out, "Unknown message type=");
            put_number(out, capture.sub_type);
            " arg1="
        }
    };
    put(out, words);
    put_number(out, capture.argument);
}

/// The port in the lower half of an argument, in network order.
const fn port(argument: u32) -> u16 {
    ((argument & 0xffff) as u16).swap_bytes()
}
