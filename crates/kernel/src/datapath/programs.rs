//! The kernel programs of the datapath (`bpf/datapath.bpf.c`): loading, attaching and reading them.

use std::{
    fmt,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    os::fd::AsFd as _,
};

use libbpf_rs::{
    Link, Map, MapCore as _, MapFlags, MapHandle, Object, ObjectBuilder, OpenObject, Program,
    query::ProgInfoIter,
};
use netglass_model::NamespaceInode;
use rustix::thread::CapabilitySet;

use super::{DatapathOptions, settings::settings};
use crate::{
    Error,
    capture::link::Link as Interface,
    program::{self, Obstacle},
};

const PROGRAM: &str = "datapath";
static OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/datapath.bpf.o"));

/// The capabilities that it takes to load and attach the programs.
const NEEDED: CapabilitySet =
    CapabilitySet::BPF.union(CapabilitySet::NET_ADMIN).union(CapabilitySet::PERFMON);

/// The program of the tracepoint.
const DROPS: &str = "note_drop";
/// How many interfaces of all namespaces can be told apart from others.
const MOST_INTERFACES: u32 = 65_536;

/// `linux/if_arp.h`.
mod kind {
    pub(super) const ETHERNET: u16 = 1;
    pub(super) const LOOPBACK: u16 = 772;
    /// Devices whose packets begin with IP: RAWIP, TUNNEL, TUNNEL6, SIT, IPGRE, IP6GRE, NONE, PPP.
    pub(super) const IP: [u16; 8] = [519, 768, 769, 776, 778, 823, 0xfffe, 512];
}

/// What became of packets: those seen and those dropped are those told, filtered, lost, and those that
/// are no packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DatapathCounts {
    /// Packets that came by an interface, each time.
    pub seen: u64,
    /// Packets that the kernel dropped.
    pub dropped: u64,
    /// Those of both that are not selected.
    pub filtered: u64,
    /// Those of both for which there was no room.
    pub lost: u64,
    /// What the kernel dropped that is no packet of a network, like messages between processes.
    pub no_packets: u64,
    /// Drops while another one was told of on the same processor: of those nothing is known, and they are in
    /// none of the others.
    pub nested: u64,
}

impl DatapathCounts {
    /// How many were told of.
    #[must_use]
    pub fn told(&self) -> u64 {
        let not_told = self.filtered.saturating_add(self.lost).saturating_add(self.no_packets);
        self.seen.saturating_add(self.dropped).saturating_sub(not_told)
    }
}

/// The programs, loaded.
pub(super) struct Programs {
    // Before the object.
    drops: Option<Link>,
    object: Object,
    has_drops: bool,
    traces: bool,
    selects_interfaces: bool,
}

impl fmt::Debug for Programs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Programs").field("has_drops", &self.has_drops).finish_non_exhaustive()
    }
}

impl Programs {
    pub(super) fn load(
        options: &DatapathOptions,
        namespaces: &[NamespaceInode],
        benign_reason: u32,
    ) -> Result<Self, Error> {
        // Packets are told apart by their addresses, which nobody is to know.
        let key = RandomState::new().build_hasher().finish();
        let settings =
            |has_receiver| settings(options, namespaces, benign_reason, has_receiver, key);
        // Before Linux 6.11 the tracepoint does not tell of the receiver.
        let (with, without) = (settings(true)?, settings(false)?);
        let object = load(options, &with)
            .or_else(|_| load(options, &without))
            .map_err(|obstacle| failure("load", obstacle.reason))?;
        let programs = Self {
            drops: None,
            object,
            has_drops: options.drops,
            traces: options.traces,
            selects_interfaces: options.selects_interfaces(),
        };
        let ports = programs.map("ports")?;
        for port in &options.ports {
            ports
                .update(&u32::from(*port).to_ne_bytes(), &[1], MapFlags::ANY)
                .map_err(|error| failure("control", reason(&error)))?;
        }
        Ok(programs)
    }

    /// The array to which they write.
    pub(super) fn events(&self) -> Result<MapHandle, Error> {
        MapHandle::try_from(&self.map("events")?).map_err(|error| failure("open", reason(&error)))
    }

    /// From now on drops are told of, if they are wanted.
    pub(super) fn start(&mut self) -> Result<(), Error> {
        if self.has_drops {
            let program = self.object.progs_mut().find(|program| program.name() == DROPS);
            let program = program
                .ok_or_else(|| failure("find", format!("the object holds no program {DROPS}")))?;
            let link = program::attempt(NEEDED, || program.attach());
            self.drops = Some(link.map_err(|obstacle| failure("attach", obstacle.reason))?);
        }
        Ok(())
    }

    pub(super) fn stop(&mut self) {
        self.drops = None;
    }

