//! The table against one that is as simple as can be: it looks at every flow for every packet.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use netglass_flow::{EndedFlow, FlowTable, Recorder, Settings, Sighting};
use netglass_model::{EndReason, FlowRecord, FlowStatus, IpProtocol, Timestamp};
use netglass_packet::{Headers, TcpSegment};
use proptest::{collection::vec, prelude::*};

const SECOND: i64 = 1_000_000_000;
const IDLE: i64 = 20 * SECOND;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// A flow, by what its record tells.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Flow {
    protocol: u8,
    source: (u8, u16),
    destination: (u8, u16),
    first_seen: i64,
    last_seen: i64,
    packets: [u64; 2],
    bytes: [u64; 2],
    answered: bool,
}

#[derive(Debug)]
struct Live {
    flow: Flow,
    began: i64,
    touched: i64,
    fin: [bool; 2],
    /// By side, whether the other one has acknowledged something since that.
    acknowledged: [bool; 2],
    reset: bool,
    syn: [Option<u32>; 2],
}

impl Live {
    fn is_closed(&self) -> bool {
        self.reset || self.fin == [true; 2]
    }

    fn is_over(&self) -> bool {
        self.is_closed() && (self.reset || self.acknowledged == [true; 2])
    }

    fn ends_at(&self) -> i64 {
        self.touched + if self.is_over() { 5 * SECOND } else { IDLE }
    }
}

struct Reference {
    active: Option<i64>,
    clock: i64,
    live: Vec<Live>,
    ended: Vec<(EndReason, Flow)>,
}

fn end_of(sighting: &Sighting, source: bool) -> (u8, u16) {
    let headers = &sighting.headers;
    let (address, port) = if source {
        (headers.source, headers.source_port)
    } else {
        (headers.destination, headers.destination_port)
    };
    let std::net::IpAddr::V4(address) = address else { unreachable!() };
    (address.octets()[3], port)
}

impl Reference {
    fn end(&mut self, which: impl Fn(&Live) -> bool, reason: EndReason) {
        let ended = &mut self.ended;
        self.live.retain(|live| {
            let goes_on = !which(live);
            if !goes_on {
                let reason = if live.is_closed() { EndReason::Closed } else { reason };
                ended.push((reason, live.flow.clone()));
            }
            goes_on
        });
    }

    fn add(&mut self, sighting: &Sighting) {
        let at = sighting.at.as_nanoseconds();
        self.clock = self.clock.max(at);
        let clock = self.clock;
        self.end(|live| live.ends_at() <= clock, EndReason::Idle);
        let (from, to) = (end_of(sighting, true), end_of(sighting, false));
        let protocol = sighting.headers.protocol.0;
        let is_it = |live: &Live| {
            let (source, destination) = (live.flow.source, live.flow.destination);
            live.flow.protocol == protocol
                && ((source, destination) == (from, to) || (source, destination) == (to, from))
        };
        let tcp = sighting.headers.tcp;
        if let Some(TcpSegment { flags, sequence, .. }) = tcp
            && flags & SYN != 0
        {
            let side = |live: &Live| usize::from(live.flow.source != from);
            self.end(
                |live| {
                    is_it(live)
                        && (live.reset || live.fin != [false; 2])
                        && match live.syn[side(live)] {
                            Some(known) => known != sequence,
                            None => flags & ACK == 0,
                        }
                },
                EndReason::Closed,
            );
        }
        let position = self.live.iter().position(is_it).unwrap_or_else(|| {
            let answer = tcp.is_some_and(|tcp| tcp.flags & (SYN | ACK) == SYN | ACK);
            let (source, destination) = if answer { (to, from) } else { (from, to) };
            self.live.push(Live {
                flow: Flow {
                    protocol,
                    source,
                    destination,
                    first_seen: i64::MAX,
                    last_seen: i64::MIN,
                    packets: [0; 2],
                    bytes: [0; 2],
                    answered: false,
                },
                began: clock,
                touched: clock,
                fin: [false; 2],
                acknowledged: [false; 2],
                reset: false,
                syn: [None; 2],
            });
            self.live.len() - 1
        });
        let live = &mut self.live[position];
        if self.active.is_some_and(|active| live.began + active <= clock) {
            self.ended.push((EndReason::Active, live.flow.clone()));
            live.began = clock;
            live.flow.first_seen = i64::MAX;
            live.flow.last_seen = i64::MIN;
            live.flow.packets = [0; 2];
            live.flow.bytes = [0; 2];
        }
        let side = usize::from(live.flow.source != from);
        live.touched = clock;
        live.flow.first_seen = live.flow.first_seen.min(at);
        live.flow.last_seen = live.flow.last_seen.max(at);
        live.flow.packets[side] += 1;
        live.flow.bytes[side] += u64::from(sighting.wire_length);
        live.flow.answered |= live.flow.packets[1 - side] > 0;
        if let Some(TcpSegment { flags, sequence, .. }) = tcp {
            // After a reset nothing of its sender counts any more, and the connection is over anyway.
            live.reset |= flags & RST != 0 && live.fin != [true; 2];
            live.acknowledged[1 - side] |= live.fin[1 - side] && flags & (ACK | RST) != 0;
            live.fin[side] |= flags & FIN != 0;
            if flags & SYN != 0 {
                live.syn[side] = Some(sequence);
            }
        }
    }
}

