//! Telling sockets apart from one scan to the next, so that each connection counts once.

use hashbrown::{HashMap, hash_map::Entry};
use netglass_model::{Direction, Failures, FlowCounters, NamespaceInode, RttSamples};

use crate::socket::{Socket, SocketState, TcpTraffic};

/// An attempt that is found half open: why it does not get through, no list of sockets tells.
const ATTEMPT: Failures = Failures::from_counts([0, 0, 0, 0, 0, 1]);

/// What one sight of a socket adds to what is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sight {
    /// This much of its flow.
    Adds(FlowCounters),
    /// Nothing: the connection was counted while a process held it, or a process will hold it soon.
    Nothing,
    /// It cannot be told apart from others for lack of room.
    NoRoom,
}

/// The counters that one sight of a socket alone is worth: all it ever did.
pub(super) fn counters_of_one_sight(socket: &Socket) -> FlowCounters {
    let half_open = socket.state.is_half_open();
    let traffic = socket.traffic.unwrap_or_default();
    FlowCounters {
        connections: u64::from(!half_open),
        opened: 0,
        failed: if half_open { ATTEMPT } else { Failures::default() },
        bytes_sent: traffic.bytes_sent,
        bytes_received: traffic.bytes_received,
        segments_sent: traffic.segments_sent.into(),
        segments_received: traffic.segments_received.into(),
        retransmits: traffic.retransmits.into(),
        rtt: rtt(socket),
    }
}

/// By how much a counter of 32 bits grew, which begins anew at 2³². A socket that is connected anew
/// begins anew too, at 0: what seems to be more than half of all there is was that.
fn grown(before: u32, now: u32) -> u64 {
    let more = now.wrapping_sub(before);
    if more < 1 << 31 { more.into() } else { 0 }
}

fn rtt(socket: &Socket) -> RttSamples {
    let mut samples = RttSamples::default();
    match socket.traffic {
        Some(TcpTraffic { rtt_us: 1.., .. }) if !socket.state.is_half_open() => {
            samples.add(socket.traffic.map_or(0, |traffic| traffic.rtt_us));
        }
        _ => {}
    }
    samples
}

/// The sockets that the last scan saw.
#[derive(Debug)]
pub(super) struct Tracker {
    sockets: HashMap<(NamespaceInode, u64), Tracked, foldhash::quality::RandomState>,
    capacity: usize,
    /// Counts scans: what was not seen in the current one is gone.
    scan: u32,
    /// Counts flushes: a connection counts once between two of them.
    interval: u32,
    /// Whether the last scan's sockets are all here: what is not is new.
    knows_all: bool,
    /// Whether this scan left sockets out.
    left_out: bool,
}

#[derive(Debug, Clone, Copy)]
struct Tracked {
    direction: Direction,
    scan: u32,
    /// The interval in which it was last counted as a connection.
    counted_in: Option<u32>,
    failed: bool,
    was_held: bool,
    /// Whether the last sight knew who holds it.
    was_known: bool,
    bytes_sent: u64,
    bytes_received: u64,
    segments_sent: u32,
    segments_received: u32,
    retransmits: u32,
}

