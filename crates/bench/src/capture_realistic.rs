//! Traffic as a gateway sees it.
//!
//! There are two mixes of it. [`SAMPLES`] has the sizes of packets, the lengths of flows and the
//! protocols that public captures have when many of them are put together: half of the flows have a
//! single packet and half of the frames less than 100 bytes, most packets are of flows of some dozens
//! of packets, and a few flows have a thousand. [`ROUTER`] has those of networks in use, where data are
//! moved: the sizes that two routers counted by NetFlow, of 97 thousand million packets (published to the
//! list of NANOG, <https://community.nanog.org/t/avg-packet-size-again/35807>), in flows as long as those
//! of bigFlows.pcap, five minutes of a busy access to the Internet (791,615 packets in 40,686 flows,
//! <https://tcpreplay.appneta.com/wiki/captures.html>).

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use anyhow::Result;

use crate::{
    capture_file::{CaptureFile, Writer},
    capture_frames::{Echo, Numbers, Packet, Segment, Transport, address_v4, address_v6},
    capture_random::{Random, WeightedRange},
};

const fn range(weight: u32, from: u32, to: u32) -> WeightedRange {
    WeightedRange { weight, from, to }
}

/// How long flows are, and packets.
#[derive(Debug)]
pub(crate) struct Mix {
    name: &'static str,
    /// Packets of a flow.
    lengths: &'static [WeightedRange],
    /// Bytes of payload of a packet. The first of these are of TCP alone, the next three of questions, too.
    payloads: &'static [WeightedRange],
}

/// As in public captures.
pub(crate) static SAMPLES: Mix = Mix {
    name: "realistic",
    lengths: &[
        range(530, 1, 1),
        range(165, 2, 3),
        range(100, 4, 7),
        range(100, 8, 15),
        range(60, 16, 31),
        range(25, 32, 63),
        range(12, 64, 127),
        range(5, 128, 255),
        range(3, 256, 1000),
    ],
    payloads: &[
        range(25, 0, 0),
        range(20, 1, 46),
        range(20, 47, 150),
        range(13, 151, 300),
        range(5, 301, 500),
        range(5, 501, 900),
        range(4, 901, 1200),
        range(4, 1201, 1399),
        range(12, LONGEST_PAYLOAD, LONGEST_PAYLOAD),
    ],
};

/// As at a router.
pub(crate) static ROUTER: Mix = Mix {
    name: "router",
    lengths: &[
        range(530, 1, 1),
        range(165, 2, 3),
        range(100, 4, 7),
        range(100, 8, 15),
        range(55, 16, 31),
        range(25, 32, 63),
        range(13, 64, 127),
        range(7, 128, 255),
        range(5, 256, 4150),
    ],
    payloads: &[
        range(310, 0, 0),
        range(110, 1, 24),
        range(64, 25, 56),
        range(38, 57, 88),
        range(64, 89, 216),
        range(40, 217, 472),
        range(12, 473, 536),
        range(28, 537, 984),
        range(43, 985, LONGEST_PAYLOAD - 1),
        range(300, LONGEST_PAYLOAD, LONGEST_PAYLOAD),
    ],
};

/// What a segment of TCP over IPv6 with a tag has room for.
const LONGEST_PAYLOAD: u32 = 1436;
static PAYLOAD: [u8; LONGEST_PAYLOAD as usize] = [0x5A; LONGEST_PAYLOAD as usize];

/// Until an answer comes, or the next packet does, in microseconds.
const PAUSES: [WeightedRange; 3] =
    [range(6, 50, 1_000), range(3, 1_000, 50_000), range(1, 50_000, 1_500_000)];
/// So that a gigabyte lasts some minutes, in which idle flows time out.
const FLOWS_PER_SECOND: u64 = 1_000;

const CLIENTS_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 0);
const CLIENTS_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 0);
const SERVERS_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
const SERVERS_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 0);
const CLIENT_COUNT: u32 = 5_000;
const SERVER_COUNT: u32 = 1 << 16;
const TCP_PORTS: [u16; 6] = [443, 443, 443, 80, 22, 25];
const UDP_PORTS: [u16; 5] = [53, 53, 443, 123, 1900];
const VLAN: u16 = 42;

/// A file of so many bytes.
pub(crate) fn realistic_traffic(mix: &'static Mix, bytes: u64) -> Result<CaptureFile> {
    CaptureFile::cached(&format!("{}-1-{bytes}.pcap", mix.name), |path| write(path, mix, bytes))
}

