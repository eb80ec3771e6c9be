//! The streaming kernel programs (`bpf/stream.bpf.c`): loading, attaching and reading them.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    io::Read,
    os::fd::{AsFd, AsRawFd},
    rc::Rc,
};

use libbpf_rs::{
    Iter, Link, Map, MapCore, MapFlags, MapHandle, Object, ObjectBuilder, OpenObject, ProgramMut,
    RingBuffer, RingBufferBuilder,
};
use netglass_model::{Degradation, FlowCounters, NamespaceInode};
use rustix::thread::CapabilitySet;

use super::{
    Sizes,
    existing::Existing,
    hook::{Attachment, Feature, HOOKS, Hook, OPENS_INSTEAD},
    listed::{Holders, Listed, Name},
    record::{self, FlowKey, LISTENER_LENGTH, ListenerRecord},
};
use crate::{
    Error, cgroup_root,
    program::{self, Obstacle},
};

const PROGRAM: &str = "stream";
static OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/stream.bpf.o"));

/// The kernel hands out at most 8 pages at a time.
pub(super) const BUFFER_LENGTH: usize = 32 * 1024;

/// What the kernel programs counted in one epoch, besides flows (`enum count`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) sightings: u64,
    pub(super) flows_full: u64,
    pub(super) flows_busy: u64,
    pub(super) untracked: u64,
    pub(super) no_peer: u64,
    pub(super) process_buffer_full: u64,
}

impl Counts {
    const NUMBER: u32 = 6;

    /// Sightings that are in no flow.
    pub(super) fn lost(&self) -> u64 {
        self.flows_full + self.flows_busy + self.untracked + self.no_peer
    }
}

pub(super) const FIRST_EPOCH: u32 = 1;

/// The programs, running.
pub(super) struct Programs {
    // Before the object, whose maps they read.
    links: Vec<Link>,
    living: Vec<Link>,
    process_records: RingBuffer<'static>,
    /// What was read of them.
    records: Rc<RefCell<Vec<u8>>>,
    object: Object,
    epoch: u32,
    phase: u32,
    /// Whether the programs are to look for sockets in a list.
    has_list: bool,
    listed: Vec<FlowKey>,
    buffer: Vec<u8>,
}

impl std::fmt::Debug for Programs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Programs").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

impl Programs {
    /// Loads and attaches what can be; what cannot is told to `degraded`. Sockets that are there
    /// already are found before this returns; `name` numbers those of their processes that the
    /// programs cannot tell of.
    pub(super) fn start(
        namespace: Option<NamespaceInode>,
        sizes: Sizes,
        unavailable: &[&str],
        name: &mut Name<'_>,
        degraded: &mut dyn FnMut(Degradation),
    ) -> Result<Self, Error> {
        let mut shortfall = Shortfall { features: BTreeSet::new(), degraded };
        let (left_out, wanted): (Vec<Hook>, Vec<Hook>) =
            HOOKS.into_iter().partition(|hook| unavailable.contains(&hook.program));
        for hook in &left_out {
            shortfall.add(hook, "load", "it is left out")?;
        }
        let (object, loaded) = load_what_can_be(namespace, sizes, &wanted, &mut shortfall)?;
        let mut starting =
            Starting { object: &object, living: Vec::new(), existing: Existing::default() };
        starting.attach_iterators(&loaded, &mut shortfall)?;
        let Starting { living, mut existing, .. } = starting;
        let holders = if shortfall.features.contains(&Feature::Holders) {
            Some(Holders::read(sizes.connections, name, shortfall.degraded)?)
        } else {
            None
        };
        if holders.is_some() || shortfall.features.contains(&Feature::Existing) {
            existing.listed = Some(Listed::new(&object, holders)?);
        }
        let records = Rc::default();
        let process_records = ring_buffer(&object, Rc::clone(&records))?;
        let mut programs = Self {
            links: Vec::new(),
            living,
            process_records,
            records,
            object,
            epoch: 0,
            phase: 0,
            has_list: existing.listed.is_some(),
            listed: existing.list_before(namespace)?,
            buffer: vec![0; BUFFER_LENGTH],
        };
        programs.begin(FIRST_EPOCH)?;
        // Once, so that the programs know in whose pid namespace ids are read.
        programs.look_at_living(&mut |_| {})?;
        programs.attach(&loaded, &mut shortfall)?;
        existing.find(namespace, |phase| programs.set_phase(phase), shortfall.degraded)?;
        Ok(programs)
    }

