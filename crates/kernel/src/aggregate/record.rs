//! What the aggregating kernel programs write (`bpf/aggregate/records.h`), taken apart.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netglass_model::IpProtocol;
use netglass_packet::TcpSegment;

use super::{AggregatedFlow, Step};
use crate::program::{Clock, u16_at, u32_at, u64_at};

pub(super) const STEPS: usize = 8;
pub(super) const KEY_LENGTH: usize = 48;
pub(super) const SUMS_LENGTH: usize = 440;
const STEPS_OFFSET: usize = 56;
const STEP_LENGTH: usize = 48;

const MARK_DATA: u32 = 1 << 16;
const MARK_SECOND_BEGAN: u32 = 1 << 19;

/// `struct flow_key` and `struct flow_sums`; the interface is the kernel's own number of it. `None`
/// where they are not what they should be, or nothing was counted.
pub(super) fn parse(key: &[u8], sums: &[u8], clock: Clock) -> Option<AggregatedFlow> {
    if key.len() != KEY_LENGTH || sums.len() != SUMS_LENGTH {
        return None;
    }
    let version = *key.get(41)?;
    let marks = u32_at(sums, 52)?;
    let [first_flags, second_flags, ..] = marks.to_le_bytes();
    let packets = [u64_at(sums, 0)?, u64_at(sums, 8)?];
    if packets == [0; 2] {
        return None;
    }
    let taken = usize::try_from(u32_at(sums, 48)?).unwrap_or(STEPS).min(STEPS);
    let mut steps = [None; STEPS];
    let written = sums.get(STEPS_OFFSET..)?.chunks_exact(STEP_LENGTH).take(taken);
    for (step, bytes) in steps.iter_mut().zip(written) {
        *step = parse_step(bytes, clock);
    }
    Some(AggregatedFlow {
        interface: u32_at(key, 32)?,
        protocol: IpProtocol(*key.get(40)?),
        endpoints: [
            (address(key, 0, version)?, u16_at(key, 36)?),
            (address(key, 16, version)?, u16_at(key, 38)?),
        ],
        first_sender: usize::from(marks & MARK_SECOND_BEGAN != 0),
        began: clock.at(u64_at(sums, 32)?),
        last: clock.at(u64_at(sums, 40)?),
        packets,
        bytes: [u64_at(sums, 16)?, u64_at(sums, 24)?],
        flags: [first_flags, second_flags],
        data: marks & MARK_DATA != 0,
        steps,
    })
}

/// `struct step`.
fn parse_step(bytes: &[u8], clock: Clock) -> Option<Step> {
    Some(Step {
        at: clock.at(u64_at(bytes, 0)?),
        sender: usize::from(*bytes.get(41)? != 0),
        wire_length: u32_at(bytes, 36)?,
        segment: TcpSegment {
            sequence: u32_at(bytes, 8)?,
            acknowledgment: u32_at(bytes, 12)?,
            flags: *bytes.get(40)?,
            payload: u32_at(bytes, 32)?,
        },
        packets: [u32_at(bytes, 16)?, u32_at(bytes, 20)?],
        bytes: [u32_at(bytes, 24)?, u32_at(bytes, 28)?],
    })
}

fn address(bytes: &[u8], offset: usize, version: u8) -> Option<IpAddr> {
    let bytes: [u8; 16] = *bytes.get(offset..)?.first_chunk()?;
    Some(match version {
        4 => Ipv4Addr::from(*bytes.last_chunk()?).into(),
        _ => Ipv6Addr::from(bytes).into(),
    })
}