fn write(path: &Path, mix: &'static Mix, bytes: u64) -> Result<()> {
    let mut writer = Writer::create(path)?;
    let mut random = Random::new(1);
    // Those that go on, by the time of their next packet and by their number.
    let mut flows = BTreeMap::new();
    let (mut started, mut start) = (0, Duration::ZERO);
    while writer.bytes() < bytes {
        while flows.first_key_value().is_none_or(|((at, _), _)| start <= *at) {
            flows.insert((start, started), Flow::new(mix, &mut random));
            started += 1;
            start = Duration::from_secs(started) / u32::try_from(FLOWS_PER_SECOND)?;
        }
        let Some(((at, number), mut flow)) = flows.pop_first() else { break };
        writer.write(at, &flow.next(&mut random))?;
        if flow.step < flow.length {
            let pause = Duration::from_micros(random.choose(&PAUSES).into());
            flows.insert((at + pause, number), flow);
        }
    }
    writer.finish()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A connection with handshake and end.
    Connection,
    /// To a port where nobody answers.
    Scan,
    /// Each packet is answered by one.
    Question,
    /// Most packets are of one direction.
    Stream,
    Ping,
}

#[derive(Debug)]
struct Flow {
    mix: &'static Mix,
    kind: Kind,
    client: SocketAddr,
    server: SocketAddr,
    vlan: Option<u16>,
    length: u32,
    step: u32,
    /// The next sequence numbers of TCP.
    client_sequence: u32,
    server_sequence: u32,
}

impl Flow {
    fn new(mix: &'static Mix, random: &mut Random) -> Self {
        let length = random.choose(mix.lengths);
        let kind = match (length, random.below(100)) {
            (1, 0..45) => Kind::Scan,
            (1..=3, 95..) => Kind::Ping,
            (1..=6, _) => Kind::Question,
            (_, 0..70) => Kind::Connection,
            _ => Kind::Stream,
        };
        let ports = match kind {
            Kind::Connection | Kind::Scan => &TCP_PORTS[..],
            Kind::Question | Kind::Stream | Kind::Ping => &UDP_PORTS[..],
        };
        let server_port = pick(ports, random);
        let client_port = 32_768 + u16::try_from(random.below(28_000)).unwrap_or_default();
        let (client, server) = (random.below(CLIENT_COUNT), random.below(SERVER_COUNT));
        let (client, server) = if random.below(100) < 8 {
            (address_v6(CLIENTS_V6, client), address_v6(SERVERS_V6, server))
        } else {
            (address_v4(CLIENTS_V4, client), address_v4(SERVERS_V4, server))
        };
        Self {
            mix,
            kind,
            client: SocketAddr::new(client, client_port),
            server: SocketAddr::new(server, server_port),
            vlan: (random.below(100) < 2).then_some(VLAN),
            length,
            step: 0,
            client_sequence: random.below(u32::MAX),
            server_sequence: random.below(u32::MAX),
        }
    }

    fn next(&mut self, random: &mut Random) -> Packet<'static> {
        let (answers, transport, payload) = match self.kind {
            Kind::Connection => self.segment(random),
            Kind::Scan => (false, self.tcp(false, Segment::Syn, 0), 0),
            Kind::Question => {
                (self.step % 2 == 1, Transport::Udp, random.choose(&self.mix.payloads[1..4]))
            }
            Kind::Stream => {
                (random.below(4) != 0, Transport::Udp, random.choose(&self.mix.payloads[1..]))
            }
            Kind::Ping => {
                let echo = if self.step % 2 == 1 { Echo::Reply } else { Echo::Request };
                (echo == Echo::Reply, Transport::Echo(echo), 56)
            }
        };
        let answers = answers && self.step > 0;
        self.step += 1;
        let (from, to) =
            if answers { (self.server, self.client) } else { (self.client, self.server) };
        let payload = PAYLOAD.get(..payload as usize).unwrap_or_default();
        Packet { from, to, vlan: self.vlan, transport, payload }
    }

    /// Whether the server sends the next one, what it is, and the bytes that it carries.
    fn segment(&mut self, random: &mut Random) -> (bool, Transport, u32) {
        let (answers, segment, payload) = match (self.step, self.length - self.step) {
            (0, _) => (false, Segment::Syn, 0),
            (1, _) => (true, Segment::SynAck, 0),
            (2, _) | (_, 1) => (false, Segment::Ack, 0),
            (_, 3) => (false, Segment::Fin, 0),
            (_, 2) => (true, Segment::Fin, 0),
            _ => {
                let payload = random.choose(self.mix.payloads);
                let segment = if payload == 0 { Segment::Ack } else { Segment::Data };
                (random.below(5) < 3, segment, payload)
            }
        };
        (answers, self.tcp(answers, segment, payload), payload)
    }

    /// The next segment of one end, with its place in the stream.
    fn tcp(&mut self, answers: bool, segment: Segment, payload: u32) -> Transport {
        let (own, other) = if answers {
            (&mut self.server_sequence, self.client_sequence)
        } else {
            (&mut self.client_sequence, self.server_sequence)
        };
        let numbers = Numbers { sequence: *own, acknowledgment: other };
        let opens_or_ends = matches!(segment, Segment::Syn | Segment::SynAck | Segment::Fin);
        *own = own.wrapping_add(payload + u32::from(opens_or_ends));
        Transport::Tcp(segment, numbers)
    }
}

