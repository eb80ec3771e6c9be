//! Where flows are kept.

use std::{iter, slice};

use prefetch_index::prefetch_index;

use crate::{
    flow::{Details, Flow, NONE},
    key::{Key, NarrowKey},
};

/// Flows by their place, which stays the same as long as they go on.
///
/// They are kept in chunks, so that none is moved when there are more, and there is never room for
/// twice as many. Places that became free are taken again first.
#[derive(Debug)]
pub(crate) struct Flows {
    chunks: Vec<FlowRoom>,
    /// The first of the free places; each knows the next one.
    free: u32,
    /// The first of the places that were never taken.
    fresh: u32,
    live: usize,
}

/// Room for flows of a table. To have memory takes a while, and it need not be the table's thread that has
/// it.
///
/// Of a known length, so that whether a place is in its chunk need not be asked.
#[derive(Debug)]
pub struct FlowRoom {
    /// Close to one another: what each packet needs is on as few pages as possible.
    flows: Box<[Flow; CHUNK]>,
    details: Box<[Details; CHUNK]>,
}

/// A flow that goes on, as long as it does: the place is given to another one when it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FlowHandle {
    pub(crate) place: u32,
    generation: u32,
}

const CHUNK_BITS: u32 = 11;
const CHUNK: usize = 1 << CHUNK_BITS;

impl Flows {
    pub(crate) const fn new() -> Self {
        Self { chunks: Vec::new(), free: NONE, fresh: 0, live: 0 }
    }

    /// Takes room for more.
    pub(crate) fn take_room(&mut self, room: FlowRoom) {
        self.chunks.push(room);
    }

    /// For how many there is room.
    pub(crate) const fn room(&self) -> usize {
        self.chunks.len() * CHUNK
    }

    /// How many go on.
    pub(crate) const fn len(&self) -> usize {
        self.live
    }

    /// The flow at a place, if it has this key. It is not known whether there is one.
    #[inline]
    pub(crate) fn with_key(&self, place: u32, key: &Key) -> Option<&Flow> {
        let chunk = self.chunks.get((place >> CHUNK_BITS) as usize)?;
        let flow = &chunk.flows[place as usize % CHUNK];
        let is_it = flow.key == key.narrow()
            && (flow.key.is_whole() || chunk.details[place as usize % CHUNK].key == *key);
        is_it.then_some(flow)
    }

    /// The flow at a place, of which it is not known whether there is one. What has no flow has the key
    /// of none.
    #[inline]
    pub(crate) fn get(&self, place: u32) -> Option<&Flow> {
        let chunk = self.chunks.get((place >> CHUNK_BITS) as usize)?;
        Some(&chunk.flows[place as usize % CHUNK])
    }

    /// Has the flow at a place be fetched from memory, if there is any.
    #[inline]
    pub(crate) fn fetch(&self, place: u32) {
        if let Some(flow) = self.get(place) {
            prefetch_index(slice::from_ref(flow), 0);
        }
    }

    /// The same of its details, which are on two lines or three.
    #[inline]
    pub(crate) fn fetch_details(&self, place: u32) {
        let Some(chunk) = self.chunks.get((place >> CHUNK_BITS) as usize) else { return };
        let details = &chunk.details[place as usize % CHUNK];
        prefetch_index(slice::from_ref(details), 0);
        prefetch_index(slice::from_ref(&details.connection), 0);
    }

    #[inline]
    pub(crate) fn at(&self, place: u32) -> &Flow {
        &self.chunks[(place >> CHUNK_BITS) as usize].flows[place as usize % CHUNK]
    }

    #[inline]
    pub(crate) fn details(&self, place: u32) -> &Details {
        &self.chunks[(place >> CHUNK_BITS) as usize].details[place as usize % CHUNK]
    }

    #[inline]
    pub(crate) fn at_mut(&mut self, place: u32) -> (&mut Flow, &mut Details) {
        let chunk = &mut self.chunks[(place >> CHUNK_BITS) as usize];
        let place = place as usize % CHUNK;
        (&mut chunk.flows[place], &mut chunk.details[place])
    }

    /// Keeps a flow, and returns its place. There must be fewer than `u32::MAX`.
    #[expect(clippy::inline_always, reason = "it is called elsewhere, too, but not so often")]
    #[inline(always)]
    pub(crate) fn add(&mut self, flow: Flow, details: Details) -> u32 {
        self.live += 1;
        let place = if self.free == NONE {
            if self.fresh as usize == self.room() {
                self.chunks.push(FlowRoom::new());
            }
            self.fresh += 1;
            self.fresh - 1
        } else {
            let place = self.free;
            self.free = self.details(place).tag;
            place
        };
        let (kept, kept_details) = self.at_mut(place);
        let generation = kept.generation;
        *kept = flow;
        kept.generation = generation;
        *kept_details = details;
        place
    }

    /// Frees a place.
    pub(crate) fn remove(&mut self, place: u32) {
        self.live -= 1;
        let free = self.free;
        let (flow, details) = self.at_mut(place);
        flow.key = NarrowKey::NONE;
        flow.generation = flow.generation.wrapping_add(1);
        details.tag = free;
        self.free = place;
    }

    /// The place of some flow that goes on, at `from` or after it.
    pub(crate) fn next_live(&self, from: u32) -> Option<u32> {
        (from..self.fresh).find(|&place| self.at(place).key != NarrowKey::NONE)
    }

    pub(crate) fn handle(&self, place: u32) -> FlowHandle {
        FlowHandle { place, generation: self.at(place).generation }
    }

    /// The place of a handle's flow, if that still goes on.
    #[inline]
    pub(crate) fn place(&self, handle: FlowHandle) -> Option<u32> {
        let goes_on = self.at(handle.place).generation == handle.generation;
        goes_on.then_some(handle.place)
    }
}

impl FlowRoom {
    /// For how many flows there is room.
    pub const FLOWS: usize = CHUNK;

    /// Room without flows.
    #[must_use]
    pub fn new() -> Self {
        Self { flows: boxed(Flow::FREE), details: boxed(Details::FREE) }
    }
}

impl Default for FlowRoom {
    fn default() -> Self {
        Self::new()
    }
}

/// As many as a chunk has, on the heap from the start: a stack may have no room for them.
fn boxed<T: Copy>(value: T) -> Box<[T; CHUNK]> {
    // Not as `vec!` does, which clears what is aligned so far before it is written.
    let mut all = Vec::with_capacity(CHUNK);
    all.extend(iter::repeat_n(value, CHUNK));
    match all.into_boxed_slice().try_into() {
        Ok(all) => all,
        Err(_) => unreachable!("there are as many as a chunk has"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_that_is_given_is_taken_before_there_is_more() {
        let mut flows = Flows::new();
        flows.take_room(FlowRoom::new());
        flows.take_room(FlowRoom::new());
        for place in 0..2 * CHUNK {
            assert_eq!(flows.add(Flow::FREE, Details::FREE) as usize, place);
        }
        assert_eq!(flows.room(), 2 * FlowRoom::FLOWS);
        flows.add(Flow::FREE, Details::FREE);
        assert_eq!((flows.len(), flows.room()), (2 * CHUNK + 1, 3 * FlowRoom::FLOWS));
    }
}
