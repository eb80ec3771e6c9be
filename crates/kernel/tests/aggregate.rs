//! What the kernel programs read of packets, against what the packet crate reads of the same.

#![cfg(all(feature = "capture", feature = "ebpf"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use netglass_kernel::aggregate::{
    AggregateCounts, AggregateOptions, AggregatedFlow, Aggregator, Portion,
};
use netglass_model::Timestamp;
use netglass_packet::{Headers, LinkType, Malformed, Packet, Tunnels, Undecodable, decode};
use netglass_testing::{Link, Namespace, link, require};

/// Two hosts that say nothing by themselves.
fn hosts() -> (Namespace, Namespace, Link) {
    let (sender, receiver) = (Namespace::new("sender"), Namespace::new("receiver"));
    for host in [&sender, &receiver] {
        host.sysctl("net.ipv6.conf.default.disable_ipv6", "1");
    }
    let link = link(&sender, "10.9.31.1/24", &receiver, "10.9.31.2/24");
    (sender, receiver, link)
}

/// What the programs count of frames that are sent.
fn counted(frames: &[Vec<u8>]) -> (Vec<AggregatedFlow>, AggregateCounts) {
    let (sender, receiver, link) = hosts();
    let options =
        AggregateOptions { interfaces: vec![link.second.clone()], promiscuous: true, flows: 4096 };
    let mut aggregator = receiver.inside(|| Aggregator::open(&options).unwrap());
    let mut flows = Vec::new();
    aggregator.collect(&mut flows).unwrap();
    flows.clear();
    sender.inside(|| {
        let mut device = pcap::Capture::from_device(link.first.as_str()).unwrap().open().unwrap();
        for frame in frames {
            device.sendpacket(frame.as_slice()).unwrap();
        }
    });
    let mut counts = AggregateCounts::default();
    // What is sent has been received when the sender goes on, as a rule.
    for _ in 0..20 {
        let more = receiver.inside(|| aggregator.collect(&mut flows).unwrap());
        counts.seen += more.seen;
        counts.not_ip += more.not_ip;
        counts.truncated += more.truncated;
        counts.length += more.length;
        counts.version += more.version;
        counts.too_deep += more.too_deep;
        counts.unaccounted += more.unaccounted;
        counts.flows_full += more.flows_full;
        counts.unmatched_fragments += more.unmatched_fragments;
        if counts.seen >= frames.len() as u64 {
            break;
        }
        receiver.inside(|| aggregator.wait(Duration::from_millis(50)).unwrap());
    }
    (flows, counts)
}

/// Packets and bytes by protocol, sender and receiver with their ports.
type Sums = BTreeMap<(u8, IpAddr, u16, IpAddr, u16), (u64, u64)>;

fn add(sums: &mut Sums, headers: &Headers, packets: u64, bytes: u64) {
    if packets == 0 {
        return;
    }
    let Headers { source, destination, source_port, destination_port, .. } = *headers;
    let key = (headers.protocol.0, source, source_port, destination, destination_port);
    let sum = sums.entry(key).or_default();
    *sum = (sum.0 + packets, sum.1 + bytes);
}

fn sums_of(flows: &[AggregatedFlow]) -> Sums {
    let mut sums = Sums::new();
    for flow in flows {
        for end in 0..2 {
            let [source, destination] = [flow.endpoints[end], flow.endpoints[1 - end]];
            let headers = Headers {
                source: source.0,
                destination: destination.0,
                protocol: flow.protocol,
                source_port: source.1,
                destination_port: destination.1,
                fragment: None,
                tcp: None,
            };
            add(&mut sums, &headers, flow.packets[end], flow.bytes[end]);
        }
    }
    sums
}

