//! Certificates that servers send: any bytes are described, or said to be malformed.
#![no_main]

use http_trace::fuzzing::certificate;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let described = certificate(data);
    assert_eq!(described.size as usize, data.len());
    assert!(described.malformed.is_none() || described.subject.is_empty());
});
