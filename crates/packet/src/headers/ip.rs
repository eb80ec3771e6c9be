//! What IPv4 and IPv6 have in common.

use std::net::IpAddr;

use netglass_model::IpProtocol;

use super::{
    Decoded, Fragment, Headers, Malformed, Tunnels, ipv4, ipv6, rest::Rest, transport, tunnel,
};

/// An IP datagram, or a fragment of one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Datagram<'a> {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: IpProtocol,
    pub(super) fragment: Option<Fragment>,
    /// What follows its headers.
    pub(super) payload: Rest<'a>,
}

impl Datagram<'_> {
    /// The headers that count: its own, or those of what goes through the tunnel that it is.
    #[inline]
    pub(super) fn headers(&self) -> Headers {
        // What goes through a tunnel in fragments stays the tunnel's: only the first could be told, and
        // they belong together.
        if self.payload.tunnels == Tunnels::Inner
            && self.fragment.is_none()
            && let Some(inner) = tunnel::inside(self.protocol, self.payload)
        {
            return inner;
        }
        transport::headers(self)
    }

    /// Whether its payload begins somewhere in the middle.
    pub(super) fn is_later_fragment(&self) -> bool {
        self.fragment.is_some_and(Fragment::is_later)
    }
}

/// A datagram of either version.
pub(super) fn datagram(rest: Rest<'_>) -> Decoded {
    let &[first] = rest.peek::<1>()?;
    match first >> 4 {
        4 => ipv4::datagram(rest),
        6 => ipv6::datagram(rest),
        _ => Err(Malformed::Version.into()),
    }
}
