//! Which process is at which end of a flow whose packets were captured.
//!
//! The sockets of this host are looked at again and again, for as little of the time as
//! [`SHARE_OF_LOOKING`] says, and what was seen is kept for a while with who held it. Kernel programs,
//! where those can be had, tell of connections that are opened and of UDP sockets that are used, however
//! short they live; without them, a client's socket that is opened and closed between two looks is
//! missed. A flow is of a process if a socket with its addresses and ports was there at its time and one
//! process alone held it; otherwise its owner is not known. Of an accepted connection that is gone
//! before a look there is who listens.

mod history;
#[cfg(feature = "ebpf")]
mod watch;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use hashbrown::HashMap;
use netglass_model::{
    Attribution, Degradation, IpProtocol, NamespaceInode, Owner, Process, Protocol, Timestamp,
};

use self::history::History;
use crate::{
    Error, OwnerSource,
    address::Addresses,
    degradations::Degradations,
    namespace::{self, Namespaces},
    owner::{OwnerReader, Owners},
    process::{BootClock, ProcessCache},
    socket::{Diag, InetFamily, Socket, StateSet},
};

/// The least time between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// Looking takes this part of all time at most.
const SHARE_OF_LOOKING: u32 = 50;
/// Which namespaces there are, and their addresses, is read again after this time.
const PLACES_LAST: Duration = Duration::from_secs(5);
/// A socket without a known holder is looked for again in so many looks, then it has none.
const ATTEMPTS: u8 = 3;
/// In how many network namespaces sockets are looked at.
const MAXIMUM_PLACES: usize = 1024;
/// How many sockets are remembered.
const CAPACITY: usize = 1 << 18;

/// How the owners of flows are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowOwnerOptions {
    /// Whether processes in all network namespaces of the host are looked for, such as those in
    /// containers, rather than those in that of the caller.
    pub all_namespaces: bool,
    /// How the holders of sockets are found.
    pub owners: OwnerSource,
    /// For how long a socket is remembered that is gone: as long as a flow of it may be asked about.
    pub keep: Duration,
}

/// A flow whose owners are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowEnds {
    /// The protocol; owners are known of TCP and UDP.
    pub protocol: IpProtocol,
    /// The source.
    pub source: SocketAddr,
    /// The destination.
    pub destination: SocketAddr,
    /// When its first packet was seen.
    pub first_seen: Timestamp,
    /// When its last one was.
    pub last_seen: Timestamp,
}

/// The socket of a packet, where the kernel knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketSocket {
    /// Its number, on this host and until that starts again.
    pub cookie: u64,
    /// Whether it sent the packet; else it would receive it.
    pub is_source: bool,
}

/// Where sockets are.
#[derive(Debug)]
struct Place {
    namespace: NamespaceInode,
    /// It lists the sockets of the namespace in which it was opened.
    diag: Diag,
    /// It lists its addresses.
    lister: Addresses,
    addresses: Vec<IpAddr>,
}

impl Place {
    /// The calling thread's namespace, which is `namespace`.
    fn open(namespace: NamespaceInode) -> Result<Self, Error> {
        let mut lister = Addresses::open()?;
        let addresses = lister.list()?;
        Ok(Self { namespace, diag: Diag::open()?, lister, addresses })
    }

    /// Calls `visit` with each socket that a process can hold.
    fn list(&mut self, mut visit: impl FnMut(&Socket)) -> Result<(), Error> {
        for protocol in Protocol::ALL {
            for family in InetFamily::BOTH {
                self.diag.list(protocol, family, StateSet::ALL, |socket| {
                    if let Some(socket) = socket.filter(|socket| socket.inode != 0) {
                        visit(socket);
                    }
                })?;
            }
        }
        Ok(())
    }
}

/// What is known of a socket that exists.
#[derive(Debug)]
struct Known {
    inode: u32,
    /// Its process, or how often that was looked for in vain.
    holder: Result<Arc<Process>, u8>,
    look: u64,
}

