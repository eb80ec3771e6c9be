//! Whatever the bytes are, there is a line or a count, and never an end.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::fs;

use netglass_cilium::{
    Event, Filter, Layouts, Level, Options, Outcome, Release, Renderer, Style, decode, limits,
    stream::{Format, Omitted, StreamReader},
};
use netglass_testing::{require, shared_folder};
use proptest::prelude::*;
use serde_json::Value;

const STYLES: [Style; 5] = [
    Style::V1_5,
    Style::V1_20,
    Style::Netglass(None),
    Style::Netglass(Some(Release { major: 1, minor: 6 })),
    Style::Netglass(Some(Release { major: 1, minor: 14 })),
];
const LEVELS: [Level; 4] = [Level::Info, Level::Debug, Level::Verbose, Level::Json];

fn all_options() -> Vec<Options> {
    let mut all = Vec::new();
    for style in STYLES {
        for level in LEVELS {
            all.push(Options { style, level, hex: false, numeric: false });
        }
        all.push(Options { style, level: Level::Verbose, hex: true, numeric: true });
    }
    all
}

/// Renders in all ways, and holds our own JSON against what it must be.
fn check(renderers: &mut [(Options, Renderer)], data: &[u8]) {
    for (options, renderer) in renderers {
        let mut out = Vec::new();
        let outcome = renderer.render(&Event::sample(1, data), &mut Filter::default(), &mut out);
        assert_ne!(outcome, Outcome::Filtered);
        if options.style.layouts() == Layouts::V1_5 || options.style.layouts() == Layouts::V1_20 {
            continue;
        }
        if options.level == Level::Json {
            let value: Value = serde_json::from_slice(&out).unwrap();
            for key in ["v", "time", "cpu", "type"] {
                assert!(value.get(key).is_some(), "{value}");
            }
        }
        if matches!(outcome, Outcome::Malformed | Outcome::UnknownType) {
            assert!(out.ends_with(b"\n"));
        }
    }
}

fn renderers() -> Vec<(Options, Renderer)> {
    all_options().into_iter().map(|options| (options, Renderer::new(options))).collect()
}

fn vectors() -> Vec<Vec<u8>> {
    let text = fs::read_to_string(shared_folder().join("vectors/cilium/vectors.jsonl")).unwrap();
    text.lines()
        .map(|line| {
            let vector: Value = serde_json::from_str(line).unwrap();
            let digits: Vec<u8> = vector["hex"]
                .as_str()
                .unwrap()
                .chars()
                .map(|digit| u8::try_from(digit.to_digit(16).unwrap()).unwrap())
                .collect();
            digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
        })
        .collect()
}

#[test]
fn every_truncation_of_every_vector_is_rendered() {
    require!(shared);
    let mut renderers = renderers();
    for vector in vectors() {
        // Records of proxies are long, and much the same from one byte to the next.
        let step = if vector.len() > 400 { 13 } else { 1 };
        for length in (0..=vector.len()).step_by(step) {
            check(&mut renderers, &vector[..length]);
        }
    }
}

/// A message with its length before it.
fn message(body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(body.len()).unwrap()];
    bytes.extend_from_slice(body);
    bytes
}

