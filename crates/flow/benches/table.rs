//! What a packet costs, without reading and decoding it: minimal packets of TCP and UDP flows in both
//! directions and in one random order, all flows at once. 10 million in 10,000 flows, 10 for each of a
//! million flows, and 10 million flows of one packet each, for which there is no room.
//!
//! `cargo bench -p netglass-flow -- [FLOWS…]`

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

use std::{io::Write, sync::mpsc, thread, time::Duration};

use netglass_flow::{EndedFlow, FlowTable, KeyedPackets, Recorder, Settings, Sighting, Usage};
use netglass_model::{IpProtocol, Timestamp};
use netglass_packet::{Headers, TcpSegment};
use rustix::time::{ClockId, clock_gettime};

const PACKETS: u32 = 10_000_000;
/// How many packets are made at a time, and not counted in the time.
const PART: usize = 4096;

/// How long this thread has been on a processor: what others do there does not count.
fn processor_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

/// A permutation of `0..count`, and of no order that a table could gain from.
fn random_order(flows: u32, packets: u32) -> Vec<u32> {
    let mut order: Vec<u32> = (0..packets).map(|packet| packet % flows).collect();
    let mut state = 88_172_645_463_325_252_u64;
    for last in (1..order.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        order.swap(last, usize::try_from(state % (last as u64 + 1)).unwrap());
    }
    order
}

/// The `number`th packet of a flow that has `of` packets.
fn sighting(flow: u32, number: u32, of: u32, at: i64) -> Sighting {
    let mixed = u64::from(flow).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
    let client = (
        std::net::Ipv4Addr::from_bits(0x0a00_0000 | flow >> 3),
        u16::try_from(1024 + (flow & 7) * 8000).unwrap() + (mixed >> 20 & 0xfff) as u16,
    );
    let udp = flow % 10 >= 7;
    let server = (
        std::net::Ipv4Addr::from_bits(0xac10_0000 | (mixed & 0xf_ffff) as u32),
        if udp { 53 } else { 443 },
    );
    let reverse = matches!(number % 10, 1 | 4 | 5 | 7 | 9);
    let (source, destination) = if reverse { (server, client) } else { (client, server) };
    let flags = match number {
        0 => 2,
        1 => 18,
        _ if number + 3 == of || number + 2 == of => 17,
        _ if number == 2 || number + 1 == of => 16,
        _ => 24,
    };
    Sighting {
        at: Timestamp::from_nanoseconds(1_700_000_000_000_000_000 + at),
        interface: 0,
        wire_length: 60,
        headers: Headers {
            source: source.0.into(),
            destination: destination.0.into(),
            protocol: if udp { IpProtocol::UDP } else { IpProtocol::TCP },
            source_port: source.1,
            destination_port: destination.1,
            fragment: None,
            tcp: (!udp).then_some(TcpSegment {
                sequence: 1000 + number,
                acknowledgment: 2000 + number,
                flags,
                payload: u32::from(flags == 24),
            }),
        },
    }
}

/// Gives all packets to `add`, in parts that are not longer than [`PART`], as they would be in a capture
/// of 60 seconds.
fn packets(flows: u32, mut add: impl FnMut(&mut Vec<Sighting>)) {
    let mut numbers = vec![0_u32; flows as usize];
    let mut part = Vec::with_capacity(PART);
    let mut at = 0;
    for flows_of_part in random_order(flows, PACKETS).chunks(PART) {
        part.clear();
        for &flow in flows_of_part {
            let number = &mut numbers[flow as usize];
            part.push(sighting(flow, *number, PACKETS / flows, at));
            *number += 1;
            at += 60_000_000_000 / i64::from(PACKETS);
        }
        add(&mut part);
    }
}

fn count(ended: &mut u64) -> impl FnMut(EndedFlow) {
    let mut recorder = Recorder::new();
    move |flow| {
        let record = recorder.record(&flow);
        *ended += record.source_packets + record.destination_packets;
    }
}

fn one_thread(flows: u32) -> (Duration, Duration, Usage) {
    let mut table = FlowTable::new(Settings::default());
    let (mut adding, mut counted) = (Duration::ZERO, 0);
    packets(flows, |part| {
        let begin = processor_time();
        for sightings in part.chunks(64) {
            table.add(sightings, &mut count(&mut counted));
        }
        adding += processor_time().saturating_sub(begin);
    });
    let usage = table.usage();
    let begin = processor_time();
    table.finish(&mut count(&mut counted));
    let finishing = processor_time().saturating_sub(begin);
    assert_eq!(counted, u64::from(PACKETS));
    (adding, finishing, usage)
}

/// Two threads with a table each; this one divides the packets and hands them over.
fn two_threads(flows: u32) -> Duration {
    const BATCH: usize = 1024;
    const TABLES: usize = 2;
    let table = FlowTable::new(Settings::default());
    let mut keying = table.keying();
    let (mut waiting, mut counted) = (Duration::ZERO, 0);
    thread::scope(|scope| {
        let mut workers: Vec<_> = (0..TABLES)
            .map(|_| {
                let (send, receive) = mpsc::sync_channel::<KeyedPackets>(256);
                let (give_back, reuse) = mpsc::sync_channel::<KeyedPackets>(256);
                let mut table = table.sibling();
                let worker = scope.spawn(move || {
                    let (mut busy, mut counted) = (Duration::ZERO, 0);
                    for mut batch in receive {
                        let begin = processor_time();
                        table.add_keyed(batch.as_slice(), &mut count(&mut counted));
                        batch.clear();
                        let _full = give_back.try_send(batch);
                        busy += processor_time().saturating_sub(begin);
                    }
                    table.finish(&mut count(&mut counted));
                    (busy, counted)
                });
                (send, reuse, KeyedPackets::with_room_for(BATCH), worker)
            })
            .collect();
        packets(flows, |part| {
            for sighting in part.drain(..) {
                let packet = keying.key(&sighting);
                let (send, reuse, batch, _) = &mut workers[usize::from(packet.part()) % TABLES];
                batch.push(packet);
                if batch.len() == BATCH {
                    let empty =
                        reuse.try_recv().unwrap_or_else(|_| KeyedPackets::with_room_for(BATCH));
                    send.send(std::mem::replace(batch, empty)).unwrap();
                }
            }
        });
        for (send, _, batch, worker) in workers {
            send.send(batch).unwrap();
            drop(send);
            let (busy, packets) = worker.join().unwrap();
            waiting = waiting.max(busy);
            counted += packets;
        }
    });
    assert_eq!(counted, u64::from(PACKETS));
    waiting
}

fn main() {
    let flows: Vec<u32> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let flows = if flows.is_empty() { vec![10_000, 1_000_000, 10_000_000] } else { flows };
    let mut out = std::io::stdout().lock();
    for flows in flows {
        let nanoseconds = |time: Duration| time.as_nanos() as f64 / f64::from(PACKETS);
        let (adding, finishing, usage) = one_thread(flows);
        writeln!(
            out,
            "{flows} flows: {:.1} ns a packet, {:.1} ns a record at the end ({} of them)",
            nanoseconds(adding),
            finishing.as_nanos() as f64 / usage.flows as f64,
            usage.flows,
        )
        .unwrap();
        let busy = two_threads(flows);
        writeln!(out, "{flows} flows: {:.1} ns with two tables on threads", nanoseconds(busy))
            .unwrap();
    }
}
