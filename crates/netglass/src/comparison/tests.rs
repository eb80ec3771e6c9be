//! What counts as a change, and what as the same dependency as before.

use std::{sync::Arc, time::Duration};

use netglass_model::Process;
use proptest::prelude::*;

use super::*;
use crate::fixtures::{Edges, NodeExt as _, host_id, node, now};

fn nginx() -> Node {
    node("10.0.0.1:many", "nginx", 200)
}

fn app() -> Node {
    node("10.0.0.2:8080", "app", 300).on("back")
}

fn one(client: Node, server: Node) -> Edges {
    Edges::default().tcp(client, server)
}

/// Each change as `+ comm > endpoint`.
fn changes(before: Edges, after: Edges) -> Vec<String> {
    let (before, after) = (before.dependencies(), after.dependencies());
    told(&Comparison::new(&before, &after, &Query::default()))
}

fn told(comparison: &Comparison<'_>) -> Vec<String> {
    let comm = |node: &Node| node.process.as_ref().map_or("?".to_owned(), |it| it.comm.clone());
    comparison
        .changes
        .iter()
        .map(|Change { kind, edge, .. }| {
            let sign = match kind {
                Kind::Appeared => '+',
                Kind::Vanished => '-',
                Kind::Failing => '!',
            };
            format!("{sign} {} > {}", comm(&edge.client), edge.server.endpoint())
        })
        .collect()
}

const NOTHING: [String; 0] = [];

#[test]
fn what_is_there_in_one_window_alone_appeared_or_vanished() {
    let database = node("10.0.0.3:5432", "postgres", 400).on("db");
    let before = one(nginx(), app()).tcp(app(), database.clone());
    let cache = node("10.0.0.3:6379", "redis-server", 500).on("db");
    let after = one(nginx(), app()).tcp(app(), cache).tcp(nginx(), database);
    assert_eq!(
        changes(before, after),
        ["+ app > 10.0.0.3:6379", "+ nginx > 10.0.0.3:5432", "- app > 10.0.0.3:5432"]
    );
}

#[test]
fn a_restart_changes_nothing() {
    let restarted = node("10.0.0.2:8080", "app", 9_300).on("back");
    let both = one(nginx(), app()).tcp(nginx(), restarted.clone());
    assert_eq!(changes(one(nginx(), app()), both), NOTHING);
    assert_eq!(changes(one(nginx(), app()), one(nginx(), restarted)), NOTHING);
}

#[test]
fn another_version_in_another_container_changes_nothing() {
    let mut deployed = app().within(4_026_539_999, "");
    deployed.process = deployed.process.map(|process| {
        Arc::new(Process {
            exe: Some("/opt/app-2/bin/app".to_owned()),
            container: Some("0123".to_owned()),
            ..(*process).clone()
        })
    });
    assert_eq!(changes(one(nginx(), app()), one(nginx(), deployed)), NOTHING);
}

#[test]
fn a_container_that_was_made_anew_may_have_moved() {
    let at = |address: &str| node(&format!("{address}:many"), "worker", 1).on("front");
    let before = one(at("172.17.0.2"), app()).tcp(at("172.17.0.3"), app());
    let after = one(at("172.17.0.4"), app()).tcp(at("172.17.0.3"), app());
    assert_eq!(changes(before, after), NOTHING);
}

#[test]
fn of_two_that_are_alike_one_may_move_and_the_other_vanish() {
    let at = |address: &str| node(&format!("{address}:many"), "worker", 1).on("front");
    let before = one(at("172.17.0.2"), app()).tcp(at("172.17.0.3"), app());
    let after = one(at("172.17.0.4"), app());
    assert_eq!(changes(before, after), ["- worker > 10.0.0.2:8080"]);
}

#[test]
fn an_address_of_which_nothing_is_known_does_not_move() {
    let strange = |address: &str| node(&format!("{address}:many"), "", 0).elsewhere();
    assert_eq!(
        changes(one(strange("192.0.2.1"), app()), one(strange("192.0.2.2"), app())),
        ["+ ? > 10.0.0.2:8080", "- ? > 10.0.0.2:8080"]
    );
}

#[test]
fn a_socket_whose_process_is_not_known_may_be_that_of_the_process_before() {
    let unknown = node("10.0.0.1:many", "", 0);
    let without_probe = node("10.0.0.2:8080", "", 0).elsewhere();
    let both = || one(nginx(), app()).tcp(unknown.clone(), app());
    assert_eq!(changes(one(nginx(), app()), both()), NOTHING);
    assert_eq!(changes(both(), one(nginx(), app())), NOTHING);
    assert_eq!(changes(one(nginx(), without_probe), one(nginx(), app())), NOTHING);
    let other = one(node("10.0.0.1:many", "curl", 1), app());
    assert_eq!(
        changes(one(nginx(), app()), other),
        ["+ curl > 10.0.0.2:8080", "- nginx > 10.0.0.2:8080"]
    );
}

#[test]
fn one_address_in_two_namespaces_is_two_nodes() {
    let web = |name: &str| nginx().within(4_026_530_000, name);
    assert_eq!(
        changes(one(web("a"), app()), one(web("b"), app())),
        ["+ nginx > 10.0.0.2:8080", "- nginx > 10.0.0.2:8080"]
    );
}