/// The same of what the packet crate reads; a later fragment has the ports of the one before it.
fn expected(frames: &[Vec<u8>]) -> (Sums, AggregateCounts) {
    let (mut sums, mut counts) = (Sums::new(), AggregateCounts::default());
    let mut ports = BTreeMap::new();
    for frame in frames {
        let packet = Packet {
            at: Timestamp::default(),
            link_type: LinkType::ETHERNET,
            interface: 0,
            wire_length: u32::try_from(frame.len()).unwrap(),
            bytes: frame,
        };
        counts.seen += 1;
        match decode(&packet, Tunnels::Outer) {
            Ok(mut headers) => {
                if let Some(fragment) = headers.fragment {
                    let Headers { source, destination, protocol, .. } = headers;
                    let datagram = (source, destination, protocol, fragment.identification);
                    if !fragment.is_later() {
                        ports.insert(datagram, (headers.source_port, headers.destination_port));
                    } else if let Some(known) = ports.get(&datagram) {
                        (headers.source_port, headers.destination_port) = *known;
                    } else {
                        counts.unmatched_fragments += 1;
                    }
                }
                add(&mut sums, &headers, 1, packet.wire_length.into());
            }
            Err(Undecodable::NotIp) => counts.not_ip += 1,
            Err(Undecodable::Malformed(Malformed::Truncated)) => counts.truncated += 1,
            Err(Undecodable::Malformed(Malformed::Length)) => counts.length += 1,
            Err(Undecodable::Malformed(Malformed::Version)) => counts.version += 1,
            Err(Undecodable::Malformed(_)) => counts.too_deep += 1,
        }
    }
    (sums, counts)
}

#[track_caller]
fn assert_read_alike(frames: &[Vec<u8>]) {
    let (flows, counts) = counted(frames);
    let (sums, expected) = expected(frames);
    assert_eq!(counts, AggregateCounts { bytes_left_out: counts.bytes_left_out, ..expected });
    let found = sums_of(&flows);
    for (key, sum) in &sums {
        assert_eq!(found.get(key), Some(sum), "{key:?}");
    }
    assert_eq!(found, sums);
}

fn frame(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1][..], &ether_type.to_be_bytes(), payload].concat()
}

fn ipv4(last: u8, protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let [high, low] = fragment.to_be_bytes();
    let header = [0x45, 0, length[0], length[1], 7, last, high, low, 64, protocol, 0, 0];
    let (source, destination) = (Ipv4Addr::new(10, 9, 32, last), Ipv4Addr::new(10, 9, 32, 2));
    [&header[..], &source.octets(), &destination.octets(), payload].concat()
}

fn ipv6(last: u8, next_header: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let header = [0x60, 0, 0, 0, length[0], length[1], next_header, 64];
    let address = |last: u8| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 9, last.into()).octets();
    [&header[..], &address(last), &address(2), payload].concat()
}

/// Ports, and what a header of TCP has behind them: a length of 20 bytes, and an acknowledgment.
const ABOVE: [u8; 24] =
    [1, 0xbb, 0xc3, 0x50, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 0, 9, 0, 0, 0, 0, 1, 2, 3, 4];

fn samples() -> Vec<Vec<u8>> {
    let mut samples = Vec::new();
    for protocol in [1, 6, 17, 47, 58, 132, 255] {
        samples.push(frame(0x0800, &ipv4(protocol, protocol, 0, &ABOVE)));
        samples.push(frame(0x86dd, &ipv6(protocol, protocol, &ABOVE)));
    }
    let destination_options = [17, 0, 1, 4, 0, 0, 0, 0];
    let routing = [&[60, 0, 4, 0, 0, 0, 0, 0][..], &destination_options].concat();
    let hop_by_hop = [&[43, 1][..], &[0; 14], &routing].concat();
    let authentication = [&[6, 4][..], &[0; 22]].concat();
    samples.push(frame(0x86dd, &ipv6(40, 0, &[&hop_by_hop, &ABOVE[..]].concat())));
    samples.push(frame(0x86dd, &ipv6(41, 51, &[&authentication, &ABOVE[..]].concat())));
    for (offset, last) in [(1, 42), (8 | 1, 42), (16, 42), (0, 43), (8, 44)] {
        let fragment = [17, 0, 0, offset, 0, 0, 0, last];
        samples.push(frame(0x86dd, &ipv6(last, 44, &[&fragment[..], &ABOVE].concat())));
    }
    for (fragment, last) in [(0x2000, 50), (0x2003, 50), (6, 50), (9, 51)] {
        samples.push(frame(0x0800, &ipv4(last, 17, fragment, &ABOVE)));
    }
    let tagged = [&[0, 5, 0x08, 0][..], &ipv4(60, 17, 0, &ABOVE)].concat();
    samples.push(frame(0x8100, &tagged));
    samples.push(frame(0x88a8, &[&[0, 6, 0x81, 0][..], &tagged].concat()));
    samples.push(frame(0x8100, &[&[0, 5, 0x08, 6][..], &[0; 28]].concat()));
    samples.push(frame(0x0806, &[0; 28]));
    samples.push(frame(0x88cc, &[0; 46]));
    samples
}