fn pick(ports: &[u16], random: &mut Random) -> u16 {
    let index = random.below(u32::try_from(ports.len()).unwrap_or(1));
    ports.get(index as usize).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, fs};

    use super::*;

    #[test]
    fn a_connection_is_opened_and_closed() {
        let mut random = Random::new(1);
        let mut flow = loop {
            let flow = Flow::new(&SAMPLES, &mut random);
            if flow.kind == Kind::Connection {
                break flow;
            }
        };
        let (client, server) = (flow.client_sequence, flow.server_sequence);
        let (mut segments, mut bytes) = (Vec::new(), 0_u32);
        while flow.step < flow.length {
            let packet = flow.next(&mut random);
            let Transport::Tcp(segment, _) = packet.transport else { panic!("{packet:?}") };
            segments.push(segment);
            bytes += u32::try_from(packet.payload.len()).unwrap();
        }
        assert_eq!(segments[..3], [Segment::Syn, Segment::SynAck, Segment::Ack]);
        assert_eq!(segments[segments.len() - 3..], [Segment::Fin, Segment::Fin, Segment::Ack]);
        let sent = flow.client_sequence.wrapping_sub(client);
        let answered = flow.server_sequence.wrapping_sub(server);
        assert_eq!(sent.wrapping_add(answered), bytes + 4);
    }

    /// What many flows have: packets, bytes of a frame, and of a hundred frames those of less and of more than
    /// so many bytes.
    struct Counted {
        packets: f64,
        mean: f64,
        small: f64,
        large: f64,
    }

    fn count(mix: &'static Mix, small: usize, large: usize) -> Counted {
        const FLOWS: u32 = 20_000;
        let mut random = Random::new(2);
        let mut kinds = HashMap::<u8, u32>::new();
        let (mut lengths, mut frame) = (Vec::new(), Vec::new());
        for _ in 0..FLOWS {
            let mut flow = Flow::new(mix, &mut random);
            *kinds.entry(flow.kind as u8).or_default() += 1;
            while flow.step < flow.length {
                flow.next(&mut random).write(&mut frame).unwrap();
                assert!(frame.len() <= 1518, "{}", frame.len());
                lengths.push(frame.len());
            }
        }
        assert_eq!(kinds.len(), 5);
        let packets = f64::from(u32::try_from(lengths.len()).unwrap());
        let share = |is: &dyn Fn(usize) -> bool| {
            let count = lengths.iter().filter(|&&length| is(length)).count();
            100.0 * f64::from(u32::try_from(count).unwrap()) / packets
        };
        Counted {
            packets: packets / f64::from(FLOWS),
            mean: f64::from(u32::try_from(lengths.iter().sum::<usize>()).unwrap()) / packets,
            small: share(&|length| length < small),
            large: share(&|length| length > large),
        }
    }

    #[test]
    fn packets_are_as_large_and_flows_as_long_as_those_of_public_captures() {
        let Counted { packets, mean, small, .. } = count(&SAMPLES, 100, 0);
        assert!((320.0..420.0).contains(&mean), "{mean} bytes a packet");
        assert!((7.0..12.0).contains(&packets), "{packets} packets");
        assert!((35.0..60.0).contains(&small), "{small} small ones");
    }

    #[test]
    fn packets_are_as_large_as_routers_counted_and_flows_as_long_as_those_of_a_busy_access() {
        const ETHERNET: usize = 14;
        // Both routers: .382 and .418 of up to 64 bytes, .375 and .311 of more than 1,024.
        let Counted { packets, mean, small, large } =
            count(&ROUTER, ETHERNET + 65, ETHERNET + 1024);
        assert!((38.2..41.8).contains(&small), "{small} small ones");
        assert!((31.1..37.5).contains(&large), "{large} large ones");
        assert!((18.5..20.5).contains(&packets), "{packets} packets");
        assert!((550.0..650.0).contains(&mean), "{mean} bytes a packet");
    }

    #[test]
    fn a_file_is_the_same_each_time_and_of_the_wished_size() {
        let folder = tempfile::tempdir().unwrap();
        let made = ["a", "b"].map(|name| {
            let path = folder.path().join(name);
            write(&path, &SAMPLES, 1_000_000).unwrap();
            fs::read(path).unwrap()
        });
        assert!((1_000_000..1_002_000).contains(&made[0].len()), "{}", made[0].len());
        assert!(made[0] == made[1]);
    }
}
