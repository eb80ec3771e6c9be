//! Every output of the real monitor that is kept, against that of the program.

use std::fmt::Write as _;

use netglass_testing::{require, shared_folder};
use serde_json::Value;

use crate::support::Place;

/// A release, one of its outputs, and the options that make it.
const OUTPUTS: [(&str, &str, &[&str]); 10] = [
    ("1.5.3", "info", &["--compat", "1.5"]),
    ("1.5.3", "verbose", &["--compat", "1.5", "-v"]),
    ("1.5.3", "verbose_hex", &["--compat", "1.5", "-v", "--hex"]),
    ("1.5.3", "json", &["--compat", "1.5", "-j"]),
    ("main-2026-05-24", "info", &["--compat", "1.20"]),
    ("main-2026-05-24", "info_numeric", &["--compat", "1.20", "-n"]),
    ("main-2026-05-24", "verbose", &["--compat", "1.20", "-v"]),
    ("main-2026-05-24", "vv", &["--compat", "1.20", "-vv"]),
    ("main-2026-05-24", "vv_hex", &["--compat", "1.20", "-vv", "--hex"]),
    ("main-2026-05-24", "json", &["--compat", "1.20", "-j"]),
];

#[test]
fn the_program_writes_what_cilium_does() {
    require!(shared);
    let path = shared_folder().join("vectors/cilium/vectors.jsonl");
    let text = std::fs::read_to_string(path).unwrap();
    let vectors: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let place = Place::new();
    for (version, output, arguments) in OUTPUTS {
        let (mut input, mut expected) = (String::new(), String::new());
        // The state that packets leave behind in Cilium's program is another matter, and an interface
        // has the name that it has here.
        for vector in vectors.iter().filter(|it| it["version"] == version && is_plain(it)) {
            let Value::String(text) = &vector[output] else { continue };
            let (hex, cpu, kind) = (&vector["hex"], &vector["cpu"], &vector["payload_type"]);
            let lost = &vector["lost"];
            writeln!(
                input,
                "{{\"hex\":{hex},\"cpu\":{cpu},\"payload_type\":{kind},\"lost\":{lost}}}"
            )
            .unwrap();
            expected.push_str(text);
        }
        let monitored = place.monitor_file(input.as_bytes(), arguments);
        let lines = monitored.stdout.lines().zip(expected.lines());
        for (written, line) in lines {
            assert_eq!(written, line, "{version} {output}");
        }
        assert_eq!(monitored.stdout.len(), expected.len(), "{version} {output}");
    }
}

/// Whether it is a drop for one of the reasons, whose packet is always the same.
fn is_plain(vector: &Value) -> bool {
    vector["name"].as_str().is_some_and(|name| name.starts_with("drop-reason-"))
}
