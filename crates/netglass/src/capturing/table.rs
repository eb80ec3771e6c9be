//! The table of conversations, on the thread that brings packets, and another one on a thread of its own.

mod apart;

use std::io;
#[cfg(any(test, feature = "capture"))]
use std::sync::Arc;

use netglass_flow::{
    EndedFlow, FlowTable, KeyedPackets, Keying, Recorder, Settings, Sighting, Sums, Usage,
};
use netglass_model::Timestamp;
use netglass_store::flow_log::FlowLog;

use self::apart::{Apart, PARCEL};
use super::conversations::Complete;

/// How many packets are put into the table together.
const BATCH: usize = 256;
/// How many parts of all conversations there are.
const PARTS: u16 = 256;
/// How many of them are in the table here if there is another one, whose thread does not read packets.
const FIRST: u16 = 48;
/// How often another thread is looked after while the last conversations end.
const LOOKED_AFTER: usize = 256;

/// Puts packets together into conversations, and passes on those that have ended.
pub(super) struct Table {
    here: FlowTable,
    apart: Option<Apart>,
    /// How many parts of all conversations are here.
    parts: u16,
    max_flows: usize,
    keying: Keying,
    recorder: Recorder,
    /// Those for the table here, and those for the other one.
    packets: [KeyedPackets; 2],
}

/// Which of two tables.
#[derive(Debug, Clone, Copy)]
enum Which {
    Here,
    Apart,
}

/// Who writes the records of conversations when there are two threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writers {
    /// The thread that brings packets, which knows more of conversations than packets tell.
    One,
    /// Both threads, whichever has time, as JSON and so many together.
    Both(usize),
}

impl Table {
    /// With two `threads`, the other one has a table, too.
    pub(super) fn new(settings: Settings, threads: u8, writers: Writers) -> io::Result<Self> {
        let here = FlowTable::new(settings);
        let apart = match threads {
            0 | 1 => None,
            _ => Some(Apart::start(here.sibling(), writers)?),
        };
        Ok(Self {
            keying: here.keying(),
            parts: if apart.is_some() { FIRST } else { PARTS },
            max_flows: settings.max_flows,
            recorder: Recorder::new(),
            packets: [BATCH, PARCEL].map(KeyedPackets::with_room_for),
            here,
            apart,
        })
    }

    /// Has the records of what is seen on an interface from then on tell its name.
    #[cfg(any(test, feature = "capture"))]
    pub(super) fn name_interface(&mut self, interface: u16, name: Arc<str>, out: &mut Out<'_>) {
        self.settle(None, out);
        let Self { apart, recorder, .. } = self;
        if let Some(apart) = apart {
            apart.take_all(recorder, out);
        }
        recorder.name_interface(interface, name);
    }

