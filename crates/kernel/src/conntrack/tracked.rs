//! The translated connections of all network namespaces one by one, as the kernel tracks them.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use netglass_model::NamespaceInode;

use super::{
    WHAT,
    message::{self, Entry, HEADER_LENGTH},
    watch::{GROUPS, IPCTNL_MSG_CT_GET, ROOM_FOR_EVENTS, open_events, parse, tracked},
};
use crate::{
    Error,
    namespace::{Namespace, Namespaces},
    netlink::{Family, Netlink, events::Events},
};

/// How often is looked for namespaces that are new.
const OFTEN: Duration = Duration::from_secs(1);
/// How often all are listed where the kernel does not tell of them.
const LISTED: Duration = Duration::from_secs(1);
/// In how many namespaces connections are followed: each takes a socket.
const MOST_NAMESPACES: usize = 4096;

/// A namespace in which connections are tracked.
#[derive(Debug)]
struct Place {
    namespace: Namespace,
    /// `None` where the kernel does not tell.
    events: Option<Events>,
    /// When all are listed next, if they are to be.
    next_list: Option<Instant>,
}

/// Tells of the connections that the kernel translates, in all network namespaces of the host.
#[derive(Debug)]
pub struct TrackedConnections {
    places: BTreeMap<NamespaceInode, Place>,
    next: Instant,
    /// Events that were lost, or could not be understood.
    lost: u64,
}

impl TrackedConnections {
    /// Begins with the namespaces that there are.
    pub fn open() -> Result<Self, Error> {
        let mut connections = Self { places: BTreeMap::new(), next: Instant::now(), lost: 0 };
        connections.find()?;
        Ok(connections)
    }

    /// Calls `visit` with each connection that is there or has begun, the first time with all.
    pub fn look(
        &mut self,
        visit: &mut (dyn FnMut(NamespaceInode, &Entry) + Send),
    ) -> Result<(), Error> {
        if self.next <= Instant::now() {
            self.next = Instant::now() + OFTEN;
            self.find()?;
        }
        for (inode, place) in &mut self.places {
            let mut lost = 0;
            if let Some(events) = &place.events {
                let losses = events.take(WHAT, |message| match parse(message) {
                    Ok(Some((true, entry))) => visit(*inode, &entry),
                    Ok(_) => {}
                    Err(message::Malformed) => lost += 1,
                })?;
                lost += losses.malformed + losses.overruns;
                if losses.overruns > 0 {
                    place.next_list = Some(Instant::now());
                }
            }
            self.lost = self.lost.saturating_add(lost);
            if place.next_list.is_some_and(|next| next <= Instant::now()) {
                place.next_list = place.events.is_none().then(|| Instant::now() + LISTED);
                let list = || list(&mut |entry| visit(*inode, entry));
                // One that is gone tracks nothing any more.
                place.namespace.run(list)?.unwrap_or(Ok(()))?;
            }
        }
        Ok(())
    }

    /// How many events were lost, or could not be understood.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Begins to follow namespaces that are new, and ends to follow those that are gone.
    fn find(&mut self) -> Result<(), Error> {
        // Without the module, nothing is tracked anywhere.
        if tracked().is_none() {
            return Ok(());
        }
        let found = Namespaces::find()?;
        self.places
            .retain(|inode, _| found.iter().any(|namespace| namespace.identity.inode == *inode));
        for namespace in found.iter() {
            let inode = namespace.identity.inode;
            if self.places.contains_key(&inode) || self.places.len() >= MOST_NAMESPACES {
                continue;
            }
            let Some(events) = namespace.run(|| open_events(GROUPS, ROOM_FOR_EVENTS))? else {
                continue;
            };
            let next_list = Some(Instant::now());
            let place = Place { namespace: namespace.clone(), events: events?, next_list };
            self.places.insert(inode, place);
        }
        Ok(())
    }
}

/// Reads all connections of the calling thread's namespace.
fn list(visit: &mut dyn FnMut(&Entry)) -> Result<(), Error> {
    let mut netlink = Netlink::open(Family::Netfilter, WHAT)?;
    // One that is told twice, or that changes meanwhile, is no harm.
    netlink.dump(WHAT, IPCTNL_MSG_CT_GET, &[0; HEADER_LENGTH], |message| {
        if let Ok(Some(entry)) = message::parse(message.payload) {
            visit(&entry);
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use netglass_testing::require;

    use super::{super::fixtures::redirecting, *};

    #[test]
    fn connections_that_are_there_and_that_begin_are_told() {
        require!(root, command("nft"));
        let namespace = redirecting();
        let connect = || {
            namespace.inside(|| {
                let server = TcpListener::bind("127.0.0.1:8080").unwrap();
                (TcpStream::connect("10.9.9.9:80").unwrap(), server.accept().unwrap().0)
            })
        };
        let older = connect();
        let mut connections = TrackedConnections::open().unwrap();
        let inode = NamespaceInode(namespace.inode());
        let mut look = || {
            let mut ports = Vec::new();
            connections
                .look(&mut |place, entry| {
                    if place == inode && entry.reply.source_port == 8080 {
                        assert_eq!(entry.original.destination_port, 80);
                        ports.push(entry.original.source_port);
                    }
                })
                .unwrap();
            ports
        };
        let port = |(client, _): &(TcpStream, TcpStream)| client.local_addr().unwrap().port();
        assert!(look().contains(&port(&older)));
        drop(older);
        let newer = connect();
        assert_eq!(look(), [port(&newer)]);
        assert_eq!(connections.lost(), 0);
    }
}
