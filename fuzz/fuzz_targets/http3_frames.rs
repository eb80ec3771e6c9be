//! Frames of HTTP/3: as many end, and as much goes on, however the bytes are cut.
#![no_main]

use http_trace::fuzzing::http3_frames;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let whole = http3_frames(&[data]);
    assert!(whole.0 <= data.len() / 2 && whole.1 <= data.len());
    let bytes: Vec<&[u8]> = data.chunks(1).collect();
    assert_eq!(http3_frames(&bytes), whole);
    let (first, second) = data.split_at(data.len() / 2);
    assert_eq!(http3_frames(&[first, second]), whole);
});
