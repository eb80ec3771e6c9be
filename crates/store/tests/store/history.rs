//! What was written is read again, for any moment within the retention.

use std::{sync::Arc, time::Duration};

use netglass_model::{
    Attribution, Direction, Endpoint, FlowCounters, Flush, HostAddress, HostFlow, Listener,
    NamespaceInode, NetworkNamespace, Observations, Port, ProbeStatus, Process, Protocol, Route,
    Skip, SpoolUsage, Timestamp, Translation,
};
use netglass_store::{Database, Interest, Settings, dependencies};
use netglass_testing::flush;

use crate::support::{
    ALWAYS, Place, address, all_flows, all_translations, at, between, each_backend, flow, flows,
    host, listeners, observations, process,
};

each_backend! {
    every_field_comes_back_as_it_was,
    observations_of_one_flow_in_one_bucket_become_one,
    flows_that_differ_in_anything_stay_apart,
    a_window_holds_what_touches_it,
    a_window_holds_what_others_wrote_with_longer_buckets,
    observations_of_a_flow_come_in_order_of_time,
    a_clock_that_is_set_back_hides_nothing,
    addresses_are_those_of_the_window,
    a_host_without_any_flow_is_known_with_its_addresses,
    a_host_is_known_by_machine_id_and_hostname,
    namespaces_have_their_last_known_names,
    what_a_process_does_later_is_kept_as_of_last,
    history_is_true_for_any_moment_and_goes_with_the_retention,
    what_reaches_into_the_retention_stays,
    both_ends_of_a_connection_become_one_edge_of_the_window,
    what_is_old_is_put_together_by_hour_and_by_day_and_says_the_same,
    a_few_nodes_are_read_as_all_are,
    a_flush_that_is_sent_again_adds_nothing,
    translations_and_probes_come_back_as_they_were,
}

fn listener(
    text: &str,
    port: Port,
    owner: Option<Arc<Process>>,
    first: i64,
    last: i64,
) -> Listener {
    Listener {
        namespace: NamespaceInode(1),
        protocol: Protocol::Udp,
        local: Endpoint::new(address(text), port),
        process: owner,
        first_seen: at(first),
        last_seen: at(last),
    }
}

fn every_field_comes_back_as_it_was(place: &Place) {
    let odd = Process {
        pid: u32::MAX,
        start_time: Timestamp::MIN,
        pgid: 0,
        ppid: 0,
        family: u32::MAX,
        uid: None,
        gid: None,
        comm: "a') (\n\"\u{0}\\x".to_owned(),
        exe: None,
        cgroup: None,
        container: Some("c0ffee".to_owned()),
        command_line: Some("a\u{1b}[2J \\xff …".to_owned()),
    };
    let written = vec![
        flow(80, 10, 20),
        HostFlow {
            namespace: NamespaceInode(u64::MAX),
            protocol: Protocol::Udp,
            direction: Direction::Passive,
            local: Endpoint::numbered(address("fd00::1"), 65535),
            peer: Endpoint::many(address("::")),
            process: None,
            attribution: Attribution::Namespace,
            ..flow(1, 11, 20)
        },
        HostFlow {
            local: Endpoint::many(address("127.0.0.1")),
            peer: Endpoint::many(address("255.255.255.255")),
            process: Some(Arc::new(odd.clone())),
            attribution: Attribution::Listener,
            ..flow(2, 12, 20)
        },
    ];
    let listening = vec![
        listener("0.0.0.0", Port::Many, None, 10, 20),
        listener("::", Port::Number(0), Some(Arc::new(odd)), 10, 20),
    ];
    let written = observations(written, listening);
    place.write().write(&flush(&written)).unwrap();

    let mut database = place.read();
    let mut read = flows(database.as_mut(), ALWAYS);
    read.sort_by_key(|flow| flow.first_seen);
    assert_eq!(read, written.flows);
    let mut read = listeners(database.as_mut(), ALWAYS);
    read.sort_by_key(|listener| listener.local.port == Port::Number(0));
    assert_eq!(read, written.listeners);
    assert_eq!(database.snapshot(ALWAYS).unwrap().hosts().unwrap(), [written.host]);
}