/// Finds the processes at the ends of flows.
#[derive(Debug)]
pub struct FlowOwners {
    options: FlowOwnerOptions,
    own: NamespaceInode,
    reader: OwnerReader,
    owners: Owners,
    processes: ProcessCache,
    places: Vec<Place>,
    places_until: Instant,
    /// The sockets that exist, by namespace and cookie.
    known: HashMap<(NamespaceInode, u64), Known, foldhash::quality::RandomState>,
    history: History,
    /// Tells of sockets that live between two looks, where that can be had.
    #[cfg(feature = "ebpf")]
    watch: Option<watch::Watch>,
    forget_at: Instant,
    degradations: Degradations,
    look: u64,
    next: Instant,
}

impl FlowOwners {
    /// Looks for the first time. The network namespace of the calling thread counts as that of the
    /// packets.
    pub fn new(options: FlowOwnerOptions) -> Result<Self, Error> {
        let clock = BootClock::read()?;
        let mut degradations = Degradations::default();
        let reader = OwnerReader::new(options.owners, clock, &mut |it| degradations.add(it))?;
        let own = namespace::own()?;
        #[cfg(feature = "ebpf")]
        let watch = {
            // Before the first look, so that nothing is between the two.
            let wanted = (!options.all_namespaces).then_some(own);
            let watch = watch::Watch::start(wanted, clock);
            watch.map_err(|error| degradations.add(watch::missing(&error))).ok()
        };
        let now = Instant::now();
        let mut owners = Self {
            options,
            own,
            reader,
            owners: Owners::new(CAPACITY),
            processes: ProcessCache::new(clock),
            places: vec![Place::open(own)?],
            places_until: now,
            known: HashMap::default(),
            history: History::new(CAPACITY),
            #[cfg(feature = "ebpf")]
            watch,
            forget_at: now,
            degradations,
            look: 0,
            next: now,
        };
        owners.look()?;
        Ok(owners)
    }

