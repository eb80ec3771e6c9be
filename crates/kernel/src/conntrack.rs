//! Address translation (NAT, load balancing) as the kernel's connection tracking knows it
//! (`linux/netfilter/nfnetlink_conntrack.h`): which connection of a client's side is which one of a
//! server's side.

#[cfg(test)]
mod fixtures;
mod lookup;
pub mod message;
mod news;
mod table;
mod tracked;
mod watch;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime},
};

use netglass_model::{Degradation, Lack, NamespaceInode, Timestamp};

pub use self::{
    lookup::{Lookups, Tracked},
    news::{Happening, TrackedNews},
    tracked::TrackedConnections,
};
pub(crate) use self::{
    table::{Counted, TranslationKey},
    watch::try_to_ask,
};

use self::watch::Watch;
use crate::{
    Error,
    collector::{Collector, Limits},
    degradations::Degradations,
    namespace::{self, Namespace, Namespaces},
    scan::Sightings,
    selection::Selection,
};

const WHAT: &str = "the tracked connections";

/// How long the namespaces are taken to be those that were found. One that is followed does not go
/// before this is over.
const FRESH: Duration = Duration::from_secs(5);
/// How many namespaces are followed: each takes a socket.
const MAXIMUM_NAMESPACES: usize = 4096;

/// Follows the translated connections of one or all network namespaces.
#[derive(Debug)]
pub struct Translations {
    own: NamespaceInode,
    all_namespaces: bool,
    sightings: Sightings,
    room: usize,
    watches: BTreeMap<NamespaceInode, Watch>,
    found_at: Option<Instant>,
    degradations: Degradations,
}

impl Translations {
    /// Begins to follow them. The namespace of the calling thread counts as the host's own.
    pub fn new(selection: Selection, sightings: Sightings, limits: Limits) -> Result<Self, Error> {
        let mut translations = Self {
            own: namespace::own()?,
            all_namespaces: selection.all_namespaces,
            sightings,
            room: limits.sockets,
            watches: BTreeMap::new(),
            found_at: None,
            degradations: Degradations::default(),
        };
        translations.find();
        Ok(translations)
    }

    /// Whether the calling thread may ask for tracked connections, or there are none: what
    /// [`drop_to`](crate::drop_to) asks.
    #[must_use]
    pub fn is_usable() -> bool {
        try_to_ask().is_ok()
    }

    /// What does not work as well as it could and was not told of before.
    pub fn take_degradations(&mut self) -> Vec<Degradation> {
        self.degradations.take()
    }

    /// Takes in what happened since the last time.
    pub fn look(&mut self, collector: &mut Collector) {
        collector.begin(Timestamp::from(SystemTime::now()));
        self.find();
        let mut living: usize = self.watches.values().map(|watch| watch.table.living()).sum();
        for (&namespace, watch) in &mut self.watches {
            let others = living.saturating_sub(watch.table.living());
            let room = self.room.saturating_sub(others);
            match watch.look(room) {
                Ok(losses) => {
                    collector.lack(Lack::TranslationEventsLost, losses.events);
                    collector.lack(Lack::TranslationTableFull, losses.refused);
                }
                Err(error) => self.degradations.add(degradation(&error)),
            }
            living = others + watch.table.living();
            watch.table.report(|key, counted| collector.translation(namespace, key, counted));
        }
    }

    /// Begins to follow namespaces that are new, and ends to follow those that are gone.
    fn find(&mut self) {
        // Without the module, nothing is tracked anywhere.
        if watch::tracked().is_none() {
            return self.watches.clear();
        }
        if self.found_at.is_some_and(|at| at.elapsed() < FRESH) {
            return;
        }
        self.found_at = Some(Instant::now());
        let own = self.own;
        self.open(own, None);
        if self.all_namespaces {
            let found = match Namespaces::find() {
                Ok(found) => found,
                Err(error) => return self.degradations.add(degradation(&error)),
            };
            self.watches.retain(|&inode, _| {
                inode == own || found.iter().any(|namespace| namespace.identity.inode == inode)
            });
            for namespace in found.iter().filter(|namespace| namespace.identity.inode != own) {
                self.open(namespace.identity.inode, Some(namespace));
            }
        }
    }

    fn open(&mut self, inode: NamespaceInode, entry: Option<&Namespace>) {
        if self.watches.contains_key(&inode) {
            return;
        }
        if self.watches.len() >= MAXIMUM_NAMESPACES {
            return self.degradations.add(Degradation {
                feature: FEATURE.to_owned(),
                reason: format!("there are more than {MAXIMUM_NAMESPACES} network namespaces"),
                consequence: CONSEQUENCE.to_owned(),
            });
        }
        let room = (self.sightings == Sightings::Repeated).then_some(watch::ROOM_FOR_EVENTS);
        let open = || {
            let opened = Watch::open(entry.cloned(), room);
            // Nothing is lost where nothing is tracked.
            let idle = watch::tracked() == Some(0);
            opened.map_err(|error| (error, idle))
        };
        let opened = match entry {
            None => open(),
            Some(namespace) => match namespace.run(open) {
                Ok(opened) => opened.unwrap_or(Ok(None)),
                Err(error) => Err((error, false)),
            },
        };
        match opened {
            Ok(Some(watch)) => {
                self.watches.insert(inode, watch);
            }
            Ok(None) => {}
            Err((error, idle)) if idle && watch::is_denied(&error) => {}
            Err((error, _)) => self.degradations.add(degradation(&error)),
        }
    }
}

