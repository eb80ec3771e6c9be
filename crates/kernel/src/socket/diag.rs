//! Listing sockets by `sock_diag` (`sock_diag(7)`).

use netglass_model::Protocol;

use super::{Socket, StateSet, diag_message};
use crate::{
    Error,
    netlink::{Family, Netlink},
};

const WHAT: &str = "the sockets";

/// `SOCK_DIAG_BY_FAMILY` (`linux/sock_diag.h`).
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// The length of `struct inet_diag_req_v2`.
const REQUEST_LENGTH: usize = 56;
/// The bit of `idiag_ext` that asks for `INET_DIAG_INFO`.
const WANT_INFO: u8 = 1 << 1;

/// An address family to list: the kernel lists one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InetFamily {
    V4,
    V6,
}

impl InetFamily {
    pub(crate) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    const fn number(self) -> u8 {
        match self {
            Self::V4 => 2,
            Self::V6 => 10,
        }
    }
}

/// Lists the sockets of the network namespace in which it was opened.
#[derive(Debug)]
pub(crate) struct Diag {
    netlink: Netlink,
}

impl Diag {
    pub(crate) fn open() -> Result<Self, Error> {
        Ok(Self { netlink: Netlink::open(Family::SockDiag, WHAT)? })
    }

    /// Calls `visit` with each socket of `protocol` in one of `states`; `None` stands for one that
    /// could not be understood.
    pub(crate) fn list(
        &mut self,
        protocol: Protocol,
        family: InetFamily,
        states: StateSet,
        mut visit: impl FnMut(Option<&Socket>),
    ) -> Result<(), Error> {
        let mut request = [0; REQUEST_LENGTH];
        request[0] = family.number();
        request[1] = protocol.number();
        request[2] = match protocol {
            Protocol::Tcp => WANT_INFO,
            Protocol::Udp => 0,
        };
        request[4..8].copy_from_slice(&states.bits().to_ne_bytes());
        self.netlink.dump(WHAT, SOCK_DIAG_BY_FAMILY, &request, |message| {
            visit(diag_message::parse(message.payload, protocol).as_ref());
        })?;
        Ok(())
    }

    /// Calls `visit` with each answer to a request that is laid out as its family wants it.
    pub(super) fn list_messages(
        &mut self,
        request: &[u8],
        visit: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Error> {
        self.netlink.dump(WHAT, SOCK_DIAG_BY_FAMILY, request, |message| visit(message.payload))?;
        Ok(())
    }
}
