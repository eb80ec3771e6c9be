//! The rules one by one.

use super::*;

const A_TO_B: &str = "10.0.0.1 > 10.0.0.2:80";
const B_FROM_A: &str = "10.0.0.2:80 < 10.0.0.1";

/// Two hosts, `a` with 10.0.0.1 and `b` with 10.0.0.2.
fn two_hosts() -> Memory {
    let mut memory = Memory::default();
    memory.host("a", &[(1, "10.0.0.1"), (1, "127.0.0.1")]);
    memory.host("b", &[(1, "10.0.0.2"), (1, "127.0.0.1")]);
    memory
}

#[test]
fn observations_of_one_flow_are_appended_in_order_of_time() {
    let mut memory = two_hosts();
    let count = |connections, opened| FlowCounters { connections, opened, ..Default::default() };
    let base = || flow(1, A_TO_B, process("curl", 5), 0);
    memory.flow("a", seen(counted(base(), count(3, 3)), 0, 9));
    memory.flow("a", seen(counted(base(), count(4, 1)), 10, 19));
    let edge = &memory.join().edges[0];
    assert_eq!(edge.connections, 4, "three that lived on and one new");
    assert_eq!((edge.first_seen, edge.last_seen), (at(0), at(19)));
}

#[test]
fn both_ends_become_one_edge_with_both_processes() {
    let mut memory = two_hosts();
    let client = FlowCounters {
        connections: 5,
        opened: 5,
        failed: Failures { refused: 4, other: 1, ..Failures::default() },
        bytes_sent: 100,
        bytes_received: 1000,
        segments_sent: 11,
        segments_received: 12,
        retransmits: 2,
        rtt: rtt(50, 5),
    };
    let server = FlowCounters {
        connections: 6,
        opened: 6,
        failed: Failures { timed_out: 2, other: 3, ..Failures::default() },
        bytes_sent: 999,
        bytes_received: 99,
        segments_sent: 13,
        segments_received: 10,
        retransmits: 3,
        rtt: rtt(70, 7),
    };
    memory.flow("a", seen(counted(flow(1, A_TO_B, process("curl", 5), 0), client), 10, 20));
    memory.flow("b", seen(counted(flow(1, B_FROM_A, process("nginx", 7), 0), server), 9, 19));
    let joined = memory.join();
    assert_eq!(joined.edges.len(), 1);
    let edge = &joined.edges[0];
    assert_eq!(show(edge), "curl/5@a:1 -> nginx/7@b:1 6");
    let failed = Failures { refused: 4, timed_out: 2, ..Failures::default() };
    assert_eq!(edge.failed, failed, "of what one end knows no reason, the other one may know it");
    assert_eq!((edge.bytes_sent, edge.bytes_received), (100, 1000));
    assert_eq!((edge.segments_sent, edge.segments_received), (11, 12));
    assert_eq!((edge.retransmits, edge.rtt), (5, rtt(50, 5)));
    assert_eq!((edge.first_seen, edge.last_seen), (at(9), at(20)));
    assert_eq!(edge.client.endpoint(), endpoint("10.0.0.1:many"));
    assert_eq!(edge.server.endpoint(), endpoint("10.0.0.2:80"));
    assert_eq!(edge.client.attribution, Attribution::Socket);
    assert_eq!(edge.server.attribution, Attribution::Socket);
}

#[test]
fn what_the_clients_end_lacks_is_taken_from_the_servers() {
    let mut memory = two_hosts();
    let server = FlowCounters {
        connections: 1,
        bytes_sent: 1000,
        bytes_received: 10,
        segments_sent: 5,
        segments_received: 4,
        rtt: rtt(70, 7),
        ..Default::default()
    };
    memory.flow("a", flow(1, A_TO_B, process("curl", 5), 1));
    memory.flow("b", counted(flow(1, B_FROM_A, process("nginx", 7), 0), server));
    let edge = &memory.join().edges[0];
    assert_eq!((edge.bytes_sent, edge.bytes_received, edge.rtt), (10, 1000, rtt(70, 7)));
    assert_eq!((edge.segments_sent, edge.segments_received), (4, 5));
}

#[test]
fn on_loopback_both_ends_are_on_this_host_and_one_edge() {
    let mut memory = two_hosts();
    memory.flow("a", flow(1, "127.0.0.1 > 127.0.0.1:80", process("curl", 5), 2));
    memory.flow("a", flow(1, "127.0.0.1:80 < 127.0.0.1", process("nginx", 7), 2));
    assert_eq!(memory.edges(), ["curl/5@a:1 -> nginx/7@a:1 2"]);
}

