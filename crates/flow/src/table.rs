//! The flows that go on.

mod sums;

use std::{hint::black_box, sync::Arc};

use foldhash::fast::RandomState;
use netglass_model::{EndReason, FlowRecord, Timestamp};
use netglass_packet::Headers;

use crate::{
    Settings,
    flow::{Flow, NONE, Side},
    flows::Flows,
    fragments::Fragments,
    index::Index,
    key::{Key, Sender, hash},
    lingering::Lingering,
    record::{Identifiers, record},
    settings::Limits,
    tcp::Connection,
    wheel::{CHAINS, Wheel},
};

pub use self::sums::Sums;

/// One packet of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// When it was seen.
    pub at: Timestamp,
    /// The interface on which it was seen; what was seen on two of them is two flows.
    pub interface: u16,
    /// How many bytes it had on the wire.
    pub wire_length: u32,
    /// Whose it is.
    pub headers: Headers,
}

/// What a table has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// How many flows there are. One that has ended is among them a little longer: those that have are
    /// looked for once in 1/256 of the idle timeout.
    pub flows: usize,
    /// How many were written because they had to make way.
    pub evicted: u64,
    /// How many later fragments came without the first one of their datagram: they are counted in
    /// flows without ports.
    pub unmatched_fragments: u64,
}

/// The flows that go on.
///
/// Time is that of the packets. It never goes back: what comes late is counted as coming now, although
/// a record tells the times that its packets had.
///
/// Where both ends of a flow are the same address and port, all its packets are the source's.
#[derive(Debug)]
pub struct FlowTable {
    limits: Limits,
    /// The latest time of any packet, see [`moment`].
    clock: u64,
    random: RandomState,
    index: Index,
    flows: Flows,
    wheel: Wheel,
    lingering: Lingering,
    fragments: Fragments,
    identifiers: Identifiers,
    interfaces: Vec<Option<Arc<str>>>,
    batch: Vec<Prepared>,
    evicted: u64,
    unmatched_fragments: u64,
}

/// What is known of a packet before its flow is looked at.
#[derive(Debug, Clone, Copy)]
struct Prepared {
    key: Key,
    sender: Sender,
    tag: u32,
    /// Where its flow most likely is.
    candidate: u32,
}

/// How many packets are looked up together: the processor then waits for memory once for several of
/// them.
const BATCH: usize = 64;

