//! The kernel programs that tell of system calls (`bpf/calls.bpf.c`): loading, attaching and reading
//! them.

use std::{
    os::fd::{AsFd as _, AsRawFd as _},
    time::Duration,
};

use libbpf_rs::{
    Iter, Link, Map, MapCore, MapFlags, MapHandle, Object, ObjectBuilder, OpenMapMut, OpenObject,
    ProgramMut, RingBuffer, RingBufferBuilder, num_possible_cpus,
};
use netglass_model::{CallSum, Degradation};
use rustix::thread::CapabilitySet;

use super::{
    CallSelection, Children,
    clock::monotonic_ns,
    descendants, record,
    ring::{self, BLOCK_RECORDS, Ring},
    settings::{AddingUp, Sizes, Telling},
    sum,
};
use crate::{
    Error,
    program::{self, Obstacle},
};

const PROGRAM: &str = "calls";
static OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/calls.bpf.o"));

/// What it takes to load and attach them.
const NEEDED: CapabilitySet = CapabilitySet::BPF.union(CapabilitySet::PERFMON);

/// Whether calls are added up because there was no room to tell of them.
const OVERLOAD: &str = ".data.overload";

const ENTER: &str = "enter_call";
/// When a call returns: it is told of, or added up.
const LEAVE: &str = "leave_call";
const ADD_UP: &str = "add_up_call";
const PENDING: &str = "list_pending";
/// Those that follow processes; needed only where that is asked for.
const FOLLOW: &str = "follow_child";
const FORGET: &str = "forget_process";

/// Gives back what a thread has to itself, at its end.
const FREE: &str = "free_slot";

/// Those that follow operations of `io_uring`, which not every kernel tells of in this way.
const URING: [&str; 2] = ["submit_operation", "complete_operation"];

/// How many processes are followed at a time.
const FOLLOWED: u32 = 65_536;
/// The kernel hands out at most 8 pages at a time.
const BUFFER_LENGTH: usize = 32 * 1024;

/// What was counted: calls that were seen = passed on + added up + waiting + filtered + lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CallCounts {
    /// Calls on sockets by processes that are selected; where calls are told of when they begin,
    /// too, each counts twice.
    pub seen: u64,
    /// Those of them that are not selected by their connection or result.
    pub filtered: u64,
    /// Those for which there was no room until they are read.
    pub ring_full: u64,
    /// Those that could not be understood.
    pub malformed: u64,
    /// Those that wait for their order to be known.
    pub waiting: u64,
    /// Those that were passed on after one that was later.
    pub late: u64,
    /// Children that could not be followed, because there were too many.
    pub not_followed: u64,
    /// Operations of `io_uring` that were not told of, because there were too many at a time.
    pub not_remembered: u64,
    /// Those that are in sums that were taken.
    pub added_up: u64,
    /// Those that were to be added up, and for which there was no room for another sum.
    pub sums_full: u64,
}

/// What the programs are to do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan<'a> {
    pub(super) selection: &'a CallSelection,
    pub(super) telling: Telling,
    /// Bytes that the kernel keeps of what is told and was not read yet.
    pub(super) buffer_size: u32,
    /// How many sums there can be at a time.
    pub(super) sums: u32,
    /// How many threads have a slot of their own.
    pub(super) threads: u32,
}

impl Plan<'_> {
    fn sizes(&self) -> Sizes {
        Sizes {
            ring_blocks: ring_blocks(self.buffer_size),
            thread_slots: power_of_two(self.threads),
        }
    }
}

/// The programs, running.
pub(super) struct Programs {
    // Before the object, whose maps they read.
    links: Vec<Link>,
    pending: Link,
    /// Rings when there is much to be read.
    doorbell: RingBuffer<'static>,
    object: Object,
    /// What is missing.
    degradation: Option<Degradation>,
    control: Control,
}

/// `struct call_control`.
#[derive(Debug, Clone, Copy, Default)]
struct Control {
    follow_next_child: bool,
    epoch: u32,
}

impl std::fmt::Debug for Programs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Programs").finish_non_exhaustive()
    }
}

