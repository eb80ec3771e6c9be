//! What the datapath tells of what it does.

use super::{Level, Renderer, put_cpu};
use crate::{
    event::Event,
    notification::DebugMessage,
    text::{put, put_number, put_prefixed_hexadecimal, put_quoted},
};

impl Renderer {
    pub(super) fn debug(&mut self, event: &Event<'_>, debug: &DebugMessage, out: &mut Vec<u8>) {
        match self.options.level {
            Level::Info => {}
            Level::Debug | Level::Verbose => {
                self.put_time(event, out);
                put_cpu(out, event.cpu);
                put(out, " MARK ");
                put_prefixed_hexadecimal(out, debug.hash);
                put(out, " FROM ");
                put_number(out, debug.source);
                put(out, " DEBUG: ");
                self.put_sentence(debug, out);
                out.push(b'\n');
            }
            Level::Json => {
                put(out, "{\"cpu\":\"");
                put_cpu(out, event.cpu);
                put(out, "\",\"type\":\"debug\",\"message\":");
                put_quoted(out, |out| self.put_sentence(debug, out));
                put(out, "}\n");
            }
        }
    }
}
