//! Streams of Cilium's agent, as gob and in every other format: any bytes are read or refused, and it
//! does not matter in which pieces they come.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netglass_cilium::stream::{Format, Omitted, StreamError, StreamReader};
use netglass_fuzz::splice;

/// What an agent of API 1.2 sends: its types, and an event of five bytes.
const GOB: &[u8] =
    b"\x3e\xff\x81\x03\x01\x01\x07Payload\x01\xff\x82\0\x01\x04\x01\x04Data\x01\x0a\0\x01\x03CPU\x01\x04\0\x01\x04Lost\
      \x01\x06\0\x01\x04Type\x01\x04\0\0\0\x0f\xff\x82\x01\x05\x01\x85\0\0\0\x01\x06\x02\x12\0";

const FORMATS: [Option<Format>; 5] =
    [None, Some(Format::Gob), Some(Format::Meta), Some(Format::JsonLines), Some(Format::Recording)];

fuzz_target!(|data: &[u8]| {
    for omitted in [Omitted::Last, Omitted::Zero] {
        for format in FORMATS {
            check(data, format, omitted);
        }
        check(&splice(GOB, data), Some(Format::Gob), omitted);
    }
});

type Events = Vec<(i64, i64, u64, Vec<u8>)>;

fn check(bytes: &[u8], format: Option<Format>, omitted: Omitted) {
    let whole = read(bytes, bytes.len().max(1), format, omitted);
    for piece in [1, 7] {
        assert_eq!(whole, read(bytes, piece, format, omitted), "in pieces of {piece}");
    }
}

fn read(
    bytes: &[u8],
    piece: usize,
    format: Option<Format>,
    omitted: Omitted,
) -> (Events, Result<(), StreamError>) {
    let mut reader = StreamReader::new(format, omitted);
    let mut events = Vec::new();
    let mut take = |reader: &mut StreamReader| {
        while let Some(event) = reader.next_event()? {
            events.push((event.cpu, event.payload_type, event.lost, event.data.to_vec()));
        }
        Ok(())
    };
    for piece in bytes.chunks(piece) {
        reader.push(piece);
        if let Err(error) = take(&mut reader) {
            return (events, Err(error));
        }
    }
    reader.end();
    let result = take(&mut reader).and_then(|()| reader.finish());
    (events, result)
}
