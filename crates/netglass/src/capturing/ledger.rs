//! What became of each packet.

use std::{collections::BTreeMap, fmt};

use netglass_packet::{Malformed, Undecodable};

/// What became of each packet:
/// `seen = in flows + not IP + malformed + filtered + dropped by the kernel`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PacketLedger {
    /// Those that count in a conversation.
    pub(super) in_flows: u64,
    /// Those that are not of IP.
    pub(super) not_ip: u64,
    /// Those that cannot be understood, by what is wrong with them.
    pub(super) malformed: BTreeMap<Malformed, u64>,
    /// Those that the filter did not match, where the kernel did not choose.
    pub(super) filtered: u64,
    /// Those for which the kernel had no room.
    pub(super) dropped: u64,
    /// The same where the kernel itself counts, by reason.
    pub(super) lost: BTreeMap<Lost, u64>,
    /// Later fragments that the kernel counts without ports.
    pub(super) unmatched_fragments: u64,
    /// Bytes on the wire, of all but those that were dropped.
    pub(super) bytes: u64,
}

impl PacketLedger {
    /// All packets.
    pub(super) fn seen(&self) -> u64 {
        self.in_flows + self.not_ip + self.malformed_total() + self.filtered + self.dropped_total()
    }

    /// Those that cannot be understood.
    pub(super) fn malformed_total(&self) -> u64 {
        self.malformed.values().sum()
    }

    /// Those that the kernel could not keep, for whatever reason.
    pub(super) fn dropped_total(&self) -> u64 {
        self.dropped + self.lost.values().sum::<u64>()
    }

    /// Counts one that counts in no conversation.
    pub(super) fn leave_out(&mut self, reason: Undecodable) {
        match reason {
            Undecodable::NotIp => self.not_ip += 1,
            Undecodable::Malformed(malformed) => {
                *self.malformed.entry(malformed).or_default() += 1;
            }
        }
    }
}

/// Why a packet is in no conversation although the kernel looked at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(
    not(all(feature = "capture", feature = "ebpf")),
    allow(dead_code, reason = "the kernel does not count then")
)]
pub(super) enum Lost {
    /// There was no room for its conversation.
    TableFull,
    /// Its conversation could not be written to at the moment.
    TableBusy,
    /// It is not known why.
    Unaccounted,
}

impl Lost {
    /// The name in the ledger's output.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::TableFull => "table_full",
            Self::TableBusy => "table_busy",
            Self::Unaccounted => "unaccounted",
        }
    }
}

/// The name of what is wrong with a packet in the ledger's output.
pub(super) const fn malformed_name(malformed: Malformed) -> &'static str {
    match malformed {
        Malformed::Truncated => "truncated",
        Malformed::Length => "length",
        Malformed::Version => "version",
        Malformed::TooDeep => "too_deep",
        Malformed::LinkType => "link_type",
    }
}

/// `1200 packets = 1000 in flows + 150 not IP + 50 malformed (50 truncated) + 0 dropped by the kernel`
impl fmt::Display for PacketLedger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let packets = if self.seen() == 1 { "packet" } else { "packets" };
        write!(f, "{} {packets} = {} in flows + ", self.seen(), self.in_flows)?;
        write!(f, "{} not IP + {} malformed", self.not_ip, self.malformed_total())?;
        write_reasons(f, self.malformed.iter().map(|(&it, &count)| (malformed_name(it), count)))?;
        if self.filtered > 0 {
            write!(f, " + {} filtered", self.filtered)?;
        }
        write!(f, " + {} dropped by the kernel", self.dropped_total())?;
        write_reasons(f, self.lost.iter().map(|(it, &count)| (it.name(), count)))
    }
}

/// ` (3 of one, 2 of another)`, or nothing.
fn write_reasons(
    f: &mut fmt::Formatter<'_>,
    mut reasons: impl Iterator<Item = (&'static str, u64)>,
) -> fmt::Result {
    let Some((first, count)) = reasons.next() else { return Ok(()) };
    write!(f, " ({count} {first}")?;
    reasons.try_for_each(|(reason, count)| write!(f, ", {count} {reason}"))?;
    f.write_str(")")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_packet_is_accounted_for_and_named() {
        let mut ledger = PacketLedger { in_flows: 10, dropped: 2, ..PacketLedger::default() };
        ledger.leave_out(Undecodable::NotIp);
        assert_eq!(
            ledger.to_string(),
            "13 packets = 10 in flows + 1 not IP + 0 malformed + 2 dropped by the kernel"
        );
        ledger.leave_out(Malformed::Truncated.into());
        ledger.leave_out(Malformed::Truncated.into());
        ledger.leave_out(Malformed::LinkType.into());
        ledger.filtered = 4;
        assert_eq!(
            ledger.to_string(),
            "20 packets = 10 in flows + 1 not IP + 3 malformed (2 truncated, 1 link_type) + 4 \
             filtered + 2 dropped by the kernel"
        );
        ledger.lost = [(Lost::TableFull, 5), (Lost::TableBusy, 1)].into();
        assert_eq!(ledger.seen(), 26);
        let text = ledger.to_string();
        assert!(text.ends_with("8 dropped by the kernel (5 table_full, 1 table_busy)"), "{text}");
    }
}
