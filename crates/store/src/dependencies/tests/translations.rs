//! Connections whose addresses are translated on the way.

use netglass_model::{Route, Translation};

use super::*;

impl Memory {
    /// `10.0.0.1 > 10.0.0.9:80 => 10.1.0.1 > 10.1.0.2:80`, made in namespace `inode`.
    fn translation(&mut self, host_name: &str, inode: u64, text: &str, connections: u64) {
        let route = |text: &str| {
            let (client, server) = text.split_once(" > ").unwrap();
            Route { client: ip(client), server: endpoint(server) }
        };
        let (original, translated) = text.split_once(" => ").unwrap();
        let translation = Translation {
            namespace: NamespaceInode(inode),
            protocol: Protocol::Tcp,
            original: route(original),
            translated: route(translated),
            connections,
            opened: connections,
            first_seen: at(10),
            last_seen: at(20),
        };
        self.translations.push((host(host_name), translation));
    }
}

/// Hosts `client` with 10.0.0.1, `server` with 10.1.0.2, and between them `router` with 10.0.0.9 and
/// 10.1.0.1.
fn three_hosts() -> Memory {
    let mut memory = Memory::default();
    memory.host("client", &[(1, "10.0.0.1"), (1, "127.0.0.1")]);
    memory.host("router", &[(1, "10.0.0.9"), (1, "10.1.0.1"), (1, "127.0.0.1")]);
    memory.host("server", &[(1, "10.1.0.2"), (1, "127.0.0.1")]);
    memory
}

fn client(memory: &mut Memory, to: &str, connections: u64) {
    let ends = format!("10.0.0.1 > {to}");
    memory.flow("client", flow(1, &ends, process("curl", 5), connections));
}

fn server(memory: &mut Memory, from: &str, connections: u64) {
    let ends = format!("10.1.0.2:80 < {from}");
    memory.flow("server", flow(1, &ends, process("nginx", 7), connections));
}

const BOTH: &str = "10.0.0.1 > 10.0.0.9:80 => 10.1.0.1 > 10.1.0.2:80";

#[test]
fn a_translated_client_a_translated_server_or_both_are_one_edge() {
    for (to, from, translation) in [
        ("10.1.0.2:80", "10.1.0.1", "10.0.0.1 > 10.1.0.2:80 => 10.1.0.1 > 10.1.0.2:80"),
        ("10.0.0.9:80", "10.0.0.1", "10.0.0.1 > 10.0.0.9:80 => 10.0.0.1 > 10.1.0.2:80"),
        ("10.0.0.9:80", "10.1.0.1", BOTH),
    ] {
        let mut memory = three_hosts();
        client(&mut memory, to, 5);
        server(&mut memory, from, 5);
        memory.translation("router", 1, translation, 5);
        let joined = memory.join();
        assert_eq!(joined.edges.len(), 1, "{translation}");
        let edge = &joined.edges[0];
        assert_eq!(show(edge), "curl/5@client:1 -> nginx/7@server:1 5", "{translation}");
        assert_eq!(edge.client.address, ip("10.0.0.1"));
        assert_eq!(edge.server.endpoint(), endpoint("10.1.0.2:80"));
        assert_eq!(edge.client.attribution, Attribution::Socket);
    }
}

#[test]
fn who_translates_may_be_the_client_s_host_or_the_server_s() {
    for place in ["client", "server"] {
        let mut memory = three_hosts();
        client(&mut memory, "10.0.0.9:80", 5);
        server(&mut memory, "10.1.0.1", 5);
        memory.translation(place, 1, BOTH, 5);
        assert_eq!(memory.edges(), ["curl/5@client:1 -> nginx/7@server:1 5"]);
        // In another namespace of the host, such as that of a container's host.
        let mut memory = three_hosts();
        client(&mut memory, "10.0.0.9:80", 5);
        server(&mut memory, "10.1.0.1", 5);
        memory.translation(place, 9, BOTH, 5);
        assert_eq!(memory.edges(), ["curl/5@client:1 -> nginx/7@server:1 5"]);
    }
}

