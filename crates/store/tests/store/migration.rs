//! A PostgreSQL database of an older version, with what is in it.

use std::time::SystemTime;

use netglass_model::{FlowCounters, HostFlow, NamespaceInode, Timestamp};
use netglass_testing::{flush, require};

use crate::support::{
    ALWAYS, Place, at, between, cluster, flow, flows, host, listeners, observations,
};

const VERSION_1: &str = include_str!("../../src/postgres/schema/version_1.sql");
const VERSION_2: &str = include_str!("../../src/postgres/schema/version_2.sql");

/// A flow that was seen in the minutes 1 and 2, and before that by the hour and by the day, and a
/// listener. The first day and the first hour are those of the Unix epoch.
const SEEN: &str = "
    INSERT INTO host VALUES ('00000000-0000-0000-0000-000000000001', 'id of a', 'a', 7);
    INSERT INTO namespace VALUES ('00000000-0000-0000-0000-000000000002',
        '00000000-0000-0000-0000-000000000001', 7, NULL, now());
    INSERT INTO flow VALUES ('00000000-0000-0000-0000-000000000003',
        '00000000-0000-0000-0000-000000000002', 6, 0, '10.0.0.1', NULL, '10.0.0.2', 80, NULL, 2,
        now());
    INSERT INTO listener VALUES ('00000000-0000-0000-0000-000000000004',
        '00000000-0000-0000-0000-000000000002', 6, '10.0.0.1', 22, NULL, now());
    INSERT INTO flow_observation SELECT '00000000-0000-0000-0000-000000000003',
        to_timestamp(s), to_timestamp(s), to_timestamp(s + 9), 2, 1, 0, 0, 0, 0, 0, 0, 100, 0, 0, 0, 0,
        0, 0 FROM unnest(ARRAY[180060, 180120]) s;
    INSERT INTO flow_observation_hour VALUES ('00000000-0000-0000-0000-000000000003',
        to_timestamp(90000), to_timestamp(90010), to_timestamp(93000), 3, 3, 0, 0, 0, 0, 0, 0, 1000,
        0, 0, 0, 0, 0, 0);
    INSERT INTO flow_observation_day VALUES ('00000000-0000-0000-0000-000000000003',
        to_timestamp(0), to_timestamp(5), to_timestamp(80000), 4, 4, 0, 0, 0, 0, 0, 0, 10000, 0, 0,
        0, 0, 0, 0);
    INSERT INTO listener_observation VALUES ('00000000-0000-0000-0000-000000000004',
        to_timestamp(180060), to_timestamp(180060), to_timestamp(180069));";

/// Makes the schema of an older version.
fn make(place: &Place, commands: &str, version: u32) {
    let commands = format!(
        "CREATE SCHEMA netglass; SET search_path = netglass; SET timezone = 'UTC'; {commands};
         COMMENT ON TABLE extent IS 'Netglass schema version {version}'"
    );
    cluster().sql(&place.name(), &commands);
}

#[test]
fn what_version_1_kept_is_told_by_the_newest() {
    require!(postgresql);
    let place = Place::postgresql();
    make(&place, &format!("{VERSION_1}; {SEEN}"), 1);
    let mut database = place.write();
    // As it was taken over, and when it has been put away.
    for _ in 0..2 {
        let all = flows(database.as_mut(), ALWAYS);
        let expected = FlowCounters {
            connections: 9,
            opened: 9,
            bytes_sent: 11_200,
            ..FlowCounters::default()
        };
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].counters, expected);
        assert_eq!((all[0].first_seen, all[0].last_seen), (at(5), at(180_129)));
        let told = [(100, 200), (91_000, 91_100), (180_050, 180_070), (180_200, 180_300)]
            .map(|(since, until)| flows(database.as_mut(), between(since, until)))
            .map(|flows| flows.iter().map(|flow| flow.counters.bytes_sent).sum::<u64>());
        assert_eq!(told, [10_000, 1_000, 100, 0]);
        assert_eq!(listeners(database.as_mut(), ALWAYS).len(), 1);
        database.maintain(at(180_500)).unwrap();
    }
}

#[test]
fn what_version_2_kept_is_told_by_the_newest() {
    require!(postgresql);
    let place = Place::postgresql();
    make(&place, &format!("{VERSION_1}; {SEEN} {VERSION_2}"), 2);
    let mut database = place.write();
    let sent =
        |flows: Vec<HostFlow>| -> u64 { flows.iter().map(|flow| flow.counters.bytes_sent).sum() };
    assert_eq!(sent(flows(database.as_mut(), ALWAYS)), 11_200);
    let hosts = database.snapshot(ALWAYS).unwrap().hosts().unwrap();
    assert_eq!((&hosts[0].id, hosts[0].namespace), (&host("a"), NamespaceInode(7)));
    // Partitions of either kind are made by the new function.
    let now = Timestamp::from(SystemTime::now());
    let seen = HostFlow { first_seen: now, last_seen: now, ..flow(80, 0, 0) };
    database.write(&flush(&observations(vec![seen], vec![]))).unwrap();
    assert_eq!(sent(flows(database.as_mut(), ALWAYS)), 11_300);
}
