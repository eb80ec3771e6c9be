//! Other ways to the same answer, where the best one does not work.

use netglass_testing::{Namespace, link, require};

use crate::support::{Database, Edge, clients, load, server};

fn shape(edges: &[Edge]) -> Vec<(String, String, String, u64)> {
    let mut shape: Vec<_> = edges
        .iter()
        .map(|edge| {
            let pgid = |end: &str| edge.get(&format!("{end}/process/pgid")).to_string();
            (edge.ends(), pgid("client"), pgid("server"), edge.number("connections"))
        })
        .collect();
    shape.sort();
    shape
}

#[test]
fn procfs_gives_the_same_edges_as_netlink() {
    require!(root);
    let (client, host) = (Namespace::new("client"), Namespace::new("server"));
    link(&client, "10.9.8.1/24", &host, "10.9.8.2/24");
    let _running = [
        server(&host, "0.0.0.0:8001"),
        server(&host, "[::]:8002"),
        load(&host, "udp-unconnected --listen 127.0.0.1:8003"),
        clients(&client, "10.9.8.2:8001", 2),
        clients(&host, "127.0.0.1:8002", 3),
        clients(&host, "[::1]:8002", 4),
        load(&host, "udp-connected --to 127.0.0.1:8003 --count 5"),
    ];
    let by_netlink = Database::new();
    by_netlink.probe_once(&host, &["--all-namespaces", "--sockets", "netlink"]);
    let by_procfs = Database::new();
    by_procfs.probe_once(&host, &["--all-namespaces", "--sockets", "procfs"]);
    let of_ours = |database: &Database| {
        let ports = ["8001", "8002", "8003"];
        let of_port = |port| database.edges(&host, &["--port", port]);
        let ours = [host.inode(), client.inode()];
        let edges: Vec<_> = ports
            .into_iter()
            .flat_map(of_port)
            .filter(|edge| ours.contains(&edge.number("server/netns")))
            .collect();
        shape(&edges)
    };
    assert_eq!(of_ours(&by_netlink), of_ours(&by_procfs));
    assert_eq!(of_ours(&by_netlink).len(), 4);
}

#[test]
fn procfs_is_used_and_said_to_be_used_when_netlink_fails() {
    require!(root);
    let host = Namespace::new("host");
    let _server = server(&host, "127.0.0.1:8080");
    let _clients = clients(&host, "127.0.0.1:8080", 3);
    let database = Database::new();
    let netglass = database.netglass(&host, &["probe", "--once"]);
    let output = netglass_testing::without_netlink(&netglass).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("netglass: sockets over netlink: cannot read the sockets over netlink: ")
            && stderr.contains("read from /proc/net instead"),
        "{stderr}"
    );
    assert!(stderr.contains("netglass: the host's addresses: "), "{stderr}");
    let edges = database.edges(&host, &[]);
    assert_eq!(edges.len(), 1, "{edges:#?}");
    assert_eq!(edges[0].number("connections"), 3);
    assert_eq!(edges[0].text("server/process/comm"), "netglass-load");
}

#[test]
fn ports_that_the_kernel_chose_are_one_listener_by_either_way() {
    require!(root, ebpf);
    let host = Namespace::new("host");
    let _senders = load(&host, "udp-unconnected --listen 0.0.0.0:0 --count 5");
    for owners in ["task-file", "procfs"] {
        let database = Database::new();
        database.probe_once(&host, &["--owners", owners]);
        let tree = database.tree(&host, &["--listening"]);
        assert_eq!(tree.lines().count(), 2, "{tree}");
        assert!(tree.contains("\n0.0.0.0:many ('netglass-load', pgid="), "{tree}");
    }
}

#[test]
fn a_way_that_alone_is_allowed_and_does_not_work_is_an_error() {
    require!(root);
    let host = Namespace::new("host");
    let database = Database::new();
    let netglass = database.netglass(&host, &["probe", "--once", "--sockets", "netlink"]);
    let output = netglass_testing::without_netlink(&netglass).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("cannot read the sockets over netlink"), "{stderr}");
}
