//! `netglass-load` opens what it is asked to open, and no more.
#![allow(clippy::unwrap_used, reason = "test code")]

use netglass_testing::{Namespace, Running, link, load_command, require, run};

fn load(namespace: &Namespace, arguments: &[&str]) -> Running {
    let mut command = namespace.command(load_command());
    command.args(arguments);
    let running = Running::spawn(command);
    running.wait_for_line("ready");
    running
}

fn sockets(namespace: &Namespace, arguments: &[&str]) -> Vec<String> {
    let listed = run(namespace.command("ss").args(["-Hn"]).args(arguments));
    listed.lines().map(str::to_owned).collect()
}

#[test]
fn clients_of_several_processes_hold_exactly_the_connections_asked_for() {
    require!(root, command("ss"));
    let (client, server) = (Namespace::new("client"), Namespace::new("server"));
    let devices = link(&client, "10.0.0.1/16", &server, "10.0.1.1/16");
    client.add_addresses(&devices.first, ["10.0.0.2/16", "10.0.0.3/16"]);
    let _server = load(&server, &["hold-server", "--listen", "10.0.1.1:5000", "--processes", "3"]);
    let options = ["--connections", "100", "--processes", "3", "--source", "10.0.0.1"];
    let more = ["--sources", "3", "--send", "10", "--to", "10.0.1.1:5000"];
    let clients = load(&client, &[&["hold-clients"][..], &options, &more].concat());

    let held = sockets(&client, &["-tp", "state", "established"]);
    assert_eq!(held.len(), 100);
    let count = |part: &str| held.iter().filter(|line| line.contains(part)).count();
    assert_eq!([":5000 ", ":5001 ", ":5002 "].map(count), [34, 33, 33]);
    assert_eq!(["10.0.0.1:", "10.0.0.2:", "10.0.0.3:"].map(count).iter().sum::<usize>(), 100);
    assert!(count("10.0.0.3:") > 30);
    assert_eq!(count("\"netglass-load\""), 100);
    assert_eq!(sockets(&client, &["-t", "state", "listening"]), [""; 0]);

    assert!(clients.wait().status.success());
    assert_eq!(sockets(&client, &["-t", "state", "established"]), [""; 0]);
}

#[test]
fn two_connections_to_two_servers_share_a_source_port_when_they_must() {
    require!(root, command("ss"));
    let namespace = Namespace::new("ports");
    namespace.sysctl("net.ipv4.ip_local_port_range", "40000 40003");
    let listen = ["hold-server", "--listen", "127.0.0.1:5000", "--processes", "2"];
    let _servers = load(&namespace, &listen);
    let options = ["--connections", "8", "--processes", "2", "--source", "127.0.0.1"];
    let _clients =
        load(&namespace, &[&["hold-clients", "--to", "127.0.0.1:5000"][..], &options].concat());
    assert_eq!(sockets(&namespace, &["-t", "state", "established", "dport < 6000"]).len(), 8);
}

#[test]
fn attempts_stay_attempts_before_a_black_hole() {
    require!(root, command("ss"));
    let namespace = Namespace::new("hole");
    namespace.add_black_hole("10.9.9.1/24");
    let _attempts = load(&namespace, &["syn-sent", "--to", "10.9.9.9:80", "--count", "7"]);
    assert_eq!(sockets(&namespace, &["-t", "state", "syn-sent"]).len(), 7);
}

#[test]
fn udp_sockets_are_held_with_and_without_a_peer() {
    require!(root, command("ss"));
    let namespace = Namespace::new("udp");
    let _with = load(&namespace, &["udp-connected", "--to", "127.0.0.1:53", "--count", "2"]);
    let _without = load(&namespace, &["udp-unconnected", "--listen", "[::]:54", "--count", "3"]);
    assert_eq!(sockets(&namespace, &["-u", "state", "established"]).len(), 2);
    assert_eq!(sockets(&namespace, &["-u", "state", "unconnected"]).len(), 3);
}

#[test]
fn a_process_name_may_be_anything() {
    require!(root);
    let namespace = Namespace::new("named");
    let name = "a) (b '\"\n\u{e9}";
    let listen = ["--", "hold-server", "--listen", "127.0.0.1:80"];
    let named = load(&namespace, &[&["named", "--comm", name][..], &listen].concat());
    let comm = std::fs::read(format!("/proc/{}/comm", named.id())).unwrap();
    assert_eq!(comm, [name.as_bytes(), b"\n"].concat());
}

#[test]
fn a_load_that_cannot_be_opened_fails_with_the_reason() {
    require!(root);
    let namespace = Namespace::new("refused");
    let mut command = namespace.command(load_command());
    command.args(["hold-clients", "--to", "127.0.0.1:1", "--connections", "1"]);
    let finished = Running::spawn(command).wait();
    let said = String::from_utf8_lossy(&finished.stderr).into_owned();
    assert!(!finished.status.success());
    assert!(said.contains("opening connection 0 of 1 to 127.0.0.1:1"), "{said}");
    assert!(said.contains("refused"), "{said}");
}
