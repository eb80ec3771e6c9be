//! What sockets are called.

use std::fmt::Write as _;

use netglass_kernel::{
    HeldSocket,
    socket::{OpenSocket, SocketName},
};
use netglass_model::text_from_bytes;

use super::words::{family_name, protocol_of};

/// What the kernel writes for any context and any port of a vsock.
const ANY: u32 = u32::MAX;

/// `NETLINK_…` in `linux/netlink.h`.
const SUBSYSTEMS: [(u16, &str); 20] = [
    (0, "route"),
    (2, "usersock"),
    (3, "firewall"),
    (4, "sock_diag"),
    (5, "nflog"),
    (6, "xfrm"),
    (7, "selinux"),
    (8, "iscsi"),
    (9, "audit"),
    (10, "fib_lookup"),
    (11, "connector"),
    (12, "netfilter"),
    (13, "ip6_fw"),
    (15, "kobject_uevent"),
    (16, "generic"),
    (18, "scsitransport"),
    (19, "ecryptfs"),
    (20, "rdma"),
    (21, "crypto"),
    (22, "smc"),
];

/// What a socket speaks; of what is in no list, the kernel's name of it.
pub(crate) fn protocol(socket: &HeldSocket) -> Option<String> {
    match (&socket.listed, socket.protocol_name.as_deref()) {
        (Some((socket, _)), _) => {
            protocol_of(socket.family, socket.protocol, socket.socket_type).map(str::to_owned)
        }
        (None, Some(name)) => Some(text_from_bytes(name).to_lowercase()),
        (None, None) => None,
    }
}

/// `AF_…`, or the number of an unknown family.
pub(crate) fn family(socket: &HeldSocket) -> Option<String> {
    let family = socket.family()?;
    Some(family_name(family).map_or_else(|| family.to_string(), str::to_owned))
}

/// Of a netlink socket, which part of the kernel it talks to.
pub(crate) fn subsystem(socket: &OpenSocket) -> Option<String> {
    let SocketName::Netlink { .. } = socket.local else { return None };
    let known = SUBSYSTEMS.iter().find(|(number, _)| *number == socket.protocol);
    Some(known.map_or_else(|| socket.protocol.to_string(), |(_, name)| (*name).to_owned()))
}

/// One end of a socket: `127.0.0.1:80`, `/run/path`, `@abstract`, a netlink port, an interface,
/// `3:1234` of a vsock.
pub(crate) fn end(name: &SocketName) -> Option<String> {
    Some(match name {
        SocketName::Unknown => return None,
        SocketName::Inet(endpoint) => endpoint.to_string(),
        SocketName::Path(path) => text_from_bytes(path),
        SocketName::Abstract(name) => format!("@{}", text_from_bytes(name)),
        SocketName::Netlink { port, .. } => port.to_string(),
        SocketName::Packet { interface: 0, .. } => "*".to_owned(),
        SocketName::Packet { name: Some(name), .. } => name.to_string(),
        SocketName::Packet { interface, name: None } => interface.to_string(),
        SocketName::Vsock { context, port } => {
            let mut text = String::new();
            for (number, end) in [(*context, ":"), (*port, "")] {
                let _ = match number {
                    ANY => write!(text, "*{end}"),
                    number => write!(text, "{number}{end}"),
                };
            }
            text
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_end_has_its_words() {
        let shown = |name| end(&name).unwrap_or_default();
        assert_eq!(shown(SocketName::Inet(([0, 0, 0, 0], 80).into())), "0.0.0.0:80");
        assert_eq!(shown(SocketName::Path(b"/run/\xff".as_slice().into())), "/run/\\xff");
        assert_eq!(shown(SocketName::Abstract(b"a\0b".as_slice().into())), "@a\0b");
        assert_eq!(shown(SocketName::Vsock { context: ANY, port: 1024 }), "*:1024");
        assert_eq!(shown(SocketName::Packet { interface: 3, name: None }), "3");
        assert_eq!(shown(SocketName::Unknown), "");
    }
}
