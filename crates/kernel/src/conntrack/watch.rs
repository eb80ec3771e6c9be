//! Following the connections that one network namespace tracks.

use std::{
    fs, io,
    time::{Duration, Instant},
};

use super::{
    WHAT,
    message::{self, HEADER_LENGTH},
    table::Table,
};
use crate::{
    Error,
    namespace::Namespace,
    netlink::{Consistency, Family, Netlink, events::Events, message::Message},
};

/// Where the number of tracked connections stands: only where there is connection tracking. To ask
/// over netlink would load its module.
const COUNT: &str = "/proc/sys/net/netfilter/nf_conntrack_count";
/// Whether the kernel tells of connections that begin and end.
const TELLS: &str = "/proc/sys/net/netfilter/nf_conntrack_events";

/// `NFNL_SUBSYS_CTNETLINK << 8`.
const CTNETLINK: u16 = 1 << 8;
pub(super) const IPCTNL_MSG_CT_NEW: u16 = CTNETLINK;
pub(super) const IPCTNL_MSG_CT_GET: u16 = CTNETLINK | 1;
pub(super) const IPCTNL_MSG_CT_DELETE: u16 = CTNETLINK | 2;
const IPCTNL_MSG_CT_GET_STATS: u16 = CTNETLINK | 5;
/// The bits of `NFNLGRP_CONNTRACK_NEW` and `NFNLGRP_CONNTRACK_DESTROY`.
pub(super) const GROUPS: u32 = 1 << 0 | 1 << 2;

/// What the kernel may keep for us, in bytes: some ten thousand events.
pub(super) const ROOM_FOR_EVENTS: usize = 16 << 20;

/// How long those are taken to exist of whose end the kernel may not tell.
const TRUSTED: Duration = Duration::from_secs(60);
/// A list takes this part of all time at most.
const SHARE_OF_LISTING: u32 = 10;
/// How often a list is read that changes while the kernel writes it.
const ATTEMPTS: u32 = 3;

/// How many connections the calling thread's namespace tracks; `None` where nothing is tracked.
pub(super) fn tracked() -> Option<u64> {
    fs::read_to_string(COUNT).ok()?.trim().parse().ok()
}

/// Whether the calling thread may ask for the connections of its namespace.
pub(crate) fn try_to_ask() -> Result<(), Error> {
    if tracked().is_none() {
        return Ok(());
    }
    let mut netlink = Netlink::open(Family::Netfilter, WHAT)?;
    netlink.ask(WHAT, IPCTNL_MSG_CT_GET_STATS, &[0; HEADER_LENGTH], |_| {})?;
    open_events(GROUPS, ROOM_FOR_EVENTS).map(drop)
}

/// Joins `groups` of events; `None` where there are none.
pub(super) fn open_events(groups: u32, room: usize) -> Result<Option<Events>, Error> {
    let tells = fs::read_to_string(TELLS).is_ok_and(|text| text.trim() != "0");
    let open = || Events::open(Family::Netfilter, WHAT, groups, room);
    tells.then(open).transpose()
}

/// What was lost since the last look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Losses {
    /// Events, or what could not be understood.
    pub(super) events: u64,
    /// Connections for which there was no room.
    pub(super) refused: u64,
}

/// Follows the connections that one network namespace tracks.
#[derive(Debug)]
pub(super) struct Watch {
    /// How it is entered; `None` for our own one.
    entry: Option<Namespace>,
    /// `None` where the kernel does not tell: then there are only lists.
    events: Option<Events>,
    pub(super) table: Table,
    next_list: Option<Instant>,
    not_before: Option<Instant>,
}

impl Watch {
    /// Begins to follow the namespace of the calling thread, into which `entry` leads; `None` where
    /// nothing is tracked there. The kernel keeps events in `room_for_events`, if it is to tell any.
    pub(super) fn open(
        entry: Option<Namespace>,
        room_for_events: Option<usize>,
    ) -> Result<Option<Self>, Error> {
        if tracked().is_none() {
            return Ok(None);
        }
        let events = room_for_events.map(|room| open_events(GROUPS, room)).transpose()?.flatten();
        let now = Some(Instant::now());
        Ok(Some(Self { entry, events, table: Table::default(), next_list: now, not_before: now }))
    }

    /// Takes in what happened since the last time. The table may hold `room` connections.
    pub(super) fn look(&mut self, room: usize) -> Result<Losses, Error> {
        let mut losses = Losses::default();
        let mut list = self.events.is_none() || is_past(self.next_list);
        if let Some(events) = &self.events {
            let table = &mut self.table;
            let lost = events.take(WHAT, |message| match parse(message) {
                Ok(Some((true, entry))) => table.begin(&entry, room),
                Ok(Some((false, entry))) => table.end(&entry),
                Ok(None) => {}
                Err(message::Malformed) => losses.events += 1,
            });
            let lost = lost?;
            losses.events += lost.overruns + lost.malformed;
            list |= lost.overruns > 0;
        }
        if list {
            self.next_list = Some(Instant::now());
            if is_past(self.not_before) {
                losses.events += self.list(room)?;
            }
        }
        losses.refused = self.table.take_refused();
        Ok(losses)
    }

    /// Reads all connections; how many could not be understood is returned.
    fn list(&mut self, room: usize) -> Result<u64, Error> {
        let began = Instant::now();
        let table = &mut self.table;
        let mut malformed = 0;
        let mut read = || -> Result<(), Error> {
            let mut netlink = Netlink::open(Family::Netfilter, WHAT)?;
            table.begin_list();
            for _ in 0..ATTEMPTS {
                let consistency =
                    netlink.dump(WHAT, IPCTNL_MSG_CT_GET, &[0; HEADER_LENGTH], |message| {
                        match message::parse(message.payload) {
                            Ok(Some(entry)) => table.listed(&entry, room),
                            Ok(None) => {}
                            Err(message::Malformed) => malformed += 1,
                        }
                    })?;
                if consistency == Consistency::Consistent {
                    break;
                }
            }
            Ok(())
        };
        match &self.entry {
            None => read()?,
            // One that is gone tracks nothing any more.
            Some(entry) => entry.run(read)?.unwrap_or(Ok(()))?,
        }
        let unwatched = self.table.end_list();
        self.next_list = unwatched.then(|| Instant::now() + TRUSTED);
        self.not_before = Some(Instant::now() + began.elapsed() * SHARE_OF_LISTING);
        Ok(malformed)
    }
}

fn is_past(moment: Option<Instant>) -> bool {
    moment.is_some_and(|moment| moment <= Instant::now())
}

/// Whether a connection begins or ends, and which; `None` where it is nothing of ours.
pub(super) fn parse(
    message: &Message<'_>,
) -> Result<Option<(bool, message::Entry)>, message::Malformed> {
    let begins = match message.kind {
        IPCTNL_MSG_CT_NEW => true,
        IPCTNL_MSG_CT_DELETE => false,
        _ => return Ok(None),
    };
    Ok(message::parse(message.payload)?.map(|entry| (begins, entry)))
}

/// Whether somebody without the rights asked.
pub(super) fn is_denied(error: &Error) -> bool {
    matches!(error, Error::Netlink { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
}
