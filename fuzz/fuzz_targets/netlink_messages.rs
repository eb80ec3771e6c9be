//! Netlink messages and their attributes: every part lies within the input, a cut loses only what
//! is behind it, and what was read can be written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netglass_fuzz::prefixes;
use netglass_kernel::netlink::message::{Attributes, Message, Messages};

const HEADER_LENGTH: usize = 16;
const ATTRIBUTE_HEADER_LENGTH: usize = 4;

fuzz_target!(|data: &[u8]| {
    messages(data);
    attributes(data);
});

fn messages(data: &[u8]) {
    let all: Vec<_> = Messages::new(data).collect();
    let whole: Vec<_> = all.iter().map_while(|message| message.ok()).collect();
    assert!(all.len() - whole.len() <= 1, "nothing follows what is malformed");
    for message in &whole {
        assert!(end(data, message.payload) <= data.len());
        assert!(message.errno().is_none_or(|errno| errno > 0));
        let nested: usize =
            Attributes::new(message.payload).map(|(_, value)| value.len() + 4).sum();
        assert!(nested <= message.payload.len());
    }

    for prefix in prefixes(data) {
        let kept: Vec<_> = Messages::new(prefix).map_while(Result::ok).collect();
        let complete = whole.iter().filter(|it| end(data, it.payload) <= prefix.len()).count();
        assert_eq!(kept, whole[..complete]);
    }

    let mut written = Vec::new();
    for message in &whole {
        write(&mut written, message);
    }
    let again: Result<Vec<_>, _> = Messages::new(&written).collect();
    assert_eq!(again, Ok(whole));
}

fn attributes(data: &[u8]) {
    let whole: Vec<_> = Attributes::new(data).collect();
    for prefix in prefixes(data) {
        let kept: Vec<_> = Attributes::new(prefix).collect();
        let complete = whole.iter().filter(|(_, it)| end(data, it) <= prefix.len()).count();
        assert_eq!(kept, whole[..complete]);
    }

    let mut written = Vec::new();
    for (kind, value) in &whole {
        let length = u16::try_from(ATTRIBUTE_HEADER_LENGTH + value.len()).unwrap();
        written.extend_from_slice(&length.to_ne_bytes());
        written.extend_from_slice(&kind.to_ne_bytes());
        written.extend_from_slice(value);
        pad(&mut written);
    }
    assert!(Attributes::new(&written).eq(whole));
}

/// Where a part of `data` ends in it.
fn end(data: &[u8], part: &[u8]) -> usize {
    let start = part.as_ptr().addr().checked_sub(data.as_ptr().addr()).expect("a part of it");
    start + part.len()
}

fn write(bytes: &mut Vec<u8>, message: &Message<'_>) {
    let length = u32::try_from(HEADER_LENGTH + message.payload.len()).unwrap();
    bytes.extend_from_slice(&length.to_ne_bytes());
    bytes.extend_from_slice(&message.kind.to_ne_bytes());
    bytes.extend_from_slice(&message.flags.to_ne_bytes());
    bytes.extend_from_slice(&message.sequence.to_ne_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(message.payload);
    pad(bytes);
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}
