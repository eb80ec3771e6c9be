use std::{net::IpAddr, time::Duration};

use netglass_model::{ConnectionState, FlowRecord, FlowStatus, IpProtocol};
use netglass_packet::{Fragment, Headers, TcpSegment};

use super::*;
use crate::{Recorder, record::recorded};

const SYN: u8 = 2;
const ACK: u8 = 16;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_nanoseconds(seconds * 1_000_000_000)
}

/// A packet of 100 bytes between hosts and ports of these numbers.
fn packet(seconds: i64, protocol: IpProtocol, from: (u8, u16), to: (u8, u16)) -> Sighting {
    Sighting {
        at: at(seconds),
        interface: 0,
        wire_length: 100,
        headers: Headers {
            source: [10, 0, 0, from.0].into(),
            destination: [10, 0, 0, to.0].into(),
            protocol,
            source_port: from.1,
            destination_port: to.1,
            fragment: None,
            tcp: None,
        },
    }
}

fn udp(seconds: i64, from: (u8, u16), to: (u8, u16)) -> Sighting {
    packet(seconds, IpProtocol::UDP, from, to)
}

fn tcp(seconds: i64, from: (u8, u16), to: (u8, u16), flags: u8, sequence: u32) -> Sighting {
    let mut sighting = packet(seconds, IpProtocol::TCP, from, to);
    sighting.headers.tcp = Some(TcpSegment { sequence, acknowledgment: 0, flags, payload: 0 });
    sighting
}

const A: (u8, u16) = (1, 40_000);
const B: (u8, u16) = (2, 53);

fn records(settings: Settings, sightings: &[Sighting]) -> Vec<FlowRecord> {
    let mut table = FlowTable::new(settings);
    let mut records = Vec::new();
    table.add(sightings, &mut |flow| records.push(recorded(&flow)));
    table.finish(&mut |flow| records.push(recorded(&flow)));
    assert_eq!(table.usage().flows, 0);
    records
}

fn reasons(records: &[FlowRecord]) -> Vec<(u64, EndReason)> {
    records
        .iter()
        .map(|record| (record.source_packets + record.destination_packets, record.end_reason))
        .collect()
}

#[test]
fn both_directions_are_one_flow_of_whom_sent_first() {
    let records =
        records(Settings::default(), &[udp(5, B, A), udp(6, A, B), udp(7, A, B), udp(7, B, A)]);
    let [record] = &records[..] else { panic!("{records:?}") };
    assert_eq!((record.source, record.source_port), (IpAddr::from([10, 0, 0, 2]), 53));
    assert_eq!((record.destination, record.destination_port), ([10, 0, 0, 1].into(), 40_000));
    assert_eq!((record.first_seen, record.last_seen), (at(5), at(7)));
    assert_eq!((record.source_packets, record.destination_packets), (2, 2));
    assert_eq!((record.source_bytes, record.destination_bytes), (200, 200));
    assert_eq!(record.status, FlowStatus::Established);
    assert_eq!(record.end_reason, EndReason::CaptureEnd);
    assert_eq!((record.tcp, record.interface.as_deref()), (None, None));
}

#[test]
fn without_an_answer_it_stays_where_it_began() {
    let records = records(Settings::default(), &[udp(5, A, B), udp(6, A, B)]);
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].status, FlowStatus::Init);
}

#[test]
fn protocols_and_interfaces_are_told_apart() {
    let other = packet(0, IpProtocol::SCTP, A, B);
    let elsewhere = Sighting { interface: 7, ..udp(0, A, B) };
    let mut table = FlowTable::new(Settings::default());
    let mut recorder = Recorder::new();
    recorder.name_interface(7, "veth7".into());
    let mut records = Vec::new();
    table.add(&[udp(0, A, B), other, elsewhere], &mut |_| unreachable!());
    assert_eq!(table.usage().flows, 3);
    table.finish(&mut |flow| records.push(recorder.record(&flow)));
    let mut seen: Vec<_> =
        records.iter().map(|record| (record.protocol.0, record.interface.as_deref())).collect();
    seen.sort_unstable();
    assert_eq!(seen, [(17, None), (17, Some("veth7")), (132, None)]);
}