    /// Attaches all but the iterators.
    fn attach(&mut self, loaded: &[Hook], shortfall: &mut Shortfall<'_>) -> Result<(), Error> {
        let tells_opens = |hook: &Hook| matches!(hook.feature, Feature::Attempts | Feature::Binds);
        let mut opens_told = 0;
        let (instead, hooks): (Vec<&Hook>, Vec<&Hook>) =
            loaded.iter().partition(|hook| hook.program == OPENS_INSTEAD);
        for hook in hooks {
            if hook.attachment.is_iterator() {
                continue;
            }
            match attach(&self.object, hook) {
                Ok(link) => {
                    opens_told += usize::from(tells_opens(hook));
                    self.links.push(link);
                }
                Err(obstacle) => shortfall.add(hook, "attach", &obstacle.reason)?,
            }
        }
        if opens_told < HOOKS.iter().filter(|hook| tells_opens(hook)).count() {
            for hook in instead {
                let attached = attach(&self.object, hook);
                let link = attached.map_err(|obstacle| failure("attach", obstacle.reason))?;
                self.links.push(link);
            }
        }
        Ok(())
    }

    fn set_phase(&mut self, phase: u32) -> Result<(), Error> {
        self.phase = phase;
        set_control(&self.object, self.epoch, phase, self.has_list)
    }

    /// Adds what living connections did to their flows, and visits those who listen; `None` stands
    /// for a record that could not be understood.
    pub(super) fn look_at_living(
        &mut self,
        visit: &mut dyn FnMut(Option<ListenerRecord>),
    ) -> Result<(), Error> {
        let Self { living, buffer, .. } = self;
        living.iter().try_for_each(|iterator| {
            read_iterator(iterator, buffer, |bytes| {
                let records = bytes.chunks_exact(LISTENER_LENGTH);
                let left = records.remainder().len();
                records.for_each(|record| visit(ListenerRecord::parse(record)));
                bytes.len() - left
            })
        })
    }