#[test]
fn a_load_balancer_shares_a_client_out_as_it_did() {
    let mut memory = three_hosts();
    client(&mut memory, "10.0.0.9:80", 60);
    for (name, address, pgid, connections) in
        [("one", "10.1.0.11", 11, 10), ("two", "10.1.0.12", 12, 20), ("three", "10.1.0.13", 13, 30)]
    {
        memory.host(name, &[(1, address)]);
        let ends = format!("{address}:80 < 10.0.0.1");
        memory.flow(name, flow(1, &ends, process("app", pgid), connections));
        let text = format!("10.0.0.1 > 10.0.0.9:80 => 10.0.0.1 > {address}:80");
        memory.translation("router", 1, &text, connections);
    }
    assert_eq!(
        memory.edges(),
        [
            "curl/5@client:1 -> app/11@one:1 10",
            "curl/5@client:1 -> app/12@two:1 20",
            "curl/5@client:1 -> app/13@three:1 30",
        ]
    );
}

#[test]
fn many_clients_behind_one_address_are_told_apart() {
    let mut memory = three_hosts();
    client(&mut memory, "10.1.0.2:80", 2);
    memory.host("other", &[(1, "10.0.0.2")]);
    memory.flow("other", flow(1, "10.0.0.2 > 10.1.0.2:80", process("wget", 6), 3));
    for (address, connections) in [("10.0.0.1", 2), ("10.0.0.2", 3), ("10.0.0.3", 1)] {
        let text = format!("{address} > 10.1.0.2:80 => 10.1.0.1 > 10.1.0.2:80");
        memory.translation("router", 1, &text, connections);
    }
    // Each worker has some of each client's.
    for pgid in [7, 8, 9] {
        memory.flow("server", flow(1, "10.1.0.2:80 < 10.1.0.1", process("nginx", pgid), 2));
    }
    let joined = memory.join();
    let mut by_client: std::collections::BTreeMap<String, u64> = std::collections::BTreeMap::new();
    for edge in &joined.edges {
        assert_eq!(edge.server.attribution, Attribution::Listener, "nobody knows whose they were");
        *by_client.entry(edge.client.address.to_string()).or_default() += edge.connections;
    }
    let told: Vec<_> = by_client.into_iter().collect();
    let expected = [("10.0.0.1", 2), ("10.0.0.2", 3), ("10.0.0.3", 1)];
    assert_eq!(told, expected.map(|(address, count)| (address.to_owned(), count)));
}

#[test]
fn what_is_not_translated_stays_as_it_is() {
    let mut memory = three_hosts();
    client(&mut memory, "10.0.0.9:80", 8);
    memory.flow("router", flow(1, "10.0.0.9:80 < 10.0.0.1", process("haproxy", 3), 3));
    server(&mut memory, "10.1.0.1", 6);
    memory.flow("router", flow(1, "10.1.0.1 > 10.1.0.2:80", process("haproxy", 3), 1));
    memory.translation("router", 1, BOTH, 5);
    assert_eq!(
        memory.edges(),
        [
            "curl/5@client:1 -> haproxy/3@router:1 3",
            "curl/5@client:1 -> nginx/7@server:1 5",
            "haproxy/3@router:1 -> nginx/7@server:1 1",
        ]
    );
}

#[test]
fn conversations_over_udp_are_translated_as_one_if_they_use_one_port() {
    let with = |router: Option<u64>| {
        let mut memory = three_hosts();
        client(&mut memory, "10.0.0.9:80", 8);
        server(&mut memory, "10.1.0.1", 6);
        memory.translation("router", 1, BOTH, 2);
        if let Some(count) = router {
            let taken = flow(1, "10.0.0.9:80 < 10.0.0.1", process("dnsmasq", 3), count);
            memory.flow("router", taken);
        }
        for (_, flow) in &mut memory.flows {
            flow.protocol = Protocol::Udp;
        }
        memory.translations[0].1.protocol = Protocol::Udp;
        memory.edges()
    };
    assert_eq!(with(None), ["curl/5@client:1 -> nginx/7@server:1 8"]);
    // Somebody takes those that are not translated.
    assert_eq!(
        with(Some(6)),
        ["curl/5@client:1 -> dnsmasq/3@router:1 6", "curl/5@client:1 -> nginx/7@server:1 6"]
    );
}

