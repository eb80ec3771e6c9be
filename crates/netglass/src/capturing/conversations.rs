//! Packets to conversations to logs, with an account of each.

use std::{sync::Arc, time::Instant};

use netglass_flow::{FlowTable, Settings, Sighting, Usage};
use netglass_model::{FlowRecord, Timestamp};
use netglass_packet::{Headers, Packet, Tunnels, decode};
use netglass_store::flow_log::FlowLog;

use super::ledger::PacketLedger;

/// How many packets are put into the table together.
const BATCH: usize = 64;
/// How many records are passed on together.
const RECORDS: usize = 1024;

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
    table: FlowTable,
    log: FlowLog,
    interfaces: Vec<Arc<str>>,
    sightings: Vec<Sighting>,
    ended: Vec<FlowRecord>,
    ledger: PacketLedger,
}

impl Conversations {
    pub(super) fn new(settings: Settings, tunnels: Tunnels, log: FlowLog) -> Self {
        Self {
            tunnels,
            table: FlowTable::new(settings),
            log,
            interfaces: Vec::new(),
            sightings: Vec::with_capacity(BATCH),
            ended: Vec::with_capacity(RECORDS),
            ledger: PacketLedger::default(),
        }
    }

    /// Has the records of what is seen on the next interface tell its name. They are numbered from 0
    /// on.
    pub(super) fn name_interface(&mut self, name: Arc<str>) {
        if let Ok(interface) = u16::try_from(self.interfaces.len()) {
            self.table.name_interface(interface, Arc::clone(&name));
        }
        self.interfaces.push(name);
    }

    /// The name of an interface; empty if it has told none.
    pub(super) fn interface_name(&self, interface: u32) -> &str {
        self.interfaces.get(interface as usize).map_or("", |name| name)
    }

    /// Counts a packet that was seen on an interface. Its headers are returned if it is one of a
    /// conversation.
    pub(super) fn take(
        &mut self,
        packet: &Packet<'_>,
        interface: u16,
        known: &impl Complete,
    ) -> Option<Headers> {
        self.ledger.bytes += u64::from(packet.wire_length);
        match decode(packet, self.tunnels) {
            Ok(headers) => {
                self.ledger.in_flows += 1;
                let Packet { at, wire_length, .. } = *packet;
                self.sightings.push(Sighting { at, interface, wire_length, headers });
                if self.sightings.len() == BATCH {
                    self.add(known);
                }
                Some(headers)
            }
            Err(reason) => {
                self.ledger.leave_out(reason);
                None
            }
        }
    }

    /// Counts a packet that the filter did not match.
    pub(super) fn filter_out(&mut self, packet: &Packet<'_>) {
        self.ledger.filtered += 1;
        self.ledger.bytes += u64::from(packet.wire_length);
    }

    /// Has all that was taken count, time go on to `now`, if that is not told by packets alone, and
    /// what is due be logged.
    pub(super) fn settle(&mut self, now: Option<Timestamp>, known: &impl Complete) {
        self.add(known);
        if let Some(now) = now {
            let Self { table, log, ended, .. } = self;
            table.advance(now, &mut |record| pass_on(log, ended, record, known));
        }
        let instant = Instant::now();
        self.log.add(&mut self.ended, instant);
        self.log.tick(instant);
    }

    /// Ends and logs all conversations.
    pub(super) fn finish(&mut self, known: &impl Complete) {
        self.add(known);
        let Self { table, log, ended, .. } = self;
        table.finish(&mut |record| pass_on(log, ended, record, known));
        log.add(ended, Instant::now());
    }

    /// What became of the packets so far.
    pub(super) fn ledger(&self) -> &PacketLedger {
        &self.ledger
    }

    /// The same, to say what others know of them.
    pub(super) fn ledger_mut(&mut self) -> &mut PacketLedger {
        &mut self.ledger
    }

    /// What the table has done so far.
    pub(super) fn usage(&self) -> Usage {
        self.table.usage()
    }

    /// Where conversations are logged.
    pub(super) fn log(&self) -> &FlowLog {
        &self.log
    }

    /// The same, to end it.
    pub(super) fn log_mut(&mut self) -> &mut FlowLog {
        &mut self.log
    }

    fn add(&mut self, known: &impl Complete) {
        let Self { table, log, ended, sightings, .. } = self;
        table.add(sightings, &mut |record| pass_on(log, ended, record, known));
        sightings.clear();
    }
}

fn pass_on(
    log: &mut FlowLog,
    ended: &mut Vec<FlowRecord>,
    mut record: FlowRecord,
    known: &impl Complete,
) {
    known.complete(&mut record);
    ended.push(record);
    if ended.len() == RECORDS {
        log.add(ended, Instant::now());
    }
}
