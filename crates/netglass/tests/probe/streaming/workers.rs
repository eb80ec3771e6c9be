//! Whose work it is: the process that has the connection, and not the one that listened for it.

use std::{fs, process::Command};

use netglass_testing::{Namespace, Nginx, Running, load_command, require};

use super::{NEVER, Watch, assert_processes, run_load, wait_until_closed};
use crate::support::{Database, load, only_edge_to, wait_for};

/// A program that listens at `address` and starts another one, named `worker`, to serve there.
fn activated(namespace: &Namespace, address: &str) -> Running {
    load(namespace, &format!("activate --listen {address} --comm worker"))
}

/// The only child of a process.
fn child_of(parent: &Running) -> u32 {
    let children = format!("/proc/{0}/task/{0}/children", parent.id());
    wait_for(|| fs::read_to_string(&children).unwrap().trim().parse().ok())
}

#[test]
fn a_connection_is_the_workers_and_not_the_ones_who_listened_for_it() {
    require!(root, ebpf);
    let host = Namespace::new("host");
    let older = activated(&host, "127.0.0.1:8001");
    let database = Database::new();
    // Each connection is accepted before it is collected.
    let watch = Watch::new(NEVER, &database, &[&host]);
    let newer = activated(&host, "127.0.0.1:8002");
    for (port, activator) in [(8001, &older), (8002, &newer)] {
        let churn = format!("churn-clients --to 127.0.0.1:{port} --connections 100 --send 10");
        run_load(&mut load(&host, &churn), 100);
        wait_until_closed(&host);
        assert_ne!(child_of(activator), activator.id());
    }
    let (edges, _) = watch.end();
    for (port, activator) in [(8001, &older), (8002, &newer)] {
        let edge = only_edge_to(&edges, port);
        assert_eq!(edge.number("server/process/pid"), u64::from(child_of(activator)), "{edge:?}");
        assert_eq!(edge.text("server/process/comm"), "worker");
        assert_eq!(edge.text("server/attribution"), "socket");
        assert_eq!((edge.number("connections"), edge.number("bytes_sent")), (100, 1000));
    }
    assert_eq!(edges.len(), 2, "{edges:#?}");
}

#[test]
fn what_nobody_works_with_is_counted_at_its_end_as_the_ones_who_listen() {
    require!(root, ebpf);
    let host = Namespace::new("host");
    let older = load(&host, "churn-server --listen 0.0.0.0:8001");
    let database = Database::new();
    let watch = Watch::new("20ms", &database, &[&host]);
    let newer = load(&host, "churn-server --listen [::]:8002");
    for port in [8001, 8002] {
        // Nothing is sent, so there is nothing to be taken.
        let churn = format!("churn-clients --to 127.0.0.1:{port} --connections 500");
        run_load(&mut load(&host, &churn), 500);
    }
    wait_until_closed(&host);
    let (edges, _) = watch.end();
    for (port, server) in [(8001, &older), (8002, &newer)] {
        let edge = only_edge_to(&edges, port);
        assert_eq!(edge.number("server/process/pid"), u64::from(server.id()), "{edge:?}");
        assert_eq!(edge.text("server/attribution"), "listener");
        assert_eq!((edge.number("connections"), edge.number("failed")), (500, 0));
    }
    assert_eq!(edges.len(), 2, "{edges:#?}");
}

#[test]
fn a_server_with_workers_is_one_node() {
    require!(root, ebpf, command("nginx"), command("curl"));
    let host = Namespace::new("host");
    let database = Database::new();
    let older = Nginx::new().workers(2).listen("127.0.0.1:8001").file("/page", 10).start(&host);
    let watch = Watch::new("50ms", &database, &[&host]);
    let newer = Nginx::new().workers(2).listen("127.0.0.1:8002").file("/page", 10).start(&host);
    let mut clients = Vec::new();
    for port in [8001, 8002] {
        let mut curl = host.command("curl");
        curl.args(["--silent", "--no-keepalive", "--output", "/dev/null", "--header"]);
        curl.args(["Connection: close", &format!("http://127.0.0.1:{port}/page?[1-200]")]);
        let curl = Running::spawn(curl);
        clients.push(curl.id());
        assert!(curl.wait().status.success());
    }
    wait_until_closed(&host);
    let (edges, _) = watch.end();
    for (port, (client, server)) in [8001, 8002].into_iter().zip(clients.iter().zip([older, newer]))
    {
        let edge = only_edge_to(&edges, port);
        assert_processes(edge, *client, server.id());
        assert_eq!(edge.text("server/process/comm"), "nginx");
        assert_eq!((edge.number("connections"), edge.number("failed")), (200, 0));
    }
    assert_eq!(edges.len(), 2, "{edges:#?}");
}

#[test]
fn a_file_that_the_kernel_sends_is_counted_to_the_byte() {
    require!(root, ebpf, command("nginx"), command("curl"));
    let host = Namespace::new("host");
    let size = 30_000_000;
    let nginx = Nginx::new()
        .directive("sendfile on")
        .listen("127.0.0.1:80")
        .file("/file", size)
        .start(&host);
    let database = Database::new();
    let watch = Watch::new("20ms", &database, &[&host]);
    let mut curl = host.command("curl");
    curl.args(["--silent", "--output", "/dev/null", "http://127.0.0.1/file"]);
    curl.args(["--write-out", "%{size_request} %{size_header} %{size_download}"]);
    let curl = Running::spawn(curl);
    let id = curl.id();
    let finished = curl.wait();
    let numbers = String::from_utf8(finished.stdout).unwrap();
    let numbers: Vec<u64> = numbers.split(' ').map(|number| number.parse().unwrap()).collect();
    let &[request, header, body] = numbers.as_slice() else { panic!("{numbers:?}") };
    assert_eq!(body, u64::try_from(size).unwrap());
    wait_until_closed(&host);
    let (edges, _) = watch.end();
    let edge = only_edge_to(&edges, 80);
    assert_processes(edge, id, nginx.id());
    assert_eq!(edge.number("connections"), 1);
    assert_eq!(edge.number("bytes_sent"), request);
    assert_eq!(edge.number("bytes_received"), header + body);
}

#[test]
fn what_goes_through_an_io_uring_is_counted() {
    require!(root, ebpf);
    let host = Namespace::new("host");
    let mut check = Command::new(load_command());
    if !check.args(["uring", "--check"]).status().unwrap().success() {
        // A kernel may refuse it (kernel.io_uring_disabled).
        return;
    }
    let database = Database::new();
    let watch = Watch::new("20ms", &database, &[&host]);
    let server = load(&host, "uring --serve 127.0.0.1:8080");
    let to = "uring --to 127.0.0.1:8080 --count 200";
    let mut client = load(&host, to);
    run_load(&mut client, 200);
    wait_until_closed(&host);
    let ids = (client.id(), server.id());
    drop(server);
    let (edges, _) = watch.end();
    for protocol in ["tcp", "udp"] {
        let found: Vec<_> = edges.iter().filter(|edge| edge.text("protocol") == protocol).collect();
        assert_eq!(found.len(), 1, "{protocol}: {edges:#?}");
        let edge = found[0];
        assert_processes(edge, ids.0, ids.1);
        assert_eq!((edge.number("connections"), edge.number("failed")), (200, 0));
        assert_eq!((edge.number("bytes_sent"), edge.number("bytes_received")), (1800, 1800));
    }
    assert_eq!(edges.len(), 2, "{edges:#?}");
}
