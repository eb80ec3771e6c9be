//! What is read of days, hours and what was written says the same.

use std::collections::{BTreeMap, BTreeSet};

use netglass_model::{Route, Translation};

use super::*;
use crate::{Family, Place, Selection, Server};

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

/// What was seen of one flow: its port, when, what was counted, and in which bucket it is written.
#[derive(Debug, Clone, Copy)]
struct Seen {
    port: u16,
    first: i64,
    last: i64,
    counters: FlowCounters,
    bucket: Duration,
}

impl Seen {
    fn bucket(&self) -> Timestamp {
        at(self.last).bucket(self.bucket)
    }

    fn observations(&self) -> Observations {
        let Self { port, first, last, counters, .. } = *self;
        let mut seen = observations(vec![HostFlow {
            first_seen: at(first),
            last_seen: at(last),
            ..flow(port, counters, last)
        }]);
        for listener in &mut seen.listeners {
            (listener.first_seen, listener.last_seen) = (at(first), at(last));
        }
        let route = |client| Route {
            client: address(client),
            server: Endpoint::numbered(address("10.0.0.2"), port),
        };
        seen.translations = vec![Translation {
            namespace: NamespaceInode(1),
            protocol: Protocol::Tcp,
            original: route("10.0.0.1"),
            translated: route("10.0.0.9"),
            connections: counters.connections,
            opened: counters.opened,
            first_seen: at(first),
            last_seen: at(last),
        }];
        seen
    }
}

/// What adds up of one flow, listener or translation within a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sum {
    first: Timestamp,
    last: Timestamp,
    counters: FlowCounters,
}

impl Sum {
    fn append(&mut self, later: &Self) {
        self.first = self.first.min(later.first);
        self.last = self.last.max(later.last);
        self.counters.append(&later.counters);
    }
}

type Sums = BTreeMap<u16, Sum>;

fn add(sums: &mut Sums, port: u16, sum: Sum) {
    sums.entry(port).and_modify(|so_far| so_far.append(&sum)).or_insert(sum);
}

/// What the rows that were written add up to, as far as they touch the window.
fn expected(seen: &[Seen], window: Window) -> Sums {
    let mut written: BTreeMap<(Timestamp, u16), Sum> = BTreeMap::new();
    for one in seen {
        let sum = Sum { first: at(one.first), last: at(one.last), counters: one.counters };
        let row = written.entry((one.bucket(), one.port));
        row.and_modify(|row| row.append(&sum)).or_insert(sum);
    }
    let mut sums = Sums::new();
    for ((_, port), row) in written {
        if row.first <= window.until && row.last >= window.since {
            add(&mut sums, port, row);
        }
    }
    sums
}

fn found(database: &mut Sqlite, window: Window, wanted: Option<&Selection>) -> Sums {
    let mut sums = Sums::new();
    let visit = &mut |_: &HostId, flow: HostFlow| {
        let HostFlow { first_seen: first, last_seen: last, counters, .. } = flow;
        add(&mut sums, flow.peer.port.number().unwrap(), Sum { first, last, counters });
    };
    database.snapshot(window).unwrap().flows(wanted, visit).unwrap();
    sums
}

fn found_listeners(database: &mut Sqlite, window: Window) -> Sums {
    let mut sums = Sums::new();
    let visit = &mut |_: &HostId, listener: Listener| {
        let Listener { first_seen: first, last_seen: last, .. } = listener;
        let sum = Sum { first, last, counters: FlowCounters::default() };
        add(&mut sums, listener.local.port.number().unwrap(), sum);
    };
    database.snapshot(window).unwrap().listeners(None, visit).unwrap();
    sums
}

fn found_translations(database: &mut Sqlite, window: Window) -> Sums {
    let mut sums = Sums::new();
    let visit = &mut |_: &HostId, it: Translation| {
        let Translation { first_seen: first, last_seen: last, connections, opened, .. } = it;
        let counters = FlowCounters { connections, opened, ..FlowCounters::default() };
        add(&mut sums, it.original.server.port.number().unwrap(), Sum { first, last, counters });
    };
    database.snapshot(window).unwrap().translations(visit).unwrap();
    sums
}

