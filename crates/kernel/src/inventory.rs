//! Which processes there are and which sockets they have open, at one moment.

use std::{
    collections::{HashMap, HashSet},
    ffi::CStr,
    io,
    mem::MaybeUninit,
    sync::Arc,
};

use netglass_model::{Degradation, NamespaceInode, NetworkNamespace, Process};

use crate::{
    Error,
    degradations::Degradations,
    namespace::{self, Namespace, Namespaces},
    owner::{
        denied_files,
        procfs::{DIRECTORY_BUFFER_LENGTH, open_sockets},
    },
    process::{
        BootClock, ProcessCache, denied_executables, directory, directory::ProcessDirectory,
        identity, process_ids,
    },
    socket::{OpenSocket, list_open},
};

/// How many sockets are taken; each descriptor of one counts.
const MOST_SOCKETS: usize = 1 << 20;

/// Which sockets are wanted. What is empty selects nothing away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InventoryOptions {
    /// Address families, `AF_…`.
    pub families: Vec<u16>,
    /// Network namespaces of sockets.
    pub namespaces: Vec<NamespaceInode>,
}

/// A socket that a process has open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldSocket {
    /// The descriptor.
    pub fd: u32,
    /// The inode of its file.
    pub inode: u32,
    /// What the kernel's lists of sockets say, and where it is in [`Inventory::namespaces`]. A socket
    /// of a family that cannot be listed, or that was neither bound nor connected, is in none.
    pub listed: Option<(Arc<OpenSocket>, usize)>,
    /// Of a socket that is in no list, what the kernel calls its protocol, `TCP` or `ALG` for one.
    pub protocol_name: Option<Box<[u8]>>,
}

impl HeldSocket {
    /// The address family, as far as it is known.
    #[must_use]
    pub fn family(&self) -> Option<u16> {
        match (&self.listed, self.protocol_name.as_deref()) {
            (Some((socket, _)), _) => Some(socket.family),
            (None, Some(name)) => family_of(name),
            (None, None) => None,
        }
    }
}

/// A process with the sockets that it has open.
#[derive(Debug, Clone)]
pub struct SocketHolder {
    /// The process.
    pub process: Arc<Process>,
    /// Its sockets, in the order of their descriptors.
    pub sockets: Vec<HeldSocket>,
}

/// All processes with the sockets that they have open.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// All processes, in the order of their ids.
    pub holders: Vec<SocketHolder>,
    /// The network namespaces in which sockets were listed.
    pub namespaces: Vec<NetworkNamespace>,
    /// What does not work as well as it could.
    pub degradations: Vec<Degradation>,
}

impl Inventory {
    /// Looks at all processes and at the sockets of all network namespaces. What vanishes meanwhile
    /// is no error.
    pub fn take(options: &InventoryOptions) -> Result<Self, Error> {
        let mut pids: Vec<u32> = process_ids()?.collect();
        pids.sort_unstable();
        Self::of(&pids, &Namespaces::find()?, options)
    }

    /// The same of one process, whose sockets are listed in its own network namespace alone. One that
    /// has ended is not there.
    pub fn of_process(pid: u32, options: &InventoryOptions) -> Result<Self, Error> {
        Self::of(&[pid], &Namespaces::of_process(pid), options)
    }

    fn of(
        pids: &[u32],
        namespaces: &Namespaces,
        options: &InventoryOptions,
    ) -> Result<Self, Error> {
        let mut degradations = Degradations::default();
        if namespaces.denied > 0 {
            degradations.add(Degradation {
                feature: "all network namespaces".to_owned(),
                reason: "those of some processes may not be read".to_owned(),
                consequence: "sockets in them may be without their ends; it takes root, or \
                              CAP_SYS_PTRACE"
                    .to_owned(),
            });
        }
        // Holders first: what is opened from now on is not asked for.
        let mut holders = read_holders(pids, &mut degradations)?;
        let wanted: HashSet<u32> =
            holders.iter().flat_map(|holder| &holder.sockets).map(|socket| socket.inode).collect();
        let mut lists =
            Lists { options, wanted, found: HashMap::new(), degradations, unlisted: Vec::new() };
        let mut listed_namespaces = Vec::new();
        let own = namespace::own()?;
        let is_wanted = |namespace: &&Namespace| {
            options.namespaces.is_empty() || options.namespaces.contains(&namespace.identity.inode)
        };
        for namespace in namespaces.iter().filter(is_wanted) {
            lists.read(namespace, own, listed_namespaces.len());
            listed_namespaces.push(namespace.identity.clone());
        }
        for socket in holders.iter_mut().flat_map(|holder| &mut holder.sockets) {
            socket.listed = lists.found.get(&socket.inode).cloned();
        }
        for holder in &mut holders {
            settle(holder, options);
        }
        // A list that is missing of a family that nobody uses is missed by nobody.
        for (family, degradation) in lists.unlisted {
            let mut sockets = holders.iter().flat_map(|holder| &holder.sockets);
            if sockets.any(|it| it.listed.is_none() && it.family() == Some(family)) {
                lists.degradations.add(degradation);
            }
        }
        Ok(Self { holders, namespaces: listed_namespaces, degradations: lists.degradations.take() })
    }
}