#[test]
fn attempts_that_failed_go_the_way_that_they_were_translated() {
    let mut memory = three_hosts();
    let failed = Failures { refused: 4, ..Failures::default() };
    let counters = FlowCounters { connections: 6, failed, ..FlowCounters::default() };
    let flow = flow(1, "10.0.0.1 > 10.0.0.9:80", process("curl", 5), 0);
    memory.flow("client", counted(flow, counters));
    memory.translation("router", 1, BOTH, 9);
    let edges = memory.join().edges;
    let told: Vec<_> = edges.iter().map(|edge| (show(edge), edge.failed.refused)).collect();
    assert_eq!(
        told,
        [
            ("curl/5@client:1 -> ?@router:1 0".to_owned(), 1),
            ("curl/5@client:1 -> ?@server:1 6".to_owned(), 3),
        ]
    );
}

#[test]
fn a_client_and_a_server_of_one_network_may_meet_by_way_of_the_router() {
    let mut memory = Memory::default();
    memory.host("router", &[(1, "10.0.0.254"), (1, "192.0.2.1")]);
    memory.host("a", &[(1, "10.0.0.1")]);
    memory.host("b", &[(1, "10.0.0.2")]);
    memory.flow("a", flow(1, "10.0.0.1 > 192.0.2.1:80", process("curl", 5), 3));
    memory.flow("b", flow(1, "10.0.0.2:8080 < 10.0.0.254", process("nginx", 7), 3));
    let text = "10.0.0.1 > 192.0.2.1:80 => 10.0.0.254 > 10.0.0.2:8080";
    memory.translation("router", 1, text, 3);
    assert_eq!(memory.edges(), ["curl/5@a:1 -> nginx/7@b:1 3"]);

    // And a host may reach itself.
    memory.flow("a", flow(1, "10.0.0.1:9000 < 10.0.0.254", process("app", 8), 2));
    memory.flow("a", flow(1, "10.0.0.1 > 192.0.2.1:90", process("curl", 5), 2));
    let text = "10.0.0.1 > 192.0.2.1:90 => 10.0.0.254 > 10.0.0.1:9000";
    memory.translation("router", 1, text, 2);
    assert_eq!(memory.edges(), ["curl/5@a:1 -> app/8@a:1 2", "curl/5@a:1 -> nginx/7@b:1 3"]);
}

#[test]
fn a_local_port_that_leads_to_another_one_is_one_edge() {
    let mut memory = three_hosts();
    memory.flow("client", flow(1, "127.0.0.1 > 127.0.0.1:80", process("curl", 5), 4));
    memory.flow("client", flow(1, "127.0.0.1:8080 < 127.0.0.1", process("app", 6), 4));
    let text = "127.0.0.1 > 127.0.0.1:80 => 127.0.0.1 > 127.0.0.1:8080";
    memory.translation("client", 1, text, 4);
    // The same on another host.
    memory.flow("server", flow(1, "127.0.0.1 > 127.0.0.1:80", process("curl", 15), 2));
    assert_eq!(
        memory.edges(),
        ["curl/15@server:1 -> ?@server:1 2", "curl/5@client:1 -> app/6@client:1 4"]
    );
}

#[test]
fn translations_one_behind_the_other_are_one_way() {
    let mut memory = three_hosts();
    memory.host("home", &[(1, "192.168.0.1"), (1, "192.0.2.1")]);
    memory.host("laptop", &[(1, "192.168.0.2")]);
    memory.host("phone", &[(1, "192.168.0.3")]);
    let to = "198.51.100.1:443";
    for (name, address, pgid, connections) in
        [("laptop", "192.168.0.2", 21, 6), ("phone", "192.168.0.3", 22, 2)]
    {
        let ends = format!("{address} > {to}");
        memory.flow(name, flow(1, &ends, process("firefox", pgid), connections));
        let text = format!("{address} > {to} => 192.0.2.1 > {to}");
        memory.translation("home", 1, &text, connections);
    }
    let text = format!("192.0.2.1 > {to} => 192.0.2.1 > 10.1.0.2:80");
    memory.translation("router", 1, &text, 8);
    server(&mut memory, "192.0.2.1", 8);
    assert_eq!(
        memory.edges(),
        ["firefox/21@laptop:1 -> nginx/7@server:1 6", "firefox/22@phone:1 -> nginx/7@server:1 2",]
    );
}

