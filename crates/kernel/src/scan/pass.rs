//! Going through the sockets of one or all namespaces with one reading of their owners.

use std::{cell::Cell, collections::BTreeSet, fs, ops::RangeInclusive};

use netglass_model::{Degradation, NamespaceInode, NetworkNamespace, Protocol, Skip};

use super::{
    ScanOptions, SocketSource,
    direction::ListeningEndpoints,
    tally::{Role, Tally},
};
use crate::{
    Error, address,
    collector::Holder,
    degradations::Degradations,
    namespace::{Namespace, Namespaces},
    owner::{Held, Owners},
    process::ProcessCache,
    socket::{Diag, InetFamily, Socket, StateSet, proc_net},
};

/// How many sockets without a known owner are kept to look for it again; what is beyond that is
/// counted without process at once.
const MAXIMUM_ORPHANS: usize = 65_536;

/// A socket that some process should hold, but none is known to.
#[derive(Debug)]
pub(super) struct Orphan {
    namespace: NamespaceInode,
    socket: Socket,
    role: Role,
}

impl Orphan {
    pub(super) fn inode(&self) -> u32 {
        self.socket.inode
    }

    /// Counts it. `port_bound` says whether a program chose its port, if that is known.
    pub(super) fn count_without_process(&self, tally: &mut Tally<'_>, port_bound: Option<bool>) {
        tally.count(self.namespace, &self.socket, self.role, None, port_bound);
    }
}

pub(super) struct Pass<'a> {
    options: ScanOptions,
    owners: &'a Owners,
    processes: &'a mut ProcessCache,
    /// By the owner's index: `None` where it was not looked up yet.
    holders: Vec<Option<Result<Holder, NoRoom>>>,
    tally: Tally<'a>,
    degradations: &'a mut Degradations,
    /// The protocols whose sockets netlink has listed before.
    listed_by_netlink: &'a mut BTreeSet<Protocol>,
    orphans: Vec<Orphan>,
}

#[derive(Debug, Clone, Copy)]
struct NoRoom;

impl<'a> Pass<'a> {
    pub(super) fn new(
        options: ScanOptions,
        owners: &'a Owners,
        processes: &'a mut ProcessCache,
        tally: Tally<'a>,
        degradations: &'a mut Degradations,
        listed_by_netlink: &'a mut BTreeSet<Protocol>,
    ) -> Self {
        if owners.denied > 0 {
            degradations.add(crate::owner::denied_files());
        }
        if owners.dropped > 0 {
            degradations.add(Degradation {
                feature: "the owners of all sockets".to_owned(),
                reason: "there are more sockets than there is room for".to_owned(),
                consequence: "the others are counted without process; raise --max-sockets"
                    .to_owned(),
            });
        }
        Self {
            options,
            owners,
            processes,
            holders: vec![None; owners.processes().len()],
            tally,
            degradations,
            listed_by_netlink,
            orphans: Vec::new(),
        }
    }

    pub(super) fn into_orphans(self) -> Vec<Orphan> {
        self.orphans
    }

    /// Goes through the sockets of all namespaces, `own` among them.
    pub(super) fn namespaces(
        &mut self,
        own: &NetworkNamespace,
        namespaces: &Namespaces,
    ) -> Result<(), Error> {
        if namespaces.denied > 0 {
            self.degradations.add(Degradation {
                feature: "all network namespaces".to_owned(),
                reason: "those of some processes may not be read".to_owned(),
                consequence: "sockets in them may be missing; it takes root, or CAP_SYS_PTRACE"
                    .to_owned(),
            });
        }
        for namespace in namespaces.iter() {
            if namespace.identity.inode == own.inode {
                self.namespace(&namespace.identity)?;
            } else {
                self.foreign_namespace(namespace)?;
            }
        }
        Ok(())
    }

    fn foreign_namespace(&mut self, namespace: &Namespace) -> Result<(), Error> {
        let identity = &namespace.identity;
        match namespace.run(|| self.namespace(identity)) {
            // One that is gone ended together with its last process.
            Ok(result) => result.unwrap_or(Ok(())),
            Err(error) => {
                self.degradations.add(Degradation {
                    feature: "all network namespaces".to_owned(),
                    reason: error.to_string(),
                    consequence: "its sockets are missing; it takes root, or CAP_SYS_ADMIN"
                        .to_owned(),
                });
                self.tally.lose_track();
                Ok(())
            }
        }
    }

    /// Goes through the sockets of the calling thread's namespace, which is `identity`.
    pub(super) fn namespace(&mut self, identity: &NetworkNamespace) -> Result<(), Error> {
        let addresses = address::list().unwrap_or_else(|error| {
            self.degradations.add(Degradation {
                feature: "the host's addresses".to_owned(),
                reason: error.to_string(),
                consequence: "other hosts' connections to this one are not joined with it"
                    .to_owned(),
            });
            Vec::new()
        });
        self.tally.collector.namespace(identity, addresses);

        let namespace = identity.inode;
        let mut sockets = SocketLists::open(self)?;
        let mut listening = ListeningEndpoints::default();
        let ephemeral_ports = ephemeral_ports();
        for (protocol, states) in
            [(Protocol::Tcp, StateSet::LISTENING), (Protocol::Udp, StateSet::UNCONNECTED)]
        {
            sockets.list(self, protocol, states, |pass, socket| {
                listening.add(socket);
                let ephemeral = ephemeral_ports.contains(&socket.local_port);
                pass.observe(namespace, socket, Role::Listener { ephemeral });
            })?;
        }
        for protocol in Protocol::ALL {
            sockets.list(self, protocol, StateSet::CONNECTED, |pass, socket| {
                let direction = listening.direction(socket, &ephemeral_ports);
                pass.observe(namespace, socket, Role::Connection(direction));
            })?;
        }
        Ok(())
    }

