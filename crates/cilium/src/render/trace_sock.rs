//! Addresses of sockets that were translated.

use super::{Level, Renderer, put_cpu, trace::put_flagged_address};
use crate::{
    event::Event,
    notification::TraceSockNotify,
    text::{put, put_number},
};

/// Before or after which translation.
pub(super) const fn point_name(sock: &TraceSockNotify) -> &'static str {
    match sock.translation_point {
        1 => "pre-xlate-fwd",
        2 => "post-xlate-fwd",
        3 => "pre-xlate-rev",
        4 => "post-xlate-rev",
        _ => "unknown",
    }
}

/// The protocol of a socket.
pub(super) const fn protocol_name(sock: &TraceSockNotify) -> &'static str {
    match sock.protocol {
        1 => "tcp",
        2 => "udp",
        _ => "unknown",
    }
}

impl Renderer {
    pub(super) fn trace_sock(
        &mut self,
        event: &Event<'_>,
        sock: &TraceSockNotify,
        out: &mut Vec<u8>,
    ) {
        let is_ours = self.options.style.is_ours();
        let is_shown = match self.options.level {
            Level::Debug => true,
            Level::Verbose => is_ours,
            Level::Info | Level::Json => false,
        };
        if !is_shown {
            return;
        }
        self.put_time(event, out);
        put_cpu(out, event.cpu);
        put(out, " [");
        put(out, point_name(sock));
        put(out, "] cgroup_id: ");
        put_number(out, sock.cgroup);
        put(out, " sock_cookie: ");
        put_number(out, sock.socket_cookie);
        put(out, ", dst ");
        // Cilium puts brackets around all addresses.
        let has_brackets = !is_ours || sock.ipv6;
        put(out, if has_brackets { "[" } else { "" });
        put_flagged_address(out, sock.address, sock.ipv6);
        put(out, if has_brackets { "]:" } else { ":" });
        put_number(out, sock.port);
        out.push(b' ');
        put(out, protocol_name(sock));
        put(out, if is_ours { "\n" } else { " \n" });
    }
}
