//! The sockets that were there, by what their packets say, and who held them when.

#[cfg(feature = "ebpf")]
use std::time::Duration;
use std::{net::IpAddr, sync::Arc};

use hashbrown::HashMap;
use netglass_model::{Attribution, NamespaceInode, Owner, Process, Protocol, Timestamp};

use crate::socket::{Socket, SocketState};

/// How far apart a packet and the call that sends or takes it may be: as exact as looks are.
#[cfg(feature = "ebpf")]
const DELAY: Duration = Duration::from_millis(100);

/// What packets say of a socket's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// A socket with a peer.
    Connected {
        namespace: NamespaceInode,
        protocol: Protocol,
        local: (IpAddr, u16),
        peer: (IpAddr, u16),
    },
    /// A socket that takes what comes from any peer, on one address or on all of a family.
    Open { namespace: NamespaceInode, protocol: Protocol, local: Local, port: u16 },
}

/// Where a socket without peer takes what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Local {
    Address(IpAddr),
    AnyV4,
    AnyV6,
}

impl Local {
    fn wildcard(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::AnyV4 } else { Self::AnyV6 }
    }
}

/// The keys of a socket: a wildcard socket of IPv6 may take what comes for IPv4 too.
pub(super) fn keys(namespace: NamespaceInode, socket: &Socket) -> impl Iterator<Item = Key> {
    let Socket { protocol, local_address, local_port: port, .. } = *socket;
    let open = |local| Key::Open { namespace, protocol, local, port };
    let is_open = match protocol {
        Protocol::Tcp => socket.state == SocketState::Listen,
        Protocol::Udp => socket.state == SocketState::Close,
    };
    let (first, second) = if !is_open {
        let peer = (socket.peer_address, socket.peer_port);
        (Key::Connected { namespace, protocol, local: (local_address, port), peer }, None)
    } else if !local_address.is_unspecified() {
        (open(Local::Address(local_address)), None)
    } else {
        let also_v4 = local_address.is_ipv6() && !socket.only_v6;
        (open(Local::wildcard(local_address)), also_v4.then(|| open(Local::AnyV4)))
    };
    std::iter::once(first).chain(second)
}

/// Who held a socket, and when.
#[derive(Debug, Clone)]
struct Holding {
    process: Arc<Process>,
    /// The last moment at which it was not there yet; the earliest there is for what was there at the
    /// first look.
    since: Timestamp,
    /// The last moment at which it was seen.
    last: Timestamp,
    /// Whether somebody else had it before, or has it too.
    is_contested: bool,
    look: u64,
}

/// The sockets that were there, those that are gone included.
#[derive(Debug)]
pub(super) struct History {
    holdings: HashMap<Key, Holding, foldhash::quality::RandomState>,
    capacity: usize,
    /// Counts looks.
    look: u64,
    now: Timestamp,
    previous: Timestamp,
    /// Sockets for which there was no room.
    pub(super) refused: u64,
}

