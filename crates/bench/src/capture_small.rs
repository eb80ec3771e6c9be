//! The hardest that packets can be for a table of flows: all as small as Ethernet allows, of many
//! flows that go on at the same time, none near another one of its own.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use anyhow::Result;

use crate::{
    capture_file::{CaptureFile, Writer},
    capture_frames::{Numbers, Packet, Segment, Transport, address_v4},
    capture_random::{Shuffle, mix},
};

/// The packets of each flow.
pub(crate) const PACKETS_PER_FLOW: u64 = 10;

const CLIENTS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 0);
const SERVERS: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 0);
const SERVER_COUNT: u64 = 1 << 20;
/// From the first packet to the last.
const LASTS: Duration = Duration::from_secs(60);
/// What fills a UDP datagram up to the shortest frame.
const PAYLOAD: [u8; 18] = [0; 18];
/// Data of TCP in the shortest frame.
const DATA: [u8; 6] = [0; 6];

/// A file of so many flows.
pub(crate) fn small_packets(flows: u64) -> Result<CaptureFile> {
    CaptureFile::cached(&format!("small-1-{flows}.pcap"), |path| write(path, flows))
}

pub(crate) fn write(path: &Path, flows: u64) -> Result<()> {
    let mut writer = Writer::create(path)?;
    let packets = flows * PACKETS_PER_FLOW;
    let shuffle = Shuffle::new(packets);
    let mut written = vec![0_u8; usize::try_from(flows)?];
    for place in 0..packets {
        let flow = shuffle.at(place) / PACKETS_PER_FLOW;
        let step = &mut written[usize::try_from(flow)?];
        let at = LASTS.mul_f64(place as f64 / packets as f64);
        writer.write(at, &packet(flow, *step)?)?;
        *step += 1;
    }
    writer.finish()
}

/// Seven of ten flows are of TCP, with handshake and end.
fn packet(flow: u64, step: u8) -> Result<Packet<'static>> {
    let bits = mix(flow + 1);
    let is_udp = flow % 10 >= 7;
    // Eight flows of each client differ by their ports.
    let client = address_v4(CLIENTS, u32::try_from(flow >> 3)?);
    let client_port = 1024 + 8000 * u16::try_from(flow & 7)? + u16::try_from(bits >> 20 & 0xfff)?;
    let server = address_v4(SERVERS, u32::try_from(bits % SERVER_COUNT)?);
    let server_port = match (is_udp, bits >> 32 & 3) {
        (true, 0 | 2) => 53,
        (false, 0) => 80,
        _ => 443,
    };
    let client = SocketAddr::new(client, client_port);
    let server = SocketAddr::new(server, server_port);
    let (from, to) =
        if matches!(step, 1 | 4 | 5 | 7 | 9) { (server, client) } else { (client, server) };
    let segment = match step {
        0 => Segment::Syn,
        1 => Segment::SynAck,
        2 | 9 => Segment::Ack,
        7 | 8 => Segment::Fin,
        _ => Segment::Data,
    };
    let step = u32::from(step);
    let numbers = Numbers { sequence: 1000 + step, acknowledgment: 2000 + step };
    let (transport, payload) = match segment {
        _ if is_udp => (Transport::Udp, &PAYLOAD[..]),
        Segment::Data => (Transport::Tcp(segment, numbers), &DATA[..]),
        _ => (Transport::Tcp(segment, numbers), &[][..]),
    };
    Ok(Packet { from, to, vlan: None, transport, payload })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::capture_frames::SHORTEST;

    #[test]
    fn flows_differ_and_all_frames_are_the_shortest() {
        let mut frame = Vec::new();
        let mut flows = HashSet::new();
        for flow in 0..1000 {
            let first = packet(flow, 0).unwrap();
            assert!(flows.insert((first.from, first.to)), "{first:?}");
            for step in 0..10 {
                packet(flow, step).unwrap().write(&mut frame).unwrap();
                assert_eq!(frame.len(), SHORTEST, "flow {flow}, step {step}");
            }
        }
    }

    #[test]
    fn each_flow_has_all_its_packets() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("small.pcap");
        write(&path, 20).unwrap();
        let length = std::fs::metadata(&path).unwrap().len();
        assert_eq!(length, 24 + 20 * PACKETS_PER_FLOW * (16 + SHORTEST as u64));
    }
}
