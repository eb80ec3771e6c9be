//! Finding the owners of sockets with the kernel's iterator over every open file of every process
//! (`bpf/socket_owner.bpf.c`): no link is read, and only TCP and UDP sockets are told of.

use std::io::Read;

use libbpf_rs::{Iter, Link, MapCore, MapFlags, Object, ObjectBuilder};
use netglass_model::NamespaceInode;

use super::{Held, OwnerIndex, Owners};
use crate::{
    Error,
    process::{BootClock, Comm, ProcessIdentity},
    program,
};

const PROGRAM: &str = "socket_owner";
static OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/socket_owner.bpf.o"));

/// The kernel hands out at most 8 pages at a time.
const BUFFER_LENGTH: usize = 32 * 1024;

/// The records of `bpf/socket_owner.h`.
mod record {
    pub(super) const PROCESS: u32 = 1;
    pub(super) const PROCESS_LENGTH: usize = 40;
    pub(super) const SOCKET: u32 = 2;
    pub(super) const SOCKET_LENGTH: usize = 16;
    pub(super) const PORT_BOUND: u32 = 1 << 0;
}

/// The iterator, loaded.
#[derive(Debug)]
pub(super) struct TaskFileIterator {
    object: Object,
    link: Link,
    buffer: Vec<u8>,
}

impl TaskFileIterator {
    pub(super) fn load() -> Result<Self, Error> {
        let error = |doing| move |error: libbpf_rs::Error| failure(doing, format!("{error:#}"));
        program::silence_loader();
        let object = ObjectBuilder::default()
            .open_memory(OBJECT)
            .and_then(libbpf_rs::OpenObject::load)
            .map_err(error("load"))?;
        let program = object
            .progs_mut()
            .next()
            .ok_or_else(|| failure("find", "the object holds none".to_owned()))?;
        let link = program.attach().map_err(error("attach"))?;
        Ok(Self { object, link, buffer: vec![0; BUFFER_LENGTH] })
    }

    pub(super) fn read(
        &mut self,
        clock: BootClock,
        namespace: Option<NamespaceInode>,
        owners: &mut Owners,
    ) -> Result<(), Error> {
        let error = |error: libbpf_rs::Error| failure("read", format!("{error:#}"));
        // Namespace inodes are 32 bits wide in the kernel (struct ns_common).
        let wanted = namespace.map_or(0, |inode| u32::try_from(inode.0).unwrap_or(0));
        for map in self.object.maps() {
            if map.name() == "wanted_namespace" {
                map.update(&0_u32.to_ne_bytes(), &wanted.to_ne_bytes(), MapFlags::ANY)
                    .map_err(error)?;
            }
        }
        let mut iterator = Iter::new(&self.link).map_err(error)?;
        let mut records = Records { clock, owner: None };
        let mut kept = 0;
        loop {
            let length = match iterator.read(&mut self.buffer[kept..]) {
                Ok(0) => return Ok(()),
                Ok(length) => kept + length,
                Err(source) if source.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(error(source.into())),
            };
            let used = records
                .take(&self.buffer[..length], owners)
                .ok_or_else(|| failure("read", "a record is of no known kind".to_owned()))?;
            self.buffer.copy_within(used..length, 0);
            kept = length - used;
        }
    }
}

fn failure(doing: &'static str, reason: String) -> Error {
    Error::Program { doing, program: PROGRAM, reason }
}

/// Reads records one after the other.
#[derive(Debug)]
struct Records {
    clock: BootClock,
    owner: Option<OwnerIndex>,
}

impl Records {
    /// Takes as many whole records as there are, and says how many bytes those are; `None` where
    /// the bytes are no records.
    fn take(&mut self, bytes: &[u8], owners: &mut Owners) -> Option<usize> {
        let mut rest = bytes;
        while let Some(kind) = number(rest, 0) {
            let length = match kind {
                record::PROCESS => record::PROCESS_LENGTH,
                record::SOCKET => record::SOCKET_LENGTH,
                _ => return None,
            };
            let Some((fields, behind)) = rest.split_at_checked(length) else { break };
            if kind == record::PROCESS {
                self.owner = Some(owners.add_process(self.process(fields)?));
            } else {
                let inode = number(fields, 4)?;
                let flags = number(fields, 8)?;
                let held =
                    Held { owner: self.owner?, port_bound: Some(flags & record::PORT_BOUND != 0) };
                owners.hold(inode, held);
            }
            rest = behind;
        }
        Some(bytes.len() - rest.len())
    }

    fn process(&self, fields: &[u8]) -> Option<ProcessIdentity> {
        let start_boottime = u64::from_ne_bytes(*fields.get(16..)?.first_chunk()?);
        Some(ProcessIdentity {
            pid: number(fields, 4)?,
            pgid: number(fields, 8)?,
            start_ticks: self.clock.ticks(start_boottime),
            comm: Comm::new(fields.get(24..40)?),
        })
    }
}

fn number(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(offset..)?.first_chunk()?))
}