#[test]
fn the_source_of_a_connection_is_who_sent_the_syn() {
    let server = (2, 80);
    let source = |sightings: &[Sighting]| {
        let records = records(Settings::default(), sightings);
        assert_eq!(records.len(), 1);
        (records[0].source_port, records[0].source_packets, records[0].destination_packets)
    };
    assert_eq!(
        source(&[tcp(0, A, server, SYN, 1), tcp(0, server, A, SYN | ACK, 9)]),
        (40_000, 1, 1)
    );
    assert_eq!(source(&[tcp(0, server, A, SYN | ACK, 9)]), (40_000, 0, 1));
    assert_eq!(
        source(&[tcp(0, server, A, SYN | ACK, 9), tcp(0, A, server, SYN, 1)]),
        (40_000, 1, 1)
    );
    assert_eq!(source(&[tcp(0, server, A, ACK, 9), tcp(0, A, server, ACK, 1)]), (80, 1, 1));
}

#[test]
fn an_answer_of_icmp_belongs_to_its_request() {
    let icmp =
        |seconds, from, to, message| packet(seconds, IpProtocol::ICMPV4, (from, 0), (to, message));
    let records = records(
        Settings::default(),
        &[icmp(0, 1, 2, 8 << 8), icmp(1, 2, 1, 0), icmp(2, 2, 1, 3 << 8 | 3)],
    );
    assert_eq!(records.len(), 2);
    let echo = records.iter().find(|record| record.destination_packets == 1).unwrap();
    assert_eq!((echo.source_port, echo.destination_port), (0, 8 << 8));
    assert_eq!(echo.source, IpAddr::from([10, 0, 0, 1]));
    let error = records.iter().find(|record| record.destination_packets == 0).unwrap();
    assert_eq!((error.source_port, error.destination_port), (0, 3 << 8 | 3));
    assert_eq!(error.source, IpAddr::from([10, 0, 0, 2]));
}

#[test]
fn a_later_fragment_belongs_to_the_flow_of_its_datagram() {
    let fragment = |identification, offset, more| {
        let ports = if offset == 0 { (A, B) } else { ((A.0, 0), (B.0, 0)) };
        let mut sighting = udp(0, ports.0, ports.1);
        sighting.headers.fragment = Some(Fragment { identification, offset, more });
        sighting
    };
    let mut table = FlowTable::new(Settings::default());
    let mut records = Vec::new();
    let sightings = [fragment(7, 0, true), fragment(7, 1480, false), fragment(8, 1480, false)];
    table.add(&sightings, &mut |_| unreachable!());
    assert_eq!(
        table.usage(),
        Usage { flows: 2, room: FlowRoom::FLOWS, evicted: 0, unmatched_fragments: 1 }
    );
    table.finish(&mut |flow| {
        let record = recorded(&flow);
        records.push((record.source_port, record.source_packets));
    });
    records.sort_unstable();
    assert_eq!(records, [(0, 1), (40_000, 2)]);
}

#[test]
fn a_flow_ends_when_nothing_comes_for_the_idle_timeout() {
    let settings = Settings { idle_timeout: Duration::from_secs(10), ..Settings::default() };
    assert_eq!(
        reasons(&records(settings, &[udp(0, A, B), udp(9, A, B), udp(18, A, B), udp(28, A, B)])),
        [(3, EndReason::Idle), (1, EndReason::CaptureEnd)]
    );
    let mut table = FlowTable::new(settings);
    table.add(&[udp(0, A, B)], &mut |_| unreachable!());
    table.advance(at(9), &mut |_| unreachable!());
    let mut ended = 0;
    table.advance(at(11), &mut |_| ended += 1);
    assert_eq!((ended, table.usage().flows), (1, 0));
}

