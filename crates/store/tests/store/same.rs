//! Both backends give the same answers.

use std::time::Duration;

use netglass_model::{
    Failures, FlowCounters, Flush, HostFlow, Listener, Observations, ProbeStatus, Route, Timestamp,
    Translation,
};
use netglass_store::{Database, Settings, Window};
use netglass_testing::{flush, require};
use proptest::{prelude::*, test_runner::TestRunner};

use crate::support::{
    Place, all_flows, all_listeners, all_translations, at, flow, host, observations,
};

const HOUR: i64 = 3600;
/// Everything happens within so many hours, and is looked at when they are over.
const HOURS: i64 = 30;
/// How many flushes there may be, and how much of the time each of them is about: a host's arrive in
/// order of time.
const STEPS: usize = 12;
const SPREAD: i64 = HOURS * HOUR / 12;

/// To be written, or time to maintain.
#[derive(Debug, Clone)]
enum Step {
    Write(Box<Observations>),
    Maintain(i64),
}

fn counters() -> impl Strategy<Value = FlowCounters> {
    let count = prop_oneof![4 => 0_u64..1000, 1 => Just(u64::MAX)];
    prop::array::uniform4(count).prop_map(|[connections, opened, bytes, failed]| {
        let mut counters =
            FlowCounters { connections, opened, bytes_sent: bytes, ..FlowCounters::default() };
        counters.failed.reset = failed;
        counters
    })
}

fn seen(port: u16, step: usize) -> impl Strategy<Value = HostFlow> {
    let begin = i64::try_from(step).unwrap() * SPREAD;
    (begin..begin + SPREAD, 0..2 * HOUR, counters()).prop_map(move |(last, length, counters)| {
        HostFlow {
            counters,
            // Times as the server keeps them: of whole microseconds.
            first_seen: Timestamp::from_nanoseconds((last - length) * 1_000_000_000 + 7_000),
            ..flow(port, 0, last)
        }
    })
}

fn step(step: usize) -> impl Strategy<Value = Step> {
    let flows = prop::sample::subsequence(vec![1, 2, 3, 4], 0..4).prop_flat_map(move |ports| {
        ports.into_iter().map(|port| seen(port, step)).collect::<Vec<_>>()
    });
    let write = (flows, 0..2_u8).prop_map(|(flows, number)| {
        let listeners = flows.iter().map(|flow| Listener {
            namespace: flow.namespace,
            protocol: flow.protocol,
            local: flow.peer,
            process: flow.process.clone(),
            first_seen: flow.first_seen,
            last_seen: flow.last_seen,
        });
        let translations = flows.iter().map(|flow| {
            let route = Route { client: flow.local.address, server: flow.peer };
            Translation {
                namespace: flow.namespace,
                protocol: flow.protocol,
                original: route,
                translated: Route { client: flow.peer.address, ..route },
                connections: flow.counters.connections,
                opened: flow.counters.opened,
                first_seen: flow.first_seen,
                last_seen: flow.last_seen,
            }
        });
        let (listeners, translations) = (listeners.collect(), translations.collect());
        let mut all = observations(flows, listeners);
        all.translations = translations;
        all.host.id = host(&number.to_string());
        Step::Write(Box::new(all))
    });
    prop_oneof![5 => write, 1 => (0..=HOURS * HOUR).prop_map(Step::Maintain)]
}

/// What is certain of counts: larger ones than a database keeps depend on what it has put together.
fn kept(counters: FlowCounters) -> FlowCounters {
    let most = |count: u64| count.min(i64::MAX.cast_unsigned());
    FlowCounters {
        connections: most(counters.connections),
        opened: most(counters.opened),
        failed: Failures::from_counts(counters.failed.counts().map(most)),
        bytes_sent: most(counters.bytes_sent),
        ..counters
    }
}

/// All that a database says of a window, in an order of its own.
fn answers(database: &mut dyn Database, window: Window) -> Vec<String> {
    let mut answers = Vec::new();
    let mut add = |answer: &dyn std::fmt::Debug| answers.push(format!("{answer:?}"));
    for host in database.snapshot(window).unwrap().hosts().unwrap() {
        add(&host);
    }
    for (host, flow) in all_flows(database, window) {
        add(&(host, HostFlow { counters: kept(flow.counters), ..flow }));
    }
    for listener in all_listeners(database, window) {
        add(&listener);
    }
    for (host, one) in all_translations(database, window) {
        let FlowCounters { connections, opened, .. } = kept(FlowCounters {
            connections: one.connections,
            opened: one.opened,
            ..FlowCounters::default()
        });
        add(&(host, Translation { connections, opened, ..one }));
    }
    for status in database.probes().unwrap() {
        add(&ProbeStatus { ledger: netglass_model::Ledger::default(), ..status });
    }
    answers.sort();
    answers
}

#[test]
fn whatever_is_written_both_backends_give_the_same_answers() {
    require!(postgresql);
    let settings = Settings {
        hourly_after: Duration::from_secs(3 * 3600),
        daily_after: Duration::from_secs(8 * 3600),
        retention: Duration::from_secs(28 * 3600),
        ..Settings::default()
    };
    let steps = (1..=STEPS).prop_flat_map(|count| (0..count).map(step).collect::<Vec<_>>());
    let steps = (steps, 0..HOURS * HOUR, 0..5 * HOUR);
    let mut runner = TestRunner::new(ProptestConfig { cases: 24, ..ProptestConfig::default() });
    let checked = runner.run(&steps, |(steps, since, length)| {
        let places = [Place::sqlite(), Place::postgresql()];
        let mut databases = places.each_ref().map(|place| place.open(settings));
        // What comes late is told more finely by one of them, until it is put away.
        let maintained = steps.iter().filter_map(|step| match step {
            Step::Maintain(now) => Some(*now),
            Step::Write(_) => None,
        });
        let last = maintained.max().map(Step::Maintain);
        for step in steps.into_iter().chain(last) {
            let flush = match &step {
                Step::Write(all) => Some(Flush { at: at(HOURS * HOUR), ..flush(all) }),
                Step::Maintain(_) => None,
            };
            let done = databases.each_mut().map(|database| match (&step, &flush) {
                (Step::Maintain(now), _) => database.maintain(at(*now)).unwrap(),
                (_, Some(flush)) => database.write(flush).map(|()| 0).unwrap(),
                (_, None) => 0,
            });
            prop_assert_eq!(done[0], done[1]);
        }
        let windows = [
            Window { since: Timestamp::MIN, until: Timestamp::MAX },
            Window { since: at(since), until: at(since + length) },
        ];
        for window in windows {
            let [first, second] =
                databases.each_mut().map(|database| answers(database.as_mut(), window));
            prop_assert_eq!(first, second);
        }
        Ok(())
    });
    checked.unwrap();
}
