//! A table on a thread of its own.

use std::{
    io, mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
};

use anyhow::bail;
use netglass_flow::{EndedFlow, FlowRoom, FlowTable, KeyedPackets, Recorder, Usage};
use netglass_model::FlowRecord;
use netglass_store::flow_log::append_json;

use super::{After, Out, Writers, add_to};

/// How many packets are given to the thread together.
pub(super) const PARCEL: usize = 1024;
/// How many parcels there are: who brings packets waits while the thread has all of them.
const PARCELS: usize = 32;
/// How many of them come back together, unless there is nothing else to do: whoever waits for one is
/// woken once for several.
const TOGETHER: usize = PARCELS / 4;
/// How many conversations that have ended are passed on together.
const ENDED: usize = 1024;
/// How many answers wait where both threads write: if there are more, the one that takes them has enough
/// to do.
const ENOUGH: usize = 2;
/// For how many conversations more there is memory.
const SPARE: usize = 4 * FlowRoom::FLOWS;
/// Bytes of a record as JSON, about.
const JSON: usize = 448;

/// A table on a thread of its own, as whoever brings packets sees it.
pub(super) struct Apart {
    /// None when there is nothing more to add.
    parcels: Option<SyncSender<Parcel>>,
    thread: Option<JoinHandle<()>>,
    answers: Receiver<Answer>,
    /// Whether it waits for an answer.
    waits: Arc<AtomicBool>,
    /// Parcels that are not under way.
    empty: Vec<Parcel>,
    /// For conversations that have ended.
    rooms: Vec<Vec<EndedFlow>>,
    usage: Usage,
    /// For how many conversations the table has memory, or will have with what is under way.
    room: usize,
}

/// What a table is to do.
struct Parcel {
    packets: KeyedPackets,
    after: After,
    /// For some of those that will have ended, rather than other memory.
    room: Option<Vec<EndedFlow>>,
    /// For more conversations.
    more: Option<FlowRoom>,
}

/// What it has done.
struct Answer {
    ended: Ended,
    /// Parcels that are done with.
    empty: Vec<Parcel>,
    usage: Usage,
}

/// Conversations that have ended.
enum Ended {
    Flows(Vec<EndedFlow>),
    Records { records: Vec<FlowRecord>, json: Vec<u8> },
}

impl Parcel {
    fn new() -> Self {
        let packets = KeyedPackets::with_room_for(PARCEL);
        Self { packets, after: After::default(), room: None, more: None }
    }
}

impl Apart {
    pub(super) fn start(table: FlowTable, writers: Writers) -> io::Result<Self> {
        let (parcels, to_do) = sync_channel(PARCELS);
        let (answers, done) = sync_channel(match writers {
            Writers::One => PARCELS,
            Writers::Both(_) => ENOUGH,
        });
        let waits = Arc::new(AtomicBool::new(false));
        let answering = Answering::new(answers, Arc::clone(&waits), writers);
        let work = move || work(table, &to_do, answering);
        Ok(Self {
            parcels: Some(parcels),
            thread: Some(thread::Builder::new().name("flows".to_owned()).spawn(work)?),
            answers: done,
            waits,
            empty: (0..PARCELS).map(|_| Parcel::new()).collect(),
            rooms: Vec::new(),
            usage: Usage::default(),
            room: 0,
        })
    }

    /// Has packets counted, which are forgotten, and what came after them.
    pub(super) fn add(
        &mut self,
        packets: &mut KeyedPackets,
        after: After,
        recorder: &mut Recorder,
        out: &mut Out<'_>,
    ) {
        self.take_some(recorder, out);
        let empty = self.empty_one(recorder, out);
        let packets = mem::replace(packets, empty.packets);
        let room = self.rooms.pop();
        let more = self.more();
        if let Some(parcels) = &self.parcels {
            // When its thread has ended too soon, the end tells.
            let _ = parcels.send(Parcel { packets, after, room, more });
        }
    }

    /// Memory for more conversations if the table will soon have need of it: its thread has more to do.
    fn more(&mut self) -> Option<FlowRoom> {
        self.room = self.room.max(self.usage.room);
        let is_needed = self.room < self.usage.flows + SPARE;
        is_needed.then(|| {
            self.room += FlowRoom::FLOWS;
            FlowRoom::new()
        })
    }

    /// A parcel that is not under way. There is room for all parcels on their way, so only here one is waited
    /// for.
    fn empty_one(&mut self, recorder: &mut Recorder, out: &mut Out<'_>) -> Parcel {
        loop {
            if let Some(empty) = self.empty.pop() {
                return empty;
            }
            match self.answer() {
                Some(answer) => self.take(answer, recorder, out),
                None => return Parcel::new(),
            }
        }
    }

