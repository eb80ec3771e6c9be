//! What the streaming kernel programs write (`bpf/stream/records.h`), taken apart.

use std::net::{IpAddr, Ipv6Addr};

use netglass_model::{Direction, Failures, FlowCounters, NamespaceInode, Protocol, RttSamples};

use crate::{
    process::Comm,
    program::{u16_at, u32_at, u64_at},
};

pub(crate) const FLOW_KEY_LENGTH: usize = 48;
pub(crate) const FLOW_COUNTERS_LENGTH: usize = 128;
/// `struct recent_flow`: key, counters, and what is none of the reader's business.
pub(crate) const RECENT_FLOW_LENGTH: usize = 184;
pub(crate) const LISTENER_LENGTH: usize = 32;
pub(crate) const PROCESS_LENGTH: usize = 1088;

const FLOW_PASSIVE: u8 = 1 << 0;
const FLOW_BY_LISTENER: u8 = 1 << 1;

/// What a process is called in flows and listeners; none where it is not known.
pub(crate) type ProcessNumber = Option<std::num::NonZeroU32>;

/// `struct flow_key`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FlowKey {
    pub(crate) namespace: NamespaceInode,
    pub(crate) local: IpAddr,
    pub(crate) peer: IpAddr,
    pub(crate) service_port: u16,
    pub(crate) protocol: Protocol,
    pub(crate) direction: Direction,
    pub(crate) process: ProcessNumber,
    /// The process is the one that listens; whether it is also the one at work is not known.
    pub(crate) by_listener: bool,
}

impl FlowKey {
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; FLOW_KEY_LENGTH] = bytes.try_into().ok()?;
        let flags = bytes[43];
        Some(Self {
            local: address(bytes, 0)?,
            peer: address(bytes, 16)?,
            namespace: NamespaceInode(u32_at(bytes, 32)?.into()),
            process: std::num::NonZeroU32::new(u32_at(bytes, 36)?),
            service_port: u16_at(bytes, 40)?,
            protocol: Protocol::from_number(bytes[42])?,
            direction: match flags & FLOW_PASSIVE {
                0 => Direction::Active,
                _ => Direction::Passive,
            },
            by_listener: flags & FLOW_BY_LISTENER != 0,
        })
    }
}

/// `struct flow_counters`: how often something was added, and what came together. `None` where
/// there are not as many bytes as there should be.
pub(crate) fn parse_counters(bytes: &[u8]) -> Option<(u64, FlowCounters)> {
    let bytes: &[u8; FLOW_COUNTERS_LENGTH] = bytes.try_into().ok()?;
    let at = |index: usize| u64_at(bytes, index * 8).unwrap_or_default();
    let counters = FlowCounters {
        connections: at(1),
        opened: at(2),
        bytes_sent: at(3),
        bytes_received: at(4),
        segments_sent: at(5),
        segments_received: at(6),
        retransmits: at(7),
        rtt: RttSamples { sum_us: at(8), count: at(9) },
        failed: Failures {
            refused: at(10),
            timed_out: at(11),
            unreachable: at(12),
            reset: at(13),
            abandoned: at(14),
            other: at(15),
        },
    };
    Some((at(0), counters))
}

/// `struct listener_record`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListenerRecord {
    pub(crate) namespace: NamespaceInode,
    pub(crate) local: IpAddr,
    /// None where the kernel chose it.
    pub(crate) port: Option<u16>,
    pub(crate) protocol: Protocol,
    pub(crate) process: ProcessNumber,
}

impl ListenerRecord {
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; LISTENER_LENGTH] = bytes.try_into().ok()?;
        Some(Self {
            local: address(bytes, 0)?,
            namespace: NamespaceInode(u32_at(bytes, 16)?.into()),
            process: std::num::NonZeroU32::new(u32_at(bytes, 20)?),
            port: Some(u16_at(bytes, 24)?).filter(|&port| port != 0),
            protocol: Protocol::from_number(bytes[26])?,
        })
    }
}

/// `struct process_record`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProcessRecord<'a> {
    pub(crate) number: std::num::NonZeroU32,
    pub(crate) pid: u32,
    pub(crate) pgid: u32,
    pub(crate) ppid: u32,
    pub(crate) family: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) start_boottime: u64,
    pub(crate) comm: Comm,
    pub(crate) executable: Option<Vec<u8>>,
    pub(crate) cgroup: Option<Vec<u8>>,
    pub(crate) arguments: &'a [u8],
    pub(crate) arguments_cut: bool,
}