#[test]
fn headers_are_read_as_by_the_packet_crate() {
    require!(root, ebpf);
    assert_read_alike(&samples());
}

#[test]
fn cut_packets_are_read_as_by_the_packet_crate() {
    require!(root, ebpf);
    let mut frames = Vec::new();
    for sample in samples() {
        // The kernel drops what ends within a tag.
        let from = if matches!(sample[12..14], [0x81, 0] | [0x88, 0xa8]) { 22 } else { 14 };
        frames.extend((from..sample.len()).map(|length| sample[..length].to_vec()));
    }
    assert_read_alike(&frames);
}

#[test]
fn packets_with_wrong_bytes_are_read_as_by_the_packet_crate() {
    require!(root, ebpf);
    let mut frames = Vec::new();
    for (number, sample) in samples().iter().enumerate() {
        for place in 14..sample.len() {
            let mut frame = sample.clone();
            let value = u8::try_from((number * 31 + place * 17) % 256).unwrap();
            frame[place] ^= value;
            let is_tagged = matches!(sample[12..14], [0x81, 0] | [0x88, 0xa8]);
            // What follows a tag is one of those types that are read here, too.
            if !is_tagged || place >= 22 {
                frames.push(frame);
            }
        }
    }
    assert_read_alike(&frames);
}

#[test]
fn a_connection_is_told_in_steps() {
    require!(root, ebpf);
    let segment = |last: u8, is_answer: bool, flags: u8, payload: usize| {
        let mut tcp = ABOVE[..20].to_vec();
        tcp[13] = flags;
        tcp.resize(20 + payload, 0);
        let mut packet = ipv4(last, 6, 0, &tcp);
        if is_answer {
            let (source, destination) = (packet[12..16].to_vec(), packet[16..20].to_vec());
            packet[12..16].copy_from_slice(&destination);
            packet[16..20].copy_from_slice(&source);
            packet[20..24].copy_from_slice(&[0xc3, 0x50, 1, 0xbb]);
        }
        frame(0x0800, &packet)
    };
    let frames = [
        segment(1, false, 2, 0),
        segment(1, true, 18, 0),
        segment(1, false, 16, 0),
        segment(1, false, 24, 100),
        segment(1, true, 16, 0),
        segment(1, true, 16, 1000),
        segment(1, false, 17, 0),
        segment(1, true, 17, 0),
        segment(1, false, 16, 0),
    ];
    let (flows, counts) = counted(&frames);
    assert_eq!((flows.len(), counts.seen), (1, 9));
    let flow = &flows[0];
    assert_eq!(flow.endpoints[flow.first_sender].1, 443);
    assert_eq!((flow.flags[flow.first_sender], flow.data), (24, true));
    let told: Vec<_> = flow
        .portions()
        .map(|portion| match portion {
            Portion::Segment { sender, segment, .. } => {
                (segment.flags, [u64::from(sender == flow.first_sender), 0])
            }
            Portion::Sums { packets, .. } => {
                (0, [packets[flow.first_sender], packets[1 - flow.first_sender]])
            }
        })
        .collect();
    let expected = [
        (2, [1, 0]),
        (18, [0, 0]),
        (16, [1, 0]),
        (0, [1, 2]),
        (17, [1, 0]),
        (17, [0, 0]),
        (16, [1, 0]),
    ];
    assert_eq!(told, expected);
}
