//! Which calls are told of: everything that the kernel programs choose by.

use std::{
    fs,
    net::IpAddr,
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
};

use netglass_model::{CallName, CommandName, NamespaceInode};

use crate::{Error, cgroup_root, process::cgroup::container as container_in};

/// `struct call_settings`.
pub(super) const LENGTH: usize = 1400;
const MOST_NAMESPACES: usize = 16;
const MOST_CGROUPS: usize = 16;
const MOST_PREFIXES: usize = 32;

mod flag {
    pub(super) const PIDS: u32 = 1 << 0;
    pub(super) const NOT_PIDS: u32 = 1 << 1;
    pub(super) const COMMS: u32 = 1 << 2;
    pub(super) const NOT_COMMS: u32 = 1 << 3;
    pub(super) const UIDS: u32 = 1 << 4;
    pub(super) const PORTS: u32 = 1 << 5;
    pub(super) const FOLLOWED: u32 = 1 << 6;
    pub(super) const FOLLOW_CHILDREN: u32 = 1 << 7;
    pub(super) const ONLY_ERRORS: u32 = 1 << 8;
    pub(super) const TELL_ENTRIES: u32 = 1 << 9;
    pub(super) const ADD_UP: u32 = 1 << 10;
    pub(super) const ADD_UP_WHEN_FULL: u32 = 1 << 11;
    pub(super) const BY_SERVICE: u32 = 1 << 12;
}

/// What sums are kept apart by, besides process, call and error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SumsBy {
    /// Descriptor and connection.
    Socket,
    /// Addresses and the port of the end that serves: all connections of a client are one.
    Service,
}

/// Whether calls are added up rather than told of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum AddingUp {
    #[default]
    Never,
    /// When there is no room to tell of them.
    WhenFull,
    Always(SumsBy),
}

/// How much of what there is of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    /// How many blocks of records each processor's ring has, a power of two.
    pub(super) ring_blocks: u32,
    /// How many slots there are for threads, a power of two.
    pub(super) thread_slots: u32,
}

/// What becomes of the calls that are selected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Telling {
    /// They are told of when they begin, too.
    pub(super) entries: bool,
    pub(super) adding_up: AddingUp,
    /// How many bytes of what is sent or received are told of.
    pub(super) payload: u32,
}

impl Telling {
    fn flags(self) -> u32 {
        let adding_up = match self.adding_up {
            AddingUp::Never => 0,
            AddingUp::WhenFull => flag::ADD_UP_WHEN_FULL,
            AddingUp::Always(SumsBy::Socket) => flag::ADD_UP,
            AddingUp::Always(SumsBy::Service) => flag::ADD_UP | flag::BY_SERVICE,
        };
        adding_up | if self.entries { flag::TELL_ENTRIES } else { 0 }
    }
}

/// Whose calls are told of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Children {
    /// Those of the selected processes alone.
    #[default]
    Alone,
    /// Those of their children, too.
    Followed,
    /// Of the children alone that [`CallWatcher::follow_next_child`](super::CallWatcher) follows,
    /// and of theirs.
    OfReader,
}

/// A control group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CgroupIdentity {
    id: u64,
    /// How far below the root it is.
    level: u32,
}

impl CgroupIdentity {
    /// The control group of that path in the hierarchy of version 2; its beginning may be where that
    /// is mounted.
    pub fn find(path: &Path) -> Result<Self, Error> {
        let root = cgroup_root::path()?;
        let below = path.strip_prefix(&root).unwrap_or(path);
        let below = below.strip_prefix("/").unwrap_or(below);
        let full = root.join(below);
        let metadata = fs::metadata(&full).map_err(|source| Error::read(&full, source))?;
        let level = u32::try_from(below.components().count()).unwrap_or(u32::MAX);
        Ok(Self { id: metadata.ino(), level })
    }

    /// Whether a process of that path, as its `/proc/PID/cgroup` has it, is in it or below it.
    #[must_use]
    pub fn holds(&self, path: &str) -> bool {
        let names = Path::new(path).components().filter(|it| matches!(it, Component::Normal(_)));
        let above: Vec<_> = names.take(usize::try_from(self.level).unwrap_or(usize::MAX)).collect();
        let Ok(root) = cgroup_root::path() else { return false };
        u32::try_from(above.len()) == Ok(self.level)
            && fs::metadata(root.join(above.iter().collect::<PathBuf>()))
                .is_ok_and(|metadata| metadata.ino() == self.id)
    }

