//! Repetitions, and traces that are read again.

use netglass_testing::har_entries;

use crate::support::{Place, Server, answer};

#[test]
fn repetitions_have_percentiles() {
    let place = Place::new();
    let server = Server::new([(); 3].map(|()| answer("page")).each_ref().map(String::as_str));
    let url = server.url("/");
    let traced = place.trace(&["--repeat", "3", "--interval", "10ms", &url]);
    traced.assert_says(
        0,
        &[
            "    3  200 OK in ",
            "PHASE",
            "P50",
            "P99",
            "\ntotal         3",
            "3 times 200",
            "The slowest:",
        ],
    );
    assert_eq!(server.received().len(), 3, "each has a connection of its own");
}

#[test]
fn a_trace_is_shown_again_in_any_format() {
    let place = Place::new();
    let server = Server::new([(); 2].map(|()| answer("page")).each_ref().map(String::as_str));
    let url = server.url("/");
    let traced = place.trace(&["--format", "json", "--repeat", "2", "--interval", "1ms", &url]);
    assert_eq!(traced.stdout.lines().count(), 2, "{traced:?}");
    place.file("trace.json", &traced.stdout);
    place.trace(&["show", "trace.json"]).assert_says(0, &["    2  200 OK in ", "2 times 200"]);
    let har = place.trace(&["show", "trace.json", "--format", "har"]);
    assert_eq!(har_entries(&har.stdout).len(), 2);
    let again = place.trace(&["show", "trace.json", "--format", "json"]);
    assert_eq!(again.stdout, traced.stdout);
}

#[test]
fn what_is_different_between_two_traces_is_told() {
    let place = Place::new();
    let record = |file: &str, response: &str| {
        let server = Server::new([response]);
        let elsewhere = format!("::127.0.0.1:{}", server.address.port());
        let url = "http://web.example/";
        let traced = place.trace(&["--connect-to", &elsewhere, "--format", "json", url]);
        place.file(file, traced.stdout);
    };
    record("before.json", &answer("page"));
    record("after.json", "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
    let traced = place.trace(&["diff", "before.json", "after.json"]);
    traced.assert_says(
        0,
        &[
            "PHASE",
            "\ntotal ",
            "GET http://web.example/: status: 200 OK -> 503 Service Unavailable\n",
            "GET http://web.example/: bytes of the body: 4 -> 0\n",
        ],
    );
    let json = place.trace(&["diff", "before.json", "after.json", "--format", "json"]).object();
    assert_eq!(json["version"], 1);
    assert!(json["facts"].as_array().unwrap().iter().any(|fact| fact["fact"] == "status"));

    place.file("text", "this is no trace");
    for (file, part) in [("text", "--format json"), ("none", "none"), ("empty.toml", "no trace")] {
        let traced = place.trace(&["show", file]);
        assert_eq!((traced.status, traced.stdout.as_str()), (1, ""), "{traced:?}");
        assert!(traced.stderr.contains(part), "{part} is missing in {traced:?}");
    }
}
