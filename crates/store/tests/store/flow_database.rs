//! Flow records in the dependency database.

use std::{
    sync::{Arc, Barrier},
    thread,
    time::{Duration, SystemTime},
};

use netglass_model::{
    Attribution, ConnectionState, EndReason, FlowRecord, FlowStatus, HostId, IpProtocol, Owner,
    TcpConnection, Timestamp,
};
use netglass_store::{
    Access, Claim, Database, DatabaseUrl, Error, Settings,
    flow_log::{
        COLUMNS, Column, ColumnType, DatabaseSink, DropReason, FlowBatch, FlowOutput,
        FlowSink as _, Value, WhenFull,
    },
    open,
};
use netglass_testing::{PostgreSql, flush, require};
use uuid::Uuid;

use crate::{
    server::{Cutter, try_open},
    support::{
        ALWAYS, Place, address, cluster, each_backend, flow, flows, host, observations, process,
    },
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

each_backend! {
    a_table_has_the_columns_of_the_schema,
    what_is_logged_is_there_as_it_was,
    a_text_may_hold_any_character,
    a_batch_that_is_sent_again_adds_nothing,
    a_large_batch_is_one,
    what_was_logged_before_the_retention_began_is_removed,
    a_sink_removes_old_records_and_nothing_of_probes,
    a_database_that_is_open_to_read_takes_nothing,
    captures_write_beside_probes_and_are_not_taken_for_them,
    hosts_that_capture_are_no_hosts_that_report,
}

fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

/// The only row of the only answer to `query`, columns separated by `|`.
fn sql(place: &Place, query: &str) -> String {
    match &place.url {
        DatabaseUrl::Sqlite(path) => {
            let connection = rusqlite::Connection::open(path).unwrap();
            let mut statement = connection.prepare(query).unwrap();
            let columns = statement.column_count();
            let mut rows = statement.query(()).unwrap();
            let Some(row) = rows.next().unwrap() else { return String::new() };
            let text = |column| match row.get::<_, rusqlite::types::Value>(column).unwrap() {
                rusqlite::types::Value::Text(text) => text,
                rusqlite::types::Value::Integer(integer) => integer.to_string(),
                other => unreachable!("{other:?}"),
            };
            let texts: Vec<_> = (0..columns).map(text).collect();
            texts.join("|")
        }
        _ => cluster().sql(&place.name(), &format!("SET search_path = netglass; {query}")),
    }
}

fn count(place: &Place) -> usize {
    sql(place, "SELECT count(*) FROM flow_log").parse().unwrap()
}

/// A flow of UDP that began at `first_seen`, of which only its packets are known.
fn bare(port: u16, first_seen: Timestamp) -> FlowRecord {
    FlowRecord {
        id: Uuid::now_v7(),
        protocol: IpProtocol(47),
        source: address("10.0.0.1"),
        destination: address("2001:db8::2"),
        source_port: port,
        destination_port: 0,
        first_seen,
        last_seen: first_seen.saturating_add(Duration::from_millis(1)),
        source_bytes: u64::MAX,
        destination_bytes: 0,
        source_packets: 1,
        destination_packets: 0,
        status: FlowStatus::Init,
        end_reason: EndReason::Idle,
        interface: None,
        tcp: None,
        source_owner: None,
        destination_owner: None,
    }
}

/// A flow in which there is something of everything.
fn full(port: u16, first_seen: Timestamp) -> FlowRecord {
    let owner = |comm| Owner { process: process(comm, 80), attribution: Attribution::Listener };
    FlowRecord {
        protocol: IpProtocol::TCP,
        destination: address("10.0.0.2"),
        source_bytes: 1_258,
        status: FlowStatus::Established,
        end_reason: EndReason::Closed,
        interface: Some("eth0".into()),
        tcp: Some(TcpConnection {
            state: ConnectionState::Sf,
            source_flags: 0x1b,
            destination_flags: 0x13,
            handshake_rtt: Some(Duration::from_nanos(120_999)),
            source_retransmissions: Some(1),
            destination_retransmissions: Some(0),
        }),
        source_owner: Some(owner("a\"b\\c|d\r\ne\tf\u{1b}[31m\u{9b}é\u{2028}'=1+1")),
        destination_owner: Some(owner("nginx")),
        ..bare(port, first_seen)
    }
}

/// Batches of one run, one after the other.
pub(crate) struct Batches {
    pub(crate) next: FlowBatch,
    size: u16,
}

impl Batches {
    /// Of so many records each.
    pub(crate) fn new(size: u16) -> Self {
        let mut batches = Self { next: FlowBatch::new(Uuid::now_v7(), 0, Vec::new()), size };
        batches.advance();
        batches
    }

    pub(crate) fn advance(&mut self) {
        self.next.sequence += 1;
        self.next.records = (0..self.size).map(|port| full(port, now())).collect();
    }
}

fn batch(records: Vec<FlowRecord>) -> FlowBatch {
    FlowBatch::new(Uuid::now_v7(), 1, records)
}

fn sink(url: &DatabaseUrl, settings: Settings) -> DatabaseSink {
    let url = url.clone();
    DatabaseSink::new(Box::new(move || open(&url, Access::Write, settings)), host("a"))
}

fn a_table_has_the_columns_of_the_schema(place: &Place) {
    place.write();
    let is_sqlite = matches!(place.url, DatabaseUrl::Sqlite(_));
    let query = if is_sqlite {
        "SELECT group_concat(name || ' ' || type || ' ' || \"notnull\", ', ')
         FROM (SELECT * FROM pragma_table_info('flow_log') ORDER BY cid)"
    } else {
        "SELECT string_agg(attname || ' ' || atttypid::regtype || ' ' || attnotnull::integer, ', '
            ORDER BY attnum)
         FROM pg_attribute WHERE attrelid = 'flow_log'::regclass AND attnum > 0"
    };
    let column_type = |Column { name, column_type, .. }: &Column| match (is_sqlite, column_type) {
        (true, ColumnType::String) => "TEXT",
        (true, ColumnType::Integer | ColumnType::Timestamp) => "INTEGER",
        (false, ColumnType::String) if *name == "id" => "uuid",
        (false, ColumnType::String) if name.ends_with("_addr") => "inet",
        (false, ColumnType::String) => "text",
        (false, ColumnType::Integer) => "bigint",
        (false, ColumnType::Timestamp) => "timestamp with time zone",
    };
    let mut expected = Vec::from(if is_sqlite {
        ["logged_at INTEGER 1".to_owned(), "host_id INTEGER 1".to_owned()]
    } else {
        ["logged_at timestamp with time zone 1".to_owned(), "host_id uuid 1".to_owned()]
    });
    expected.extend(COLUMNS.iter().map(|column| {
        format!("{} {} {}", column.name, column_type(column), u8::from(!column.is_nullable))
    }));
    assert_eq!(sql(place, query), expected.join(", "));
}