fn found_processes(database: &mut Sqlite, window: Window) -> BTreeSet<u32> {
    let mut pids = BTreeSet::new();
    let family = Family { host: host(), family: 1, pgid: 1, comm: "curl".to_owned() };
    let visit = &mut |_: &HostId, process: Arc<Process>| assert!(pids.insert(process.pid));
    database.snapshot(window).unwrap().members(&[family], visit).unwrap();
    pids
}

/// The same sums, of what each kind counts.
fn of_kind(sums: &Sums, counted: impl Fn(&FlowCounters) -> FlowCounters) -> Sums {
    let counted = |sum: &Sum| Sum { counters: counted(&sum.counters), ..*sum };
    sums.iter().map(|(&port, sum)| (port, counted(sum))).collect()
}

fn host() -> HostId {
    HostId { machine_id: "m".to_owned(), hostname: "h".to_owned() }
}

fn every() -> Selection {
    Selection { names: vec!["curl".to_owned()], ..Selection::default() }
}

fn one(port: u16) -> Selection {
    let server = Server { protocol: Protocol::Tcp, port, place: Place::On(host(), None) };
    Selection { servers: vec![server], ..Selection::default() }
}

fn write(path: &Path, seen: &[Seen]) {
    for one in seen {
        let settings = Settings { bucket: one.bucket, ..Settings::default() };
        let mut database = Sqlite::open(path, Access::Write, settings).unwrap();
        database.write(&flush(&one.observations())).unwrap();
    }
}

fn any_second() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => -2 * DAY..3 * DAY,
        1 => (-48_i64..72).prop_map(|hour| hour * HOUR),
        1 => (-48_i64..72).prop_map(|hour| hour * HOUR - 1),
    ]
}

fn any_seen() -> impl Strategy<Value = Seen> {
    let length = prop_oneof![3 => 0..120_i64, 2 => 0..3 * HOUR, 1 => 0..2 * DAY];
    let bucket =
        prop_oneof![3 => Just(60), 1 => Just(7 * 60), 1 => Just(7_200), 1 => Just(129_600)];
    let counts = prop::array::uniform9(0_u64..50);
    let failed = prop::array::uniform6(0_u64..9).prop_map(Failures::from_counts);
    (1_u16..4, any_second(), length, bucket, counts, failed).prop_map(
        |(port, last, length, bucket, counts, failed)| Seen {
            port,
            first: last - length,
            last,
            bucket: Duration::from_secs(bucket),
            counters: FlowCounters {
                connections: counts[0],
                opened: counts[1],
                failed,
                bytes_sent: counts[2],
                bytes_received: counts[3],
                segments_sent: counts[4],
                segments_received: counts[5],
                retransmits: counts[6],
                rtt: RttSamples { sum_us: counts[7], count: counts[8] },
            },
        },
    )
}

