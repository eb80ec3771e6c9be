//! Notifications of Cilium: any bytes are shown in every rendering, our own JSON is always JSON, and
//! lines are whole lines of text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netglass_cilium::{Event, Filter, Level, Options, Renderer, SAMPLE, Style};
use netglass_fuzz::{prefixes, splice};

/// A drop, a trace of a newer version, a translated socket, a verdict, a recorded packet, a drop of our own
/// datapath with two names: the parts in front of the packet.
const SAMPLES: [&[u8]; 6] = [
    b"\x01\x85\xfe\x03\xe4\xd3\x7a\x8f\x36\0\0\0\x36\0\x03\0\x9f\xbf\0\0\x66\x4b\0\0\xfe\x03\0\0\xd2\x04\x02\0\
      \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    b"\x04\x01\xfe\x03\x73\xed\x5c\xbe\x36\0\0\0\x36\0\x02\0\x9f\xbf\0\0\x66\x4b\0\0\xfe\x03\x01\0\x01\0\0\0\
      \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    b"\x07\x01\x50\0\x01\0\0\0\x02\0\0\0\x0a\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0",
    b"\x05\0\xfe\x03\x73\xed\x5c\xbe\x36\0\0\0\x36\0\x01\0\x02\0\0\0\x85\xff\xff\xff\x50\0\x06\x09\0\0\0\0",
    b"\x08\x01\x02\0\x01\0\0\0\x36\0\0\0\x36\0\0\0\x01\0\0\0\0\0\0\0",
    b"\x01\xff\0\0\xe4\xd3\x7a\x8f\x36\0\0\0\x36\0\x03\x4e\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\
      \x02\0\0\0\x02\0\0\0\0\0\0\0\0\0\0\0\
      \x4e\0\x01\0\x07\0\0\0\x01\0\0\0\0\0\0\0\x63\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\
      \0\0\0\0\0\0\0\0\x0c\0\0\0\0\0\0\0\
      \x01\x03\0ARP\x05\x15\0\0\x2c\x03\0\0\0\0\0\0\x01\0\0\0\0\0\0\0sh\0\0",
];

const STYLES: [Style; 3] = [Style::V1_5, Style::V1_20, Style::Netglass(None)];
const LEVELS: [Level; 4] = [Level::Info, Level::Debug, Level::Verbose, Level::Json];

fuzz_target!(|data: &[u8]| {
    check(data);
    for sample in SAMPLES {
        check(&splice(sample, data));
    }
});

fn check(bytes: &[u8]) {
    for style in STYLES {
        for level in LEVELS {
            for (hex, numeric) in [(false, true), (true, false)] {
                let mut renderer = Renderer::new(Options { style, level, hex, numeric });
                let mut out = Vec::new();
                for prefix in prefixes(bytes) {
                    let event = Event { payload_type: SAMPLE, ..Event::sample(3, prefix) };
                    let start = out.len();
                    renderer.render(&event, &mut Filter::default(), &mut out);
                    let text = str::from_utf8(&out[start..]);
                    if style == Style::Netglass(None) {
                        let text = text.expect("text");
                        assert!(text.is_empty() || text.ends_with('\n'), "{text:?}");
                        if level == Level::Json {
                            let value = serde_json::from_str::<serde_json::Value>(text);
                            assert!(value.is_ok_and(|value| value.is_object()), "{text}");
                        }
                    }
                }
            }
        }
    }
}
