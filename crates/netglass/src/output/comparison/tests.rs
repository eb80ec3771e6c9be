//! Snapshots of each format.

use std::time::Duration;

use netglass_model::{Failures, Timestamp};

use super::*;
use crate::{
    fixtures::{Edges, NodeExt as _, named_edge, node, now},
    query::Query,
};

/// One of each kind, and a host that did not report.
fn written(render: impl FnOnce(&Compared<'_>, &mut Vec<u8>)) -> String {
    let (nginx, app) =
        (node("10.0.0.1:many", "nginx", 200), node("10.0.0.2:8080", "app", 300).on("back"));
    let client = node("10.0.0.2:many", "app", 300).on("back");
    let cache = node("10.0.0.3:6379", "redis-server", 500).on("db");
    let database = node("10.0.0.3:5432", "postgres", 400).on("db");
    let cron = node("10.9.0.1:many", "cron", 1).on("lone");
    let before = Edges::default()
        .tcp(nginx.clone(), app.clone())
        .tcp(client.clone(), database)
        .tcp(cron, node("192.0.2.1:443", "", 0).elsewhere());
    let after = Edges::default()
        .tcp(nginx, app)
        .last(|edge| edge.failed = Failures { refused: 7, ..Failures::default() })
        .udp(client, cache);
    write(before, after, render)
}

fn write(before: Edges, after: Edges, render: impl FnOnce(&Compared<'_>, &mut Vec<u8>)) -> String {
    let (before, after) = (before.dependencies(), after.dependencies());
    let comparison = Comparison::new(&before, &after, &Query::default());
    let hour = Duration::from_secs(3_600);
    let window = |until: Timestamp| Window { since: until.saturating_sub(hour), until };
    let compared = Compared {
        comparison: &comparison,
        dependencies: &after,
        before: window(now().saturating_sub(24 * hour)),
        after: window(now()),
    };
    let mut out = Vec::new();
    render(&compared, &mut out);
    String::from_utf8(out).unwrap()
}

fn text(compared: &Compared<'_>, out: &mut Vec<u8>) {
    let mut styled = Vec::new();
    text::render(compared, &mut styled).unwrap();
    *out = anstream::adapter::strip_bytes(&styled).into_vec();
}

#[test]
fn people_see_a_sign_before_each_edge() {
    insta::assert_snapshot!(written(text), @r"
    EDGE                                                                          PROTO  CONNECTIONS  FAILED  CLIENT HOST  SERVER HOST
    + 10.0.0.2:many ('app', pgid=300) → 10.0.0.3:6379 ('redis-server', pgid=500)  udp             12       -  back         db
    - 10.0.0.2:many ('app', pgid=300) → 10.0.0.3:5432 ('postgres', pgid=400)      tcp             12       -  back         db
    ! 10.0.0.1:many ('nginx', pgid=200) → 10.0.0.2:8080 ('app', pgid=300)         tcp             12       7  web          back
    note: host 'lone' did not report between 2023-11-14T21:13:20.000000Z and 2023-11-14T22:13:20.000000Z: a dependency that it alone saw is left out
    ");
}

#[test]
fn no_change_is_said() {
    let same = || Edges::default().tcp(node("10.0.0.1:many", "a", 1), node("10.0.0.2:80", "b", 2));
    insta::assert_snapshot!(write(same(), same(), text), @"nothing appeared, vanished, or began to fail");
}

#[test]
fn programs_see_one_object_a_line() {
    insta::assert_snapshot!(written(|compared, out| json::render(compared, out).unwrap()));
}

#[test]
fn spreadsheets_see_one_record_a_line() {
    insta::assert_snapshot!(written(|compared, out| {
        csv::render(compared, Names::Exact, out).unwrap();
    }));
}

#[test]
fn names_cannot_break_a_line() {
    let before = Edges::default()
        .tcp(node("10.0.0.11:many", "wrk", 1).elsewhere(), node("10.0.0.10:81", "x", 1));
    let shown = write(before, named_edge("a\n\u{1b}[2J+ b"), text);
    assert_eq!(shown.lines().count(), 3, "{shown}");
    assert!(!shown.contains('\u{1b}'), "{shown}");
}