#[test]
fn a_flow_that_goes_on_is_written_after_the_active_timeout() {
    let settings =
        Settings { active_timeout: Some(Duration::from_secs(60)), ..Settings::default() };
    let mut connection = vec![tcp(0, A, B, SYN, 1), tcp(1, B, A, SYN | ACK, 9)];
    connection.extend((2..90).map(|second| tcp(second, A, B, ACK, 2)));
    let records = records(settings, &connection);
    assert_eq!(reasons(&records), [(60, EndReason::Active), (30, EndReason::CaptureEnd)]);
    assert_eq!((records[0].first_seen, records[0].last_seen), (at(0), at(59)));
    assert_eq!((records[1].first_seen, records[1].last_seen), (at(60), at(89)));
    assert_ne!(records[0].id, records[1].id);
    for record in &records {
        assert_eq!(record.source_port, 40_000);
        assert_eq!(record.status, FlowStatus::Established);
        assert_eq!(record.tcp.unwrap().state, ConnectionState::S1);
    }
    assert_eq!(records[1].tcp.unwrap().source_flags, ACK);
}

#[test]
fn a_closed_connection_lingers() {
    let rst = 4;
    let rejected = [tcp(0, A, B, SYN, 1), tcp(1, B, A, rst | ACK, 0)];
    let with = |more: &[Sighting]| [&rejected[..], more].concat();
    // What comes soon belongs to it, and has it linger longer.
    assert_eq!(
        reasons(&records(
            Settings::default(),
            &with(&[tcp(5, B, A, rst, 0), tcp(9, B, A, rst, 0), udp(30, A, B)])
        )),
        [(4, EndReason::Closed), (1, EndReason::CaptureEnd)]
    );
    assert_eq!(
        reasons(&records(Settings::default(), &with(&[tcp(6, B, A, ACK, 0)]))),
        [(2, EndReason::Closed), (1, EndReason::CaptureEnd)]
    );
    let by_timeouts_alone = Settings { tcp_close: false, ..Settings::default() };
    assert_eq!(
        reasons(&records(by_timeouts_alone, &with(&[tcp(6, B, A, ACK, 0), tcp(90, A, B, SYN, 7)]))),
        [(4, EndReason::CaptureEnd)]
    );
}

#[test]
fn the_last_acknowledgment_belongs_to_its_connection_however_late_it_is() {
    let fin = 1 | ACK;
    let connection = [
        tcp(0, A, B, SYN, 1),
        tcp(1, B, A, SYN | ACK, 1),
        tcp(2, A, B, fin, 2),
        tcp(3, B, A, fin, 2),
    ];
    let with = |more: &[Sighting]| [&connection[..], more].concat();
    assert_eq!(
        reasons(&records(
            Settings::default(),
            &with(&[tcp(60, A, B, ACK, 3), tcp(66, A, B, ACK, 3)])
        )),
        [(5, EndReason::Closed), (1, EndReason::CaptureEnd)]
    );
    // It may not come at all.
    assert_eq!(
        reasons(&records(Settings::default(), &with(&[tcp(123, A, B, ACK, 3)]))),
        [(4, EndReason::Closed), (1, EndReason::CaptureEnd)]
    );
}

#[test]
fn a_closed_connection_ends_soon_although_nothing_comes_of_it() {
    let mut table = FlowTable::new(Settings::default());
    table.add(&[tcp(0, A, B, SYN, 1), tcp(1, B, A, 4, 0)], &mut |_| unreachable!());
    let mut ended = Vec::new();
    table.add(&[udp(7, A, B)], &mut |flow| ended.push(recorded(&flow)));
    assert_eq!(reasons(&ended), [(2, EndReason::Closed)]);
}

#[test]
fn another_connection_between_the_same_ports_is_another_flow() {
    let sightings =
        [tcp(0, A, B, SYN, 1), tcp(0, B, A, 4, 0), tcp(1, A, B, SYN, 1), tcp(2, A, B, SYN, 5_000)];
    assert_eq!(
        reasons(&records(Settings::default(), &sightings)),
        [(3, EndReason::Closed), (1, EndReason::CaptureEnd)]
    );
}