#[test]
fn loopback_never_leaves_its_host_and_namespace() {
    let mut memory = two_hosts();
    memory.flow("a", flow(1, "127.0.0.1 > 127.0.0.1:80", process("curl", 5), 2));
    memory.flow("a", flow(2, "127.0.0.1:80 < 127.0.0.1", process("nginx", 7), 2));
    memory.flow("b", flow(1, "127.0.0.1:80 < 127.0.0.1", process("apache", 9), 2));
    assert_eq!(
        memory.edges(),
        ["curl/5@a:1 -> ?@a:1 2", "?@b:1 -> apache/9@b:1 2", "?@a:2 -> nginx/7@a:2 2"]
    );
}

#[test]
fn an_end_in_the_same_namespace_is_preferred() {
    let mut memory = Memory::default();
    for name in ["a", "b"] {
        memory.host(name, &[(1, "10.0.0.2")]);
        memory.flow(name, flow(1, "10.0.0.2 > 10.0.0.2:80", process("curl", 5), 2));
        memory.flow(name, flow(1, "10.0.0.2:80 < 10.0.0.2", process("nginx", 7), 2));
    }
    assert_eq!(memory.edges(), ["curl/5@a:1 -> nginx/7@a:1 2", "curl/5@b:1 -> nginx/7@b:1 2"]);
}

#[test]
fn an_end_on_the_same_host_is_preferred_to_another_host() {
    let mut memory = Memory::default();
    for name in ["a", "b"] {
        memory.host(name, &[(2, "10.0.0.1"), (3, "10.0.0.2")]);
        memory.flow(name, flow(2, A_TO_B, process("curl", 5), 2));
        memory.flow(name, flow(3, B_FROM_A, process("nginx", 7), 2));
    }
    assert_eq!(memory.edges(), ["curl/5@a:2 -> nginx/7@a:3 2", "curl/5@b:2 -> nginx/7@b:3 2"]);
}

#[test]
fn ends_that_several_claim_stay_unjoined_and_unknown() {
    let mut memory = two_hosts();
    memory.host("c", &[(1, "10.0.0.1")]);
    memory.listener("b", 1, "10.0.0.2:80", process("nginx", 7));
    memory.flow("a", flow(1, A_TO_B, process("curl", 5), 1));
    memory.flow("c", flow(1, A_TO_B, process("wget", 6), 2));
    memory.flow("b", flow(1, B_FROM_A, process("nginx", 7), 3));
    assert_eq!(
        memory.edges(),
        ["curl/5@a:1 -> ?@?:? 1", "wget/6@c:1 -> ?@?:? 2", "?@?:? -> nginx/7@b:1 3"]
    );
}

#[test]
fn a_server_and_its_workers_are_one_node_shown_as_the_oldest() {
    let mut memory = two_hosts();
    memory.listener("b", 1, "0.0.0.0:80", worker("nginx", 7, 7, 1));
    for (pid, connections) in [(8, 2), (9, 3)] {
        // None of them began within the window.
        let counters = FlowCounters { connections, ..FlowCounters::default() };
        let seen = flow(1, B_FROM_A, worker("nginx", 7, pid, pid.into()), 0);
        memory.flow("b", counted(seen, counters));
    }
    let joined = memory.join();
    assert_eq!(joined.edges.len(), 1);
    assert_eq!(joined.edges[0].connections, 5, "connections of different processes add up");
    assert_eq!(joined.edges[0].server.process.as_ref().unwrap().pid, 7);
    assert_eq!(joined.listeners[0].1.process.as_ref().unwrap().pid, 7);
}

#[test]
fn programs_of_one_pipeline_stay_apart() {
    let mut memory = two_hosts();
    memory.flow("a", flow(1, A_TO_B, worker("curl", 5, 6, 1), 1));
    memory.flow("a", flow(1, A_TO_B, worker("wget", 5, 7, 1), 2));
    assert_eq!(memory.edges(), ["curl/5@a:1 -> ?@b:1 1", "wget/5@a:1 -> ?@b:1 2"]);
}

