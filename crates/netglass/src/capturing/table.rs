//! The table of conversations: on the thread that brings packets, or on one of its own.

#[cfg(any(test, feature = "capture"))]
use std::sync::Arc;
use std::{
    io, mem,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, JoinHandle},
    time::Instant,
};

use anyhow::bail;
use netglass_flow::{
    EndedFlow, FlowTable, KeyedPackets, Keying, Recorder, Settings, Sighting, Sums, Usage,
};
use netglass_model::{FlowRecord, Timestamp};
use netglass_store::flow_log::FlowLog;

use super::conversations::Complete;

/// How many packets are put into the table together.
const BATCH: usize = 256;
/// How many are given to another thread together.
const PARCEL: usize = 1024;
/// How many parcels there are: who brings packets waits while the other thread has all of them.
const PARCELS: usize = 32;
/// How many of them come back together, unless there is nothing else to do: whoever waits for one is
/// woken once for several.
const TOGETHER: usize = PARCELS / 4;
/// How many records are logged together, and how many conversations that have ended another thread
/// passes on together.
const RECORDS: usize = 1024;

/// Puts packets together into conversations, and passes on those that have ended.
pub(super) struct Table {
    place: Place,
    keying: Keying,
    recorder: Recorder,
    packets: KeyedPackets,
    /// How many of them are added together.
    batch: usize,
    records: Vec<FlowRecord>,
}

enum Place {
    Here(Box<FlowTable>),
    Apart(Apart),
}

/// A table on a thread of its own.
struct Apart {
    /// None when there is nothing more to add.
    parcels: Option<SyncSender<Parcel>>,
    thread: Option<JoinHandle<()>>,
    answers: Receiver<Answer>,
    /// Parcels that are not under way.
    empty: Vec<Parcel>,
    /// For conversations that have ended.
    rooms: Vec<Vec<EndedFlow>>,
    usage: Usage,
}

/// What a table is to do.
struct Parcel {
    packets: KeyedPackets,
    /// What came after them.
    sums: Option<Sums>,
    now: Option<Timestamp>,
    /// For some of those that will have ended, rather than other memory.
    room: Option<Vec<EndedFlow>>,
}

/// What it has done.
struct Answer {
    ended: Vec<EndedFlow>,
    /// Parcels that are done with.
    empty: Vec<Parcel>,
    usage: Usage,
}

impl Table {
    /// With two `threads`, the table is on another one.
    pub(super) fn new(settings: Settings, threads: u8) -> io::Result<Self> {
        let table = Box::new(FlowTable::new(settings));
        let keying = table.keying();
        let (place, batch) = match threads {
            0 | 1 => (Place::Here(table), BATCH),
            _ => (Place::Apart(Apart::start(table)?), PARCEL),
        };
        let packets = KeyedPackets::with_room_for(batch);
        let (recorder, records) = (Recorder::new(), Vec::with_capacity(RECORDS));
        Ok(Self { place, keying, recorder, packets, batch, records })
    }

    /// Has the records of what is seen on an interface from then on tell its name.
    #[cfg(any(test, feature = "capture"))]
    pub(super) fn name_interface(&mut self, interface: u16, name: Arc<str>, out: &mut Out<'_>) {
        self.add(None, None, out);
        let Self { place, recorder, records, .. } = self;
        if let Place::Apart(apart) = place {
            apart.take_all(&mut |flow| out.push(records, recorder, flow));
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
            self.add(None, None, out);
        }
    }

    /// Counts packets of which only sums are known.
    #[cfg(all(feature = "capture", feature = "ebpf"))]
    pub(super) fn push_sums(&mut self, sums: &Sums, out: &mut Out<'_>) {
        self.add(Some(*sums), None, out);
    }