fn any_window() -> impl Strategy<Value = Window> {
    prop_oneof![
        9 => (any_second(), any_second()).prop_map(|(a, b)| Window {
            since: at(a.min(b)),
            until: at(a.max(b)),
        }),
        1 => Just(ALWAYS),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_window_adds_up_to_all_that_was_written_in_it(
        mut seen in prop::collection::vec(any_seen(), 1..24),
        windows in prop::collection::vec(any_window(), 1..24),
    ) {
        // As a probe does; of what comes late only a lower bound of the connections is known.
        seen.sort_by_key(|one| (one.bucket(), one.last));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        write(&path, &seen);
        let database = &mut open(&path);
        for window in windows {
            let sums = expected(&seen, window);
            prop_assert_eq!(&found(database, window, None), &sums, "{:?}", window);
            prop_assert_eq!(&found(database, window, Some(&every())), &sums, "{:?}", window);
            let only: Sums = sums.iter().filter(|(port, _)| **port == 2)
                .map(|(&port, &sum)| (port, sum)).collect();
            prop_assert_eq!(&found(database, window, Some(&one(2))), &only, "{:?}", window);
            prop_assert_eq!(
                found_listeners(database, window),
                of_kind(&sums, |_| FlowCounters::default())
            );
            prop_assert_eq!(
                found_translations(database, window),
                of_kind(&sums, |counters| FlowCounters {
                    connections: counters.connections,
                    opened: counters.opened,
                    ..FlowCounters::default()
                })
            );
            let pids: BTreeSet<_> = sums.keys().map(|&port| u32::from(port)).collect();
            prop_assert_eq!(found_processes(database, window), pids);
            // All flows have the host's address in common.
            let shared: Vec<_> = seen.iter().map(|one| Seen { port: 1, ..*one }).collect();
            let is_there = !expected(&shared, window).is_empty();
            prop_assert_eq!(!database.snapshot(window).unwrap().hosts().unwrap()[0].addresses.is_empty(), is_there);
        }
    }
}

/// A flow each minute from `start` for so many days.
fn each_minute(path: &Path, start: i64, days: i64) {
    let counters = FlowCounters { connections: 2, opened: 1, ..FlowCounters::default() };
    let bucket = Duration::from_secs(60);
    let mut database = open(path);
    for minute in 0..days * 24 * 60 {
        let first = start + minute * 60;
        let seen = Seen { port: 80, first, last: first + 50, counters, bucket };
        database.write(&flush(&seen.observations())).unwrap();
    }
}

fn window(since: i64, until: i64) -> Window {
    Window { since: at(since), until: at(until) }
}

fn visits(database: &mut Sqlite, window: Window) -> Vec<(Timestamp, Timestamp)> {
    let mut visits = Vec::new();
    let visit = &mut |_: &HostId, flow: HostFlow| visits.push((flow.first_seen, flow.last_seen));
    database.snapshot(window).unwrap().flows(None, visit).unwrap();
    visits
}

/// How many observations of flows there are at each resolution.
fn kept(database: &Sqlite) -> [i64; 3] {
    let rows = |number| {
        rows(
            &database.connected.connection,
            &format!("flow_observation WHERE resolution = {number}"),
        )
    };
    [rows(0), rows(1), rows(2)]
}

#[test]
fn a_window_is_read_as_coarsely_as_it_can_be_and_in_order_of_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    each_minute(&path, 0, 3);
    let database = &mut open(&path);
    assert_eq!(kept(database), [3 * 24 * 60, 3 * 24, 3]);
    assert_eq!(visits(database, ALWAYS).len(), 3);

    // From two minutes before one o'clock to three after ten o'clock the day after.
    let found = visits(database, window(58 * 60, DAY + 10 * HOUR + 179));
    assert_eq!(found.len(), 2 + 23 + 10 + 3);
    assert_eq!(found[..2], [58, 59].map(|minute| (at(minute * 60), at(minute * 60 + 50))));
    assert_eq!(found[2], (at(HOUR), at(2 * HOUR - 10)));
    assert!(found.is_sorted());
}

#[test]
fn what_is_no_longer_kept_as_it_was_written_is_read_by_hour_and_by_day() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    each_minute(&path, 0, 3);
    let settings = Settings {
        hourly_after: Duration::from_secs(3_600),
        daily_after: Duration::from_secs(86_400),
        ..Settings::default()
    };
    let mut database = Sqlite::open(&path, Access::Write, settings).unwrap();
    let whole = [ALWAYS, window(DAY, 2 * DAY - 1), window(2 * DAY + HOUR, 2 * DAY + 5 * HOUR - 1)];
    let before = whole.map(|window| found(&mut database, window, None));

    assert_eq!(database.maintain(at(3 * DAY - 60)).unwrap(), 0);
    // By minute and by hour as far as an hour and a day reach back, and to the start of that one.
    assert_eq!(kept(&database), [2 * 60, 48, 3]);
    assert_eq!(whole.map(|window| found(&mut database, window, None)), before);
    let visited = visits(&mut database, window(2 * DAY + 60, 2 * DAY + HOUR + 60));
    assert_eq!(
        visited,
        [(2 * DAY, 2 * DAY + HOUR - 10), (2 * DAY + HOUR, 2 * DAY + 2 * HOUR - 10)]
            .map(|(first, last)| (at(first), at(last)))
    );
    let visited = visits(&mut database, window(60, 70));
    assert_eq!(visited, [(at(0), at(DAY - 10))]);

    // What comes late counts, and is kept as coarsely as what was there.
    let late = Seen {
        port: 80,
        first: 5,
        last: 6,
        counters: FlowCounters { bytes_sent: 7, ..FlowCounters::default() },
        bucket: Duration::from_secs(60),
    };
    database.write(&flush(&late.observations())).unwrap();
    let sent = |database: &mut Sqlite| {
        found(database, window(0, DAY - 1), Some(&one(80)))[&80].counters.bytes_sent
    };
    assert_eq!(sent(&mut database), 7);
    database.maintain(at(3 * DAY - 60)).unwrap();
    assert_eq!(kept(&database), [2 * 60, 48, 3]);
    assert_eq!(sent(&mut database), 7);
}

