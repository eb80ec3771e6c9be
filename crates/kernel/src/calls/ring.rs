//! Each processor's ring of records (`bpf/calls/ring.h`), read block by block.

use std::rc::Rc;

use libbpf_rs::{MapCore as _, MapFlags, MapHandle, Object};

use super::{
    programs::{failure, map_handle, reason},
    record::{self, Record},
};
use crate::{Error, program::u64_at};

/// How many records stand together.
pub(super) const BLOCK_RECORDS: usize = 128;
const BLOCK: usize = BLOCK_RECORDS * record::LENGTH;
/// `struct ring_written` and `struct ring_read`.
const POSITION: usize = 128;
/// After how many blocks at most the kernel programs are told that there is room again.
const RETURNED_BLOCKS: u64 = 16;

/// How far a processor has written its ring.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// Up to which place, since the beginning.
    pub(super) places: u64,
    /// How many records there are in them.
    pub(super) records: u64,
    /// How many calls of selected processes it has seen.
    pub(super) seen: u64,
}

/// What the rings are made of.
struct Maps {
    blocks: MapHandle,
    written: MapHandle,
    read: MapHandle,
    /// How many blocks each ring has.
    ring_blocks: u64,
}

/// The ring of one processor.
pub(super) struct Ring {
    maps: Rc<Maps>,
    processor: u32,
    /// The place of the record that is next.
    next: u64,
    /// Up to which place it is written, as far as it was looked at.
    written: u64,
    /// Up to which place the kernel programs know that it is read.
    returned: u64,
    /// The block in which the next record is, up to the place that was written when it was copied.
    block: Box<[u8; BLOCK]>,
    copied: u64,
    /// A record with what stands behind it.
    whole: Vec<u8>,
}

impl Ring {
    /// Those of all processors.
    pub(super) fn all(object: &Object, ring_blocks: u32) -> Result<Vec<Self>, Error> {
        let maps = Rc::new(Maps {
            blocks: map_handle(object, "record_blocks")?,
            written: map_handle(object, "rings_written")?,
            read: map_handle(object, "rings_read")?,
            ring_blocks: ring_blocks.into(),
        });
        let rings = (0..maps.written.max_entries()).map(|processor| Self {
            maps: Rc::clone(&maps),
            processor,
            next: 0,
            written: 0,
            returned: 0,
            block: Box::new([0; BLOCK]),
            copied: 0,
            whole: Vec::new(),
        });
        Ok(rings.collect())
    }

    /// Looks how far it is written.
    pub(super) fn look(&mut self) -> Result<(), Error> {
        self.written = written(&self.maps.written, self.processor)?.places;
        self.fetch()
    }

    /// The record that is next. It may have more behind it.
    pub(super) fn peek(&self) -> Option<&[u8; record::LENGTH]> {
        if self.next >= self.copied {
            return None;
        }
        let begin = place_in_block(self.next) * record::LENGTH;
        self.block.get(begin..).and_then(<[u8]>::first_chunk)
    }

    /// Passes on the next record, if there is one that can be understood, and goes on to the one
    /// behind it.
    pub(super) fn pass_on(
        &mut self,
        visit: &mut dyn FnMut(Option<Record<'_>>),
    ) -> Result<(), Error> {
        let Some(fields) = self.peek() else { return Ok(()) };
        let rest = record::length_behind(fields);
        if rest == 0 {
            visit(Record::new(fields));
            return self.advance();
        }
        let fields = *fields;
        let mut whole = std::mem::take(&mut self.whole);
        whole.clear();
        whole.extend_from_slice(&fields);
        self.advance()?;
        while whole.len() < record::LENGTH + rest {
            let Some(more) = self.peek() else { break };
            let left = record::LENGTH + rest - whole.len();
            whole.extend_from_slice(more.get(..left).unwrap_or(more));
            self.advance()?;
        }
        visit(Record::new(&whole));
        self.whole = whole;
        Ok(())
    }

    /// Tells the kernel programs that what was passed on may be overwritten.
    pub(super) fn give_back(&mut self) -> Result<(), Error> {
        if self.returned == self.next {
            return Ok(());
        }
        let mut position = [0; POSITION];
        position.iter_mut().zip(self.next.to_ne_bytes()).for_each(|(to, byte)| *to = byte);
        self.returned = self.next;
        self.maps
            .read
            .update(&self.processor.to_ne_bytes(), &position, MapFlags::ANY)
            .map_err(|error| failure("control", reason(&error)))
    }

    fn advance(&mut self) -> Result<(), Error> {
        self.next += 1;
        if self.next < self.copied { Ok(()) } else { self.fetch() }
    }

    /// Copies the block of the next record, where more of it is written than was copied.
    fn fetch(&mut self) -> Result<(), Error> {
        if self.next < self.copied || self.next >= self.written {
            return Ok(());
        }
        let block_records = BLOCK_RECORDS as u64;
        if self.next - self.returned >= RETURNED_BLOCKS * block_records {
            self.give_back()?;
        }
        let block = self.next / block_records;
        let index = u64::from(self.processor) * self.maps.ring_blocks
            + block % self.maps.ring_blocks.max(1);
        let key = u32::try_from(index).unwrap_or(u32::MAX).to_ne_bytes();
        self.maps
            .blocks
            .lookup_into(&key, &mut self.block[..], MapFlags::ANY)
            .map_err(|error| failure("read", reason(&error)))?;
        self.copied = self.written.min((block + 1) * block_records);
        Ok(())
    }
}

fn place_in_block(place: u64) -> usize {
    usize::try_from(place).unwrap_or_default() % BLOCK_RECORDS
}

/// How far the processor has written its ring.
fn written(map: &impl libbpf_rs::MapCore, processor: u32) -> Result<Written, Error> {
    let mut bytes = [0; POSITION];
    map.lookup_into(&processor.to_ne_bytes(), &mut bytes, MapFlags::ANY)
        .map_err(|error| failure("read", reason(&error)))?;
    let number = |at| u64_at(&bytes, at).unwrap_or_default();
    Ok(Written { places: number(0), records: number(16), seen: number(24) })
}

/// What all processors have written together.
pub(super) fn written_by_all(map: &impl libbpf_rs::MapCore) -> Result<Written, Error> {
    (0..map.max_entries()).try_fold(Written::default(), |sum, processor| {
        let more = written(map, processor)?;
        Ok(Written {
            places: sum.places + more.places,
            records: sum.records + more.records,
            seen: sum.seen + more.seen,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_are_those_of_the_header() {
        let header = include_str!("../bpf/calls/records.h");
        assert!(header.contains(&format!("#define BLOCK_RECORDS {BLOCK_RECORDS}\n")));
        for name in ["ring_written", "ring_read"] {
            assert!(header.contains(&format!("sizeof(struct {name}) == {POSITION}, ")));
        }
    }
}
