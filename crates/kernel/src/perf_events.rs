//! The events of a perf event array: of one that a datapath is pinned with, or of our own.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use libbpf_rs::{MapCore as _, MapFlags, MapHandle, MapType};
use perf_event::{Builder, SampleFlag, Sampler, events::Software};
use rustix::thread::CapabilitySet;

use crate::{Error, program::attempt};

/// How many bytes each processor has, of which the kernel overwrites none that was not read.
const ROOM: usize = 256 * 1024;
/// How often is looked for events: to be woken for each of them costs the kernel more than the event does.
const PAUSE: Duration = Duration::from_millis(10);
/// What a record is, by its number (`PERF_RECORD_*`).
const RECORD_LOST: u32 = 2;
const RECORD_SAMPLE: u32 = 9;
/// Where the processors are listed that there are.
const PROCESSORS: &str = "/sys/devices/system/cpu/online";

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

/// The ring of a processor.
struct Ring {
    cpu: i32,
    sampler: Sampler,
}

/// The events of a perf event array, from the moment on at which it was opened.
pub struct PerfEvents {
    path: PathBuf,
    rings: Vec<Ring>,
    /// How many bytes each has.
    room: usize,
    /// The kernel takes the rings out of the map once this is closed.
    _map: MapHandle,
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
        Self::read(map, path, ROOM)
    }

    /// The same of an array of our own, with so many bytes for each processor: a power of two.
    #[cfg(feature = "capture")]
    pub(crate) fn of(map: MapHandle, room: usize) -> Result<Self, Error> {
        Self::read(map, Path::new("of the datapath"), room)
    }

    fn read(map: MapHandle, path: &Path, room: usize) -> Result<Self, Error> {
        let failed = |error: io::Error| failure(path, error.to_string());
        let mut rings = Vec::new();
        for cpu in processors().map_err(failed)? {
            // What is told on a processor that has no place is lost, which whoever tells it counts.
            if cpu >= map.max_entries() {
                continue;
            }
            let ring = Ring::open(cpu, room).map_err(failed)?;
            let place = ring.number().to_ne_bytes();
            attempt(NEEDED, || map.update(&cpu.to_ne_bytes(), &place, MapFlags::ANY))
                .map_err(|obstacle| failure(path, obstacle.reason))?;
            rings.push(ring);
        }
        Ok(Self { path: path.to_owned(), rings, room, _map: map })
    }

    /// Waits for events, for so long at most, and hands out those that there are: no more than all rings
    /// hold.
    pub fn poll(&mut self, wait: Duration, mut take: impl FnMut(PerfEvent<'_>)) {
        let until = Instant::now() + wait;
        loop {
            let mut is_empty = true;
            for ring in &mut self.rings {
                is_empty &= ring.read(self.room, &mut take) == 0;
            }
            let left = until.saturating_duration_since(Instant::now());
            if !is_empty || left.is_zero() {
                return;
            }
            thread::sleep(left.min(PAUSE));
        }
    }
}

impl Ring {
    fn open(cpu: u32, room: usize) -> io::Result<Self> {
        let mut builder = Builder::new(Software::BPF_OUTPUT);
        builder.any_pid().one_cpu(usize::try_from(cpu).unwrap_or(usize::MAX));
        builder.sample(SampleFlag::RAW).sample_period(1).wakeup_watermark(room);
        let mut sampler = builder.build()?.sampled(room)?;
        sampler.as_counter_mut().enable()?;
        Ok(Self { cpu: cpu.cast_signed(), sampler })
    }

    /// The number of its open file, as a map takes it.
    fn number(&self) -> i32 {
        use std::os::fd::AsRawFd as _;
        self.sampler.as_counter().as_raw_fd()
    }

    /// Hands out what there is, not more than so many bytes. Returns how many those were.
    fn read(&mut self, room: usize, take: &mut impl FnMut(PerfEvent<'_>)) -> usize {
        let cpu = self.cpu;
        let mut read = 0;
        while read < room
            && let Some(record) = self.sampler.next_record()
        {
            read += record.len() + size_of::<u64>();
            let bytes = record.to_contiguous();
            match record.ty() {
                RECORD_SAMPLE => {
                    // The length is in front.
                    let Some((length, rest)) = bytes.split_first_chunk() else { continue };
                    let length = usize::try_from(u32::from_ne_bytes(*length)).unwrap_or(usize::MAX);
                    take(PerfEvent::Sample { cpu, data: rest.get(..length).unwrap_or(rest) });
                }
                RECORD_LOST => {
                    // Behind the number of the ring.
                    let count = bytes.get(size_of::<u64>()..).and_then(|rest| rest.first_chunk());
                    let count = count.map_or(0, |count| u64::from_ne_bytes(*count));
                    take(PerfEvent::Lost { cpu, count });
                }
                _ => {}
            }
        }
        read
    }
}

/// The numbers of the processors that there are: `0-3,6`.
fn processors() -> io::Result<Vec<u32>> {
    Ok(parse_processors(&fs::read_to_string(PROCESSORS)?))
}

fn parse_processors(list: &str) -> Vec<u32> {
    let range = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.trim().parse::<u32>().ok()?..=last.trim().parse::<u32>().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

fn failure(path: &Path, reason: String) -> Error {
    Error::PerfEvents { path: path.to_owned(), reason }
}

#[cfg(test)]
mod tests;
