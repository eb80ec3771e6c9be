//! The ways of connections, put together of packets that are seen and of translations.

use std::collections::HashMap;

use netglass_cilium::{
    Event, KernelFacts, LOST, Layouts, Notification, PacketEnds, PacketProcess, Style, Summarizer,
    decode,
};
use netglass_kernel::conntrack::message::{Entry, Tuple};
use netglass_model::{NamespaceInode, Protocol, Timestamp};

use super::target::Target;

/// How many connections are told apart, those included whose addresses are translated and that nobody asked
/// for.
const MOST_CONNECTIONS: usize = 65_536;
/// How many places a direction of a connection has; others are counted.
const MOST_HOPS: usize = 64;
/// How many translations a connection has.
const MOST_TRANSLATIONS: usize = 16;

/// The point at which packets come in (`TraceNotify`).
const FROM_NETWORK: u8 = 10;

/// What happens to a packet at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// It comes in by an interface.
    In,
    /// It goes out by one.
    Out,
    /// The kernel drops it.
    Drop { reason: String, function: Option<String> },
}

/// A place at which packets were seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hop {
    pub(super) what: What,
    pub(super) namespace: Place,
    /// Its name, or its number.
    pub(super) interface: String,
    pub(super) ends: PacketEnds,
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
}

/// A network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) inode: u64,
    pub(super) name: Option<String>,
}

/// Connection tracking gives a connection other addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Translation {
    pub(super) namespace: NamespaceInode,
    pub(super) before: PacketEnds,
    pub(super) after: PacketEnds,
}

/// A process at an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) comm: String,
    pub(super) exe: String,
    pub(super) namespace: Place,
}

/// What was seen of a connection.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    /// What its client sends, as the client has it.
    pub(super) ends: PacketEnds,
    pub(super) translations: Vec<Translation>,
    /// What the client sends, and what comes back.
    pub(super) ways: [Vec<Hop>; 2],
    pub(super) client: Option<Process>,
    pub(super) server: Option<Process>,
    is_wanted: bool,
}

/// What was seen.
pub(super) struct Paths {
    pub(super) target: Target,
    summarizer: Summarizer,
    connections: Vec<Connection>,
    /// Which connection has packets with these ends, and whether they are those that come back.
    by_ends: HashMap<PacketEnds, (usize, usize)>,
    names: HashMap<u64, String>,
    seen: u64,
    of_others: u64,
    not_ip: u64,
    refused: u64,
    lost: u64,
}

fn reversed(ends: PacketEnds) -> PacketEnds {
    PacketEnds { source: ends.destination, destination: ends.source, ..ends }
}

fn ends_of(protocol: Protocol, tuple: &Tuple) -> PacketEnds {
    PacketEnds {
        protocol: match protocol {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
        },
        source: (tuple.source, tuple.source_port).into(),
        destination: (tuple.destination, tuple.destination_port).into(),
    }
}

impl Paths {
    pub(super) fn new(target: Target) -> Self {
        Self {
            target,
            summarizer: Summarizer::new(Style::Netglass(None)),
            connections: Vec::new(),
            by_ends: HashMap::new(),
            names: HashMap::new(),
            seen: 0,
            of_others: 0,
            not_ip: 0,
            refused: 0,
            lost: 0,
        }
    }

    /// Those that were asked for and of which something was seen, in their order.
    pub(super) fn wanted(&self) -> Vec<&Connection> {
        let is_seen = |it: &&Connection| it.is_wanted && it.ways.iter().any(|way| !way.is_empty());
        let mut wanted: Vec<_> = self.connections.iter().filter(is_seen).collect();
        wanted.sort_by_key(|connection| connection.first());
        wanted
    }

    /// The name of a network namespace.
    pub(super) fn place(&self, namespace: NamespaceInode) -> Place {
        Place { inode: namespace.0, name: self.names.get(&namespace.0).cloned() }
    }

    /// What became of all packets.
    pub(super) fn account(&self) -> String {
        let Self { seen, of_others, not_ip, refused, lost, .. } = self;
        let shown = seen.saturating_sub(of_others + not_ip + refused);
        format!(
            "{seen} packets = {shown} explained + {of_others} of others + {not_ip} not of IP + {refused} \
             without room; {lost} lost before they came"
        )
    }

    /// Connection tracking tells of a connection.
    pub(super) fn translate(&mut self, namespace: NamespaceInode, entry: &Entry) {
        let before = ends_of(entry.protocol, &entry.original);
        let back = ends_of(entry.protocol, &entry.reply);
        let after = reversed(back);
        if before == after {
            return;
        }
        let known = |ends| self.by_ends.get(&ends).map(|(index, _)| *index);
        let index = match (known(before), known(after)) {
            (Some(one), Some(other)) if one != other => self.join(one, other),
            (Some(index), _) | (None, Some(index)) => index,
            (None, None) => {
                let Some(index) = self.add(before) else { return };
                index
            }
        };
        let is_wanted = self.target.is(&before) || self.target.is(&after);
        let Some(connection) = self.connections.get_mut(index) else { return };
        connection.is_wanted |= is_wanted;
        let translation = Translation { namespace, before, after };
        if !connection.translations.contains(&translation)
            && connection.translations.len() < MOST_TRANSLATIONS
        {
            connection.translations.push(translation);
        }
        // What is first translated is what the client has.
        if connection.ends == after {
            connection.ends = before;
        }
        for (ends, way) in [(before, 0), (after, 0), (back, 1), (reversed(before), 1)] {
            self.by_ends.insert(ends, (index, way));
        }
    }