fn observations_of_one_flow_in_one_bucket_become_one(place: &Place) {
    let mut database = place.write();
    for (first, last) in [(60, 70), (71, 80), (120, 125)] {
        database.write(&flush(&observations(vec![flow(80, first, last)], vec![]))).unwrap();
    }
    database.maintain(at(300)).unwrap();
    let read = flows(database.as_mut(), between(75, 75));
    assert_eq!(read.len(), 1);
    assert_eq!((read[0].first_seen, read[0].last_seen), (at(60), at(80)));
    let mut expected = flow(80, 0, 0).counters;
    expected.append(&flow(80, 0, 0).counters);
    assert_eq!(read[0].counters, expected);
    let read = flows(database.as_mut(), between(120, 120));
    assert_eq!((read[0].first_seen, read[0].last_seen), (at(120), at(125)));
    assert_eq!(read[0].counters, flow(80, 0, 0).counters);
}

fn flows_that_differ_in_anything_stay_apart(place: &Place) {
    let mut database = place.write();
    let base = flow(80, 60, 61);
    let renamed = Process { exe: None, ..(*process("curl", 80)).clone() };
    let written = vec![
        base.clone(),
        HostFlow { namespace: NamespaceInode(2), ..base.clone() },
        HostFlow { protocol: Protocol::Udp, ..base.clone() },
        HostFlow { direction: Direction::Passive, ..base.clone() },
        HostFlow { local: Endpoint::many(address("10.0.0.9")), ..base.clone() },
        HostFlow { peer: Endpoint::numbered(address("10.0.0.9"), 80), ..base.clone() },
        HostFlow { peer: Endpoint::numbered(address("10.0.0.2"), 81), ..base.clone() },
        HostFlow { peer: Endpoint::many(address("10.0.0.2")), ..base.clone() },
        HostFlow { process: None, ..base.clone() },
        HostFlow { process: Some(process("wget", 80)), ..base.clone() },
        HostFlow { process: Some(Arc::new(renamed)), ..base.clone() },
        HostFlow { attribution: Attribution::Listener, ..base },
    ];
    let count = written.len();
    let one_host = observations(written, vec![]);
    let mut other_host = one_host.clone();
    other_host.host.id = host("b");
    for _ in 0..2 {
        database.write(&flush(&one_host)).unwrap();
        database.write(&flush(&other_host)).unwrap();
    }
    assert_eq!(flows(database.as_mut(), ALWAYS).len(), 2 * count);
}

fn a_window_holds_what_touches_it(place: &Place) {
    let mut database = place.write();
    // The third is far longer than its bucket, the fourth of before the epoch.
    let spans = [(100, 110), (110, 175), (200, 9_000), (-500, -400)];
    let ports = [1, 2, 3, 4];
    for (port, (first, last)) in ports.into_iter().zip(spans) {
        let listening = listener("::", Port::Number(port), None, first, last);
        let written = observations(vec![flow(port, first, last)], vec![listening]);
        database.write(&flush(&written)).unwrap();
    }
    for (since, until, expected) in [
        (0, 99, &[][..]),
        (0, 100, &[1]),
        (110, 110, &[1, 2]),
        (111, 199, &[2]),
        (176, 199, &[]),
        (5_000, 5_000, &[3]),
        (9_000, 10_000, &[3]),
        (9_001, 10_000, &[]),
        (-450, -450, &[4]),
        (-399, 99, &[]),
        (200, 100, &[]),
    ] {
        let window = between(since, until);
        let mut found: Vec<_> = flows(database.as_mut(), window)
            .iter()
            .filter_map(|flow| flow.peer.port.number())
            .collect();
        found.sort_unstable();
        assert_eq!(found, expected, "flows of {since}..{until}");
        let mut found: Vec<_> = listeners(database.as_mut(), window)
            .iter()
            .filter_map(|listener| listener.local.port.number())
            .collect();
        found.sort_unstable();
        assert_eq!(found, expected, "listeners of {since}..{until}");
        let addresses = &database.snapshot(window).unwrap().hosts().unwrap()[0].addresses;
        assert_eq!(!addresses.is_empty(), !expected.is_empty(), "addresses of {since}..{until}");
    }
    assert_eq!(flows(database.as_mut(), ALWAYS).len(), 4);
}

