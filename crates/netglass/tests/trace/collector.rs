//! Spans for a collector, which is as strict here as its protocol.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::support::{Place, Server, answer};

/// Asserts that these are all keys of an object.
#[track_caller]
fn object<'a>(value: &'a Value, required: &[&str], allowed: &[&str]) -> &'a Map<String, Value> {
    let object = value.as_object().unwrap_or_else(|| panic!("{value} is no object"));
    for key in required {
        assert!(object.contains_key(*key), "{key} is missing in {value}");
    }
    for key in object.keys().map(String::as_str) {
        assert!(required.contains(&key) || allowed.contains(&key), "{key} in {value}");
    }
    object
}

fn attributes(list: &Value) {
    let mut keys = BTreeSet::new();
    for attribute in list.as_array().unwrap() {
        let pair = object(attribute, &["key", "value"], &[]);
        assert!(keys.insert(pair["key"].as_str().unwrap()), "{list}");
        let value = object(&pair["value"], &[], &["stringValue", "intValue"]);
        assert_eq!(value.len(), 1, "{attribute}");
        let (key, value) = value.iter().next().unwrap();
        let text = value.as_str().unwrap();
        assert!(key != "intValue" || text.parse::<i64>().is_ok(), "{attribute}");
    }
}

fn id(value: &Value, digits: usize) -> &str {
    let id = value.as_str().unwrap();
    let is_hex = |digit: u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit);
    assert!(id.len() == digits && id.bytes().all(is_hex), "{id}");
    assert!(id.bytes().any(|digit| digit != b'0'), "all zeros is no id");
    id
}

/// The spans of an export request, each of which is as opentelemetry-proto says.
fn spans(body: &[u8]) -> Vec<Value> {
    let export: Value = serde_json::from_slice(body).unwrap();
    let resources = &object(&export, &["resourceSpans"], &[])["resourceSpans"];
    let mut all = Vec::new();
    for resource in resources.as_array().unwrap() {
        let resource = object(resource, &["resource", "scopeSpans"], &["schemaUrl"]);
        attributes(&object(&resource["resource"], &["attributes"], &[])["attributes"]);
        for scope in resource["scopeSpans"].as_array().unwrap() {
            let scope = object(scope, &["scope", "spans"], &["schemaUrl"]);
            object(&scope["scope"], &["name"], &["version", "attributes"]);
            all.extend(scope["spans"].as_array().unwrap().iter().cloned());
        }
    }
    let mut ids = BTreeSet::new();
    for span in &all {
        let required =
            ["traceId", "spanId", "name", "kind", "startTimeUnixNano", "endTimeUnixNano"];
        let span = object(span, &required, &["parentSpanId", "attributes", "status", "links"]);
        id(&span["traceId"], 32);
        assert!(ids.insert(id(&span["spanId"], 16).to_owned()), "{span:?} is there twice");
        let time = |key: &str| span[key].as_str().unwrap().parse::<u64>().unwrap();
        assert!(time("startTimeUnixNano") <= time("endTimeUnixNano"), "{span:?}");
        assert!((1..=5).contains(&span["kind"].as_u64().unwrap()), "{span:?}");
        if let Some(list) = span.get("attributes") {
            attributes(list);
        }
        if let Some(status) = span.get("status") {
            assert!(object(status, &["code"], &["message"])["code"].as_u64().unwrap() <= 2);
        }
    }
    for parent in all.iter().filter_map(|span| span.get("parentSpanId")) {
        assert!(ids.contains(id(parent, 16)), "{parent} is of no span");
    }
    all
}

#[test]
fn spans_reach_a_collector() {
    let place = Place::new();
    let server = Server::new([&*answer("page")]);
    let collector = Server::new([&*answer("{}")]);
    let collector_url = collector.url("");
    let traced = place.trace(&["--collector", &collector_url, &server.url("/")]);
    traced.assert_says(0, &["200 OK"]);
    assert_eq!(traced.stderr, "");
    let received = collector.received();
    assert!(received[0].head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{received:?}");
    assert_eq!(received[0].header("content-type"), Some("application/json"));
    let spans = spans(&received[0].body);
    let root: Vec<_> = spans.iter().filter(|span| span.get("parentSpanId").is_none()).collect();
    assert_eq!(root.len(), 1);
    assert_eq!((&root[0]["name"], &root[0]["kind"]), (&"GET".into(), &3.into()));
}

#[test]
fn a_failure_is_a_span_with_its_status() {
    let place = Place::new();
    let collector = Server::new([&*answer("{}")]);
    let path = collector.url("/own/path");
    let traced = place.trace(&["--collector", &path, "http://127.0.0.1:1/"]);
    assert_eq!(traced.status, 4, "{traced:?}");
    let received = collector.received();
    assert!(received[0].head.starts_with("POST /own/path HTTP/1.1\r\n"), "{received:?}");
    let spans = spans(&received[0].body);
    let message = spans[0]["status"]["message"].as_str().unwrap();
    assert!(message.starts_with("connect failed: 127.0.0.1:1 refused"), "{message}");
}

#[test]
fn what_a_collector_does_not_take_is_told() {
    let place = Place::new();
    let asked = |answer: &str| {
        let (server, collector) =
            (Server::new([&*crate::support::answer("")]), Server::new([answer]));
        place.trace(&["--collector", &collector.url(""), &server.url("/")])
    };
    let partial = r#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"too many"}}"#;
    let some = asked(&answer(partial));
    assert_eq!(some.status, 0, "{some:?}");
    assert!(some.stderr.contains("did not take 3 spans: too many"), "{some:?}");
    let none = asked("HTTP/1.1 415 Unsupported Media Type\r\nContent-Length: 4\r\n\r\nno\x1b!");
    assert_eq!(none.status, 1, "{none:?}");
    for part in ["sending spans to the collector http://127.0.0.1:", "415", "no\\u{1b}!"] {
        assert!(none.stderr.contains(part), "{part} is missing in {none:?}");
    }
}