#[test]
fn what_ended_before_the_retention_is_not_seen_through_what_is_left_of_its_day() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    each_minute(&path, 0, 1);
    let settings = Settings { retention: Duration::from_secs(3_600), ..Settings::default() };
    let mut database = Sqlite::open(&path, Access::Write, settings).unwrap();
    assert_eq!(database.maintain(at(DAY)).unwrap(), 0, "the day is not over");
    assert_eq!(kept(&database), [60, 1, 1]);
    let left = found(&mut database, ALWAYS, None)[&80];
    assert_eq!((left.first, left.last, left.counters.opened), (at(23 * HOUR), at(DAY - 10), 60));
    assert_eq!(database.maintain(at(DAY + HOUR)).unwrap(), 2, "a flow and a listener");
    assert_eq!(kept(&database), [0, 0, 0]);
}

#[test]
fn a_clock_that_was_ahead_hides_nothing_that_is_written_when_it_is_right() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let mut database = open(&path);
    database.maintain(at(1_000 * DAY)).unwrap();
    database.maintain(at(DAY)).unwrap();
    each_minute(&path, DAY, 1);
    database.maintain(at(2 * DAY)).unwrap();
    assert_eq!(visits(&mut database, window(2 * DAY - 120, 2 * DAY)).len(), 2);
    assert_eq!(found(&mut database, ALWAYS, None)[&80].counters.opened, 24 * 60);
}

/// A database of version 3, in which `moved` were put together by hour and by day.
fn version_3(path: &Path, moved: &[(i64, i64, Seen)]) {
    let patience = Duration::from_secs(1);
    let third = Options { access: Access::Write, patience, steps: &STEPS[..3] };
    let database = Sqlite::open_with(path, Settings::default(), third).unwrap();
    let connection = &database.connected.connection;
    connection
        .execute_batch(
            "INSERT INTO host VALUES (1, 'm', 'h', 1);
             INSERT INTO namespace VALUES (1, 1, 1, 'blue', 0);
             INSERT INTO host_address VALUES (1, 1, x'0a000001', 0);",
        )
        .unwrap();
    for port in [1, 2, 3] {
        connection
            .execute_batch(&format!(
                "INSERT INTO process VALUES ({port}, 1, {port}, 0, 'curl', NULL, 1, 1, 1, NULL,
                    NULL, NULL, NULL, NULL);
                 INSERT INTO flow VALUES
                    ({port}, 1, 6, 0, x'0a000001', NULL, x'0a000002', {port}, {port}, 0, 0);
                 INSERT INTO listener VALUES ({port}, 1, 6, x'0a000002', {port}, {port}, 0);
                 INSERT INTO translation VALUES ({port}, 1, 6, x'0a000001', x'0a000002', {port},
                    x'0a000009', x'0a000002', {port}, 0);"
            ))
            .unwrap();
    }
    for (resolution, bucket, Seen { port, first, last, counters, .. }) in moved {
        let times = [bucket, first, last].map(|second| second * 1_000_000_000);
        let [bucket, first, last] = times;
        let numbers = crate::columns::counter_columns(counters).map(|number| number.to_string());
        let (connections, opened) = (counters.connections, counters.opened);
        connection
            .execute_batch(&format!(
                "INSERT INTO flow_observation
                    VALUES ({resolution}, {bucket}, {port}, {first}, {last}, {});
                 INSERT INTO listener_observation
                    VALUES ({resolution}, {bucket}, {port}, {first}, {last});
                 INSERT OR REPLACE INTO address_observation
                    VALUES ({resolution}, {bucket}, 1, {first}, {last});
                 INSERT INTO translation_observation
                    VALUES ({resolution}, {bucket}, {port}, {first}, {last}, {connections}, {opened});
                 UPDATE extent SET reach = max(reach, {last} - {bucket}, {bucket} - {first})
                    WHERE resolution = {resolution};",
                numbers.join(", ")
            ))
            .unwrap();
    }
}

