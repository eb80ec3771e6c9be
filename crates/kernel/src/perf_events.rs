//! The events of a perf event array that a datapath is pinned with.

use std::{
    cell::RefCell,
    fmt,
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use libbpf_rs::{ErrorKind, MapCore as _, MapHandle, MapType, PerfBuffer, PerfBufferBuilder};
use rustix::thread::CapabilitySet;

use crate::{Error, program::attempt};

/// How many pages each processor has, of which the kernel overwrites none that was not read.
const PAGES: usize = 64;

/// The capabilities that it takes.
const NEEDED: CapabilitySet = CapabilitySet::BPF.union(CapabilitySet::PERFMON);

/// What a perf event array tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PerfEvent<'a> {
    /// What a program wrote, and what the kernel rounds it up by.
    Sample {
        /// On which processor.
        cpu: i32,
        /// What was written.
        data: &'a [u8],
    },
    /// There was no room for so many.
    Lost {
        /// On which processor.
        cpu: i32,
        /// How many.
        count: u64,
    },
}

/// Events that were taken out of the rings, one behind the other in one buffer.
#[derive(Debug, Default)]
struct Taken {
    data: Vec<u8>,
    events: Vec<Record>,
}

#[derive(Debug, Clone, Copy)]
enum Record {
    Sample { cpu: i32, length: usize },
    Lost { cpu: i32, count: u64 },
}

/// The events of a perf event array, from the moment on at which it was opened.
pub struct PerfEvents {
    path: PathBuf,
    buffer: PerfBuffer<'static>,
    /// The kernel takes the rings out of the map once this is closed.
    _map: MapHandle,
    taken: Rc<RefCell<Taken>>,
}

impl fmt::Debug for PerfEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerfEvents").field("path", &self.path).finish_non_exhaustive()
    }
}

impl PerfEvents {
    /// Makes rings for all processors and puts them into the map that is pinned there. Whoever had rings in
    /// it before gets nothing any more.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let map = attempt(NEEDED, || MapHandle::from_pinned_path(path))
            .map_err(|obstacle| failure(path, obstacle.reason))?;
        if map.map_type() != MapType::PerfEventArray {
            let reason = format!("it is no perf event array, but {:?}", map.map_type());
            return Err(failure(path, reason));
        }
        Self::read(map, path, PAGES)
    }

    /// The same of an array of our own, with so many pages for each processor: a power of two.
    #[cfg(feature = "capture")]
    pub(crate) fn of(map: MapHandle, pages: usize) -> Result<Self, Error> {
        Self::read(map, Path::new("of the datapath"), pages)
    }

    fn read(map: MapHandle, path: &Path, pages: usize) -> Result<Self, Error> {
        let taken = Rc::new(RefCell::new(Taken::default()));
        let (samples, losses) = (Rc::clone(&taken), Rc::clone(&taken));
        let buffer = attempt(NEEDED, || {
            PerfBufferBuilder::new(&map)
                .pages(pages)
                .sample_cb(move |cpu, data: &[u8]| {
                    let taken = &mut *samples.borrow_mut();
                    taken.data.extend_from_slice(data);
                    taken.events.push(Record::Sample { cpu, length: data.len() });
                })
                .lost_cb(move |cpu, count| {
                    losses.borrow_mut().events.push(Record::Lost { cpu, count });
                })
                .build()
        })
        .map_err(|obstacle| failure(path, obstacle.reason))?;
        Ok(Self { path: path.to_owned(), buffer, _map: map, taken })
    }

    /// Waits for events, for so long at most, and hands out those that there are: no more than all rings
    /// hold.
    pub fn poll(
        &mut self,
        wait: Duration,
        mut take: impl FnMut(PerfEvent<'_>),
    ) -> Result<(), Error> {
        match self.buffer.poll(wait) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                return Err(failure(&self.path, format!("{error:#}")));
            }
        }
        let taken = &mut *self.taken.borrow_mut();
        let mut rest = taken.data.as_slice();
        for record in taken.events.drain(..) {
            match record {
                Record::Lost { cpu, count } => take(PerfEvent::Lost { cpu, count }),
                Record::Sample { cpu, length } => {
                    let (data, behind) = rest.split_at_checked(length).unwrap_or((rest, &[]));
                    rest = behind;
                    take(PerfEvent::Sample { cpu, data });
                }
            }
        }
        taken.data.clear();
        Ok(())
    }
}

fn failure(path: &Path, reason: String) -> Error {
    Error::PerfEvents { path: path.to_owned(), reason }
}

#[cfg(test)]
mod tests;