#[test]
fn at_the_ceiling_the_longest_idle_makes_way() {
    let settings = Settings { max_flows: 3, ..Settings::default() };
    let sightings = [
        udp(0, (1, 1), B),
        udp(1, (2, 1), B),
        udp(2, (3, 1), B),
        udp(3, (1, 1), B),
        udp(4, (4, 1), B),
    ];
    let mut table = FlowTable::new(settings);
    let mut ended = Vec::new();
    table.add(&sightings, &mut |flow| ended.push(recorded(&flow)));
    assert_eq!(reasons(&ended), [(1, EndReason::Evicted)]);
    assert_eq!(ended[0].source, IpAddr::from([10, 0, 0, 2]));
    assert_eq!(
        table.usage(),
        Usage { flows: 3, room: FlowRoom::FLOWS, evicted: 1, unmatched_fragments: 0 }
    );
}

#[test]
fn a_closed_connection_makes_way_before_one_that_is_not() {
    let settings = Settings { max_flows: 2, ..Settings::default() };
    let sightings =
        [udp(0, (1, 1), B), tcp(9, A, B, SYN, 1), tcp(10, B, A, 4, 0), udp(11, (2, 1), B)];
    let mut table = FlowTable::new(settings);
    let mut ended = Vec::new();
    table.add(&sightings, &mut |flow| ended.push(recorded(&flow)));
    assert_eq!(reasons(&ended), [(2, EndReason::Closed)]);
    assert_eq!(table.usage().evicted, 0);
}

#[test]
fn time_does_not_go_back() {
    let settings = Settings { idle_timeout: Duration::from_secs(10), ..Settings::default() };
    // The clock of one interface is a minute behind: its flow is one flow all the same.
    let sightings =
        [udp(100, (1, 1), B), udp(40, (2, 1), B), udp(104, (1, 1), B), udp(44, (2, 1), B)];
    let mut records = records(settings, &sightings);
    records.sort_unstable_by_key(|record| record.source);
    assert_eq!(reasons(&records), [(2, EndReason::CaptureEnd); 2]);
    assert_eq!((records[1].first_seen, records[1].last_seen), (at(40), at(44)));
}

#[test]
fn time_may_leap() {
    let mut first = udp(0, A, B);
    let mut last = udp(0, A, B);
    first.at = Timestamp::MIN;
    last.at = Timestamp::MAX.saturating_sub(Duration::from_secs(1000));
    let records = records(Settings::default(), &[first, udp(0, A, B), udp(1, A, B), last]);
    assert_eq!(
        reasons(&records),
        [(1, EndReason::Idle), (2, EndReason::Idle), (1, EndReason::CaptureEnd)]
    );
}

#[test]
fn no_timeout_is_too_short_or_too_long() {
    for idle_timeout in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
        let settings =
            Settings { idle_timeout, active_timeout: Some(idle_timeout), ..Settings::default() };
        let count = records(settings, &[udp(0, A, B), udp(1, A, B), udp(2, B, A)]).len();
        assert_eq!(count, if idle_timeout == Duration::MAX { 1 } else { 3 });
    }
}

#[test]
fn packets_whose_keys_were_made_elsewhere_are_of_the_same_flows() {
    let mut later = udp(2, A, B);
    later.headers.fragment = Some(Fragment { identification: 7, offset: 1480, more: false });
    (later.headers.source_port, later.headers.destination_port) = (0, 0);
    let mut first = udp(1, A, B);
    first.headers.fragment = Some(Fragment { identification: 7, offset: 0, more: true });
    let mut table = FlowTable::new(Settings::default());
    let mut keying = table.keying();
    let keyed = [later, first, later, udp(3, B, A)].map(|sighting| keying.key(&sighting));
    table.add_keyed(&keyed, &mut |_| unreachable!());
    assert_eq!((keying.unmatched_fragments(), table.usage().unmatched_fragments), (1, 0));
    table.add(&[udp(4, A, B)], &mut |_| unreachable!());
    let mut records = Vec::new();
    table.finish(&mut |flow| records.push(recorded(&flow)));
    records.sort_by_key(|record| record.source_port);
    assert_eq!(reasons(&records), [(1, EndReason::CaptureEnd), (4, EndReason::CaptureEnd)]);
}
