//! Which sockets are kept.

use std::net::IpAddr;

use netglass_model::{AddressScope, Skip};

/// Which sockets are looked at, and which of their connections are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selection {
    /// All network namespaces of the host rather than that of the caller.
    pub all_namespaces: bool,
    /// Whether connections over loopback are kept.
    pub loopback: bool,
    /// Which peers are kept.
    pub scope: AddressScope,
}

impl Default for Selection {
    fn default() -> Self {
        Self { all_namespaces: false, loopback: true, scope: AddressScope::All }
    }
}

impl Selection {
    /// Why a connection between these two is not kept, if it is not.
    pub(crate) fn skips(self, local: IpAddr, peer: IpAddr) -> Option<Skip> {
        let over_loopback = peer.is_loopback() || local.is_loopback();
        if over_loopback && !self.loopback {
            Some(Skip::Loopback)
        } else if !self.scope.contains(peer) {
            Some(Skip::Filter)
        } else {
            None
        }
    }
}
