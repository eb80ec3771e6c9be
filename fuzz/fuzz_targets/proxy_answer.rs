//! Answers of proxies to `CONNECT`: any bytes are whole, not whole yet, or refused.
#![no_main]

use http_trace::fuzzing::proxy_answer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(Some((_, length))) = proxy_answer(data) {
        assert!(length <= data.len());
        // What follows it changes nothing.
        assert_eq!(proxy_answer(&data[..length]), proxy_answer(data));
    }
});