    /// The control groups of the containers whose id begins so, as their runtime wrote it into the
    /// path.
    pub fn of_container(id: &str) -> Result<Vec<Self>, Error> {
        let mut found = Vec::new();
        let mut directories = vec![cgroup_root::path()?];
        while let Some(directory) = directories.pop() {
            // It may vanish while we look.
            let Ok(entries) = fs::read_dir(&directory) else { continue };
            for entry in entries.flatten() {
                if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    continue;
                }
                let name = entry.file_name();
                let is_wanted = container_in(&name.to_string_lossy())
                    .is_some_and(|container| !id.is_empty() && container.starts_with(id));
                match Self::find(&entry.path()) {
                    Ok(identity) if is_wanted => found.push(identity),
                    _ => directories.push(entry.path()),
                }
            }
        }
        Ok(found)
    }
}

/// Which calls are told of. What is empty selects nothing away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallSelection {
    /// Calls.
    pub calls: Vec<CallName>,
    /// Address families, `AF_…`.
    pub families: Vec<u16>,
    /// Processes.
    pub pids: Vec<u32>,
    /// Processes that are left out.
    pub not_pids: Vec<u32>,
    /// Names of processes.
    pub comms: Vec<CommandName>,
    /// Names of processes that are left out.
    pub not_comms: Vec<CommandName>,
    /// Real user ids.
    pub uids: Vec<u32>,
    /// Control groups, with all below them.
    pub cgroups: Vec<CgroupIdentity>,
    /// Network namespaces of sockets.
    pub namespaces: Vec<NamespaceInode>,
    /// Ports at either end.
    pub ports: Vec<u16>,
    /// Networks at either end: an address, and how many of its first bits count.
    pub networks: Vec<(IpAddr, u8)>,
    /// Only calls that fail.
    pub errors: bool,
    /// Whose children are followed.
    pub children: Children,
}

impl CallSelection {
    /// `struct call_settings`.
    pub(super) fn settings(&self, telling: Telling, sizes: Sizes) -> Result<[u8; LENGTH], Error> {
        for (what, count, most) in [
            ("network namespaces", self.namespaces.len(), MOST_NAMESPACES),
            ("control groups", self.cgroups.len(), MOST_CGROUPS),
            ("networks", self.networks.len(), MOST_PREFIXES),
        ] {
            if count > most {
                return Err(Error::TooMany { what, count, most });
            }
        }
        let mut writer = Writer { bytes: [0; LENGTH], at: 0 };
        writer.put(&self.call_mask().to_ne_bytes());
        writer.put(&self.family_mask().to_ne_bytes());
        writer.put(&u64::from(sizes.ring_blocks).to_ne_bytes());
        writer.put(&(self.flags() | telling.flags()).to_ne_bytes());
        writer.put(&std::process::id().to_ne_bytes());
        writer.put(&telling.payload.to_ne_bytes());
        for count in [self.networks.len(), self.namespaces.len(), self.cgroups.len()] {
            writer.put(&u32::try_from(count).unwrap_or_default().to_ne_bytes());
        }
        writer.put(&sizes.thread_slots.saturating_sub(1).to_ne_bytes());
        writer.put(&[0; 4]);
        for namespace in &self.namespaces {
            // Namespace inodes are 32 bits wide in the kernel (struct ns_common).
            writer.put(&u32::try_from(namespace.0).unwrap_or_default().to_ne_bytes());
        }
        writer.at = 120;
        for cgroup in &self.cgroups {
            writer.put(&cgroup.id.to_ne_bytes());
            writer.put(&cgroup.level.to_ne_bytes());
            writer.put(&[0; 4]);
        }
        writer.at = 376;
        for &(address, length) in &self.networks {
            let (address, mask) = network(address, length);
            writer.put(&(address & mask).to_be_bytes());
            writer.put(&mask.to_be_bytes());
        }
        Ok(writer.bytes)
    }

    fn call_mask(&self) -> u64 {
        let bit = |call: &CallName| {
            let index = CallName::ALL.iter().position(|other| other == call).unwrap_or_default();
            1_u64 << (index + 1)
        };
        match self.calls.as_slice() {
            [] => CallName::ALL.iter().filter(|call| !call.waits()).map(bit).sum(),
            calls => calls.iter().map(bit).fold(0, |mask, bit| mask | bit),
        }
    }

    fn family_mask(&self) -> u64 {
        match self.families.as_slice() {
            [] => u64::MAX,
            families => families.iter().fold(0, |mask, family| mask | 1 << (family & 63)),
        }
    }