    /// Counts a socket whose owner an earlier pass did not find.
    pub(super) fn adopt(&mut self, orphan: &Orphan) {
        self.count_or_orphan(orphan.namespace, &orphan.socket, orphan.role);
    }

    fn observe(&mut self, namespace: NamespaceInode, socket: &Socket, role: Role) {
        if let Role::Connection(_) = role {
            let selection = self.options.selection;
            if let Some(reason) = selection.skips(socket.local_address, socket.peer_address) {
                return self.tally.collector.skip(reason, 1);
            }
        }
        self.count_or_orphan(namespace, socket, role);
    }

    fn count_or_orphan(&mut self, namespace: NamespaceInode, socket: &Socket, role: Role) {
        let held = match socket.inode {
            0 => None,
            inode => self.owners.get(inode),
        };
        let Some(held) = held else {
            if socket.inode != 0 && self.orphans.len() < MAXIMUM_ORPHANS {
                self.orphans.push(Orphan { namespace, socket: *socket, role });
            } else {
                self.tally.count(namespace, socket, role, None, None);
            }
            return;
        };
        match self.holder(held) {
            Ok(holder) => {
                self.tally.count(namespace, socket, role, Some(holder), held.port_bound);
            }
            Err(NoRoom) => self.tally.skip_for_lack_of_room(),
        }
    }

    fn holder(&mut self, held: Held) -> Result<Holder, NoRoom> {
        let index = usize::try_from(held.owner).unwrap_or(usize::MAX);
        let (Some(slot), Some(identity)) =
            (self.holders.get_mut(index), self.owners.processes().get(index))
        else {
            return Err(NoRoom);
        };
        if let Some(holder) = slot {
            return *holder;
        }
        let process = self.processes.get(identity);
        *slot.insert(self.tally.collector.holder(&process).ok_or(NoRoom))
    }
}

/// The ports that the kernel gives to programs that do not choose, in the calling thread's network
/// namespace (`ip_local_port_range` in ip(7)).
fn ephemeral_ports() -> RangeInclusive<u16> {
    // The kernel's own default, where it cannot be read.
    const DEFAULT: RangeInclusive<u16> = 32_768..=60_999;

    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut bounds = text.split_ascii_whitespace().map(str::parse);
    match (bounds.next(), bounds.next()) {
        (Some(Ok(first)), Some(Ok(last))) => first..=last,
        _ => DEFAULT,
    }
}

/// The lists of sockets of one namespace, over netlink where that works.
struct SocketLists {
    source: SocketSource,
    diag: Option<Diag>,
}

impl SocketLists {
    fn open(pass: &mut Pass<'_>) -> Result<Self, Error> {
        let source = pass.options.sockets;
        let diag = match source {
            SocketSource::Procfs => None,
            SocketSource::Netlink => Some(Diag::open()?),
            SocketSource::Auto => match Diag::open() {
                Ok(diag) => Some(diag),
                Err(error) => {
                    let worked = !pass.listed_by_netlink.is_empty();
                    pass.degradations.add(if worked { cut(&error) } else { fallback(&error) });
                    None
                }
            },
        };
        Ok(Self { source, diag })
    }

    /// Calls `visit` with each socket of `protocol` in one of `states`.
    ///
    /// Procfs stands in only where netlink never worked: it knows sockets by other names, so that
    /// with a change from one to the other all of them would look new.
    fn list(
        &mut self,
        pass: &mut Pass<'_>,
        protocol: Protocol,
        states: StateSet,
        mut visit: impl FnMut(&mut Pass<'_>, &Socket),
    ) -> Result<(), Error> {
        for family in InetFamily::BOTH {
            let visited = Cell::new(false);
            let mut visit = |pass: &mut Pass<'_>, socket: Option<&Socket>| {
                visited.set(true);
                match socket {
                    Some(socket) => visit(pass, socket),
                    None => pass.tally.collector.skip(Skip::Malformed, 1),
                }
            };
            let worked = pass.listed_by_netlink.contains(&protocol);
            if let Some(diag) = &mut self.diag {
                let result = diag.list(protocol, family, states, |socket| visit(pass, socket));
                match result {
                    Ok(()) => {
                        pass.listed_by_netlink.insert(protocol);
                        continue;
                    }
                    Err(error) if self.source == SocketSource::Netlink => return Err(error),
                    // Read again from the start, what came before the cut would count twice.
                    Err(error) if worked || visited.get() => {
                        pass.degradations.add(cut(&error));
                        pass.tally.lose_track();
                        continue;
                    }
                    Err(error) => pass.degradations.add(fallback(&error)),
                }
            } else if worked {
                pass.tally.lose_track();
                continue;
            }
            proc_net::list(protocol, family, states, |socket| visit(pass, socket))?;
        }
        Ok(())
    }
}

fn fallback(error: &Error) -> Degradation {
    Degradation {
        feature: "sockets over netlink".to_owned(),
        reason: error.to_string(),
        consequence: "read from /proc/net instead, which tells neither bytes nor round trip times"
            .to_owned(),
    }
}

fn cut(error: &Error) -> Degradation {
    Degradation {
        feature: "sockets over netlink".to_owned(),
        reason: error.to_string(),
        consequence: "what the rest of the list held is missing from that scan".to_owned(),
    }
}