/// Looks up what a socket is that is in no list, and leaves out those of other families and
/// namespaces.
fn settle(holder: &mut SocketHolder, options: &InventoryOptions) {
    let files = directory(holder.process.pid).ok();
    holder.sockets.retain_mut(|socket| {
        if socket.listed.is_none() {
            socket.protocol_name =
                files.as_ref().and_then(|files| files.socket_protocol_name(socket.fd).ok());
        }
        let is_of_family = options.families.is_empty()
            || socket.family().is_some_and(|family| options.families.contains(&family));
        // Where a socket is that is in no list, nobody tells.
        is_of_family && (options.namespaces.is_empty() || socket.listed.is_some())
    });
}

fn read_holders(pids: &[u32], degradations: &mut Degradations) -> Result<Vec<SocketHolder>, Error> {
    let mut cache = ProcessCache::new(BootClock::read()?);
    let mut buffer = vec![MaybeUninit::uninit(); DIRECTORY_BUFFER_LENGTH];
    let mut holders = Vec::new();
    let mut room = MOST_SOCKETS;
    for &pid in pids {
        let Ok(files) = directory(pid) else { continue };
        // It has ended.
        let Ok(identity) = identity(&files) else { continue };
        let process = cache.get(&identity);
        let mut sockets = Vec::new();
        let opened = open_sockets(&files, &mut buffer, &mut |name: &CStr, inode| {
            if sockets.len() >= room {
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            if let Some(fd) = name.to_str().ok().and_then(|name| name.parse().ok()) {
                sockets.push(HeldSocket { fd, inode, listed: None, protocol_name: None });
            }
            Ok(())
        });
        match opened {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                degradations.add(denied_files());
            }
            Err(error) if error.kind() == io::ErrorKind::OutOfMemory => {
                degradations.add(Degradation {
                    feature: "all open sockets".to_owned(),
                    reason: format!("there are more than {MOST_SOCKETS}"),
                    consequence: "the rest is not shown".to_owned(),
                });
            }
            // The process ended while it was read.
            Ok(()) | Err(_) => {}
        }
        room -= sockets.len();
        sockets.sort_unstable_by_key(|socket| socket.fd);
        holders.push(SocketHolder { process, sockets });
    }
    if cache.denied {
        degradations.add(denied_executables());
    }
    Ok(holders)
}

/// What the kernel's lists say of the sockets that are wanted.
struct Lists<'a> {
    options: &'a InventoryOptions,
    wanted: HashSet<u32>,
    found: HashMap<u32, (Arc<OpenSocket>, usize)>,
    degradations: Degradations,
    /// What could not be listed, by family.
    unlisted: Vec<(u16, Degradation)>,
}

impl Lists<'_> {
    fn read(&mut self, namespace: &Namespace, own: NamespaceInode, index: usize) {
        if namespace.identity.inode == own {
            return self.list(index);
        }
        if let Err(error) = namespace.run(|| self.list(index)) {
            self.degradations.add(Degradation {
                feature: "all network namespaces".to_owned(),
                reason: error.to_string(),
                consequence: "its sockets are without their ends; it takes root, or CAP_SYS_ADMIN"
                    .to_owned(),
            });
        }
    }

    fn list(&mut self, index: usize) {
        let Self { options, wanted, found, unlisted, .. } = self;
        let mut visit = |socket: OpenSocket| {
            if wanted.contains(&socket.inode) {
                found.insert(socket.inode, (Arc::new(socket), index));
            }
        };
        list_open(&options.families, &mut visit, &mut |family, degradation| {
            if !unlisted.iter().any(|known| *known == (family, degradation.clone())) {
                unlisted.push((family, degradation));
            }
        });
    }
}

