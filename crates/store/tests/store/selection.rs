//! Whatever is selected, both backends find the same.

use std::{net::IpAddr, sync::Arc};

use netglass_model::{Direction, Endpoint, HostFlow, HostId, Observations, Process, Protocol};
use netglass_store::{Database, Family, Place as ServerPlace, Selection, Server, Service};
use netglass_testing::{flush, require};
use proptest::{prelude::*, sample::subsequence, test_runner::TestRunner};

use crate::support::{ALWAYS, Place, address, flow, host, observations, process};

const HOSTS: usize = 3;
/// The addresses of the hosts, one that any of them may have, and one that all have.
const ADDRESSES: [&str; 5] = ["10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.9", "127.0.0.1"];
const PORTS: [Option<u16>; 3] = [Some(80), Some(81), None];
const SELECTIONS: usize = 8;

fn hosts() -> impl Strategy<Value = HostId> {
    (0..HOSTS).prop_map(|number| host(&number.to_string()))
}

fn addresses() -> impl Strategy<Value = IpAddr> {
    prop::sample::select(&ADDRESSES[..]).prop_map(address)
}

fn processes() -> impl Strategy<Value = Arc<Process>> {
    prop::sample::select(vec![("app", 10), ("app", 11), ("proxy", 12)])
        .prop_map(|(name, id)| process(name, id))
}

fn flows() -> impl Strategy<Value = HostFlow> {
    let ends = (addresses(), prop::sample::select(&PORTS[..]), addresses());
    (any::<bool>(), ends, prop::option::weighted(0.8, processes())).prop_map(
        |(is_active, (server, port, client), process)| {
            let port = port
                .map_or_else(|| Endpoint::many(server), |port| Endpoint::numbered(server, port));
            let (direction, local, peer) = if is_active {
                (Direction::Active, Endpoint::many(client), port)
            } else {
                (Direction::Passive, port, Endpoint::many(client))
            };
            HostFlow { direction, local, peer, process, ..flow(80, 1, 2) }
        },
    )
}

fn servers() -> impl Strategy<Value = Server> {
    let place = prop_oneof![
        addresses().prop_map(ServerPlace::At),
        (hosts(), prop::option::of(addresses()))
            .prop_map(|(host, address)| ServerPlace::On(host, address)),
    ];
    (80..82_u16, place).prop_map(|(port, place)| Server { protocol: Protocol::Tcp, port, place })
}

fn services() -> impl Strategy<Value = Service> {
    (hosts(), flows()).prop_map(|(host, flow)| {
        Service::of_ends(&host, flow.protocol, flow.direction, flow.local, flow.peer)
    })
}

fn few<T: Clone + std::fmt::Debug>(of: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<T>> {
    prop_oneof![Just(Vec::new()), prop::collection::vec(of, 1..4)]
}

fn selections() -> impl Strategy<Value = Selection> {
    let families = (hosts(), processes()).prop_map(|(host, process)| Family::of(&host, &process));
    let names = subsequence(vec!["app".to_owned(), "nobody".to_owned()], 0..2);
    (few(hosts()), names, few(families), few(addresses()), few(servers()), few(services()))
        .prop_map(|(hosts, names, families, addresses, servers, services)| Selection {
            hosts,
            names,
            families,
            addresses,
            servers,
            services,
        })
}

/// The flows that are found, in an order of their own.
fn found(database: &mut dyn Database, wanted: &Selection) -> Vec<String> {
    let mut found = Vec::new();
    let mut snapshot = database.snapshot(ALWAYS).unwrap();
    snapshot
        .flows(Some(wanted), &mut |host, flow| found.push(format!("{host:?} {flow:?}")))
        .unwrap();
    found.sort();
    found
}

#[test]
fn whatever_is_selected_both_backends_find_the_same() {
    require!(postgresql);
    let seen = prop::collection::vec(prop::collection::vec(flows(), 0..12), HOSTS);
    let asked = prop::collection::vec(selections(), SELECTIONS);
    let mut runner = TestRunner::new(ProptestConfig { cases: 24, ..ProptestConfig::default() });
    let checked = runner.run(&(seen, asked), |(seen, asked)| {
        let places = [Place::sqlite(), Place::postgresql()];
        let [mut first, mut second] = places.each_ref().map(Place::write);
        for (number, mut flows) in seen.into_iter().enumerate() {
            // What is the same flow to a host is seen once.
            flows.sort_by_key(|flow| format!("{flow:?}"));
            flows.dedup();
            let mut seen: Observations = observations(flows, vec![]);
            seen.host.id = host(&number.to_string());
            for database in [&mut first, &mut second] {
                database.write(&flush(&seen)).unwrap();
            }
        }
        for wanted in asked {
            let [first, second] =
                [&mut first, &mut second].map(|database| found(database.as_mut(), &wanted));
            prop_assert_eq!(first, second, "{:?}", wanted);
        }
        Ok(())
    });
    checked.unwrap();
}
