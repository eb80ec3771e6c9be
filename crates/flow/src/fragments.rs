//! To which flow a later fragment belongs.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    time::Duration,
};

use foldhash::fast::RandomState;
use netglass_model::{IpProtocol, Timestamp};

use crate::Sighting;

/// The ports of datagrams whose first fragment was seen.
///
/// Fragments are sent one after the other, the first one first. A later one that comes before it, or
/// without it, is not held back: its ports are not known.
#[derive(Debug)]
pub(crate) struct Fragments {
    datagrams: HashMap<Datagram, Ports, RandomState>,
    /// In the order in which they came; the time with each tells which are no longer what is meant.
    order: VecDeque<(Timestamp, Datagram)>,
    /// The latest time of any fragment.
    clock: Timestamp,
}

/// What tells datagrams apart (RFC 791, 3.2; RFC 8200, 4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Datagram {
    interface: u16,
    source: IpAddr,
    destination: IpAddr,
    protocol: IpProtocol,
    identification: u32,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    source: u16,
    destination: u16,
    remembered: Timestamp,
}

/// How many datagrams are remembered; at that, the oldest makes way.
const DATAGRAMS: usize = 8192;
/// For how long a datagram is: as long as Linux waits for its fragments.
const TIMEOUT: Duration = Duration::from_secs(30);

impl Fragments {
    pub(crate) fn new() -> Self {
        Self { datagrams: HashMap::default(), order: VecDeque::new(), clock: Timestamp::MIN }
    }

    /// Source and destination port of a packet; none for a later fragment of a datagram whose first one
    /// is not known.
    #[inline]
    pub(crate) fn ports(&mut self, sighting: &Sighting) -> Option<(u16, u16)> {
        match sighting.headers.fragment {
            // Of IPv6 there are fragments that are all of their datagram (RFC 6946).
            Some(fragment) if fragment.more || fragment.offset > 0 => {
                self.of_fragment(sighting, fragment.identification, fragment.offset == 0)
            }
            _ => Some((sighting.headers.source_port, sighting.headers.destination_port)),
        }
    }

    #[cold]
    fn of_fragment(
        &mut self,
        sighting: &Sighting,
        identification: u32,
        first: bool,
    ) -> Option<(u16, u16)> {
        let headers = &sighting.headers;
        let datagram = Datagram {
            interface: sighting.interface,
            source: headers.source,
            destination: headers.destination,
            protocol: headers.protocol,
            identification,
        };
        self.clock = self.clock.max(sighting.at);
        self.forget();
        if !first {
            let ports = self.datagrams.get(&datagram)?;
            return Some((ports.source, ports.destination));
        }
        let ports = Ports {
            source: headers.source_port,
            destination: headers.destination_port,
            remembered: self.clock,
        };
        self.datagrams.insert(datagram, ports);
        self.order.push_back((self.clock, datagram));
        Some((ports.source, ports.destination))
    }

    /// Forgets what is too old, and makes room for one more.
    fn forget(&mut self) {
        let oldest = self.clock.saturating_sub(TIMEOUT);
        while let Some(&(remembered, datagram)) = self.order.front()
            && (remembered < oldest || self.order.len() >= DATAGRAMS)
        {
            self.order.pop_front();
            // Another datagram of the same identification may have come since.
            if self.datagrams.get(&datagram).is_some_and(|ports| ports.remembered == remembered) {
                self.datagrams.remove(&datagram);
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use netglass_packet::{Fragment, Headers};

    /// One of a question of DNS.
    pub(crate) fn fragment(at: i64, identification: u32, offset: u16, more: bool) -> Sighting {
        let ports = if offset == 0 { (1000, 53) } else { (0, 0) };
        Sighting {
            at: Timestamp::from_nanoseconds(at * 1_000_000_000),
            interface: 0,
            wire_length: 100,
            headers: Headers {
                source: [10, 0, 0, 1].into(),
                destination: [10, 0, 0, 2].into(),
                protocol: IpProtocol::UDP,
                source_port: ports.0,
                destination_port: ports.1,
                fragment: Some(Fragment { identification, offset, more }),
                tcp: None,
            },
        }
    }

    #[test]
    fn a_later_fragment_has_the_ports_of_the_first_one() {
        let mut fragments = Fragments::new();
        assert_eq!(fragments.ports(&fragment(0, 7, 1480, true)), None);
        assert_eq!(fragments.ports(&fragment(0, 7, 0, true)), Some((1000, 53)));
        assert_eq!(fragments.ports(&fragment(1, 7, 1480, true)), Some((1000, 53)));
        assert_eq!(fragments.ports(&fragment(1, 7, 2960, false)), Some((1000, 53)));
        assert_eq!(fragments.ports(&fragment(1, 8, 2960, false)), None);
        let elsewhere = Sighting { interface: 1, ..fragment(1, 7, 2960, false) };
        assert_eq!(fragments.ports(&elsewhere), None);
    }

    #[test]
    fn a_datagram_is_forgotten_after_its_time_and_time_does_not_go_back() {
        let mut fragments = Fragments::new();
        fragments.ports(&fragment(100, 7, 0, true));
        assert_eq!(fragments.ports(&fragment(130, 7, 1480, false)), Some((1000, 53)));
        assert_eq!(fragments.ports(&fragment(131, 7, 1480, false)), None);
        assert_eq!(fragments.ports(&fragment(101, 7, 1480, false)), None);
    }

    #[test]
    fn an_identification_that_comes_again_is_remembered_from_then_on() {
        let mut fragments = Fragments::new();
        fragments.ports(&fragment(0, 7, 0, true));
        fragments.ports(&fragment(20, 7, 0, true));
        assert_eq!(fragments.ports(&fragment(40, 7, 1480, false)), Some((1000, 53)));
    }

    #[test]
    fn the_oldest_makes_way() {
        let mut fragments = Fragments::new();
        let many = u32::try_from(DATAGRAMS).unwrap() + 10;
        for identification in 0..many {
            fragments.ports(&fragment(0, identification, 0, true));
        }
        assert!(fragments.order.len() <= DATAGRAMS && fragments.datagrams.len() <= DATAGRAMS);
        assert_eq!(fragments.ports(&fragment(0, 0, 1480, false)), None);
        assert!(fragments.ports(&fragment(0, many - 1, 1480, false)).is_some());
    }

    #[test]
    fn a_whole_datagram_in_a_fragment_is_not_remembered() {
        let mut fragments = Fragments::new();
        assert_eq!(fragments.ports(&fragment(0, 7, 0, false)), Some((1000, 53)));
        assert_eq!(fragments.ports(&fragment(0, 7, 1480, false)), None);
    }
}
