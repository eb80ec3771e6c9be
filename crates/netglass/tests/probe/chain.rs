//! Several hosts as network namespaces.

use netglass_testing::{Namespace, Nginx, Running, link, require, run};

use crate::support::{Database, Probing, clients, server, wait_for};

#[test]
fn a_chain_through_three_namespaces_is_followed_to_its_end() {
    require!(root, command("nginx"), command("curl"));
    let (client, proxy, backend) =
        (Namespace::new("client"), Namespace::new("proxy"), Namespace::new("backend"));
    link(&client, "10.9.2.1/24", &proxy, "10.9.2.2/24");
    link(&proxy, "10.9.3.2/24", &backend, "10.9.3.3/24");
    // The second server never answers, so that the whole chain is there when it is looked at.
    let _backend = server(&backend, "10.9.3.3:9000");
    let _proxy = Nginx::new().listen("10.9.2.2:80").proxy("/", "10.9.3.3:9000").start(&proxy);
    let mut curl = client.command("curl");
    curl.args(["--silent", "--max-time", "60", "http://10.9.2.2/"]);
    let _client = Running::spawn(curl);

    let database = Database::new();
    let host = Namespace::new("observer");
    let chain =
        ["└--> 10.9.2.2:80 ('nginx', pgid=", "    └--> 10.9.3.3:9000 ('netglass-load', pgid="];
    let probe = Probing::start(&database, &host, &["--all-namespaces", "--flush-interval", "20ms"]);
    let tree = wait_for(|| {
        let output = database.netglass(&host, &["look", "curl", "--depth", "3"]).output().unwrap();
        let tree = String::from_utf8(output.stdout).unwrap();
        chain.iter().all(|node| tree.contains(node)).then_some(tree)
    });
    drop(probe);
    let lines: Vec<_> = tree.lines().collect();
    assert!(lines[1].starts_with("10.9.2.1:many ('curl', pgid="), "{tree}");
    assert!(lines[2].starts_with(chain[0]), "{tree}");
    assert!(lines[3].starts_with(chain[1]), "{tree}");
    for name in [client.name(), proxy.name(), backend.name()] {
        assert!(tree.contains(name), "{name} in {tree}");
    }
    // The same chain from its other end.
    let tree = database.tree(&host, &["10.9.3.3", "--depth", "3"]);
    let lines: Vec<_> = tree.lines().collect();
    assert!(lines[1].starts_with("10.9.3.3:9000 ('netglass-load', pgid="), "{tree}");
    assert!(lines[2].starts_with("└<-- 10.9.3.2:many ('nginx', pgid="), "{tree}");
    assert!(lines[3].starts_with("    └<-- 10.9.2.1:many ('curl', pgid="), "{tree}");
}

#[test]
fn only_the_own_namespace_is_scanned_unless_all_are_asked_for() {
    require!(root);
    let (one, other) = (Namespace::new("one"), Namespace::new("other"));
    let mut running = Vec::new();
    for namespace in [&one, &other] {
        running.push(server(namespace, "127.0.0.1:8080"));
        running.push(clients(namespace, "127.0.0.1:8080", 1));
    }
    let database = Database::new();
    database.probe_once(&one, &[]);
    let inodes = |database: &Database| {
        let edges = database.edges(&one, &["--port", "8080"]);
        let of_ours = [one.inode(), other.inode()];
        let mut inodes: Vec<_> = edges
            .iter()
            .map(|edge| edge.number("server/netns"))
            .filter(|inode| of_ours.contains(inode))
            .collect();
        inodes.sort_unstable();
        inodes
    };
    assert_eq!(inodes(&database), [one.inode()]);

    let database = Database::new();
    database.probe_once(&one, &["--all-namespaces"]);
    let mut both = [one.inode(), other.inode()];
    both.sort_unstable();
    assert_eq!(inodes(&database), both, "the same address in two namespaces is two nodes");
    let names: Vec<_> = database
        .edges(&one, &["--port", "8080"])
        .iter()
        .map(|edge| edge.text("server/netns_name").to_owned())
        .collect();
    assert!(names.contains(&one.name().to_owned()) && names.contains(&other.name().to_owned()));
}

#[test]
fn a_namespace_without_processes_is_found_by_its_name() {
    require!(root, command("curl"), command("nginx"));
    let (client, server) = (Namespace::new("client"), Namespace::new("server"));
    link(&client, "10.9.4.1/24", &server, "10.9.4.2/24");
    let _nginx = Nginx::new().listen("10.9.4.2:80").file("/page", 10).start(&server);
    run(client.command("curl").args(["--silent", "http://10.9.4.2/page"]));
    // The client has gone, and TIME_WAIT remains of its connection: curl closed it first.
    let database = Database::new();
    database.probe_once(&server, &["--all-namespaces"]);
    let edges = database.edges(&server, &["10.9.4.1"]);
    assert_eq!(edges.len(), 1, "{edges:#?}");
    assert_eq!(edges[0].number("client/netns"), client.inode());
    assert!(edges[0].get("client/process").is_null(), "TIME_WAIT has no process");
    assert_eq!(edges[0].number("connections"), 1);
}