    /// Two that were taken for two are one. Returns which.
    fn join(&mut self, one: usize, other: usize) -> usize {
        let Some(joined) = self.connections.get_mut(other).map(|connection| {
            let nothing = Connection::new(connection.ends, false);
            std::mem::replace(connection, nothing)
        }) else {
            return one;
        };
        for place in self.by_ends.values_mut().filter(|(index, _)| *index == other) {
            place.0 = one;
        }
        if let Some(connection) = self.connections.get_mut(one) {
            connection.is_wanted |= joined.is_wanted;
            connection.translations.extend(joined.translations);
            for (way, hops) in connection.ways.iter_mut().zip(joined.ways) {
                way.extend(hops);
            }
            connection.client = connection.client.take().or(joined.client);
            connection.server = connection.server.take().or(joined.server);
        }
        one
    }

    fn add(&mut self, ends: PacketEnds) -> Option<usize> {
        if self.connections.len() >= MOST_CONNECTIONS {
            self.refused += 1;
            return None;
        }
        let index = self.connections.len();
        self.connections.push(Connection::new(ends, self.target.is(&ends)));
        self.by_ends.insert(ends, (index, 0));
        self.by_ends.insert(reversed(ends), (index, 1));
        Some(index)
    }

    /// A packet was seen or dropped.
    #[expect(clippy::unnecessary_wraps, reason = "as whoever hands out events wants it")]
    pub(super) fn take(&mut self, event: &Event<'_>) -> anyhow::Result<bool> {
        if event.payload_type == LOST {
            self.lost = self.lost.saturating_add(event.lost);
            return Ok(true);
        }
        let at = event.at.unwrap_or_default();
        match decode(event.data, Layouts::Told) {
            Ok(Notification::Drop(drop)) => {
                let Some(facts) = drop.kernel else { return Ok(true) };
                let names = facts.names();
                let reason = names.reason.map_or_else(|| facts.reason.to_string(), str::to_owned);
                let function = names.function_name().map(str::to_owned);
                let ends = self.summarizer.ends(&drop.captured);
                let what = What::Drop { reason, function };
                let interface = drop.interface.unwrap_or_default();
                self.note(at, what, &facts, interface, drop.captured.original_length, ends);
            }
            Ok(Notification::Trace(trace)) => {
                let Some(facts) = trace.kernel else { return Ok(true) };
                let is_in = trace.observation_point == FROM_NETWORK;
                let what = if is_in { What::In } else { What::Out };
                let ends = self.summarizer.ends(&trace.captured);
                let length = trace.captured.original_length;
                self.note(at, what, &facts, trace.interface, length, ends);
            }
            _ => {}
        }
        Ok(true)
    }

    fn note(
        &mut self,
        at: Timestamp,
        what: What,
        facts: &KernelFacts<'_>,
        interface: u32,
        length: u32,
        ends: Option<PacketEnds>,
    ) {
        self.seen += 1;
        let names = facts.names();
        let inode = u64::from(facts.network_namespace);
        if let Some(name) = names.network_namespace
            && !self.names.contains_key(&inode)
            && self.names.len() < MOST_CONNECTIONS
        {
            self.names.insert(inode, name.to_owned());
        }
        let Some(ends) = ends else {
            self.not_ip += 1;
            return;
        };
        let found = self.by_ends.get(&ends).copied();
        let Some((index, way)) = found.or_else(|| {
            if self.target.is(&ends) { self.add(ends).map(|index| (index, 0)) } else { None }
        }) else {
            // Of one for which there is no room that is known already.
            self.of_others += u64::from(!self.target.is(&ends));
            return;
        };
        let namespace = self.place(NamespaceInode(inode));
        let Some(connection) = self.connections.get_mut(index) else { return };
        if !connection.is_wanted {
            self.of_others += 1;
            return;
        }
        let (sender, receiver) = if way == 0 {
            (&mut connection.client, &mut connection.server)
        } else {
            (&mut connection.server, &mut connection.client)
        };
        for (end, process) in [(sender, names.source), (receiver, names.destination)] {
            if let (None, Some(process)) = (&*end, process) {
                *end = Some(Process::new(&process, &namespace));
            }
        }
        let interface = names.interface.map_or_else(|| interface.to_string(), str::to_owned);
        let Some(hops) = connection.ways.get_mut(way) else { return };
        let is_same = |hop: &&mut Hop| {
            hop.what == what
                && hop.namespace.inode == inode
                && hop.interface == interface
                && hop.ends == ends
        };
        if let Some(hop) = hops.iter_mut().find(is_same) {
            hop.packets += 1;
            hop.bytes += u64::from(length);
            hop.last = at;
        } else if hops.len() < MOST_HOPS {
            let bytes = u64::from(length);
            hops.push(Hop {
                what,
                namespace,
                interface,
                ends,
                packets: 1,
                bytes,
                first: at,
                last: at,
            });
        } else {
            self.refused += 1;
        }
    }
}

