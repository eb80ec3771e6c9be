//! What the streaming kernel programs write (`bpf/stream/records.h`), taken apart.

use std::net::{IpAddr, Ipv6Addr};

use netglass_model::{Direction, Failures, FlowCounters, NamespaceInode, Protocol, RttSamples};

use crate::process::Comm;

pub(super) const FLOW_KEY_LENGTH: usize = 48;
pub(super) const FLOW_COUNTERS_LENGTH: usize = 128;
pub(super) const LISTENER_LENGTH: usize = 32;
pub(super) const PROCESS_LENGTH: usize = 1088;

const FLOW_PASSIVE: u8 = 1 << 0;
const FLOW_BY_LISTENER: u8 = 1 << 1;

/// What a process is called in flows and listeners; none where it is not known.
pub(super) type ProcessNumber = Option<std::num::NonZeroU32>;

/// `struct flow_key`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FlowKey {
    pub(super) namespace: NamespaceInode,
    pub(super) local: IpAddr,
    pub(super) peer: IpAddr,
    pub(super) service_port: u16,
    pub(super) protocol: Protocol,
    pub(super) direction: Direction,
    pub(super) process: ProcessNumber,
    /// The process is the one that listens; whether it is also the one at work is not known.
    pub(super) by_listener: bool,
}

impl FlowKey {
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
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
pub(super) fn parse_counters(bytes: &[u8]) -> Option<(u64, FlowCounters)> {
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
pub(super) struct ListenerRecord {
    pub(super) namespace: NamespaceInode,
    pub(super) local: IpAddr,
    /// None where the kernel chose it.
    pub(super) port: Option<u16>,
    pub(super) protocol: Protocol,
    pub(super) process: ProcessNumber,
}

impl ListenerRecord {
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
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
pub(super) struct ProcessRecord<'a> {
    pub(super) number: std::num::NonZeroU32,
    pub(super) pid: u32,
    pub(super) pgid: u32,
    pub(super) ppid: u32,
    pub(super) family: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) start_boottime: u64,
    pub(super) comm: Comm,
    pub(super) executable: Option<Vec<u8>>,
    pub(super) cgroup: Option<Vec<u8>>,
    pub(super) arguments: &'a [u8],
    pub(super) arguments_cut: bool,
}

impl<'a> ProcessRecord<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
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

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(offset..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(offset..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(offset..)?.first_chunk()?))
}
