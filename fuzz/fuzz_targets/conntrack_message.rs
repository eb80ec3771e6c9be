//! Tracked connections as netlink tells them: any bytes are read or refused, and a translation has
//! two sides that differ.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netglass_fuzz::{prefixes, splice};
use netglass_kernel::conntrack::message::parse;

fuzz_target!(|data: &[u8]| {
    check(data);
    check(&splice(&sample(), data));
});

fn check(payload: &[u8]) {
    for prefix in prefixes(payload) {
        check_one(prefix);
    }
}

fn check_one(payload: &[u8]) {
    let Ok(Some(entry)) = parse(payload) else { return };
    for tuple in [entry.original, entry.reply] {
        assert_eq!(tuple.source, tuple.source.to_canonical());
        assert_eq!(tuple.destination, tuple.destination.to_canonical());
    }
    if let Some((original, translated)) = entry.translation() {
        assert_ne!(original, translated);
        assert_eq!(original.client, entry.original.source);
        assert_eq!(translated.client, entry.reply.destination);
    }
}

/// A connection of TCP from 10.0.0.1 to 10.0.0.9:80, which 10.1.0.2:8080 answers to 10.1.0.1.
fn sample() -> Vec<u8> {
    let tuple = |kind: u16, source: [u8; 4], from: u16, destination: [u8; 4], to: u16| {
        let addresses = [attribute(1, &source), attribute(2, &destination)].concat();
        let ports = [
            attribute(1, &[6]),
            attribute(2, &from.to_be_bytes()),
            attribute(3, &to.to_be_bytes()),
        ]
        .concat();
        let parts = [attribute(0x8001, &addresses), attribute(0x8002, &ports)].concat();
        attribute(0x8000 | kind, &parts)
    };
    [
        vec![2, 0, 0, 0],
        tuple(1, [10, 0, 0, 1], 40000, [10, 0, 0, 9], 80),
        tuple(2, [10, 1, 0, 2], 8080, [10, 1, 0, 1], 1024),
        attribute(12, &7_u32.to_be_bytes()),
    ]
    .concat()
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).unwrap();
    let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}
