//! Connections that live through many intervals and flushes.

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpStream, UdpSocket},
};

use netglass_testing::{Namespace, Running, require};

use super::{Watch, assert_processes, wait_until_closed};
use crate::support::{Database, load, only_edge_to, wait_for};

#[test]
fn they_count_once_and_their_bytes_are_exact_across_buckets() {
    require!(root, ebpf);
    let host = Namespace::new("host");
    let tcp_server = load(&host, "churn-server --listen 127.0.0.1:8080 --answer 12345");
    let udp_server = load(&host, "udp-server --listen 127.0.0.1:7000");
    let wildcard = load(&host, "udp-server --listen [::]:7001");
    let database = Database::new();
    let options = ["--flush-interval", "20ms", "--bucket", "50ms"];
    let watch = Watch::with("10ms", &database, &[&host], &options);
    let (mut tcp, connected, unconnected) = host.inside(|| {
        let connected = UdpSocket::bind("0.0.0.0:0").unwrap();
        connected.connect("127.0.0.1:7000").unwrap();
        let unconnected = UdpSocket::bind("[::]:0").unwrap();
        (TcpStream::connect("127.0.0.1:8080").unwrap(), connected, unconnected)
    });
    let mut sent = 0;
    let mut sent_by_tcp = 0;
    for round in 0..30 {
        let size = 100 + 37 * round;
        let (question, mut answer) = (vec![0; size], vec![0; size]);
        tcp.write_all(&vec![0; 50 * size]).unwrap();
        connected.send(&question).unwrap();
        assert_eq!(connected.recv(&mut answer).unwrap(), size);
        unconnected.send_to(&question, "[::1]:7001").unwrap();
        assert_eq!(unconnected.recv_from(&mut answer).unwrap().0, size);
        sent += u64::try_from(size).unwrap();
        sent_by_tcp += 50 * u64::try_from(size).unwrap();
        watch.wait_for_collection();
    }
    tcp.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).unwrap();
    drop(tcp);
    wait_until_closed(&host);
    let udp_servers = [udp_server.id(), wildcard.id()];
    drop((udp_server, wildcard));
    let (edges, _) = watch.end();

    let edge = only_edge_to(&edges, 8080);
    assert_processes(edge, std::process::id(), tcp_server.id());
    assert_eq!((edge.number("connections"), edge.number("failed")), (1, 0));
    assert_eq!((edge.number("bytes_sent"), edge.number("bytes_received")), (sent_by_tcp, 12345));
    assert!(edge.number("rtt_us") > 0);
    for (port, server) in (7000..).zip(udp_servers) {
        let edge = only_edge_to(&edges, port);
        assert_processes(edge, std::process::id(), server);
        assert_eq!((edge.number("connections"), edge.number("failed")), (1, 0), "{edge:?}");
        assert_eq!((edge.number("bytes_sent"), edge.number("bytes_received")), (sent, sent));
        assert_eq!((edge.number("segments_sent"), edge.number("segments_received")), (30, 30));
    }
    assert_eq!(edges.len(), 3, "{edges:#?}");

    let stored = rusqlite::Connection::open(database.path()).unwrap();
    let count = "SELECT min(buckets) FROM
                 (SELECT count(*) AS buckets FROM flow_observation
                  WHERE resolution = 0 GROUP BY flow_id)";
    let buckets: i64 = stored.query_row(count, [], |row| row.get(0)).unwrap();
    assert!(buckets > 3, "each flow in {buckets} buckets at least");
}

/// How many open connections to a port, in hexadecimal digits, have nothing left to be taken by their
/// server.
fn connections_read(server: &Running, port: &str) -> usize {
    let sockets = fs::read_to_string(format!("/proc/{}/net/tcp", server.id())).unwrap();
    let is_read = |line: &&str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields[1].ends_with(port) && fields[3] == "01" && fields[4].ends_with(":00000000")
    };
    sockets.lines().skip(1).filter(is_read).count()
}

#[test]
fn those_that_are_open_at_the_end_count_with_all_that_they_did() {
    require!(root, ebpf);
    let host = Namespace::new("host");
    let server = load(&host, "churn-server --listen 127.0.0.1:8080");
    let database = Database::new();
    let watch = Watch::new("20ms", &database, &[&host]);
    let clients = load(&host, "hold-clients --to 127.0.0.1:8080 --connections 500 --send 1000");
    // A server's end is known from when its process has taken something.
    wait_for(|| (connections_read(&server, "1F90") == 500).then_some(()));
    let (edges, ledgers) = watch.end();
    let edge = only_edge_to(&edges, 8080);
    assert_processes(edge, clients.id(), server.id());
    assert_eq!((edge.number("connections"), edge.number("failed")), (500, 0));
    assert_eq!((edge.number("bytes_sent"), edge.number("bytes_received")), (500_000, 0));
    assert!(ledgers[0].count("seen") >= 1000, "{ledgers:?}");
}