    /// Counts a packet, at the latest with the next call of [`Table::settle`].
    #[expect(
        clippy::inline_always,
        reason = "so that what is known of a packet stays in registers"
    )]
    #[inline(always)]
    pub(super) fn push(&mut self, sighting: &Sighting, out: &mut Out<'_>) {
        if self.apart.is_some() {
            return self.push_to_either(sighting, out);
        }
        let [packets, _] = &mut self.packets;
        packets.push(self.keying.key(sighting));
        if packets.len() == BATCH {
            self.add(Which::Here, After::default(), out);
        }
    }

    /// The same where there are two tables.
    #[expect(
        clippy::inline_always,
        reason = "so that what is known of a packet stays in registers"
    )]
    #[inline(always)]
    fn push_to_either(&mut self, sighting: &Sighting, out: &mut Out<'_>) {
        let packet = self.keying.key(sighting);
        // Which one it is could not be foreseen, so it is no branch.
        let which = usize::from(u16::from(packet.part()) >= self.parts);
        let packets = &mut self.packets[which];
        packets.push(packet);
        if packets.len() == [BATCH, PARCEL][which] {
            self.add([Which::Here, Which::Apart][which], After::default(), out);
        }
    }

    /// Counts packets of which only sums are known.
    #[cfg(all(feature = "capture", feature = "ebpf"))]
    pub(super) fn push_sums(&mut self, sums: &Sums, out: &mut Out<'_>) {
        // Before it is known which table theirs is.
        self.leave_room(out);
        let is_here = u16::from(self.here.part(sums)) < self.parts;
        let which = if is_here { Which::Here } else { Which::Apart };
        self.add(which, After { sums: Some(*sums), ..After::default() }, out);
    }

    /// Has all packets count, and time go on to `now`. What has ended by then is logged, what the other
    /// thread's table has of it with one of the next calls.
    pub(super) fn settle(&mut self, now: Option<Timestamp>, out: &mut Out<'_>) {
        // Packets that the other table was given tell the time, too.
        let now = match (now, &self.apart) {
            (None, None) => None,
            (now, _) => now.max(Some(self.keying.latest())),
        };
        let after = || After { now, settles: true, ..After::default() };
        self.add(Which::Here, after(), out);
        if self.apart.is_some() {
            self.add(Which::Apart, after(), out);
        }
    }

    /// Ends and logs all conversations.
    pub(super) fn finish(&mut self, out: &mut Out<'_>) -> anyhow::Result<()> {
        self.settle(None, out);
        let Self { here, apart, recorder, .. } = self;
        let Some(apart) = apart else {
            here.finish(&mut |flow| out.push(recorder, &flow));
            return Ok(());
        };
        apart.begin_to_finish();
        let mut ended = 0_usize;
        here.finish(&mut |flow| {
            out.push(recorder, &flow);
            ended += 1;
            if ended.is_multiple_of(LOOKED_AFTER) {
                apart.take_some(recorder, out);
            }
        });
        apart.finish(recorder, out)
    }

    /// What the table has done so far, as far as is known here.
    pub(super) fn usage(&self) -> Usage {
        let here = self.here.usage();
        let apart = self.apart.as_ref().map_or_else(Usage::default, Apart::usage);
        Usage {
            flows: here.flows + apart.flows,
            room: here.room + apart.room,
            evicted: here.evicted + apart.evicted,
            unmatched_fragments: self.keying.unmatched_fragments(),
        }
    }

    #[inline(never)]
    fn add(&mut self, which: Which, after: After, out: &mut Out<'_>) {
        self.leave_room(out);
        let Self { here, apart, recorder, packets: [of_here, of_apart], .. } = self;
        match (which, apart) {
            (Which::Apart, Some(apart)) => apart.add(of_apart, after, recorder, out),
            _ => add_to(here, of_here, after, &mut |flow| out.push(recorder, &flow)),
        }
    }

    /// Has all conversations be in one table before there may be as many as there can be at most: who is to
    /// make way is the same then as with one thread.
    fn leave_room(&mut self, out: &mut Out<'_>) {
        let Self { here, apart, recorder, packets: [of_here, of_apart], .. } = self;
        let Some(apart) = apart.as_mut().filter(|_| self.parts > 0) else { return };
        let flows = here.usage().flows + apart.usage().flows;
        // Each packet that is on its way may begin another one.
        let upcoming = of_here.len() + of_apart.len() + apart.under_way();
        if flows + upcoming < self.max_flows {
            return;
        }
        self.parts = 0;
        add_to(here, of_here, After::default(), &mut |flow| out.push(recorder, &flow));
        let sibling = here.sibling();
        let absorbed = Some(Box::new(std::mem::replace(here, sibling)));
        apart.add(of_apart, After { absorbed, ..After::default() }, recorder, out);
    }
}

/// What comes after packets.
#[derive(Debug, Default)]
struct After {
    /// Packets of which only sums are known.
    sums: Option<Sums>,
    /// When nothing else had come.
    now: Option<Timestamp>,
    /// All flows of another table.
    absorbed: Option<Box<FlowTable>>,
    /// Whether what has ended by then is not kept until more has.
    settles: bool,
}

/// Counts packets, which are forgotten, and what came after them.
fn add_to(
    table: &mut FlowTable,
    packets: &mut KeyedPackets,
    after: After,
    ended: &mut dyn FnMut(EndedFlow),
) {
    table.add_keyed(packets.as_slice(), ended);
    packets.clear();
    if let Some(sums) = &after.sums {
        table.add_sums(sums, ended);
    }
    if let Some(now) = after.now {
        table.advance(now, ended);
    }
    if let Some(absorbed) = after.absorbed {
        table.absorb(*absorbed);
    }
}

/// Where records go.
pub(super) struct Out<'a> {
    pub(super) log: &'a mut FlowLog,
    pub(super) known: &'a dyn Complete,
}

impl Out<'_> {
    /// Logs a conversation that has ended.
    fn push(&mut self, recorder: &mut Recorder, flow: &EndedFlow) {
        self.log.push(recorder.record(flow), |record| self.known.complete(record));
    }
}

#[cfg(test)]
mod tests {
    use std::{mem, net::Ipv4Addr, sync::Mutex};

    use netglass_model::{FlowRecord, IpProtocol};
    use netglass_packet::Headers;
    use netglass_store::flow_log::{
        BatchLimits, FlowBatch, FlowOutput, FlowSink, SinkError, append_json,
    };