fn a_window_holds_what_others_wrote_with_longer_buckets(place: &Place) {
    let hour = Settings { bucket: Duration::from_secs(3600), ..Settings::default() };
    let mut database = place.open(hour);
    database.write(&flush(&observations(vec![flow(80, 7_000, 7_100)], vec![]))).unwrap();
    let mut reader = place.read();
    assert_eq!(flows(reader.as_mut(), between(7_050, 7_060)).len(), 1);
}

fn observations_of_a_flow_come_in_order_of_time(place: &Place) {
    let mut database = place.write();
    for minute in [3, 1, 2, 0] {
        database
            .write(&flush(&observations(vec![flow(80, minute * 60, minute * 60 + 9)], vec![])))
            .unwrap();
    }
    let mut times = Vec::new();
    database
        .snapshot(ALWAYS)
        .unwrap()
        .flows(None, &mut |_, flow| times.extend([flow.first_seen, flow.last_seen]))
        .unwrap();
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!((times.first(), times.last()), (Some(&at(0)), Some(&at(189))));
}

fn a_clock_that_is_set_back_hides_nothing(place: &Place) {
    let mut database = place.write();
    database.write(&flush(&observations(vec![flow(80, 500, 400)], vec![]))).unwrap();
    assert_eq!(flows(database.as_mut(), between(400, 400)).len(), 1);
    let extremes =
        HostFlow { first_seen: Timestamp::MIN, last_seen: Timestamp::MAX, ..flow(81, 0, 0) };
    database.write(&flush(&observations(vec![extremes], vec![]))).unwrap();
    assert_eq!(flows(database.as_mut(), between(400, 400)).len(), 2);
    assert_eq!(flows(database.as_mut(), between(0, 0)).len(), 1);
}

fn addresses_are_those_of_the_window(place: &Place) {
    let mut database = place.write();
    let with = |text: &str, second| {
        let mut written = observations(vec![flow(80, second, second)], vec![]);
        written.host.addresses =
            vec![HostAddress { namespace: NamespaceInode(1), address: address(text) }];
        written
    };
    for (text, second) in [("10.0.0.1", 60), ("10.0.0.2", 600), ("10.0.0.1", 6_000)] {
        database.write(&flush(&with(text, second))).unwrap();
    }
    let mut of = |window| -> Vec<String> {
        let hosts = database.snapshot(window).unwrap().hosts().unwrap();
        hosts[0].addresses.iter().map(|one| one.address.to_string()).collect()
    };
    assert_eq!(of(between(0, 100)), ["10.0.0.1"]);
    assert_eq!(of(between(500, 700)), ["10.0.0.2"]);
    assert_eq!(of(between(6_000, 6_000)), ["10.0.0.1"]);
    assert_eq!(of(between(1_000, 5_000)), [] as [&str; 0]);
    assert_eq!(of(ALWAYS), ["10.0.0.1", "10.0.0.2"]);
}

fn a_host_without_any_flow_is_known_with_its_addresses(place: &Place) {
    let mut database = place.write();
    let written = observations(vec![], vec![]);
    database.write(&Flush { at: at(7), ..flush(&written) }).unwrap();
    assert_eq!(database.snapshot(between(7, 7)).unwrap().hosts().unwrap(), [written.host]);
}

fn a_host_is_known_by_machine_id_and_hostname(place: &Place) {
    let mut database = place.write();
    let mut written = observations(vec![flow(80, 1, 2)], vec![]);
    database.write(&flush(&written)).unwrap();
    written.host.namespace = NamespaceInode(5);
    database.write(&flush(&written)).unwrap();
    let hosts = database.snapshot(ALWAYS).unwrap().hosts().unwrap();
    assert_eq!(hosts.len(), 1);
    assert_eq!(hosts[0].namespace, NamespaceInode(5), "the latest is true");

    "clone".clone_into(&mut written.host.id.hostname);
    database.write(&flush(&written)).unwrap();
    assert_eq!(database.snapshot(ALWAYS).unwrap().hosts().unwrap().len(), 2);
    let mut owners: Vec<_> =
        all_flows(database.as_mut(), ALWAYS).into_iter().map(|(host, _)| host.hostname).collect();
    owners.sort();
    assert_eq!(owners, ["a", "clone"]);
}

