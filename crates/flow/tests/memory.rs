//! What a table takes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use netglass_flow::{FlowTable, Settings, Sighting};
use netglass_model::{IpProtocol, Timestamp};
use netglass_packet::{Headers, TcpSegment};

/// Bytes for a flow, everything together, and while the table grows.
const BOUND: u64 = 250;

fn sighting(flow: u32) -> Sighting {
    let [_, a, b, c] = flow.to_be_bytes();
    Sighting {
        at: Timestamp::from_nanoseconds(i64::from(flow)),
        interface: 0,
        wire_length: 60,
        headers: Headers {
            source: [10, a, b, c].into(),
            destination: [192, 0, 2, 1].into(),
            protocol: IpProtocol::UDP,
            source_port: 1,
            destination_port: 2,
            fragment: None,
            tcp: None,
        },
    }
}

/// The same of a connection that is reset at once.
fn reset(flow: u32) -> Sighting {
    let mut sighting = sighting(flow);
    sighting.headers.protocol = IpProtocol::TCP;
    sighting.headers.tcp =
        Some(TcpSegment { sequence: 0, acknowledgment: 0, flags: 4, payload: 0 });
    sighting
}

/// The most that was held at any time while a table took so many flows.
fn most_held(flows: u32, sighting: fn(u32) -> Sighting) -> u64 {
    let sightings: Vec<_> = (0..flows).map(sighting).collect();
    let allocations = allocation_counter::measure(|| {
        let mut table = FlowTable::new(Settings { max_flows: 1 << 20, ..Settings::default() });
        for sightings in sightings.chunks(64) {
            table.add(sightings, &mut |_| unreachable!());
        }
        assert_eq!(table.usage().flows, flows as usize);
    });
    allocations.bytes_max
}

#[test]
fn a_flow_takes_at_most_250_bytes_also_while_the_index_grows() {
    // The index grows at three quarters of 2 to the power of 17 and 20.
    for flows in [100_000, (1 << 17) * 3 / 4 + 1, 600_000, (1 << 20) * 3 / 4 + 1, 1 << 20] {
        for sighting in [sighting, reset] {
            let held = most_held(flows, sighting);
            assert!(held <= BOUND * u64::from(flows), "{held} bytes for {flows} flows");
        }
    }
}

#[test]
fn a_packet_of_a_known_flow_allocates_nothing() {
    let sightings: Vec<_> = (0..1000).map(sighting).collect();
    let mut table = FlowTable::new(Settings::default());
    table.add(&sightings, &mut |_| unreachable!());
    let allocations = allocation_counter::measure(|| {
        for _ in 0..10 {
            table.add(&sightings, &mut |_| unreachable!());
        }
    });
    assert_eq!(allocations.count_total, 0);
}

#[test]
fn connections_that_follow_one_another_leave_nothing_behind() {
    let held = |connections: u32| {
        allocation_counter::measure(|| {
            let mut table = FlowTable::new(Settings::default());
            for connection in 0..connections {
                let mut syn = reset(0);
                syn.headers.tcp = Some(TcpSegment {
                    sequence: connection,
                    acknowledgment: 0,
                    flags: 2,
                    payload: 0,
                });
                table.add(&[syn, reset(0)], &mut drop);
            }
            assert_eq!(table.usage().flows, 1);
        })
        .bytes_max
    };
    assert_eq!(held(100), held(100_000));
}

#[test]
fn a_scan_takes_what_there_may_be_at_most() {
    let held = |flows: u32| {
        allocation_counter::measure(|| {
            let mut table = FlowTable::new(Settings { max_flows: 10_000, ..Settings::default() });
            let mut ended = 0_u32;
            for flow in 0..flows {
                table.add(&[sighting(flow)], &mut |_| ended += 1);
            }
            assert_eq!(table.usage().evicted, u64::from(ended));
            assert_eq!(ended, flows - 10_000);
        })
        .bytes_max
    };
    assert_eq!(held(20_000), held(300_000));
}

#[test]
fn a_scan_that_goes_on_for_minutes_takes_no_more() {
    // One flow makes way for each that begins, long before its time.
    const MAX_FLOWS: u32 = 1 << 13;
    let allocations = allocation_counter::measure(|| {
        let mut table =
            FlowTable::new(Settings { max_flows: MAX_FLOWS as usize, ..Settings::default() });
        for flow in 0..1 << 19 {
            let at = Timestamp::from_nanoseconds(i64::from(flow) * 200_000);
            table.add(&[Sighting { at, ..sighting(flow) }], &mut drop);
        }
    });
    assert!(allocations.bytes_max <= BOUND * u64::from(MAX_FLOWS), "{}", allocations.bytes_max);
}

#[test]
fn connections_that_are_closed_at_once_take_nothing_until_the_timeout() {
    let held = |seconds: u32| {
        allocation_counter::measure(|| {
            let mut table = FlowTable::new(Settings::default());
            for flow in 0..seconds * 1000 {
                let at = Timestamp::from_nanoseconds(i64::from(flow) * 1_000_000);
                table.add(&[Sighting { at, ..reset(flow) }], &mut drop);
            }
        })
        .bytes_max
    };
    let (later, soon) = (held(110), held(20));
    assert!(later <= soon + soon / 8, "{later} after {soon}");
}