#[test]
fn another_protocol_or_port_is_another_dependency() {
    let udp = Edges::default().udp(nginx(), app());
    assert_eq!(changes(one(nginx(), app()), udp).len(), 2);
    let moved = node("10.0.0.2:8081", "app", 300).on("back");
    assert_eq!(
        changes(one(nginx(), app()), one(nginx(), moved)),
        ["+ nginx > 10.0.0.2:8081", "- nginx > 10.0.0.2:8080"]
    );
}

#[test]
fn what_fails_now_and_did_not_before_is_told() {
    let failing = |refused| {
        one(nginx(), app()).last(|edge| edge.failed = Failures { refused, ..Failures::default() })
    };
    assert_eq!(changes(failing(0), failing(7)), ["! nginx > 10.0.0.2:8080"]);
    assert_eq!(changes(failing(1), failing(7)), NOTHING);
    assert_eq!(changes(failing(7), failing(0)), NOTHING);
}

#[test]
fn what_is_the_same_is_counted_together_and_shown_as_it_was_seen_last() {
    let earlier = now().saturating_sub(Duration::from_secs(60));
    let restarted = node("10.0.0.2:8080", "app", 9_300).on("back");
    let after = one(nginx(), restarted).tcp(nginx(), app()).last(|edge| edge.last_seen = earlier);
    let before = one(nginx(), node("10.0.0.9:1", "x", 1));
    let (before, after) = (before.dependencies(), after.dependencies());
    let comparison = Comparison::new(&before, &after, &Query::default());
    let change = &comparison.changes[0];
    assert_eq!(change.kind, Kind::Appeared);
    assert_eq!(change.after.map(|sum| sum.connections), Some(24));
    assert_eq!(change.edge.server.process.as_ref().map(|it| it.pgid), Some(9_300));
}

#[test]
fn what_nobody_would_have_seen_is_no_change() {
    let before = one(nginx(), app()).dependencies();
    let cron = node("10.9.0.1:many", "cron", 1).on("lone");
    let abroad = node("192.0.2.1:443", "", 0).elsewhere();
    let after = one(nginx(), app()).tcp(cron, abroad).dependencies();
    let comparison = Comparison::new(&before, &after, &Query::default());
    assert_eq!(told(&comparison), NOTHING);
    let lone = host_id("lone");
    let unobserved = Unobserved { side: Side::Before, host: &lone, edges: 1 };
    assert_eq!(comparison.unobserved, [unobserved]);

    let back = Comparison::new(&after, &before, &Query::default());
    assert_eq!(back.unobserved, [Unobserved { side: Side::After, host: &lone, edges: 1 }]);
}

#[test]
fn what_one_end_would_have_seen_did_appear() {
    let database = node("10.0.0.3:5432", "postgres", 400).on("new-host");
    let after = one(nginx(), app()).tcp(app(), database);
    assert_eq!(changes(one(nginx(), app()), after), ["+ app > 10.0.0.3:5432"]);
}

#[test]
fn only_what_is_asked_about_is_shown() {
    let cache = node("10.0.0.3:6379", "redis-server", 500).on("db");
    let before = one(nginx(), app()).dependencies();
    let after = one(nginx(), cache).dependencies();
    let asked = |query: Query| told(&Comparison::new(&before, &after, &query));
    let process = |name: &str| Query { process: Some(name.to_owned()), ..Query::default() };
    assert_eq!(asked(process("redis-server")), ["+ nginx > 10.0.0.3:6379"]);
    assert_eq!(asked(process("nginx")).len(), 2);
    assert_eq!(asked(process("curl")), NOTHING);
    let port = Query { port: Some(8080), ..Query::default() };
    assert_eq!(asked(port), ["- nginx > 10.0.0.2:8080"]);
}

fn any_edges() -> impl Strategy<Value = Vec<(u8, u8, u8, u8)>> {
    prop::collection::vec((0_u8..3, 0_u8..3, 0_u8..4, 0_u8..3), 0..12)
}

fn made(edges: &[(u8, u8, u8, u8)]) -> Edges {
    let comm = ["", "nginx", "app", "curl"];
    edges.iter().fold(Edges::default(), |made, &(from, to, who, host)| {
        let client = node(&format!("10.0.0.{from}:many"), comm[usize::from(who)], 1);
        let client = match host {
            0 => client.elsewhere(),
            1 => client,
            _ => client.on("front"),
        };
        made.tcp(client, node(&format!("10.0.1.{to}:80"), "server", 2).on("back"))
    })
}

proptest! {
    #[test]
    fn nothing_is_different_from_itself(edges in any_edges()) {
        prop_assert_eq!(changes(made(&edges), made(&edges)), NOTHING);
    }

    #[test]
    fn what_appeared_one_way_vanished_the_other(a in any_edges(), b in any_edges()) {
        let flip = |line: String| line.replace('+', "*").replace('-', "+").replace('*', "-");
        let mut there = changes(made(&a), made(&b));
        let mut back: Vec<String> = changes(made(&b), made(&a)).into_iter().map(flip).collect();
        there.sort();
        back.sort();
        prop_assert_eq!(there, back);
    }
}