impl Process {
    fn new(process: &PacketProcess<'_>, namespace: &Place) -> Self {
        Self {
            pid: process.pid,
            comm: process.comm.to_owned(),
            exe: process.exe.to_owned(),
            namespace: namespace.clone(),
        }
    }
}

impl Connection {
    fn new(ends: PacketEnds, is_wanted: bool) -> Self {
        Self {
            ends,
            translations: Vec::new(),
            ways: [Vec::new(), Vec::new()],
            client: None,
            server: None,
            is_wanted,
        }
    }

    /// When the first packet was seen.
    pub(super) fn first(&self) -> Option<Timestamp> {
        self.ways.iter().flatten().map(|hop| hop.first).min()
    }

    /// When the last one was.
    pub(super) fn last(&self) -> Option<Timestamp> {
        self.ways.iter().flatten().map(|hop| hop.last).max()
    }

    /// The places of a direction in the order in which packets come there, each with the translation before
    /// it: `None` in it where it is not known who translated.
    pub(super) fn steps(&self, way: usize) -> Vec<(Option<Change>, &Hop)> {
        let mut hops: Vec<&Hop> = self.ways.get(way).into_iter().flatten().collect();
        hops.sort_by_key(|hop| hop.first);
        let mut before = if way == 0 { Some(self.ends) } else { None };
        let mut steps = Vec::with_capacity(hops.len());
        for hop in hops {
            let change = before.filter(|before| *before != hop.ends).map(|before| Change {
                namespace: self.translated_in(before, hop.ends),
                before,
                after: hop.ends,
            });
            before = Some(hop.ends);
            steps.push((change, hop));
        }
        steps
    }

    /// Where addresses are translated so, in either direction.
    fn translated_in(&self, before: PacketEnds, after: PacketEnds) -> Option<NamespaceInode> {
        let is_it = |it: &&Translation| {
            (it.before, it.after) == (before, after)
                || (reversed(it.after), reversed(it.before)) == (before, after)
        };
        self.translations.iter().find(is_it).map(|it| it.namespace)
    }
}

/// Packets have other ends than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) namespace: Option<NamespaceInode>,
    pub(super) before: PacketEnds,
    pub(super) after: PacketEnds,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(source: &str, destination: &str) -> Tuple {
        let (source, destination): (std::net::SocketAddr, std::net::SocketAddr) =
            (source.parse().unwrap(), destination.parse().unwrap());
        Tuple {
            source: source.ip(),
            source_port: source.port(),
            destination: destination.ip(),
            destination_port: destination.port(),
        }
    }

    fn entry(original: (&str, &str), reply: (&str, &str)) -> Entry {
        Entry {
            id: 1,
            protocol: Protocol::Tcp,
            original: tuple(original.0, original.1),
            reply: tuple(reply.0, reply.1),
        }
    }

    #[test]
    fn a_connection_is_one_through_two_translations_whatever_is_known_first() {
        let near = entry(("10.0.0.1:1", "10.0.0.9:80"), ("10.1.0.9:80", "10.1.0.1:5"));
        let far = entry(("10.1.0.1:5", "10.1.0.9:80"), ("10.2.0.9:8080", "10.1.0.1:5"));
        for order in [[&near, &far], [&far, &near]] {
            let mut paths = Paths::new("10.2.0.9:8080".parse().unwrap());
            for (namespace, entry) in order.into_iter().enumerate() {
                paths.translate(NamespaceInode(namespace as u64), entry);
            }
            let indices: std::collections::HashSet<_> =
                paths.by_ends.values().map(|(index, _)| *index).collect();
            assert_eq!((indices.len(), paths.by_ends.len()), (1, 6));
            let index = *indices.iter().next().unwrap();
            let connection = &paths.connections[index];
            assert!(connection.is_wanted);
            assert_eq!(connection.ends, ends_of(Protocol::Tcp, &near.original));
            assert_eq!(connection.translations.len(), 2);
        }
    }

    #[test]
    fn what_is_not_translated_is_no_translation() {
        let mut paths = Paths::new("10.0.0.1".parse().unwrap());
        let same = entry(("10.0.0.1:1", "10.0.0.9:80"), ("10.0.0.9:80", "10.0.0.1:1"));
        paths.translate(NamespaceInode(1), &same);
        assert!(paths.by_ends.is_empty() && paths.wanted().is_empty());
    }
}