    /// Tries whether the calling thread may use the programs.
    pub(super) fn trial(&self) -> impl FnOnce() -> bool + Send + '_ {
        let living = &self.living;
        let control = find_map(&self.object, "control").map(|map| MapHandle::try_from(&map));
        move || {
            let reads = matches!(control, Ok(Ok(map)) if is_readable(&map));
            reads && living.iter().all(|iterator| Iter::new(iterator).is_ok())
        }
    }

    /// Takes the connections of the first epoch that lists told of, each counted as one. What
    /// happens on them is counted by the programs, which do not count them again in that epoch.
    pub(super) fn take_listed(&mut self) -> Vec<FlowKey> {
        std::mem::take(&mut self.listed)
    }

    /// Begins a new epoch; what is counted from now on goes into the other tables. Returns the
    /// epoch that has ended, of which nothing is added any more.
    pub(super) fn flip(&mut self) -> Result<u32, Error> {
        let ended = self.epoch;
        self.begin(ended.wrapping_add(1))?;
        Ok(ended)
    }

    fn begin(&mut self, epoch: u32) -> Result<(), Error> {
        set_control(&self.object, epoch, self.phase, self.has_list)?;
        self.epoch = epoch;
        let content = find_map(&self.object, "barrier_content")?;
        // Returns when all programs that began before have ended.
        find_map(&self.object, "barrier")?
            .update(&0_u32.to_ne_bytes(), &content.as_fd().as_raw_fd().to_ne_bytes(), MapFlags::ANY)
            .map_err(|error| failure("wait for", reason(error)))
    }

    /// Takes all flows of an epoch that has ended, each with how often something was added to it;
    /// `None` stands for one that could not be understood.
    pub(super) fn take_flows(
        &self,
        epoch: u32,
        visit: &mut dyn FnMut(Option<(FlowKey, u64, FlowCounters)>),
    ) -> Result<(), Error> {
        let map = find_map(&self.object, if epoch & 1 == 1 { "flows_odd" } else { "flows_even" })?;
        let mut take = |key: &[u8], value: &[u8]| {
            let flow = FlowKey::parse(key).zip(record::parse_counters(value));
            visit(flow.map(|(key, (sightings, counters))| (key, sightings, counters)));
        };
        self.take_recent_flows(epoch, &mut take)?;
        program::take_entries(&map, &mut take)
            .map_err(|error| failure("read the flows of", reason(error)))
    }

    /// Takes the flows that did not make way for others on any processor.
    fn take_recent_flows(
        &self,
        epoch: u32,
        take: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), Error> {
        let error = |error| failure("read the flows of", reason(error));
        let map = find_map(&self.object, "recent_flows")?;
        let parity = (epoch & 1).to_ne_bytes();
        let mut processors =
            map.lookup_percpu(&parity, MapFlags::ANY).map_err(error)?.unwrap_or_default();
        let mut is_empty = true;
        for flows in &mut processors {
            for flow in flows.chunks_exact(record::RECENT_FLOW_LENGTH) {
                let (key, rest) = flow.split_at(record::FLOW_KEY_LENGTH);
                let counters = &rest[..record::FLOW_COUNTERS_LENGTH];
                // The first of the counters says how often something was added.
                if counters[..8].iter().any(|&byte| byte != 0) {
                    is_empty = false;
                    take(key, counters);
                }
            }
            flows.fill(0);
        }
        if is_empty {
            return Ok(());
        }
        map.update_percpu(&parity, &processors, MapFlags::ANY).map_err(error)
    }

    /// Takes what else was counted in an epoch that has ended.
    pub(super) fn take_counts(&self, epoch: u32) -> Result<Counts, Error> {
        let map = find_map(&self.object, "counts")?;
        let take = |index| program::take_count(&map, (epoch & 1) * Counts::NUMBER + index);
        let error = |error| failure("read the counts of", reason(error));
        Ok(Counts {
            sightings: take(0).map_err(error)?,
            flows_full: take(1).map_err(error)?,
            flows_busy: take(2).map_err(error)?,
            untracked: take(3).map_err(error)?,
            no_peer: take(4).map_err(error)?,
            process_buffer_full: take(5).map_err(error)?,
        })
    }

    /// Visits the processes that were told of since the last call.
    pub(super) fn take_processes(&self, visit: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        self.process_records
            .consume()
            .map_err(|error| failure("read the processes of", reason(error)))?;
        let mut records = self.records.borrow_mut();
        records.chunks_exact(record::PROCESS_LENGTH).for_each(visit);
        records.clear();
        // What a burst took is given back.
        records.shrink_to(64 * record::PROCESS_LENGTH);
        Ok(())
    }
}

/// Tries each of the programs by itself: the features, and why those that do not work do not.
pub(crate) fn try_each() -> Vec<(Feature, Result<(), Obstacle>)> {
    let try_hook = |hook: &Hook| {
        let object = load(None, Sizes::SMALLEST, std::slice::from_ref(hook))?;
        attach(&object, hook).map(drop)
    };
    let of_feature = |feature| {
        let mut hooks = HOOKS.iter().filter(|hook| hook.feature == feature);
        (feature, hooks.try_for_each(try_hook))
    };
    Feature::ALL.into_iter().map(of_feature).collect()
}

/// Tries whether there is memory for the tables that suit this host, without any program.
pub(crate) fn try_tables() -> Result<(), Obstacle> {
    load(None, Sizes::of_host(), &[]).map(drop)
}