    /// Waits for an answer. None if there will not be another one.
    fn answer(&self) -> Option<Answer> {
        self.waits.store(true, Ordering::Relaxed);
        let answer = self.answers.recv().ok();
        self.waits.store(false, Ordering::Relaxed);
        answer
    }

    /// How many packets the table was given at most, of which it has not told that they were counted.
    pub(super) fn under_way(&self) -> usize {
        (PARCELS - self.empty.len().min(PARCELS)) * PARCEL
    }

    /// Takes what has been done.
    pub(super) fn take_some(&mut self, recorder: &mut Recorder, out: &mut Out<'_>) {
        while let Ok(answer) = self.answers.try_recv() {
            self.take(answer, recorder, out);
        }
    }

    /// The same when all is done.
    #[cfg(any(test, feature = "capture"))]
    pub(super) fn take_all(&mut self, recorder: &mut Recorder, out: &mut Out<'_>) {
        while self.empty.len() < PARCELS
            && let Some(answer) = self.answer()
        {
            self.take(answer, recorder, out);
        }
    }

    fn take(&mut self, answer: Answer, recorder: &mut Recorder, out: &mut Out<'_>) {
        let Answer { ended, empty, usage } = answer;
        self.usage = usage;
        self.empty.extend(empty);
        match ended {
            Ended::Flows(mut flows) => {
                for flow in &flows {
                    out.push(recorder, flow);
                }
                flows.clear();
                // More are not needed at the same time.
                if self.rooms.len() < TOGETHER && flows.capacity() > 0 {
                    self.rooms.push(flows);
                }
            }
            Ended::Records { records, json } => out.log.pass_on(records, json),
        }
    }

    /// Tells the table that nothing more comes.
    pub(super) fn begin_to_finish(&mut self) {
        self.parcels = None;
    }

    /// Takes what is left.
    pub(super) fn finish(
        &mut self,
        recorder: &mut Recorder,
        out: &mut Out<'_>,
    ) -> anyhow::Result<()> {
        self.begin_to_finish();
        while let Some(answer) = self.answer() {
            self.take(answer, recorder, out);
        }
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            bail!("the thread that puts packets together has failed: conversations are lost");
        }
        Ok(())
    }

    /// What the table had done when it told something last.
    pub(super) fn usage(&self) -> Usage {
        self.usage
    }
}

/// What the table's thread has done and not told yet.
struct Answering {
    answers: SyncSender<Answer>,
    ended: Vec<EndedFlow>,
    /// How many of those are passed on together.
    limit: usize,
    empty: Vec<Parcel>,
    rooms: Vec<Vec<EndedFlow>>,
    /// What writes records, if this thread does.
    recorder: Option<Recorder>,
    /// Whether there is more to do.
    is_behind: bool,
    /// Whether the other thread waits for what is passed on.
    is_awaited: Arc<AtomicBool>,
}

impl Answering {
    fn new(answers: SyncSender<Answer>, is_awaited: Arc<AtomicBool>, writers: Writers) -> Self {
        let (limit, recorder) = match writers {
            Writers::One => (ENDED, None),
            Writers::Both(together) => (together.clamp(1, ENDED), Some(Recorder::new())),
        };
        let ended = Vec::with_capacity(limit);
        let (empty, rooms) = (Vec::with_capacity(TOGETHER), Vec::new());
        Self { answers, ended, limit, empty, rooms, recorder, is_behind: false, is_awaited }
    }

    fn end(&mut self, flow: EndedFlow, usage: Usage) {
        self.ended.push(flow);
        if self.ended.len() == self.limit {
            self.pass_on(usage);
        }
    }

    /// Passes on conversations, written by whoever has time for that.
    fn pass_on(&mut self, usage: Usage) {
        let mut answer = self.answer(usage);
        if self.is_behind || self.is_awaited.load(Ordering::Relaxed) {
            match self.answers.try_send(answer) {
                Err(TrySendError::Full(full)) => answer = full,
                // Who does not take them any more does not want them.
                Ok(()) | Err(TrySendError::Disconnected(_)) => return,
            }
        }
        answer.ended = self.written(answer.ended);
        let _ = self.answers.send(answer);
    }

    /// Passes on all.
    fn flush(&mut self, usage: Usage) {
        if !self.ended.is_empty() || !self.empty.is_empty() {
            let answer = self.answer(usage);
            let _ = self.answers.send(answer);
        }
    }

