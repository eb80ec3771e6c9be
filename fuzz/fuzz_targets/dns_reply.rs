//! Replies of name servers: any bytes are read to their first fault, and that is said.
#![no_main]

use http_trace::fuzzing::dns_reply;
use libfuzzer_sys::fuzz_target;
use netglass_fuzz::{prefixes, splice};

fuzz_target!(|data: &[u8]| {
    check(data);
    check(&splice(SAMPLE, data));
});

fn check(message: &[u8]) {
    for prefix in prefixes(message) {
        let reply = dns_reply(prefix);
        assert_eq!(reply.size as usize, prefix.len());
        assert!(reply.id.is_some() || reply.malformed.is_some());
        assert!(reply.answers.len() <= prefix.len());
    }
}

/// 10.0.0.1 for www.test.
const SAMPLE: &[u8] = b"\x12\x34\x81\x80\0\x01\0\x01\0\0\0\0\x03www\x04test\0\0\x01\0\x01\
    \xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\0\0\x01";
