//! Who talks to whom, from calls that were added up.

pub(super) mod flows;
pub(super) mod json;
mod peers;
pub(super) mod table;

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use netglass_model::{
    CallConnection, CallName, CallSum, Direction, Latencies, NamespaceInode, Process, Transfer,
};

/// How many connections and calls are told apart in one summary.
const CAPACITY: usize = 32_768;

/// Between whom.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Ends {
    /// One process stands for all of its family.
    process: (u32, u32, String),
    family: Option<u16>,
    /// As the socket has it, and its type.
    protocol: Option<(u16, u16)>,
    namespace: Option<NamespaceInode>,
    direction: Direction,
    /// The port of the end that asks is 0.
    local: Option<SocketAddr>,
    peer: Option<SocketAddr>,
}

/// Calls of one name.
#[derive(Debug, Clone, Default)]
pub(super) struct Calls {
    /// How many failed, by their error.
    pub(super) errors: BTreeMap<u32, u64>,
    pub(super) bytes_sent: u64,
    pub(super) bytes_received: u64,
    pub(super) duration: Duration,
    pub(super) latencies: Latencies,
}

/// All calls of one end.
#[derive(Debug, Clone)]
pub(super) struct End {
    /// The oldest of its family.
    pub(super) process: Arc<Process>,
    pub(super) family: Option<u16>,
    pub(super) connection: Option<CallConnection>,
    pub(super) direction: Direction,
    pub(super) calls: BTreeMap<CallName, Calls>,
}

/// What was called within a span of time.
#[derive(Debug, Default)]
pub(super) struct Summary {
    ends: HashMap<Ends, End>,
    entries: usize,
    /// Calls for which there was no room.
    full: u64,
}

impl Calls {
    fn add(&mut self, sum: &CallSum) {
        if let Some(error) = sum.error {
            let count = self.errors.entry(error).or_default();
            *count = count.saturating_add(sum.calls());
        }
        match sum.transfer {
            Some(Transfer::Send) => {
                self.bytes_sent = self.bytes_sent.saturating_add(sum.bytes);
            }
            Some(Transfer::Receive) => {
                self.bytes_received = self.bytes_received.saturating_add(sum.bytes);
            }
            None => {}
        }
        self.duration = self.duration.saturating_add(sum.duration);
        self.latencies.merge(&sum.latencies);
    }

    fn merge(&mut self, other: &Self) {
        for (&error, &more) in &other.errors {
            let count = self.errors.entry(error).or_default();
            *count = count.saturating_add(more);
        }
        self.bytes_sent = self.bytes_sent.saturating_add(other.bytes_sent);
        self.bytes_received = self.bytes_received.saturating_add(other.bytes_received);
        self.duration = self.duration.saturating_add(other.duration);
        self.latencies.merge(&other.latencies);
    }
}

impl End {
    /// Calls of all names.
    pub(super) fn total(&self) -> Calls {
        let mut total = Calls::default();
        self.calls.values().for_each(|calls| total.merge(calls));
        total
    }
}

impl Summary {
    /// Adds calls of a process; whether there was room for them.
    pub(super) fn add(&mut self, sum: &CallSum, process: &Arc<Process>) -> bool {
        let connection = sum.connection;
        let key = Ends {
            process: (process.family, process.pgid, process.comm.clone()),
            family: sum.family,
            protocol: connection.map(|it| (it.protocol, it.socket_type)),
            namespace: connection.map(|it| it.namespace),
            direction: sum.direction,
            local: connection.and_then(|it| it.local),
            peer: connection.and_then(|it| it.remote),
        };
        let is_known = self.ends.get(&key).is_some_and(|end| end.calls.contains_key(&sum.name));
        if !is_known && self.entries >= CAPACITY {
            self.full = self.full.saturating_add(sum.calls());
            return false;
        }
        self.entries += usize::from(!is_known);
        let end = self.ends.entry(key).or_insert_with(|| End {
            process: Arc::clone(process),
            family: sum.family,
            connection,
            direction: sum.direction,
            calls: BTreeMap::new(),
        });
        if (process.start_time, process.pid) < (end.process.start_time, end.process.pid) {
            end.process = Arc::clone(process);
        }
        end.calls.entry(sum.name).or_default().add(sum);
        true
    }

