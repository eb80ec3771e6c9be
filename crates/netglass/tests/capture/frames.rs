//! Packets, and files of them, made byte by byte.

use std::{net::SocketAddrV4, time::Duration};

/// The flags of TCP in their byte.
pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const ACK: u8 = 16;

/// How many bytes Ethernet, IPv4 and UDP have before what is sent.
pub(crate) const UDP_HEADERS: usize = 14 + 20 + 8;

/// A datagram of UDP with `payload` bytes, in Ethernet; the addresses are such as `10.0.0.1:53`.
pub(crate) fn udp(source: &str, destination: &str, payload: usize) -> Vec<u8> {
    let (source, destination) = (address(source), address(destination));
    let mut datagram = Vec::new();
    datagram.extend(source.port().to_be_bytes());
    datagram.extend(destination.port().to_be_bytes());
    datagram.extend(u16::try_from(8 + payload).unwrap().to_be_bytes());
    datagram.extend([0, 0]);
    datagram.resize(8 + payload, b'x');
    ethernet(&ipv4(17, source, destination, &datagram))
}

/// A segment of TCP with `payload` bytes, in Ethernet.
pub(crate) fn tcp(
    source: &str,
    destination: &str,
    flags: u8,
    [sequence, acknowledgment]: [u32; 2],
    payload: usize,
) -> Vec<u8> {
    let (source, destination) = (address(source), address(destination));
    let mut segment = Vec::new();
    segment.extend(source.port().to_be_bytes());
    segment.extend(destination.port().to_be_bytes());
    segment.extend(sequence.to_be_bytes());
    segment.extend(acknowledgment.to_be_bytes());
    segment.extend([5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.resize(20 + payload, b'x');
    ethernet(&ipv4(6, source, destination, &segment))
}

/// A packet in Ethernet, sent through a tunnel of GRE between two addresses.
pub(crate) fn in_gre(source: &str, destination: &str, frame: &[u8]) -> Vec<u8> {
    let mut gre = vec![0, 0, 0x08, 0x00];
    gre.extend_from_slice(&frame[14..]);
    let [source, destination] = [source, destination].map(|it| address(&format!("{it}:0")));
    ethernet(&ipv4(47, source, destination, &gre))
}

fn address(text: &str) -> SocketAddrV4 {
    text.parse().unwrap()
}

fn ipv4(protocol: u8, source: SocketAddrV4, destination: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend(u16::try_from(20 + payload.len()).unwrap().to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, protocol, 0, 0]);
    packet.extend(source.ip().octets());
    packet.extend(destination.ip().octets());
    packet.extend_from_slice(payload);
    packet
}

fn ethernet(packet: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00];
    frame.extend_from_slice(packet);
    frame
}

/// A file of packets in pcap format, each with its time in seconds, captured up to `snapshot` bytes.
pub(crate) fn pcap_cut(snapshot: usize, packets: &[(f64, Vec<u8>)]) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend(0xa1b2_c3d4_u32.to_le_bytes());
    file.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    file.extend(u32::try_from(snapshot).unwrap().to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    for (at, bytes) in packets {
        let at = Duration::from_secs_f64(*at + 1e-7);
        let lengths = [bytes.len().min(snapshot), bytes.len()];
        for field in [u32::try_from(at.as_secs()).unwrap(), at.subsec_micros()] {
            file.extend(field.to_le_bytes());
        }
        file.extend(lengths.iter().flat_map(|it| u32::try_from(*it).unwrap().to_le_bytes()));
        file.extend_from_slice(&bytes[..lengths[0]]);
    }
    file
}

/// The same with whole packets.
pub(crate) fn pcap(packets: &[(f64, Vec<u8>)]) -> Vec<u8> {
    pcap_cut(262_144, packets)
}

/// `count` datagrams a millisecond apart, of `flows` clients of one server.
pub(crate) fn many(count: usize, flows: usize) -> Vec<u8> {
    let client = |it: usize| format!("10.1.{}.{}:4000", it / 250, it % 250 + 1);
    let packet = |it| (1000.0 + it as f64 / 1000.0, udp(&client(it % flows), "10.0.0.1:53", 30));
    pcap(&(0..count).map(packet).collect::<Vec<_>>())
}
