//! Trees in many shapes.

use std::net::IpAddr;

use super::*;
use crate::{
    fixtures::{Edges, NodeExt as _, host_id, named_edge, nginx, node, now},
    query::Query,
    tree::Extent,
};

fn at(address: &str) -> Query {
    Query { addresses: vec![address.parse::<IpAddr>().unwrap()], ..Query::default() }
}

fn process(name: &str) -> Query {
    Query { process: Some(name.to_owned()), ..Query::default() }
}

fn shown(edges: Edges, query: &Query, extent: Extent) -> String {
    let dependencies = edges.dependencies();
    let tree = Tree::build(&dependencies, query, extent);
    let mut out = anstream::StripStream::new(Vec::new());
    render(&tree, now(), &mut out).unwrap();
    String::from_utf8(out.into_inner()).unwrap()
}

fn to_depth(depth: u32) -> Extent {
    Extent { depth, listening: false }
}

fn with_listeners() -> Extent {
    Extent { depth: 1, listening: true }
}

/// client → proxy → app → database, each process at its own address.
fn chain() -> Edges {
    Edges::default()
        .tcp(node("10.0.0.1:many", "curl", 1), node("10.0.0.2:80", "nginx", 2))
        .tcp(node("10.0.0.2:many", "nginx", 2), node("10.0.0.3:8080", "app", 3))
        .tcp(node("10.0.0.3:many", "app", 3), node("10.0.0.4:5432", "postgres", 4))
}

#[test]
fn a_server_stands_above_its_clients() {
    let edges = Edges::default()
        .tcp(node("10.0.0.11:many", "wrk", 5982).elsewhere(), nginx())
        .tcp(node("10.0.0.9:many", "curl", 77).elsewhere(), nginx());
    insta::assert_snapshot!(shown(edges, &at("10.0.0.10"), to_depth(1)));
}

#[test]
fn an_address_shows_all_its_processes_in_both_directions() {
    insta::assert_snapshot!(shown(Edges::web(), &at("10.0.0.10"), to_depth(1)));
}

#[test]
fn what_a_process_depends_on_stands_under_its_lowest_port() {
    let client = || node("10.0.0.11:many", "wrk", 5982);
    let edges = Edges::default()
        .tcp(client(), node("10.0.0.10:443", "nginx", 4656))
        .tcp(client(), nginx())
        .tcp(node("10.0.0.10:many", "nginx", 4656), node("10.0.0.12:8080", "python", 6111))
        .tcp(node("10.0.0.99:many", "nginx", 4656), node("10.0.0.12:8080", "python", 6111));
    insta::assert_snapshot!(shown(edges, &process("nginx"), to_depth(1)));
}

#[test]
fn processes_of_one_name_and_group_are_not_taken_for_each_other() {
    let python = |address, pid| node(address, "python3", 9).with_pid(pid);
    let edges = Edges::default().tcp(python("127.0.0.1:many", 10), python("127.0.0.1:80", 11));
    insta::assert_snapshot!(shown(edges, &process("python3"), to_depth(2)));
}

#[test]
fn a_chain_is_followed_to_its_end() {
    insta::assert_snapshot!(shown(chain(), &at("10.0.0.1"), to_depth(3)));
    insta::assert_snapshot!(shown(chain(), &process("postgres"), to_depth(3)));
}

#[test]
fn a_chain_is_followed_no_deeper_than_asked() {
    insta::assert_snapshot!(shown(chain(), &at("10.0.0.1"), to_depth(2)));
}

#[test]
fn a_cycle_is_marked_and_not_followed() {
    let edges = chain().tcp(node("10.0.0.4:many", "postgres", 4), node("10.0.0.2:80", "nginx", 2));
    insta::assert_snapshot!(shown(edges, &process("nginx"), to_depth(9)));
}

