//! A fleet: several machines with a probe on each, and one database server for all of them.

use std::process::Command;

use netglass_testing::{Namespace, Nginx, PostgreSql, Running, Signal, link, require};

use crate::{
    support::{Database, Edge, Ledger, Probing, load, wait_for},
    translation::as_machine,
};

/// What the client asks, on the router.
const SITE: &str = "10.9.11.254:80";
/// Who answers.
const WEB: &str = "10.9.12.2:8080";
/// Whom that asks.
const APPLICATION: &str = "10.9.13.3:9000";
/// Where the fleet's database is, and by which names its links know it.
const DATABASE: &str = "10.9.30.1";

/// client → (router: both addresses are translated) → web → application, and the fleet's database,
/// which all of them reach without translation.
struct Fleet {
    client: Namespace,
    router: Namespace,
    web: Namespace,
    application: Namespace,
    database: Namespace,
}

impl Fleet {
    fn new() -> Self {
        let fleet = Self {
            client: Namespace::new("client"),
            router: Namespace::new("router"),
            web: Namespace::new("web"),
            application: Namespace::new("application"),
            database: Namespace::new("database"),
        };
        link(&fleet.client, "10.9.11.1/24", &fleet.router, "10.9.11.254/24");
        link(&fleet.router, "10.9.12.254/24", &fleet.web, "10.9.12.2/24");
        link(&fleet.web, "10.9.13.2/24", &fleet.application, "10.9.13.3/24");
        fleet.router.forward();
        fleet.router.nft(
            "table ip nat {
                chain prerouting {
                    type nat hook prerouting priority -100;
                    ip daddr 10.9.11.254 tcp dport 80 dnat to 10.9.12.2:8080;
                }
                chain postrouting {
                    type nat hook postrouting priority 100;
                    ip daddr 10.9.12.2 masquerade;
                }
            }",
        );
        fleet.database.add_address("lo", &format!("{DATABASE}/32"));
        for (machine, number) in fleet.machines().into_iter().zip(1..) {
            let (own, other) = (format!("10.9.2{number}.1"), format!("10.9.2{number}.2"));
            link(machine, &format!("{own}/24"), &fleet.database, &format!("{other}/24"));
            machine.add_route(&format!("{DATABASE}/32"), &other);
        }
        fleet
    }

    fn machines(&self) -> [&Namespace; 4] {
        [&self.client, &self.router, &self.web, &self.application]
    }

    /// A probe on each machine, which hands over what it sees several times a second.
    fn probe(&self, server: &PostgreSql, files: &Database) -> Vec<Probing> {
        self.machines()
            .map(|machine| {
                let mut program = netglass(files, server, machine, &["probe"]);
                program
                    .args(["--mode", "streaming", "--format", "json"])
                    .args(["--interval", "100ms", "--flush-interval", "200ms", "--spool-dir"])
                    .arg(files.path().with_file_name(format!("{}.spool", machine.name())));
                Probing::once_ready(Running::spawn(as_machine(&program, machine, files)))
            })
            .into()
    }

    fn look(&self, files: &Database, server: &PostgreSql, arguments: &[&str]) -> String {
        let arguments = [&["look"], arguments].concat();
        let output = netglass(files, server, &self.client, &arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// `count` requests, `rate` in a second, each over a connection of its own all the way.
    fn requests(&self, count: u32, rate: u32) -> Running {
        let mut curl = self.client.command("curl");
        curl.args(["--silent", "--fail", "--show-error", "--output", "/dev/null"])
            .args(["--header", "Connection: close", "--rate", &format!("{rate}/s")])
            .arg(format!("http://{SITE}/[1-{count}]"));
        Running::spawn(curl)
    }
}

/// `netglass VERB …` on a machine, with the fleet's database.
fn netglass(
    files: &Database,
    server: &PostgreSql,
    machine: &Namespace,
    arguments: &[&str],
) -> Command {
    let mut command = files.netglass(machine, arguments);
    command.env("NETGLASS_DB", server.url_at(DATABASE, 5432, "fleet"));
    command
}

/// The connections that were counted to a service, over all edges.
fn connections(edges: &[Edge], service: &str) -> u64 {
    let to = |edge: &&Edge| edge.ends().ends_with(&format!(" -> {service}"));
    edges.iter().filter(to).map(|edge| edge.number("connections")).sum()
}

#[test]
fn a_chain_across_machines_is_known_whole_also_after_the_database_was_away_for_a_minute() {
    /// Requests while the database is there.
    const BEFORE: u32 = 50;
    /// Requests of each of two clients while it is not, and how many in a second: each takes half a
    /// minute.
    const AWAY: u32 = 600;
    const RATE: u32 = 20;

    require!(root, ebpf, postgresql, command("nginx"), command("nft"), command("curl"));
    let fleet = Fleet::new();
    let mut server = PostgreSql::new().listen(DATABASE, 5432).start_in(&fleet.database);
    server.create_database("fleet");
    let shop = PostgreSql::new().listen("10.9.13.3", 5432).start_in(&fleet.application);
    shop.create_database("shop");
    let _application = load(
        &fleet.application,
        &format!("application --listen {APPLICATION} --database {}", shop.url("shop")),
    );
    let _web = Nginx::new().listen(WEB).proxy("/", APPLICATION).start(&fleet.web);
    let files = Database::new();
    let probes = fleet.probe(&server, &files);

    assert!(fleet.requests(BEFORE, 100).wait().status.success());
    // Each of the four, and the process that it is.
    let chain = [
        "10.9.11.1:many ('curl', pgid=".to_owned(),
        format!("└--> {WEB} ('nginx', pgid="),
        format!("    └--> {APPLICATION} ('netglass-load', pgid="),
        "        └--> 10.9.13.3:5432 ('postgres', pgid=".to_owned(),
    ];
    wait_for(|| {
        let tree = fleet.look(&files, &server, &["curl", "--depth", "4"]);
        let mut lines = tree.lines();
        chain.iter().all(|node| lines.any(|line| line.starts_with(node))).then_some(())
    });

    server.kill();
    for _ in 0..2 {
        assert!(fleet.requests(AWAY, RATE).wait().status.success());
    }
    for probe in &probes {
        assert!(probe.ledger().count("spooled") > 0, "what cannot be delivered waits on disk");
    }
    server.restart();
    for probe in &probes {
        wait_for(|| (probe.ledger().count("spooled") == 0).then_some(()));
    }
    for probe in probes {
        let ended = probe.end(Signal::TERM);
        assert!(ended.status.success(), "{ended:?}");
        let ledger = Ledger::read(&ended.stdout);
        assert_eq!((ledger.count("spooled"), ledger.count("pending")), (0, 0), "{ledger:?}");
        assert_eq!(ledger.count("seen"), ledger.count("stored"), "{ledger:?}");
    }

    let text = fleet.look(&files, &server, &["curl", "--depth", "4", "--format", "json"]);
    let edges: Vec<Edge> = text.lines().map(Edge::read).collect();
    let all = u64::from(BEFORE + 2 * AWAY);
    for service in [WEB, APPLICATION, "10.9.13.3:5432"] {
        assert_eq!(connections(&edges, service), all, "connections to {service}: {edges:#?}");
    }
    for edge in &edges {
        for process in ["client/process/comm", "server/process/comm"] {
            assert!(!edge.text(process).is_empty(), "{process} of {edge:#?}");
        }
    }
}
