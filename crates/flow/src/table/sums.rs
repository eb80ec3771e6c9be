//! Packets of which only sums are known.

use netglass_model::Timestamp;
use netglass_packet::Headers;

use super::{FlowTable, moment};
use crate::{EndedFlow, flow::NONE, key::Key, keying::KeyedPacket};

/// Several packets of one flow, of which only sums are known. Segments on which the state of a TCP
/// connection depends are to be added one by one, before and after those that came between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sums {
    /// No packet of them came before that.
    pub from: Timestamp,
    /// No packet of them came after that.
    pub to: Timestamp,
    /// The interface on which they were seen.
    pub interface: u16,
    /// Whose they are: the source of these headers is whoever sent the first one. Fragments have the
    /// ports of their datagram.
    pub headers: Headers,
    /// How many that one sent, and how many the other one.
    pub packets: [u64; 2],
    /// How many bytes on the wire.
    pub bytes: [u64; 2],
    /// The flags of TCP that each sent, `SYN`, `FIN` and `RST` apart.
    pub flags: [u8; 2],
    /// Whether either sent data.
    pub data: bool,
}

impl FlowTable {
    /// Counts packets of which only sums are known. `ended` is given the records of flows that have
    /// ended by then.
    pub fn add_sums(&mut self, sums: &Sums, ended: &mut dyn FnMut(EndedFlow)) {
        self.clock = self.clock.max(moment(sums.from));
        if self.due <= self.clock {
            self.collect(ended);
        }
        let Sums { from, headers, .. } = *sums;
        let packet = self.first_of(sums);
        let KeyedPacket { sender, .. } = packet;
        let place = self.place_for(&packet, NONE, ended);
        let touched = self.clock.max(moment(sums.to));
        let (flow, details) = self.flows.at_mut(place);
        let was_over = flow.connection.is_over();
        let first = flow.side(sender);
        flow.see(details, from, sums.to, touched);
        for (number, side) in [first, first.other()].into_iter().enumerate() {
            let (packets, bytes) = (sums.packets[number], sums.bytes[number]);
            if packets == 0 {
                continue;
            }
            flow.count_sums(details, side, packets, bytes);
            if headers.protocol == netglass_model::IpProtocol::TCP {
                flow.connection.add_sums(side, sums.flags[number], sums.data);
            }
        }
        if flow.connection.is_over() && !was_over && self.limits.tcp_close {
            self.linger(place);
        }
    }

    /// In which part of all flows theirs is, see [`KeyedPacket::part`].
    #[must_use]
    pub fn part(&self, sums: &Sums) -> u8 {
        self.first_of(sums).part()
    }

    /// What is known of their first packet.
    fn first_of(&self, sums: &Sums) -> KeyedPacket {
        let Sums { from, interface, headers, .. } = *sums;
        let ports = (headers.source_port, headers.destination_port);
        let (key, sender) = Key::of(interface, &headers, Some(ports));
        let (tag, clock) = (self.tag(&key), self.clock);
        KeyedPacket { key, at: from, clock, wire_length: 0, tag, tcp: headers.tcp, sender }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use netglass_model::{EndReason, FlowRecord, IpProtocol};
    use netglass_packet::TcpSegment;

    use super::*;
    use crate::{Settings, Sighting, record::recorded};

    const FIN: u8 = 1;
    const SYN: u8 = 2;
    const RST: u8 = 4;
    const ACK: u8 = 16;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_nanoseconds(milliseconds * 1_000_000)
    }

    fn headers(is_answer: bool, tcp: Option<TcpSegment>) -> Headers {
        let (client, server) = ([10, 0, 0, 9].into(), [10, 0, 0, 2].into());
        let (source, destination) = if is_answer { (server, client) } else { (client, server) };
        let (source_port, destination_port) = if is_answer { (80, 4000) } else { (4000, 80) };
        let protocol = if tcp.is_some() { IpProtocol::TCP } else { IpProtocol::UDP };
        Headers {
            source,
            destination,
            protocol,
            source_port,
            destination_port,
            fragment: None,
            tcp,
        }
    }

    /// Segments of 100 bytes: `>` from the client, then flags, and the bytes of data.
    fn segments(segments: &[(bool, u8, u32)]) -> Vec<Sighting> {
        let mut next = [1000_u32, 5000];
        let segment = |(number, &(is_answer, flags, payload)): (usize, &(bool, u8, u32))| {
            let sender = usize::from(is_answer);
            let sequence = next[sender];
            next[sender] += payload + u32::from(flags & (SYN | FIN) != 0);
            let acknowledgment = if flags & ACK == 0 { 0 } else { next[1 - sender] };
            let tcp = TcpSegment { sequence, acknowledgment, flags, payload };
            Sighting {
                at: at(i64::try_from(number).unwrap()),
                interface: 0,
                wire_length: 100,
                headers: headers(is_answer, Some(tcp)),
            }
        };
        segments.iter().enumerate().map(segment).collect()
    }