#[test]
fn a_process_that_talks_to_itself_is_a_cycle() {
    let edges =
        Edges::default().tcp(node("127.0.0.1:many", "java", 5), node("127.0.0.1:9000", "java", 5));
    insta::assert_snapshot!(shown(edges, &process("java"), to_depth(2)));
}

#[test]
fn what_two_ways_lead_to_is_followed_once() {
    let edges = Edges::default()
        .tcp(node("10.0.0.1:many", "a", 1), node("10.0.0.2:1", "b", 2))
        .tcp(node("10.0.0.1:many", "a", 1), node("10.0.0.3:1", "c", 3))
        .tcp(node("10.0.0.2:many", "b", 2), node("10.0.0.4:1", "d", 4))
        .tcp(node("10.0.0.3:many", "c", 3), node("10.0.0.4:1", "d", 4))
        .tcp(node("10.0.0.4:many", "d", 4), node("10.0.0.5:1", "e", 5));
    insta::assert_snapshot!(shown(edges, &process("a"), to_depth(5)));
}

#[test]
fn a_dense_graph_stays_small() {
    let mut edges = Edges::default();
    for from in 1..30 {
        for to in 1..30 {
            edges = edges.tcp(
                node(&format!("10.0.0.{from}:many"), "mesh", from),
                node(&format!("10.0.0.{to}:1"), "mesh", to),
            );
        }
    }
    let lines = shown(edges, &at("10.0.0.1"), to_depth(30)).lines().count();
    assert!(lines < 2 * 30 * 30 * 30, "{lines} lines");
}

#[test]
fn a_process_with_sockets_in_two_namespaces_is_followed_through_both() {
    let edges = Edges::default()
        .tcp(
            node("10.0.0.1:many", "curl", 1).within(1, "red"),
            node("10.0.0.2:80", "relay", 2).within(1, "red"),
        )
        .tcp(
            node("10.1.0.2:many", "relay", 2).within(2, "blue"),
            node("10.1.0.3:80", "app", 3).within(2, "blue"),
        );
    insta::assert_snapshot!(shown(edges, &process("curl"), to_depth(2)));
}

#[test]
fn processes_of_one_group_in_two_namespaces_are_two_nodes() {
    let python = |address, pid| node(address, "python3", 9).with_pid(pid);
    let edges = Edges::default()
        .tcp(python("10.0.0.1:many", 10).within(1, ""), python("10.0.0.2:80", 11).within(2, ""));
    insta::assert_snapshot!(shown(edges, &at("10.0.0.1"), to_depth(2)));
}

#[test]
fn an_unknown_process_says_so_and_is_not_followed() {
    let edges = Edges::default()
        .tcp(node("10.0.0.1:many", "curl", 1), node("10.0.0.2:80", "", 0))
        .tcp(node("10.0.0.2:many", "", 0), node("10.0.0.3:80", "app", 3))
        .tcp(node("203.0.113.7:many", "", 0).elsewhere(), node("10.0.0.2:80", "", 0));
    insta::assert_snapshot!(shown(edges, &at("10.0.0.2"), to_depth(3)));
}

#[test]
fn addresses_of_ipv6_stand_in_brackets() {
    let edges = Edges::default()
        .tcp(node("[2001:db8::1]:many", "curl", 1), node("[2001:db8::2]:80", "nginx", 2))
        .tcp(node("[::ffff:10.0.0.1]:many", "curl", 1), node("10.0.0.2:80", "nginx", 2));
    insta::assert_snapshot!(shown(edges, &process("nginx"), to_depth(1)));
}

#[test]
fn udp_is_told_from_tcp() {
    let edges = Edges::default()
        .udp(node("10.0.0.1:many", "dig", 1), node("10.0.0.2:53", "unbound", 2))
        .tcp(node("10.0.0.1:many", "dig", 1), node("10.0.0.2:53", "unbound", 2));
    insta::assert_snapshot!(shown(edges, &process("unbound"), to_depth(1)));
}

