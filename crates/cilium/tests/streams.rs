//! Streams of the real agent, against their index, and how streams end.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::{fmt::Write as _, fs};

use netglass_cilium::{
    Event, Filter, GobError, Level, Options, Outcome, Renderer, Style,
    stream::{Format, GobStream, Omitted, StreamError, StreamReader, write_event, write_start},
};
use netglass_model::Timestamp;
use netglass_testing::{require, shared_folder};
use serde_json::Value;

/// An event that owns its data.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Owned {
    at: Option<Timestamp>,
    cpu: i64,
    payload_type: i64,
    lost: u64,
    data: Vec<u8>,
}

impl From<Event<'_>> for Owned {
    fn from(event: Event<'_>) -> Self {
        let Event { at, cpu, payload_type, lost, data } = event;
        Self { at, cpu, payload_type, lost, data: data.to_vec() }
    }
}

impl Owned {
    fn event(&self) -> Event<'_> {
        let Self { at, cpu, payload_type, lost, .. } = *self;
        Event { at, cpu, payload_type, lost, data: &self.data }
    }
}

fn folder_file(name: &str) -> Vec<u8> {
    fs::read(shared_folder().join("vectors/cilium").join(name)).unwrap()
}

fn index(name: &str) -> Vec<Value> {
    let text = String::from_utf8(folder_file(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Reads a stream that comes in pieces of this length.
fn read(
    bytes: &[u8],
    piece: usize,
    format: Option<Format>,
    omitted: Omitted,
) -> (Vec<Owned>, StreamReader, Result<(), StreamError>) {
    let mut reader = StreamReader::new(format, omitted);
    let mut events = Vec::new();
    let mut pieces = bytes.chunks(piece);
    loop {
        match reader.next_event() {
            Ok(Some(event)) => events.push(event.into()),
            Ok(None) => match pieces.next() {
                Some(piece) => reader.push(piece),
                None => break,
            },
            Err(error) => return (events, reader, Err(error)),
        }
    }
    reader.end();
    let mut result = Ok(());
    loop {
        match reader.next_event() {
            Ok(Some(event)) => events.push(event.into()),
            Ok(None) => break,
            Err(error) => {
                result = Err(error);
                break;
            }
        }
    }
    let result = result.and_then(|()| reader.finish());
    (events, reader, result)
}

fn assert_is(event: &Owned, told: &Value, name: &str) {
    assert_eq!(event.cpu, told["cpu"].as_i64().unwrap(), "{name}");
    assert_eq!(event.lost, told["lost"].as_u64().unwrap(), "{name}");
    assert_eq!(event.payload_type, told["type"].as_i64().unwrap(), "{name}");
    assert_eq!(event.data.len() as u64, told["data_len"].as_u64().unwrap(), "{name}");
    let mut hex = String::new();
    for byte in &event.data {
        write!(hex, "{byte:02x}").unwrap();
    }
    // Of long data only the beginning is kept.
    let kept = told["data_hex"].as_str().or_else(|| told["data_first_64_hex"].as_str());
    if let Some(kept) = kept {
        assert!(hex.starts_with(kept), "{name}");
    }
}

#[test]
fn the_stream_of_api_1_2_is_read_as_its_index_says() {
    require!(shared);
    let bytes = folder_file("gob-stream.bin");
    let index = index("gob-stream.index.jsonl");
    for piece in [1, 7, 4096, bytes.len()] {
        let (events, reader, result) = read(&bytes, piece, None, Omitted::Zero);
        assert_eq!((result, reader.format()), (Ok(()), Some(Format::Gob)));
        assert_eq!(events.len(), index.len());
        for (event, entry) in events.iter().zip(&index) {
            assert_is(event, &entry["decoded_fresh_struct"], entry["name"].as_str().unwrap());
        }
    }
}

#[test]
fn fields_that_are_left_out_stick_as_in_the_original() {
    require!(shared);
    let bytes = folder_file("gob-stream.bin");
    let index = index("gob-stream.index.jsonl");
    let (events, _, result) = read(&bytes, 1000, None, Omitted::Last);
    assert_eq!(result, Ok(()));
    let options = Options { style: Style::V1_5, level: Level::Info, hex: false, numeric: false };
    let mut renderer = Renderer::new(options);
    for (event, entry) in events.iter().zip(&index) {
        let name = entry["name"].as_str().unwrap();
        assert_is(event, &entry["decoded_reused_struct"], name);
        let mut out = Vec::new();
        let outcome = renderer.render(&event.event(), &mut Filter::default(), &mut out);
        if outcome == Outcome::UnknownPayload {
            // It is the program that does this, not its formatter.
            renderer.lost(&event.event(), &mut out);
        }
        let printed = String::from_utf8(out).unwrap();
        assert_eq!(printed, entry["info_with_reused_struct"].as_str().unwrap_or(""), "{name}");
    }
}

#[test]
fn the_stream_of_api_1_0_is_read_as_its_index_says() {
    require!(shared);
    let bytes = folder_file("gob-stream-1_0.bin");
    let index = index("gob-stream-1_0.index.jsonl");
    for piece in [1, 31, 33, bytes.len()] {
        let (events, reader, result) = read(&bytes, piece, None, Omitted::Zero);
        assert_eq!((result, reader.format()), (Ok(()), Some(Format::Meta)));
        assert_eq!(events.len(), index.len());
        for (event, entry) in events.iter().zip(&index) {
            assert_is(event, &entry["sent"], entry["name"].as_str().unwrap());
        }
    }
}

#[test]
fn vectors_are_lines_of_json() {
    require!(shared);
    let bytes = folder_file("vectors.jsonl");
    let (events, reader, result) = read(&bytes, 1000, None, Omitted::Zero);
    assert_eq!((result, reader.format()), (Ok(()), Some(Format::JsonLines)));
    assert_eq!(events.len(), index("vectors.jsonl").len());
}

#[test]
fn every_cut_of_a_stream_is_told() {
    require!(shared);
    for name in ["gob-stream.bin", "gob-stream-1_0.bin"] {
        let bytes = folder_file(name);
        let (whole, ..) = read(&bytes, bytes.len(), None, Omitted::Zero);
        let ends: Vec<usize> = index(&name.replace(".bin", ".index.jsonl"))
            .iter()
            .map(|entry| {
                let number = |key: &str| usize::try_from(entry[key].as_u64().unwrap()).unwrap();
                number("offset") + number("length")
            })
            .collect();
        for length in (1..bytes.len()).step_by(101).chain(ends.iter().copied()) {
            let format = if name == "gob-stream.bin" { Format::Gob } else { Format::Meta };
            let (events, _, result) = read(&bytes[..length], 5000, Some(format), Omitted::Zero);
            assert_eq!(events, whole[..events.len()]);
            assert_eq!(events.len(), ends.iter().filter(|end| **end <= length).count());
            assert_eq!(result.is_ok(), ends.contains(&length), "{name} cut after {length}");
        }
    }
}

#[test]
fn events_are_recorded_and_read_again() {
    let events = [
        Event { at: Some(Timestamp::from_nanoseconds(5)), ..Event::sample(3, &[4, 5, 6]) },
        Event { payload_type: -7, ..Event::sample(-1, &[]) },
        Event::lost(2, u64::MAX),
    ];
    let mut bytes = Vec::new();
    write_start(&mut bytes);
    for event in &events {
        write_event(&mut bytes, event).unwrap();
    }
    for piece in [1, 9, bytes.len()] {
        let (read, reader, result) = read(&bytes, piece, None, Omitted::Zero);
        assert_eq!((result, reader.format()), (Ok(()), Some(Format::Recording)));
        assert_eq!(read, events.map(Owned::from));
    }
    let (events, _, result) = read(&bytes[..bytes.len() - 1], 10, None, Omitted::Zero);
    assert_eq!(events.len(), 2);
    assert_eq!(result, Err(StreamError::Incomplete { length: 35 }));
}

#[test]
fn wrong_lines_are_named() {
    let lines = |text: &str| read(text.as_bytes(), 10, Some(Format::JsonLines), Omitted::Zero);
    let (events, _, result) = lines("{\"hex\":\"0102\",\"cpu\":4}\n\n{\"hex\":\"01");
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].cpu, events[0].data.as_slice()), (4, [1, 2].as_slice()));
    assert!(matches!(result, Err(StreamError::Line { line: 3, .. })), "{result:?}");
    for (line, reason) in [
        ("{}", "hex is missing"),
        ("{\"hex\":\"012\"}", "even number"),
        ("{\"hex\":\"0x\"}", "hexadecimal"),
        ("{\"hex\":1}", "no text"),
        ("{\"hex\":\"\",\"cpu\":\"1\"}", "cpu"),
        ("{\"hex\":\"\",\"lost\":-1}", "lost"),
        ("{\"hex\":\"\",\"time\":\"noon\"}", "RFC 3339"),
    ] {
        let error = lines(line).2.unwrap_err().to_string();
        assert!(error.contains("line 1") && error.contains(reason), "{error}");
    }
}

#[test]
fn what_is_not_understood_is_where_it_begins_in_whatever_pieces_it_comes() {
    // Two empty messages, and a length that takes 66 bytes.
    let bytes = [0, 0, 0xbe, 0];
    for piece in [1, 2, 4] {
        let mut stream = GobStream::new(Omitted::Zero);
        let mut failed = None;
        for bytes in bytes.chunks(piece) {
            stream.push(bytes);
            failed = failed.or(stream.next_event().err());
        }
        let expected = StreamError::Gob { position: 2, error: GobError::NumberTooLong };
        assert_eq!(failed, Some(expected), "{bytes:?} in pieces of {piece}");
    }
}
