//! Finding the owners of sockets with the kernel's iterator over every open file of every process
//! (`bpf/socket_owner.bpf.c`): no link is read, and only TCP and UDP sockets are told of.

use std::io::Read;

use libbpf_rs::{Iter, Link, MapCore, MapFlags, Object, ObjectBuilder};
use netglass_model::NamespaceInode;
use rustix::thread::CapabilitySet;

use super::{Held, OwnerIndex, Owners};
use crate::{
    Error,
    process::{BootClock, Comm, ProcessIdentity},
    program::{self, Obstacle},
};

const PROGRAM: &str = "socket_owner";
static OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/socket_owner.bpf.o"));

/// The kernel hands out at most 8 pages at a time.
const BUFFER_LENGTH: usize = 32 * 1024;

/// What it takes to load and attach it.
const NEEDED: CapabilitySet = CapabilitySet::BPF.union(CapabilitySet::PERFMON);

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
        Self::try_load().map_err(|obstacle| failure("load", obstacle.reason))
    }

    /// The same, with what kind of thing stands in the way.
    pub(super) fn try_load() -> Result<Self, Obstacle> {
        let load = || ObjectBuilder::default().open_memory(OBJECT)?.load();
        let object = program::attempt(NEEDED, load)?;
        let program = object
            .progs_mut()
            .next()
            .ok_or_else(|| Obstacle::of_kernel("the object holds no program"))?;
        let link = program::attempt(NEEDED, || program.attach())?;
        Ok(Self { object, link, buffer: vec![0; BUFFER_LENGTH] })
    }

    pub(super) fn read(
        &mut self,
        clock: BootClock,
        namespace: Option<NamespaceInode>,
        owners: &mut Owners,
    ) -> Result<(), Error> {
        let error = |error: libbpf_rs::Error| failure("read", format!("{error:#}"));
        let mut iterator = self.open(namespace).map_err(error)?;
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

    /// Whether the calling thread may use the iterator.
    pub(super) fn is_usable(&self) -> bool {
        self.open(None).is_ok()
    }

    fn open(&self, namespace: Option<NamespaceInode>) -> Result<Iter, libbpf_rs::Error> {
        // Namespace inodes are 32 bits wide in the kernel (struct ns_common).
        let wanted = namespace.map_or(0, |inode| u32::try_from(inode.0).unwrap_or(0));
        for map in self.object.maps() {
            if map.name() == "wanted_namespace" {
                map.update(&0_u32.to_ne_bytes(), &wanted.to_ne_bytes(), MapFlags::ANY)?;
            }
        }
        Iter::new(&self.link)
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

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use proptest::{collection::vec, prelude::*};

    const HEADER: &str = include_str!("../bpf/socket_owner.h");

    #[derive(Debug, Clone)]
    enum Record {
        Process { pid: u32, pgid: u32, start_boottime: u64, comm: [u8; 16] },
        Socket { inode: u32, flags: u32 },
    }

    impl Record {
        /// The bytes that the kernel program would write, by the layout in the header.
        fn write(&self, bytes: &mut Vec<u8>) {
            let (narrow, wide): ([u32; 4], _) = match *self {
                Self::Process { pid, pgid, start_boottime, comm } => {
                    ([record::PROCESS, pid, pgid, 0], Some((start_boottime, comm)))
                }
                Self::Socket { inode, flags } => ([record::SOCKET, inode, flags, 0], None),
            };
            for number in narrow {
                bytes.extend_from_slice(&number.to_ne_bytes());
            }
            if let Some((start_boottime, comm)) = wide {
                bytes.extend_from_slice(&start_boottime.to_ne_bytes());
                bytes.extend_from_slice(&comm);
            }
        }
    }

    fn process() -> impl Strategy<Value = Record> {
        (any::<u32>(), any::<u32>(), any::<u64>(), any::<[u8; 16]>()).prop_map(
            |(pid, pgid, start_boottime, comm)| Record::Process { pid, pgid, start_boottime, comm },
        )
    }

    /// As the kernel writes them: a process first. Inodes are few, so that some are shared.
    fn stream() -> impl Strategy<Value = Vec<Record>> {
        let socket =
            (0..8_u32, any::<u32>()).prop_map(|(inode, flags)| Record::Socket { inode, flags });
        let following = vec(prop_oneof![1 => process(), 3 => socket], 0..24);
        (process(), following).prop_map(|(first, mut records)| {
            records.insert(0, first);
            records
        })
    }

    fn bytes_of(records: &[Record]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for record in records {
            record.write(&mut bytes);
        }
        bytes
    }

    fn records() -> Records {
        static CLOCK: LazyLock<BootClock> = LazyLock::new(|| BootClock::read().unwrap());
        Records { clock: *CLOCK, owner: None }
    }

    /// The owners that the bytes tell of when they arrive in two pieces, the second one behind what
    /// was left of the first.
    fn owners_of(bytes: &[u8], split: usize) -> Owners {
        let (mut records, mut owners) = (records(), Owners::new(1 << 10));
        let used = records.take(&bytes[..split], &mut owners).unwrap();
        assert!(used <= split && split - used < record::PROCESS_LENGTH, "{used} of {split}");
        let used_then = records.take(&bytes[used..], &mut owners).unwrap();
        assert_eq!(used + used_then, bytes.len(), "whole records leave nothing over");
        owners
    }

    fn assert_same(one: &Owners, other: &Owners) {
        assert_eq!(one.processes, other.processes);
        assert_eq!(one.by_inode, other.by_inode);
    }

    #[test]
    fn the_records_are_those_of_the_header() {
        for (name, length) in [
            ("socket_owner_process", record::PROCESS_LENGTH),
            ("socket_owner_socket", record::SOCKET_LENGTH),
        ] {
            let asserted = format!("_Static_assert(sizeof(struct {name}) == {length}, ");
            assert!(HEADER.contains(&asserted), "{asserted}");
        }
        for (name, number) in
            [("SOCKET_OWNER_PROCESS", record::PROCESS), ("SOCKET_OWNER_SOCKET", record::SOCKET)]
        {
            assert!(HEADER.contains(&format!("{name} = {number},")), "{name}");
        }
        assert!(HEADER.contains("SOCKET_OWNER_PORT_BOUND = 1 << 0,"));
        assert_eq!(record::PORT_BOUND, 1 << 0);
    }

    #[test]
    fn a_process_is_followed_by_the_sockets_it_holds() {
        let of = |pid, start_boottime| Record::Process {
            pid,
            pgid: 10,
            start_boottime,
            comm: *b"nginx\0rest\0\0\0\0\0\0",
        };
        let bytes = bytes_of(&[
            of(11, 2_000_000_000),
            Record::Socket { inode: 7, flags: 0 },
            Record::Socket { inode: 8, flags: record::PORT_BOUND },
            of(10, 1_000_000_000),
            Record::Socket { inode: 7, flags: 0 },
        ]);
        let owners = owners_of(&bytes, 0);
        let owner = |inode| {
            let held = owners.get(inode).unwrap();
            let process = owners.processes[held.owner as usize];
            assert_eq!(process.comm.as_bytes(), b"nginx");
            (process.pid, process.pgid, held.port_bound)
        };
        assert_eq!(owner(7), (10, 10, Some(false)), "the older of the two");
        assert_eq!(owner(8), (11, 10, Some(true)));
    }

    #[test]
    fn what_is_no_record_is_refused() {
        let mut owners = Owners::new(1 << 10);
        assert_eq!(records().take(&3_u32.to_ne_bytes(), &mut owners), None, "an unknown kind");
        let orphan = bytes_of(&[Record::Socket { inode: 7, flags: 0 }]);
        assert_eq!(records().take(&orphan, &mut owners), None, "a socket before any process");
        assert!(owners.by_inode.is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_or_refused(bytes in vec(any::<u8>(), 0..256)) {
            let used = records().take(&bytes, &mut Owners::new(1 << 10));
            prop_assert!(used.is_none_or(|used| used <= bytes.len()));
        }

        /// Most bytes are refused at the first word; small words get further.
        #[test]
        fn any_words_are_taken_or_refused(words in vec(0..4_u32, 0..64), cut in 0..4_usize) {
            let mut bytes: Vec<_> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
            bytes.truncate(bytes.len().saturating_sub(cut));
            let used = records().take(&bytes, &mut Owners::new(1 << 10));
            prop_assert!(used.is_none_or(|used| used <= bytes.len()));
        }

        #[test]
        fn records_cut_anywhere_have_the_same_owners(records in stream()) {
            let bytes = bytes_of(&records);
            let whole = owners_of(&bytes, bytes.len());
            for split in 0..bytes.len() {
                assert_same(&owners_of(&bytes, split), &whole);
            }
        }
    }
}