#[test]
fn namespaces_are_named_where_there_are_several() {
    let edges = Edges::default()
        .tcp(
            node("10.0.0.1:many", "curl", 1).within(4_026_532_000, "red"),
            node("10.0.0.2:80", "nginx", 2),
        )
        .tcp(node("10.0.0.3:many", "", 0).elsewhere(), node("10.0.0.2:80", "nginx", 2));
    insta::assert_snapshot!(shown(edges, &process("nginx"), to_depth(1)));
}

#[test]
fn hosts_are_named_where_there_are_several() {
    insta::assert_snapshot!(shown(Edges::two_hosts(), &process("nginx"), to_depth(1)));
}

#[test]
fn hosts_of_one_name_are_told_apart() {
    let mut dependencies = Edges::two_hosts().dependencies();
    for host in &mut dependencies.hosts {
        host.id.hostname = "localhost".to_owned();
    }
    let names: Vec<String> =
        dependencies.hosts.iter().map(|host| host_name(&host.id, &dependencies.hosts)).collect();
    assert_ne!(names[0], names[1]);
    assert!(names[0].starts_with("localhost ("), "{names:?}");
    assert_eq!(host_name(&host_id("a\nb"), &[]), "a\\nb");
}

#[test]
fn a_strange_name_stays_on_its_line() {
    for name in ["it's", "two\nlines", "\u{1b}[31mred", "(sd-pam) ", "名前", "\u{202e}gnp"] {
        insta::assert_snapshot!(shown(named_edge(name), &at("10.0.0.10"), to_depth(1)));
    }
}

#[test]
fn listeners_to_which_nobody_talked_are_shown_when_asked_for() {
    let edges = || {
        Edges::web()
            .listener(node("0.0.0.0:80", "nginx", 4656))
            .listener(node("0.0.0.0:22", "sshd", 700))
            .listener(node("127.0.0.1:6379", "redis", 800))
    };
    let host = Query::host(host_id("web"));
    insta::assert_snapshot!(shown(edges(), &host, with_listeners()));
    let without = shown(edges(), &host, to_depth(1));
    assert!(!without.contains("sshd") && !without.contains("redis"), "{without}");
    let at_address = shown(edges(), &at("10.0.0.10"), with_listeners());
    assert!(at_address.contains("sshd") && !at_address.contains("redis"), "{at_address}");
}

#[test]
fn a_port_keeps_dependencies_on_it_alone() {
    let port = |port| Query { port: Some(port), ..Query::default() };
    insta::assert_snapshot!(shown(Edges::web(), &port(8080), to_depth(2)));
    let both = Query { port: Some(80), ..at("10.0.0.10") };
    insta::assert_snapshot!(shown(Edges::web(), &both, to_depth(1)));
}

#[test]
fn conditions_must_all_hold() {
    let none = Query { process: Some("wrk".to_owned()), ..at("10.0.0.10") };
    let dependencies = Edges::web().dependencies();
    assert!(Tree::build(&dependencies, &none, to_depth(1)).is_empty());
}

#[test]
fn numbers_have_units() {
    assert_eq!(show_bytes(0), "0 B");
    assert_eq!(show_bytes(1023), "1023 B");
    assert_eq!(show_bytes(1536), "1.5 KiB");
    assert_eq!(show_bytes(1024 * 1024 - 1), "1.0 MiB");
    assert_eq!(show_bytes(u64::MAX), "16.0 EiB");
    assert_eq!(show_rtt(125), "0.12 ms");
    assert_eq!(show_rtt(12_345), "12.3 ms");
    assert_eq!(show_rtt(1_234_567), "1235 ms");
}

#[test]
fn a_terminal_gets_styles() {
    let dependencies = Edges::web().dependencies();
    let tree = Tree::build(&dependencies, &at("10.0.0.10"), to_depth(1));
    let mut out = Vec::new();
    render(&tree, now(), &mut out).unwrap();
    assert!(String::from_utf8(out).unwrap().contains("\u{1b}[1m10.0.0.10:80 ('nginx', pgid=4656)"));
}
