//! Which end is the client.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use netglass_testing::{Dnsmasq, Namespace, Nginx, link, require};

use crate::support::{Database, clients, load, only_edge_to, server};

#[test]
fn the_end_whose_port_is_listened_on_is_the_server() {
    require!(root);
    let (client, server_host) = (Namespace::new("client"), Namespace::new("server"));
    link(&client, "10.9.1.1/24", &server_host, "10.9.1.2/24");
    let _servers = [
        server(&server_host, "10.9.1.2:8001"),
        server(&server_host, "0.0.0.0:8002"),
        server(&server_host, "[::]:8003"),
    ];
    let _clients: Vec<_> =
        (8001..=8003).map(|port| clients(&client, &format!("10.9.1.2:{port}"), 1)).collect();
    // From either end alone, and each time the same answer.
    for (scanned, known, unknown) in
        [(&server_host, "server", "client"), (&client, "client", "server")]
    {
        let database = Database::new();
        database.probe_once(scanned, &[]);
        let edges = database.edges(scanned, &[]);
        assert_eq!(edges.len(), 3, "{edges:#?}");
        for port in 8001..=8003 {
            let edge = only_edge_to(&edges, port);
            assert_eq!(edge.ends(), format!("10.9.1.1 -> 10.9.1.2:{port}"));
            assert_eq!(edge.text(&format!("{known}/process/comm")), "netglass-load");
            assert!(edge.get(&format!("{unknown}/process")).is_null(), "{edge:?}");
        }
    }
}

#[test]
fn addresses_of_ipv6_are_told_from_those_of_ipv4() {
    require!(root);
    let host = Namespace::new("host");
    let _server = server(&host, "[::]:8080");
    let _over_v6 = clients(&host, "[::1]:8080", 2);
    let _over_v4 = clients(&host, "127.0.0.1:8080", 3);
    let database = Database::new();
    database.probe_once(&host, &[]);
    let mut found: Vec<_> = database
        .edges(&host, &[])
        .iter()
        .map(|edge| (edge.ends(), edge.number("connections")))
        .collect();
    found.sort();
    assert_eq!(
        found,
        [("127.0.0.1 -> 127.0.0.1:8080".to_owned(), 3), ("::1 -> ::1:8080".to_owned(), 2)]
    );
}

#[test]
fn an_unconnected_udp_socket_is_a_listener() {
    require!(root, ebpf, command("dnsmasq"));
    let host = Namespace::new("host");
    let resolver = Dnsmasq::new("127.0.0.1").start(&host);
    let client = load(&host, "udp-connected --to 127.0.0.1:53 --count 2");
    let database = Database::new();
    database.probe_once(&host, &[]);
    let edges = database.edges(&host, &[]);
    let edge = only_edge_to(&edges, 53);
    assert_eq!(edge.text("protocol"), "udp");
    assert_eq!(edge.number("connections"), 2);
    assert_eq!(edge.number("client/process/pgid"), u64::from(client.id()));
    assert_eq!(edge.number("server/process/pgid"), u64::from(resolver.running().id()));
    assert_eq!(edge.text("server/process/comm"), "dnsmasq");
    assert_eq!(edge.text("server/attribution"), "listener");
}

#[test]
fn a_udp_port_that_the_kernel_chose_is_no_service() {
    require!(root, ebpf);
    let host = Namespace::new("host");
    let _chosen_by_kernel = load(&host, "udp-unconnected --listen 0.0.0.0:0");
    let _chosen_by_program = load(&host, "udp-unconnected --listen 0.0.0.0:45000");
    let database = Database::new();
    database.probe_once(&host, &[]);
    let tree = database.tree(&host, &["--listening"]);
    assert!(tree.contains("\n0.0.0.0:45000 ('netglass-load'"), "{tree}");
    assert!(tree.contains("\n0.0.0.0:many ('netglass-load'"), "{tree}");
}

#[test]
fn what_is_left_of_a_server_that_has_ended_is_one_service() {
    require!(root, command("nginx"));
    let (client, server_host) = (Namespace::new("client"), Namespace::new("server"));
    link(&client, "10.9.11.1/24", &server_host, "10.9.11.2/24");
    let nginx = Nginx::new().listen("10.9.11.2:80").file("/page", 10).start(&server_host);
    for _ in 0..3 {
        let mut stream = client.inside(|| TcpStream::connect("10.9.11.2:80").unwrap());
        stream.write_all(b"GET /page HTTP/1.0\r\n\r\n").unwrap();
        // Until the server has closed: who closes first has the TIME_WAIT.
        stream.read_to_end(&mut Vec::new()).unwrap();
    }
    drop(nginx);
    let database = Database::new();
    database.probe_once(&server_host, &[]);
    let edges = database.edges(&server_host, &[]);
    assert_eq!(edges.len(), 1, "{edges:#?}");
    assert_eq!(edges[0].ends(), "10.9.11.1 -> 10.9.11.2:80");
    assert_eq!(edges[0].number("connections"), 3);
    assert!(edges[0].get("server/process").is_null());
}
