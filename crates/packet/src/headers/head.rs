//! The headers of a packet of which only the first bytes are there.

use netglass_model::IpProtocol;

use super::{Fragment, Headers, Tunnels, decode_any, decode_most};
use crate::Packet;

/// Extension headers of IPv6, and what may be a tunnel: where one of them comes last, more may follow.
const FOLLOWED: [u8; 9] = [0, 4, 41, 43, 44, 47, 51, 60, 137];

/// The headers that [`decode`](super::decode) returns of a packet of which more was captured than these bytes, but not more than
/// there was on the wire. None, if that may depend on what is behind them.
#[must_use]
pub fn decode_head(packet: &Packet<'_>, tunnels: Tunnels) -> Option<Headers> {
    let other = || decode_any(packet, tunnels).ok().filter(|headers| tells_all(headers, tunnels));
    decode_most(packet, tunnels).or_else(other)
}

/// Whether the last number that counts has been read.
fn tells_all(headers: &Headers, tunnels: Tunnels) -> bool {
    match headers.protocol {
        _ if tunnels == Tunnels::Inner && headers.protocol != IpProtocol::TCP => false,
        IpProtocol(number) if FOLLOWED.contains(&number) => false,
        _ if headers.fragment.is_some_and(Fragment::is_later) => true,
        IpProtocol::TCP => headers.tcp.is_some(),
        IpProtocol::UDP | IpProtocol::SCTP | IpProtocol::ICMPV4 | IpProtocol::ICMPV6 => {
            headers.destination_port != 0
        }
        _ => true,
    }
}
