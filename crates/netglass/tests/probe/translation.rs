//! Connections whose addresses a router translates, with a probe on each of three hosts.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    process::Command,
    time::Duration,
};

use netglass_testing::{Namespace, Nginx, Running, Signal, link, require};

use crate::{
    streaming::{run_load, wait_until_closed},
    support::{Database, Edge, Probing, load, wait_for},
};

/// A client, a router that translates both addresses, and a server.
struct Hosts {
    client: Namespace,
    router: Namespace,
    server: Namespace,
}

/// How many short connections there are.
const COUNT: u16 = 2000;

/// Who is who in one address family.
struct Names {
    client: &'static str,
    /// What the client connects to.
    service: &'static str,
    /// Who answers.
    server: &'static str,
}

const V4: Names = Names { client: "10.9.7.1", service: "10.9.7.254:80", server: "10.9.8.2:8080" };
const V6: Names =
    Names { client: "fd09:7::1", service: "[fd09:7::fe]:80", server: "[fd09:8::2]:8080" };

impl Names {
    fn server(&self) -> SocketAddr {
        self.server.parse().unwrap()
    }
}

impl Hosts {
    fn new() -> Self {
        let hosts = Self {
            client: Namespace::new("client"),
            router: Namespace::new("router"),
            server: Namespace::new("server"),
        };
        let outer = link(&hosts.client, "10.9.7.1/24", &hosts.router, "10.9.7.254/24");
        let inner = link(&hosts.router, "10.9.8.254/24", &hosts.server, "10.9.8.2/24");
        hosts.client.add_address(&outer.first, "fd09:7::1/64");
        hosts.router.add_address(&outer.second, "fd09:7::fe/64");
        hosts.router.add_address(&inner.first, "fd09:8::fe/64");
        hosts.server.add_address(&inner.second, "fd09:8::2/64");
        hosts.router.forward();
        hosts.router.nft(
            "table ip nat {
                chain prerouting {
                    type nat hook prerouting priority -100;
                    meta l4proto { tcp, udp } th dport 80 dnat to 10.9.8.2:8080;
                }
                chain postrouting {
                    type nat hook postrouting priority 100;
                    ip daddr 10.9.8.2 masquerade;
                }
            }
            table ip6 nat {
                chain prerouting {
                    type nat hook prerouting priority -100;
                    meta l4proto { tcp, udp } th dport 80 dnat to [fd09:8::2]:8080;
                }
                chain postrouting {
                    type nat hook postrouting priority 100;
                    ip6 daddr fd09:8::2 masquerade;
                }
            }",
        );
        hosts
    }

    fn each(&self) -> [&Namespace; 3] {
        [&self.client, &self.router, &self.server]
    }

    /// A probe on each of `watched`, as if these were machines of their own.
    fn probe(database: &Database, watched: &[&Namespace], options: &[&str]) -> Vec<Probing> {
        let start = |namespace: &&Namespace| {
            let common = ["probe", "--format", "json", "--interval", "20ms"];
            let arguments = [&common, &["--flush-interval", "100ms"][..], options].concat();
            let command =
                as_machine(&database.netglass(namespace, &arguments), namespace, database);
            Probing::once_ready(Running::spawn(command))
        };
        watched.iter().map(start).collect()
    }
}

/// The same program as on a machine of its own: with a name and a machine-id that no other one has.
pub(crate) fn as_machine(program: &Command, namespace: &Namespace, database: &Database) -> Command {
    const SCRIPT: &str = r#"
        echo "$1" > /proc/sys/kernel/hostname
        mount --bind "$2" /etc/machine-id
        shift 2
        exec "$@""#;
    let machine_id = database.path().with_file_name(format!("{}.machine-id", namespace.inode()));
    fs::write(&machine_id, format!("{:032x}\n", namespace.inode())).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--uts", "--", "sh", "-e", "-c", SCRIPT, "sh", namespace.name()]);
    command.arg(&machine_id).arg(program.get_program()).args(program.get_args());
    for (key, value) in program.get_envs() {
        match value {
            Some(value) => command.env(key, value),
            None => command.env_remove(key),
        };
    }
    command
}

