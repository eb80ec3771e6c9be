//! What holds for anything that may have been seen.

use std::collections::{BTreeMap, HashSet};

use netglass_model::{Node, Port, Route, Translation};
use proptest::prelude::*;

use super::*;

const ADDRESSES: [&str; 4] = ["127.0.0.1", "10.0.0.1", "10.0.0.2", "fd00::1"];

fn any_flow() -> impl Strategy<Value = (usize, HostFlow)> {
    let ends = (0..ADDRESSES.len(), 0..ADDRESSES.len(), 80_u16..82, any::<bool>());
    let owner = prop::option::of((0_u32..3, 0_u32..3));
    let failed = prop::array::uniform6(0_u64..3);
    (0..3_usize, 1_u64..3, ends, owner, 0_u64..20, failed, 0_u64..1000).prop_map(
        |(host, inode, (client, server, port, active), owner, connections, failed, bytes)| {
            let (client, server) = (ADDRESSES[client], ADDRESSES[server]);
            let ends = if active {
                format!("{client} > {server}:{port}")
            } else {
                format!("{server}:{port} < {client}")
            };
            let owner = owner.and_then(|(pgid, pid)| worker("x", pgid, pid, i64::from(pid)));
            let counters = FlowCounters {
                connections,
                opened: connections,
                failed: Failures::from_counts(failed),
                bytes_sent: bytes,
                bytes_received: bytes / 2,
                segments_sent: bytes / 10,
                segments_received: bytes / 5,
                retransmits: failed[0],
                rtt: rtt(bytes, failed[0]),
            };
            (host, counted(flow(inode, &ends, owner, 0), counters))
        },
    )
}

fn any_memory() -> impl Strategy<Value = Memory> {
    let listener = (0..3_usize, 1_u64..3, 0..ADDRESSES.len(), 0_u32..3);
    (
        prop::collection::vec(any_flow(), 0..25),
        prop::collection::vec(listener, 0..5),
        prop::collection::vec((1_u64..3, 0..ADDRESSES.len()), 3),
    )
        .prop_map(|(flows, listeners, addresses)| {
            let mut memory = Memory::default();
            for (index, (inode, address)) in addresses.into_iter().enumerate() {
                memory.host(HOSTS[index], &[(inode, ADDRESSES[address])]);
            }
            // One observation of each flow: those of one flow come in order of time, which is not
            // what is shuffled here.
            let mut met = HashSet::new();
            for (host, flow) in flows {
                let key = (
                    host,
                    flow.namespace,
                    flow.direction,
                    flow.local,
                    flow.peer,
                    flow.process.clone(),
                );
                if met.insert(key) {
                    memory.flow(HOSTS[host], flow);
                }
            }
            for (host, inode, address, pgid) in listeners {
                let local = format!("{}:80", ADDRESSES[address]);
                memory.listener(HOSTS[host], inode, &local, process("x", pgid));
            }
            memory
        })
}

/// The same with translations between any of these addresses, each once.
pub(super) fn any_translated_memory() -> impl Strategy<Value = Memory> {
    let route = || (0..ADDRESSES.len(), 0..ADDRESSES.len(), 80_u16..82);
    let translation = (0..3_usize, 1_u64..3, route(), route(), 0_u64..20);
    (any_memory(), prop::collection::vec(translation, 0..12)).prop_map(|(mut memory, made)| {
        let route = |(client, server, port): (usize, usize, u16)| Route {
            client: ip(ADDRESSES[client]),
            server: Endpoint::numbered(ip(ADDRESSES[server]), port),
        };
        let mut met = HashSet::new();
        for (host_index, inode, original, translated, connections) in made {
            if original != translated && met.insert((host_index, inode, original, translated)) {
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
                memory.translations.push((host(HOSTS[host_index]), translation));
            }
        }
        memory
    })
}

/// Connections, failures and bytes of all edges.
fn sum_of_edges(memory: &mut Memory) -> [u64; 3] {
    let edges = memory.join().edges;
    let sum = |count: &dyn Fn(&Edge) -> u64| edges.iter().map(count).sum();
    [sum(&|it| it.connections), sum(&|it| it.failed.total()), sum(&|it| it.bytes_sent)]
}

/// Connections, failures and bytes that clients sent, of all flows.
fn sum_of_flows(memory: &Memory) -> [u64; 3] {
    let sum = |count: &dyn Fn(&HostFlow) -> u64| memory.flows.iter().map(|it| count(&it.1)).sum();
    [
        sum(&|it| it.counters.connections),
        sum(&|it| it.counters.failed.total()),
        sum(&|it| match it.direction {
            Direction::Active => it.counters.bytes_sent,
            Direction::Passive => it.counters.bytes_received,
        }),
    ]
}

const HOSTS: [&str; 3] = ["a", "b", "c"];

/// What each end of each service counted: connections seen by clients, and by servers.
fn seen_by_service(memory: &Memory) -> BTreeMap<(Endpoint, IpAddr), [u64; 2]> {
    let mut sums: BTreeMap<_, [u64; 2]> = BTreeMap::new();
    for (_, flow) in &memory.flows {
        let connections = flow.counters.connections;
        match flow.direction {
            Direction::Active => {
                sums.entry((flow.peer, flow.local.address)).or_default()[0] += connections;
            }
            Direction::Passive => {
                sums.entry((flow.local, flow.peer.address)).or_default()[1] += connections;
            }
        }
    }
    sums
}

fn told_by_service(joined: &Dependencies) -> BTreeMap<(Endpoint, IpAddr), u64> {
    let mut sums = BTreeMap::new();
    for edge in &joined.edges {
        *sums.entry((edge.server.endpoint(), edge.client.address)).or_default() += edge.connections;
    }
    sums
}