#[test]
fn with_one_server_each_client_keeps_its_own_count() {
    let mut memory = two_hosts();
    let server = FlowCounters {
        connections: 10,
        retransmits: 4,
        bytes_sent: 100,
        segments_sent: 8,
        rtt: rtt(80, 8),
        ..Default::default()
    };
    memory.flow("a", flow(1, A_TO_B, process("curl", 5), 1));
    memory.flow("a", flow(1, A_TO_B, process("wget", 6), 3));
    memory.flow("b", counted(flow(1, B_FROM_A, process("nginx", 7), 0), server));
    assert_eq!(memory.edges(), ["curl/5@a:1 -> nginx/7@b:1 1", "wget/6@a:1 -> nginx/7@b:1 3"]);
    let edges = memory.join().edges;
    let told =
        |edge: &Edge| (edge.retransmits, edge.bytes_received, edge.segments_received, edge.rtt);
    assert_eq!(told(&edges[0]), (1, 25, 2, rtt(20, 2)), "in proportion to the connections");
    assert_eq!(told(&edges[1]), (3, 75, 6, rtt(60, 6)));
    assert!(edges.iter().all(|edge| edge.server.attribution == Attribution::Socket));
}

#[test]
fn with_one_client_each_server_keeps_its_own_count_mirrored() {
    let mut memory = two_hosts();
    let counters = |connections, bytes_sent| FlowCounters {
        connections,
        bytes_sent,
        bytes_received: 1,
        ..Default::default()
    };
    memory.flow("a", counted(flow(1, A_TO_B, process("curl", 5), 0), counters(7, 7)));
    memory.flow("b", counted(flow(1, B_FROM_A, process("new", 8), 0), counters(3, 300)));
    memory.flow("b", counted(flow(1, B_FROM_A, process("old", 7), 0), counters(4, 400)));
    let edges = memory.join().edges;
    let told = |edge: &Edge| (show(edge), edge.bytes_sent, edge.bytes_received);
    assert_eq!(told(&edges[0]), ("curl/5@a:1 -> new/8@b:1 3".to_owned(), 1, 300));
    assert_eq!(told(&edges[1]), ("curl/5@a:1 -> old/7@b:1 4".to_owned(), 1, 400));
}

#[test]
fn several_clients_and_servers_are_shared_out_and_said_to_be_inexact() {
    let mut memory = two_hosts();
    memory.flow("a", flow(1, A_TO_B, process("curl", 5), 10));
    memory.flow("a", flow(1, A_TO_B, process("wget", 6), 30));
    memory.flow("b", flow(1, B_FROM_A, process("new", 8), 20));
    memory.flow("b", flow(1, B_FROM_A, process("old", 7), 20));
    assert_eq!(
        memory.edges(),
        [
            "curl/5@a:1 -> new/8@b:1 5",
            "wget/6@a:1 -> new/8@b:1 15",
            "curl/5@a:1 -> old/7@b:1 5",
            "wget/6@a:1 -> old/7@b:1 15",
        ]
    );
    for edge in memory.join().edges {
        assert_eq!(edge.client.attribution, Attribution::Listener);
        assert_eq!(edge.server.attribution, Attribution::Listener);
    }
}

#[test]
fn failures_are_shared_out_kind_by_kind() {
    let failing = |refused, reset| FlowCounters {
        failed: Failures { refused, reset, ..Failures::default() },
        ..FlowCounters::default()
    };
    let told = |memory: &mut Memory| -> Vec<(String, u64, u64)> {
        let edges = memory.join().edges;
        edges.iter().map(|edge| (show(edge), edge.failed.refused, edge.failed.reset)).collect()
    };
    let mut memory = two_hosts();
    memory.flow("a", counted(flow(1, A_TO_B, process("curl", 5), 0), failing(2, 0)));
    memory.flow("a", counted(flow(1, A_TO_B, process("wget", 6), 0), failing(0, 4)));
    memory.flow("b", counted(flow(1, B_FROM_A, process("new", 8), 0), failing(0, 1)));
    memory.flow("b", counted(flow(1, B_FROM_A, process("old", 7), 0), failing(0, 1)));
    assert_eq!(
        told(&mut memory),
        [
            ("curl/5@a:1 -> new/8@b:1 0".to_owned(), 1, 0),
            ("wget/6@a:1 -> new/8@b:1 0".to_owned(), 0, 2),
            ("curl/5@a:1 -> old/7@b:1 0".to_owned(), 1, 0),
            ("wget/6@a:1 -> old/7@b:1 0".to_owned(), 0, 2),
        ]
    );

    let mut memory = two_hosts();
    memory.flow("a", counted(flow(1, A_TO_B, None, 0), failing(3, 1)));
    memory.flow("a", counted(flow(1, A_TO_B, process("curl", 5), 0), failing(2, 0)));
    memory.flow("b", counted(flow(1, B_FROM_A, process("nginx", 7), 0), failing(1, 1)));
    assert_eq!(
        told(&mut memory),
        [("?@a:1 -> ?@b:1 0".to_owned(), 3, 0), ("curl/5@a:1 -> nginx/7@b:1 0".to_owned(), 2, 1),],
        "nobody's are those beyond the known ones"
    );
}