fn what_is_logged_is_there_as_it_was(place: &Place) {
    let mut database = place.write();
    let at = Timestamp::from_nanoseconds;
    // Of now, of long ago, and of the first and the last moment that there are.
    let records = vec![
        full(1, now()),
        bare(2, at(1_700_000_000_123_456_789)),
        FlowRecord { last_seen: Timestamp::MAX, ..full(3, Timestamp::MIN) },
        FlowRecord { source: address("::ffff:10.0.0.1"), ..full(4, at(-1)) },
    ];
    database.log_flows(&host("a"), &batch(records.clone())).unwrap();

    let is_sqlite = matches!(place.url, DatabaseUrl::Sqlite(_));
    let text = |Column { name, column_type, .. }: &Column| match column_type {
        _ if is_sqlite => format!("CAST({name} AS text)"),
        // Otherwise the server says that it is an address of 32 bits.
        ColumnType::String if name.ends_with("_addr") => format!("host({name})"),
        ColumnType::Timestamp => format!("(extract(epoch FROM {name}) * 1000000)::bigint::text"),
        _ => format!("{name}::text"),
    };
    let texts: Vec<_> = COLUMNS.iter().map(text).collect();
    let array = if is_sqlite { "json_array" } else { "json_build_array" };
    let expected = |record, column: &Column| {
        let value = column.value(record)?;
        Some(match value {
            Value::Timestamp(moment) if !is_sqlite => {
                moment.as_nanoseconds().div_euclid(1000).to_string()
            }
            value => value.to_string(),
        })
    };
    for record in &records {
        let query = format!(
            "SELECT {array}({}) FROM flow_log JOIN host USING (host_id)
             WHERE src_port = {} AND machine_id = 'id of a' AND hostname = 'a'",
            texts.join(", "),
            record.source_port
        );
        let read: Vec<Option<String>> = serde_json::from_str(&sql(place, &query)).unwrap();
        let expected: Vec<_> = COLUMNS.iter().map(|column| expected(record, column)).collect();
        assert_eq!(read, expected);
    }
    assert_eq!(count(place), records.len());
}

fn a_text_may_hold_any_character(place: &Place) {
    let record = FlowRecord { interface: Some("a\0b\u{e000}".into()), ..bare(1, now()) };
    let id = HostId { machine_id: "\0".to_owned(), hostname: "\u{e000}".to_owned() };
    place.write().log_flows(&id, &batch(vec![record])).unwrap();
    assert_eq!(count(place), 1);
}