fn identity(node: &Node) -> impl Eq + std::hash::Hash + use<> {
    (node.host.clone(), node.namespace.clone(), node.address, node.port, node.process.clone())
}

proptest! {
    #[test]
    fn the_answer_does_not_depend_on_the_order_of_rows(
        (memory, shuffled) in any_translated_memory().prop_flat_map(|memory| {
            let translations = Just(memory.translations.clone()).prop_shuffle();
            let flows = Just(memory.flows.clone()).prop_shuffle();
            let listeners = Just(memory.listeners.clone()).prop_shuffle();
            let hosts = Just(memory.hosts.clone()).prop_shuffle();
            let names = memory.names.clone();
            let shuffled = (flows, listeners, hosts, translations).prop_map(
                move |(flows, listeners, hosts, translations)| {
                    Memory { hosts, names: names.clone(), flows, listeners, translations }
                },
            );
            (Just(memory), shuffled)
        }),
    ) {
        let (mut memory, mut shuffled) = (memory, shuffled);
        prop_assert_eq!(memory.join(), shuffled.join());
    }

    #[test]
    fn no_edge_is_told_twice(memory in any_translated_memory()) {
        let mut memory = memory;
        let mut met = HashSet::new();
        for edge in memory.join().edges {
            let key = (edge.protocol, identity(&edge.client), identity(&edge.server));
            prop_assert!(met.insert(key), "{} is told twice", show(&edge));
        }
    }

    #[test]
    fn what_one_end_saw_is_shared_out_without_loss(
        memory in any_translated_memory(),
        active in any::<bool>(),
    ) {
        let mut memory = memory;
        memory.flows.retain(|(_, flow)| (flow.direction == Direction::Active) == active);
        prop_assert_eq!(sum_of_edges(&mut memory), sum_of_flows(&memory));
    }

    #[test]
    fn translation_invents_no_connections(memory in any_translated_memory()) {
        let mut memory = memory;
        let [connections, failed, _] = sum_of_edges(&mut memory);
        let [most, most_failed, _] = sum_of_flows(&memory);
        prop_assert!(connections <= most && failed <= most_failed);
    }

    #[test]
    fn a_service_never_has_more_connections_than_both_ends_saw_together(memory in any_memory()) {
        let mut memory = memory;
        let seen = seen_by_service(&memory);
        for (service, told) in told_by_service(&memory.join()) {
            prop_assert!(told <= seen[&service].iter().sum(), "{:?}", service);
        }
    }

    #[test]
    fn a_service_never_has_more_failures_of_a_kind_than_both_ends_saw_together(
        memory in any_memory(),
    ) {
        let mut memory = memory;
        let mut left: BTreeMap<(Endpoint, IpAddr), Failures> = BTreeMap::new();
        for (_, flow) in &memory.flows {
            let service = match flow.direction {
                Direction::Active => (flow.peer, flow.local.address),
                Direction::Passive => (flow.local, flow.peer.address),
            };
            left.entry(service).or_default().merge(&flow.counters.failed);
        }
        for edge in memory.join().edges {
            let service = (edge.server.endpoint(), edge.client.address);
            let left = left.get_mut(&service).unwrap();
            for ((name, told), (_, left)) in edge.failed.kinds().zip(left.kinds()) {
                prop_assert!(told <= left, "{} of {:?}", name, service);
            }
            *left = left.zip_with(&edge.failed, u64::saturating_sub);
        }
    }

    #[test]
    fn all_that_is_seen_is_told(memory in any_memory()) {
        let mut memory = memory;
        let joined = memory.join();
        let told = told_by_service(&joined);
        for (service, [by_clients, by_servers]) in seen_by_service(&memory) {
            prop_assert!(told.contains_key(&service) || by_clients.max(by_servers) == 0);
        }
        for node in joined.edges.iter().flat_map(|edge| [&edge.client, &edge.server]) {
            prop_assert!(node.process.is_some() || node.attribution == Attribution::Namespace);
        }
        prop_assert!(joined.edges.iter().all(|edge| edge.client.port == Port::Many));
    }

    /// Each connection has a client and a server, and both ends saw it.
    #[test]
    fn where_both_ends_agree_each_connection_counts_once(
        between in prop::collection::vec(prop::collection::vec(0_u64..9, 1..4), 1..4),
    ) {
        let servers = between.iter().map(Vec::len).max().unwrap_or(0);
        let at_cell = |client: usize, server: usize| between[client].get(server).copied().unwrap_or(0);
        let mut memory = Memory::default();
        memory.host("a", &[(1, "10.0.0.1")]);
        memory.host("b", &[(1, "10.0.0.2")]);
        let mut of_process: BTreeMap<u32, u64> = BTreeMap::new();
        for (client, counts) in between.iter().enumerate() {
            let count: u64 = counts.iter().sum();
            let pgid = 100 + u32::try_from(client).unwrap();
            of_process.insert(pgid, count);
            memory.flow("a", flow(1, "10.0.0.1 > 10.0.0.2:80", process("c", pgid), count));
        }
        for server in 0..servers {
            let count: u64 = (0..between.len()).map(|client| at_cell(client, server)).sum();
            let pgid = 200 + u32::try_from(server).unwrap();
            of_process.insert(pgid, count);
            memory.flow("b", flow(1, "10.0.0.2:80 < 10.0.0.1", process("s", pgid), count));
        }
        for edge in memory.join().edges {
            for node in [&edge.client, &edge.server] {
                let pgid = node.process.as_ref().unwrap().pgid;
                *of_process.get_mut(&pgid).unwrap() -= edge.connections;
            }
        }
        prop_assert!(of_process.values().all(|&left| left == 0), "{:?}", of_process);
    }
}
