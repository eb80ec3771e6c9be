//! What was there before the probe.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream, UdpSocket},
};

use netglass_testing::{Namespace, require};

use super::{Watch, assert_processes, run_load, wait_until_closed};
use crate::support::{Database, load, only_edge_to};

#[test]
fn connections_older_than_the_probe_count_from_then_on() {
    require!(root, ebpf);
    for (any, local) in [("127.0.0.1", "127.0.0.1"), ("[::1]", "[::1]"), ("[::]", "127.0.0.1")] {
        let host = Namespace::new("host");
        let serve =
            |port| load(&host, &format!("churn-server --listen {any}:{port} --answer 1000"));
        let servers = [serve(8080), serve(8081)];
        let to = format!("{local}:8080");
        let mut client = host.inside(|| TcpStream::connect(&to).unwrap());
        let held =
            load(&host, &format!("hold-clients --to {local}:8081 --connections 3 --send 500"));
        client.write_all(&vec![0; 100_000]).unwrap();
        let database = Database::new();
        let watch = Watch::new("20ms", &database, &[&host]);
        watch.wait_for_collection();
        client.write_all(&[0; 70]).unwrap();
        watch.wait_for_collection();
        client.write_all(&[0; 7]).unwrap();
        // Their end is seen as well.
        client.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        drop(client);
        let held_id = held.id();
        assert!(held.wait().status.success());
        wait_until_closed(&host);
        let (edges, _) = watch.end();
        assert_eq!(edges.len(), 2, "{edges:#?}");
        let of = |pid: u32| {
            let pid = u64::from(pid);
            edges.iter().find(|edge| edge.number("client/process/pid") == pid).unwrap()
        };
        let edge = of(std::process::id());
        assert_processes(edge, std::process::id(), servers[0].id());
        assert_eq!((edge.number("connections"), edge.number("failed")), (1, 0));
        assert_eq!((edge.number("bytes_sent"), edge.number("bytes_received")), (77, 1000));
        let edge = of(held_id);
        assert_processes(edge, held_id, servers[1].id());
        assert_eq!((edge.number("connections"), edge.number("failed")), (3, 0));
        assert_eq!(
            (edge.number("bytes_sent"), edge.number("bytes_received")),
            (0, 3000),
            "{edge:?}"
        );
        assert_eq!(opened(&database), 0, "none of them began while it watched");
    }
}

/// Of how many connections the database knows that they began while a probe watched.
fn opened(database: &Database) -> i64 {
    let stored = rusqlite::Connection::open(database.path()).unwrap();
    let sum = "SELECT sum(opened) FROM flow_observation WHERE resolution = 0";
    stored.query_row(sum, [], |row| row.get(0)).unwrap()
}

#[test]
fn listeners_older_than_the_probe_have_new_connections_with_their_process() {
    require!(root, ebpf);
    let host = Namespace::new("host");
    let addresses = ["127.0.0.1:8001", "0.0.0.0:8002", "[::1]:8003", "[::]:8004"];
    let servers =
        addresses.map(|listen| load(&host, &format!("churn-server --listen {listen} --answer 5")));
    let database = Database::new();
    let watch = Watch::new("20ms", &database, &[&host]);
    watch.wait_for_collection();
    let to = ["127.0.0.1:8001", "127.0.0.1:8002", "[::1]:8003", "127.0.0.1:8004"];
    let mut clients = to.map(|to| {
        load(&host, &format!("churn-clients --to {to} --connections 50 --await-end --send 3"))
    });
    for client in &mut clients {
        run_load(client, 50);
    }
    wait_until_closed(&host);
    let (edges, _) = watch.end();
    for (port, (client, server)) in (8001..).zip(clients.iter().zip(&servers)) {
        let edge = only_edge_to(&edges, port);
        assert_processes(edge, client.id(), server.id());
        assert_eq!((edge.number("connections"), edge.number("failed")), (50, 0));
        assert_eq!((edge.number("bytes_sent"), edge.number("bytes_received")), (150, 250));
    }
    assert_eq!(opened(&database), 2 * 4 * 50, "both ends of each");
}

#[test]
fn udp_sockets_older_than_the_probe_are_counted_from_then_on() {
    require!(root, ebpf);
    let host = Namespace::new("host");
    let bound = load(&host, "udp-server --listen 127.0.0.1:7001");
    let wildcard = load(&host, "udp-server --listen 0.0.0.0:7002");
    let (connected, unconnected) = host.inside(|| {
        let connected = UdpSocket::bind("0.0.0.0:0").unwrap();
        connected.connect("127.0.0.1:7001").unwrap();
        (connected, UdpSocket::bind("0.0.0.0:0").unwrap())
    });
    let exchange = |size| {
        let (question, mut answer) = (vec![0; size], vec![0; size]);
        connected.send(&question).unwrap();
        assert_eq!(connected.recv(&mut answer).unwrap(), size);
        unconnected.send_to(&question, "127.0.0.1:7002").unwrap();
        assert_eq!(unconnected.recv_from(&mut answer).unwrap().0, size);
    };
    exchange(1000);
    let database = Database::new();
    let watch = Watch::new("20ms", &database, &[&host]);
    for _ in 0..3 {
        exchange(20);
        watch.wait_for_collection();
    }
    let ids = [bound.id(), wildcard.id()];
    drop((bound, wildcard));
    let (edges, _) = watch.end();
    for (port, server) in (7001..).zip(ids) {
        let edge = only_edge_to(&edges, port);
        assert_processes(edge, std::process::id(), server);
        assert_eq!(edge.ends(), format!("127.0.0.1 -> 127.0.0.1:{port}"));
        assert_eq!((edge.number("connections"), edge.number("failed")), (1, 0));
        assert_eq!((edge.number("bytes_sent"), edge.number("bytes_received")), (60, 60));
    }
    assert_eq!(edges.len(), 2, "{edges:#?}");
}