#[test]
fn hostile_gob_is_refused_with_bounded_memory() {
    let events = |bytes: &[u8]| {
        let mut reader = StreamReader::new(Some(Format::Gob), Omitted::Zero);
        reader.push(bytes);
        reader.next_event().map(|event| event.is_some()).map_err(|error| error.to_string())
    };
    // A message of two exabytes.
    assert!(events(&[0xf8, 0x20, 0, 0, 0, 0, 0, 0, 0]).unwrap_err().contains("message length"));
    let mut longer = vec![0xfc];
    longer.extend_from_slice(&u32::try_from(limits::MESSAGE + 1).unwrap().to_be_bytes());
    assert!(events(&longer).unwrap_err().contains("message length"));
    // Type 65 is a slice of itself, and a value of it with a million elements in one another.
    let mut cycle = message(&[0xff, 0x81, 2, 1, 1, 1, b'X', 1, 0xff, 0x82, 0, 1, 0xff, 0x82, 0, 0]);
    cycle.extend(message(&[0xff, 0x82, 0, 1, 1, 1, 1, 1, 1, 1]));
    assert!(events(&cycle).unwrap_err().contains("struct"));
    // A struct whose only field is that slice.
    let mut deep = message(&[0xff, 0x81, 2, 1, 1, 1, b'X', 1, 0xff, 0x82, 0, 1, 0xff, 0x82, 0, 0]);
    deep.extend(message(&[
        0xff, 0x83, 3, 1, 1, 1, b'P', 1, 0xff, 0x84, 0, 1, 1, 1, 1, b'F', 1, 0xff, 0x82, 0, 0, 0,
    ]));
    let mut body = vec![0xff, 0x84, 1];
    body.extend([1; 100]);
    body.extend([0, 0]);
    deep.extend(message(&body));
    assert!(events(&deep).unwrap_err().contains("levels"), "{:?}", events(&deep));
    // A slice that says it has more elements than there are bytes.
    let mut giant = deep[..deep.len() - body.len() - 1].to_vec();
    giant.extend(message(&[0xff, 0x84, 1, 0xf8, 255, 255, 255, 255, 255, 255, 255, 255, 0]));
    assert!(events(&giant).unwrap_err().contains("EOF"), "{:?}", events(&giant));
    // A type that is not defined, one defined twice, and a field that is none.
    assert!(events(&message(&[0xff, 0x90, 1, 0])).unwrap_err().contains("unknown type"));
    let definition = message(&[0xff, 0x81, 2, 1, 1, 1, b'X', 1, 0xff, 0x82, 0, 1, 4, 0, 0]);
    assert!(events(&definition.repeat(2)).unwrap_err().contains("duplicate"));
    // Definitions without end.
    let many: Vec<u8> = (0..=limits::TYPES)
        .flat_map(|number| {
            let id = u16::try_from(2 * (100 + number) - 1).unwrap().to_be_bytes();
            message(&[0xfe, id[0], id[1], 2, 1, 1, 1, b'X', 0, 1, 4, 0, 0])
        })
        .collect();
    assert!(events(&many).unwrap_err().contains("types"), "{:?}", events(&many));
}

proptest! {
    #[test]
    fn random_bytes_are_rendered(first in prop::sample::select(vec![1u8, 2, 3, 4, 5, 6, 7, 129, 130, 9]),
                                 rest: Vec<u8>) {
        let mut data = vec![first];
        data.extend(rest);
        check(&mut renderers(), &data);
        for style in STYLES {
            let _ = decode(&data, style.layouts());
        }
    }

    #[test]
    fn random_streams_end_or_fail(bytes: Vec<u8>, piece in 1usize..50) {
        for format in [None, Some(Format::Gob), Some(Format::Meta), Some(Format::JsonLines), Some(Format::Recording)] {
            let mut reader = StreamReader::new(format, Omitted::Last);
            let mut events = 0;
            for piece in bytes.chunks(piece) {
                reader.push(piece);
                while let Ok(Some(_)) = reader.next_event() {
                    events += 1;
                }
            }
            reader.end();
            while let Ok(Some(_)) = reader.next_event() {
                events += 1;
            }
            let _ = reader.finish();
            prop_assert!(events <= bytes.len());
        }
    }

    /// Packets of any bytes behind the headers that lead to most decoders.
    #[test]
    fn random_packets_are_taken_apart(
        kind in 0usize..8,
        flags in 0u8..16,
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let starts: [&[u8]; 8] = [
            &[0, 0], &[0x08, 0], &[0x86, 0xdd], &[0x65, 0x58], &[0x81, 0, 0, 1, 8, 0],
            &[8, 0, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8],
            &[8, 0, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8],
            &[8, 0, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, 112, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8],
        ];
        let mut data = vec![0; 56];
        data[0] = 4;
        data[12] = 255;
        data[14] = 2;
        data[27] = flags;
        if flags & 2 == 0 {
            data.extend([0; 12]);
            data.extend(starts[kind]);
        }
        data.extend(body);
        check(&mut renderers(), &data);
    }
}