/// Attaches one program.
fn attach(object: &Object, hook: &Hook) -> Result<Link, Obstacle> {
    let missing = |error: Error| Obstacle::of_kernel(error.to_string());
    let program = find_program(object, hook.program).map_err(missing)?;
    let needed = hook.attachment.needed();
    match hook.attachment {
        Attachment::Tracepoint | Attachment::Iterator | Attachment::NamespaceIterator => {
            program::attempt(needed, || program.attach())
        }
        Attachment::MapIterator { map } => {
            let map = find_map(object, map).map_err(missing)?;
            program::attempt(needed, || program.attach_iter(map.as_fd()))
        }
        Attachment::Cgroup => {
            let root = cgroup_root::open().map_err(missing)?;
            program::attempt(needed, || program.attach_cgroup(root.as_raw_fd()))
        }
    }
}

/// The iterators while they are attached.
struct Starting<'a> {
    object: &'a Object,
    living: Vec<Link>,
    existing: Existing,
}

impl Starting<'_> {
    fn attach_iterators(
        &mut self,
        loaded: &[Hook],
        shortfall: &mut Shortfall<'_>,
    ) -> Result<(), Error> {
        for hook in loaded.iter().filter(|hook| hook.attachment.is_iterator()) {
            match attach(self.object, hook) {
                Ok(link) => match hook.attachment {
                    Attachment::MapIterator { .. } => self.living.push(link),
                    Attachment::NamespaceIterator => self.existing.in_namespaces.push(link),
                    _ => self.existing.in_files.push(link),
                },
                Err(obstacle) => shortfall.add(hook, "attach", &obstacle.reason)?,
            }
        }
        Ok(())
    }
}

/// Loads all of `wanted`, or, where that fails, those that can be loaded by themselves.
fn load_what_can_be(
    namespace: Option<NamespaceInode>,
    sizes: Sizes,
    wanted: &[Hook],
    shortfall: &mut Shortfall<'_>,
) -> Result<(Object, Vec<Hook>), Error> {
    if let Ok(object) = load(namespace, sizes, wanted) {
        return Ok((object, wanted.to_vec()));
    }
    let mut loadable = Vec::new();
    for hook in wanted {
        match load(namespace, Sizes::SMALLEST, std::slice::from_ref(hook)) {
            Ok(_) => loadable.push(*hook),
            Err(obstacle) => shortfall.add(hook, "load", &obstacle.reason)?,
        }
    }
    let object =
        load(namespace, sizes, &loadable).map_err(|obstacle| failure("load", obstacle.reason))?;
    Ok((object, loadable))
}

fn load(
    namespace: Option<NamespaceInode>,
    sizes: Sizes,
    hooks: &[Hook],
) -> Result<Object, Obstacle> {
    let needed = hooks
        .iter()
        .fold(CapabilitySet::BPF, |needed, hook| needed.union(hook.attachment.needed()));
    program::attempt(needed, || {
        let mut object = ObjectBuilder::default().open_memory(OBJECT)?;
        for mut program in object.progs_mut() {
            let is_wanted = hooks.iter().any(|hook| program.name() == hook.program);
            program.set_autoload(is_wanted);
        }
        configure(&mut object, namespace, sizes)?;
        object.load()
    })
}