/// The edges that lead to either name of the service.
fn edges(database: &Database, observer: &Namespace, asked: &str, names: &Names) -> Vec<Edge> {
    let either = [names.service, names.server].map(|name| name.parse::<SocketAddr>().unwrap());
    let is_ours = |edge: &Edge| {
        either.iter().any(|name| {
            edge.text("server/address") == name.ip().to_string()
                && edge.number("server/port") == u64::from(name.port())
        })
    };
    let output = database.netglass(observer, &["look", "--format", "json", asked]).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    text.lines().map(Edge::read).filter(is_ours).collect()
}

#[track_caller]
fn assert_is_one_edge(edges: &[Edge], hosts: &Hosts, names: &Names, client: u32, server: u32) {
    let [edge] = edges else { panic!("{edges:#?}") };
    let to = names.server();
    assert_eq!(edge.ends(), format!("{} -> {}:{}", names.client, to.ip(), to.port()));
    assert_eq!(edge.number("client/process/pid"), u64::from(client));
    assert_eq!(edge.number("server/process/pid"), u64::from(server));
    assert_eq!(edge.text("client/host"), hosts.client.name());
    assert_eq!(edge.text("server/host"), hosts.server.name());
}

/// Connections that last, found by looking at sockets again and again.
#[track_caller]
fn assert_lasting_connections_are_one_edge(names: &Names) {
    let hosts = Hosts::new();
    let nginx = Nginx::new().listen(names.server).start(&hosts.server);
    let to = names.service;
    let clients = load(&hosts.client, &format!("hold-clients --to {to} --connections 7"));
    let database = Database::new();
    let probes = Hosts::probe(&database, &hosts.each(), &[]);
    let is_whole =
        |edges: &Vec<Edge>| matches!(&edges[..], [edge] if edge.number("connections") == 7);
    let found = wait_for(|| Some(edges(&database, &hosts.client, "nginx", names)).filter(is_whole));
    assert_is_one_edge(&found, &hosts, names, clients.id(), nginx.id());
    let tree = database.tree(&hosts.client, &["netglass-load"]);
    let node = format!("└--> {} ('nginx', pgid={})", names.server, nginx.id());
    assert!(tree.contains(&node), "{node} in {tree}");
    for probe in probes {
        assert!(probe.end(Signal::TERM).status.success());
    }
}

#[test]
fn through_a_router_client_and_server_are_one_edge() {
    require!(root, command("nginx"), command("nft"));
    assert_lasting_connections_are_one_edge(&V4);
}

#[test]
fn through_a_router_client_and_server_are_one_edge_over_ipv6() {
    require!(root, command("nginx"), command("nft"));
    assert_lasting_connections_are_one_edge(&V6);
}

#[track_caller]
fn assert_short_connections_count_once(names: &Names) {
    let hosts = Hosts::new();
    let nginx = Nginx::new().listen(names.server).start(&hosts.server);
    let database = Database::new();
    let to = names.service;
    let arguments = format!("churn-clients --to {to} --connections {COUNT} --life 1");
    let mut clients = load(&hosts.client, &arguments);
    let probes = Hosts::probe(&database, &hosts.each(), &["--mode", "streaming"]);
    run_load(&mut clients, COUNT.into());
    // They look once more before they end.
    for namespace in [&hosts.client, &hosts.server] {
        wait_until_closed(namespace);
    }
    for probe in probes {
        assert!(probe.end(Signal::TERM).status.success());
    }
    let found = edges(&database, &hosts.client, "nginx", names);
    assert_is_one_edge(&found, &hosts, names, clients.id(), nginx.id());
    assert_eq!(found[0].number("connections"), u64::from(COUNT));
}

#[test]
fn short_connections_through_a_router_count_once() {
    require!(root, ebpf, command("nginx"), command("nft"));
    assert_short_connections_count_once(&V4);
}

#[test]
fn short_connections_through_a_router_count_once_over_ipv6() {
    require!(root, ebpf, command("nginx"), command("nft"));
    assert_short_connections_count_once(&V6);
}

