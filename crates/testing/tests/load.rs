//! `netglass-load` opens what it is asked to open, and no more.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::{
    thread,
    time::{Duration, Instant},
};

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

/// Tells a load to start and waits until it has opened and closed `count` sockets.
fn start_and_wait(mut load: Running, count: usize) {
    load.write_stdin(b"\n");
    load.wait_for_line(&format!("done {count}"));
    assert!(load.wait().status.success());
}

/// A counter of TCP since the namespace was made.
fn counter(namespace: &Namespace, name: &str) -> u64 {
    let snmp = run(namespace.command("cat").arg("/proc/net/snmp"));
    let mut lines = snmp.lines().filter(|line| line.starts_with("Tcp: "));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let mut counters = names.split(' ').zip(values.split(' '));
    counters.find(|(found, _)| *found == name).unwrap().1.parse().unwrap()
}

/// Waits for the last packets of handshakes, which the server's end sees after the client's.
fn wait_until_accepted(server: &Namespace, count: u64) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while counter(server, "PassiveOpens") < count && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(counter(server, "PassiveOpens"), count);
}

/// Both ends of a link: the client's address is 10.0.0.1, the server's 10.0.1.1.
fn linked() -> (Namespace, Namespace) {
    let (client, server) = (Namespace::new("client"), Namespace::new("server"));
    let devices = link(&client, "10.0.0.1/16", &server, "10.0.1.1/16");
    client.add_addresses(&devices.first, ["10.0.0.2/16", "10.0.0.3/16"]);
    (client, server)
}

#[test]
fn connections_that_come_and_go_are_as_many_as_asked_for_and_none_is_reset() {
    require!(root);
    let (client, server) = linked();
    let to = "10.0.1.1:5000";
    let _servers = load(&server, &["churn-server", "--listen", to, "--processes", "3"]);
    let options = ["--connections", "5000", "--processes", "3", "--send", "10"];
    let sources = ["--source", "10.0.0.1", "--sources", "3"];
    let clients = load(&client, &[&["churn-clients", "--to", to][..], &options, &sources].concat());
    assert_eq!(counter(&client, "ActiveOpens"), 0);
    start_and_wait(clients, 5000);
    assert_eq!(counter(&client, "ActiveOpens"), 5000);
    wait_until_accepted(&server, 5000);
    assert_eq!([&client, &server].map(|end| counter(end, "EstabResets")), [0, 0]);
    assert_eq!([&client, &server].map(|end| counter(end, "OutRsts")), [0, 0]);
}

#[test]
fn a_client_that_awaits_the_end_reads_the_answer_and_resets_nothing() {
    require!(root, command("ss"));
    let (client, server) = linked();
    let to = "10.0.1.1:5000";
    let _server = load(&server, &["churn-server", "--listen", to, "--answer", "100"]);
    let options = ["--connections", "300", "--await-end", "--send", "10"];
    start_and_wait(load(&client, &[&["churn-clients", "--to", to][..], &options].concat()), 300);
    assert_eq!(sockets(&client, &["-t", "state", "connected", "exclude", "time-wait"]), [""; 0]);
    assert_eq!([&client, &server].map(|end| counter(end, "OutRsts")), [0, 0]);
}

#[test]
fn ten_thousand_short_lives_overlap_and_each_is_long_enough() {
    require!(root);
    let (client, server) = linked();
    let to = "10.0.1.1:5000";
    let _server = load(&server, &["churn-server", "--listen", to]);
    let options = ["--connections", "10000", "--life", "1"];
    let clients = load(&client, &[&["churn-clients", "--to", to][..], &options].concat());
    let before = Instant::now();
    start_and_wait(clients, 10_000);
    assert!(before.elapsed() < Duration::from_secs(10), "one after the other they took longer");
    wait_until_accepted(&server, 10_000);

    let one = ["churn-clients", "--to", to, "--connections", "1", "--life", "300"];
    let one = load(&client, &one);
    let before = Instant::now();
    start_and_wait(one, 1);
    assert!(before.elapsed() >= Duration::from_millis(300));
}

#[test]
fn who_is_never_told_to_start_opens_nothing() {
    require!(root);
    let namespace = Namespace::new("untold");
    let to = "127.0.0.1:5000";
    let _server = load(&namespace, &["churn-server", "--listen", to]);
    let clients = load(&namespace, &["churn-clients", "--to", to, "--connections", "9"]);
    assert!(!clients.wait().status.success());
    assert_eq!(counter(&namespace, "ActiveOpens"), 0);
}

#[test]
fn udp_questions_are_answered_with_and_without_a_peer() {
    require!(root);
    for (listen, options) in [("127.0.0.1:53", &["--unconnected"][..]), ("[::1]:53", &[])] {
        let namespace = Namespace::new("exchange");
        let _server = load(&namespace, &["udp-server", "--listen", listen]);
        let ask = ["udp-exchanges", "--to", listen, "--count", "500"];
        start_and_wait(load(&namespace, &[&ask[..], options].concat()), 500);
    }
}

#[test]
fn attempts_fail_for_the_reason_asked_for() {
    require!(root);
    let (client, server) = linked();
    client.add_black_hole("10.9.9.1/24");
    client.ip("route add unreachable 10.8.8.0/24");
    let _server = load(&server, &["reset-server", "--listen", "10.0.1.1:5000"]);
    for (kind, to) in [
        ("refused", "10.0.1.1:1"),
        ("timed-out", "10.9.9.9:80"),
        ("unreachable", "10.8.8.8:80"),
        ("no-route", "10.7.7.7:80"),
        ("reset", "10.0.1.1:5000"),
        ("abandoned", "10.9.9.9:80"),
    ] {
        let attempts = ["failed-attempts", "--kind", kind, "--to", to, "--count", "100"];
        start_and_wait(load(&client, &attempts), 100);
    }
    assert_eq!(counter(&server, "EstabResets"), 100);
}

#[test]
fn an_attempt_that_fails_for_another_reason_is_an_error() {
    require!(root);
    let namespace = Namespace::new("other-reason");
    let attempts = ["failed-attempts", "--kind", "refused", "--to", "10.7.7.7:80"];
    let mut attempts = load(&namespace, &attempts);
    attempts.write_stdin(b"\n");
    let finished = attempts.wait();
    let said = String::from_utf8_lossy(&finished.stderr).into_owned();
    assert!(!finished.status.success());
    assert!(said.contains("connecting to 10.7.7.7:80"), "{said}");
    assert!(said.contains("expected was: Connection refused"), "{said}");
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