fn namespaces_have_their_last_known_names(place: &Place) {
    let mut database = place.write();
    let named = |inode, name: Option<&str>| NetworkNamespace {
        inode: NamespaceInode(inode),
        name: name.map(str::to_owned),
    };
    let report = |namespaces| Observations {
        namespaces,
        ..observations(vec![HostFlow { namespace: NamespaceInode(9), ..flow(80, 1, 2) }], vec![])
    };
    database.write(&flush(&report(vec![named(1, Some("blue")), named(2, None)]))).unwrap();
    database.write(&flush(&report(vec![named(1, Some("green"))]))).unwrap();
    database.write(&flush(&report(vec![]))).unwrap();
    let mut known = Vec::new();
    let hosts = [host("nobody"), host("a")];
    database
        .snapshot(ALWAYS)
        .unwrap()
        .namespaces(&hosts, &mut |of, namespace| {
            assert_eq!(*of, host("a"));
            known.push(namespace);
        })
        .unwrap();
    assert!(known.contains(&named(9, None)), "those that only a flow names, too");
    known.retain(|one| one.inode.0 <= 2);
    known.sort();
    assert_eq!(known, [named(2, None), named(1, Some("green"))]);
}

fn what_a_process_does_later_is_kept_as_of_last(place: &Place) {
    let mut database = place.write();
    let later = Process {
        pgid: 7,
        ppid: 8,
        family: 9,
        uid: None,
        container: Some("c".to_owned()),
        command_line: Some("curl: another title".to_owned()),
        ..(*process("curl", 80)).clone()
    };
    for one in [process("curl", 80), Arc::new(later.clone())] {
        let seen = HostFlow { process: Some(one), ..flow(80, 1, 2) };
        database.write(&flush(&observations(vec![seen], vec![]))).unwrap();
    }
    let read = flows(database.as_mut(), ALWAYS);
    assert_eq!(read.len(), 1, "it is still the same process");
    assert_eq!(read[0].process.as_deref(), Some(&later));
}

fn history_is_true_for_any_moment_and_goes_with_the_retention(place: &Place) {
    let settings = Settings { retention: Duration::from_secs(3600), ..Settings::default() };
    let mut database = place.open(settings);
    for minute in 0..120 {
        let seen = flow(1000 + minute, i64::from(minute) * 60, i64::from(minute) * 60 + 50);
        database.write(&flush(&observations(vec![seen], vec![]))).unwrap();
    }
    let removed = database.maintain(at(7_200)).unwrap();
    assert_eq!(removed, 60);
    assert_eq!(database.maintain(at(7_200)).unwrap(), 0);
    for second in (0..7_200).step_by(25) {
        let expected = (second >= 3_600 && second % 60 <= 50).then_some(second / 60 + 1000);
        let found: Vec<_> = flows(database.as_mut(), between(second, second))
            .iter()
            .filter_map(|flow| flow.peer.port.number().map(i64::from))
            .collect();
        assert_eq!(found, expected.as_slice(), "at second {second}");
    }
}

fn what_reaches_into_the_retention_stays(place: &Place) {
    let settings = Settings { retention: Duration::from_secs(3600), ..Settings::default() };
    let mut database = place.open(settings);
    database.write(&flush(&observations(vec![flow(80, 60, 110)], vec![]))).unwrap();
    assert_eq!(database.maintain(at(3600 + 110)).unwrap(), 0);
    assert_eq!(flows(database.as_mut(), between(110, 110)).len(), 1);
    assert_eq!(database.maintain(at(3600 + 111)).unwrap(), 1);
}

fn both_ends_of_a_connection_become_one_edge_of_the_window(place: &Place) {
    let mut database = place.write();
    let active = flow(80, 60, 70);
    let passive = HostFlow {
        direction: Direction::Passive,
        local: active.peer,
        peer: active.local,
        process: Some(process("nginx", 7)),
        counters: FlowCounters { connections: 3, ..FlowCounters::default() },
        ..active.clone()
    };
    database.write(&flush(&observations(vec![active], vec![]))).unwrap();
    let mut other = observations(vec![passive], vec![]);
    other.host.id = host("b");
    other.host.addresses[0].address = address("10.0.0.2");
    database.write(&flush(&other)).unwrap();

    let mut reader = place.read();
    let joined = dependencies(reader.snapshot(between(0, 100)).unwrap().as_mut(), None).unwrap();
    assert_eq!(joined.hosts.len(), 2);
    assert_eq!(joined.edges.len(), 1);
    let edge = &joined.edges[0];
    assert_eq!((&*edge.client.process.as_ref().unwrap().comm, edge.connections), ("curl", 3));
    assert_eq!(edge.server.process.as_ref().unwrap().comm, "nginx");
    assert_eq!(edge.server.host, Some(host("b")));
    assert_eq!(
        dependencies(reader.snapshot(between(200, 300)).unwrap().as_mut(), None).unwrap().edges,
        []
    );
}

