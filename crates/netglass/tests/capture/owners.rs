//! The processes at the ends of conversations.

#[cfg(feature = "ebpf")]
use std::{collections::BTreeSet, process::Stdio};

use netglass_testing::{Namespace, Running, Signal, link, load_command, require};

use crate::support::{Captured, Flow, Place};

/// `netglass-load` in a namespace, once it holds its sockets.
fn load(namespace: &Namespace, arguments: &str) -> Running {
    let mut command = namespace.command(load_command());
    command.args(arguments.split_ascii_whitespace());
    let running = Running::spawn(command);
    running.wait_for_line("ready");
    running
}

/// The conversation with a server's port.
#[track_caller]
fn flow_to(captured: &Captured, port: u64) -> &Flow {
    let found: Vec<_> =
        captured.flows.iter().filter(|flow| flow.number("dst_port") == port).collect();
    assert_eq!(found.len(), 1, "{captured:#?}");
    found[0]
}

#[track_caller]
fn assert_owned(flow: &Flow, end: &str, owner: Option<&Running>) {
    let get = |what: &str| flow.get(&format!("{end}_process_{what}"));
    let Some(owner) = owner else {
        assert!(get("pid").is_null() && get("comm").is_null(), "{flow:?}");
        return;
    };
    assert_eq!(get("pid"), owner.id(), "{end} of {flow:?}");
    assert_eq!(get("comm"), "netglass-load");
    assert_eq!(get("attribution"), "socket");
    assert_eq!(get("uid"), 0);
}

#[test]
fn on_loopback_both_ends_have_their_process() {
    require!(root);
    let (place, host) = (Place::new(), Namespace::new("host"));
    let capturing = place.begin(&host, &["-i", "lo", "--stats-interval", "200ms"]);
    let server = load(&host, "hold-server --listen 127.0.0.1:8080");
    let client = load(&host, "hold-clients --to 127.0.0.1:8080 --connections 1");
    capturing.wait_for_a_look();
    let captured = capturing.end(Signal::TERM);
    let flow = flow_to(&captured, 8080);
    assert_owned(flow, "src", Some(&client));
    assert_owned(flow, "dst", Some(&server));
}

#[test]
fn between_hosts_the_own_end_has_its_process() {
    require!(root);
    let place = Place::new();
    let (one, other) = (Namespace::new("one"), Namespace::new("other"));
    let devices = link(&one, "10.9.23.1/24", &other, "10.9.23.2/24");
    let options = ["--stats-interval", "200ms", "tcp"];
    let of_client = place.begin(&one, &[&["-i", &devices.first][..], &options].concat());
    let of_server = place.begin(&other, &[&["-i", &devices.second][..], &options].concat());
    let both = [&["-i", &devices.first, "--all-namespaces"][..], &options].concat();
    let of_both = place.begin(&one, &both);
    let server = load(&other, "hold-server --listen 10.9.23.2:8080");
    let client = load(&one, "hold-clients --to 10.9.23.2:8080 --connections 1");
    for (capturing, ends) in [
        (of_client, [Some(&client), None]),
        (of_server, [None, Some(&server)]),
        (of_both, [Some(&client), Some(&server)]),
    ] {
        capturing.wait_for_a_look();
        let captured = capturing.end(Signal::TERM);
        let flow = flow_to(&captured, 8080);
        assert_owned(flow, "src", ends[0]);
        assert_owned(flow, "dst", ends[1]);
    }
}

#[test]
fn a_connection_that_was_closed_keeps_its_process() {
    require!(root);
    let (place, host) = (Place::new(), Namespace::new("host"));
    let capturing = place.begin(&host, &["-i", "lo", "--stats-interval", "200ms", "tcp"]);
    let _server = load(&host, "hold-server --listen 127.0.0.1:8080");
    let client = load(&host, "hold-clients --to 127.0.0.1:8080 --connections 1");
    let id = client.id();
    capturing.wait_for_a_look();
    drop(client);
    capturing.wait_for_a_look();
    let captured = capturing.end(Signal::TERM);
    let flow = flow_to(&captured, 8080);
    assert_eq!(flow.get("src_process_pid"), id, "{flow:?}");
}

/// What is sent and done within a millisecond: no look at the sockets comes in between.
#[test]
#[cfg(feature = "ebpf")]
fn clients_of_a_millisecond_have_their_process() {
    require!(root, ebpf);
    for engine in ["ring", "kernel"] {
        let (place, host) = (Place::new(), Namespace::new("host"));
        let options = ["-i", "lo", "--engine", engine, "--collect-interval", "100ms"];
        let capturing = place.begin(&host, &options);
        let _server = load(&host, "churn-server --listen 127.0.0.1:8080");
        let mut clients = BTreeSet::new();
        for _ in 0..100 {
            let mut command = host.command(load_command());
            command.args(["hold-clients", "--to", "127.0.0.1:8080", "--send", "10"]);
            command.stdin(Stdio::null()).stdout(Stdio::null());
            let mut child = command.spawn().unwrap();
            clients.insert(u64::from(child.id()));
            assert!(child.wait().unwrap().success());
        }
        // With a socket of its own for each of them.
        let _server = load(&host, "udp-server --listen 127.0.0.1:9000");
        let mut datagrams = load(&host, "udp-exchanges --to 127.0.0.1:9000 --count 50");
        let sender = u64::from(datagrams.id());
        datagrams.write_stdin(b"go\n");
        datagrams.wait_for_line("done");
        let captured = capturing.end(Signal::TERM);
        let owners = |port: u64| -> Vec<Option<u64>> {
            let flows = captured.flows.iter().filter(|flow| flow.number("dst_port") == port);
            flows.map(|flow| flow.get("src_process_pid").as_u64()).collect()
        };
        let of_connections = owners(8080);
        assert_eq!(of_connections.len(), 100, "{captured:#?}");
        let found: BTreeSet<u64> = of_connections.into_iter().flatten().collect();
        assert_eq!(found, clients, "{engine}: {captured:#?}");
        let of_datagrams = owners(9000);
        // A port may have been chosen twice: then two of them are one conversation.
        let to_echo = captured.flows.iter().filter(|flow| flow.number("dst_port") == 9000);
        assert_eq!(to_echo.map(|flow| flow.number("src_packets")).sum::<u64>(), 50);
        assert!(of_datagrams.iter().all(|owner| *owner == Some(sender)), "{captured:#?}");
        for flow in captured.flows.iter().filter(|flow| flow.number("dst_port") == 8080) {
            assert_eq!(flow.text("src_process_attribution"), "socket", "{flow:?}");
            assert_eq!(flow.text("src_process_comm"), "netglass-load", "{flow:?}");
        }
    }
}