#[test]
fn pairs_without_any_connection_are_left_out() {
    let mut memory = two_hosts();
    for (comm, pgid) in [("curl", 5), ("wget", 6)] {
        memory.flow("a", flow(1, A_TO_B, process(comm, pgid), 1));
    }
    for (comm, pgid) in [("new", 8), ("old", 7)] {
        memory.flow("b", flow(1, B_FROM_A, process(comm, pgid), 1));
    }
    let joined = memory.join();
    assert_eq!(joined.edges.len(), 2);
    assert!(joined.edges.iter().all(|edge| edge.connections == 1));
}

#[test]
fn what_no_process_holds_joins_only_its_like() {
    let mut memory = two_hosts();
    memory.flow("a", flow(1, A_TO_B, None, 4));
    memory.flow("a", flow(1, A_TO_B, process("curl", 5), 1));
    memory.flow("b", flow(1, B_FROM_A, None, 3));
    memory.flow("b", flow(1, B_FROM_A, process("nginx", 7), 1));
    assert_eq!(memory.edges(), ["?@a:1 -> ?@b:1 4", "curl/5@a:1 -> nginx/7@b:1 1"]);
}

#[test]
fn what_no_process_holds_stands_alone_with_the_place_of_the_other_end() {
    let mut memory = two_hosts();
    memory.flow("a", flow(1, A_TO_B, None, 4));
    memory.flow("a", flow(1, A_TO_B, process("curl", 5), 1));
    memory.flow("b", flow(1, B_FROM_A, process("nginx", 7), 1));
    assert_eq!(memory.edges(), ["?@a:1 -> ?@b:1 4", "curl/5@a:1 -> nginx/7@b:1 1"]);
    assert_eq!(memory.join().edges[0].server.attribution, Attribution::Namespace);
}

#[test]
fn a_known_client_of_sockets_that_nobody_holds_meets_the_listener() {
    let mut memory = two_hosts();
    memory.listener("b", 1, "0.0.0.0:80", process("nginx", 7));
    memory.flow("a", flow(1, A_TO_B, process("curl", 5), 1));
    memory.flow("b", flow(1, B_FROM_A, None, 3));
    assert_eq!(memory.edges(), ["?@a:1 -> nginx/7@b:1 2", "curl/5@a:1 -> nginx/7@b:1 1"]);
}

#[test]
fn a_server_s_socket_that_nobody_holds_is_that_of_the_listener() {
    let mut memory = two_hosts();
    memory.listener("b", 1, "0.0.0.0:80", process("nginx", 7));
    memory.flow("b", flow(1, B_FROM_A, None, 3));
    memory.flow("b", flow(1, B_FROM_A, process("nginx", 7), 2));
    assert_eq!(memory.edges(), ["?@a:1 -> nginx/7@b:1 5"]);
    assert_eq!(memory.join().edges[0].server.attribution, Attribution::Listener);
}

#[test]
fn a_known_server_of_sockets_that_nobody_holds_has_an_unknown_client_in_its_place() {
    let mut memory = two_hosts();
    memory.flow("a", flow(1, A_TO_B, None, 4));
    memory.flow("b", flow(1, B_FROM_A, process("nginx", 7), 1));
    assert_eq!(memory.edges(), ["?@a:1 -> ?@b:1 3", "?@a:1 -> nginx/7@b:1 1"]);
}

#[test]
fn a_connection_that_is_not_accepted_yet_counts_once() {
    let mut memory = two_hosts();
    memory.listener("b", 1, "0.0.0.0:80", process("nginx", 7));
    memory.flow("a", flow(1, A_TO_B, process("curl", 5), 3));
    memory.flow("b", flow(1, B_FROM_A, None, 3));
    assert_eq!(memory.edges(), ["curl/5@a:1 -> nginx/7@b:1 3"]);
}

