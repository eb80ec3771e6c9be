//! Packets in all their layers, or as bytes.

use super::{
    Renderer,
    connection::put_connection,
    hex,
    layers::{Tab, put_layer, put_object},
};
use crate::{dissect::Chain, notification::Captured, text::put};

impl Renderer {
    /// What of a packet is looked at: Cilium takes what a sample is rounded up by for a part of it.
    pub(super) fn bytes<'a>(&self, captured: &Captured<'a>) -> &'a [u8] {
        if self.options.style.is_ours() { captured.packet() } else { captured.rest }
    }

    /// Appends who a packet is from and for.
    pub(super) fn connection(&mut self, captured: &Captured<'_>, out: &mut Vec<u8>) {
        self.dissector.decode(self.bytes(captured), captured.flags);
        put_connection(out, &self.dissector, self.options.style);
    }

    /// Appends a packet, as layers or as bytes.
    pub(super) fn packet(&mut self, captured: &Captured<'_>, as_bytes: bool, out: &mut Vec<u8>) {
        let bytes = self.bytes(captured);
        if as_bytes {
            hex::put_hex(out, bytes);
            return;
        }
        self.dissector.decode(bytes, captured.flags);
        self.chain(&self.dissector.packet, out);
        if self.dissector.tunnel.is_some() {
            self.chain(&self.dissector.overlay, out);
        }
    }

    fn chain(&self, chain: &Chain, out: &mut Vec<u8>) {
        let style = self.options.style;
        if style.is_ours() {
            for layer in &chain.layers {
                put_layer(out, layer, style, Tab::Plain);
                out.push(b'\n');
            }
        } else {
            for kind in &chain.decoded {
                put_object(out, &chain.objects, *kind, style, Tab::Plain);
                out.push(b'\n');
            }
        }
        if chain.truncated {
            put(out, "  Packet has been truncated\n");
        }
        if let Some(malformed) = chain.malformed.filter(|_| !style.is_1_5()) {
            put(out, "  Failed to decode layer: ");
            put(out, &malformed.to_string());
            out.push(b'\n');
        }
    }
}