/// Datagrams of many sockets, half of which name their peer with each.
#[track_caller]
fn assert_conversations_count_once(names: &Names) {
    const SOCKETS: u16 = 200;
    let hosts = Hosts::new();
    let server = load(&hosts.server, &format!("udp-server --listen {}", names.server));
    let database = Database::new();
    let probes = Hosts::probe(&database, &hosts.each(), &["--mode", "streaming"]);
    let to: SocketAddr = names.service.parse().unwrap();
    let sockets = hosts.client.inside(|| {
        let any: IpAddr =
            if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let ask = |index: u16| {
            let socket = UdpSocket::bind((any, 0)).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            if index.is_multiple_of(2) {
                socket.connect(to).unwrap();
                socket.send(b"netglass?").unwrap();
            } else {
                socket.send_to(b"netglass?", to).unwrap();
            }
            assert_eq!(socket.recv_from(&mut [0; 20]).unwrap(), (9, to));
            socket
        };
        // All are there at the same time, so that no port is used twice.
        (0..SOCKETS).map(ask).collect::<Vec<_>>()
    });
    let server_id = server.id();
    // It is through with its last answer when it has ended.
    drop((sockets, server));
    for probe in probes {
        assert!(probe.end(Signal::TERM).status.success());
    }
    let found = edges(&database, &hosts.client, names.client, names);
    assert_is_one_edge(&found, &hosts, names, std::process::id(), server_id);
    assert_eq!(found[0].text("protocol"), "udp");
    assert_eq!(found[0].number("connections"), u64::from(SOCKETS));
    for count in ["segments_sent", "segments_received"] {
        assert_eq!(found[0].number(count), u64::from(SOCKETS), "{count} of {found:?}");
    }
}

#[test]
fn datagrams_through_a_router_are_one_edge() {
    require!(root, ebpf, command("nft"));
    assert_conversations_count_once(&V4);
}

#[test]
fn datagrams_through_a_router_are_one_edge_over_ipv6() {
    require!(root, ebpf, command("nft"));
    assert_conversations_count_once(&V6);
}

#[test]
fn conversations_from_one_port_are_one_edge_though_the_router_takes_them_for_one() {
    require!(root, ebpf, command("nft"));
    let hosts = Hosts::new();
    let server = load(&hosts.server, &format!("udp-server --listen {}", V4.server));
    let database = Database::new();
    let probes = Hosts::probe(&database, &hosts.each(), &["--mode", "streaming"]);
    hosts.client.inside(|| {
        for _ in 0..3 {
            let socket = UdpSocket::bind("0.0.0.0:40000").unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            socket.connect(V4.service).unwrap();
            socket.send(b"netglass?").unwrap();
            assert_eq!(socket.recv(&mut [0; 20]).unwrap(), 9);
        }
    });
    let server_id = server.id();
    drop(server);
    for probe in probes {
        assert!(probe.end(Signal::TERM).status.success());
    }
    let found = edges(&database, &hosts.client, V4.client, &V4);
    assert_is_one_edge(&found, &hosts, &V4, std::process::id(), server_id);
    assert_eq!(found[0].number("connections"), 3);
}

#[test]
fn where_the_server_is_not_watched_the_router_still_says_who_it_is() {
    require!(root, command("nft"));
    let hosts = Hosts::new();
    let _server = load(&hosts.server, &format!("hold-server --listen {}", V4.server));
    let clients = load(&hosts.client, &format!("hold-clients --to {} --connections 3", V4.service));
    let database = Database::new();
    let probes = Hosts::probe(&database, &[&hosts.client, &hosts.router], &[]);
    let found = wait_for(|| {
        let edges = edges(&database, &hosts.client, V4.client, &V4);
        matches!(&edges[..], [edge] if edge.ends().ends_with(V4.server)).then_some(edges)
    });
    drop(probes);
    assert_eq!(found[0].number("client/process/pid"), u64::from(clients.id()));
    assert_eq!(found[0].number("connections"), 3);
    assert!(found[0].get("server/process").is_null());
}
