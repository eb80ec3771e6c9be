//! The flows that go on.

mod sums;

use std::{hint::black_box, sync::Arc};

use crate::{
    Settings,
    flow::{Flow, NONE, Side},
    flows::Flows,
    index::Index,
    key::{Key, Sender},
    keying::{KeyedPacket, Keying, Sighting, tag},
    lingering::Lingering,
    record::{Identifiers, record},
    settings::Limits,
    tcp::Connection,
    wheel::{CHAINS, Wheel},
};
use foldhash::fast::RandomState;
use netglass_model::{EndReason, FlowRecord, Timestamp};

pub use self::sums::Sums;

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
    /// Nothing ends before that on its own: the clock that is compared for each packet.
    due: u64,
    random: RandomState,
    index: Index,
    flows: Flows,
    wheel: Wheel,
    lingering: Lingering,
    keying: Keying,
    identifiers: Identifiers,
    interfaces: Vec<Option<Arc<str>>>,
    batch: Vec<KeyedPacket>,
    evicted: u64,
}

/// How many packets are looked up together, and how many flows are ended together: the processor then
/// waits for memory once for several of them.
const TOGETHER: usize = 64;

impl FlowTable {
    /// An empty one.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let limits = Limits::from(settings);
        let random = RandomState::default();
        Self {
            limits,
            clock: 0,
            due: 0,
            random: random.clone(),
            index: Index::new(),
            flows: Flows::new(),
            wheel: Wheel::new(limits.idle),
            lingering: Lingering::new(limits.linger),
            keying: Keying::new(random),
            identifiers: Identifiers::new(),
            interfaces: Vec::new(),
            batch: Vec::with_capacity(TOGETHER),
            evicted: 0,
        }
    }

    /// What makes the keys of packets for this table, for whoever does not have [`Self::add`] do it.
    #[must_use]
    pub fn keying(&self) -> Keying {
        Keying::new(self.random.clone())
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
        let mut batch = std::mem::take(&mut self.batch);
        for sightings in sightings.chunks(TOGETHER) {
            batch.clear();
            batch.extend(sightings.iter().map(|sighting| self.keying.key(sighting)));
            self.add_keyed(&batch, ended);
        }
        self.batch = batch;
    }

    /// The same for packets of which this table's [`Keying`] has made the keys.
    pub fn add_keyed(&mut self, packets: &[KeyedPacket], ended: &mut dyn FnMut(FlowRecord)) {
        let mut candidates = [NONE; TOGETHER];
        for packets in packets.chunks(TOGETHER) {
            self.look_up(packets, &mut candidates);
            for (packet, candidate) in packets.iter().zip(candidates) {
                self.add_one(packet, candidate, ended);
            }
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
        self.due = 0;
    }

    /// What it has done so far.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage {
            flows: self.flows.len(),
            evicted: self.evicted,
            unmatched_fragments: self.keying.unmatched_fragments(),
        }
    }

    /// Finds out where the flows of packets most likely are, and reads of them what the packets will
    /// change: none of it waits for what comes before it.
    fn look_up(&self, packets: &[KeyedPacket], candidates: &mut [u32; TOGETHER]) {
        let mut lines = 0;
        // What is looked for is not always where it belongs. To find out with memory still on its way
        // would have the processor guess, and begin anew.
        for packet in packets {
            lines ^= self.index.touch(packet.tag);
        }
        black_box(lines);
        for (packet, candidate) in packets.iter().zip(&mut *candidates) {
            *candidate = self.index.candidate(packet.tag).unwrap_or(NONE);
        }
        for (packet, &candidate) in packets.iter().zip(&*candidates) {
            let Some(flow) = self.flows.get(candidate) else { continue };
            lines ^= flow.touched ^ flow.bytes[0];
            // What begins and ends connections is behind these two lines.
            if packet.tcp.as_ref().is_some_and(Connection::changes) {
                lines ^= u64::from(flow.links.next);
            }
        }
        black_box(lines);
    }

    #[inline]
    fn add_one(&mut self, packet: &KeyedPacket, candidate: u32, ended: &mut dyn FnMut(FlowRecord)) {
        self.clock = self.clock.max(moment(packet.at));
        if self.due <= self.clock {
            self.collect(ended);
        }
        let place = if self.plainly_takes(candidate, packet) {
            candidate
        } else {
            self.place_for(packet, candidate, ended)
        };
        let clock = self.clock;
        let flow = self.flows.at_mut(place);
        let side = flow.side(packet.sender);
        flow.count(side, packet.at, clock, packet.wire_length);
        if let Some(segment) = &packet.tcp
            && flow.connection.add(side, segment, packet.at)
            && self.limits.tcp_close
        {
            self.linger(place);
        }
    }

    /// Whether a packet's flow is where it most likely is, and goes on with it as flows do with nearly
    /// all of their packets.
    #[inline]
    fn plainly_takes(&self, candidate: u32, packet: &KeyedPacket) -> bool {
        self.flows
            .get(candidate)
            .is_some_and(|flow| flow.key == packet.key && flow.ends_at(&self.limits) > self.clock)
            && self.limits.active.is_none()
            && !packet.tcp.as_ref().is_some_and(Connection::may_follow)
    }

    /// The place of a packet's flow, which begins if there is none that goes on.
    #[inline(never)]
    fn place_for(
        &mut self,
        packet: &KeyedPacket,
        candidate: u32,
        ended: &mut dyn FnMut(FlowRecord),
    ) -> u32 {
        match self.place_of(packet, candidate) {
            Some(place) if self.takes(place, packet, ended) => place,
            _ => self.begin(packet, ended),
        }
    }

    /// Has a flow whose connection is closed end sooner than its place in the wheel says.
    fn linger(&mut self, place: u32) {
        // Those that were followed by another connection are still there.
        if self.lingering.len() > 2 * self.flows.len() {
            self.lingering.retain(|flow| self.flows.place(flow).is_some());
        }
        self.lingering.push(self.flows.handle(place), self.clock);
        self.due = self.due.min(self.lingering.due(self.clock));
    }

    #[inline]
    fn place_of(&self, packet: &KeyedPacket, candidate: u32) -> Option<u32> {
        let is_it = |place| self.flows.get(place).is_some_and(|flow| flow.key == packet.key);
        if is_it(candidate) {
            return Some(candidate);
        }
        self.index.find(packet.tag, is_it)
    }

    /// Whether a flow goes on with a packet; otherwise it has ended.
    #[inline]
    fn takes(
        &mut self,
        place: u32,
        packet: &KeyedPacket,
        ended: &mut dyn FnMut(FlowRecord),
    ) -> bool {
        let flow = self.flows.at(place);
        let followed = |segment| flow.connection.is_followed_by(flow.side(packet.sender), segment);
        let reason = if flow.ends_at(&self.limits) <= self.clock {
            EndReason::Idle
        } else if self.limits.tcp_close && packet.tcp.as_ref().is_some_and(followed) {
            EndReason::Closed
        } else {
            if let Some(active) = self.limits.active
                && flow.began.saturating_add(active) <= self.clock
            {
                self.write(place, EndReason::Active, ended);
                self.flows.at_mut(place).begin_anew(packet.at, self.clock);
            }
            return true;
        };
        self.wheel.unlink(&mut self.flows, place);
        self.end(place, reason, ended);
        false
    }

    /// Begins the flow of a packet, and returns its place.
    fn begin(&mut self, packet: &KeyedPacket, ended: &mut dyn FnMut(FlowRecord)) -> u32 {
        while self.flows.len() >= self.limits.max_flows && self.make_way(ended) {}
        let first_sender = packet.tcp.as_ref().map_or(Side::Source, Connection::first_sender);
        let source = match (first_sender, packet.sender) {
            (Side::Source, sender) => sender,
            (Side::Destination, Sender::Lower) => Sender::Higher,
            (Side::Destination, Sender::Higher) => Sender::Lower,
        };
        let flow = Flow::new(packet.key, source, packet.at, self.clock);
        let ends_at = flow.ends_at(&self.limits);
        let place = self.flows.add(flow);
        self.index.insert(packet.tag, place);
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
        self.due = self.wheel.due().min(self.lingering.due(self.clock));
    }

    fn collect_closed(&mut self, ended: &mut dyn FnMut(FlowRecord)) {
        let mut places = [NONE; TOGETHER];
        while self.lingering.is_due(self.clock) {
            let mut count = 0;
            while count < TOGETHER
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
        let mut places = [NONE; TOGETHER];
        while let Some(mut chains) = self.wheel.take_due(self.clock) {
            loop {
                let mut count = 0;
                while count + CHAINS <= TOGETHER {
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
        tag(&self.random, key)
    }
}

/// A moment as the table counts it: nanoseconds since the earliest one that can be held.
#[inline]
fn moment(at: Timestamp) -> u64 {
    at.as_nanoseconds().cast_unsigned() ^ 1 << 63
}

#[cfg(test)]
mod tests;
