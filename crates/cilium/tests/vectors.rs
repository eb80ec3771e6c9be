//! Every output of the real monitor that is kept, against ours for the same bytes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::{collections::BTreeMap, fmt::Write as _, fs};

use netglass_cilium::{
    Criteria, Event, Filter, InterfaceNames, Level, MessageType, Options, Outcome, Renderer, Style,
    connection_summary,
};
use netglass_testing::{require, shared_folder};
use serde_json::Value;

/// What is not the same, and why: version, name, output, reason.
const EXCEPTIONS: [(&str, &str, &str, &str); 0] = [];

fn read(name: &str) -> Vec<Value> {
    let path = shared_folder().join("vectors/cilium").join(name);
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        hex.chars().map(|digit| u8::try_from(digit.to_digit(16).unwrap()).unwrap()).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn style(version: &str) -> Style {
    if version == "1.5.3" { Style::V1_5 } else { Style::V1_20 }
}

/// The options of an output.
fn options(version: &str, output: &str) -> Option<Options> {
    let style = style(version);
    let plain = Options { style, level: Level::Info, hex: false, numeric: false };
    Some(match (style, output) {
        (_, "info") => plain,
        (_, "info_numeric") => Options { numeric: true, ..plain },
        (Style::V1_5, "verbose") | (_, "vv") => Options { level: Level::Verbose, ..plain },
        (Style::V1_5, "verbose_hex") | (_, "vv_hex") => {
            Options { level: Level::Verbose, hex: true, ..plain }
        }
        (_, "verbose") => Options { level: Level::Debug, ..plain },
        (_, "json") => Options { level: Level::Json, ..plain },
        _ => return None,
    })
}

/// A renderer in a network namespace with nothing but the loopback interface.
fn renderer(options: Options) -> Renderer {
    let mut renderer = Renderer::new(options);
    renderer.set_interfaces(InterfaceNames::from([(1, "lo".to_owned())]));
    renderer
}

fn render(renderer: &mut Renderer, event: &Event<'_>) -> (String, Outcome) {
    let mut out = Vec::new();
    let outcome = renderer.render(event, &mut Filter::default(), &mut out);
    (String::from_utf8(out).unwrap(), outcome)
}

fn event<'a>(vector: &Value, data: &'a [u8]) -> Event<'a> {
    Event {
        at: None,
        cpu: vector["cpu"].as_i64().unwrap(),
        payload_type: vector["payload_type"].as_i64().unwrap(),
        lost: vector["lost"].as_u64().unwrap(),
        data,
    }
}

#[test]
fn every_vector_is_printed_as_the_original_does() {
    require!(shared);
    let mut compared = BTreeMap::<(String, String), (usize, usize)>::new();
    let mut differences = String::new();
    for vector in read("vectors.jsonl") {
        let text = |key: &str| vector[key].as_str().map(ToOwned::to_owned);
        let (version, name) = (text("version").unwrap(), text("name").unwrap());
        let data = bytes(&text("hex").unwrap());
        let event = event(&vector, &data);
        if let (Some(summary), Some(header)) =
            (text("connection_summary"), vector["hdr_len"].as_u64())
        {
            let packet = data.get(usize::try_from(header).unwrap()..).unwrap_or_default();
            assert_eq!(connection_summary(packet, style(&version)), summary, "{name}");
        }
        for output in vector.as_object().unwrap().keys() {
            let Some(options) = options(&version, output) else { continue };
            let expected = text(output).unwrap();
            let (printed, _) = render(&mut renderer(options), &event);
            let is_alternative = vector["verbose_alternatives"]
                .as_array()
                .is_some_and(|all| all.iter().any(|one| one.as_str() == Some(&printed)));
            let is_excepted =
                EXCEPTIONS.iter().any(|it| (it.0, it.1, it.2) == (&version, &name, output));
            let is_same = printed == expected || is_alternative;
            let counts = compared.entry((version.clone(), output.clone())).or_default();
            counts.0 += 1;
            counts.1 += usize::from(is_same);
            if is_same == is_excepted {
                let _ = writeln!(
                    differences,
                    "{version} {name} {output}:\n  expected {expected:?}\n  printed  {printed:?}"
                );
            }
        }
    }
    assert!(compared.values().map(|(all, _)| all).sum::<usize>() > 2000, "{compared:?}");
    assert!(differences.is_empty(), "{differences}{compared:#?}");
}

#[test]
fn what_one_packet_leaves_shows_in_the_next_as_in_the_original() {
    require!(shared);
    for sequence in read("sequences.jsonl") {
        let text = |key: &str| sequence[key].as_str().unwrap();
        let mut renderer = renderer(options(text("version"), text("mode")).unwrap());
        let messages = sequence["messages"].as_array().unwrap();
        let outputs = sequence["outputs"].as_array().unwrap();
        assert_eq!(messages.len(), outputs.len());
        for (message, output) in messages.iter().zip(outputs) {
            let data = bytes(message.as_str().unwrap());
            let (printed, _) = render(&mut renderer, &Event::sample(0, &data));
            assert_eq!(printed, output.as_str().unwrap(), "{}", text("name"));
        }
    }
}

#[test]
fn filters_let_through_what_those_of_the_original_do() {
    require!(shared);
    let vectors = read("vectors.jsonl");
    let mut checked = 0;
    for case in read("filters.jsonl") {
        let version = case["version"].as_str().unwrap();
        let numbers = |key: &str| -> Vec<u16> {
            let values = case["filter"][key].as_array().cloned().unwrap_or_default();
            values.iter().map(|value| u16::try_from(value.as_u64().unwrap()).unwrap()).collect()
        };
        let types = case["filter"]["types"].as_array().cloned().unwrap_or_default();
        let mut filter = Filter::new(Criteria {
            types: types
                .iter()
                .map(|name| MessageType::from_name(name.as_str().unwrap()).unwrap())
                .collect(),
            from: numbers("from"),
            to: numbers("to"),
            related_to: numbers("related"),
            ..Criteria::default()
        });
        let mode = case["mode"].as_str().unwrap();
        for (name, is_printed) in case["printed"].as_object().unwrap() {
            let is_it = |it: &&Value| it["version"] == version && it["name"] == name.as_str();
            // Not all of the vectors that were used are among those that are kept.
            let Some(vector) = vectors.iter().find(is_it) else { continue };
            let data = bytes(vector["hex"].as_str().unwrap());
            let mut out = Vec::new();
            let mut renderer = renderer(options(version, mode).unwrap());
            renderer.render(&event(vector, &data), &mut filter, &mut out);
            assert_eq!(!out.is_empty(), *is_printed, "{name} with {}", case["filter"]);
            checked += 1;
        }
    }
    assert!(checked > 100, "{checked}");
}
