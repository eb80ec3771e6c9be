//! The translated connections of one network namespace, by route.

use hashbrown::{HashMap, hash_map::Entry as Slot};
use netglass_model::{Protocol, Route};

use super::message::Entry;

/// A connection whose addresses are translated, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TranslationKey {
    pub(crate) protocol: Protocol,
    pub(crate) original: Route,
    pub(crate) translated: Route,
}

/// What tells connections of one route apart: the kernel's number and the client's port.
type Connection = (u32, u16);

/// Who told of a connection. The kernel may not tell of the end of those that are older than whoever
/// listens (`nf_conntrack_events` is 2), so they have to be looked for again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ToldBy {
    Event,
    List(Round),
}

/// One reading of the list.
type Round = u64;

/// The connections of one route.
#[derive(Debug, Default)]
struct Connections {
    living: HashMap<Connection, (ToldBy, Round), foldhash::quality::RandomState>,
    /// Since the last report.
    counted: Counted,
}

/// What is to be told of a route since the last time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    /// Those that existed, new ones included.
    pub(crate) connections: u64,
    /// Those that were not known before.
    pub(crate) found: u64,
    /// Those of them that began.
    pub(crate) opened: u64,
}

/// The translated connections of one network namespace.
#[derive(Debug, Default)]
pub(super) struct Table {
    routes: HashMap<TranslationKey, Connections, foldhash::quality::RandomState>,
    living: usize,
    round: Round,
    /// Connections for which there was no room.
    refused: u64,
}

impl Table {
    /// How many connections it holds.
    pub(super) fn living(&self) -> usize {
        self.living
    }

    /// Connections for which there was no room since this was last asked.
    pub(super) fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.refused)
    }

    /// A connection begins; the table may hold `room` in all.
    pub(super) fn begin(&mut self, entry: &Entry, room: usize) {
        self.add(entry, ToldBy::Event, true, room);
    }

    /// A connection ends.
    pub(super) fn end(&mut self, entry: &Entry) {
        let Some((key, connection)) = split(entry) else { return };
        if let Some(connections) = self.routes.get_mut(&key)
            && connections.living.remove(&connection).is_some()
        {
            self.living -= 1;
        }
    }

    /// A list of all connections begins.
    pub(super) fn begin_list(&mut self) {
        self.round += 1;
    }

    /// A connection is in the list. Of the first list nobody knows which of them began just now.
    pub(super) fn listed(&mut self, entry: &Entry, room: usize) {
        self.add(entry, ToldBy::List(self.round), self.round > 1, room);
    }

    /// The list ended: what was not in it has ended. Whether some have to be looked for again.
    pub(super) fn end_list(&mut self) -> bool {
        let round = self.round;
        let mut unwatched = false;
        for connections in self.routes.values_mut() {
            connections.living.retain(|_, (told_by, seen)| {
                unwatched |= *seen == round && matches!(told_by, ToldBy::List(_));
                *seen == round
            });
        }
        self.living = self.routes.values().map(|connections| connections.living.len()).sum();
        unwatched
    }

    /// Calls `visit` with what each route had since the last report.
    pub(super) fn report(&mut self, mut visit: impl FnMut(&TranslationKey, Counted)) {
        self.routes.retain(|key, connections| {
            if connections.counted.connections > 0 {
                visit(key, connections.counted);
            }
            let living = connections.living.len() as u64;
            connections.counted = Counted { connections: living, ..Counted::default() };
            living > 0
        });
    }

    fn add(&mut self, entry: &Entry, told_by: ToldBy, begins: bool, room: usize) {
        let Some((key, connection)) = split(entry) else { return };
        let round = self.round;
        if let Some((_, seen)) = self
            .routes
            .get_mut(&key)
            .and_then(|connections| connections.living.get_mut(&connection))
        {
            *seen = round;
            return;
        }
        if self.living >= room {
            self.refused += 1;
            return;
        }
        let connections = self.routes.entry(key).or_default();
        if let Slot::Vacant(slot) = connections.living.entry(connection) {
            slot.insert((told_by, round));
            self.living += 1;
            connections.counted.connections += 1;
            connections.counted.found += 1;
            connections.counted.opened += u64::from(begins);
        }
    }
}

fn split(entry: &Entry) -> Option<(TranslationKey, Connection)> {
    let (original, translated) = entry.translation()?;
    let key = TranslationKey { protocol: entry.protocol, original, translated };
    Some((key, (entry.id, entry.original.source_port)))
}

#[cfg(test)]
mod tests {
    use super::{super::message::Tuple, *};

    fn entry(id: u32) -> Entry {
        let tuple = |source: [u8; 4], destination: [u8; 4]| Tuple {
            source: source.into(),
            source_port: 40_000,
            destination: destination.into(),
            destination_port: 80,
        };
        let original = tuple([10, 0, 0, 1], [10, 0, 0, 9]);
        let reply = Tuple { source_port: 80, ..tuple([10, 1, 0, 2], [10, 1, 0, 1]) };
        Entry { id, protocol: Protocol::Tcp, original, reply }
    }

    fn reported(table: &mut Table) -> Vec<(u64, u64)> {
        let mut counts = Vec::new();
        table.report(|_, counted| counts.push((counted.connections, counted.opened)));
        counts
    }

    #[test]
    fn a_connection_counts_in_each_interval_in_which_it_exists() {
        let mut table = Table::default();
        table.begin(&entry(1), 10);
        table.begin(&entry(1), 10);
        table.begin(&entry(2), 10);
        assert_eq!(reported(&mut table), [(2, 2)]);
        table.end(&entry(2));
        assert_eq!(reported(&mut table), [(2, 0)], "it existed when the interval began");
        table.begin(&entry(3), 10);
        table.end(&entry(3));
        assert_eq!(reported(&mut table), [(2, 1)]);
        table.end(&entry(1));
        assert_eq!(reported(&mut table), [(1, 0)]);
        assert_eq!(reported(&mut table), []);
        assert_eq!(table.living(), 0);
    }

    #[test]
    fn what_is_not_listed_any_more_has_ended() {
        let mut table = Table::default();
        table.begin_list();
        table.listed(&entry(1), 10);
        assert!(table.end_list(), "its end may not be told");
        assert_eq!(reported(&mut table), [(1, 0)], "nobody knows when it began");
        table.begin(&entry(2), 10);
        table.begin_list();
        table.listed(&entry(2), 10);
        table.listed(&entry(3), 10);
        assert!(table.end_list());
        assert_eq!(reported(&mut table), [(3, 2)]);
        table.begin_list();
        table.listed(&entry(2), 10);
        assert!(!table.end_list(), "the end of this one is told");
        assert_eq!(table.living(), 1);
    }

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        let mut table = Table::default();
        for id in 0..5 {
            table.begin(&entry(id), 3);
        }
        assert_eq!((table.living(), table.take_refused(), table.take_refused()), (3, 2, 0));
        assert_eq!(reported(&mut table), [(3, 3)]);
    }

    #[test]
    fn a_connection_whose_addresses_stay_is_none_of_ours() {
        let mut table = Table::default();
        let same = Entry {
            reply: Tuple {
                source: entry(1).original.destination,
                destination: entry(1).original.source,
                ..entry(1).reply
            },
            ..entry(1)
        };
        table.begin(&same, 10);
        assert_eq!(table.living(), 0);
    }
}