    /// Puts attempts that failed to the connections that did not: their sockets have lost their
    /// address.
    pub(super) fn settle(&mut self) {
        let without_local = |key: &Ends| Ends { local: None, ..key.clone() };
        let is_lost = |key: &Ends| {
            let asks = key.direction == Direction::Active && key.peer.is_some();
            asks && key.local.is_some_and(|local| local.ip().is_unspecified())
        };
        let (lost, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.ends).into_iter().partition(|(key, _)| is_lost(key));
        let located: HashMap<Ends, Option<SocketAddr>> =
            kept.iter().map(|(key, _)| (without_local(key), key.local)).collect();
        self.ends = kept.into_iter().collect();
        for (mut key, mut end) in lost {
            let loopback = key.peer.filter(|peer| peer.ip().is_loopback());
            let local = located.get(&without_local(&key)).copied().flatten();
            if let Some(local) = local.or(loopback) {
                let local = SocketAddr::new(local.ip(), 0);
                key.local = Some(local);
                end.connection =
                    end.connection.map(|it| CallConnection { local: Some(local), ..it });
            }
            match self.ends.entry(key) {
                Entry::Vacant(entry) => {
                    entry.insert(end);
                }
                Entry::Occupied(entry) => {
                    let into = entry.into_mut();
                    for (name, calls) in end.calls {
                        into.calls.entry(name).or_default().merge(&calls);
                    }
                }
            }
        }
    }

    /// How many calls there was no room for.
    pub(super) fn full(&self) -> u64 {
        self.full
    }

    /// All ends with those that they talk to, those with the most calls first.
    pub(super) fn talks(&self) -> Vec<Talk<'_>> {
        let ends: Vec<&End> = self.ends.values().collect();
        let peers = peers::find(&ends);
        let mut talks: Vec<Talk<'_>> = ends
            .into_iter()
            .zip(peers)
            .map(|(end, peers)| Talk { end, total: end.total(), peers })
            .collect();
        let order = |talk: &Talk<'_>| {
            let process = &talk.end.process;
            let ends = talk.end.connection.map(|it| (it.remote, it.local));
            (std::cmp::Reverse(talk.total.latencies.calls()), process.pid, talk.end.direction, ends)
        };
        talks.sort_by_key(order);
        talks
    }

    /// All ends.
    pub(super) fn ends(&self) -> impl Iterator<Item = &End> {
        self.ends.values()
    }
}

/// An endpoint, without a port where it has many.
pub(super) fn show_endpoint(endpoint: SocketAddr) -> String {
    match endpoint.port() {
        0 => endpoint.ip().to_string(),
        _ => endpoint.to_string(),
    }
}

/// An end, and whom it talks to.
#[derive(Debug)]
pub(super) struct Talk<'a> {
    pub(super) end: &'a End,
    /// Its calls of all names.
    pub(super) total: Calls,
    /// The processes at the other end, where that is on this host, too.
    pub(super) peers: Vec<Arc<Process>>,
}

#[cfg(test)]
pub(super) mod fixtures {
    use netglass_model::{CallingProcess, CommandName, Timestamp};

    use super::*;

    pub(in crate::streaming) fn process(comm: &str, pid: u32) -> Arc<Process> {
        Arc::new(Process {
            pid,
            start_time: Timestamp::default(),
            pgid: pid,
            ppid: 1,
            family: pid,
            uid: Some(33),
            gid: None,
            comm: comm.to_owned(),
            exe: None,
            cgroup: None,
            container: None,
            command_line: None,
        })
    }