fn what_is_old_is_put_together_by_hour_and_by_day_and_says_the_same(place: &Place) {
    const HOUR: i64 = 3_600;
    const DAY: i64 = 24 * HOUR;
    let mut database = place.write();
    // A flow each minute for three days, and its listener. It begins in the middle of an hour.
    let start = 20 * DAY + 1_200;
    for minute in 0..3 * 24 * 60 {
        let second = start + minute * 60;
        let listening = listener("10.0.0.1", Port::Number(53), None, second, second + 50);
        let seen = observations(vec![flow(80, second, second + 50)], vec![listening]);
        database.write(&flush(&seen)).unwrap();
    }
    let told = |database: &mut dyn Database, window| {
        let read = flows(database, window);
        assert!(read.len() <= 1);
        read.first().map(|flow| (flow.counters, flow.first_seen, flow.last_seen))
    };
    let (begin, end) = (at(start), at(start + (3 * 24 * 60 - 1) * 60 + 50));
    let before = told(database.as_mut(), ALWAYS).unwrap();
    assert_eq!((before.1, before.2), (begin, end));
    // The last two days and 1,200 seconds are younger than a week at their end.
    let now = at(start + 9 * DAY);
    assert_eq!(database.maintain(now).unwrap(), 0);
    assert_eq!(told(database.as_mut(), ALWAYS), Some(before));
    assert_eq!(listeners(database.as_mut(), ALWAYS).len(), 1);

    // A moment is as long as what it is kept in.
    let span = |database: &mut dyn Database, moment| {
        told(database, between(moment, moment + 10)).map(|(_, first, last)| (first, last))
    };
    let whole_day = Some((begin, at(21 * DAY - 10)));
    assert_eq!(span(database.as_mut(), 20 * DAY + 5_000), whole_day);
    let hour = Some((at(22 * DAY), at(22 * DAY + HOUR - 10)));
    assert_eq!(span(database.as_mut(), 22 * DAY + 2_000), hour);
    assert_eq!(span(database.as_mut(), 19 * DAY), None);
    // A window from within a day to within a later one: that day, one day, and hours.
    let (_, first, last) =
        told(database.as_mut(), between(20 * DAY + 5_000, 22 * DAY + 5_000)).unwrap();
    assert_eq!((first, last), (begin, at(22 * DAY + 2 * HOUR - 10)));

    // What comes late is added to what is there.
    database.write(&flush(&observations(vec![flow(80, start + 5, start + 6)], vec![]))).unwrap();
    database.maintain(now).unwrap();
    let after = told(database.as_mut(), ALWAYS).unwrap();
    assert_eq!(after.0.bytes_sent, before.0.bytes_sent + 100);
    assert_eq!(span(database.as_mut(), 20 * DAY + 5_000), whole_day);
}

