//! The same answer as that of scans, where scans can see everything.

use std::net::UdpSocket;

use netglass_testing::{Namespace, Signal, require};

use super::{Hosts, shape};
use crate::support::{Database, Probing, clients, load, server};

#[test]
fn both_modes_find_the_same_edges_of_what_lasts() {
    require!(root, ebpf);
    let hosts = Hosts::new();
    let (client, host) = (&hosts.client, &hosts.server);
    let (v4, v6) = (Hosts::SERVER_V4, Hosts::SERVER_V6);
    // Some are older than both probes.
    let mut running = vec![
        server(host, "0.0.0.0:8001"),
        server(host, &format!("[{v6}]:8002")),
        server(host, "127.0.0.1:8003"),
        load(host, "udp-server --listen 0.0.0.0:7001"),
        load(host, &format!("udp-server --listen [{v6}]:7002")),
        clients(client, &format!("{v4}:8001"), 5),
        clients(client, &format!("[{v6}]:8002"), 3),
        clients(host, "127.0.0.1:8003", 2),
        // Nothing is ever sent by these.
        load(client, &format!("udp-connected --to {v4}:7001 --count 4")),
        load(host, "udp-connected --to 127.0.0.1:9999 --count 2"),
    ];
    let ours = client.inside(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect((v4, 7001)).unwrap();
        socket
    });
    let options = ["--flush-interval", "200ms"];
    let by_streaming = Database::new();
    let by_polling = Database::new();
    // One database of each, with a probe in each namespace.
    let streams = hosts.both().map(|it| Probing::stream("50ms", &by_streaming, it, &options));
    let scans = hosts.both().map(|it| {
        let arguments = ["probe", "--format", "json", "--interval", "50ms"];
        let arguments = [&arguments[..], &options].concat();
        Probing::once_ready(netglass_testing::Running::spawn(by_polling.netglass(it, &arguments)))
    });
    running.extend([
        server(host, "127.0.0.1:8004"),
        clients(host, "127.0.0.1:8004", 6),
        clients(client, &format!("{v4}:8001"), 7),
        clients(client, &format!("[{v6}]:8002"), 1),
        load(client, &format!("udp-connected --to [{v6}]:7002 --count 3")),
        load(host, "udp-unconnected --listen 127.0.0.1:7003 --count 2"),
    ]);
    for _ in 0..3 {
        ours.send(b"hello").unwrap();
        ours.recv(&mut [0; 5]).unwrap();
        streams.iter().chain(&scans).for_each(Probing::wait_for_collection);
    }
    for probe in streams.into_iter().chain(scans) {
        let finished = probe.end(Signal::TERM);
        assert!(finished.status.success(), "{finished:?}");
    }
    let shapes = |database: &Database, namespace: &Namespace| {
        let edges = database.edges(namespace, &["--listening"]);
        let (listening, edges): (Vec<_>, Vec<_>) =
            edges.iter().partition(|edge| !edge.get("listener").is_null());
        let mut shapes: Vec<_> = edges.into_iter().map(shape).collect();
        shapes.sort();
        let mut listeners: Vec<_> = listening
            .iter()
            .map(|line| {
                let of = |key: &str| line.get(&format!("listener/{key}")).to_string();
                (of("address"), of("port"), of("process/pid"), of("netns"))
            })
            .collect();
        listeners.sort();
        (shapes, listeners)
    };
    let streamed = shapes(&by_streaming, host);
    let polled = shapes(&by_polling, host);
    assert_eq!(streamed.1, polled.1, "who listens without a peer");
    // Of an unconnected socket a scan does not know to whom it answers.
    assert_eq!(streamed.0, polled.0);
    assert_eq!(streamed.0.len(), 10, "{streamed:#?}");
    drop(running);
}