#[test]
fn a_server_that_only_listens_is_found_by_its_listener() {
    for bound in ["10.0.0.2:53", "0.0.0.0:53", ":::53"] {
        let mut memory = two_hosts();
        memory.listener_by(Protocol::Udp, "b", 1, bound, process("unbound", 7));
        memory.flow("a", udp(flow(1, "10.0.0.1 > 10.0.0.2:53", process("curl", 5), 1)));
        assert_eq!(memory.edges(), ["curl/5@a:1 -> unbound/7@b:1 1"], "{bound}");
        assert_eq!(memory.join().edges[0].server.attribution, Attribution::Listener);
    }
}

#[test]
fn a_listener_must_match_protocol_family_port_and_place() {
    let mut memory = two_hosts();
    memory.listener_by(Protocol::Tcp, "b", 1, "0.0.0.0:53", process("tcp", 1));
    memory.listener_by(Protocol::Udp, "b", 1, "0.0.0.0:54", process("port", 2));
    memory.listener_by(Protocol::Udp, "b", 2, "0.0.0.0:53", process("namespace", 3));
    memory.listener_by(Protocol::Udp, "a", 1, "0.0.0.0:53", process("host", 4));
    memory.flow("a", udp(flow(1, "10.0.0.1 > 10.0.0.2:53", process("curl", 5), 1)));
    assert_eq!(memory.edges(), ["curl/5@a:1 -> ?@b:1 1"]);

    let mut memory = Memory::default();
    memory.host("b", &[(1, "fd00::2")]);
    memory.listener_by(Protocol::Udp, "b", 1, "0.0.0.0:53", process("family", 1));
    memory.flow("a", udp(flow(1, "fd00::1 > fd00::2:53", process("curl", 5), 1)));
    assert_eq!(memory.edges(), ["curl/5@a:1 -> ?@b:1 1"]);
}

#[test]
fn the_listener_on_the_very_address_comes_before_the_wildcard() {
    let mut memory = two_hosts();
    memory.listener("b", 1, ":::80", process("six", 1));
    memory.listener("b", 1, "0.0.0.0:80", process("any", 2));
    memory.listener("b", 1, "10.0.0.2:80", process("exact", 3));
    memory.flow("a", flow(1, A_TO_B, process("curl", 5), 1));
    assert_eq!(memory.edges(), ["curl/5@a:1 -> exact/3@b:1 1"]);
}

#[test]
fn of_several_listeners_the_one_of_the_time_is_it_or_else_nobody() {
    let mut memory = two_hosts();
    memory.listener("b", 1, "0.0.0.0:80", process("now", 1));
    memory.listener("b", 1, "0.0.0.0:80", process("before", 2));
    memory.flow("a", flow(1, A_TO_B, process("curl", 5), 1));
    assert_eq!(memory.edges(), ["curl/5@a:1 -> ?@b:1 1"]);
    memory.listeners[1].1.last_seen = at(5);
    assert_eq!(memory.edges(), ["curl/5@a:1 -> now/1@b:1 1"]);
}

#[test]
fn on_loopback_the_listener_of_the_own_namespace_is_meant() {
    let mut memory = two_hosts();
    memory.listener_by(Protocol::Udp, "a", 1, "127.0.0.1:53", process("mine", 7));
    memory.listener_by(Protocol::Udp, "a", 2, "127.0.0.1:53", process("other", 8));
    memory.flow("a", udp(flow(1, "127.0.0.1 > 127.0.0.1:53", process("curl", 5), 1)));
    assert_eq!(memory.edges(), ["curl/5@a:1 -> mine/7@a:1 1"]);
}

#[test]
fn loopback_addresses_never_identify_a_host() {
    let mut memory = Memory::default();
    memory.host("b", &[(1, "127.0.0.1")]);
    memory.listener("b", 1, "0.0.0.0:80", process("nginx", 7));
    memory.flow("a", flow(1, "127.0.0.1 > 127.0.0.1:80", process("curl", 5), 1));
    assert_eq!(memory.edges(), ["curl/5@a:1 -> ?@a:1 1"]);
}