fn configure(
    object: &mut OpenObject,
    namespace: Option<NamespaceInode>,
    sizes: Sizes,
) -> Result<(), libbpf_rs::Error> {
    // Namespace inodes are 32 bits wide in the kernel (struct ns_common).
    let wanted = namespace.map_or(0, |inode| u32::try_from(inode.0).unwrap_or(0));
    for mut map in object.maps_mut() {
        match map.name().to_str() {
            Some("flows_even" | "flows_odd") => map.set_max_entries(sizes.flows)?,
            Some("connections") => map.set_max_entries(sizes.connection_places())?,
            Some("listed_sockets") => map.set_max_entries(sizes.connections)?,
            Some("conversations") => map.set_max_entries(sizes.conversations)?,
            Some("processes") => map.set_max_entries(Sizes::PROCESSES)?,
            Some("process_records") => map.set_max_entries(sizes.process_buffer())?,
            // Of all that is read-only there, struct settings is the first and only one.
            Some(name) if name.ends_with(".rodata") => {
                if let Some(value) = map.initial_value_mut().and_then(<[u8]>::first_chunk_mut::<8>)
                {
                    let mask = sizes.connection_places() - 1;
                    let settings = [wanted.to_ne_bytes(), mask.to_ne_bytes()];
                    value.copy_from_slice(settings.as_flattened());
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn ring_buffer(
    object: &Object,
    records: Rc<RefCell<Vec<u8>>>,
) -> Result<RingBuffer<'static>, Error> {
    let map = find_map(object, "process_records")?;
    let mut builder = RingBufferBuilder::new();
    builder
        .add(&map, move |bytes| {
            // Its consumer is not there while a record is taken.
            if let (Ok(mut records), record::PROCESS_LENGTH) =
                (records.try_borrow_mut(), bytes.len())
            {
                records.extend_from_slice(bytes);
            }
            0
        })
        .map_err(|error| failure("read the processes of", reason(error)))?;
    builder.build().map_err(|error| failure("read the processes of", reason(error)))
}

fn set_control(object: &Object, epoch: u32, phase: u32, has_list: bool) -> Result<(), Error> {
    let value = [epoch, phase, u32::from(has_list), 0].map(u32::to_ne_bytes).concat();
    find_map(object, "control")?
        .update(&0_u32.to_ne_bytes(), &value, MapFlags::ANY)
        .map_err(|error| failure("control", reason(error)))
}

/// Runs an iterator to its end. `take` is given what was read and not taken before, and says how
/// many bytes it took.
pub(super) fn read_iterator(
    link: &Link,
    buffer: &mut [u8],
    mut take: impl FnMut(&[u8]) -> usize,
) -> Result<(), Error> {
    let mut iterator = Iter::new(link).map_err(|error| failure("read", reason(error)))?;
    let mut kept = 0;
    loop {
        let length = match iterator.read(&mut buffer[kept..]) {
            Ok(0) => return Ok(()),
            Ok(length) => kept + length,
            // The kernel pauses after a million sockets of which nothing is to be told.
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
        let used = take(&buffer[..length]).min(length);
        buffer.copy_within(used..length, 0);
        kept = length - used;
    }
}

fn is_readable(control: &MapHandle) -> bool {
    control.lookup(&0_u32.to_ne_bytes(), MapFlags::ANY).is_ok_and(|value| value.is_some())
}

/// What could not be had. A feature is told of once, however many of its programs are missing.
struct Shortfall<'a> {
    features: BTreeSet<Feature>,
    degraded: &'a mut dyn FnMut(Degradation),
}

impl Shortfall<'_> {
    /// Without a required program there is no streaming; without any other one something is lost.
    fn add(&mut self, hook: &Hook, doing: &'static str, reason: &str) -> Result<(), Error> {
        if hook.feature.is_required() {
            return Err(Error::Program { doing, program: hook.program, reason: reason.to_owned() });
        }
        if self.features.insert(hook.feature) {
            (self.degraded)(Degradation {
                feature: hook.feature.name().to_owned(),
                reason: format!("cannot {doing} the kernel program {}: {reason}", hook.program),
                consequence: hook.feature.lost().to_owned(),
            });
        }
        Ok(())
    }
}

fn find_program<'a>(object: &'a Object, name: &'static str) -> Result<ProgramMut<'a>, Error> {
    let found = object.progs_mut().find(|program| program.name() == name);
    found.ok_or_else(|| failure("find", format!("the object holds no program {name}")))
}

pub(super) fn find_map<'a>(object: &'a Object, name: &'static str) -> Result<Map<'a>, Error> {
    let found = object.maps().find(|map| map.name() == name);
    found.ok_or_else(|| failure("find", format!("the object holds no map {name}")))
}

#[allow(clippy::needless_pass_by_value, reason = "for use in map_err")]
fn reason(error: libbpf_rs::Error) -> String {
    format!("{error:#}")
}

fn failure(doing: &'static str, reason: String) -> Error {
    Error::Program { doing, program: PROGRAM, reason }
}