fn a_few_nodes_are_read_as_all_are(place: &Place) {
    // In a ring of hosts each one's application asks the next one's; all of them log to themselves.
    const HOSTS: u16 = 8;
    let mut database = place.write();
    for minute in 0..3 {
        for number in 0..HOSTS {
            let here = address(&format!("10.0.0.{number}"));
            let next = address(&format!("10.0.0.{}", (number + 1) % HOSTS));
            let second = i64::from(minute * 60);
            let app = process("app", 100 + u32::from(number));
            let end = |direction, local, peer, process: &Arc<Process>| HostFlow {
                direction,
                local,
                peer,
                process: Some(Arc::clone(process)),
                ..flow(80, second, second + 9)
            };
            let (loopback, logger) = (address("127.0.0.1"), process("logger", 7));
            let service = |address| Endpoint::numbered(address, 80);
            let from = address(&format!("10.0.0.{}", (number + HOSTS - 1) % HOSTS));
            let flows = vec![
                end(Direction::Active, Endpoint::many(here), service(next), &app),
                end(Direction::Passive, service(here), Endpoint::many(from), &app),
                end(Direction::Active, Endpoint::many(loopback), service(loopback), &app),
                end(Direction::Passive, service(loopback), Endpoint::many(loopback), &logger),
            ];
            let mut seen = observations(flows, vec![]);
            seen.host.id = host(&number.to_string());
            seen.host.addresses[0].address = here;
            database.write(&flush(&seen)).unwrap();
        }
    }
    let whole = dependencies(database.snapshot(ALWAYS).unwrap().as_mut(), None).unwrap().edges;
    assert_eq!(whole.len(), 2 * usize::from(HOSTS));
    for (interest, edges) in [
        (Interest { hosts: vec![host("3")], depth: 1, ..Interest::default() }, 3),
        // Two more steps each way, with what those log.
        (Interest { hosts: vec![host("3")], depth: 2, ..Interest::default() }, 7),
        (Interest { address: Some(address("10.0.0.3")), depth: 1, ..Interest::default() }, 2),
        (Interest { process: Some("logger".to_owned()), depth: 1, ..Interest::default() }, 8),
        (Interest { process: Some("nobody".to_owned()), depth: 9, ..Interest::default() }, 0),
    ] {
        let narrow = dependencies(database.snapshot(ALWAYS).unwrap().as_mut(), Some(&interest))
            .unwrap()
            .edges;
        assert_eq!(narrow.len(), edges, "{interest:?}");
        assert!(narrow.iter().all(|edge| whole.contains(edge)), "{interest:?}");
    }
    let interest = Interest { process: Some("app".to_owned()), depth: 1, ..Interest::default() };
    let narrow =
        dependencies(database.snapshot(ALWAYS).unwrap().as_mut(), Some(&interest)).unwrap().edges;
    assert_eq!(narrow, whole);
}

fn a_flush_that_is_sent_again_adds_nothing(place: &Place) {
    let mut database = place.write();
    let first = flush(&observations(vec![flow(80, 1, 2)], vec![]));
    let second = Flush { sequence: 2, ..first.clone() };
    for flush in [&first, &first, &second, &first, &second] {
        database.write(flush).unwrap();
    }
    assert_eq!(flows(database.as_mut(), ALWAYS)[0].counters.bytes_sent, 200);
    let probes = database.probes().unwrap();
    assert_eq!(probes.len(), 1);
    assert_eq!((&probes[0].probe, probes[0].sequence), (&first.probe, 2));
}

fn translations_and_probes_come_back_as_they_were(place: &Place) {
    let mut database = place.write();
    let translation = Translation {
        namespace: NamespaceInode(7),
        protocol: Protocol::Tcp,
        original: Route {
            client: address("10.0.0.1"),
            server: Endpoint::numbered(address("10.0.1.1"), 80),
        },
        translated: Route {
            client: address("10.0.1.1"),
            server: Endpoint::numbered(address("fd00::2"), 8080),
        },
        connections: 3,
        opened: 2,
        first_seen: at(10),
        last_seen: at(12),
    };
    let mut seen = observations(vec![flow(80, 1, 2)], vec![]);
    seen.translations = vec![translation];
    let mut first = flush(&seen);
    first.spool = SpoolUsage { flushes: 1, bytes: 2, limit: 3 };
    first.ledger.skip(Skip::SpoolFull, 7);
    first.at = at(5);
    database.write(&first).unwrap();
    let second = Flush { sequence: 2, at: at(9), last: true, ..first.clone() };
    database.write(&second).unwrap();

    let read = all_translations(database.as_mut(), ALWAYS);
    let both = Translation { connections: 5, opened: 4, ..translation };
    assert_eq!(read, [(host("a"), both)]);
    let status = ProbeStatus {
        host: host("a"),
        probe: first.probe,
        first_flush: at(5),
        last_flush: at(9),
        sequence: 2,
        ended: true,
        spool: first.spool,
        ledger: first.ledger,
    };
    assert_eq!(database.probes().unwrap(), [status]);
}