#[test]
fn a_database_of_version_3_gives_the_same_answers_at_all_resolutions() {
    const START: i64 = 18 * DAY;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let seen = |port, first: i64, last: i64| {
        let number = u64::try_from(first / 60 % 11).unwrap() + u64::from(port);
        let counters = FlowCounters {
            connections: number + 3,
            opened: number,
            failed: Failures::from_counts([1, 2, 3, 4, 5, number]),
            bytes_sent: 6,
            bytes_received: 7 * number,
            segments_sent: 8,
            segments_received: 9,
            retransmits: 10,
            rtt: RttSamples { sum_us: 11, count: number },
        };
        Seen { port, first, last, counters, bucket: Duration::from_secs(60) }
    };
    // One day, most hours of the next one, and what was written after these.
    let mut moved = Vec::new();
    for port in [1, 2, 3] {
        moved.push((2, START, seen(port, START + 100, START + DAY - 10)));
        for hour in (0..21).filter(|hour| hour % i64::from(port) == 0) {
            let bucket = START + DAY + hour * HOUR;
            moved.push((1, bucket, seen(port, bucket - 1_000, bucket + HOUR - 10)));
        }
        for written in 0..60 {
            let bucket = START + DAY + 21 * HOUR + written * 540;
            moved.push((0, bucket, seen(port, bucket + 7, bucket + 30)));
        }
    }
    version_3(&path, &moved);
    let database = &mut open(&path);

    let moments: Vec<_> = (0..34).map(|step| START - HOUR + step * 8_123).collect();
    for &since in &moments {
        for &until in moments.iter().filter(|until| **until >= since) {
            let window = window(since, until);
            let mut sums = Sums::new();
            for (_, _, Seen { port, first, last, counters, .. }) in &moved {
                let sum = Sum { first: at(*first), last: at(*last), counters: *counters };
                if sum.first <= window.until && sum.last >= window.since {
                    add(&mut sums, *port, sum);
                }
            }
            assert_eq!(found(database, window, None), sums, "{window:?}");
            assert_eq!(found(database, window, Some(&every())), sums, "{window:?}");
            let times = of_kind(&sums, |_| FlowCounters::default());
            assert_eq!(found_listeners(database, window), times, "{window:?}");
            let translations = of_kind(&sums, |counters| FlowCounters {
                connections: counters.connections,
                opened: counters.opened,
                ..FlowCounters::default()
            });
            assert_eq!(found_translations(database, window), translations, "{window:?}");
            let has_address =
                !database.snapshot(window).unwrap().hosts().unwrap()[0].addresses.is_empty();
            assert_eq!(has_address, !sums.is_empty(), "{window:?}");
        }
    }

    // What a writer adds to an hour that was moved counts with it.
    let late = seen(1, START + DAY + 60, START + DAY + 70);
    database.write(&flush(&late.observations())).unwrap();
    let hour = window(START + DAY + 2_000, START + DAY + 2_010);
    let found = found(database, hour, None)[&1];
    assert_eq!(found.first, at(START + DAY - 1_000));
    assert!(visits(database, hour).len() == 3, "no flow is read twice");
}