    use super::*;
    use crate::capturing::conversations::Nobody;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<FlowRecord>>>);

    impl FlowSink for Memory {
        fn write(&mut self, batch: &FlowBatch) -> Result<(), SinkError> {
            if let Some(json) = &batch.json {
                let mut wanted = Vec::new();
                append_json(&batch.records, &mut wanted);
                assert!(*json == wanted);
            }
            self.0.lock().unwrap().extend_from_slice(&batch.records);
            Ok(())
        }

        fn takes_json(&self) -> bool {
            true
        }
    }

    fn sighting(number: u32) -> Sighting {
        Sighting {
            at: Timestamp::from_nanoseconds(number.into()),
            interface: 0,
            wire_length: 60,
            headers: Headers {
                source: Ipv4Addr::from_bits(number / 2).into(),
                destination: Ipv4Addr::BROADCAST.into(),
                protocol: IpProtocol::UDP,
                source_port: 1,
                destination_port: 2,
                fragment: None,
                tcp: None,
            },
        }
    }

    const ALL: usize = 50_000;
    const FEW: usize = 10_000;

    /// What is logged of 100,000 packets of 50,000 conversations, of which all but `max_flows` make way for
    /// others. The last ones are of an interface with a name, if only one thread writes.
    fn logged(threads: u8, writers: Writers, max_flows: usize) -> Vec<FlowRecord> {
        let memory = Memory::default();
        let output = FlowOutput::direct(Box::new(memory.clone()), "memory".to_owned(), 1 << 20);
        let mut log = FlowLog::new(BatchLimits::default(), vec![output]);
        let mut out = Out { log: &mut log, known: &Nobody };
        let settings = Settings { max_flows, ..Settings::default() };
        let mut table = Table::new(settings, threads, writers).unwrap();
        for number in 0..100_000_u32 {
            if number == 70_000 && writers == Writers::One {
                table.name_interface(0, "eth0".into(), &mut out);
            }
            table.push(&sighting(number), &mut out);
            if number % 30_000 == 0 {
                table.settle(None, &mut out);
            }
        }
        table.finish(&mut out).unwrap();
        let evicted = (ALL - max_flows) as u64;
        let usage = table.usage();
        assert_eq!((usage.flows, usage.evicted, usage.unmatched_fragments), (0, evicted, 0));
        log.finish(std::time::Duration::ZERO);
        let mut records = mem::take(&mut *memory.0.lock().unwrap());
        records.sort_unstable_by_key(|record| record.source);
        for record in &mut records {
            // Each is another one.
            let _ = mem::take(&mut record.id);
        }
        records
    }

    #[test]
    fn two_threads_log_what_one_logs() {
        for (max_flows, have_a_name) in [(FEW, ALL / 2), (ALL, ALL)] {
            let records = logged(1, Writers::One, max_flows);
            assert_eq!(records.iter().map(|record| record.source_packets).sum::<u64>(), 100_000);
            let named = records.iter().filter(|record| record.interface.is_some()).count();
            assert_eq!((records.len(), named), (ALL, have_a_name));
            assert!(logged(2, Writers::One, max_flows) == records, "{max_flows}");
        }
    }

    #[test]
    fn both_threads_write_what_one_writes() {
        for max_flows in [FEW, ALL] {
            let records = logged(1, Writers::Both(1024), max_flows);
            assert_eq!(records.iter().map(|record| record.source_packets).sum::<u64>(), 100_000);
            for together in [1, 300, 1024, 1_000_000] {
                let both = logged(2, Writers::Both(together), max_flows);
                assert!(both == records, "{max_flows}, {together}");
            }
        }
    }

    #[cfg(all(feature = "capture", feature = "ebpf"))]
    #[test]
    fn sums_are_of_one_conversation_while_the_tables_become_one() {
        for _ in 0..64 {
            let memory = Memory::default();
            let output = FlowOutput::direct(Box::new(memory.clone()), "memory".to_owned(), 1 << 20);
            let mut log = FlowLog::new(BatchLimits::default(), vec![output]);
            let mut out = Out { log: &mut log, known: &Nobody };
            let settings = Settings { max_flows: 10, ..Settings::default() };
            let mut table = Table::new(settings, 2, Writers::One).unwrap();
            for number in 0..40 {
                // Two of one conversation, with one of another one between them.
                let flow = number / 4 * 2 + number % 2;
                let Sighting { at, interface, headers, .. } = sighting(2 * flow);
                let sums = Sums {
                    from: at,
                    to: at,
                    interface,
                    headers,
                    packets: [1, 0],
                    bytes: [60, 0],
                    flags: [0; 2],
                    data: true,
                };
                table.push_sums(&sums, &mut out);
            }
            assert_eq!(table.parts, 0);
            table.finish(&mut out).unwrap();
            log.finish(std::time::Duration::ZERO);
            let records = mem::take(&mut *memory.0.lock().unwrap());
            let packets: Vec<_> = records.iter().map(|record| record.source_packets).collect();
            assert_eq!(packets, [2; 20]);
        }
    }
}