impl Programs {
    /// Has them loaded, attached and at work.
    pub(super) fn start(plan: &Plan<'_>) -> Result<Self, Error> {
        let (object, degradation) = match load(plan, true) {
            Ok(object) => (object, None),
            // What is wrong with all of them is told by those that are needed.
            Err(obstacle) => {
                let object =
                    load(plan, false).map_err(|obstacle| failure("load", obstacle.reason))?;
                (object, Some(without_uring(obstacle.reason)))
            }
        };
        let doorbell = doorbell(&object)?;
        fill_sets(&object, plan.selection)?;
        let pending = attach(&object, PENDING)?;
        let mut programs = Self {
            links: Vec::new(),
            pending,
            doorbell,
            object,
            degradation,
            control: Control::default(),
        };
        // Once, so that the programs know in whose pid namespace ids are read.
        programs.list_pending(&mut |_| {})?;
        for name in following(plan.selection) {
            programs.links.push(attach(&programs.object, name)?);
        }
        if plan.selection.children == Children::Followed {
            // After new ones are followed, so that none comes in between.
            for pid in descendants::find(plan.selection)? {
                find_map(&programs.object, "followed")?
                    .update(&pid.to_ne_bytes(), &[1], MapFlags::ANY)
                    .map_err(|error| failure("control", reason(&error)))?;
            }
        }
        if programs.degradation.is_none() {
            for name in URING {
                match attach(&programs.object, name) {
                    Ok(link) => programs.links.push(link),
                    Err(error) => programs.degradation = Some(without_uring(error.to_string())),
                }
            }
        }
        for name in [FREE, at_return(plan.telling), ENTER] {
            programs.links.push(attach(&programs.object, name)?);
        }
        Ok(programs)
    }

    pub(super) fn take_degradation(&mut self) -> Option<Degradation> {
        self.degradation.take()
    }

    /// Nothing is told of any more.
    pub(super) fn detach(&mut self) {
        self.links.clear();
    }

    pub(super) fn follow_next_child(&self, follow: bool) -> Result<(), Error> {
        self.set_control(Control { follow_next_child: follow, ..self.control })
    }

    fn set_control(&self, control: Control) -> Result<(), Error> {
        let Control { follow_next_child, epoch } = control;
        let value = [u32::from(follow_next_child).to_ne_bytes(), epoch.to_ne_bytes()].concat();
        find_map(&self.object, ".data.control")?
            .update(&0_u32.to_ne_bytes(), &value, MapFlags::ANY)
            .map_err(|error| failure("control", reason(&error)))
    }

    pub(super) fn is_adding_up(&self) -> Result<bool, Error> {
        let value = find_map(&self.object, OVERLOAD)?
            .lookup(&0_u32.to_ne_bytes(), MapFlags::ANY)
            .map_err(|error| failure("read", reason(&error)))?;
        Ok(value.is_some_and(|value| value.iter().any(|&byte| byte != 0)))
    }

    pub(super) fn tell_again(&self) -> Result<(), Error> {
        find_map(&self.object, OVERLOAD)?
            .update(&0_u32.to_ne_bytes(), &0_u32.to_ne_bytes(), MapFlags::ANY)
            .map_err(|error| failure("control", reason(&error)))
    }

    /// Takes what was added up since the last time; `None` stands for what could not be understood.
    pub(super) fn collect_sums(
        &mut self,
        visit: &mut dyn FnMut(Option<CallSum>),
    ) -> Result<(), Error> {
        let ended = self.control.epoch;
        let control = Control { epoch: ended.wrapping_add(1), ..self.control };
        self.set_control(control)?;
        self.control = control;
        let content = find_map(&self.object, "barrier_content")?;
        // Returns when all programs that still add to the table of before have ended.
        find_map(&self.object, "barrier")?
            .update(&0_u32.to_ne_bytes(), &content.as_fd().as_raw_fd().to_ne_bytes(), MapFlags::ANY)
            .map_err(|error| failure("wait for", reason(&error)))?;
        let map = find_map(&self.object, if ended & 1 == 1 { "sums_odd" } else { "sums_even" })?;
        program::take_entries(&map, &mut |_, sum| visit(sum::parse(sum)))
            .map_err(|error| failure("read the sums of", reason(&error)))
    }

