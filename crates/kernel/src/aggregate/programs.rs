//! The aggregating kernel programs (`bpf/aggregate.bpf.c`): loading, attaching and reading them.

use std::{
    fmt,
    os::fd::{AsFd as _, AsRawFd as _},
};

use libbpf_rs::{
    Link, MapCore as _, MapFlags, MapHandle, Object, ObjectBuilder, RingBuffer, RingBufferBuilder,
    query::{LinkInfo, LinkInfoIter, LinkTypeInfo},
};
use rustix::thread::CapabilitySet;

use super::AggregateCounts;
use crate::{
    Error,
    capture::link::Link as Interface,
    program::{self, Obstacle},
};

const PROGRAM: &str = "aggregate";
static OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/aggregate.bpf.o"));

/// The capabilities that it takes to load and attach the programs.
const NEEDED: CapabilitySet = CapabilitySet::BPF.union(CapabilitySet::NET_ADMIN);

/// `COUNTS` of `bpf/aggregate/records.h`.
const COUNTS: u32 = 10;

/// `linux/if_arp.h`.
mod kind {
    pub(super) const ETHERNET: u16 = 1;
    pub(super) const LOOPBACK: u16 = 772;
    /// Devices whose packets begin with IP: RAWIP, TUNNEL, TUNNEL6, SIT, IPGRE, IP6GRE, NONE, PPP.
    pub(super) const IP: [u16; 8] = [519, 768, 769, 776, 778, 823, 0xfffe, 512];
}

/// The programs, loaded.
pub(super) struct Programs {
    object: Object,
    flows: [MapHandle; 2],
    counts: MapHandle,
    filled: MapHandle,
    control: MapHandle,
    barrier: MapHandle,
    barrier_content: MapHandle,
    wakeups: MapHandle,
    wakeups_reader: RingBuffer<'static>,
    wake_at: u32,
    epoch: u32,
}

impl fmt::Debug for Programs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Programs").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

