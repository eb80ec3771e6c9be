//! Packets that were dropped.

use super::{Level, Renderer, SEPARATOR, kernel, put_cpu};
use crate::{
    event::Event,
    notification::DropNotify,
    style::Style,
    tables::source_files::source_file,
    text::{put, put_json, put_number, put_prefixed_hexadecimal},
};

/// Appends why a packet was dropped.
pub(super) fn put_reason(out: &mut Vec<u8>, drop: &DropNotify<'_>, style: Style) {
    if let Some(facts) = &drop.kernel {
        kernel::put_reason(out, facts);
        return;
    }
    let text = style.drop_reason(drop.reason, Some(drop.version));
    let error = drop.extended_error.filter(|_| !style.is_1_5());
    match text {
        Some(text) => put(out, text),
        None => put_number(out, drop.reason),
    }
    // Of an unknown reason 1.20 shows the error even where there is none.
    if let Some(error) = error.filter(|error| *error != 0 || text.is_none() && style.is_1_20()) {
        put(out, ", ");
        put_number(out, error);
    }
}

fn put_file(out: &mut Vec<u8>, file: u8) {
    if let Some(name) = source_file(file) {
        put(out, name);
    } else {
        put(out, "unknown(");
        put_number(out, file);
        out.push(b')');
    }
}

impl Renderer {
    pub(super) fn drop(&mut self, event: &Event<'_>, drop: &DropNotify<'_>, out: &mut Vec<u8>) {
        match self.options.level {
            Level::Info | Level::Debug => self.drop_info(event, drop, out),
            Level::Verbose => self.drop_verbose(event, drop, out),
            Level::Json => self.drop_json(event, drop, out),
        }
    }

    fn drop_info(&mut self, event: &Event<'_>, drop: &DropNotify<'_>, out: &mut Vec<u8>) {
        let style = self.options.style;
        self.put_time(event, out);
        put(out, "xx drop (");
        put_reason(out, drop, style);
        put(out, ") flow ");
        put_prefixed_hexadecimal(out, drop.hash);
        if let Some(facts) = &drop.kernel {
            kernel::put_place(out, facts, drop.interface.unwrap_or_default());
            put(out, ": ");
            self.connection(&drop.captured, out);
            out.push(b'\n');
            return;
        }
        put(out, " to endpoint ");
        put_number(out, drop.destination);
        put(out, ", ");
        if !style.is_1_5() {
            if let Some(interface) = drop.interface {
                put(out, "ifindex ");
                if style.is_ours() {
                    self.put_interface(out, interface);
                } else {
                    put_number(out, interface);
                }
                put(out, ", ");
            }
            if let (Some(file), Some(line)) = (drop.file, drop.line) {
                put(out, "file ");
                put_file(out, file);
                out.push(b':');
                put_number(out, line);
                put(out, ", ");
            }
            let trace_id = drop.trace_id.filter(|id| *id > 0);
            if let Some(trace_id) = trace_id {
                put(out, if style.is_ours() { "[ ip-trace-id = " } else { " [ ip-trace-id = " });
                put_number(out, trace_id);
                put(out, " ], ");
            } else if !style.is_ours() {
                put(out, ", ");
            }
        }
        self.put_identities(out, drop.source_identity, drop.destination_identity);
        put(out, ": ");
        self.connection(&drop.captured, out);
        out.push(b'\n');
    }

    fn drop_verbose(&mut self, event: &Event<'_>, drop: &DropNotify<'_>, out: &mut Vec<u8>) {
        let style = self.options.style;
        let trace_id = drop.trace_id.filter(|id| *id > 0);
        put(out, SEPARATOR);
        self.put_time(event, out);
        put_cpu(out, event.cpu);
        put(out, " MARK ");
        put_prefixed_hexadecimal(out, drop.hash);
        if let Some(trace_id) = trace_id.filter(|_| style.is_ours()) {
            put(out, " [ IP-TRACE-ID = ");
            put_number(out, trace_id);
            put(out, " ]");
        }
        put(out, " FROM ");
        put_number(out, drop.source);
        put(out, " DROP: ");
        put_number(out, drop.captured.original_length);
        put(out, " bytes, reason ");
        put_reason(out, drop, style);
        if let Some(facts) = &drop.kernel {
            kernel::put_place(out, facts, drop.interface.unwrap_or_default());
        } else if style.is_ours() {
            self.put_location(drop, out);
        }
        if drop.source_identity > 0 || drop.destination_identity > 0 {
            put(out, ", ");
            self.put_identities(out, drop.source_identity, drop.destination_identity);
        }
        if drop.destination > 0 {
            put(out, ", to endpoint ");
            put_number(out, drop.destination);
        }
        out.push(b'\n');
        if let Some(trace_id) = trace_id.filter(|_| style.is_1_20()) {
            put(out, " [ IP-TRACE-ID=");
            put_number(out, trace_id);
        }
        if drop.captured.captured_length > 0 && !drop.captured.rest.is_empty() {
            // 1.20 takes one for the other.
            let as_bytes = self.options.hex != style.is_1_20();
            self.packet(&drop.captured, as_bytes, out);
        }
    }

    /// Where it was dropped, which Cilium's verbose lines do not tell.
    fn put_location(&self, drop: &DropNotify<'_>, out: &mut Vec<u8>) {
        if let Some(interface) = drop.interface.filter(|index| *index > 0) {
            put(out, ", interface ");
            self.put_interface(out, interface);
        }
        if let (Some(file), Some(line)) = (drop.file.filter(|file| *file > 0), drop.line) {
            put(out, ", file ");
            put_file(out, file);
            out.push(b':');
            put_number(out, line);
        }
    }

    fn drop_json(&mut self, event: &Event<'_>, drop: &DropNotify<'_>, out: &mut Vec<u8>) {
        let style = self.options.style;
        put(out, "{\"cpu\":\"");
        put_cpu(out, event.cpu);
        put(out, "\",\"type\":\"drop\",\"mark\":\"");
        put_prefixed_hexadecimal(out, drop.hash);
        put(out, "\",\"reason\":");
        put_json(out, |out| put_reason(out, drop, style));
        put(out, ",\"source\":");
        put_number(out, drop.source);
        put(out, ",\"bytes\":");
        put_number(out, drop.captured.original_length);
        put(out, ",\"srcLabel\":");
        put_number(out, drop.source_identity);
        put(out, ",\"dstLabel\":");
        put_number(out, drop.destination_identity);
        put(out, ",\"dstID\":");
        put_number(out, drop.destination);
        if style.is_1_20() {
            put(out, ",\"Line\":");
            put_number(out, drop.line.unwrap_or_default());
            put(out, ",\"File\":");
            put_number(out, drop.file.unwrap_or_default());
            put(out, ",\"ExtError\":");
            put_number(out, drop.extended_error.unwrap_or_default());
            put(out, ",\"Ifindex\":");
            put_number(out, drop.interface.unwrap_or_default());
            if let Some(trace_id) = drop.trace_id.filter(|id| *id > 0) {
                put(out, ",\"IPTraceID\":");
                put_number(out, trace_id);
            }
        }
        self.summary(&drop.captured, out);
        put(out, "}\n");
    }
}

/// The name of a source file, for JSON.
pub(super) fn file_name(file: u8) -> Option<&'static str> {
    source_file(file)
}