fn a_batch_that_is_sent_again_adds_nothing(place: &Place) {
    let mut batches = Batches::new(10);
    let first = batches.next.clone();
    for written in 1..=3 {
        let mut database = place.write();
        for _ in 0..2 {
            database.log_flows(&host("a"), &batches.next).unwrap();
            database.log_flows(&host("a"), &first).unwrap();
        }
        assert_eq!(count(place), written * 10);
        batches.advance();
    }
    // A batch may be lost on its way; the next one is there all the same.
    batches.advance();
    place.write().log_flows(&host("a"), &batches.next).unwrap();
    // Runs have numbers of their own, and names may be used by several hosts.
    place.write().log_flows(&host("b"), &batch(vec![bare(1, now())])).unwrap();
    assert_eq!(count(place), 41);
    assert_eq!(sql(place, "SELECT count(*) FROM capture"), "2");
    assert_eq!(sql(place, "SELECT count(DISTINCT id) FROM flow_log"), "41");
}

fn a_large_batch_is_one(place: &Place) {
    let batches = Batches::new(u16::MAX);
    place.write().log_flows(&host("a"), &batches.next).unwrap();
    assert_eq!(count(place), usize::from(u16::MAX));
    place.write().log_flows(&host("a"), &FlowBatch { sequence: 2, ..batch(vec![]) }).unwrap();
    assert_eq!(count(place), usize::from(u16::MAX));
}

fn what_was_logged_before_the_retention_began_is_removed(place: &Place) {
    let mut database = place.write();
    // A file may be replayed of any day.
    let old = Timestamp::from_nanoseconds(1_000_000_000);
    let mut records: Vec<_> = (0..5_000).map(|port| bare(port, old)).collect();
    records.extend((0..5_000).map(|port| bare(port, now())));
    database.log_flows(&host("a"), &batch(records)).unwrap();
    for days in [0, 29] {
        assert_eq!(database.maintain(now().saturating_add(DAY * days)).unwrap(), 0);
        assert_eq!(count(place), 10_000);
        assert_eq!(sql(place, "SELECT count(*) FROM capture"), "1");
    }
    assert_eq!(database.maintain(now().saturating_add(DAY * 40)).unwrap(), 0);
    assert_eq!(count(place), 0);
    assert_eq!(sql(place, "SELECT count(*) FROM capture"), "0");
    database.log_flows(&host("a"), &batch(vec![bare(1, old), bare(2, now())])).unwrap();
    assert_eq!(count(place), 2);
}

fn a_sink_removes_old_records_and_nothing_of_probes(place: &Place) {
    let mut database = place.write();
    database.write(&flush(&observations(vec![flow(80, 60, 61)], vec![]))).unwrap();
    let mut sink = sink(&place.url, Settings { retention: Duration::ZERO, ..Settings::default() });
    sink.tick().unwrap();
    sink.connect().unwrap();
    sink.write(&batch(vec![bare(1, Timestamp::from_nanoseconds(1))])).unwrap();
    assert_eq!(count(place), 1);
    sink.tick().unwrap();
    assert_eq!(count(place), 0);
    sink.finish().unwrap();
    assert_eq!(flows(database.as_mut(), ALWAYS).len(), 1);
    assert_eq!(database.probes().unwrap().len(), 1);
}

fn a_database_that_is_open_to_read_takes_nothing(place: &Place) {
    place.write();
    let error = place.read().log_flows(&host("a"), &Batches::new(1).next).unwrap_err();
    assert!(matches!(&error, Error::ReadOnly { .. }), "{error}");
    assert_eq!(count(place), 0);
}

fn captures_write_beside_probes_and_are_not_taken_for_them(place: &Place) {
    const ROUNDS: usize = 20;
    let mut probe = place.write();
    probe.claim(&host("a"), Claim::AllNamespaces).unwrap();
    let start = Barrier::new(4);
    thread::scope(|scope| {
        for name in ["a", "a", "b"] {
            let start = &start;
            scope.spawn(move || {
                let mut sink = place.write();
                let mut batches = Batches::new(50);
                start.wait();
                for _ in 0..ROUNDS {
                    sink.log_flows(&host(name), &batches.next).unwrap();
                    batches.advance();
                }
            });
        }
        start.wait();
        for _ in 0..ROUNDS {
            probe.write(&flush(&observations(vec![flow(80, 60, 61)], vec![]))).unwrap();
            probe.maintain(now()).unwrap();
        }
    });
    assert_eq!(count(place), 3 * ROUNDS * 50);
    let by_host = "SELECT count(DISTINCT host_id) FROM flow_log";
    assert_eq!(sql(place, by_host), "2");
}