/// The family of the kernel's name of a protocol (`struct proto`).
fn family_of(name: &[u8]) -> Option<u16> {
    Some(match name {
        b"UNIX" | b"UNIX-STREAM" => 1,
        b"TCP" | b"UDP" | b"UDP-Lite" | b"RAW" | b"PING" | b"MPTCP" | b"SCTP" => 2,
        b"TCPv6" | b"UDPv6" | b"UDPLITEv6" | b"RAWv6" | b"PINGv6" | b"MPTCPv6" | b"SCTPv6" => 10,
        b"NETLINK" => 16,
        b"PACKET" => 17,
        b"ALG" => 38,
        b"AF_VSOCK" => 40,
        b"XDP" => 44,
        _ => return None,
    })
}

impl ProcessDirectory {
    /// What the kernel calls the protocol of a socket.
    fn socket_protocol_name(&self, fd: u32) -> io::Result<Box<[u8]>> {
        let mut name = [0; 32];
        let path = format!("/proc/self/fd/{}/fd/{fd}", self.as_raw_fd());
        let length = rustix::fs::getxattr(path, "system.sockprotoname", &mut name[..])?;
        let name = name.get(..length).unwrap_or_default();
        Ok(name.split(|&byte| byte == 0).next().unwrap_or_default().into())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream},
        os::{fd::AsRawFd as _, unix::net::UnixListener},
    };

    use super::*;
    use crate::socket::{SocketName, SocketState};

    fn own<'a>(inventory: &'a Inventory, fd: &impl std::os::fd::AsRawFd) -> &'a HeldSocket {
        let fd = u32::try_from(fd.as_raw_fd()).unwrap();
        let holder =
            inventory.holders.iter().find(|it| it.process.pid == std::process::id()).unwrap();
        holder.sockets.iter().find(|socket| socket.fd == fd).unwrap()
    }

    #[test]
    fn each_socket_is_under_who_has_it_open() {
        let listener = TcpListener::bind("[::1]:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let directory = tempfile_path();
        let unix = UnixListener::bind(&directory).unwrap();
        let unbound = rustix::net::socket(
            rustix::net::AddressFamily::INET,
            rustix::net::SocketType::STREAM,
            None,
        )
        .unwrap();
        let inventory = Inventory::take(&InventoryOptions::default()).unwrap();

        let (socket, namespace) = own(&inventory, &client).listed.as_ref().unwrap();
        assert_eq!((socket.family, socket.state), (10, Some(SocketState::Established)));
        assert_eq!(socket.local, SocketName::Inet(client.local_addr().unwrap()));
        assert_eq!(socket.remote, SocketName::Inet(listener.local_addr().unwrap()));
        assert_eq!(inventory.namespaces[*namespace].inode, namespace::own().unwrap());
        let (socket, _) = own(&inventory, &unix).listed.as_ref().unwrap();
        assert_eq!((socket.family, socket.state), (1, Some(SocketState::Listen)));
        assert_eq!(socket.local, SocketName::Path(directory.as_bytes().into()));
        std::fs::remove_file(directory).unwrap();

        let socket = own(&inventory, &unbound);
        assert_eq!((socket.listed.is_none(), socket.family()), (true, Some(2)));
        assert_eq!(socket.protocol_name.as_deref(), Some(b"TCP".as_slice()));
    }

    #[test]
    fn one_process_is_looked_at_by_itself() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let options = InventoryOptions::default();
        let inventory = Inventory::of_process(std::process::id(), &options).unwrap();
        assert_eq!(inventory.holders.len(), 1);
        assert!(own(&inventory, &listener).listed.is_some());
        assert!(Inventory::of_process(u32::MAX, &options).unwrap().holders.is_empty());
    }

    #[test]
    fn only_sockets_that_are_asked_for_are_there() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let options = InventoryOptions { families: vec![1], ..InventoryOptions::default() };
        let inventory = Inventory::take(&options).unwrap();
        let sockets = || inventory.holders.iter().flat_map(|holder| &holder.sockets);
        assert!(sockets().all(|socket| socket.family() == Some(1)));
        let fd = u32::try_from(listener.as_raw_fd()).unwrap();
        let own = inventory.holders.iter().find(|it| it.process.pid == std::process::id());
        assert!(!own.unwrap().sockets.iter().any(|socket| socket.fd == fd));
    }

    fn tempfile_path() -> String {
        format!("/tmp/netglass-inventory-{}", std::process::id())
    }
}