impl Tracker {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            sockets: HashMap::default(),
            capacity,
            scan: 0,
            interval: 0,
            knows_all: false,
            left_out: false,
        }
    }

    pub(super) fn begin_scan(&mut self) {
        self.scan = self.scan.wrapping_add(1);
    }

    pub(super) fn end_scan(&mut self) {
        let current = self.scan;
        self.sockets.retain(|_, tracked| tracked.scan == current);
        self.knows_all = !std::mem::take(&mut self.left_out);
    }

    /// A socket is not told of at all.
    pub(super) fn leave_out(&mut self) {
        self.left_out = true;
    }

    pub(super) fn begin_interval(&mut self) {
        self.interval = self.interval.wrapping_add(1);
    }

    /// The direction that the connection had when it was first seen.
    pub(super) fn direction(
        &self,
        namespace: NamespaceInode,
        socket: &Socket,
    ) -> Option<Direction> {
        self.sockets.get(&(namespace, socket.cookie)).map(|tracked| tracked.direction)
    }

    /// `is_known` says whether it is known which process holds the socket.
    pub(super) fn observe(
        &mut self,
        namespace: NamespaceInode,
        socket: &Socket,
        direction: Direction,
        is_known: bool,
    ) -> Sight {
        let is_full = self.sockets.len() >= self.capacity;
        let traffic = socket.traffic.unwrap_or_default();
        let half_open = socket.state.is_half_open();
        let mut adds = FlowCounters { rtt: rtt(socket), ..FlowCounters::default() };
        let mut is_new = false;
        let tracked = match self.sockets.entry((namespace, socket.cookie)) {
            Entry::Occupied(entry) => {
                let tracked = entry.into_mut();
                // An attempt that a later scan still finds half open did not get through at once.
                if half_open && !tracked.failed {
                    tracked.failed = true;
                    adds.failed = ATTEMPT;
                }
                if !half_open && tracked.counted_in.is_none() {
                    adds.opened = 1;
                }
                tracked
            }
            Entry::Vacant(_) if is_full => return Sight::NoRoom,
            Entry::Vacant(entry) => {
                is_new = true;
                let mut tracked = Tracked {
                    direction,
                    scan: self.scan,
                    counted_in: None,
                    failed: false,
                    was_held: false,
                    was_known: false,
                    bytes_sent: 0,
                    bytes_received: 0,
                    segments_sent: 0,
                    segments_received: 0,
                    retransmits: 0,
                };
                if !self.knows_all {
                    // What an old connection did before it was seen is not of this interval.
                    tracked.bytes_sent = traffic.bytes_sent;
                    tracked.bytes_received = traffic.bytes_received;
                    tracked.segments_sent = traffic.segments_sent;
                    tracked.segments_received = traffic.segments_received;
                    tracked.retransmits = traffic.retransmits;
                } else if !half_open {
                    adds.opened = 1;
                }
                entry.insert(tracked)
            }
        };
        tracked.scan = self.scan;
        // Its process ends just now, most likely: what is left to count is not nobody's.
        let ends = std::mem::replace(&mut tracked.was_known, is_known) && !is_known;
        if ends && tracked.counted_in.is_some() {
            return Sight::Nothing;
        }
        if socket.inode != 0 {
            tracked.was_held = true;
        } else if (tracked.was_held && tracked.counted_in.is_some())
            || (is_new && socket.state == SocketState::Established)
        {
            return Sight::Nothing;
        }
        if !half_open && tracked.counted_in != Some(self.interval) {
            tracked.counted_in = Some(self.interval);
            adds.connections = 1;
        }
        if socket.traffic.is_some() {
            adds.bytes_sent = traffic.bytes_sent.saturating_sub(tracked.bytes_sent);
            adds.bytes_received = traffic.bytes_received.saturating_sub(tracked.bytes_received);
            adds.segments_sent = grown(tracked.segments_sent, traffic.segments_sent);
            adds.segments_received = grown(tracked.segments_received, traffic.segments_received);
            adds.retransmits = traffic.retransmits.saturating_sub(tracked.retransmits).into();
            tracked.bytes_sent = traffic.bytes_sent;
            tracked.bytes_received = traffic.bytes_received;
            tracked.segments_sent = traffic.segments_sent;
            tracked.segments_received = traffic.segments_received;
            tracked.retransmits = traffic.retransmits;
        }
        Sight::Adds(adds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netglass_model::Protocol;

    const NAMESPACE: NamespaceInode = NamespaceInode(1);

    fn socket(cookie: u64, state: SocketState, bytes_sent: u64) -> Socket {
        Socket {
            protocol: Protocol::Tcp,
            state,
            local_address: "10.0.0.1".parse().unwrap(),
            local_port: 40000,
            peer_address: "10.0.0.2".parse().unwrap(),
            peer_port: 80,
            inode: 1,
            cookie,
            only_v6: false,
            queues: crate::socket::Queues::default(),
            traffic: Some(TcpTraffic {
                rtt_us: 100,
                retransmits: 0,
                bytes_sent,
                bytes_received: 0,
                segments_sent: 0,
                segments_received: 0,
            }),
        }
    }

    /// Scans once, and gives what the sockets added: connections, opened, failed, bytes sent.
    fn scan(tracker: &mut Tracker, sockets: &[Socket]) -> (u64, u64, u64, u64) {
        tracker.begin_scan();
        let mut total = FlowCounters::default();
        for socket in sockets {
            match tracker.observe(NAMESPACE, socket, Direction::Active, socket.inode != 0) {
                Sight::Adds(adds) => total.combine(&adds),
                Sight::Nothing => {}
                Sight::NoRoom => panic!("no room"),
            }
        }
        tracker.end_scan();
        (total.connections, total.opened, total.failed.total(), total.bytes_sent)
    }

    #[test]
    fn a_connection_counts_once_in_each_interval() {
        let mut tracker = Tracker::new(10);
        let old = socket(1, SocketState::Established, 1000);
        assert_eq!(scan(&mut tracker, &[old]), (1, 0, 0, 0), "older than we are");
        assert_eq!(scan(&mut tracker, &[old]), (0, 0, 0, 0));
        tracker.begin_interval();
        assert_eq!(scan(&mut tracker, &[old]), (1, 0, 0, 0));
    }

    #[test]
    fn a_connection_that_appears_was_opened() {
        let mut tracker = Tracker::new(10);
        scan(&mut tracker, &[]);
        let young = socket(1, SocketState::Established, 1000);
        assert_eq!(scan(&mut tracker, &[young]), (1, 1, 0, 1000));
        let more = socket(1, SocketState::Established, 1500);
        assert_eq!(scan(&mut tracker, &[more]), (0, 0, 0, 500));
    }

    #[test]
    fn segments_are_those_since_the_last_sight_whatever_their_counter_does() {
        let mut tracker = Tracker::new(10);
        let mut sight = |segments_sent, segments_received| {
            let traffic = TcpTraffic { segments_sent, segments_received, ..TcpTraffic::default() };
            let seen = Socket { traffic: Some(traffic), ..socket(1, SocketState::Established, 0) };
            tracker.begin_scan();
            let sight = tracker.observe(NAMESPACE, &seen, Direction::Active, true);
            tracker.end_scan();
            match sight {
                Sight::Adds(adds) => (adds.segments_sent, adds.segments_received),
                _ => panic!("{sight:?}"),
            }
        };
        assert_eq!(sight(u32::MAX, 5), (0, 0), "older than we are");
        assert_eq!(sight(u32::MAX, 7), (0, 2));
        assert_eq!(sight(2, 7), (3, 0), "the counter began anew");
        assert_eq!(sight(1, 2), (0, 0), "the socket was connected anew");
        assert_eq!(sight(4, 3), (3, 1));
    }

    #[test]
    fn one_that_vanished_and_another_at_its_place_are_two() {
        let mut tracker = Tracker::new(10);
        scan(&mut tracker, &[socket(1, SocketState::Established, 0)]);
        assert_eq!(scan(&mut tracker, &[socket(2, SocketState::Established, 0)]), (1, 1, 0, 0));
    }

    #[test]
    fn an_attempt_fails_when_it_stays_half_open() {
        let mut tracker = Tracker::new(10);
        scan(&mut tracker, &[]);
        let attempt = socket(1, SocketState::SynSent, 0);
        assert_eq!(scan(&mut tracker, &[attempt]), (0, 0, 0, 0), "it may get through yet");
        assert_eq!(scan(&mut tracker, &[attempt]), (0, 0, 1, 0));
        assert_eq!(scan(&mut tracker, &[attempt]), (0, 0, 0, 0), "once is enough");
    }

    #[test]
    fn an_attempt_that_gets_through_is_a_connection() {
        let mut tracker = Tracker::new(10);
        scan(&mut tracker, &[]);
        scan(&mut tracker, &[socket(1, SocketState::SynSent, 0)]);
        let open = socket(1, SocketState::Established, 10);
        assert_eq!(scan(&mut tracker, &[open]), (1, 1, 0, 10));
    }

    #[test]
    fn a_connection_that_is_to_be_accepted_waits_for_its_process() {
        let mut tracker = Tracker::new(10);
        scan(&mut tracker, &[]);
        let waiting = Socket { inode: 0, ..socket(1, SocketState::Established, 10) };
        assert_eq!(scan(&mut tracker, &[waiting]), (0, 0, 0, 0));
        let accepted = socket(1, SocketState::Established, 10);
        assert_eq!(scan(&mut tracker, &[accepted]), (1, 1, 0, 10));

        let ignored = Socket { inode: 0, ..socket(2, SocketState::Established, 10) };
        scan(&mut tracker, &[ignored]);
        assert_eq!(scan(&mut tracker, &[ignored]), (1, 1, 0, 10), "nobody accepts it");
    }

    #[test]
    fn the_remains_of_a_counted_connection_do_not_count() {
        let mut tracker = Tracker::new(10);
        scan(&mut tracker, &[socket(1, SocketState::Established, 0)]);
        tracker.begin_interval();
        let closed = Socket { inode: 0, ..socket(1, SocketState::TimeWait, 0) };
        assert_eq!(scan(&mut tracker, &[closed]), (0, 0, 0, 0));

        let unknown = Socket { inode: 0, traffic: None, ..socket(2, SocketState::TimeWait, 0) };
        assert_eq!(scan(&mut tracker, &[unknown]), (1, 1, 0, 0), "nobody counted this one");
    }

    #[test]
    fn a_process_that_ends_while_it_is_read_takes_its_connection_with_it() {
        let mut tracker = Tracker::new(10);
        let held = socket(1, SocketState::Established, 0);
        let mut sight = |is_known| {
            tracker.begin_interval();
            tracker.begin_scan();
            let sight = tracker.observe(NAMESPACE, &held, Direction::Active, is_known);
            tracker.end_scan();
            sight
        };
        assert!(matches!(sight(true), Sight::Adds(adds) if adds.connections == 1));
        assert_eq!(sight(false), Sight::Nothing, "it was counted as its process's");
        let of_nobody = sight(false);
        assert!(matches!(of_nobody, Sight::Adds(adds) if adds.connections == 1), "it goes on");
    }

    #[test]
    fn a_connection_keeps_its_direction() {
        let mut tracker = Tracker::new(10);
        let accepted = socket(1, SocketState::Established, 0);
        tracker.begin_scan();
        tracker.observe(NAMESPACE, &accepted, Direction::Passive, true);
        tracker.end_scan();
        assert_eq!(tracker.direction(NAMESPACE, &accepted), Some(Direction::Passive));
        let another = socket(2, SocketState::Established, 0);
        assert_eq!(tracker.direction(NAMESPACE, &another), None);
    }

    #[test]
    fn there_is_a_bound() {
        let mut tracker = Tracker::new(1);
        tracker.begin_scan();
        let first = socket(1, SocketState::Established, 0);
        assert_ne!(tracker.observe(NAMESPACE, &first, Direction::Active, true), Sight::NoRoom);
        let second = socket(2, SocketState::Established, 0);
        assert_eq!(tracker.observe(NAMESPACE, &second, Direction::Active, true), Sight::NoRoom);
        assert_ne!(tracker.observe(NAMESPACE, &first, Direction::Active, true), Sight::NoRoom);
    }

    #[test]
    fn a_connection_that_there_was_no_room_for_is_not_taken_for_a_new_one() {
        let mut tracker = Tracker::new(1);
        let [first, second] = [1, 2].map(|cookie| socket(cookie, SocketState::Established, 10));
        tracker.begin_scan();
        tracker.observe(NAMESPACE, &first, Direction::Active, true);
        assert_eq!(tracker.observe(NAMESPACE, &second, Direction::Active, true), Sight::NoRoom);
        tracker.leave_out();
        tracker.end_scan();
        // Neither is it while there is still no room, nor when the first one has made way.
        tracker.begin_scan();
        tracker.leave_out();
        tracker.end_scan();
        assert_eq!(scan(&mut tracker, &[second]), (1, 0, 0, 0));
    }

    #[test]
    fn one_sight_alone_is_worth_all_that_the_socket_did() {
        let open = counters_of_one_sight(&socket(1, SocketState::Established, 1000));
        assert_eq!((open.connections, open.failed.total(), open.bytes_sent), (1, 0, 1000));
        assert_eq!(open.rtt.mean_us(), Some(100));
        let attempt = counters_of_one_sight(&socket(1, SocketState::SynSent, 0));
        assert_eq!((attempt.connections, attempt.failed.total()), (0, 1));
        assert_eq!(attempt.failed.other, 1, "nobody knows why");
        assert_eq!(attempt.rtt.mean_us(), None);
    }
}
