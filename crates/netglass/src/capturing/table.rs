//! The table of conversations: on the thread that brings packets, or on one of its own.

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

/// Puts packets together into conversations, and passes on those that have ended.
pub(super) struct Table {
    place: Place,
    keying: Keying,
    recorder: Recorder,
    packets: KeyedPackets,
    /// How many of them are added together.
    batch: usize,
}

enum Place {
    Here(Box<FlowTable>),
    Apart(Apart),
}

/// Who writes the records of conversations when their table is on another thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writers {
    /// The thread that brings packets, which knows more of conversations than packets tell.
    One,
    /// Both threads, whichever has time, as JSON and so many together.
    Both(usize),
}

impl Table {
    /// With two `threads`, the table is on another one.
    pub(super) fn new(settings: Settings, threads: u8, writers: Writers) -> io::Result<Self> {
        let table = Box::new(FlowTable::new(settings));
        let keying = table.keying();
        let (place, batch) = match threads {
            0 | 1 => (Place::Here(table), BATCH),
            _ => (Place::Apart(Apart::start(table, writers)?), PARCEL),
        };
        let packets = KeyedPackets::with_room_for(batch);
        Ok(Self { place, keying, recorder: Recorder::new(), packets, batch })
    }

    /// Has the records of what is seen on an interface from then on tell its name.
    #[cfg(any(test, feature = "capture"))]
    pub(super) fn name_interface(&mut self, interface: u16, name: Arc<str>, out: &mut Out<'_>) {
        self.add(After { settles: true, ..After::default() }, out);
        let Self { place, recorder, .. } = self;
        if let Place::Apart(apart) = place {
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
        self.packets.push(self.keying.key(sighting));
        if self.packets.len() == self.batch {
            self.add(After::default(), out);
        }
    }

    /// Counts packets of which only sums are known.
    #[cfg(all(feature = "capture", feature = "ebpf"))]
    pub(super) fn push_sums(&mut self, sums: &Sums, out: &mut Out<'_>) {
        self.add(After { sums: Some(*sums), ..After::default() }, out);
    }

    /// Has all packets count, and time go on to `now`. What has ended by then is logged, by another
    /// thread's table with one of the next calls.
    pub(super) fn settle(&mut self, now: Option<Timestamp>, out: &mut Out<'_>) {
        self.add(After { now, settles: true, ..After::default() }, out);
    }

    /// Ends and logs all conversations.
    pub(super) fn finish(&mut self, out: &mut Out<'_>) -> anyhow::Result<()> {
        self.add(After::default(), out);
        let Self { place, recorder, .. } = self;
        match place {
            Place::Here(table) => {
                table.finish(&mut |flow| out.push(recorder, &flow));
                Ok(())
            }
            Place::Apart(apart) => apart.finish(recorder, out),
        }
    }

    /// What the table has done so far, as far as is known here.
    pub(super) fn usage(&self) -> Usage {
        let usage = match &self.place {
            Place::Here(table) => table.usage(),
            Place::Apart(apart) => apart.usage(),
        };
        let unmatched_fragments = usage.unmatched_fragments + self.keying.unmatched_fragments();
        Usage { unmatched_fragments, ..usage }
    }

    #[inline(never)]
    fn add(&mut self, after: After, out: &mut Out<'_>) {
        let Self { place, recorder, packets, .. } = self;
        match place {
            Place::Here(table) => {
                add_to(table, packets, &after, &mut |flow| out.push(recorder, &flow));
            }
            Place::Apart(apart) => apart.add(packets, after, recorder, out),
        }
    }
}

/// What comes after packets.
#[derive(Debug, Default)]
struct After {
    /// Packets of which only sums are known.
    sums: Option<Sums>,
    /// When nothing else had come.
    now: Option<Timestamp>,
    /// Whether what has ended by then is not kept until more has.
    settles: bool,
}

/// Counts packets, which are forgotten, and what came after them.
fn add_to(
    table: &mut FlowTable,
    packets: &mut KeyedPackets,
    after: &After,
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
}

/// Where records go.
pub(super) struct Out<'a> {
    pub(super) log: &'a mut FlowLog,
    pub(super) known: &'a dyn Complete,
}

impl Out<'_> {
    /// Logs a conversation that has ended.
    fn push(&mut self, recorder: &mut Recorder, flow: &EndedFlow) {
        let mut record = recorder.record(flow);
        self.known.complete(&mut record);
        self.log.push(record);
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

    /// What is logged of 100,000 packets, of whose conversations 40,000 make way for others while they come.
    /// The last ones are of an interface with a name, if only one thread writes.
    fn logged(threads: u8, writers: Writers) -> Vec<FlowRecord> {
        let memory = Memory::default();
        let output = FlowOutput::direct(Box::new(memory.clone()), "memory".to_owned(), 1 << 20);
        let mut log = FlowLog::new(BatchLimits::default(), vec![output]);
        let mut out = Out { log: &mut log, known: &Nobody };
        let settings = Settings { max_flows: 10_000, ..Settings::default() };
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
        assert_eq!(table.usage(), Usage { flows: 0, evicted: 40_000, unmatched_fragments: 0 });
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
        let records = logged(1, Writers::One);
        assert_eq!(records.iter().map(|record| record.source_packets).sum::<u64>(), 100_000);
        let named = records.iter().filter(|record| record.interface.is_some()).count();
        assert_eq!((records.len(), named), (50_000, 25_000));
        assert!(logged(2, Writers::One) == records);
    }

    #[test]
    fn both_threads_write_what_one_writes() {
        let records = logged(1, Writers::Both(1024));
        assert_eq!(records.iter().map(|record| record.source_packets).sum::<u64>(), 100_000);
        for together in [1, 300, 1024, 1_000_000] {
            assert!(logged(2, Writers::Both(together)) == records, "{together}");
        }
    }
}
