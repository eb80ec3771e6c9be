//! The flows that go on.

mod sums;

use std::mem;

use crate::{
    Settings,
    flow::{Details, Flow, NONE, Side},
    flows::{FlowHandle, FlowRoom, Flows},
    index::Index,
    key::{Key, Sender},
    keying::{KeyedPacket, Keying, Sighting, tag},
    lingering::Lingering,
    record::EndedFlow,
    settings::Limits,
    tcp::Connection,
    wheel::Wheel,
};
use foldhash::fast::RandomState;
use netglass_model::{EndReason, Timestamp};

pub use self::sums::Sums;

/// What a table has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// How many flows there are. One that has ended is among them a little longer: those that have are
    /// looked for once in 1/256 of the idle timeout.
    pub flows: usize,
    /// For how many there is memory. There will be more when it is needed.
    pub room: usize,
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
    batch: Vec<KeyedPacket>,
    evicted: u64,
}

/// How many flows are looked at together when their time has come: what is fetched for them comes from
/// memory at the same time.
const TOGETHER: usize = 64;

/// How many packets are looked up together, before those that came before them are counted: what is
/// fetched for them comes from memory meanwhile.
const AHEAD: usize = 32;

impl FlowTable {
    /// An empty one.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self::with(Limits::from(settings), RandomState::default())
    }

    /// An empty one for packets whose keys the same [`Keying`] makes, so that both can share them. All of a
    /// flow's are to be in one of them.
    #[must_use]
    pub fn sibling(&self) -> Self {
        Self::with(self.limits, self.random.clone())
    }

    fn with(limits: Limits, random: RandomState) -> Self {
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
            batch: Vec::with_capacity(TOGETHER),
            evicted: 0,
        }
    }

    /// What makes the keys of packets for this table, for whoever does not have [`Self::add`] do it.
    #[must_use]
    pub fn keying(&self) -> Keying {
        Keying::new(self.random.clone())
    }

    /// Counts packets, in the order in which they were seen. `ended` is given the flows that have ended
    /// by then, one by one, as there may be as many as there are flows.
    pub fn add(&mut self, sightings: &[Sighting], ended: &mut dyn FnMut(EndedFlow)) {
        let mut batch = mem::take(&mut self.batch);
        for sightings in sightings.chunks(TOGETHER) {
            batch.clear();
            batch.extend(sightings.iter().map(|sighting| self.keying.key(sighting)));
            self.add_keyed(&batch, ended);
        }
        self.batch = batch;
    }

    /// The same for packets of which this table's [`Keying`] has made the keys.
    ///
    /// What is needed of memory is asked for before: a block's places in the index two blocks ahead,
    /// and its flows one block ahead.
    pub fn add_keyed(&mut self, packets: &[KeyedPacket], ended: &mut dyn FnMut(EndedFlow)) {
        let mut to_find = packets.chunks(AHEAD);
        let mut to_look_up = packets.chunks(AHEAD);
        self.fetch_places(to_find.next().unwrap_or_default());
        self.fetch_places(to_find.next().unwrap_or_default());
        let mut candidates = self.look_up(to_look_up.next().unwrap_or_default());
        for block in packets.chunks(AHEAD) {
            self.fetch_places(to_find.next().unwrap_or_default());
            let next = self.look_up(to_look_up.next().unwrap_or_default());
            self.fetch_handshakes(&candidates);
            for (packet, candidate) in block.iter().zip(mem::replace(&mut candidates, next)) {
                self.add_one(packet, candidate, ended);
            }
        }
    }

    /// Has time go on to `now` without a packet.
    pub fn advance(&mut self, now: Timestamp, ended: &mut dyn FnMut(EndedFlow)) {
        self.clock = self.clock.max(moment(now));
        self.collect(ended);
    }

    /// Ends all flows that are left.
    pub fn finish(&mut self, ended: &mut dyn FnMut(EndedFlow)) {
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

    /// Takes memory for more flows, as it would have itself once there is need of it.
    pub fn take_room(&mut self, room: FlowRoom) {
        self.flows.take_room(room);
    }

    /// Takes all flows of a sibling, of which it has none itself.
    pub fn absorb(&mut self, sibling: Self) {
        self.clock = self.clock.max(sibling.clock);
        self.evicted += sibling.evicted;
        self.keying.absorb(&sibling.keying);
        let mut next = 0;
        while let Some(place) = sibling.flows.next_live(next) {
            next = place + 1;
            let (flow, details) = (*sibling.flows.at(place), *sibling.flows.details(place));
            let place = self.flows.add(flow, details);
            self.index.insert(details.tag, place);
        }
        drop(sibling);
        self.order_anew();
    }

    /// Puts all flows where they belong in the order in which they end.
    fn order_anew(&mut self) {
        let mut all: Vec<u32> = Vec::with_capacity(self.flows.len());
        while let Some(place) = self.flows.next_live(all.last().map_or(0, |last| last + 1)) {
            all.push(place);
        }
        all.sort_by_key(|&place| self.flows.at(place).touched);
        self.wheel = Wheel::new(self.limits.idle);
        self.lingering.clear();
        // Nothing is in it yet: it goes on to what the clock says.
        self.wheel.take_due(self.clock);
        for place in all {
            let (handle, flow) = (self.flows.handle(place), self.flows.at(place));
            self.wheel.put(handle, flow.ends_at(&self.limits));
            if self.limits.tcp_close && flow.connection.is_over() {
                self.lingering.push(handle, flow.touched);
            }
        }
        self.due = 0;
    }

    /// What it has done so far.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage {
            flows: self.flows.len(),
            room: self.flows.room(),
            evicted: self.evicted,
            unmatched_fragments: self.keying.unmatched_fragments(),
        }
    }

    /// Has the places of packets in the index be fetched.
    fn fetch_places(&self, packets: &[KeyedPacket]) {
        for packet in packets {
            self.index.fetch(packet.tag);
        }
    }

    /// Finds out where the flows of packets most likely are, and has what the packets will change of
    /// them be fetched.
    fn look_up(&self, packets: &[KeyedPacket]) -> [u32; AHEAD] {
        let mut candidates = [NONE; AHEAD];
        for (packet, candidate) in packets.iter().zip(&mut candidates) {
            *candidate = self.index.candidate(packet.tag).unwrap_or(NONE);
            // What opens a connection asks for the details.
            let opens = packet.tcp.as_ref().is_some_and(Connection::may_follow);
            self.flows.fetch(*candidate);
            if opens {
                self.flows.fetch_details(*candidate);
            }
        }
        candidates
    }

    /// Has the details of flows whose handshake a packet may complete be fetched. The flows are there by
    /// now.
    fn fetch_handshakes(&self, candidates: &[u32; AHEAD]) {
        for &candidate in candidates {
            let is_awaited = |flow: &Flow| flow.connection.awaits_acknowledgment();
            if self.flows.get(candidate).is_some_and(is_awaited) {
                self.flows.fetch_details(candidate);
            }
        }
    }

    #[inline]
    fn add_one(&mut self, packet: &KeyedPacket, candidate: u32, ended: &mut dyn FnMut(EndedFlow)) {
        self.clock = self.clock.max(packet.clock);
        if self.due <= self.clock {
            self.collect(ended);
        }
        if !self.adds_plainly(packet, candidate) {
            let place = self.place_for(packet, candidate, ended);
            self.count(place, packet);
        }
    }

    /// Counts a packet if its flow is where it most likely is, and goes on with it as flows do with nearly all
    /// of their packets.
    #[inline]
    fn adds_plainly(&mut self, packet: &KeyedPacket, candidate: u32) -> bool {
        let goes_on = self
            .flows
            .with_key(candidate, &packet.key)
            .is_some_and(|flow| flow.goes_on(&self.limits, self.clock))
            && self.limits.active.is_none()
            && !packet.tcp.as_ref().is_some_and(Connection::may_follow);
        if goes_on {
            self.count(candidate, packet);
        }
        goes_on
    }

    /// Counts a packet of the flow at a place.
    #[inline]
    fn count(&mut self, place: u32, packet: &KeyedPacket) {
        let clock = self.clock;
        let (flow, details) = self.flows.at_mut(place);
        let side = flow.side(packet.sender);
        flow.count(details, side, packet.at, clock, packet.wire_length);
        if let Some(segment) = &packet.tcp {
            let Flow { connection, sequences, .. } = flow;
            let ends = connection.add(sequences, &mut details.connection, side, segment, packet.at);
            if ends && self.limits.tcp_close {
                self.linger(place);
            }
        }
    }

    /// The place of a packet's flow, which begins if there is none that goes on.
    #[inline(never)]
    fn place_for(
        &mut self,
        packet: &KeyedPacket,
        candidate: u32,
        ended: &mut dyn FnMut(EndedFlow),
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
        let is_it = |place| self.flows.with_key(place, &packet.key).is_some();
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
        ended: &mut dyn FnMut(EndedFlow),
    ) -> bool {
        let (flow, details) = (self.flows.at(place), self.flows.details(place));
        let followed = |segment| {
            let side = flow.side(packet.sender);
            flow.connection.is_followed_by(&details.connection, side, segment)
        };
        let reason = if flow.ends_at(&self.limits) <= self.clock {
            EndReason::Idle
        } else if self.limits.tcp_close && packet.tcp.as_ref().is_some_and(followed) {
            EndReason::Closed
        } else {
            if let Some(active) = self.limits.active
                && details.began.saturating_add(active) <= self.clock
            {
                self.write(place, EndReason::Active, ended);
                let (flow, details) = self.flows.at_mut(place);
                flow.begin_anew(details, packet.at, self.clock);
            }
            return true;
        };
        self.end(place, reason, ended);
        false
    }

    /// Begins the flow of a packet, and returns its place.
    fn begin(&mut self, packet: &KeyedPacket, ended: &mut dyn FnMut(EndedFlow)) -> u32 {
        while self.flows.len() >= self.limits.max_flows && self.make_way(ended) {}
        let first_sender = packet.tcp.as_ref().map_or(Side::Source, Connection::first_sender);
        let source = match (first_sender, packet.sender) {
            (Side::Source, sender) => sender,
            (Side::Destination, Sender::Lower) => Sender::Higher,
            (Side::Destination, Sender::Higher) => Sender::Lower,
        };
        let flow = Flow::new(packet.key.narrow(), source, self.clock);
        let details = Details::new(packet.key, packet.tag, packet.at, self.clock);
        let ends_at = flow.ends_at(&self.limits);
        let place = self.flows.add(flow, details);
        self.index.insert(packet.tag, place);
        self.wheel.put(self.flows.handle(place), ends_at);
        // Those that were closed are still there.
        if self.wheel.len() > 2 * self.flows.len() + TOGETHER {
            self.wheel.retain(|flow| self.flows.place(flow).is_some());
        }
        place
    }

    /// Has the flow that would end next make way. False if there is none.
    fn make_way(&mut self, ended: &mut dyn FnMut(EndedFlow)) -> bool {
        while let Some(flow) = self.lingering.pop() {
            if let Some(place) = self.flows.place(flow) {
                self.end(place, EndReason::Closed, ended);
                return true;
            }
        }
        while let Some(flow) = self.wheel.take_earliest() {
            self.fetch_upcoming();
            let Some(place) = self.flows.place(flow) else { continue };
            let ends_at = self.flows.at(place).ends_at(&self.limits);
            if self.wheel.is_later(ends_at) {
                self.wheel.put(flow, ends_at);
            } else {
                let reason =
                    if ends_at <= self.clock { EndReason::Idle } else { EndReason::Evicted };
                self.end(place, reason, ended);
                return true;
            }
        }
        false
    }

    /// Has what will be needed of the flows that would end soon be fetched from memory.
    fn fetch_upcoming(&self) {
        if let Some(flow) = self.wheel.upcoming(TOGETHER / 4) {
            self.flows.fetch(flow.place);
            self.flows.fetch_details(flow.place);
        }
        if let Some(flow) = self.wheel.upcoming(TOGETHER / 8) {
            self.index.fetch(self.flows.details(flow.place).tag);
        }
    }

    /// Ends the flows whose time has come.
    fn collect(&mut self, ended: &mut dyn FnMut(EndedFlow)) {
        self.collect_closed(ended);
        self.collect_idle(ended);
        self.due = self.wheel.due().min(self.lingering.due(self.clock));
    }

    fn collect_closed(&mut self, ended: &mut dyn FnMut(EndedFlow)) {
        if !self.lingering.is_due(self.clock) {
            return;
        }
        let mut due = Vec::with_capacity(TOGETHER);
        while self.lingering.is_due(self.clock) {
            due.clear();
            while due.len() < TOGETHER
                && self.lingering.is_due(self.clock)
                && let Some(flow) = self.lingering.pop()
            {
                due.push(flow);
            }
            self.fetch(&due);
            for &flow in &due {
                let Some(place) = self.flows.place(flow) else { continue };
                if self.flows.at(place).ends_at(&self.limits) <= self.clock {
                    self.end(place, EndReason::Closed, ended);
                } else {
                    self.linger(place);
                }
            }
        }
    }

    fn collect_idle(&mut self, ended: &mut dyn FnMut(EndedFlow)) {
        while let Some(mut due) = self.wheel.take_due(self.clock) {
            for due in due.make_contiguous().chunks(TOGETHER) {
                self.fetch(due);
                for &flow in due {
                    let Some(place) = self.flows.place(flow) else { continue };
                    let ends_at = self.flows.at(place).ends_at(&self.limits);
                    if ends_at <= self.clock {
                        self.end(place, EndReason::Idle, ended);
                    } else {
                        self.wheel.put(flow, ends_at);
                    }
                }
            }
        }
    }

    /// Has what will be needed to end flows be fetched from memory.
    fn fetch(&self, flows: &[FlowHandle]) {
        for flow in flows {
            self.flows.fetch(flow.place);
            self.flows.fetch_details(flow.place);
        }
        for &flow in flows {
            if let Some(place) = self.flows.place(flow) {
                self.index.fetch(self.flows.details(place).tag);
            }
        }
    }

    /// Ends a flow.
    fn end(&mut self, place: u32, reason: EndReason, ended: &mut dyn FnMut(EndedFlow)) {
        self.write_last(place, reason, ended);
        self.index.remove(self.flows.details(place).tag, place);
        self.flows.remove(place);
    }

    /// Writes the record of a flow that ends. That it was closed says more than what else has ended it.
    fn write_last(&mut self, place: u32, reason: EndReason, ended: &mut dyn FnMut(EndedFlow)) {
        let closed = self.limits.tcp_close && self.flows.at(place).connection.is_closed();
        let reason = if closed { EndReason::Closed } else { reason };
        self.evicted += u64::from(reason == EndReason::Evicted);
        self.write(place, reason, ended);
    }

    fn write(&self, place: u32, reason: EndReason, ended: &mut dyn FnMut(EndedFlow)) {
        let (flow, details) = (*self.flows.at(place), *self.flows.details(place));
        ended(EndedFlow { flow, details, reason });
    }

    #[inline]
    fn tag(&self, key: &Key) -> u32 {
        tag(&self.random, key)
    }
}

/// A moment as the table counts it: nanoseconds since the earliest one that can be held.
#[inline]
pub(crate) fn moment(at: Timestamp) -> u64 {
    at.as_nanoseconds().cast_unsigned() ^ 1 << 63
}

/// What a packet says that came at `moment`, in order.
pub(crate) fn said(moment: u64) -> Timestamp {
    Timestamp::from_nanoseconds((moment ^ 1 << 63).cast_signed())
}

#[cfg(test)]
mod tests;
