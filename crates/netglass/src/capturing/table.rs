//! The table of conversations: on the thread that brings packets, or on one of its own.

use std::{
    io, mem,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use anyhow::bail;
use netglass_flow::{FlowTable, KeyedPackets, Keying, Settings, Sighting, Sums, Usage};
use netglass_model::{FlowRecord, Timestamp};
use netglass_store::flow_log::FlowLog;

use super::conversations::Complete;

/// How many packets are put into the table together.
const BATCH: usize = 256;
/// How many are given to another thread together.
const PARCEL: usize = 1024;
/// How many parcels there are: who brings packets waits while the other thread has all of them.
const PARCELS: usize = 8;
/// How many records are passed on together.
const RECORDS: usize = 1024;

/// Puts packets together into conversations, and passes on those that have ended.
pub(super) struct Table {
    place: Place,
    keying: Keying,
    packets: KeyedPackets,
    /// How many of them are added together.
    batch: usize,
}

enum Place {
    Here { table: Box<FlowTable>, ended: Vec<FlowRecord> },
    Apart(Apart),
}

/// A table on a thread of its own.
struct Apart {
    /// None when there is nothing more to add.
    parcels: Option<SyncSender<Parcel>>,
    thread: Option<JoinHandle<()>>,
    answers: Receiver<Answer>,
    /// Parcels that are not under way.
    empty: Vec<KeyedPackets>,
    name: Option<(u16, Arc<str>)>,
    usage: Usage,
}

/// What a table is to do.
struct Parcel {
    name: Option<(u16, Arc<str>)>,
    packets: KeyedPackets,
    /// What came after them.
    sums: Option<Sums>,
    now: Option<Timestamp>,
    /// Whether to pass on what has ended even if that is little.
    settle: bool,
}

/// What it has done.
struct Answer {
    records: Vec<FlowRecord>,
    usage: Usage,
    /// The parcel that is done with.
    empty: Option<KeyedPackets>,
}

impl Table {
    /// With two `threads`, the table is on another one.
    pub(super) fn new(settings: Settings, threads: u8) -> io::Result<Self> {
        let table = Box::new(FlowTable::new(settings));
        let keying = table.keying();
        let (place, batch) = match threads {
            0 | 1 => (Place::Here { table, ended: Vec::with_capacity(RECORDS) }, BATCH),
            _ => (Place::Apart(Apart::start(table)?), PARCEL),
        };
        Ok(Self { place, keying, packets: KeyedPackets::with_room_for(batch), batch })
    }

    /// Has the records of what is seen on an interface tell its name.
    #[cfg(any(test, feature = "capture"))]
    pub(super) fn name_interface(&mut self, interface: u16, name: Arc<str>, out: &mut Out<'_>) {
        self.add(None, false, out);
        match &mut self.place {
            Place::Here { table, .. } => table.name_interface(interface, name),
            Place::Apart(apart) => {
                apart.name = Some((interface, name));
                self.add(None, true, out);
            }
        }
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
            self.add(None, false, out);
        }
    }

    /// Counts packets of which only sums are known.
    #[cfg(all(feature = "capture", feature = "ebpf"))]
    pub(super) fn push_sums(&mut self, sums: &Sums, out: &mut Out<'_>) {
        self.add_all(Some(*sums), None, false, out);
    }

    /// Has all packets count, and time go on to `now`. What has ended by then is logged, by another
    /// thread's table with the next call.
    pub(super) fn settle(&mut self, now: Option<Timestamp>, out: &mut Out<'_>) {
        self.add(now, true, out);
        if let Place::Here { ended, .. } = &mut self.place {
            out.log.add(ended, Instant::now());
        }
    }

    /// Ends and logs all conversations.
    pub(super) fn finish(&mut self, out: &mut Out<'_>) -> anyhow::Result<()> {
        self.add(None, true, out);
        match &mut self.place {
            Place::Here { table, ended } => {
                table.finish(&mut |record| out.push(ended, record));
                out.log.add(ended, Instant::now());
                Ok(())
            }
            Place::Apart(apart) => apart.finish(out),
        }
    }

    /// What the table has done so far, as far as is known here.
    pub(super) fn usage(&self) -> Usage {
        let usage = match &self.place {
            Place::Here { table, .. } => table.usage(),
            Place::Apart(apart) => apart.usage,
        };
        let unmatched_fragments = usage.unmatched_fragments + self.keying.unmatched_fragments();
        Usage { unmatched_fragments, ..usage }
    }

    #[inline(never)]
    fn add(&mut self, now: Option<Timestamp>, settle: bool, out: &mut Out<'_>) {
        self.add_all(None, now, settle, out);
    }

    fn add_all(
        &mut self,
        sums: Option<Sums>,
        now: Option<Timestamp>,
        settle: bool,
        out: &mut Out<'_>,
    ) {
        match &mut self.place {
            Place::Here { table, ended } => {
                table.add_keyed(self.packets.as_slice(), &mut |record| out.push(ended, record));
                self.packets.clear();
                if let Some(sums) = sums {
                    table.add_sums(&sums, &mut |record| out.push(ended, record));
                }
                if let Some(now) = now {
                    table.advance(now, &mut |record| out.push(ended, record));
                }
            }
            Place::Apart(apart) => {
                let empty = apart.wait_for_room(out);
                let packets = mem::replace(&mut self.packets, empty);
                let name = apart.name.take();
                if let Some(parcels) = &apart.parcels {
                    // When its thread has ended too soon, the end tells.
                    let _ = parcels.send(Parcel { name, packets, sums, now, settle });
                }
            }
        }
    }
}

