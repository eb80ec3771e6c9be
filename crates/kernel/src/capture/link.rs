//! The interfaces that there are (rtnetlink(7), `linux/if_link.h`).

use netglass_model::text_from_bytes;

use crate::{
    Error,
    netlink::{Consistency, Family, Netlink, events::Events, message::Attributes},
};

const WHAT: &str = "the interfaces";
const RTM_GETLINK: u16 = 18;
/// `RTMGRP_LINK`.
const GROUPS: u32 = 1;
/// The length of `struct ifinfomsg`.
const MESSAGE_LENGTH: usize = 16;
const KIND_OFFSET: usize = 2;
const INDEX_OFFSET: usize = 4;
const FLAGS_OFFSET: usize = 8;
const IFLA_IFNAME: u16 = 3;
const IFF_UP: u32 = 1 << 0;

/// What the kernel may keep for us of what it tells, in bytes. What is beyond that is known from
/// the next list.
const ROOM_FOR_EVENTS: usize = 1 << 20;

/// How often the list is read when it changes while the kernel writes it.
const ATTEMPTS: u32 = 3;

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    /// What tells it from every other one of its namespace, at any time.
    pub(crate) index: u32,
    pub(crate) name: String,
    /// What its packets begin with (`linux/if_arp.h`).
    pub(crate) kind: u16,
    pub(crate) is_up: bool,
}

/// Lists the interfaces of a network namespace, and tells when they change.
#[derive(Debug)]
pub(crate) struct Links {
    netlink: Netlink,
    pub(crate) events: Events,
}

impl Links {
    pub(crate) fn open() -> Result<Self, Error> {
        let events = Events::open(Family::Route, WHAT, GROUPS, ROOM_FOR_EVENTS)?;
        Ok(Self { netlink: Netlink::open(Family::Route, WHAT)?, events })
    }

    /// Whether something happened since the last time.
    pub(crate) fn have_changed(&self) -> Result<bool, Error> {
        let mut changed = false;
        let losses = self.events.take(WHAT, |_| changed = true)?;
        Ok(changed || losses.overruns + losses.malformed > 0)
    }

    /// All interfaces.
    pub(crate) fn list(&mut self) -> Result<Vec<Link>, Error> {
        let mut links = Vec::new();
        for _ in 0..ATTEMPTS {
            links.clear();
            let consistency =
                self.netlink.dump(WHAT, RTM_GETLINK, &[0; MESSAGE_LENGTH], |message| {
                    links.extend(parse(message.payload));
                })?;
            if consistency == Consistency::Consistent {
                break;
            }
        }
        Ok(links)
    }
}

/// Reads one `RTM_NEWLINK`; `None` where it is none.
fn parse(payload: &[u8]) -> Option<Link> {
    let number =
        |offset| Some(u32::from_ne_bytes(*payload.get(offset..MESSAGE_LENGTH)?.first_chunk()?));
    let kind = payload.get(KIND_OFFSET..MESSAGE_LENGTH)?.first_chunk()?;
    let name = Attributes::new(payload.get(MESSAGE_LENGTH..)?)
        .find_map(|(kind, value)| (kind == IFLA_IFNAME).then_some(value))?;
    let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
    Some(Link {
        index: number(INDEX_OFFSET)?,
        name: text_from_bytes(name),
        kind: u16::from_ne_bytes(*kind),
        is_up: number(FLAGS_OFFSET)? & IFF_UP != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_loopback_interface_is_listed() {
        let links = Links::open().unwrap().list().unwrap();
        assert!(links.iter().any(|link| link.name == "lo" && link.index == 1), "{links:?}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(&bytes);
        }
    }
}