    /// Tries whether the thread that calls it may use what was made ready in [`new`](Self::new): what
    /// [`drop_to`](crate::drop_to) asks.
    pub fn trial(&self) -> impl FnOnce() -> bool + Send + '_ {
        let reader = &self.reader;
        #[cfg(feature = "ebpf")]
        let watch = self.watch.as_ref().map(watch::Watch::trial);
        move || {
            #[cfg(feature = "ebpf")]
            let watches = watch.is_none_or(|watches| watches());
            #[cfg(not(feature = "ebpf"))]
            let watches = true;
            reader.is_usable() && watches
        }
    }

    /// How long it is until the next look is due.
    #[must_use]
    pub fn wait(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }

    /// Looks at the sockets that there are, if that is due.
    pub fn look_if_due(&mut self) -> Result<(), Error> {
        self.catch_up()?;
        if self.wait().is_zero() { self.look() } else { Ok(()) }
    }

    /// Learns of the sockets that were opened and used since the last time, also of those that are gone.
    pub fn catch_up(&mut self) -> Result<(), Error> {
        #[cfg(feature = "ebpf")]
        if let Some(watch) = &mut self.watch {
            let history = &mut self.history;
            watch.take(&mut |watch::Sighting { namespace, socket, opened, at }, process| {
                for key in history::keys(namespace, &socket) {
                    history.note(key, process, opened, at);
                }
            })?;
        }
        Ok(())
    }

    /// Looks at the sockets that there are.
    pub fn look(&mut self) -> Result<(), Error> {
        self.catch_up()?;
        let began = Instant::now();
        if self.places_until <= began {
            self.places_until = began + PLACES_LAST;
            self.find_places();
        }
        self.look += 1;
        self.history.begin(SystemTime::now().into());
        let new = self.list()?;
        if !new.is_empty() {
            self.adopt(&new)?;
        }
        let look = self.look;
        self.known.retain(|_, known| known.look == look);
        let now = Instant::now();
        if self.forget_at <= now {
            self.forget_at = now + self.options.keep / 4;
            let moment = Timestamp::from(SystemTime::now()).saturating_sub(self.options.keep);
            self.history.forget_before(moment);
        }
        self.next = now + (now.duration_since(began) * SHARE_OF_LOOKING).max(PAUSE);
        Ok(())
    }

    /// The processes at the source and at the destination of a flow, where those are on this host and
    /// known.
    #[must_use]
    pub fn find(&self, ends: &FlowEnds) -> (Option<Owner>, Option<Owner>) {
        let Some(protocol) = Protocol::from_number(ends.protocol.0) else { return (None, None) };
        let end = |end: SocketAddr| (end.ip().to_canonical(), end.port());
        let (source, destination) = (end(ends.source), end(ends.destination));
        let packets = (ends.first_seen, ends.last_seen);
        (
            self.find_end(protocol, source, destination, packets),
            self.find_end(protocol, destination, source, packets),
        )
    }

    /// The same of a single packet, of which the kernel may know the namespace and a socket.
    #[must_use]
    pub fn find_of_packet(
        &self,
        ends: &FlowEnds,
        namespace: Option<NamespaceInode>,
        socket: Option<PacketSocket>,
    ) -> (Option<Owner>, Option<Owner>) {
        let held = socket.zip(namespace).and_then(|(socket, namespace)| {
            let known = self.known.get(&(namespace, socket.cookie))?;
            let process = Arc::clone(known.holder.as_ref().ok()?);
            Some(Owner { process, attribution: Attribution::Socket })
        });
        let of_source = held.clone().filter(|_| socket.is_some_and(|it| it.is_source));
        let of_destination = held.filter(|_| socket.is_some_and(|it| !it.is_source));
        let Some(protocol) = Protocol::from_number(ends.protocol.0) else {
            return (of_source, of_destination);
        };
        let end = |end: SocketAddr| (end.ip().to_canonical(), end.port());
        let (source, destination) = (end(ends.source), end(ends.destination));
        let packets = (ends.first_seen, ends.last_seen);
        let find = |local: (IpAddr, u16), peer| {
            // Whoever has the address where the packet was seen is nearer than others that have it too.
            let near = namespace
                .filter(|namespace| self.has_address(*namespace, local.0))
                .and_then(|namespace| self.history.find(namespace, protocol, local, peer, packets));
            near.or_else(|| {
                let is_elsewhere = namespace.is_none() || !local.0.is_loopback();
                is_elsewhere.then(|| self.find_end(protocol, local, peer, packets))?
            })
        };
        (
            of_source.or_else(|| find(source, destination)),
            of_destination.or_else(|| find(destination, source)),
        )
    }

    /// How often sockets were looked at: what was found may be another after that.
    #[must_use]
    pub fn looks(&self) -> u64 {
        self.look
    }

    /// Since when sockets were looked at twice: a socket that goes while the first look lasts is known with
    /// the second one.
    #[must_use]
    pub fn known_until(&self) -> Timestamp {
        self.history.look_before_last()
    }

    fn has_address(&self, namespace: NamespaceInode, address: IpAddr) -> bool {
        address.is_loopback()
            || self
                .places
                .iter()
                .find(|place| place.namespace == namespace)
                .is_some_and(|place| place.addresses.binary_search(&address).is_ok())
    }

    /// What does not work as well as it could, told once.
    pub fn take_degradations(&mut self) -> Vec<Degradation> {
        self.degradations.take()
    }

    /// How many sockets were left out, each time they were seen: there was no room for more.
    #[must_use]
    pub fn refused(&self) -> u64 {
        #[cfg(feature = "ebpf")]
        let untold = self.watch.as_ref().map_or(0, watch::Watch::lost);
        #[cfg(not(feature = "ebpf"))]
        let untold = 0;
        self.history.refused + untold
    }

    /// The same address may be in several namespaces: then it takes a socket that is in one alone.
    fn find_end(
        &self,
        protocol: Protocol,
        local: (IpAddr, u16),
        peer: (IpAddr, u16),
        packets: (Timestamp, Timestamp),
    ) -> Option<Owner> {
        let is_there = |place: &&Place| {
            if local.0.is_loopback() {
                place.namespace == self.own
            } else {
                place.addresses.binary_search(&local.0).is_ok()
            }
        };
        let mut found: Option<Owner> = None;
        let mut is_contested = false;
        for place in self.places.iter().filter(is_there) {
            let Some(owner) = self.history.find(place.namespace, protocol, local, peer, packets)
            else {
                continue;
            };
            match &found {
                Some(other) if other.attribution == owner.attribution => is_contested = true,
                Some(other) if other.attribution == Attribution::Socket => {}
                _ => (found, is_contested) = (Some(owner), false),
            }
        }
        found.filter(|_| !is_contested)
    }

    /// Lists all sockets; those whose holders are not known are returned.
    fn list(&mut self) -> Result<Vec<(NamespaceInode, Socket)>, Error> {
        let Self { own, places, known, history, degradations, look, .. } = self;
        let mut new = Vec::new();
        let mut failure = None;
        for place in places.iter_mut() {
            let namespace = place.namespace;
            let listed = place.list(|socket| {
                let Some(known) = known
                    .get_mut(&(namespace, socket.cookie))
                    .filter(|known| known.inode == socket.inode)
                else {
                    if new.len() < CAPACITY {
                        new.push((namespace, *socket));
                    }
                    return;
                };
                known.look = *look;
                match &known.holder {
                    Ok(process) => {
                        history::keys(namespace, socket).for_each(|key| history.hold(key, process));
                    }
                    Err(ATTEMPTS..) => {}
                    Err(_) => new.push((namespace, *socket)),
                }
            });
            match listed {
                Ok(()) => {}
                Err(error) if namespace == *own => failure = Some(error),
                Err(error) => degradations.add(unlisted(&error)),
            }
        }
        failure.map_or(Ok(new), Err)
    }

    /// Finds the holders of sockets.
    fn adopt(&mut self, sockets: &[(NamespaceInode, Socket)]) -> Result<(), Error> {
        let wanted = (!self.options.all_namespaces).then_some(self.own);
        let Self { reader, owners, processes, known, history, degradations, look, .. } = self;
        reader.read(wanted, owners, &mut |it| degradations.add(it))?;
        for (namespace, socket) in sockets {
            let key = (*namespace, socket.cookie);
            let held = owners.get(socket.inode).map(|held| held.owner as usize);
            let holder = match held.and_then(|owner| owners.processes().get(owner)) {
                Some(identity) => Ok(processes.get(identity)),
                None => match known.get(&key).map(|known| &known.holder) {
                    Some(Err(attempts)) => Err(attempts + 1),
                    _ => Err(1),
                },
            };
            if let Ok(process) = &holder {
                history::keys(*namespace, socket).for_each(|key| history.hold(key, process));
            }
            known.insert(key, Known { inode: socket.inode, holder, look: *look });
        }
        Ok(())
    }

    /// Finds the namespaces that there are, and their addresses.
    fn find_places(&mut self) {
        for place in &mut self.places {
            match place.lister.list() {
                Ok(addresses) => place.addresses = addresses,
                Err(error) => self.degradations.add(unlisted(&error)),
            }
        }
        if !self.options.all_namespaces {
            return;
        }
        let namespaces = match Namespaces::find() {
            Ok(namespaces) => namespaces,
            Err(error) => return self.degradations.add(unlisted(&error)),
        };
        let is_there = |place: &Place| {
            namespaces.iter().any(|namespace| namespace.identity.inode == place.namespace)
        };
        let own = self.own;
        self.places.retain(|place| place.namespace == own || is_there(place));
        for namespace in namespaces.iter() {
            let inode = namespace.identity.inode;
            if self.places.iter().any(|place| place.namespace == inode) {
                continue;
            }
            if self.places.len() >= MAXIMUM_PLACES {
                return self.degradations.add(degradation("there are too many of them"));
            }
            match namespace.run(|| Place::open(inode)) {
                Ok(Some(Ok(place))) => self.places.push(place),
                // It is gone.
                Ok(None) => {}
                Ok(Some(Err(error))) | Err(error) => self.degradations.add(unlisted(&error)),
            }
        }
    }
}

fn unlisted(error: &Error) -> Degradation {
    degradation(&error.to_string())
}

fn degradation(reason: &str) -> Degradation {
    Degradation {
        feature: "the owners of flows in all network namespaces".to_owned(),
        reason: reason.to_owned(),
        consequence: "flows of those that cannot be looked at have no process".to_owned(),
    }
}