impl FlowTable {
    /// An empty one.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let limits = Limits::from(settings);
        Self {
            limits,
            clock: 0,
            random: RandomState::default(),
            index: Index::new(),
            flows: Flows::new(),
            wheel: Wheel::new(limits.idle),
            lingering: Lingering::new(limits.linger),
            fragments: Fragments::new(),
            identifiers: Identifiers::new(),
            interfaces: Vec::new(),
            batch: Vec::with_capacity(BATCH),
            evicted: 0,
            unmatched_fragments: 0,
        }
    }

    /// Has the records of flows that were seen on an interface tell its name.
    pub fn name_interface(&mut self, interface: u16, name: Arc<str>) {
        let interface = usize::from(interface);
        if self.interfaces.len() <= interface {
            self.interfaces.resize(interface + 1, None);
        }
        self.interfaces[interface] = Some(name);
    }

    /// Counts packets, in the order in which they were seen. `ended` is given the records of flows that
    /// have ended by then, one by one, as there may be as many as there are flows.
    pub fn add(&mut self, sightings: &[Sighting], ended: &mut dyn FnMut(FlowRecord)) {
        for sightings in sightings.chunks(BATCH) {
            let mut batch = std::mem::take(&mut self.batch);
            self.prepare(sightings, &mut batch);
            for (sighting, prepared) in sightings.iter().zip(&batch) {
                self.add_one(sighting, prepared, ended);
            }
            self.batch = batch;
        }
    }

    /// Has time go on to `now` without a packet.
    pub fn advance(&mut self, now: Timestamp, ended: &mut dyn FnMut(FlowRecord)) {
        self.clock = self.clock.max(moment(now));
        self.collect(ended);
    }

    /// Ends all flows that are left.
    pub fn finish(&mut self, ended: &mut dyn FnMut(FlowRecord)) {
        self.collect(ended);
        let mut next = 0;
        while let Some(place) = self.flows.next_live(next) {
            next = place + 1;
            let idle = self.flows.at(place).ends_at(&self.limits) <= self.clock;
            self.write_last(
                place,
                if idle { EndReason::Idle } else { EndReason::CaptureEnd },
                ended,
            );
            self.flows.remove(place);
        }
        self.index = Index::new();
        self.wheel = Wheel::new(self.limits.idle);
        self.lingering.clear();
    }

    /// What it has done so far.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage {
            flows: self.flows.len(),
            evicted: self.evicted,
            unmatched_fragments: self.unmatched_fragments,
        }
    }

    /// Finds out where the flows of packets are, and touches them: none of it waits for what comes
    /// before it.
    fn prepare(&mut self, sightings: &[Sighting], batch: &mut Vec<Prepared>) {
        batch.clear();
        for sighting in sightings {
            let ports = self.fragments.ports(sighting);
            self.unmatched_fragments += u64::from(ports.is_none());
            let (key, sender) = Key::of(sighting.interface, &sighting.headers, ports);
            let tag = self.tag(&key);
            batch.push(Prepared { key, sender, tag, candidate: NONE });
        }
        let mut lines = 0;
        // What is looked for is not always where it belongs. To find out with memory still on its way
        // would have the processor guess, and begin anew.
        for prepared in &*batch {
            lines ^= self.index.touch(prepared.tag);
        }
        black_box(lines);
        for prepared in &mut *batch {
            prepared.candidate = self.index.candidate(prepared.tag).unwrap_or(NONE);
        }
        for (prepared, sighting) in batch.iter().zip(sightings) {
            let Some(flow) = self.flows.get(prepared.candidate) else { continue };
            lines ^= flow.touched ^ flow.bytes[0];
            // What begins and ends connections is behind these two lines.
            if sighting.headers.tcp.as_ref().is_some_and(Connection::changes) {
                lines ^= u64::from(flow.links.next);
            }
        }
        black_box(lines);
    }

    #[inline]
    fn add_one(
        &mut self,
        sighting: &Sighting,
        prepared: &Prepared,
        ended: &mut dyn FnMut(FlowRecord),
    ) {
        self.clock = self.clock.max(moment(sighting.at));
        if self.wheel.is_due(self.clock) || self.lingering.is_due(self.clock) {
            self.collect(ended);
        }
        let place = match self.place_of(prepared) {
            Some(place) if self.takes(place, sighting, prepared, ended) => place,
            _ => self.begin(sighting, prepared, ended),
        };
        let clock = self.clock;
        let flow = self.flows.at_mut(place);
        let side = flow.side(prepared.sender);
        flow.count(side, sighting.at, clock, sighting.wire_length);
        if let Some(segment) = &sighting.headers.tcp {
            let was_over = flow.connection.is_over();
            flow.connection.add(side, segment, sighting.at);
            if flow.connection.is_over() && !was_over && self.limits.tcp_close {
                self.linger(place);
            }
        }
    }

    /// Has a flow whose connection is closed end sooner than its place in the wheel says.
    fn linger(&mut self, place: u32) {
        // Those that were followed by another connection are still there.
        if self.lingering.len() > 2 * self.flows.len() {
            self.lingering.retain(|flow| self.flows.place(flow).is_some());
        }
        self.lingering.push(self.flows.handle(place), self.clock);
    }

    #[inline]
    fn place_of(&self, prepared: &Prepared) -> Option<u32> {
        let is_it = |place| self.flows.get(place).is_some_and(|flow| flow.key == prepared.key);
        if is_it(prepared.candidate) {
            return Some(prepared.candidate);
        }
        self.index.find(prepared.tag, is_it)
    }

    /// Whether a flow goes on with a packet; otherwise it has ended.
    #[inline]
    fn takes(
        &mut self,
        place: u32,
        sighting: &Sighting,
        prepared: &Prepared,
        ended: &mut dyn FnMut(FlowRecord),
    ) -> bool {
        let flow = self.flows.at(place);
        let followed =
            |segment| flow.connection.is_followed_by(flow.side(prepared.sender), segment);
        let reason = if flow.ends_at(&self.limits) <= self.clock {
            EndReason::Idle
        } else if self.limits.tcp_close && sighting.headers.tcp.as_ref().is_some_and(followed) {
            EndReason::Closed
        } else {
            if let Some(active) = self.limits.active
                && flow.began.saturating_add(active) <= self.clock
            {
                self.write(place, EndReason::Active, ended);
                self.flows.at_mut(place).begin_anew(sighting.at, self.clock);
            }
            return true;
        };
        self.wheel.unlink(&mut self.flows, place);
        self.end(place, reason, ended);
        false
    }

    /// Begins the flow of a packet, and returns its place.
    fn begin(
        &mut self,
        sighting: &Sighting,
        prepared: &Prepared,
        ended: &mut dyn FnMut(FlowRecord),
    ) -> u32 {
        while self.flows.len() >= self.limits.max_flows && self.make_way(ended) {}
        let first_sender =
            sighting.headers.tcp.as_ref().map_or(Side::Source, Connection::first_sender);
        let source = match (first_sender, prepared.sender) {
            (Side::Source, sender) => sender,
            (Side::Destination, Sender::Lower) => Sender::Higher,
            (Side::Destination, Sender::Higher) => Sender::Lower,
        };
        let flow = Flow::new(prepared.key, source, sighting.at, self.clock);
        let ends_at = flow.ends_at(&self.limits);
        let place = self.flows.add(flow);
        self.index.insert(prepared.tag, place);
        self.wheel.link(&mut self.flows, place, ends_at);
        place
    }

    /// Has the flow that would end next make way. False if there is none.
    fn make_way(&mut self, ended: &mut dyn FnMut(FlowRecord)) -> bool {
        while let Some(flow) = self.lingering.pop() {
            if let Some(place) = self.flows.place(flow) {
                self.wheel.unlink(&mut self.flows, place);
                self.end(place, EndReason::Closed, ended);
                return true;
            }
        }
        let limits = &self.limits;
        while let Some((place, ends_at)) =
            self.wheel.take_earliest(&mut self.flows, |flow| flow.ends_at(limits))
        {
            if let Some(ends_at) = ends_at {
                self.wheel.link(&mut self.flows, place, ends_at);
            } else {
                let idle = self.flows.at(place).ends_at(limits) <= self.clock;
                self.end(place, if idle { EndReason::Idle } else { EndReason::Evicted }, ended);
                return true;
            }
        }
        false
    }

    /// Ends the flows whose time has come.
    fn collect(&mut self, ended: &mut dyn FnMut(FlowRecord)) {
        self.collect_closed(ended);
        self.collect_idle(ended);
    }

    fn collect_closed(&mut self, ended: &mut dyn FnMut(FlowRecord)) {
        let mut places = [NONE; BATCH];
        while self.lingering.is_due(self.clock) {
            let mut count = 0;
            while count < BATCH
                && self.lingering.is_due(self.clock)
                && let Some(flow) = self.lingering.pop()
            {
                places[count] = self.flows.place(flow).unwrap_or(NONE);
                count += usize::from(places[count] != NONE);
            }
            let places = &places[..count];
            self.touch(places);
            for &place in places {
                if self.flows.at(place).ends_at(&self.limits) <= self.clock {
                    self.wheel.unlink(&mut self.flows, place);
                    self.end(place, EndReason::Closed, ended);
                } else {
                    self.linger(place);
                }
            }
        }
    }

    fn collect_idle(&mut self, ended: &mut dyn FnMut(FlowRecord)) {
        let mut places = [NONE; BATCH];
        while let Some(mut chains) = self.wheel.take_due(self.clock) {
            loop {
                let mut count = 0;
                while count + CHAINS <= BATCH {
                    let before = count;
                    for next in &mut chains {
                        if *next != NONE {
                            places[count] = *next;
                            count += 1;
                            *next = self.flows.at(*next).links.next;
                        }
                    }
                    if count == before {
                        break;
                    }
                }
                if count == 0 {
                    break;
                }
                self.end_idle(&places[..count], ended);
            }
        }
    }

    /// Ends flows that are not in the wheel any more, if their time has come.
    fn end_idle(&mut self, places: &[u32], ended: &mut dyn FnMut(FlowRecord)) {
        self.touch(places);
        for &place in places {
            let ends_at = self.flows.at(place).ends_at(&self.limits);
            if ends_at <= self.clock {
                self.end(place, EndReason::Idle, ended);
            } else {
                self.wheel.link(&mut self.flows, place, ends_at);
            }
        }
    }

    /// Reads what will be needed to end flows: none of it waits for what comes before it.
    fn touch(&self, places: &[u32]) {
        let mut lines = 0;
        for &place in places {
            let flow = self.flows.at(place);
            let found = self.index.candidate(self.tag(&flow.key));
            lines ^= flow.bytes[0] ^ u64::from(found.unwrap_or(NONE));
            for neighbour in [flow.links.previous, flow.links.next] {
                lines ^= self.flows.get(neighbour).map_or(0, |flow| u64::from(flow.links.next));
            }
        }
        black_box(lines);
    }

    /// Ends a flow that is not in the wheel any more.
    fn end(&mut self, place: u32, reason: EndReason, ended: &mut dyn FnMut(FlowRecord)) {
        self.write_last(place, reason, ended);
        self.index.remove(self.tag(&self.flows.at(place).key), place);
        self.flows.remove(place);
    }

    /// Writes the record of a flow that ends. That it was closed says more than what else has ended it.
    fn write_last(&mut self, place: u32, reason: EndReason, ended: &mut dyn FnMut(FlowRecord)) {
        let closed = self.limits.tcp_close && self.flows.at(place).connection.is_closed();
        let reason = if closed { EndReason::Closed } else { reason };
        self.evicted += u64::from(reason == EndReason::Evicted);
        self.write(place, reason, ended);
    }

    fn write(&mut self, place: u32, reason: EndReason, ended: &mut dyn FnMut(FlowRecord)) {
        let flow = self.flows.at(place);
        let interface = self.interfaces.get(usize::from(flow.key.interface())).cloned().flatten();
        let id = self.identifiers.next(flow.first_seen);
        ended(record(flow, id, interface, reason));
    }

    #[inline]
    fn tag(&self, key: &Key) -> u32 {
        (hash(&self.random, key) >> 32) as u32
    }
}

/// A moment as the table counts it: nanoseconds since the earliest one that can be held.
#[inline]
fn moment(at: Timestamp) -> u64 {
    at.as_nanoseconds().cast_unsigned() ^ 1 << 63
}

#[cfg(test)]
mod tests;