    pub(super) fn trial(&self) -> impl FnOnce() -> bool + Send + '_ {
        let counts = find_map(&self.object, "counts").map(|map| MapHandle::try_from(&map));
        let pending = &self.pending;
        move || {
            let reads = matches!(counts, Ok(Ok(map))
                if map.lookup_percpu(&0_u32.to_ne_bytes(), MapFlags::ANY).is_ok());
            reads && Iter::new(pending).is_ok()
        }
    }

    /// The rings of the processors, of which each is to be read once.
    pub(super) fn rings(&self, plan: &Plan<'_>) -> Result<Vec<Ring>, Error> {
        Ring::all(&self.object, plan.sizes().ring_blocks)
    }

    /// Waits until much is there to be read, for so long at most. Returns the time then.
    pub(super) fn wait(&self, wait: Duration) -> Result<u64, Error> {
        let polled = self.doorbell.poll_raw(wait);
        let is_interrupted = polled == -rustix::io::Errno::INTR.raw_os_error();
        if polled < 0 && !is_interrupted {
            let error = std::io::Error::from_raw_os_error(-polled);
            return Err(failure("read", error.to_string()));
        }
        Ok(monotonic_ns())
    }

    /// Visits a record of each call that does not return, in the order of their times.
    pub(super) fn list_pending(&self, visit: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        use std::io::Read as _;

        let mut iterator =
            Iter::new(&self.pending).map_err(|error| failure("read", reason(&error)))?;
        let mut buffer = vec![0; BUFFER_LENGTH];
        let mut kept = 0;
        loop {
            let length = match iterator.read(buffer.get_mut(kept..).unwrap_or_default()) {
                Ok(0) => return Ok(()),
                Ok(length) => kept + length,
                Err(error)
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::Interrupted | std::io::ErrorKind::WouldBlock
                    ) =>
                {
                    continue;
                }
                Err(error) => return Err(failure("read", error.to_string())),
            };
            let mut taken = 0;
            while let Some(record) = record::first(buffer.get(taken..length).unwrap_or_default()) {
                taken += record.len();
                visit(record);
            }
            buffer.copy_within(taken..length, 0);
            kept = length - taken;
        }
    }

    pub(super) fn counts(&self) -> Result<CallCounts, Error> {
        let map = find_map(&self.object, "counts")?;
        let read = |index: u32| -> Result<u64, Error> {
            let processors = map
                .lookup_percpu(&index.to_ne_bytes(), MapFlags::ANY)
                .map_err(|error| failure("read the counts of", reason(&error)))?
                .unwrap_or_default();
            let number = |bytes: &Vec<u8>| bytes.first_chunk().map(|it| u64::from_ne_bytes(*it));
            Ok(processors.iter().filter_map(number).sum())
        };
        let written = ring::written_by_all(&find_map(&self.object, "rings_written")?)?;
        Ok(CallCounts {
            seen: written.seen + read(5)?,
            // Until it is taken.
            waiting: written.records,
            filtered: read(0)?,
            ring_full: read(1)?,
            not_followed: read(2)?,
            not_remembered: read(3)?,
            sums_full: read(4)?,
            ..CallCounts::default()
        })
    }
}

/// Tries whether the programs can be loaded and attached, without following anything.
pub(crate) fn try_programs() -> Result<(), Obstacle> {
    let selection = CallSelection::default();
    let telling = Telling::default();
    let plan = Plan { selection: &selection, telling, buffer_size: 0, sums: 0, threads: 0 };
    let object = load(&plan, false)?;
    for name in [PENDING, FREE, at_return(telling), ENTER] {
        try_attach(&object, name).map(drop)?;
    }
    Ok(())
}

fn without_uring(reason: String) -> Degradation {
    Degradation {
        feature: "operations of io_uring".to_owned(),
        reason,
        consequence: "what programs do on sockets by io_uring is not shown".to_owned(),
    }
}

fn load(plan: &Plan<'_>, uring: bool) -> Result<Object, Obstacle> {
    let settings = plan
        .selection
        .settings(plan.telling, plan.sizes())
        .map_err(|error| Obstacle::of_kernel(error.to_string()))?;
    program::attempt(NEEDED, || {
        let mut object = ObjectBuilder::default().open_memory(OBJECT)?;
        for mut program in object.progs_mut() {
            if !uring && URING.iter().any(|name| program.name() == *name) {
                program.set_autoload(false);
            }
        }
        configure(&mut object, plan, &settings)?;
        object.load()
    })
}