fn recorded(flow: &EndedFlow) -> FlowRecord {
    Recorder::new().record(flow)
}

fn told(record: &FlowRecord) -> (EndReason, Flow) {
    let last = |address| {
        let std::net::IpAddr::V4(address) = address else { unreachable!() };
        let [.., last] = std::net::Ipv4Addr::octets(&address);
        last
    };
    let flow = Flow {
        protocol: record.protocol.0,
        source: (last(record.source), record.source_port),
        destination: (last(record.destination), record.destination_port),
        first_seen: record.first_seen.as_nanoseconds(),
        last_seen: record.last_seen.as_nanoseconds(),
        packets: [record.source_packets, record.destination_packets],
        bytes: [record.source_bytes, record.destination_bytes],
        answered: record.status == FlowStatus::Established,
    };
    (record.end_reason, flow)
}

fn sighting(at: i64, tcp: Option<(u8, u32)>, (from, to): (u8, u8), wire_length: u32) -> Sighting {
    Sighting {
        at: Timestamp::from_nanoseconds(at),
        interface: 0,
        wire_length,
        headers: Headers {
            source: [10, 0, 0, from].into(),
            destination: [10, 0, 0, to].into(),
            protocol: if tcp.is_some() { IpProtocol::TCP } else { IpProtocol::UDP },
            source_port: u16::from(from),
            destination_port: u16::from(to),
            fragment: None,
            tcp: tcp.map(|(flags, sequence)| TcpSegment {
                sequence,
                acknowledgment: 0,
                flags,
                payload: 0,
            }),
        },
    }
}

/// Packets among a few hosts, at times that go on by some seconds, and now and then back.
fn sightings(hosts: u8, backwards: bool) -> impl Strategy<Value = Vec<Sighting>> {
    let pause = prop_oneof![
        20 => 0..SECOND,
        5 => SECOND..8 * SECOND,
        1 => 8 * SECOND..45 * SECOND,
        1 => 1000 * SECOND..100_000 * SECOND,
    ];
    let back = if backwards { 0..6 * SECOND } else { 0..1 };
    let flags = prop_oneof![
        4 => Just(ACK),
        2 => Just(SYN),
        1 => Just(SYN | ACK),
        2 => Just(FIN | ACK),
        1 => Just(RST),
    ];
    let tcp = prop::option::of((flags, 0_u32..3));
    let packet = (pause, back, tcp, (0..hosts, 0..hosts), 60_u32..1500);
    vec(packet, 1..400).prop_map(|packets| {
        let mut clock = 1_700_000_000 * SECOND;
        packets
            .into_iter()
            .filter(|(.., (from, to), _)| from != to)
            .map(|(pause, back, tcp, ends, length)| {
                clock += pause + 1;
                sighting(clock - back, tcp, ends, length)
            })
            .collect()
    })
}

fn settings(active: Option<i64>, max_flows: usize) -> Settings {
    let duration = |nanoseconds: i64| Duration::from_nanos(nanoseconds.unsigned_abs());
    Settings {
        idle_timeout: duration(IDLE),
        active_timeout: active.map(duration),
        tcp_close: true,
        max_flows,
    }
}

