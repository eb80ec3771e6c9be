//! Nothing is allocated for an event of the datapath.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use netglass_cilium::{Event, Filter, Level, Options, Renderer, Style};

/// Ethernet, IPv4 and the first packet of a connection of TCP.
const PACKET: [u8; 54] = *b"\x5e\x6f\x1a\x2b\x3c\x4d\x0a\x58\x0a\x0f\x1c\xee\x08\x00\x45\x00\x00\x28\x1c\x46\x40\
    \x00\x3f\x06\x79\xb4\x0a\x0f\x1c\xee\x0a\x0f\x74\xca\xb2\x6e\x00\x50\x11\x22\x33\x44\x00\x00\x00\x00\x50\x02\
    \x72\x10\xbe\xef\x00\x00";

/// What a drop and a trace begin with.
const HEADERS: [[u8; 32]; 2] = [
    *b"\x01\x85\xfe\x03\xe4\xd3\x7a\x8f\x36\0\0\0\x36\0\0\0\x9f\xbf\0\0\x66\x4b\0\0\xfe\x03\0\0\0\0\0\0",
    *b"\x04\x05\xfe\x03\x73\xed\x5c\xbe\x36\0\0\0\x36\0\0\0\x9f\xbf\0\0\x66\x4b\0\0\xfe\x03\x02\0\x2a\0\0\0",
];

#[test]
fn nothing_is_allocated_for_an_event() {
    let events = HEADERS.map(|header| [&header[..], &PACKET].concat());
    for style in [Style::V1_5, Style::V1_20, Style::Netglass(None)] {
        for level in [Level::Info, Level::Debug, Level::Json] {
            let options = Options { style, level, hex: false, numeric: false };
            let mut renderer = Renderer::new(options);
            let mut filter = Filter::default();
            let mut out = Vec::with_capacity(1 << 16);
            let mut render = || {
                out.clear();
                for event in &events {
                    renderer.render(&Event::sample(3, event), &mut filter, &mut out);
                }
            };
            // What is kept for the next event is allocated for the first one.
            render();
            let allocated = allocation_counter::measure(|| (0..10).for_each(|_| render()));
            assert_eq!(allocated.count_total, 0, "{style:?} {level:?}");
        }
    }
}