    fn flags(&self) -> u32 {
        let given = [
            (flag::PIDS, !self.pids.is_empty()),
            (flag::NOT_PIDS, !self.not_pids.is_empty()),
            (flag::COMMS, !self.comms.is_empty()),
            (flag::NOT_COMMS, !self.not_comms.is_empty()),
            (flag::UIDS, !self.uids.is_empty()),
            (flag::PORTS, !self.ports.is_empty()),
            (flag::FOLLOWED, self.children == Children::OfReader),
            (flag::FOLLOW_CHILDREN, self.children != Children::Alone),
            (flag::ONLY_ERRORS, self.errors),
        ];
        given.into_iter().filter(|(_, is_given)| *is_given).map(|(flag, _)| flag).sum()
    }
}

/// A network as both of its kinds of addresses are written in records.
fn network(address: IpAddr, length: u8) -> (u128, u128) {
    let (address, length) = match address {
        IpAddr::V4(address) => (address.to_ipv6_mapped(), u32::from(length.min(32)) + 96),
        IpAddr::V6(address) => (address, u32::from(length.min(128))),
    };
    let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
    (address.to_bits(), mask)
}

struct Writer {
    bytes: [u8; LENGTH],
    at: usize,
}

impl Writer {
    fn put(&mut self, value: &[u8]) {
        let room = self.bytes.iter_mut().skip(self.at);
        room.zip(value).for_each(|(place, &byte)| *place = byte);
        self.at += value.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = include_str!("../bpf/calls/records.h");

    const SIZES: Sizes = Sizes { ring_blocks: 4096, thread_slots: 64 };

    #[test]
    fn settings_are_those_of_the_header() {
        assert!(HEADER.contains(&format!("sizeof(struct call_settings) == {LENGTH}, ")));
        for (name, most) in [
            ("MAX_PREFIXES", MOST_PREFIXES),
            ("MAX_NAMESPACES", MOST_NAMESPACES),
            ("MAX_CGROUPS", MOST_CGROUPS),
        ] {
            assert!(HEADER.contains(&format!("#define {name} {most}\n")), "{name}");
        }
        for (name, flag) in [
            ("SELECT_PIDS = 1 << 0", flag::PIDS),
            ("SELECT_NOT_PIDS = 1 << 1", flag::NOT_PIDS),
            ("SELECT_COMMS = 1 << 2", flag::COMMS),
            ("SELECT_NOT_COMMS = 1 << 3", flag::NOT_COMMS),
            ("SELECT_UIDS = 1 << 4", flag::UIDS),
            ("SELECT_PORTS = 1 << 5", flag::PORTS),
            ("SELECT_FOLLOWED = 1 << 6", flag::FOLLOWED),
            ("FOLLOW_CHILDREN = 1 << 7", flag::FOLLOW_CHILDREN),
            ("ONLY_ERRORS = 1 << 8", flag::ONLY_ERRORS),
            ("TELL_ENTRIES = 1 << 9", flag::TELL_ENTRIES),
            ("ADD_UP = 1 << 10", flag::ADD_UP),
            ("ADD_UP_WHEN_FULL = 1 << 11", flag::ADD_UP_WHEN_FULL),
            ("BY_SERVICE = 1 << 12", flag::BY_SERVICE),
        ] {
            assert!(HEADER.contains(name), "{name}");
            assert!(name.ends_with(&format!("<< {}", flag.trailing_zeros())), "{name}");
        }
    }

    #[test]
    fn each_selection_has_its_place() {
        let selection = CallSelection {
            calls: vec![CallName::Socket, CallName::Bind],
            families: vec![2, 10],
            pids: vec![1],
            namespaces: vec![NamespaceInode(7), NamespaceInode(8)],
            cgroups: vec![CgroupIdentity { id: 9, level: 2 }],
            networks: vec![("10.1.2.3".parse().unwrap(), 8)],
            ..CallSelection::default()
        };
        let settings =
            selection.settings(Telling { entries: true, ..Telling::default() }, SIZES).unwrap();
        let word = |at: usize| u32::from_ne_bytes(*settings[at..].first_chunk().unwrap());
        assert_eq!((word(0), word(8), word(16)), (0b1010, 1 << 2 | 1 << 10, 4096));
        assert_eq!(word(24), flag::PIDS | flag::TELL_ENTRIES);
        assert_eq!((word(36), word(40), word(44)), (1, 2, 1));
        assert_eq!((word(48), word(52)), (63, 0));
        assert_eq!((word(56), word(60), word(120), word(128)), (7, 8, 9, 2));
        assert_eq!(settings[376..392], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, 0]);
        assert_eq!(settings[392..408], [[255; 13].as_slice(), &[0; 3]].concat());
        let many = CallSelection {
            networks: vec![("::1".parse().unwrap(), 128); MOST_PREFIXES + 1],
            ..CallSelection::default()
        };
        assert!(
            many.settings(Telling::default(), SIZES).unwrap_err().to_string().contains("networks")
        );
    }
}
