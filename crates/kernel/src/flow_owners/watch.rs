//! The kernel programs that tell who opens connections and uses UDP sockets (`bpf/flow_owner.bpf.c`).

use std::{cell::RefCell, fmt, io::Read as _, net::IpAddr, num::NonZeroU32, rc::Rc, sync::Arc};

use libbpf_rs::{
    Iter, Link, MapCore as _, MapFlags, MapHandle, Object, ObjectBuilder, RingBuffer,
    RingBufferBuilder,
};
use netglass_model::{Degradation, NamespaceInode, Process, Protocol, Timestamp};
use rustix::thread::CapabilitySet;

use crate::{
    Error,
    process::BootClock,
    program::{self, Clock, Obstacle, u16_at, u32_at, u64_at},
    socket::{Socket, SocketState},
    stream::{processes::Processes, record},
};

const PROGRAM: &str = "flow_owner";
static OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/flow_owner.bpf.o"));
const NEEDED: CapabilitySet = CapabilitySet::BPF.union(CapabilitySet::PERFMON);

const SIGHTING_LENGTH: usize = 64;

/// Records as they were written, one behind the other.
type Records = Rc<RefCell<Vec<u8>>>;

/// A socket that was opened, or used for the first time by a process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sighting {
    pub(super) namespace: NamespaceInode,
    pub(super) socket: Socket,
    /// When it was opened, if that is known.
    pub(super) opened: Option<Timestamp>,
    pub(super) at: Timestamp,
}

/// The programs, running.
pub(super) struct Watch {
    // Before the object.
    _links: Vec<Link>,
    /// Of sockets, then of processes: who is named by a socket was told of before.
    rings: [(RingBuffer<'static>, Records); 2],
    lost: MapHandle,
    _object: Object,
    processes: Processes,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("processes", &self.processes).finish_non_exhaustive()
    }
}

impl Watch {
    /// Begins to watch the sockets of a network namespace, or of all of them.
    pub(super) fn start(
        namespace: Option<NamespaceInode>,
        clock: BootClock,
    ) -> Result<Self, Error> {
        let (object, links) =
            load(namespace).map_err(|obstacle| failure("load", obstacle.reason))?;
        let map = |name: &'static str| {
            let found = object.maps().find(|map| map.name() == name);
            let found = found.ok_or_else(|| failure("find", format!("there is no map {name}")))?;
            MapHandle::try_from(&found).map_err(|error| failure("open", reason(error)))
        };
        let rings = [
            ring(&map("sightings")?, SIGHTING_LENGTH)?,
            ring(&map("process_records")?, record::PROCESS_LENGTH)?,
        ];
        let (lost, processes) = (map("lost")?, Processes::new(clock));
        Ok(Self { _links: links, rings, lost, _object: object, processes })
    }

    /// Takes what was told since the last time.
    pub(super) fn take(
        &mut self,
        visit: &mut dyn FnMut(Sighting, &Arc<Process>),
    ) -> Result<(), Error> {
        let Self { rings: [(sightings, seen), (processes, told)], processes: known, .. } = self;
        for ring in [sightings, processes] {
            ring.consume().map_err(|error| failure("read", reason(error)))?;
        }
        let (mut seen, mut told) = (seen.borrow_mut(), told.borrow_mut());
        if seen.is_empty() && told.is_empty() {
            return Ok(());
        }
        known.begin_collection();
        for record in told.chunks_exact(record::PROCESS_LENGTH) {
            if let Some(record) = record::ProcessRecord::parse(record) {
                known.add(&record);
            }
        }
        let clock = Clock::read();
        for record in seen.chunks_exact(SIGHTING_LENGTH) {
            let Some((sighting, number)) = parse(record, clock) else { continue };
            if let Some(process) = known.get(number) {
                visit(sighting, process);
            }
        }
        for (records, length) in [(&mut seen, SIGHTING_LENGTH), (&mut told, record::PROCESS_LENGTH)]
        {
            records.clear();
            // What a burst took is given back.
            records.shrink_to(64 * length);
        }
        Ok(())
    }

    /// How many sockets there was no room to tell of.
    pub(super) fn lost(&self) -> u64 {
        let lost = self.lost.lookup(&0_u32.to_ne_bytes(), MapFlags::ANY).ok().flatten();
        lost.and_then(|bytes| u64_at(&bytes, 0)).unwrap_or(0)
    }

