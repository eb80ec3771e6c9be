//! Where flows are kept.

use netglass_model::Timestamp;

use crate::{
    flow::{Flow, NONE},
    key::{Key, Sender},
};

/// Flows by their place, which stays the same as long as they go on.
///
/// They are kept in chunks, so that none is moved when there are more, and there is never room for
/// twice as many. Places that became free are taken again first.
#[derive(Debug)]
pub(crate) struct Flows {
    /// Of a known length, so that whether a place is in its chunk need not be asked.
    chunks: Vec<Box<[Flow; CHUNK]>>,
    /// The first of the free places; each knows the next one.
    free: u32,
    /// The first of the places that were never taken.
    fresh: u32,
    live: usize,
}

/// A flow that goes on, as long as it does: the place is given to another one when it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FlowHandle {
    place: u32,
    generation: u32,
}

const CHUNK_BITS: u32 = 11;
const CHUNK: usize = 1 << CHUNK_BITS;

impl Flows {
    pub(crate) const fn new() -> Self {
        Self { chunks: Vec::new(), free: NONE, fresh: 0, live: 0 }
    }

    /// How many go on.
    pub(crate) const fn len(&self) -> usize {
        self.live
    }

    /// The flow at a place, of which it is not known whether there is one. What has no flow has the key
    /// of none.
    #[inline]
    pub(crate) fn get(&self, place: u32) -> Option<&Flow> {
        let chunk = self.chunks.get((place >> CHUNK_BITS) as usize)?;
        Some(&chunk[place as usize % CHUNK])
    }

    #[inline]
    pub(crate) fn at(&self, place: u32) -> &Flow {
        &self.chunks[(place >> CHUNK_BITS) as usize][place as usize % CHUNK]
    }

    #[inline]
    pub(crate) fn at_mut(&mut self, place: u32) -> &mut Flow {
        &mut self.chunks[(place >> CHUNK_BITS) as usize][place as usize % CHUNK]
    }

    /// Keeps a flow, and returns its place. There must be fewer than `u32::MAX`.
    pub(crate) fn add(&mut self, mut flow: Flow) -> u32 {
        self.live += 1;
        if self.free != NONE {
            let place = self.free;
            let freed = self.at_mut(place);
            flow.generation = freed.generation;
            let next = std::mem::replace(freed, flow).links.next;
            self.free = next;
            return place;
        }
        if self.fresh as usize == self.chunks.len() * CHUNK {
            self.chunks.push(chunk());
        }
        let place = self.fresh;
        self.fresh += 1;
        *self.at_mut(place) = flow;
        place
    }

    /// Frees a place.
    pub(crate) fn remove(&mut self, place: u32) {
        self.live -= 1;
        let free = self.free;
        let flow = self.at_mut(place);
        flow.key = Key::default();
        flow.generation = flow.generation.wrapping_add(1);
        flow.links.next = free;
        self.free = place;
    }

    /// The place of some flow that goes on, at `from` or after it.
    pub(crate) fn next_live(&self, from: u32) -> Option<u32> {
        (from..)
            .map_while(|place| Some((place, self.get(place)?)))
            .find_map(|(place, flow)| (flow.key != Key::default()).then_some(place))
    }

    pub(crate) fn handle(&self, place: u32) -> FlowHandle {
        FlowHandle { place, generation: self.at(place).generation }
    }

    /// The place of a handle's flow, if that still goes on.
    #[inline]
    pub(crate) fn place(&self, handle: FlowHandle) -> Option<u32> {
        let goes_on = self.get(handle.place)?.generation == handle.generation;
        goes_on.then_some(handle.place)
    }
}

/// Places without flows.
fn chunk() -> Box<[Flow; CHUNK]> {
    let nothing = || Flow::new(Key::default(), Sender::Lower, Timestamp::default(), 0);
    // On the heap from the start: a stack may have no room for it.
    let places: Vec<Flow> = std::iter::repeat_with(nothing).take(CHUNK).collect();
    match places.into_boxed_slice().try_into() {
        Ok(chunk) => chunk,
        Err(_) => unreachable!("there are as many as a chunk has"),
    }
}