/// Where records go.
pub(super) struct Out<'a> {
    pub(super) log: &'a mut FlowLog,
    pub(super) known: &'a dyn Complete,
}

impl Out<'_> {
    fn push(&mut self, records: &mut Vec<FlowRecord>, mut record: FlowRecord) {
        self.known.complete(&mut record);
        records.push(record);
        if records.len() == RECORDS {
            self.log.add(records, Instant::now());
            records.reserve_exact(RECORDS);
        }
    }
}

impl Apart {
    fn start(mut table: Box<FlowTable>) -> io::Result<Self> {
        // There is room for all parcels, so nobody waits for a table that waits to pass on records.
        let (parcels, to_do) = sync_channel::<Parcel>(PARCELS);
        let (answers, done) = sync_channel(PARCELS);
        let work = move || {
            let mut records = Vec::with_capacity(RECORDS);
            // Who does not take them any more does not want them.
            let pass_on = |records: &mut Vec<FlowRecord>, usage, empty| {
                let records = if records.is_empty() {
                    Vec::new()
                } else {
                    mem::replace(records, Vec::with_capacity(RECORDS))
                };
                let _ = answers.send(Answer { records, usage, empty });
            };
            for Parcel { name, mut packets, sums, now, settle } in to_do {
                if let Some((interface, name)) = name {
                    table.name_interface(interface, name);
                }
                let usage = table.usage();
                let mut ended = |record| {
                    records.push(record);
                    if records.len() == RECORDS {
                        pass_on(&mut records, usage, None);
                    }
                };
                table.add_keyed(packets.as_slice(), &mut ended);
                if let Some(sums) = sums {
                    table.add_sums(&sums, &mut ended);
                }
                if let Some(now) = now {
                    table.advance(now, &mut ended);
                }
                packets.clear();
                let mut nothing = Vec::new();
                let records = if settle { &mut records } else { &mut nothing };
                pass_on(records, table.usage(), Some(packets));
            }
            let usage = table.usage();
            table.finish(&mut |record| {
                records.push(record);
                if records.len() == RECORDS {
                    pass_on(&mut records, usage, None);
                }
            });
            pass_on(&mut records, table.usage(), None);
        };
        let thread = thread::Builder::new().name("flows".to_owned()).spawn(work)?;
        let empty = (1..PARCELS).map(|_| KeyedPackets::with_room_for(PARCEL)).collect();
        Ok(Self {
            parcels: Some(parcels),
            thread: Some(thread),
            answers: done,
            empty,
            name: None,
            usage: Usage::default(),
        })
    }

    /// An empty parcel. Meanwhile, records are logged.
    fn wait_for_room(&mut self, out: &mut Out<'_>) -> KeyedPackets {
        while let Ok(answer) = self.answers.try_recv() {
            self.take(answer, out);
        }
        loop {
            if let Some(empty) = self.empty.pop() {
                return empty;
            }
            match self.answers.recv() {
                Ok(answer) => self.take(answer, out),
                Err(_) => return KeyedPackets::with_room_for(PARCEL),
            }
        }
    }

    fn take(&mut self, answer: Answer, out: &mut Out<'_>) {
        let Answer { mut records, usage, empty } = answer;
        self.usage = usage;
        for record in &mut records {
            out.known.complete(record);
        }
        out.log.add(&mut records, Instant::now());
        self.empty.extend(empty);
    }

    fn finish(&mut self, out: &mut Out<'_>) -> anyhow::Result<()> {
        self.parcels = None;
        while let Ok(answer) = self.answers.recv() {
            self.take(answer, out);
        }
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            bail!("the thread that puts packets together has failed: conversations are lost");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, sync::Mutex};

    use netglass_model::IpProtocol;
    use netglass_packet::Headers;
    use netglass_store::flow_log::{BatchLimits, FlowBatch, FlowOutput, FlowSink, SinkError};

    use super::*;
    use crate::capturing::conversations::Nobody;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<FlowRecord>>>);

    impl FlowSink for Memory {
        fn write(&mut self, batch: &FlowBatch) -> Result<(), SinkError> {
            self.0.lock().unwrap().extend_from_slice(&batch.records);
            Ok(())
        }
    }

    /// What is logged of 100,000 packets, of which 40,000 make way for others while they come.
    fn logged(threads: u8) -> Vec<FlowRecord> {
        let memory = Memory::default();
        let output = FlowOutput::direct(Box::new(memory.clone()), "memory".to_owned(), 1 << 20);
        let mut log = FlowLog::new(BatchLimits::default(), vec![output]);
        let mut out = Out { log: &mut log, known: &Nobody };
        let settings = Settings { max_flows: 10_000, ..Settings::default() };
        let mut table = Table::new(settings, threads).unwrap();
        for number in 0..100_000_u32 {
            if number == 70_000 {
                table.name_interface(0, "eth0".into(), &mut out);
            }
            table.push(
                &Sighting {
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
                },
                &mut out,
            );
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
        let records = logged(1);
        assert_eq!(records.iter().map(|record| record.source_packets).sum::<u64>(), 100_000);
        let named = records.iter().filter(|record| record.interface.is_some()).count();
        assert_eq!((records.len(), named), (50_000, 25_000));
        assert!(logged(2) == records);
    }
}