fn assert_balanced(sightings: &[Sighting], records: &[FlowRecord]) {
    let packets: u64 = records.iter().map(|it| it.source_packets + it.destination_packets).sum();
    let bytes: u64 = records.iter().map(|it| it.source_bytes + it.destination_bytes).sum();
    assert_eq!(packets, sightings.len() as u64);
    assert_eq!(bytes, sightings.iter().map(|it| u64::from(it.wire_length)).sum::<u64>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn it_writes_what_a_table_writes_that_looks_at_every_flow(
        sightings in sightings(5, true),
        active in prop::option::of(SECOND..40 * SECOND),
        batch in 1_usize..200,
    ) {
        let mut table = FlowTable::new(settings(active, 1 << 20));
        let mut reference =
            Reference { active, clock: i64::MIN, live: Vec::new(), ended: Vec::new() };
        let mut records = Vec::new();
        for sightings in sightings.chunks(batch) {
            table.add(sightings, &mut |flow| records.push(recorded(&flow)));
        }
        table.finish(&mut |flow| records.push(recorded(&flow)));
        for sighting in &sightings {
            reference.add(sighting);
        }
        reference.end(|_| true, EndReason::CaptureEnd);

        assert_balanced(&sightings, &records);
        let mut told: Vec<_> = records.iter().map(told).collect();
        told.sort();
        reference.ended.sort();
        prop_assert_eq!(told, reference.ended);
    }

    #[test]
    fn who_makes_way_would_have_ended_next(
        sightings in sightings(9, false),
        max_flows in 1_usize..12,
    ) {
        let mut table = FlowTable::new(settings(None, max_flows));
        let mut reference =
            Reference { active: None, clock: i64::MIN, live: Vec::new(), ended: Vec::new() };
        let mut records = Vec::new();
        for sighting in &sightings {
            let before = reference.live.len();
            let mut ended = Vec::new();
            table.add(std::slice::from_ref(sighting), &mut |flow| ended.push(recorded(&flow)));
            for (reason, flow) in ended.iter().map(told) {
                let Some(place) = reference.live.iter().position(|live| live.flow == flow) else {
                    // It had ended before by what the reference knows, and was not written yet.
                    prop_assert!(reference.ended.contains(&(reason, flow)));
                    continue;
                };
                let live = &reference.live[place];
                if live.ends_at() <= sighting.at.as_nanoseconds() {
                    continue;
                }
                // Only a full table has one make way, or a SYN of another connection.
                let ends_first = reference.live.iter().map(Live::ends_at).min().unwrap();
                match reason {
                    EndReason::Evicted => {
                        prop_assert_eq!(before, max_flows);
                        prop_assert!(live.ends_at() - ends_first <= IDLE / 256);
                    }
                    EndReason::Closed => prop_assert!(live.reset || live.fin != [false; 2]),
                    _ => prop_assert!(false, "{:?}", reason),
                }
                reference.live.remove(place);
            }
            reference.add(sighting);
            prop_assert!(table.usage().flows <= max_flows);
            records.extend(ended);
        }
        table.finish(&mut |flow| records.push(recorded(&flow)));
        assert_balanced(&sightings, &records);
    }

    #[test]
    fn tables_that_share_the_packets_write_what_one_alone_writes(
        sightings in sightings(6, false),
        tables in 1_usize..5,
    ) {
        let mut table = FlowTable::new(settings(None, 1 << 20));
        let mut keying = table.keying();
        let mut shards: Vec<_> = (0..tables).map(|_| table.sibling()).collect();
        let mut shared = Vec::new();
        let mut alone = Vec::new();
        let keyed: Vec<_> = sightings.iter().map(|sighting| keying.key(sighting)).collect();
        for packet in &keyed {
            let shard = &mut shards[usize::from(packet.part()) % tables];
            shard.add_keyed(&[*packet], &mut |flow| shared.push(told(&recorded(&flow))));
        }
        table.add_keyed(&keyed, &mut |flow| alone.push(told(&recorded(&flow))));
        table.finish(&mut |flow| alone.push(told(&recorded(&flow))));
        for mut table in shards {
            table.advance(keying.latest(), &mut |flow| shared.push(told(&recorded(&flow))));
            table.finish(&mut |flow| shared.push(told(&recorded(&flow))));
        }
        shared.sort();
        alone.sort();
        prop_assert_eq!(shared, alone);
    }

    #[test]
    fn a_table_that_absorbs_another_one_goes_on_as_if_it_had_been_alone(
        sightings in sightings(6, false),
        until in any::<prop::sample::Index>(),
        first: u8,
        tcp_close: bool,
    ) {
        let settings = Settings { tcp_close, ..settings(None, 1 << 20) };
        let mut table = FlowTable::new(settings);
        let mut keying = table.keying();
        let (mut one, mut other) = (table.sibling(), table.sibling());
        let mut shared = Vec::new();
        let mut alone = Vec::new();
        let keyed: Vec<_> = sightings.iter().map(|sighting| keying.key(sighting)).collect();
        let (before, after) = keyed.split_at(until.index(keyed.len() + 1).min(keyed.len()));
        for packet in before {
            let shard = if packet.part() < first { &mut one } else { &mut other };
            shard.add_keyed(&[*packet], &mut |flow| shared.push(told(&recorded(&flow))));
        }
        let flows = one.usage().flows + other.usage().flows;
        one.absorb(other);
        prop_assert_eq!(one.usage().flows, flows);
        one.add_keyed(after, &mut |flow| shared.push(told(&recorded(&flow))));
        one.finish(&mut |flow| shared.push(told(&recorded(&flow))));
        table.add_keyed(&keyed, &mut |flow| alone.push(told(&recorded(&flow))));
        table.finish(&mut |flow| alone.push(told(&recorded(&flow))));
        shared.sort();
        alone.sort();
        prop_assert_eq!(shared, alone);
    }
}