impl Programs {
    /// Loads them with tables for so many flows, one at least.
    pub(super) fn load(flows: u32) -> Result<Self, Error> {
        let object = load(flows).map_err(|obstacle| failure("load", obstacle.reason))?;
        let map = |name: &'static str| {
            let found = object.maps().find(|map| map.name() == name);
            let found = found.ok_or_else(|| failure("find", format!("there is no map {name}")))?;
            MapHandle::try_from(&found).map_err(|error| failure("open", reason(error)))
        };
        let (wakeups, mut builder) = (map("wakeups")?, RingBufferBuilder::new());
        builder.add(&wakeups, |_| 0).map_err(|error| failure("read", reason(error)))?;
        let wakeups_reader = builder.build().map_err(|error| failure("read", reason(error)))?;
        let mut programs = Self {
            flows: [map("flows_even")?, map("flows_odd")?],
            counts: map("counts")?,
            filled: map("filled")?,
            control: map("control")?,
            barrier: map("barrier")?,
            barrier_content: map("barrier_content")?,
            wakeups,
            wakeups_reader,
            wake_at: flows / 2,
            epoch: 0,
            object,
        };
        programs.begin(0)?;
        Ok(programs)
    }

    /// Loads them as small as they can be, and attaches each to the loopback interface.
    pub(super) fn try_all() -> Result<(), Obstacle> {
        let object = load(1)?;
        object.progs_mut().try_for_each(|program| {
            // The kernel gives it this number in each network namespace.
            program::attempt(NEEDED, || program.attach_xdp(1)).map(drop)
        })
    }

    /// Attaches them to an interface. Nothing is counted any more when the links are dropped.
    pub(super) fn attach(&self, interface: &Interface) -> Result<Vec<Link>, Error> {
        let names: &[&str] = match interface.kind {
            kind::ETHERNET => &["ethernet_ingress", "ethernet_egress"],
            // What is sent there is received there, too.
            kind::LOOPBACK => &["ethernet_ingress"],
            kind if kind::IP.contains(&kind) => &["ip_ingress", "ip_egress"],
            kind => {
                return Err(Error::Capture {
                    interface: Some(interface.name.clone()),
                    reason: format!(
                        "what its packets begin with (hardware type {kind}) is not known in the \
                         kernel: capture it with --engine ring"
                    ),
                });
            }
        };
        let index = i32::try_from(interface.index).unwrap_or(i32::MAX);
        let mut links = Vec::with_capacity(names.len());
        for name in names {
            let program = self.object.progs_mut().find(|program| program.name() == *name);
            let program = program
                .ok_or_else(|| failure("find", format!("the object holds no program {name}")))?;
            // What attaches programs of XDP takes the number of an interface, and attaches whatever
            // program where it says itself that it belongs: here to tcx.
            let link = program::attempt(NEEDED, || program.attach_xdp(index));
            links.push(link.map_err(|obstacle| Error::Capture {
                interface: Some(interface.name.clone()),
                reason: format!(
                    "{}; kernel programs at interfaces (tcx) take Linux 6.6, CAP_BPF and \
                     CAP_NET_ADMIN: without those, use --engine ring",
                    obstacle.reason
                ),
            })?);
        }
        Ok(links)
    }

    /// How many programs are attached to an interface by links, and so before those that come now.
    pub(super) fn attached(interface: u32) -> usize {
        let is_there = |link: &LinkInfo| matches!(&link.info, LinkTypeInfo::Tcx(tcx) if tcx.ifindex == interface);
        LinkInfoIter::default().filter(is_there).count()
    }

    /// Begins a new epoch; what is counted from now on goes into the other tables. Returns the epoch
    /// that has ended, of which nothing is added any more.
    pub(super) fn flip(&mut self) -> Result<u32, Error> {
        let ended = self.epoch;
        self.begin(ended.wrapping_add(1))?;
        Ok(ended)
    }

    fn begin(&mut self, epoch: u32) -> Result<(), Error> {
        let first = 0_u32.to_ne_bytes();
        let control = [epoch.to_ne_bytes(), self.wake_at.to_ne_bytes()].concat();
        self.control
            .update(&first, &control, MapFlags::ANY)
            .map_err(|error| failure("control", reason(error)))?;
        self.epoch = epoch;
        // Returns when all programs that began before have ended.
        let content = self.barrier_content.as_fd().as_raw_fd().to_ne_bytes();
        self.barrier
            .update(&first, &content, MapFlags::ANY)
            .map_err(|error| failure("wait for", reason(error)))
    }

    /// Takes all flows of an epoch that has ended: keys and sums.
    pub(super) fn take_flows(
        &self,
        epoch: u32,
        take: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), Error> {
        let error = |error| failure("read the flows of", reason(error));
        let [even, odd] = &self.flows;
        let (map, parity) = if epoch & 1 == 1 { (odd, 1_u32) } else { (even, 0) };
        program::take_entries(map, take).map_err(error)?;
        let none = 0_u32.to_ne_bytes();
        self.filled.update(&parity.to_ne_bytes(), &none, MapFlags::ANY).map_err(error)
    }

    /// Takes what else was counted in an epoch that has ended.
    pub(super) fn take_counts(&self, epoch: u32) -> Result<AggregateCounts, Error> {
        let take = |index| {
            program::take_count(&self.counts, (epoch & 1) * COUNTS + index)
                .map_err(|error| failure("read the counts of", reason(error)))
        };
        Ok(AggregateCounts {
            seen: take(0)?,
            not_ip: take(1)?,
            truncated: take(2)?,
            length: take(3)?,
            version: take(4)?,
            too_deep: take(5)?,
            flows_full: take(6)?,
            flows_busy: take(7)?,
            unaccounted: 0,
            unmatched_fragments: take(8)?,
            bytes_left_out: take(9)?,
        })
    }

    /// Can be read from when the table in use fills up.
    pub(super) fn wakeups(&self) -> &MapHandle {
        &self.wakeups
    }

    /// Forgets that it did.
    pub(super) fn take_wakeups(&self) -> Result<(), Error> {
        self.wakeups_reader.consume().map_err(|error| failure("read", reason(error)))
    }

    /// Tries whether the calling thread may read what is counted.
    pub(super) fn trial(&self) -> impl FnOnce() -> bool + Send + '_ {
        let control = &self.control;
        let first = 0_u32.to_ne_bytes();
        move || control.lookup(&first, MapFlags::ANY).is_ok_and(|value| value.is_some())
    }
}

fn load(flows: u32) -> Result<Object, Obstacle> {
    program::attempt(NEEDED, || {
        let mut object = ObjectBuilder::default().open_memory(OBJECT)?;
        for mut map in object.maps_mut() {
            if let Some("flows_even" | "flows_odd") = map.name().to_str() {
                map.set_max_entries(flows)?;
            }
        }
        object.load()
    })
}

#[allow(clippy::needless_pass_by_value, reason = "for use in map_err")]
fn reason(error: libbpf_rs::Error) -> String {
    format!("{error:#}")
}

fn failure(doing: &'static str, reason: String) -> Error {
    Error::Program { doing, program: PROGRAM, reason }
}
