//! Frames of HTTP/2: as many are found, however the bytes are cut.
#![no_main]

use http_trace::fuzzing::http2_frames;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let whole = http2_frames(&[data]);
    assert!(whole <= data.len() / 9);
    let bytes: Vec<&[u8]> = data.chunks(1).collect();
    assert_eq!(http2_frames(&bytes), whole);
    let (first, second) = data.split_at(data.len() / 2);
    assert_eq!(http2_frames(&[first, second]), whole);
});