    /// Has all packets count, and time go on to `now`. What has ended by then is logged, by another
    /// thread's table with one of the next calls.
    pub(super) fn settle(&mut self, now: Option<Timestamp>, out: &mut Out<'_>) {
        self.add(None, now, out);
        let Self { place, recorder, records, .. } = self;
        if let Place::Apart(apart) = place {
            apart.take_some(&mut |flow| out.push(records, recorder, flow));
        }
        out.log.add(records, Instant::now());
    }

    /// Ends and logs all conversations.
    pub(super) fn finish(&mut self, out: &mut Out<'_>) -> anyhow::Result<()> {
        self.add(None, None, out);
        let Self { place, recorder, records, .. } = self;
        let finished = match place {
            Place::Here(table) => {
                table.finish(&mut |flow| out.push(records, recorder, &flow));
                Ok(())
            }
            Place::Apart(apart) => apart.finish(&mut |flow| out.push(records, recorder, flow)),
        };
        out.log.add(records, Instant::now());
        finished
    }

    /// What the table has done so far, as far as is known here.
    pub(super) fn usage(&self) -> Usage {
        let usage = match &self.place {
            Place::Here(table) => table.usage(),
            Place::Apart(apart) => apart.usage,
        };
        let unmatched_fragments = usage.unmatched_fragments + self.keying.unmatched_fragments();
        Usage { unmatched_fragments, ..usage }
    }

    #[inline(never)]
    fn add(&mut self, sums: Option<Sums>, now: Option<Timestamp>, out: &mut Out<'_>) {
        let Self { place, recorder, packets, records, .. } = self;
        match place {
            Place::Here(table) => {
                let mut ended = |flow: EndedFlow| out.push(records, recorder, &flow);
                add_to(table, packets, sums, now, &mut ended);
            }
            Place::Apart(apart) => {
                let empty = apart.empty_one(&mut |flow| out.push(records, recorder, flow));
                let packets = mem::replace(packets, empty.packets);
                apart.send(packets, sums, now);
            }
        }
    }
}

/// Counts packets, which are forgotten, and what came after them.
fn add_to(
    table: &mut FlowTable,
    packets: &mut KeyedPackets,
    sums: Option<Sums>,
    now: Option<Timestamp>,
    ended: &mut dyn FnMut(EndedFlow),
) {
    table.add_keyed(packets.as_slice(), ended);
    packets.clear();
    if let Some(sums) = sums {
        table.add_sums(&sums, ended);
    }
    if let Some(now) = now {
        table.advance(now, ended);
    }
}

/// Where records go.
pub(super) struct Out<'a> {
    pub(super) log: &'a mut FlowLog,
    pub(super) known: &'a dyn Complete,
}

impl Out<'_> {
    /// Keeps the record of a conversation that has ended, and logs all if they are many. It is made where it
    /// is kept: to move it takes about as long.
    fn push(&mut self, records: &mut Vec<FlowRecord>, recorder: &mut Recorder, flow: &EndedFlow) {
        records.push(recorder.record(flow));
        if let Some(record) = records.last_mut() {
            self.known.complete(record);
        }
        if records.len() == RECORDS {
            self.log.add(records, Instant::now());
            records.reserve_exact(RECORDS);
        }
    }
}

impl Parcel {
    fn new() -> Self {
        Self { packets: KeyedPackets::with_room_for(PARCEL), sums: None, now: None, room: None }
    }
}

impl Apart {
    fn start(table: Box<FlowTable>) -> io::Result<Self> {
        let (parcels, to_do) = sync_channel(PARCELS);
        let (answers, done) = sync_channel(PARCELS);
        let (empty, rooms) = (Vec::with_capacity(TOGETHER), Vec::new());
        let answering = Answering { answers, ended: Vec::with_capacity(RECORDS), empty, rooms };
        let work = move || work(*table, &to_do, answering);
        Ok(Self {
            parcels: Some(parcels),
            thread: Some(thread::Builder::new().name("flows".to_owned()).spawn(work)?),
            answers: done,
            empty: (0..PARCELS).map(|_| Parcel::new()).collect(),
            rooms: Vec::new(),
            usage: Usage::default(),
        })
    }

