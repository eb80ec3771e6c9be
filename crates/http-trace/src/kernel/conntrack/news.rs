//! What the kernel told of connections that may be the client's. It tells of all there are, and of
//! one before it is in the trace: so news wait a moment until they are sorted out.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use netglass_kernel::{Happening, Tracked};
use netglass_model::Protocol;

use super::{change, entry};
use crate::{
    clock::Moment,
    record::{ConntrackEntry, ConntrackEvent, ConntrackEventKind},
    recorder::{Recorder, TracedAddresses},
};

/// How long news are kept whose connection is not in the trace.
const HELD_FOR: Duration = Duration::from_secs(2);
/// How many news wait at most; those after them are dropped, and counted.
const MAXIMUM_HELD: usize = 1 << 16;
/// How many events of a connection are kept, the first ones.
const MAXIMUM_EVENTS: usize = 64;

/// Whether a connection is of TCP, its source and its destination, before translation.
type Key = (bool, SocketAddr, SocketAddr);

/// News that wait.
#[derive(Debug, Default)]
pub(super) struct News {
    held: VecDeque<(Moment, Happening, Tracked)>,
    dropped: u64,
}

impl News {
    pub(super) fn add(&mut self, at: Moment, happening: Happening, tracked: &Tracked) {
        if self.held.len() >= MAXIMUM_HELD {
            self.dropped += 1;
        } else {
            self.held.push_back((at, happening, *tracked));
        }
    }

    /// How many had no room since the last time.
    pub(super) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// Gives news to the records of their connections; what is of none after a while goes.
    pub(super) fn sort_out(&mut self, recorder: &Recorder) {
        if self.held.is_empty() {
            return;
        }
        let now = recorder.now();
        let mut connections: HashMap<Key, Vec<TracedAddresses>> = HashMap::new();
        for connection in recorder.addresses() {
            if let Some(source) = connection.addresses.source {
                let key = (connection.is_tcp, source, connection.addresses.destination);
                connections.entry(key).or_default().push(connection);
            }
        }
        self.held.retain(|(at, happening, tracked)| {
            let same = connections.get(&key(tracked)).map(Vec::as_slice).unwrap_or_default();
            // Addresses are used again: the last connection that was there is meant.
            match same.iter().rfind(|connection| connection.began_at <= *at) {
                Some(connection) => {
                    change(recorder, connection, |entry| apply(entry, *at, *happening, tracked));
                    false
                }
                None => now.since(*at) < HELD_FOR,
            }
        });
    }
}

fn key(tracked: &Tracked) -> Key {
    let original = tracked.original;
    (
        tracked.protocol == Protocol::Tcp,
        (original.source, original.source_port).into(),
        (original.destination, original.destination_port).into(),
    )
}

fn apply(
    known: &mut Option<Box<ConntrackEntry>>,
    at: Moment,
    happening: Happening,
    tracked: &Tracked,
) {
    let told = entry(at, tracked);
    let known = known.get_or_insert_with(|| Box::new(told.clone()));
    let kind = match happening {
        Happening::New => ConntrackEventKind::New,
        Happening::Updated => ConntrackEventKind::Updated,
        Happening::Destroyed => ConntrackEventKind::Destroyed,
    };
    // The end is told without the state that the connection was in.
    let (status, tcp_state) = if kind == ConntrackEventKind::Destroyed {
        known.packets_sent = known.packets_sent.max(told.packets_sent);
        known.packets_received = known.packets_received.max(told.packets_received);
        known.bytes_sent = known.bytes_sent.max(told.bytes_sent);
        known.bytes_received = known.bytes_received.max(told.bytes_received);
        known.captured_at = at;
        (known.status, told.tcp_state.or(known.tcp_state))
    } else {
        (told.status, told.tcp_state.or(known.tcp_state))
    };
    // What was asked for after it was told is newer.
    if at >= known.captured_at {
        known.status = status;
        known.tcp_state = tcp_state;
        known.mark = if told.mark == 0 { known.mark } else { told.mark };
    }
    if known.events.len() < MAXIMUM_EVENTS {
        known.events.push(ConntrackEvent { at, kind, status, tcp_state });
    } else {
        known.dropped_events += 1;
        // Whether it is over is told in any case.
        if let Some(last) =
            known.events.last_mut().filter(|_| kind == ConntrackEventKind::Destroyed)
        {
            *last = ConntrackEvent { at, kind, status, tcp_state };
        }
    }
}

