//! The header `Alt-Svc`: any text is read, and little of it kept.
#![no_main]

use http_trace::fuzzing::alternative_services;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let read = alternative_services(&String::from_utf8_lossy(data));
    assert!(read.services.len() <= 32);
    assert!(!read.clear || read.services.is_empty());
});