#[test]
fn two_routers_that_tell_the_same_are_one() {
    let mut memory = three_hosts();
    memory.host("standby", &[(1, "10.0.0.8"), (1, "10.1.0.1")]);
    client(&mut memory, "10.0.0.9:80", 5);
    server(&mut memory, "10.1.0.1", 5);
    memory.translation("router", 1, BOTH, 5);
    memory.translation("standby", 1, BOTH, 4);
    assert_eq!(memory.edges(), ["curl/5@client:1 -> nginx/7@server:1 5"]);
}

#[test]
fn the_same_private_addresses_on_two_hosts_are_two_clients() {
    let mut memory = Memory::default();
    memory.host("server", &[(1, "10.1.0.2")]);
    for (name, address, pgid) in [("a", "10.1.0.11", 11), ("b", "10.1.0.12", 12)] {
        // A container behind its host's address.
        memory.host(name, &[(1, address), (1, "172.17.0.1"), (2, "172.17.0.2")]);
        memory.flow(name, flow(2, "172.17.0.2 > 10.1.0.2:80", process("curl", pgid), 3));
        let text = format!("172.17.0.2 > 10.1.0.2:80 => {address} > 10.1.0.2:80");
        memory.translation(name, 1, &text, 3);
        server(&mut memory, address, 3);
    }
    assert_eq!(
        memory.edges(),
        ["curl/11@a:2 -> nginx/7@server:1 3", "curl/12@b:2 -> nginx/7@server:1 3"]
    );
}

#[test]
fn a_container_that_nobody_watches_is_not_taken_for_another_host_s() {
    let mut memory = Memory::default();
    memory.host("server", &[(1, "10.1.0.2")]);
    memory.host("a", &[(1, "10.1.0.11"), (2, "172.17.0.2")]);
    memory.host("b", &[(1, "10.1.0.12")]);
    memory.flow("a", flow(2, "172.17.0.2 > 10.1.0.2:80", process("curl", 11), 3));
    for (name, address) in [("a", "10.1.0.11"), ("b", "10.1.0.12")] {
        let text = format!("172.17.0.2 > 10.1.0.2:80 => {address} > 10.1.0.2:80");
        memory.translation(name, 1, &text, 3);
        server(&mut memory, address, 3);
    }
    assert_eq!(
        memory.edges(),
        ["?@?:? -> nginx/7@server:1 3", "curl/11@a:2 -> nginx/7@server:1 3"]
    );
}

#[test]
fn who_has_the_address_itself_translates_no_other_s() {
    let mut memory = three_hosts();
    // Another host has the client's address, and translates what it sends; nobody saw its flows.
    memory.host("twin", &[(1, "10.0.0.1")]);
    client(&mut memory, "10.0.0.9:80", 5);
    memory.translation("twin", 1, BOTH, 5);
    server(&mut memory, "10.1.0.1", 5);
    assert_eq!(memory.edges(), ["curl/5@client:1 -> ?@router:1 5", "?@?:? -> nginx/7@server:1 5"]);
}

#[test]
fn where_several_may_be_meant_nothing_is_concluded() {
    let mut memory = Memory::default();
    memory.host("router", &[(1, "10.0.0.9"), (1, "10.1.0.1")]);
    memory.host("server", &[(1, "10.1.0.2")]);
    for name in ["a", "b"] {
        memory.host(name, &[(1, "10.0.0.1")]);
        memory.flow(name, flow(1, "10.0.0.1 > 10.0.0.9:80", process("curl", 5), 2));
    }
    memory.translation("router", 1, BOTH, 4);
    server(&mut memory, "10.1.0.1", 4);
    assert_eq!(
        memory.edges(),
        ["curl/5@a:1 -> ?@router:1 2", "curl/5@b:1 -> ?@router:1 2", "?@?:? -> nginx/7@server:1 4",]
    );
}