const FEATURE: &str = "address translation";
const CONSEQUENCE: &str = "connections whose addresses are translated on this host are shown as two, \
                           one of each side; it takes root, or CAP_NET_ADMIN";

fn degradation(error: &Error) -> Degradation {
    Degradation {
        feature: FEATURE.to_owned(),
        reason: error.to_string(),
        consequence: CONSEQUENCE.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use netglass_model::{HostId, Translation};
    use netglass_testing::require;

    use super::{fixtures::redirecting, *};

    fn look(translations: &mut Translations, collector: &mut Collector) -> Vec<Translation> {
        translations.look(collector);
        let host = HostId { machine_id: "0".to_owned(), hostname: "host".to_owned() };
        let seen = collector.observations(host, NamespaceInode(1)).translations;
        assert_eq!(translations.take_degradations(), []);
        seen
    }

    fn connect(count: usize) -> Vec<(TcpStream, TcpStream)> {
        let server = TcpListener::bind("127.0.0.1:8080").unwrap();
        let one = || (TcpStream::connect("10.9.9.9:80").unwrap(), server.accept().unwrap().0);
        (0..count).map(|_| one()).collect()
    }

    #[test]
    fn what_is_translated_is_told_by_lists_and_events() {
        require!(root, command("nft"));
        redirecting().inside(|| {
            let own = namespace::own().unwrap();
            let older = connect(2);
            let mut collector = Collector::new(Limits::default());
            let mut following =
                Translations::new(Selection::default(), Sightings::Repeated, Limits::default())
                    .unwrap();
            let seen = look(&mut following, &mut collector);
            let [one] = &seen[..] else { panic!("{seen:?}") };
            assert_eq!((one.connections, one.opened, one.namespace), (2, 0, own));
            assert_eq!(one.original.client.to_string(), "10.9.9.9");
            assert_eq!(one.original.server.to_string(), "10.9.9.9:80");
            assert_eq!(one.translated.server.to_string(), "127.0.0.1:8080");

            drop(connect(3));
            let seen = look(&mut following, &mut collector);
            assert_eq!((seen[0].connections, seen[0].opened), (5, 3));
            collector.flushed();
            let seen = look(&mut following, &mut collector);
            assert_eq!((seen[0].connections, seen[0].opened), (5, 0), "it lasts for a while");
            drop(older);

            // One look, and nothing is told.
            let once = Sightings::One;
            let mut listed =
                Translations::new(Selection::default(), once, Limits::default()).unwrap();
            let mut collector = Collector::new(Limits::default());
            assert_eq!(look(&mut listed, &mut collector)[0].connections, 5);
        });
    }

    #[test]
    fn where_events_are_lost_all_are_listed_anew() {
        require!(root, command("nft"));
        redirecting().inside(|| {
            let mut watch = Watch::open(None, Some(4096)).unwrap().unwrap();
            assert_eq!(watch.look(1000).unwrap(), watch::Losses::default());
            drop(connect(100));
            // A list takes a part of all time at most.
            let mut lost = 0;
            let deadline = Instant::now() + Duration::from_secs(10);
            while watch.table.living() < 100 && Instant::now() < deadline {
                lost += watch.look(1000).unwrap().events;
            }
            assert!(lost >= 1);
            let mut counts = Vec::new();
            watch.table.report(|_, counted| counts.push((counted.connections, counted.opened)));
            assert_eq!(counts, [(100, 100)]);
        });
    }

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        require!(root, command("nft"));
        redirecting().inside(|| {
            let limits = Limits { flows: 10, sockets: 2 };
            let mut collector = Collector::new(limits);
            let mut following =
                Translations::new(Selection::default(), Sightings::Repeated, limits).unwrap();
            drop(connect(5));
            let seen = look(&mut following, &mut collector);
            assert_eq!((seen[0].connections, seen[0].opened), (2, 2));
            let lacking = &collector.ledger().lacking;
            assert!(lacking[&Lack::TranslationTableFull] >= 3, "{lacking:?}");
        });
    }

    #[test]
    fn whoever_has_no_rights_is_told_only_if_something_is_lost() {
        require!(root, command("nft"));
        redirecting().inside(|| {
            let without_rights = || {
                crate::drop_to(crate::Needs::default(), || true, || true).unwrap();
                assert!(!Translations::is_usable());
                let mut following =
                    Translations::new(Selection::default(), Sightings::Repeated, Limits::default())
                        .unwrap();
                following.take_degradations().len()
            };
            let told = || std::thread::scope(|scope| scope.spawn(without_rights).join().unwrap());
            assert_eq!(told(), 0, "nothing is tracked");
            let _open = connect(1);
            assert_eq!(told(), 1);
        });
    }
}