fn hosts_that_capture_are_no_hosts_that_report(place: &Place) {
    let mut database = place.write();
    let mut batches = Batches::new(1);
    for name in ["a", "b"] {
        database.log_flows(&host(name), &batch(vec![bare(1, now())])).unwrap();
    }
    assert_eq!(database.snapshot(ALWAYS).unwrap().hosts().unwrap(), []);
    assert_eq!(database.probes().unwrap(), []);
    let written = observations(vec![flow(80, 60, 61)], vec![]);
    database.write(&flush(&written)).unwrap();
    database.log_flows(&host("a"), &batches.next).unwrap();
    batches.advance();
    assert_eq!(database.snapshot(ALWAYS).unwrap().hosts().unwrap(), [written.host]);
    assert_eq!(database.probes().unwrap().len(), 1);
    assert_eq!(flows(database.as_mut(), ALWAYS).len(), 1);
    assert_eq!(sql(place, "SELECT count(*) FROM host"), "2");
}

#[test]
fn days_are_partitions_that_go_as_a_whole() {
    require!(postgresql);
    let place = Place::postgresql();
    let mut database = place.write();
    let partitions = || sql(&place, "SELECT count(*) FROM partition WHERE parent = 'flow_log'");
    let rows = |table: &str| sql(&place, &format!("SELECT count(*) FROM {table}"));
    assert_eq!(partitions(), "1");
    let days = [0, 10, 29, 40].map(|days| bare(days, now().saturating_sub(DAY * days.into())));
    database.log_flows(&host("a"), &batch(days.into())).unwrap();
    assert_eq!((partitions().as_str(), rows("flow_log_default").as_str()), ("4", "1"));

    // What was replayed later stays when its day goes.
    sql(&place, "UPDATE flow_log SET logged_at = now() - interval '29 days' WHERE src_port = 29");
    sql(&place, "UPDATE flow_log SET logged_at = now() - interval '29 days' WHERE src_port = 40");
    database.maintain(now().saturating_add(DAY * 22)).unwrap();
    assert_eq!((partitions().as_str(), rows("flow_log_default").as_str()), ("2", "1"));
    assert_eq!(sql(&place, "SELECT sum(src_port) FROM flow_log"), "10");
    database.maintain(now().saturating_add(DAY * 32)).unwrap();
    assert_eq!((partitions().as_str(), rows("flow_log").as_str()), ("1", "0"));
}

#[test]
fn a_connection_that_is_cut_at_any_point_of_a_batch_writes_nothing_twice() {
    require!(postgresql);
    let place = Place::postgresql();
    place.write();
    let cutter = Cutter::start(cluster().port());
    let url = cluster().url_at("127.0.0.1", cutter.port, &place.name());
    let mut database = try_open(&format!("{url}?sslmode=disable"), Access::Write).unwrap();
    let mut batches = Batches::new(10);
    let mut written = 0;
    let mut write = |database: &mut dyn Database| {
        database.log_flows(&host("a"), &batches.next)?;
        batches.advance();
        written += 10;
        Ok::<_, Error>(written)
    };
    write(database.as_mut()).unwrap();
    cutter.cut_after(1 << 40);
    write(database.as_mut()).unwrap();
    let whole = (1 << 40) - cutter.left();
    assert!(whole > 1000, "{whole} bytes of a batch went through the proxy");

    let mut failed = 0;
    for bytes in (0..=whole + 20).step_by(97) {
        // Neither can it reconnect until it is mended.
        cutter.cut_after(bytes);
        if write(database.as_mut()).is_err() {
            failed += 1;
        }
        cutter.mend();
        let expected = write(database.as_mut()).unwrap();
        assert_eq!(count(&place), expected);
    }
    assert!(failed > 20, "{failed} of the batches were cut");
}

#[test]
fn what_waits_for_a_server_is_delivered_when_it_is_back() {
    require!(postgresql);
    let mut server = PostgreSql::new().start();
    server.create_database("fleet");
    let url: DatabaseUrl = server.url("fleet").parse().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let spool = FlowOutput::open_spool(directory.path(), 1 << 24).unwrap();
    let settings = Settings::default();
    let mut outputs = [
        FlowOutput::queued(
            Box::new(sink(&url, settings)),
            "db".to_owned(),
            1_000,
            WhenFull::DropOldest,
        ),
        FlowOutput::spooled(
            Box::new(sink(&url, settings)),
            "db".to_owned(),
            spool,
            WhenFull::DropOldest,
        ),
    ]
    .map(Result::unwrap);
    server.stop();
    let runs = [Batches::new(10), Batches::new(10)];
    for (output, mut batches) in outputs.iter_mut().zip(runs) {
        for _ in 0..5 {
            output.submit(&Arc::new(batches.next.clone()));
            batches.advance();
        }
    }
    server.restart();
    for output in &mut outputs {
        output.finish(Duration::from_secs(60));
        let ledger = output.ledger();
        assert!(ledger.balances() && ledger.stored == 50, "{ledger}");
        assert_eq!(ledger.dropped.get(&DropReason::Abandoned), None);
    }
    assert_eq!(server.sql("fleet", "SELECT count(DISTINCT id) FROM netglass.flow_log"), "100");
}