impl History {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            holdings: HashMap::default(),
            capacity,
            look: 0,
            now: Timestamp::MIN,
            previous: Timestamp::MIN,
            refused: 0,
        }
    }

    /// Begins a look at `now`.
    pub(super) fn begin(&mut self, now: Timestamp) {
        self.look += 1;
        self.previous = std::mem::replace(&mut self.now, now);
    }

    /// When the look before the last one began.
    pub(super) fn look_before_last(&self) -> Timestamp {
        self.previous
    }

    /// A socket was seen in this look, and is held by `process`.
    pub(super) fn hold(&mut self, key: Key, process: &Arc<Process>) {
        if self.holdings.len() >= self.capacity && !self.holdings.contains_key(&key) {
            self.refused += 1;
            return;
        }
        let (look, now, previous) = (self.look, self.now, self.previous);
        let holding = self.holdings.entry(key).or_insert_with(|| Holding {
            process: Arc::clone(process),
            since: previous,
            last: now,
            is_contested: false,
            look,
        });
        if holding.process != *process {
            // Were both there in the same look, nobody can tell whose packets are whose.
            let since = if holding.look == look { Timestamp::MAX } else { previous };
            *holding = Holding {
                process: Arc::clone(process),
                since,
                last: now,
                is_contested: true,
                look,
            };
        }
        holding.last = now;
        holding.look = look;
    }

    /// A socket was opened by `process`, or used by it for the first time, at `moment`; it may be gone
    /// by now. Nothing of it was there before `opened`, if that is known.
    #[cfg(feature = "ebpf")]
    pub(super) fn note(
        &mut self,
        key: Key,
        process: &Arc<Process>,
        opened: Option<Timestamp>,
        moment: Timestamp,
    ) {
        let last = moment.saturating_add(DELAY);
        if let Some(holding) = self.holdings.get_mut(&key) {
            if holding.process == *process {
                holding.last = holding.last.max(last);
                return;
            }
        } else if self.holdings.len() >= self.capacity {
            self.refused += 1;
            return;
        }
        let is_contested = self.holdings.contains_key(&key);
        // Where nobody had it, it was not there in the last look.
        let since = if is_contested {
            opened.unwrap_or(moment)
        } else {
            self.now.min(moment.saturating_sub(DELAY))
        };
        let process = Arc::clone(process);
        let holding = Holding { process, since, last, is_contested, look: 0 };
        self.holdings.insert(key, holding);
    }

    /// Forgets what was last seen before `moment`.
    pub(super) fn forget_before(&mut self, moment: Timestamp) {
        self.holdings.retain(|_, holding| holding.last >= moment);
    }

    /// The process at the `local` end of a flow with packets from `first` to `last`.
    pub(super) fn find(
        &self,
        namespace: NamespaceInode,
        protocol: Protocol,
        local: (IpAddr, u16),
        peer: (IpAddr, u16),
        (first, last): (Timestamp, Timestamp),
    ) -> Option<Owner> {
        let (address, port) = local;
        let connected = Key::Connected { namespace, protocol, local, peer };
        if let Some(holding) = self.holdings.get(&connected) {
            return self.owner(holding, Attribution::Socket, first, last);
        }
        let open = |local| Key::Open { namespace, protocol, local, port };
        let holding = self
            .holdings
            .get(&open(Local::Address(address)))
            .or_else(|| self.holdings.get(&open(Local::wildcard(address))))?;
        // A datagram without a socket of its own goes to this very one; a connection has one that was
        // not seen.
        let attribution = match protocol {
            Protocol::Tcp => Attribution::Listener,
            Protocol::Udp => Attribution::Socket,
        };
        self.owner(holding, attribution, first, last)
    }

    fn owner(
        &self,
        holding: &Holding,
        attribution: Attribution,
        first: Timestamp,
        last: Timestamp,
    ) -> Option<Owner> {
        let was_there = last >= holding.since && !(holding.is_contested && first < holding.since);
        // What was seen between the last look with it and the first one without is handed over later.
        let is_just_gone = holding.look + 1 == self.look && first <= self.now;
        let is_there = holding.look == self.look || is_just_gone || first <= holding.last;
        (was_there && is_there)
            .then(|| Owner { process: Arc::clone(&holding.process), attribution })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMESPACE: NamespaceInode = NamespaceInode(7);
    const SERVER: &str = "10.0.0.1:80";
    const CLIENT: &str = "10.0.0.2:40000";

    fn process(pid: u32) -> Arc<Process> {
        Arc::new(Process {
            pid,
            start_time: Timestamp::default(),
            pgid: pid,
            ppid: 1,
            family: pid,
            uid: None,
            gid: None,
            comm: "x".to_owned(),
            exe: None,
            cgroup: None,
            container: None,
            command_line: None,
        })
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_nanoseconds(second * 1_000_000_000)
    }

    fn end(text: &str) -> (IpAddr, u16) {
        let address: std::net::SocketAddr = text.parse().unwrap();
        (address.ip(), address.port())
    }

    fn socket(protocol: Protocol, state: SocketState, local: &str, peer: &str) -> Socket {
        let ((local_address, local_port), (peer_address, peer_port)) = (end(local), end(peer));
        Socket {
            protocol,
            state,
            local_address,
            local_port,
            peer_address,
            peer_port,
            inode: 1,
            cookie: 1,
            only_v6: false,
            traffic: None,
        }
    }

    /// Looks at each second, and sees these sockets with these holders.
    fn history(looks: &[&[(Socket, u32)]]) -> History {
        let mut history = History::new(4);
        for (second, sockets) in (10..).zip(looks) {
            history.begin(at(second));
            for (socket, pid) in *sockets {
                keys(NAMESPACE, socket).for_each(|key| history.hold(key, &process(*pid)));
            }
        }
        history
    }

    fn find(history: &History, local: &str, peer: &str, first: i64, last: i64) -> Option<u32> {
        let packets = (at(first), at(last));
        let owner = history.find(NAMESPACE, Protocol::Tcp, end(local), end(peer), packets);
        owner.map(|owner| owner.process.pid)
    }

    fn connected() -> Socket {
        socket(Protocol::Tcp, SocketState::Established, SERVER, CLIENT)
    }

    #[test]
    fn a_flow_is_of_who_held_the_socket_when_it_was_there() {
        let connection = [(connected(), 1)];
        let history = history(&[&[], &connection, &connection, &[], &[]]);
        assert_eq!(find(&history, SERVER, CLIENT, 11, 12), Some(1));
        assert_eq!(find(&history, SERVER, CLIENT, 10, 11), Some(1), "it was opened between looks");
        assert_eq!(find(&history, SERVER, CLIENT, 12, 14), Some(1), "its end was seen");
        assert_eq!(find(&history, SERVER, CLIENT, 8, 9), None, "before it was there");
        assert_eq!(find(&history, SERVER, CLIENT, 13, 14), None, "after it was gone");
        let just_gone = self::history(&[&connection, &[]]);
        assert_eq!(
            find(&just_gone, SERVER, CLIENT, 11, 11),
            Some(1),
            "it was closed between looks"
        );
        assert_eq!(find(&history, CLIENT, SERVER, 11, 12), None, "the other end is elsewhere");
    }

    #[test]
    fn what_had_several_holders_has_none() {
        let both = history(&[&[(connected(), 1), (connected(), 2)]]);
        assert_eq!(find(&both, SERVER, CLIENT, 9, 10), None);
        let one_after_the_other = history(&[&[(connected(), 1)], &[], &[(connected(), 2)]]);
        assert_eq!(find(&one_after_the_other, SERVER, CLIENT, 10, 12), None);
        assert_eq!(find(&one_after_the_other, SERVER, CLIENT, 12, 12), Some(2));
    }

    #[test]
    fn a_connection_that_was_not_seen_is_of_who_listens() {
        let listener = socket(Protocol::Tcp, SocketState::Listen, "[::]:80", "[::]:0");
        let mut only_v6 = listener;
        only_v6.only_v6 = true;
        let dual = history(&[&[(listener, 1)]]);
        assert_eq!(find(&dual, SERVER, CLIENT, 10, 10), Some(1));
        assert_eq!(find(&dual, "10.0.0.1:81", CLIENT, 10, 10), None);
        assert_eq!(find(&history(&[&[(only_v6, 1)]]), SERVER, CLIENT, 10, 10), None);
        let exact = socket(Protocol::Tcp, SocketState::Listen, SERVER, "0.0.0.0:0");
        let both = history(&[&[(listener, 1), (exact, 2)]]);
        assert_eq!(find(&both, SERVER, CLIENT, 10, 10), Some(2));
    }

    #[test]
    fn there_is_a_bound_and_what_is_old_makes_room() {
        let sockets: Vec<_> =
            (0..6_u16).map(|port| (Socket { peer_port: port, ..connected() }, 1)).collect();
        let mut history = history(&[&sockets]);
        assert_eq!((history.holdings.len(), history.refused), (4, 2));
        history.forget_before(at(11));
        assert_eq!(history.holdings.len(), 0);
    }

    #[test]
    #[cfg(feature = "ebpf")]
    fn what_was_told_of_between_two_looks_is_known() {
        let (one, other) = (process(1), process(2));
        let mut history = History::new(10);
        history.begin(at(10));
        let client = socket(Protocol::Udp, SocketState::Established, CLIENT, SERVER);
        let note = |history: &mut History, process, opened, moment| {
            for key in keys(NAMESPACE, &client) {
                history.note(key, process, opened, moment);
            }
        };
        let find = |history: &History, first, last| {
            let ends = (end(CLIENT), end(SERVER));
            let owner = history.find(NAMESPACE, Protocol::Udp, ends.0, ends.1, (first, last));
            owner.map(|owner| owner.process.pid)
        };
        // Its only packet came before the call was over.
        let early = at(11).saturating_sub(Duration::from_millis(1));
        note(&mut history, &one, None, at(11));
        history.begin(at(12));
        history.begin(at(13));
        assert_eq!(find(&history, early, early), Some(1));
        assert_eq!(find(&history, at(12), at(12)), None, "nobody is known to have used it then");
        // Somebody else has the same port: whose the earlier ones were is not known any more.
        note(&mut history, &other, Some(at(14)), at(15));
        assert_eq!(find(&history, early, early), None);
        assert_eq!(find(&history, at(14), at(15)), Some(2));
    }
}
