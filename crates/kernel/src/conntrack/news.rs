//! What becomes of the connections that the namespace of the calling thread tracks, as the kernel
//! tells it.

use std::{os::fd::AsFd, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use super::{
    WHAT,
    lookup::{Tracked, read},
    watch::{self, IPCTNL_MSG_CT_DELETE, IPCTNL_MSG_CT_NEW, ROOM_FOR_EVENTS},
};
use crate::{
    Error,
    netlink::{events::Events, message::Message},
};

/// The bits of `NFNLGRP_CONNTRACK_NEW`, `NFNLGRP_CONNTRACK_UPDATE` and `NFNLGRP_CONNTRACK_DESTROY`.
const GROUPS: u32 = 1 << 0 | 1 << 1 | 1 << 2;
/// `NLM_F_CREATE`: of a connection that was not there.
const NLM_F_CREATE: u16 = 0x400;

/// What happened to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Happening {
    /// It is tracked from now on.
    New,
    /// Its state or its marks are others.
    Updated,
    /// It is not tracked any more.
    Destroyed,
}

/// Tells what becomes of tracked connections.
#[derive(Debug)]
pub struct TrackedNews {
    events: Events,
}

impl TrackedNews {
    /// Begins to listen; `None` where nothing is tracked, or the kernel is not to tell
    /// (`nf_conntrack_events`). It takes the capability `CAP_NET_ADMIN`.
    pub fn open() -> Result<Option<Self>, Error> {
        Ok(watch::open_events(GROUPS, ROOM_FOR_EVENTS)?.map(|events| Self { events }))
    }

    /// The same, with room for so many bytes of news that nobody has taken.
    #[cfg(test)]
    fn with_room(room: usize) -> Result<Option<Self>, Error> {
        Ok(watch::open_events(GROUPS, room)?.map(|events| Self { events }))
    }

    /// Waits until there are news; whether there are.
    pub fn wait(&self, longest: Duration) -> Result<bool, Error> {
        let longest = Timespec {
            tv_sec: i64::try_from(longest.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: longest.subsec_nanos().into(),
        };
        let mut waiting = [PollFd::from_borrowed_fd(self.events.as_fd(), PollFlags::IN)];
        match poll(&mut waiting, Some(&longest)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(errno) => Err(Error::netlink(WHAT, errno)),
        }
    }

    /// Calls `visit` with the news until now. What is told of a connection that is not destroyed is
    /// without counters. How much was lost is returned: then, connections are not as they were told.
    pub fn take(&self, mut visit: impl FnMut(Happening, &Tracked)) -> Result<u64, Error> {
        let losses = self.events.take(WHAT, |message| {
            if let Some((happening, tracked)) = parse(message) {
                visit(happening, &tracked);
            }
        })?;
        Ok(losses.overruns + losses.malformed)
    }
}

/// Nothing of a message about something else.
fn parse(message: &Message<'_>) -> Option<(Happening, Tracked)> {
    let happening = match message.kind {
        IPCTNL_MSG_CT_NEW if message.flags & NLM_F_CREATE != 0 => Happening::New,
        IPCTNL_MSG_CT_NEW => Happening::Updated,
        IPCTNL_MSG_CT_DELETE => Happening::Destroyed,
        _ => return None,
    };
    Some((happening, read(message.payload)?))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use netglass_testing::require;

    use super::{super::fixtures::redirecting, *};

    /// The port of the client of a connection that is over.
    fn connect(server: &TcpListener) -> u16 {
        let client = TcpStream::connect("10.9.9.9:80").unwrap();
        let port = client.local_addr().unwrap().port();
        drop((server.accept().unwrap(), client));
        port
    }

    #[test]
    fn a_connection_is_told_from_its_beginning() {
        require!(root, command("nft"));
        redirecting().inside(|| {
            let news = TrackedNews::open().unwrap().unwrap();
            assert!(!news.wait(Duration::ZERO).unwrap());
            let port = connect(&TcpListener::bind("127.0.0.1:8080").unwrap());
            assert!(news.wait(Duration::from_secs(5)).unwrap());
            let mut told = Vec::new();
            let lost = news.take(|happening, tracked| {
                if tracked.original.source_port == port {
                    assert_eq!(tracked.original.destination_port, 80);
                    assert_eq!(tracked.reply.source_port, 8080);
                    told.push((happening, tracked.tcp_state));
                }
            });
            assert_eq!(lost.unwrap(), 0);
            // SYN_SENT, SYN_RECV and ESTABLISHED of `enum tcp_conntrack`, and what comes after.
            let states = [Some(1), Some(2), Some(3)];
            assert_eq!(told[0], (Happening::New, states[0]));
            assert!(told[1..].iter().all(|(happening, _)| *happening == Happening::Updated));
            assert!(states.iter().all(|state| told.iter().any(|(_, told)| told == state)));
        });
    }

    #[test]
    fn news_that_are_lost_are_counted() {
        require!(root, command("nft"));
        redirecting().inside(|| {
            let news = TrackedNews::with_room(4096).unwrap().unwrap();
            let server = TcpListener::bind("127.0.0.1:8080").unwrap();
            for _ in 0..100 {
                connect(&server);
            }
            assert!(news.take(|_, _| ()).unwrap() >= 1);
        });
    }
}
