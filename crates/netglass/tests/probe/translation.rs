//! Connections whose addresses a router translates, with a probe on each of three hosts.

use std::{fs, net::SocketAddr, process::Command};

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

/// What the client connects to.
const SERVICE: &str = "10.9.7.254:80";
/// Who answers.
const SERVER: &str = "10.9.8.2:8080";

impl Hosts {
    fn new() -> Self {
        let hosts = Self {
            client: Namespace::new("client"),
            router: Namespace::new("router"),
            server: Namespace::new("server"),
        };
        link(&hosts.client, "10.9.7.1/24", &hosts.router, "10.9.7.254/24");
        link(&hosts.router, "10.9.8.254/24", &hosts.server, "10.9.8.2/24");
        hosts.router.forward();
        hosts.router.nft(
            "table ip nat {
                chain prerouting {
                    type nat hook prerouting priority -100;
                    tcp dport 80 dnat to 10.9.8.2:8080;
                }
                chain postrouting {
                    type nat hook postrouting priority 100;
                    ip daddr 10.9.8.2 masquerade;
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
fn edges(database: &Database, observer: &Namespace, asked: &str) -> Vec<Edge> {
    let names = [SERVICE, SERVER].map(|name| name.parse::<SocketAddr>().unwrap());
    let is_ours = |edge: &Edge| {
        names.iter().any(|name| {
            edge.text("server/address") == name.ip().to_string()
                && edge.number("server/port") == u64::from(name.port())
        })
    };
    let output = database.netglass(observer, &["look", "--format", "json", asked]).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    text.lines().map(Edge::read).filter(is_ours).collect()
}

fn assert_is_one_edge(edges: &[Edge], hosts: &Hosts, client: u32, server: u32) {
    let [edge] = edges else { panic!("{edges:#?}") };
    assert_eq!(edge.ends(), format!("10.9.7.1 -> {SERVER}"));
    assert_eq!(edge.number("client/process/pid"), u64::from(client));
    assert_eq!(edge.number("server/process/pid"), u64::from(server));
    assert_eq!(edge.text("client/host"), hosts.client.name());
    assert_eq!(edge.text("server/host"), hosts.server.name());
}

#[test]
fn through_a_router_client_and_server_are_one_edge() {
    require!(root, command("nginx"), command("nft"));
    let hosts = Hosts::new();
    let nginx = Nginx::new().listen(SERVER).start(&hosts.server);
    let clients = load(&hosts.client, &format!("hold-clients --to {SERVICE} --connections 7"));
    let database = Database::new();
    let probes = Hosts::probe(&database, &hosts.each(), &[]);
    let is_whole =
        |edges: &Vec<Edge>| matches!(&edges[..], [edge] if edge.number("connections") == 7);
    let found = wait_for(|| Some(edges(&database, &hosts.client, "nginx")).filter(is_whole));
    assert_is_one_edge(&found, &hosts, clients.id(), nginx.id());
    let tree = database.tree(&hosts.client, &["netglass-load"]);
    assert!(tree.contains(&format!("└--> {SERVER} ('nginx', pgid={})", nginx.id())), "{tree}");
    for probe in probes {
        assert!(probe.end(Signal::TERM).status.success());
    }
}

#[test]
fn short_connections_through_a_router_count_once() {
    require!(root, ebpf, command("nginx"), command("nft"));
    let hosts = Hosts::new();
    let nginx = Nginx::new().listen(SERVER).start(&hosts.server);
    let database = Database::new();
    let arguments = format!("churn-clients --to {SERVICE} --connections {COUNT} --life 1");
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
    let found = edges(&database, &hosts.client, "nginx");
    assert_is_one_edge(&found, &hosts, clients.id(), nginx.id());
    assert_eq!(found[0].number("connections"), u64::from(COUNT));
}

#[test]
fn where_the_server_is_not_watched_the_router_still_says_who_it_is() {
    require!(root, command("nft"));
    let hosts = Hosts::new();
    let _server = load(&hosts.server, &format!("hold-server --listen {SERVER}"));
    let clients = load(&hosts.client, &format!("hold-clients --to {SERVICE} --connections 3"));
    let database = Database::new();
    let probes = Hosts::probe(&database, &[&hosts.client, &hosts.router], &[]);
    let found = wait_for(|| {
        let edges = edges(&database, &hosts.client, "10.9.7.1");
        matches!(&edges[..], [edge] if edge.ends().ends_with(SERVER)).then_some(edges)
    });
    drop(probes);
    assert_eq!(found[0].number("client/process/pid"), u64::from(clients.id()));
    assert_eq!(found[0].number("connections"), 3);
    assert!(found[0].get("server/process").is_null());
}