    /// A parcel that is not under way. There is room for all parcels on their way, so only here one is waited
    /// for.
    fn empty_one(&mut self, ended: &mut dyn FnMut(&EndedFlow)) -> Parcel {
        loop {
            if let Some(empty) = self.empty.pop() {
                return empty;
            }
            match self.answers.recv() {
                Ok(answer) => self.take(answer, ended),
                Err(_) => return Parcel::new(),
            }
        }
    }

    fn send(&mut self, packets: KeyedPackets, sums: Option<Sums>, now: Option<Timestamp>) {
        let room = self.rooms.pop();
        if let Some(parcels) = &self.parcels {
            // When its thread has ended too soon, the end tells.
            let _ = parcels.send(Parcel { packets, sums, now, room });
        }
    }

    /// Takes what has been done.
    fn take_some(&mut self, ended: &mut dyn FnMut(&EndedFlow)) {
        while let Ok(answer) = self.answers.try_recv() {
            self.take(answer, ended);
        }
    }

    /// The same when all is done.
    #[cfg(any(test, feature = "capture"))]
    fn take_all(&mut self, ended: &mut dyn FnMut(&EndedFlow)) {
        while self.empty.len() < PARCELS
            && let Ok(answer) = self.answers.recv()
        {
            self.take(answer, ended);
        }
    }

    fn take(&mut self, answer: Answer, ended: &mut dyn FnMut(&EndedFlow)) {
        let Answer { ended: mut room, empty, usage } = answer;
        self.usage = usage;
        room.iter().for_each(ended);
        room.clear();
        // More are not needed at the same time.
        if self.rooms.len() < TOGETHER {
            self.rooms.push(room);
        }
        self.empty.extend(empty);
    }

    fn finish(&mut self, ended: &mut dyn FnMut(&EndedFlow)) -> anyhow::Result<()> {
        self.parcels = None;
        while let Ok(answer) = self.answers.recv() {
            self.take(answer, ended);
        }
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            bail!("the thread that puts packets together has failed: conversations are lost");
        }
        Ok(())
    }
}

/// What a table's thread has done and not told yet.
struct Answering {
    answers: SyncSender<Answer>,
    ended: Vec<EndedFlow>,
    empty: Vec<Parcel>,
    rooms: Vec<Vec<EndedFlow>>,
}

impl Answering {
    fn end(&mut self, flow: EndedFlow, usage: Usage) {
        self.ended.push(flow);
        if self.ended.len() == RECORDS {
            self.pass_on(usage);
        }
    }

    fn pass_on(&mut self, usage: Usage) {
        if self.ended.is_empty() && self.empty.is_empty() {
            return;
        }
        let room = self.rooms.pop().unwrap_or_else(|| Vec::with_capacity(RECORDS));
        let ended = mem::replace(&mut self.ended, room);
        let empty = mem::replace(&mut self.empty, Vec::with_capacity(TOGETHER));
        // Who does not take them any more does not want them.
        let _ = self.answers.send(Answer { ended, empty, usage });
    }
}

/// What the thread of a table does.
fn work(mut table: FlowTable, to_do: &Receiver<Parcel>, mut answering: Answering) {
    loop {
        let usage = table.usage();
        let parcel = to_do.try_recv().or_else(|_| {
            answering.pass_on(usage);
            to_do.recv()
        });
        let Ok(mut parcel) = parcel else { break };
        answering.rooms.extend(parcel.room.take());
        let (sums, now) = (parcel.sums, parcel.now);
        let mut ended = |flow| answering.end(flow, usage);
        add_to(&mut table, &mut parcel.packets, sums, now, &mut ended);
        answering.empty.push(parcel);
        if answering.empty.len() == TOGETHER {
            answering.pass_on(table.usage());
        }
    }
    let usage = table.usage();
    table.finish(&mut |flow| answering.end(flow, usage));
    // So that the last usage is told, too.
    answering.empty.push(Parcel::new());
    answering.pass_on(table.usage());
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