    /// The same, where what is not a step is told as sums.
    fn add_together(table: &mut FlowTable, sightings: &[Sighting], ended: &mut Vec<FlowRecord>) {
        let mut awaited = [false; 2];
        let mut waiting: Option<Sums> = None;
        for sighting in sightings {
            let segment = sighting.headers.tcp.unwrap();
            let sender = usize::from(sighting.headers.source_port == 80);
            if segment.flags & (SYN | FIN | RST) != 0 || awaited[sender] {
                if let Some(sums) = waiting.take() {
                    table.add_sums(&sums, &mut |flow| ended.push(recorded(&flow)));
                }
                awaited[sender] = false;
                awaited[1 - sender] |= segment.flags & (SYN | FIN) != 0;
                table.add(std::slice::from_ref(sighting), &mut |flow| ended.push(recorded(&flow)));
                continue;
            }
            let mut headers = sighting.headers;
            headers.tcp = None;
            let sums = waiting.get_or_insert(Sums {
                from: sighting.at,
                to: sighting.at,
                interface: 0,
                headers,
                packets: [0; 2],
                bytes: [0; 2],
                flags: [0; 2],
                data: false,
            });
            let number = usize::from(sums.headers.source != sighting.headers.source);
            sums.to = sighting.at;
            sums.packets[number] += 1;
            sums.bytes[number] += 100;
            sums.flags[number] |= segment.flags;
            sums.data |= segment.payload > 0;
        }
        if let Some(sums) = waiting {
            table.add_sums(&sums, &mut |flow| ended.push(recorded(&flow)));
        }
    }

    #[test]
    fn sums_and_steps_tell_of_a_connection_what_its_segments_do() {
        let connection = [
            (false, SYN, 0),
            (true, SYN | ACK, 0),
            (false, ACK, 0),
            (false, ACK, 10),
            (true, ACK, 100),
            (false, ACK, 0),
            (true, ACK, 100),
            (false, FIN | ACK, 0),
            (true, ACK, 10),
            (true, FIN | ACK, 0),
            (false, ACK, 0),
        ];
        let refused = [(false, SYN, 0), (true, RST | ACK, 0)];
        let reset = [(false, SYN, 0), (true, SYN | ACK, 0), (false, ACK, 9), (true, RST, 0)];
        let from_the_middle = [(true, ACK, 9), (false, ACK, 0), (true, FIN | ACK, 0)];
        let half = &connection[..5];
        for sent in [&connection[..], &refused, &reset, &from_the_middle, half] {
            let sightings = segments(sent);
            let (mut one, mut other) = (Vec::new(), Vec::new());
            let mut table = FlowTable::new(Settings::default());
            table.add(&sightings, &mut |flow| one.push(recorded(&flow)));
            table.finish(&mut |flow| one.push(recorded(&flow)));
            let mut table = FlowTable::new(Settings::default());
            add_together(&mut table, &sightings, &mut other);
            table.finish(&mut |flow| other.push(recorded(&flow)));
            for record in one.iter_mut().chain(&mut other) {
                record.id = uuid::Uuid::nil();
                if let Some(tcp) = &mut record.tcp {
                    (tcp.source_retransmissions, tcp.destination_retransmissions) = (None, None);
                }
            }
            assert_eq!(one, other, "{sent:?}");
        }
    }

    #[test]
    fn sums_end_flows_by_their_times() {
        let settings = Settings { idle_timeout: Duration::from_secs(2), ..Settings::default() };
        let mut table = FlowTable::new(settings);
        let mut records = Vec::new();
        let sums = |from, to, packets| Sums {
            from: at(from),
            to: at(to),
            interface: 0,
            headers: headers(false, None),
            packets,
            bytes: packets.map(|it| 60 * it),
            flags: [0; 2],
            data: false,
        };
        for sums in [sums(0, 900, [5, 0]), sums(1500, 2000, [0, 2]), sums(5000, 5100, [1, 0])] {
            table.add_sums(&sums, &mut |flow| records.push(recorded(&flow)));
        }
        table.advance(at(6000), &mut |flow| records.push(recorded(&flow)));
        assert_eq!(table.usage().flows, 1, "the last one goes on");
        table.finish(&mut |flow| records.push(recorded(&flow)));
        let told: Vec<_> = records
            .iter()
            .map(|it| (it.source_packets, it.destination_packets, it.end_reason))
            .collect();
        assert_eq!(told, [(5, 2, EndReason::Idle), (1, 0, EndReason::CaptureEnd)]);
        assert_eq!((records[0].first_seen, records[0].last_seen), (at(0), at(2000)));
        assert_eq!((records[0].source_bytes, records[0].destination_bytes), (300, 120));
    }
}
