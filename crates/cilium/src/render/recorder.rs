//! Packets for the recorder.

use super::{Renderer, SEPARATOR};
use crate::{
    event::Event,
    notification::RecorderCapture,
    text::{put, put_number},
};

/// In which direction a packet went.
pub(super) const fn direction(recorder: &RecorderCapture<'_>) -> &'static str {
    if recorder.sub_type == 1 { "ingress" } else { "egress" }
}

impl Renderer {
    pub(super) fn recorder(
        &mut self,
        event: &Event<'_>,
        recorder: &RecorderCapture<'_>,
        out: &mut Vec<u8>,
    ) {
        self.put_time(event, out);
        put(out, "Recorder capture: dir:");
        put(out, direction(recorder));
        put(out, " rule:");
        put_number(out, recorder.rule);
        put(out, " ts:");
        put_number(out, recorder.time);
        put(out, " caplen:");
        put_number(out, recorder.captured.captured_length);
        put(out, " len:");
        put_number(out, recorder.captured.original_length);
        out.push(b'\n');
        self.packet(&recorder.captured, self.options.hex, out);
        put(out, SEPARATOR);
    }
}