#[test]
fn whoever_is_not_watched_is_unknown_and_the_others_are_named() {
    // Nobody watches the server.
    let mut memory = Memory::default();
    memory.host("client", &[(1, "10.0.0.1")]);
    memory.host("router", &[(1, "10.0.0.9"), (1, "10.1.0.1")]);
    client(&mut memory, "10.0.0.9:80", 5);
    memory.translation("router", 1, BOTH, 5);
    assert_eq!(memory.edges(), ["curl/5@client:1 -> ?@?:? 5"]);
    assert_eq!(memory.join().edges[0].server.endpoint(), endpoint("10.1.0.2:80"));

    // Nobody watches the client.
    let mut memory = Memory::default();
    memory.host("router", &[(1, "10.0.0.9"), (1, "10.1.0.1")]);
    memory.host("server", &[(1, "10.1.0.2")]);
    server(&mut memory, "10.1.0.1", 5);
    memory.translation("router", 1, BOTH, 5);
    assert_eq!(memory.edges(), ["?@?:? -> nginx/7@server:1 5"]);
    assert_eq!(memory.join().edges[0].client.address, ip("10.0.0.1"));

    // Nobody watches the router: there are two edges, and no telling that they are one.
    let mut memory = three_hosts();
    client(&mut memory, "10.0.0.9:80", 5);
    server(&mut memory, "10.1.0.1", 5);
    assert_eq!(memory.edges().len(), 2);

    // The router alone: nobody knows whose connections these were.
    let mut memory = Memory::default();
    memory.host("router", &[(1, "10.0.0.9"), (1, "10.1.0.1")]);
    memory.translation("router", 1, BOTH, 5);
    assert_eq!(memory.edges(), [""; 0]);
}

#[test]
fn a_listener_is_named_where_only_the_client_s_end_was_seen() {
    let mut memory = three_hosts();
    client(&mut memory, "10.0.0.9:80", 5);
    memory.translation("router", 1, BOTH, 5);
    memory.listener("server", 1, "0.0.0.0:80", process("nginx", 7));
    assert_eq!(memory.edges(), ["curl/5@client:1 -> nginx/7@server:1 5"]);
}

#[test]
fn a_host_with_many_addresses_is_one() {
    let mut memory = three_hosts();
    memory.host("many", &[(1, "10.0.0.21"), (1, "10.0.0.22"), (1, "fd00::1")]);
    server(&mut memory, "10.1.0.1", 6);
    for (address, connections) in [("10.0.0.21", 2), ("10.0.0.22", 4)] {
        let ends = format!("{address} > 10.0.0.9:80");
        memory.flow("many", flow(1, &ends, process("curl", 5), connections));
        let text = format!("{address} > 10.0.0.9:80 => 10.1.0.1 > 10.1.0.2:80");
        memory.translation("router", 1, &text, connections);
    }
    assert_eq!(
        memory.edges(),
        ["curl/5@many:1 -> nginx/7@server:1 2", "curl/5@many:1 -> nginx/7@server:1 4"]
    );
}

#[test]
fn one_client_by_way_of_two_load_balancers_is_one() {
    let mut memory = three_hosts();
    memory.host("second", &[(1, "10.0.0.8")]);
    client(&mut memory, "10.0.0.9:80", 2);
    client(&mut memory, "10.0.0.8:80", 3);
    client(&mut memory, "10.1.0.2:80", 1);
    server(&mut memory, "10.0.0.1", 6);
    memory.translation("router", 1, "10.0.0.1 > 10.0.0.9:80 => 10.0.0.1 > 10.1.0.2:80", 2);
    memory.translation("second", 1, "10.0.0.1 > 10.0.0.8:80 => 10.0.0.1 > 10.1.0.2:80", 3);
    assert_eq!(memory.edges(), ["curl/5@client:1 -> nginx/7@server:1 6"]);
}

#[test]
fn intervals_of_one_translation_are_appended() {
    let mut memory = three_hosts();
    client(&mut memory, "10.0.0.9:80", 9);
    memory.translation("router", 1, BOTH, 3);
    memory.translation("router", 1, BOTH, 4);
    // Three that were opened, and four.
    assert_eq!(
        memory.edges(),
        ["curl/5@client:1 -> ?@router:1 2", "curl/5@client:1 -> ?@server:1 7"]
    );
}