#[cfg(test)]
mod tests {
    use netglass_kernel::conntrack::message::Tuple;

    use super::*;
    use crate::settings::Recording;

    fn tracked(source_port: u16, tcp_state: u8) -> Tracked {
        let (client, server) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        Tracked {
            protocol: Protocol::Tcp,
            original: Tuple {
                source: client,
                source_port,
                destination: server,
                destination_port: 80,
            },
            reply: Tuple {
                source: server,
                source_port: 8080,
                destination: client,
                destination_port: source_port,
            },
            status: 0,
            tcp_state: Some(tcp_state),
            mark: 0,
            sent: (0, 0),
            received: (0, 0),
        }
    }

    fn begin(recorder: &Recorder) {
        let dial = recorder.begin_dial(None, String::new(), None);
        let addresses = crate::record::AddressTuple {
            source: Some(([10, 0, 0, 1], 1000).into()),
            destination: ([10, 0, 0, 2], 80).into(),
        };
        let (id, writer) = recorder.begin_tcp(dial, false, addresses);
        recorder.tcp(id, |tcp| tcp.connected = true);
        drop(writer);
    }

    #[test]
    fn news_go_to_the_connection_that_had_the_addresses_then() {
        let recorder = Recorder::new(Recording::default(), String::new());
        let mut news = News::default();
        for state in [3, 4] {
            begin(&recorder);
            news.add(recorder.now(), Happening::New, &tracked(1000, 1));
            news.add(recorder.now(), Happening::Updated, &tracked(1000, state));
        }
        news.add(recorder.now(), Happening::New, &tracked(9, 1));
        news.sort_out(&recorder);
        assert_eq!(news.held.len(), 1, "nobody knows yet whose the last one is");
        let trace = recorder.snapshot("", Vec::new());
        let mut states = Vec::new();
        for tcp in &trace.tcp {
            let entry = recorder_entry(&recorder, tcp.id);
            assert_eq!(entry.events[0].kind, ConntrackEventKind::New);
            assert_eq!(entry.events.len(), 2);
            states.push(entry.tcp_state);
        }
        assert_eq!(states, [Some(3), Some(4)]);
    }

    fn recorder_entry(recorder: &Recorder, id: crate::record::Id) -> ConntrackEntry {
        let mut found = None;
        recorder.tcp(id, |tcp| found = tcp.conntrack.clone());
        *found.unwrap()
    }

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        let mut news = News::default();
        for _ in 0..MAXIMUM_HELD + 2 {
            news.add(Moment(1), Happening::New, &tracked(1, 1));
        }
        assert_eq!((news.held.len(), news.take_dropped(), news.take_dropped()), (1 << 16, 2, 0));
    }

    #[test]
    fn the_end_of_a_connection_is_kept_whatever_came_before() {
        let mut known = None;
        for at in 0..100 {
            apply(&mut known, Moment(at), Happening::Updated, &tracked(1, 3));
        }
        let end = Tracked { tcp_state: None, sent: (5, 500), ..tracked(1, 3) };
        apply(&mut known, Moment(100), Happening::Destroyed, &end);
        let known = known.unwrap();
        assert_eq!((known.events.len(), known.dropped_events), (64, 37));
        assert_eq!(known.events.last().unwrap().kind, ConntrackEventKind::Destroyed);
        assert_eq!((known.tcp_state, known.packets_sent, known.bytes_sent), (Some(3), 5, 500));
    }
}
