//! Whether a document is an HTTP Archive of version 1.2, by what its specification says of each
//! object: <http://www.softwareishard.com/blog/har-12-spec/>.

use serde_json::Value;

/// What a value has to be.
#[derive(Clone, Copy)]
enum Is {
    Text,
    /// A point in time, as ISO 8601 has it.
    Time,
    Whole,
    /// Milliseconds, -1 where they do not apply.
    Duration,
    /// A duration that always applies.
    Measured,
    Truth,
    Object(&'static [Field]),
    List(&'static [Field]),
}

/// A name, whether it must be there, and what it is.
type Field = (&'static str, bool, Is);

const NAME_AND_VALUE: &[Field] =
    &[("name", true, Is::Text), ("value", true, Is::Text), ("comment", false, Is::Text)];

const COOKIE: &[Field] = &[
    ("name", true, Is::Text),
    ("value", true, Is::Text),
    ("path", false, Is::Text),
    ("domain", false, Is::Text),
    ("expires", false, Is::Time),
    ("httpOnly", false, Is::Truth),
    ("secure", false, Is::Truth),
    ("comment", false, Is::Text),
];

const CREATOR: &[Field] =
    &[("name", true, Is::Text), ("version", true, Is::Text), ("comment", false, Is::Text)];

const POST_DATA: &[Field] = &[
    ("mimeType", true, Is::Text),
    ("params", true, Is::List(NAME_AND_VALUE)),
    ("text", true, Is::Text),
    ("comment", false, Is::Text),
];

const REQUEST: &[Field] = &[
    ("method", true, Is::Text),
    ("url", true, Is::Text),
    ("httpVersion", true, Is::Text),
    ("cookies", true, Is::List(COOKIE)),
    ("headers", true, Is::List(NAME_AND_VALUE)),
    ("queryString", true, Is::List(NAME_AND_VALUE)),
    ("postData", false, Is::Object(POST_DATA)),
    ("headersSize", true, Is::Whole),
    ("bodySize", true, Is::Whole),
    ("comment", false, Is::Text),
];

const CONTENT: &[Field] = &[
    ("size", true, Is::Whole),
    ("compression", false, Is::Whole),
    ("mimeType", true, Is::Text),
    ("text", false, Is::Text),
    ("encoding", false, Is::Text),
    ("comment", false, Is::Text),
];

const RESPONSE: &[Field] = &[
    ("status", true, Is::Whole),
    ("statusText", true, Is::Text),
    ("httpVersion", true, Is::Text),
    ("cookies", true, Is::List(COOKIE)),
    ("headers", true, Is::List(NAME_AND_VALUE)),
    ("content", true, Is::Object(CONTENT)),
    ("redirectURL", true, Is::Text),
    ("headersSize", true, Is::Whole),
    ("bodySize", true, Is::Whole),
    ("comment", false, Is::Text),
];

const TIMINGS: &[Field] = &[
    ("blocked", false, Is::Duration),
    ("dns", false, Is::Duration),
    ("connect", false, Is::Duration),
    ("send", true, Is::Measured),
    ("wait", true, Is::Measured),
    ("receive", true, Is::Measured),
    ("ssl", false, Is::Duration),
    ("comment", false, Is::Text),
];

const ENTRY: &[Field] = &[
    ("pageref", false, Is::Text),
    ("startedDateTime", true, Is::Time),
    ("time", true, Is::Measured),
    ("request", true, Is::Object(REQUEST)),
    ("response", true, Is::Object(RESPONSE)),
    ("cache", true, Is::Object(&[])),
    ("timings", true, Is::Object(TIMINGS)),
    ("serverIPAddress", false, Is::Text),
    ("connection", false, Is::Text),
    ("comment", false, Is::Text),
];

const LOG: &[Field] = &[
    ("version", true, Is::Text),
    ("creator", true, Is::Object(CREATOR)),
    ("browser", false, Is::Object(CREATOR)),
    ("pages", false, Is::List(&[])),
    ("entries", true, Is::List(ENTRY)),
    ("comment", false, Is::Text),
];

/// Reads an HTTP Archive, and returns its entries.
///
/// # Panics
///
/// When it is none, with the field that is wrong.
pub fn har_entries(text: &str) -> Vec<Value> {
    let archive: Value = serde_json::from_str(text).expect("it is JSON");
    check(&archive, "", Is::Object(&[("log", true, Is::Object(LOG))]));
    assert_eq!(archive["log"]["version"], "1.2");
    let entries = archive["log"]["entries"].as_array().cloned().unwrap_or_default();
    for entry in &entries {
        let timings = &entry["timings"];
        let sum: f64 = ["blocked", "dns", "connect", "send", "wait", "receive"]
            .iter()
            .filter_map(|name| timings[name].as_f64())
            .filter(|duration| *duration >= 0.0)
            .sum();
        let time = entry["time"].as_f64().unwrap_or(f64::NAN);
        assert!((sum - time).abs() < 0.001, "the time is not the sum of the timings: {entry}");
        let of = |name: &str| timings[name].as_f64().unwrap_or(-1.0);
        assert!(of("ssl") <= of("connect"), "TLS is part of connecting: {entry}");
    }
    entries
}

fn check(value: &Value, path: &str, is: Is) {
    let fits = match is {
        Is::Text => value.is_string(),
        Is::Time => value.as_str().is_some_and(is_time),
        Is::Whole => value.is_i64() || value.is_u64(),
        Is::Duration => value.as_f64().is_some_and(|it| it >= 0.0 || is_minus_one(it)),
        Is::Measured => value.as_f64().is_some_and(|it| it >= 0.0),
        Is::Truth => value.is_boolean(),
        Is::Object(_) => value.is_object(),
        Is::List(_) => value.is_array(),
    };
    assert!(fits, "{path} is {value}");
    match is {
        Is::Object(fields) => check_fields(value, path, fields),
        Is::List(fields) => {
            for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                check(item, &format!("{path}[{index}]"), Is::Object(fields));
            }
        }
        _ => {}
    }
}

fn check_fields(object: &Value, path: &str, fields: &[Field]) {
    for (name, is_required, is) in fields {
        match object.get(name) {
            Some(value) => check(value, &format!("{path}.{name}"), *is),
            None => assert!(!is_required, "{path} has no {name}"),
        }
    }
    // Who adds fields of his own begins their names with an underscore.
    for name in object.as_object().into_iter().flat_map(|object| object.keys()) {
        let is_known = fields.iter().any(|(known, ..)| known == name);
        assert!(is_known || name.starts_with('_'), "{path} has {name}, which is not of HAR 1.2");
    }
}

fn is_minus_one(duration: f64) -> bool {
    (duration + 1.0).abs() < f64::EPSILON
}

/// `YYYY-MM-DDThh:mm:ss.sTZD`.
fn is_time(text: &str) -> bool {
    let Some((date, rest)) = text.split_once('T') else { return false };
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<&str> = date.split('-').collect();
    let is_date = parts.len() == 3 && parts.iter().all(|part| is_digits(part));
    let time = rest.strip_suffix('Z').or_else(|| rest.get(..rest.len().saturating_sub(6)));
    let is_time = time.is_some_and(|time| {
        let parts: Vec<&str> = time.split([':', '.']).collect();
        (3..=4).contains(&parts.len()) && parts.iter().all(|part| is_digits(part))
    });
    is_date && is_time
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = r#"{"startedDateTime":"2026-01-31T14:00:00.000Z","time":3,"request":{
        "method":"GET","url":"http://a/","httpVersion":"HTTP/1.1","cookies":[],"headers":[],
        "queryString":[],"headersSize":-1,"bodySize":0},"response":{"status":200,"statusText":"OK",
        "httpVersion":"HTTP/1.1","cookies":[],"headers":[],"content":{"size":0,"mimeType":""},
        "redirectURL":"","headersSize":-1,"bodySize":0},"cache":{},
        "timings":{"dns":-1,"send":1,"wait":1,"receive":1}}"#;

    fn archive(entry: &str) -> String {
        let creator = r#"{"name":"a","version":"1"}"#;
        format!(r#"{{"log":{{"version":"1.2","creator":{creator},"entries":[{entry}]}}}}"#)
    }

    #[test]
    fn an_archive_has_entries() {
        assert_eq!(har_entries(&archive(ENTRY)).len(), 1);
        assert_eq!(har_entries(&archive("")).len(), 0);
    }

    #[test]
    fn what_is_wrong_is_seen() {
        for (right, wrong) in [
            ("\"time\":3", "\"time\":4"),
            ("\"method\":\"GET\",", ""),
            ("\"status\":200", "\"status\":\"200\""),
            ("\"cache\":{}", "\"cache\":{},\"more\":1"),
            ("\"wait\":1", "\"wait\":-1"),
            ("2026-01-31T14", "2026-01-31 14"),
            ("\"dns\":-1", "\"dns\":-2"),
        ] {
            assert!(ENTRY.contains(right), "{right}");
            let wrong = archive(&ENTRY.replace(right, wrong));
            assert!(std::panic::catch_unwind(|| har_entries(&wrong)).is_err(), "{wrong}");
        }
    }
}