    /// `calls` of the end that asks, or is asked, at 127.0.0.1:80.
    pub(in crate::streaming) fn sum(name: CallName, direction: Direction, calls: u64) -> CallSum {
        let (client, server) = (([127, 0, 0, 1], 0).into(), ([127, 0, 0, 1], 80).into());
        let (local, remote) = match direction {
            Direction::Active => (client, server),
            Direction::Passive => (server, client),
        };
        let mut latencies = Latencies::default();
        latencies.add(Some(20), calls);
        CallSum {
            name,
            process: CallingProcess {
                pid: 100,
                comm: CommandName::new(b"nginx"),
                ..CallingProcess::default()
            },
            error: None,
            family: Some(2),
            connection: Some(CallConnection {
                family: 2,
                protocol: 6,
                socket_type: 1,
                state: 0,
                local: Some(local),
                remote: Some(remote),
                namespace: NamespaceInode(4_026_531_840),
                cookie: None,
            }),
            direction,
            fd: None,
            transfer: name.transfer(),
            bytes: calls * 100,
            duration: Duration::from_micros(4) * u32::try_from(calls).unwrap(),
            latencies,
        }
    }

    /// wget asks nginx.
    pub(in crate::streaming) fn summary() -> Summary {
        let mut summary = Summary::default();
        let (wget, nginx) = (process("wget", 200), process("nginx", 100));
        let mut add = |sum: CallSum, process| assert!(summary.add(&sum, process));
        add(sum(CallName::Write, Direction::Active, 5), &wget);
        add(sum(CallName::Recvfrom, Direction::Active, 3), &wget);
        add(sum(CallName::Recvfrom, Direction::Passive, 5), &nginx);
        add(sum(CallName::Writev, Direction::Passive, 5), &nginx);
        let again =
            CallSum { error: Some(11), bytes: 0, ..sum(CallName::Recvfrom, Direction::Passive, 2) };
        add(again, &nginx);
        let made = CallSum { connection: None, ..sum(CallName::Socket, Direction::Active, 1) };
        add(made, &wget);
        summary
    }
}

#[cfg(test)]
mod tests {
    use super::{fixtures::*, *};

    #[test]
    fn both_ends_of_a_connection_know_each_other() {
        let summary = summary();
        let talks = summary.talks();
        let shown: Vec<_> = talks
            .iter()
            .map(|talk| {
                let peers: Vec<_> = talk.peers.iter().map(|it| it.comm.as_str()).collect();
                (talk.end.process.comm.as_str(), peers, talk.total.latencies.calls())
            })
            .collect();
        assert_eq!(
            shown,
            [("nginx", vec!["wget"], 12), ("wget", vec!["nginx"], 8), ("wget", vec![], 1)]
        );
        let nginx = &talks[0].total;
        assert_eq!((nginx.bytes_sent, nginx.bytes_received), (500, 500));
        assert_eq!(nginx.errors, BTreeMap::from([(11, 2)]));
    }

    #[test]
    fn an_attempt_that_failed_has_the_address_of_those_that_did_not() {
        let mut summary = Summary::default();
        let process = process("wget", 200);
        let mut add = |local: [u8; 4], peer: [u8; 4], calls| {
            let mut sum = sum(CallName::Connect, Direction::Active, calls);
            if let Some(connection) = &mut sum.connection {
                connection.local = Some((local, 0).into());
                connection.remote = Some((peer, 80).into());
            }
            assert!(summary.add(&sum, &process));
        };
        add([10, 0, 0, 1], [10, 0, 0, 2], 5);
        add([0; 4], [10, 0, 0, 2], 2);
        add([0; 4], [127, 0, 0, 1], 1);
        add([0; 4], [10, 0, 0, 3], 3);
        summary.settle();
        summary.settle();
        let mut ends: Vec<_> = summary
            .ends()
            .map(|end| (end.connection.unwrap().local.unwrap().ip(), end.total().latencies.calls()))
            .collect();
        ends.sort_unstable();
        let address = |it: [u8; 4]| std::net::IpAddr::from(it);
        assert_eq!(
            ends,
            [(address([0; 4]), 3), (address([10, 0, 0, 1]), 7), (address([127, 0, 0, 1]), 1)]
        );
    }

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        let mut summary = Summary { entries: CAPACITY, ..Summary::default() };
        let process = process("wget", 200);
        assert!(!summary.add(&sum(CallName::Write, Direction::Active, 5), &process));
        assert_eq!((summary.full(), summary.ends().count()), (5, 0));
    }
}