#[test]
fn an_address_of_several_hosts_names_none_of_several_namespaces_the_host() {
    let mut memory = two_hosts();
    memory.host("c", &[(1, "10.0.0.2")]);
    memory.flow("a", flow(1, A_TO_B, process("curl", 5), 1));
    assert_eq!(memory.edges(), ["curl/5@a:1 -> ?@?:? 1"]);

    let mut memory = Memory::default();
    memory.host("b", &[(2, "10.0.0.2"), (3, "10.0.0.2")]);
    memory.flow("a", flow(1, A_TO_B, process("curl", 5), 1));
    assert_eq!(memory.edges(), ["curl/5@a:1 -> ?@b:? 1"]);
}

#[test]
fn an_address_of_the_clients_own_namespace_is_there() {
    let mut memory = Memory::default();
    memory.host("a", &[(1, "172.17.0.1")]);
    memory.host("b", &[(1, "172.17.0.1")]);
    memory.listener("a", 1, "0.0.0.0:80", process("nginx", 7));
    memory.flow("a", flow(1, "172.17.0.1 > 172.17.0.1:80", process("curl", 5), 1));
    assert_eq!(memory.edges(), ["curl/5@a:1 -> nginx/7@a:1 1"]);
}

#[test]
fn a_client_that_no_probe_saw_is_placed_by_its_address() {
    let mut memory = two_hosts();
    memory.flow("b", flow(1, B_FROM_A, process("nginx", 7), 2));
    memory.flow("b", flow(1, "10.0.0.2:80 < 192.0.2.1", process("nginx", 7), 3));
    assert_eq!(memory.edges(), ["?@a:1 -> nginx/7@b:1 2", "?@?:? -> nginx/7@b:1 3"]);
    assert_eq!(memory.join().edges[0].client.attribution, Attribution::Namespace);
}

#[test]
fn protocols_and_ports_are_services_of_their_own() {
    let mut memory = two_hosts();
    memory.flow("a", flow(1, A_TO_B, process("curl", 5), 1));
    memory.flow("b", udp(flow(1, B_FROM_A, process("nginx", 7), 2)));
    memory.flow("b", flow(1, "10.0.0.2:81 < 10.0.0.1", process("nginx", 7), 3));
    assert_eq!(
        memory.edges(),
        ["curl/5@a:1 -> ?@b:1 1", "?@a:1 -> nginx/7@b:1 3", "?@a:1 -> nginx/7@b:1 2"]
    );
}

#[test]
fn nodes_carry_the_names_of_their_namespaces() {
    let mut memory = two_hosts();
    let name = NetworkNamespace { inode: NamespaceInode(1), name: Some("blue".to_owned()) };
    memory.names.push((host("a"), name));
    memory.flow("a", flow(1, A_TO_B, process("curl", 5), 1));
    let joined = memory.join();
    assert_eq!(joined.edges[0].client.namespace.as_ref().unwrap().to_string(), "blue");
    assert_eq!(joined.edges[0].server.namespace.as_ref().unwrap().to_string(), "net:[1]");
}

#[test]
fn listeners_are_told_once_whether_or_not_anyone_came() {
    let mut memory = two_hosts();
    for _ in 0..2 {
        memory.listener("b", 1, "0.0.0.0:80", process("nginx", 7));
    }
    memory.listener_by(Protocol::Udp, "b", 1, ":::53", process("unbound", 8));
    memory.listener("b", 1, "0.0.0.0:22", None);
    let shown: Vec<_> = memory
        .join()
        .listeners
        .iter()
        .map(|(protocol, node)| {
            let comm = node.process.as_ref().map(|process| process.comm.clone());
            (*protocol, node.endpoint().to_string(), comm, node.attribution)
        })
        .collect();
    assert_eq!(
        shown,
        [
            (Protocol::Tcp, "0.0.0.0:22".to_owned(), None, Attribution::Namespace),
            (Protocol::Tcp, "0.0.0.0:80".to_owned(), Some("nginx".to_owned()), Attribution::Socket),
            (Protocol::Udp, "[::]:53".to_owned(), Some("unbound".to_owned()), Attribution::Socket),
        ]
    );
}

#[test]
fn hosts_are_sorted_by_name() {
    let mut memory = Memory::default();
    memory.host("b", &[]);
    memory.host("a", &[]);
    let names: Vec<_> = memory.join().hosts.into_iter().map(|one| one.id.hostname).collect();
    assert_eq!(names, ["a", "b"]);
}
