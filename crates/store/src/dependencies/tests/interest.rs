//! What is read for a question answers it as all that was seen does.

use std::collections::BTreeSet;

use netglass_model::Node;
use proptest::prelude::*;

use super::{properties::any_translated_memory, *};

fn any_interest() -> impl Strategy<Value = Interest> {
    let hosts = prop::sample::subsequence(vec!["a", "b", "c"], 0..=1);
    let address = prop::option::of(prop::sample::select(vec!["127.0.0.1", "10.0.0.1", "10.0.0.2"]));
    let process = prop::option::of(Just("x".to_owned()));
    (hosts, address, process, 1_u32..4).prop_map(|(hosts, address, process, depth)| Interest {
        hosts: hosts.into_iter().map(host).collect(),
        address: address.map(ip),
        process,
        depth,
    })
}

fn is_asked_about(interest: &Interest, node: &Node) -> bool {
    let Interest { hosts, address, process, .. } = interest;
    (hosts.is_empty() || node.host.as_ref().is_some_and(|host| hosts.contains(host)))
        && address.is_none_or(|address| node.address == address)
        && process
            .as_ref()
            .is_none_or(|name| node.process.as_ref().is_some_and(|process| process.comm == *name))
}

/// The edges that lead from the nodes that are asked about, in either direction, by their index.
fn reached(joined: &Dependencies, interest: &Interest) -> BTreeSet<usize> {
    let process = |node: &Node| {
        let process = node.process.as_ref()?;
        Some((node.host.clone(), process.pid, process.start_time))
    };
    let mut reached: BTreeSet<usize> = (joined.edges.iter().enumerate())
        .filter(|(_, edge)| {
            [&edge.client, &edge.server].iter().any(|it| is_asked_about(interest, it))
        })
        .map(|(index, _)| index)
        .collect();
    for _ in 1..interest.depth {
        let ends = reached.iter().map(|&index| &joined.edges[index]);
        let processes: Vec<_> =
            ends.flat_map(|edge| [&edge.client, &edge.server]).filter_map(process).collect();
        reached.extend(joined.edges.iter().enumerate().filter_map(|(index, edge)| {
            let at_end = |node| process(node).is_some_and(|process| processes.contains(&process));
            [&edge.client, &edge.server].into_iter().any(at_end).then_some(index)
        }));
    }
    reached
}

proptest! {
    #[test]
    fn a_narrow_reading_has_the_edges_of_the_whole_one(
        memory in any_translated_memory(),
        interest in any_interest(),
    ) {
        let mut memory = memory;
        let whole = memory.join();
        let narrow = dependencies(&mut memory, Some(&interest)).unwrap();
        for index in reached(&whole, &interest) {
            let edge = &whole.edges[index];
            prop_assert!(
                narrow.edges.contains(edge),
"{} is missing or other", show(edge)
            );
        }
        prop_assert!(narrow.edges.len() <= whole.edges.len());
    }
}

/// A master that only listens stands for its workers, whose connections alone are asked about.
#[test]
fn the_oldest_of_a_family_is_found_where_it_has_no_flow() {
    let mut memory = Memory::default();
    memory.host("a", &[(1, "10.0.0.1")]);
    memory.host("b", &[(1, "10.0.0.2")]);
    memory.listener("b", 1, "0.0.0.0:80", worker("nginx", 7, 7, 1));
    memory.flow("b", flow(1, "10.0.0.2:80 < 10.0.0.1", worker("nginx", 7, 8, 2), 3));
    memory.flow("a", flow(1, "10.0.0.1 > 10.0.0.2:80", process("curl", 5), 3));
    let interest = Interest { process: Some("curl".to_owned()), depth: 1, ..Interest::default() };
    let narrow = dependencies(&mut memory, Some(&interest)).unwrap();
    assert_eq!(narrow.edges, memory.join().edges);
    assert_eq!(narrow.edges[0].server.process.as_ref().unwrap().pid, 7);
}

#[test]
fn what_is_asked_about_limits_what_is_read() {
    let mut memory = Memory::default();
    for (name, address) in [("a", "10.0.0.1"), ("b", "10.0.0.2"), ("c", "10.0.0.3")] {
        memory.host(name, &[(1, address)]);
    }
    memory.flow("a", flow(1, "10.0.0.1 > 10.0.0.2:80", process("curl", 5), 3));
    memory.flow("b", flow(1, "10.0.0.2 > 10.0.0.3:90", process("nginx", 6), 3));
    memory.flow("c", flow(1, "10.0.0.3 > 10.0.0.9:91", process("app", 7), 3));
    memory.listener("b", 1, "0.0.0.0:80", process("nginx", 6));
    memory.listener("c", 1, "0.0.0.0:90", process("app", 7));
    let edges = |memory: &mut Memory, depth| {
        let interest = Interest { process: Some("curl".to_owned()), depth, ..Interest::default() };
        dependencies(memory, Some(&interest)).unwrap().edges.len()
    };
    assert_eq!([1, 2, 3, 4].map(|depth| edges(&mut memory, depth)), [1, 2, 3, 3]);
}
