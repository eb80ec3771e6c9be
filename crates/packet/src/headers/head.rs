//! The headers of a packet of which only the first bytes are there.

use netglass_model::IpProtocol;

use super::{
    Fragment, Headers, Malformed, Tunnels, Undecodable, common::decode_common_ipv6, decode_any,
};
use crate::Packet;

/// Extension headers of IPv6: one that comes last is one that is not there.
const EXTENSIONS: [u8; 5] = [0, 43, 44, 51, 60];

/// What [`decode`](super::decode) returns of a packet of which more was captured than these bytes, but not more than
/// there was on the wire. None, if that may depend on what is behind them.
///
/// It is for those that [`decode_common`](super::decode_common) returns nothing of, but tells of all.
#[inline]
#[must_use]
pub fn decode_head(packet: &Packet<'_>, tunnels: Tunnels) -> Option<Result<Headers, Undecodable>> {
    if let Some(headers) = decode_common_ipv6(packet, tunnels) {
        return Some(Ok(headers));
    }
    let decoded = decode_any(packet, tunnels);
    let is_final = match &decoded {
        Ok(headers) => tells_all(headers, tunnels),
        Err(reason) => *reason != Malformed::Truncated.into(),
    };
    is_final.then_some(decoded)
}

/// Whether nothing more can be known of them.
#[inline]
fn tells_all(headers: &Headers, tunnels: Tunnels) -> bool {
    match headers.protocol {
        _ if tunnels == Tunnels::Inner && headers.protocol != IpProtocol::TCP => false,
        IpProtocol(number) if headers.source.is_ipv6() && EXTENSIONS.contains(&number) => false,
        _ if headers.fragment.is_some_and(Fragment::is_later) => true,
        IpProtocol::TCP => headers.tcp.is_some(),
        IpProtocol::UDP | IpProtocol::SCTP | IpProtocol::ICMPV4 | IpProtocol::ICMPV6 => {
            headers.destination_port != 0
        }
        _ => true,
    }
}