    /// Attaches them to an interface of the calling thread's namespace, unless only its drops are wanted.
    pub(super) fn attach(&self, interface: &Interface) -> Result<Vec<Link>, Error> {
        let names: &[&str] = match interface.kind {
            _ if !self.traces => &[],
            kind::ETHERNET | kind::LOOPBACK => &["ethernet_ingress", "ethernet_egress"],
            kind if kind::IP.contains(&kind) => &["ip_ingress", "ip_egress"],
            kind => {
                return Err(Error::Capture {
                    interface: Some(interface.name.clone()),
                    reason: format!(
                        "what its packets begin with (hardware type {kind}) is not known"
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
                     CAP_NET_ADMIN: without those, leave out -i to see drops alone",
                    obstacle.reason
                ),
            })?);
        }
        Ok(links)
    }

    /// Says whether drops at an interface are selected from now on.
    pub(super) fn select(
        &self,
        namespace: NamespaceInode,
        index: u32,
        is_selected: bool,
    ) -> Result<(), Error> {
        if !self.selects_interfaces {
            return Ok(());
        }
        let namespace = u32::try_from(namespace.0).unwrap_or_default();
        let key = [namespace.to_ne_bytes(), index.to_ne_bytes()].concat();
        let interfaces = self.map("interfaces")?;
        if !is_selected {
            // One that was never there is gone all the same.
            let _ = interfaces.delete(&key);
            return Ok(());
        }
        interfaces
            .update(&key, &[1], MapFlags::ANY)
            .map_err(|error| failure("control", reason(&error)))
    }

    pub(super) fn counts(&self) -> Result<DatapathCounts, Error> {
        let map = self.map("counts")?;
        let read = |index: u32| -> Result<u64, Error> {
            let processors = map
                .lookup_percpu(&index.to_ne_bytes(), MapFlags::ANY)
                .map_err(|error| failure("read the counts of", reason(&error)))?
                .unwrap_or_default();
            let number = |bytes: &Vec<u8>| bytes.first_chunk().map(|it| u64::from_ne_bytes(*it));
            Ok(processors.iter().filter_map(number).sum())
        };
        Ok(DatapathCounts {
            seen: read(0)?,
            dropped: read(1)?,
            filtered: read(2)?,
            lost: read(3)?,
            no_packets: read(4)?,
            nested: self.nested(),
        })
    }

    /// How often the program of the tracepoint was not run as it ran already.
    fn nested(&self) -> u64 {
        if !self.has_drops {
            return 0;
        }
        let program = self.object.progs().find(|program| program.name() == DROPS);
        let id = program.and_then(|program| Program::id_from_fd(program.as_fd()).ok());
        let info = ProgInfoIter::default().find(|info| Some(info.id) == id);
        info.map_or(0, |info| info.recursion_misses)
    }

    /// Tries whether the calling thread may read what is counted.
    pub(super) fn trial(&self) -> impl FnOnce() -> bool + Send + '_ {
        move || self.counts().is_ok()
    }

    fn map(&self, name: &'static str) -> Result<Map<'_>, Error> {
        let found = self.object.maps().find(|map| map.name() == name);
        found.ok_or_else(|| failure("find", format!("there is no map {name}")))
    }
}

/// Tries whether drops can be told of, without telling of any.
pub(crate) fn try_drops() -> Result<(), Obstacle> {
    let options = DatapathOptions { drops: true, ..DatapathOptions::default() };
    let load = |has_receiver| {
        let settings = settings(&options, &[], 0, has_receiver, 0)
            .map_err(|error| Obstacle::of_kernel(error.to_string()))?;
        load(&options, &settings)
    };
    let object = load(true).or_else(|_| load(false))?;
    object
        .progs_mut()
        .filter(|program| program.name() == DROPS)
        .try_for_each(|program| program::attempt(NEEDED, || program.attach()).map(drop))
}

fn load(options: &DatapathOptions, settings: &[u8]) -> Result<Object, Obstacle> {
    program::attempt(NEEDED, || {
        let mut object = ObjectBuilder::default().open_memory(OBJECT)?;
        configure(&mut object, options, settings)?;
        object.load()
    })
}

fn configure(
    object: &mut OpenObject,
    options: &DatapathOptions,
    settings: &[u8],
) -> libbpf_rs::Result<()> {
    for mut program in object.progs_mut() {
        let is_wanted = if program.name() == DROPS { options.drops } else { options.traces };
        program.set_autoload(is_wanted);
    }
    for mut map in object.maps_mut() {
        match map.name().to_str() {
            Some("ports") => {
                let count = u32::try_from(options.ports.len().max(1)).unwrap_or(u32::MAX);
                map.set_max_entries(count)?;
            }
            Some("interfaces") if options.selects_interfaces() => {
                map.set_max_entries(MOST_INTERFACES)?;
            }
            Some(".rodata.settings") => {
                if let Some(value) = map.initial_value_mut() {
                    value.iter_mut().zip(settings).for_each(|(place, byte)| *place = *byte);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn reason(error: &libbpf_rs::Error) -> String {
    format!("{error:#}")
}

fn failure(doing: &'static str, reason: String) -> Error {
    Error::Program { doing, program: PROGRAM, reason }
}