    /// Gives parcels back.
    fn give_back(&mut self, usage: Usage) {
        if !self.empty.is_empty() {
            let empty = mem::replace(&mut self.empty, Vec::with_capacity(TOGETHER));
            let _ = self.answers.send(Answer { ended: Ended::Flows(Vec::new()), empty, usage });
        }
    }

    fn answer(&mut self, usage: Usage) -> Answer {
        let room = self.rooms.pop().unwrap_or_else(|| Vec::with_capacity(self.limit));
        let ended = Ended::Flows(mem::replace(&mut self.ended, room));
        Answer { ended, empty: mem::replace(&mut self.empty, Vec::with_capacity(TOGETHER)), usage }
    }

    /// Conversations with their records written, if this thread does that.
    fn written(&mut self, ended: Ended) -> Ended {
        let (recorder, mut flows) = match (&mut self.recorder, ended) {
            (Some(recorder), Ended::Flows(flows)) => (recorder, flows),
            (_, ended) => return ended,
        };
        let records: Vec<_> = flows.iter().map(|flow| recorder.record(flow)).collect();
        let mut json = Vec::with_capacity(records.len() * JSON);
        append_json(&records, &mut json);
        flows.clear();
        self.rooms.push(flows);
        Ended::Records { records, json }
    }
}

/// What the thread of a table does.
fn work(mut table: FlowTable, to_do: &Receiver<Parcel>, mut answering: Answering) {
    loop {
        let usage = table.usage();
        let waiting = to_do.try_recv();
        answering.is_behind = waiting.is_ok();
        let parcel = waiting.or_else(|_| {
            answering.give_back(usage);
            to_do.recv()
        });
        let Ok(mut parcel) = parcel else { break };
        answering.rooms.extend(parcel.room.take());
        if let Some(more) = parcel.more.take() {
            table.take_room(more);
        }
        let after = mem::take(&mut parcel.after);
        let settles = after.settles;
        let mut ended = |flow| answering.end(flow, usage);
        add_to(&mut table, &mut parcel.packets, after, &mut ended);
        answering.empty.push(parcel);
        if settles {
            answering.flush(table.usage());
        } else if answering.empty.len() >= TOGETHER {
            answering.give_back(table.usage());
        }
    }
    answering.is_behind = false;
    let usage = table.usage();
    table.finish(&mut |flow| answering.end(flow, usage));
    // So that the last usage is told, too.
    answering.empty.push(Parcel::new());
    answering.flush(table.usage());
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use netglass_flow::{Settings, Sighting};
    use netglass_model::{IpProtocol, Timestamp};
    use netglass_packet::Headers;

    use super::*;

    /// Conversations of one packet each that have ended.
    fn ended(count: u16) -> Vec<EndedFlow> {
        let mut table = FlowTable::new(Settings::default());
        let mut all = Vec::new();
        for port in 0..count {
            let sighting = Sighting {
                at: Timestamp::MIN,
                interface: 0,
                wire_length: 60,
                headers: Headers {
                    source: Ipv6Addr::LOCALHOST.into(),
                    destination: Ipv6Addr::UNSPECIFIED.into(),
                    protocol: IpProtocol::UDP,
                    source_port: port,
                    destination_port: 53,
                    fragment: None,
                    tcp: None,
                },
            };
            table.add(&[sighting], &mut |flow| all.push(flow));
        }
        table.finish(&mut |flow| all.push(flow));
        all
    }

    #[test]
    fn records_are_written_here_unless_the_other_thread_has_more_time() {
        let (answers, done) = sync_channel(4);
        let is_awaited = Arc::new(AtomicBool::new(false));
        let mut answering = Answering::new(answers, Arc::clone(&is_awaited), Writers::Both(10));
        let times = [(false, false), (true, false), (false, true), (false, false)];
        for ((behind, awaited), flow) in times.into_iter().flat_map(|it| [it; 10]).zip(ended(40)) {
            answering.is_behind = behind;
            is_awaited.store(awaited, Ordering::Relaxed);
            answering.end(flow, Usage::default());
        }
        drop(answering);
        let written: Vec<_> = done
            .iter()
            .map(|answer| match answer.ended {
                Ended::Flows(flows) => (flows.len(), 0),
                Ended::Records { records, json } => {
                    (records.len(), json.split_inclusive(|&byte| byte == b'\n').count())
                }
            })
            .collect();
        assert_eq!(written, [(10, 10), (10, 0), (10, 0), (10, 10)]);
    }
}