fn configure(
    object: &mut OpenObject,
    plan: &Plan<'_>,
    settings: &[u8],
) -> Result<(), libbpf_rs::Error> {
    let selection = plan.selection;
    let follows = selection.children != Children::Alone;
    for mut program in object.progs_mut() {
        let is = |name: &str| program.name() == name;
        let is_left_out = match () {
            () if is(FOLLOW) || is(FORGET) => !following(selection).any(is),
            () if is(LEAVE) || is(ADD_UP) => !is(at_return(plan.telling)),
            () => false,
        };
        if is_left_out {
            program.set_autoload(false);
        }
    }
    let sizes = plan.sizes();
    let set_size = |map: &mut OpenMapMut<'_>, count: usize| {
        map.set_max_entries(u32::try_from(count.max(1)).unwrap_or(u32::MAX))
    };
    for mut map in object.maps_mut() {
        match map.name().to_str() {
            Some("rings_written" | "rings_read") => set_size(&mut map, num_possible_cpus()?)?,
            Some("record_blocks") => {
                let blocks = usize::try_from(sizes.ring_blocks).unwrap_or_default();
                set_size(&mut map, num_possible_cpus()?.saturating_mul(blocks))?;
            }
            Some("thread_slots") => map.set_max_entries(sizes.thread_slots)?,
            Some("sums_even" | "sums_odd") => map.set_max_entries(plan.sums.max(1))?,
            Some("selected_pids") => set_size(&mut map, selection.pids.len())?,
            Some("other_pids") => set_size(&mut map, selection.not_pids.len())?,
            Some("selected_uids") => set_size(&mut map, selection.uids.len())?,
            Some("selected_ports") => set_size(&mut map, selection.ports.len())?,
            Some("selected_comms") => set_size(&mut map, selection.comms.len())?,
            Some("other_comms") => set_size(&mut map, selection.not_comms.len())?,
            Some("followed") if follows => map.set_max_entries(FOLLOWED)?,
            Some(".rodata.settings") => {
                if let Some(value) = map.initial_value_mut() {
                    value.iter_mut().zip(settings).for_each(|(place, &byte)| *place = byte);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The program for calls that return.
fn at_return(telling: Telling) -> &'static str {
    if matches!(telling.adding_up, AddingUp::Always(_)) { ADD_UP } else { LEAVE }
}

/// Which of the programs that follow processes are needed. Also what is selected by its id has to be
/// forgotten at its end, since another one may get it.
fn following(selection: &CallSelection) -> impl Iterator<Item = &'static str> + use<> {
    let follows = selection.children != Children::Alone;
    let forgets = follows || !selection.pids.is_empty();
    [(FOLLOW, follows), (FORGET, forgets)]
        .into_iter()
        .filter(|(_, is_needed)| *is_needed)
        .map(|(name, _)| name)
}

/// Tells the programs what is selected by lists.
fn fill_sets(object: &Object, selection: &CallSelection) -> Result<(), Error> {
    let ports: Vec<u32> = selection.ports.iter().copied().map(u32::from).collect();
    let numbers = [
        ("selected_pids", &selection.pids),
        ("other_pids", &selection.not_pids),
        ("selected_uids", &selection.uids),
        ("selected_ports", &ports),
    ];
    let add = |name: &'static str, key: &[u8]| {
        find_map(object, name)?
            .update(key, &[1], MapFlags::ANY)
            .map_err(|error| failure("control", reason(&error)))
    };
    for (name, numbers) in numbers {
        numbers.iter().try_for_each(|number| add(name, &number.to_ne_bytes()))?;
    }
    for (name, comms) in
        [("selected_comms", &selection.comms), ("other_comms", &selection.not_comms)]
    {
        comms.iter().try_for_each(|comm| add(name, comm.padded()))?;
    }
    Ok(())
}

/// How many blocks the ring of one processor has, of `bytes` for all of them: a power of two.
fn ring_blocks(bytes: u32) -> u32 {
    /// What can be addressed by the blocks' numbers, on the largest of machines.
    const MOST: u32 = 1 << 16;
    let block = u32::try_from(BLOCK_RECORDS * record::LENGTH).unwrap_or(u32::MAX);
    let processors = num_possible_cpus().ok().and_then(|it| u32::try_from(it).ok()).unwrap_or(1);
    (bytes / processors.max(1) / block).clamp(1, MOST).next_power_of_two()
}

/// That, or the next one above.
fn power_of_two(count: u32) -> u32 {
    count.clamp(1, 1 << 20).next_power_of_two()
}

fn doorbell(object: &Object) -> Result<RingBuffer<'static>, Error> {
    let map = find_map(object, "doorbell")?;
    let mut builder = RingBufferBuilder::new();
    builder.add(&map, |_| 0).map_err(|error| failure("read", reason(&error)))?;
    builder.build().map_err(|error| failure("read", reason(&error)))
}

fn attach(object: &Object, name: &'static str) -> Result<Link, Error> {
    try_attach(object, name).map_err(|obstacle| Error::Program {
        doing: "attach",
        program: name,
        reason: obstacle.reason,
    })
}

fn try_attach(object: &Object, name: &str) -> Result<Link, Obstacle> {
    let program = find_program(object, name)
        .ok_or_else(|| Obstacle::of_kernel(format!("the object holds no program {name}")))?;
    program::attempt(NEEDED, || program.attach())
}

fn find_program<'a>(object: &'a Object, name: &str) -> Option<ProgramMut<'a>> {
    object.progs_mut().find(|program| program.name() == name)
}

/// A map of an object, for itself.
pub(super) fn map_handle(object: &Object, name: &'static str) -> Result<MapHandle, Error> {
    MapHandle::try_from(&find_map(object, name)?).map_err(|error| failure("read", reason(&error)))
}

fn find_map<'a>(object: &'a Object, name: &'static str) -> Result<Map<'a>, Error> {
    let found = object.maps().find(|map| map.name() == name);
    found.ok_or_else(|| failure("find", format!("the object holds no map {name}")))
}

pub(super) fn failure(doing: &'static str, reason: String) -> Error {
    Error::Program { doing, program: PROGRAM, reason }
}

pub(super) fn reason(error: &libbpf_rs::Error) -> String {
    format!("{error:#}")
}