    /// Tries whether the calling thread may ask for that.
    pub(super) fn trial(&self) -> impl FnOnce() -> bool + Send + use<'_> {
        let lost = &self.lost;
        move || lost.lookup(&0_u32.to_ne_bytes(), MapFlags::ANY).is_ok()
    }
}

/// What is told where the programs cannot be had.
pub(super) fn missing(error: &Error) -> Degradation {
    Degradation {
        feature: "the owners of sockets that live for less than a tenth of a second".to_owned(),
        reason: error.to_string(),
        consequence: "a connection between two looks at the sockets has none at its client's end"
            .to_owned(),
    }
}

fn load(namespace: Option<NamespaceInode>) -> Result<(Object, Vec<Link>), Obstacle> {
    program::attempt(NEEDED, || {
        let mut object = ObjectBuilder::default().open_memory(OBJECT)?;
        // Namespace inodes are 32 bits wide in the kernel (struct ns_common).
        let wanted = namespace.map_or(0, |inode| u32::try_from(inode.0).unwrap_or(0));
        for mut map in object.maps_mut() {
            // Of all that is read-only there, the wanted namespace is the first and only one.
            if map.name().to_str().is_some_and(|name| name.ends_with(".rodata"))
                && let Some(value) = map.initial_value_mut().and_then(<[u8]>::first_chunk_mut)
            {
                *value = wanted.to_ne_bytes();
            }
        }
        let object = object.load()?;
        // First the one that finds out who reads.
        let (readers, others): (Vec<_>, Vec<_>) =
            object.progs_mut().partition(|program| program.name() == "note_reader");
        for reader in readers {
            let link = reader.attach()?;
            let mut nothing = [0; 64];
            while Iter::new(&link)?.read(&mut nothing).unwrap_or(0) > 0 {}
        }
        let links: libbpf_rs::Result<Vec<_>> =
            others.into_iter().map(|program| program.attach()).collect();
        Ok((object, links?))
    })
}

fn ring(map: &MapHandle, length: usize) -> Result<(RingBuffer<'static>, Records), Error> {
    let records = Records::default();
    let taken = Rc::clone(&records);
    let mut builder = RingBufferBuilder::new();
    builder
        .add(map, move |bytes| {
            // Its consumer is not there while a record is taken.
            if let (Ok(mut records), true) = (taken.try_borrow_mut(), bytes.len() == length) {
                records.extend_from_slice(bytes);
            }
            0
        })
        .map_err(|error| failure("read", reason(error)))?;
    let ring = builder.build().map_err(|error| failure("read", reason(error)))?;
    Ok((ring, records))
}

/// `struct socket_sighting` of `bpf/flow_owner.h`, and what its process is called.
fn parse(bytes: &[u8], clock: Clock) -> Option<(Sighting, NonZeroU32)> {
    let address = |offset: usize| {
        let octets: [u8; 16] = *bytes.get(offset..)?.first_chunk()?;
        Some(IpAddr::from(octets).to_canonical())
    };
    let opened = u64_at(bytes, 32)?;
    let has_peer = *bytes.get(61)? != 0;
    let socket = Socket {
        protocol: Protocol::from_number(*bytes.get(60)?)?,
        state: if has_peer { SocketState::Established } else { SocketState::Close },
        local_address: address(0)?,
        local_port: u16_at(bytes, 56)?,
        peer_address: address(16)?,
        peer_port: u16_at(bytes, 58)?,
        inode: 0,
        cookie: 0,
        only_v6: *bytes.get(62)? != 0,
        queues: crate::socket::Queues::default(),
        traffic: None,
    };
    let sighting = Sighting {
        namespace: NamespaceInode(u32_at(bytes, 48)?.into()),
        socket,
        opened: (opened > 0).then(|| clock.at(opened)),
        at: clock.at(u64_at(bytes, 40)?),
    };
    Some((sighting, NonZeroU32::new(u32_at(bytes, 52)?)?))
}

#[allow(clippy::needless_pass_by_value, reason = "for use in map_err")]
fn reason(error: libbpf_rs::Error) -> String {
    format!("{error:#}")
}

fn failure(doing: &'static str, reason: String) -> Error {
    Error::Program { doing, program: PROGRAM, reason }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..=SIGHTING_LENGTH)) {
            let _ = parse(&bytes, Clock::read());
        }
    }
}
