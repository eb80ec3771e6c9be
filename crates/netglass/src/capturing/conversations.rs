//! Packets to conversations to logs, with an account of each.

#[cfg(feature = "capture")]
use std::sync::Arc;
use std::{io, time::Instant};

#[cfg(all(feature = "capture", feature = "ebpf"))]
use netglass_flow::Sums;
use netglass_flow::{Settings, Sighting, Usage};
use netglass_model::{FlowRecord, Timestamp};
use netglass_packet::{
    Headers, Packet, Tunnels, decode, decode_common, decode_head, file::TakeHeads,
};
use netglass_store::flow_log::FlowLog;

use super::{
    ledger::PacketLedger,
    table::{Out, Table, Writers},
};

/// Knows who is at the ends of conversations.
pub(super) trait Complete {
    /// Adds what is known.
    fn complete(&self, record: &mut FlowRecord);
}

/// Nobody is known, as of packets from files.
pub(super) struct Nobody;

impl Complete for Nobody {
    fn complete(&self, _: &mut FlowRecord) {}
}

/// Puts packets together into conversations, and logs those that have ended.
pub(super) struct Conversations {
    tunnels: Tunnels,
    table: Table,
    log: FlowLog,
    #[cfg(feature = "capture")]
    interfaces: Vec<Arc<str>>,
    ledger: PacketLedger,
}

impl Conversations {
    /// With two `threads`, one of them does nothing but put packets together.
    pub(super) fn new(
        settings: Settings,
        tunnels: Tunnels,
        log: FlowLog,
        threads: u8,
        writers: Writers,
    ) -> io::Result<Self> {
        Ok(Self {
            tunnels,
            table: Table::new(settings, threads, writers)?,
            log,
            #[cfg(feature = "capture")]
            interfaces: Vec::new(),
            ledger: PacketLedger::default(),
        })
    }

    /// Has the records of what is seen on the next interface tell its name. They are numbered from 0
    /// on.
    #[cfg(feature = "capture")]
    pub(super) fn name_interface(&mut self, name: Arc<str>, known: &impl Complete) {
        if let Ok(interface) = u16::try_from(self.interfaces.len()) {
            let out = &mut Out { log: &mut self.log, known };
            self.table.name_interface(interface, Arc::clone(&name), out);
        }
        self.interfaces.push(name);
    }

    /// The name of an interface; empty if it has told none.
    #[cfg(feature = "capture")]
    pub(super) fn interface_name(&self, interface: u32) -> &str {
        self.interfaces.get(interface as usize).map_or("", |name| name)
    }

    /// Counts a packet that was seen on an interface. Its headers are returned if it is one of a
    /// conversation.
    #[expect(clippy::inline_always, reason = "so that the headers stay in registers")]
    #[inline(always)]
    pub(super) fn take(
        &mut self,
        packet: &Packet<'_>,
        interface: u16,
        known: &impl Complete,
    ) -> Option<Headers> {
        self.ledger.bytes += u64::from(packet.wire_length);
        if let Some(headers) = decode_common(packet, self.tunnels) {
            self.push(packet, interface, headers, known);
            return Some(headers);
        }
        match decode(packet, self.tunnels) {
            Ok(headers) => {
                self.push(packet, interface, headers, known);
                Some(headers)
            }
            Err(reason) => {
                self.ledger.leave_out(reason);
                None
            }
        }
    }

    /// Counts a packet of a file, unless there is too little of it to know whose it is.
    #[inline(never)]
    fn take_other_head(&mut self, packet: &Packet<'_>) -> bool {
        let Some(decoded) = decode_head(packet, self.tunnels) else { return false };
        self.ledger.bytes += u64::from(packet.wire_length);
        match decoded {
            Ok(headers) => self.push(packet, 0, headers, &Nobody),
            Err(reason) => self.ledger.leave_out(reason),
        }
        true
    }

    #[expect(clippy::inline_always, reason = "so that the headers stay in registers")]
    #[inline(always)]
    fn push(
        &mut self,
        packet: &Packet<'_>,
        interface: u16,
        headers: Headers,
        known: &impl Complete,
    ) {
        self.ledger.in_flows += 1;
        let Packet { at, wire_length, .. } = *packet;
        let sighting = Sighting { at, interface, wire_length, headers };
        self.table.push(&sighting, &mut Out { log: &mut self.log, known });
    }

    /// Counts a packet that somebody else has taken apart.
    #[cfg(all(feature = "capture", feature = "ebpf"))]
    pub(super) fn count_one(&mut self, sighting: Sighting, known: &impl Complete) {
        self.ledger.in_flows += 1;
        self.ledger.bytes += u64::from(sighting.wire_length);
        self.table.push(&sighting, &mut Out { log: &mut self.log, known });
    }

    /// Counts packets of which only sums are known.
    #[cfg(all(feature = "capture", feature = "ebpf"))]
    pub(super) fn count_sums(&mut self, sums: &Sums, known: &impl Complete) {
        self.ledger.in_flows += sums.packets.iter().sum::<u64>();
        self.ledger.bytes += sums.bytes.iter().sum::<u64>();
        self.table.push_sums(sums, &mut Out { log: &mut self.log, known });
    }

    /// Counts a packet that the filter did not match.
    pub(super) fn filter_out(&mut self, packet: &Packet<'_>) {
        self.ledger.filtered += 1;
        self.ledger.bytes += u64::from(packet.wire_length);
    }

    /// Has all that was taken count, time go on to `now`, if that is not told by packets alone, and
    /// what is due be logged.
    pub(super) fn settle(&mut self, now: Option<Timestamp>, known: &impl Complete) {
        self.table.settle(now, &mut Out { log: &mut self.log, known });
        self.log.tick(Instant::now());
    }

    /// Ends and logs all conversations.
    pub(super) fn finish(&mut self, known: &impl Complete) -> anyhow::Result<()> {
        self.log.expect_the_last();
        self.table.finish(&mut Out { log: &mut self.log, known })
    }

    /// What became of the packets so far.
    pub(super) fn ledger(&self) -> &PacketLedger {
        &self.ledger
    }

    /// The same, to say what others know of them.
    #[cfg(feature = "capture")]
    pub(super) fn ledger_mut(&mut self) -> &mut PacketLedger {
        &mut self.ledger
    }

    /// What the table has done so far.
    pub(super) fn usage(&self) -> Usage {
        let usage = self.table.usage();
        let unmatched_fragments = usage.unmatched_fragments + self.ledger.unmatched_fragments;
        Usage { unmatched_fragments, ..usage }
    }

    /// Where conversations are logged.
    pub(super) fn log(&self) -> &FlowLog {
        &self.log
    }

    /// The same, to end it.
    pub(super) fn log_mut(&mut self) -> &mut FlowLog {
        &mut self.log
    }
}

/// Packets of a file.
impl TakeHeads for Conversations {
    #[expect(clippy::inline_always, reason = "so that the headers stay in registers")]
    #[inline(always)]
    fn take_head(&mut self, packet: &Packet<'_>) -> bool {
        let Some(headers) = decode_common(packet, self.tunnels) else {
            return self.take_other_head(packet);
        };
        self.ledger.bytes += u64::from(packet.wire_length);
        self.push(packet, 0, headers, &Nobody);
        true
    }

    #[inline(never)]
    fn take_whole(&mut self, packet: &Packet<'_>) {
        self.take(packet, 0, &Nobody);
    }
}