impl<'a> ProcessRecord<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let bytes: &[u8; PROCESS_LENGTH] = bytes.try_into().ok()?;
        let field = |offset: usize, length: usize, used: u16| {
            bytes[offset..offset + length].get(..usize::from(used))
        };
        let arguments = field(832, 256, u16_at(bytes, 32)?)?;
        Some(Self {
            number: std::num::NonZeroU32::new(u32_at(bytes, 0)?)?,
            pid: u32_at(bytes, 4)?,
            pgid: u32_at(bytes, 8)?,
            ppid: u32_at(bytes, 12)?,
            family: u32_at(bytes, 16)?,
            uid: u32_at(bytes, 20)?,
            gid: u32_at(bytes, 24)?,
            executable: path(field(64, 384, u16_at(bytes, 28)?)?),
            cgroup: path(field(448, 384, u16_at(bytes, 30)?)?),
            arguments,
            arguments_cut: u16_at(bytes, 34)? != 0,
            start_boottime: u64_at(bytes, 40)?,
            comm: Comm::new(&bytes[48..64]),
        })
    }
}

/// The path of names that stand in the order from the last one to the first, each ended by a NUL.
fn path(names: &[u8]) -> Option<Vec<u8>> {
    let names = names.strip_suffix(&[0])?;
    let mut path = Vec::with_capacity(names.len() + 1);
    for name in names.rsplit(|&byte| byte == 0) {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    Some(path)
}

fn address(bytes: &[u8], offset: usize) -> Option<IpAddr> {
    let octets: [u8; 16] = *bytes.get(offset..)?.first_chunk()?;
    Some(IpAddr::V6(Ipv6Addr::from(octets)).to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    const HEADER: &str = include_str!("../bpf/stream/records.h");

    #[test]
    fn the_records_are_those_of_the_header() {
        for (name, length) in [
            ("flow_key", FLOW_KEY_LENGTH),
            ("flow_counters", FLOW_COUNTERS_LENGTH),
            ("recent_flow", RECENT_FLOW_LENGTH),
            ("listener_record", LISTENER_LENGTH),
            ("process_record", PROCESS_LENGTH),
        ] {
            let asserted = format!("_Static_assert(sizeof(struct {name}) == {length}, ");
            assert!(HEADER.contains(&asserted), "{asserted}");
        }
        assert!(HEADER.contains("FLOW_PASSIVE = 1 << 0,"));
        assert!(HEADER.contains("FLOW_BY_LISTENER = 1 << 1,"));
        // In the order in which they are read.
        let kinds = HEADER.split("enum failure {").nth(1).unwrap().split('}').next().unwrap();
        let kinds: Vec<_> = kinds.split(',').map(str::trim).collect();
        assert_eq!(
            kinds[..6],
            Failures::NAMES.map(|name| format!("FAILURE_{}", name.to_uppercase()))
        );
    }

    fn flow_key(local: [u8; 16], protocol: u8, flags: u8) -> Vec<u8> {
        let peer = [[0; 10].as_slice(), &[0xff, 0xff, 10, 0, 0, 2]].concat();
        let mut bytes = [local.as_slice(), &peer].concat();
        bytes.extend_from_slice(&7_u32.to_ne_bytes());
        bytes.extend_from_slice(&9_u32.to_ne_bytes());
        bytes.extend_from_slice(&443_u16.to_ne_bytes());
        bytes.extend_from_slice(&[protocol, flags, 0, 0, 0, 0]);
        bytes
    }

    #[test]
    fn a_flow_key_names_its_ends() {
        let mut local = [0; 16];
        local[15] = 1;
        let key = FlowKey::parse(&flow_key(local, 6, FLOW_PASSIVE | FLOW_BY_LISTENER)).unwrap();
        assert_eq!(key.local, "::1".parse::<IpAddr>().unwrap());
        assert_eq!(key.peer, "10.0.0.2".parse::<IpAddr>().unwrap());
        assert_eq!((key.namespace, key.service_port), (NamespaceInode(7), 443));
        assert_eq!((key.protocol, key.direction), (Protocol::Tcp, Direction::Passive));
        assert_eq!((key.process.unwrap().get(), key.by_listener), (9, true));

        let key = FlowKey::parse(&flow_key(local, 17, 0)).unwrap();
        assert_eq!((key.protocol, key.direction), (Protocol::Udp, Direction::Active));
        assert_eq!(FlowKey::parse(&flow_key(local, 132, 0)), None, "a protocol we do not follow");
    }

    #[test]
    fn counters_are_read_in_the_order_of_the_header() {
        let bytes: Vec<u8> = (0..16_u64).flat_map(u64::to_ne_bytes).collect();
        let (sightings, counters) = parse_counters(&bytes).unwrap();
        assert_eq!((sightings, counters.connections, counters.opened), (0, 1, 2));
        assert_eq!((counters.bytes_sent, counters.bytes_received), (3, 4));
        assert_eq!((counters.segments_sent, counters.segments_received), (5, 6));
        assert_eq!((counters.retransmits, counters.rtt.sum_us, counters.rtt.count), (7, 8, 9));
        assert_eq!(counters.failed.counts(), [10, 11, 12, 13, 14, 15]);
    }

    #[test]
    fn a_listener_has_a_port_unless_the_kernel_chose_it() {
        let record = |port: u16| {
            let mut bytes = vec![0; LISTENER_LENGTH];
            bytes[16..20].copy_from_slice(&7_u32.to_ne_bytes());
            bytes[24..26].copy_from_slice(&port.to_ne_bytes());
            bytes[26] = 17;
            ListenerRecord::parse(&bytes).unwrap()
        };
        assert_eq!(record(53).port, Some(53));
        assert_eq!((record(0).port, record(0).process), (None, None));
        assert_eq!(record(0).local, "::".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn a_process_has_the_paths_that_its_names_make() {
        let mut bytes = vec![0; PROCESS_LENGTH];
        for (index, number) in [3_u32, 10, 11, 12, 13, 14, 15].into_iter().enumerate() {
            bytes[index * 4..index * 4 + 4].copy_from_slice(&number.to_ne_bytes());
        }
        for (index, length) in [13_u16, 0, 8, 1].into_iter().enumerate() {
            bytes[28 + index * 2..30 + index * 2].copy_from_slice(&length.to_ne_bytes());
        }
        bytes[40..48].copy_from_slice(&5_u64.to_ne_bytes());
        bytes[48..52].copy_from_slice(b"curl");
        bytes[64..77].copy_from_slice(b"curl\0bin\0usr\0");
        bytes[832..840].copy_from_slice(b"curl\0-v\0");
        let record = ProcessRecord::parse(&bytes).unwrap();
        assert_eq!((record.number.get(), record.pid, record.pgid), (3, 10, 11));
        assert_eq!((record.ppid, record.family, record.uid, record.gid), (12, 13, 14, 15));
        assert_eq!(record.executable.as_deref(), Some(b"/usr/bin/curl".as_slice()));
        assert_eq!((record.cgroup, record.start_boottime), (None, 5));
        assert_eq!((record.arguments, record.arguments_cut), (b"curl\0-v\0".as_slice(), true));
        assert_eq!(record.comm.as_bytes(), b"curl");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(
            bytes in vec(any::<u8>(), PROCESS_LENGTH),
            length in 0..=PROCESS_LENGTH,
        ) {
            let _ = ProcessRecord::parse(&bytes);
            for length in [length, FLOW_KEY_LENGTH, FLOW_COUNTERS_LENGTH, LISTENER_LENGTH] {
                let _ = ProcessRecord::parse(&bytes[..length]);
                let _ = FlowKey::parse(&bytes[..length]);
                let _ = parse_counters(&bytes[..length]);
                let _ = ListenerRecord::parse(&bytes[..length]);
            }
        }

        #[test]
        fn names_make_a_path_in_their_reverse_order(names in vec("[a-z.-]{1,9}", 1..8)) {
            let leaf_first: Vec<u8> =
                names.iter().rev().flat_map(|name| [name.as_bytes(), &[0]].concat()).collect();
            let expected: String = names.iter().flat_map(|name| ["/", name]).collect();
            prop_assert_eq!(path(&leaf_first), Some(expected.into_bytes()));
        }
    }
}
