//! Sockets of every family, with their names.

use std::{cell::Cell, net::SocketAddr};

use netglass_model::{Degradation, Protocol};
use rustix::net::{self, AddressFamily, SocketType, netdevice};

use super::{
    Diag, InetFamily, Queues, Socket, SocketState, StateSet, TcpTraffic, diag_message::array,
    netlink, packet, proc_net, unix, vsock,
};
use crate::Error;

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const SOCK_STREAM: u16 = 1;
const SOCK_DGRAM: u16 = 2;

/// What one end of a socket is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketName {
    /// Nothing, or it is not known.
    Unknown,
    /// An address and a port of IP; 0 is any.
    Inet(SocketAddr),
    /// The path of a Unix socket, any bytes.
    Path(Box<[u8]>),
    /// The abstract name of a Unix socket, any bytes.
    Abstract(Box<[u8]>),
    /// A netlink socket.
    Netlink {
        /// Its port, which is often the id of its process.
        port: u32,
        /// The first 32 multicast groups that it is in, one bit for each.
        groups: u32,
    },
    /// A packet socket.
    Packet {
        /// The interface's index; 0 is any.
        interface: u32,
        /// The interface's name, where there still is one.
        name: Option<Box<str>>,
    },
    /// One between a virtual machine and its host.
    Vsock {
        /// The machine's context id; 4294967295 is any.
        context: u32,
        /// The port; 4294967295 is any.
        port: u32,
    },
}

/// A socket of any family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenSocket {
    /// The inode of the file that processes hold.
    pub inode: u32,
    /// Address family, `AF_…`.
    pub family: u16,
    /// Socket type, `SOCK_…`.
    pub socket_type: u16,
    /// Of IP sockets the number in IP's header, of netlink the subsystem, of packet sockets the
    /// protocol of Ethernet.
    pub protocol: u16,
    /// Its state; none where the family has none.
    pub state: Option<SocketState>,
    /// Our end.
    pub local: SocketName,
    /// The other end.
    pub remote: SocketName,
    /// The inode of the other end of a Unix socket.
    pub peer_inode: Option<u32>,
    /// What tells it from every other socket of its network namespace.
    pub cookie: Option<u64>,
    /// What waits in it, where the kernel tells.
    pub queues: Option<Queues>,
    /// What has gone through it, where the kernel tells.
    pub traffic: Option<TcpTraffic>,
}

impl OpenSocket {
    /// A socket of which nothing else is known.
    #[must_use]
    pub const fn new(family: u16, socket_type: u16, inode: u32) -> Self {
        Self {
            inode,
            family,
            socket_type,
            protocol: 0,
            state: None,
            local: SocketName::Unknown,
            remote: SocketName::Unknown,
            peer_inode: None,
            cookie: None,
            queues: None,
            traffic: None,
        }
    }

    /// A socket whose inode stands at `inode_offset` of a message, and its cookie behind that, as in
    /// all messages about sockets of one family alone.
    pub(super) fn of_message(
        [family, socket_type]: [u8; 2],
        message: &[u8],
        inode_offset: usize,
    ) -> Option<Self> {
        let inode = u32::from_ne_bytes(array(message, inode_offset)?);
        let cookie = u64::from_ne_bytes(array(message, inode_offset + size_of_val(&inode))?);
        Some(Self {
            cookie: Some(cookie),
            ..Self::new(u16::from(family), u16::from(socket_type), inode)
        })
    }

    fn of_inet(socket: &Socket, family: InetFamily) -> Self {
        let is_connected = socket.peer_port != 0;
        let remote = SocketAddr::new(socket.peer_address, socket.peer_port);
        let (family, socket_type) = (
            match family {
                InetFamily::V4 => AF_INET,
                InetFamily::V6 => AF_INET6,
            },
            match socket.protocol {
                Protocol::Tcp => SOCK_STREAM,
                Protocol::Udp => SOCK_DGRAM,
            },
        );
        Self {
            protocol: u16::from(socket.protocol.number()),
            state: Some(socket.state),
            local: SocketName::Inet(SocketAddr::new(socket.local_address, socket.local_port)),
            remote: if is_connected { SocketName::Inet(remote) } else { SocketName::Unknown },
            cookie: Some(socket.cookie),
            queues: Some(socket.queues),
            traffic: socket.traffic,
            ..Self::new(family, socket_type, socket.inode)
        }
    }
}

type Parse = fn(&[u8]) -> Option<OpenSocket>;

/// Calls `visit` with each socket of `families` (all where there is none) of the calling thread's
/// network namespace that a process may hold. What cannot be listed is told to `degraded`, with its
/// family.
pub(crate) fn list_open(
    families: &[u16],
    visit: &mut dyn FnMut(OpenSocket),
    degraded: &mut dyn FnMut(u16, Degradation),
) {
    let wants = |family| families.is_empty() || families.contains(&family);
    let mut diag = Diag::open();
    for (number, family) in [(AF_INET, InetFamily::V4), (AF_INET6, InetFamily::V6)] {
        for protocol in Protocol::ALL.into_iter().filter(|_| wants(number)) {
            let mut degraded = |degradation| degraded(number, degradation);
            if let Err(error) = list_inet(&mut diag, protocol, family, visit, &mut degraded) {
                degraded(missing(&format!("{protocol} sockets"), &error));
            }
        }
    }
    let others: [(u16, &str, &[u8], Parse); 4] = [
        (unix::FAMILY.into(), "Unix sockets", &unix::request(), unix::parse),
        (netlink::FAMILY.into(), "netlink sockets", &netlink::request(), netlink::parse),
        (packet::FAMILY.into(), "packet sockets", &packet::request(), packet::parse),
        (vsock::FAMILY.into(), "vsock sockets", &vsock::request(), vsock::parse),
    ];
    for (family, what, request, parse) in others.into_iter().filter(|(family, ..)| wants(*family)) {
        let mut list = |payload: &[u8]| {
            if let Some(mut socket) = parse(payload) {
                if let SocketName::Packet { interface, name } = &mut socket.local {
                    *name = interface_name(*interface);
                }
                visit(socket);
            }
        };
        let listed = match &mut diag {
            Ok(diag) => diag.list_messages(request, &mut list),
            Err(error) => {
                degraded(family, missing(what, error));
                continue;
            }
        };
        if let Err(error) = listed {
            degraded(family, missing(what, &error));
        }
    }
}

/// What an interface of the calling thread's network namespace is called.
fn interface_name(index: u32) -> Option<Box<str>> {
    let any = net::socket(AddressFamily::INET, SocketType::DGRAM, None).ok()?;
    netdevice::index_to_name(any, index).ok().map(String::into_boxed_str)
}

fn list_inet(
    diag: &mut Result<Diag, Error>,
    protocol: Protocol,
    family: InetFamily,
    visit: &mut dyn FnMut(OpenSocket),
    degraded: &mut dyn FnMut(Degradation),
) -> Result<(), Error> {
    let visited = Cell::new(false);
    let mut list = |socket: Option<&Socket>| {
        visited.set(true);
        // Nobody holds one without an inode.
        if let Some(socket) = socket.filter(|socket| socket.inode != 0) {
            visit(OpenSocket::of_inet(socket, family));
        }
    };
    let error = match diag {
        Ok(diag) => match diag.list(protocol, family, StateSet::ALL, &mut list) {
            Ok(()) => return Ok(()),
            Err(error) if visited.get() => return Err(error),
            Err(error) => error.to_string(),
        },
        Err(error) => error.to_string(),
    };
    degraded(Degradation {
        feature: "sockets over netlink".to_owned(),
        reason: error,
        consequence: "read from /proc/net instead, which tells neither bytes nor round trip times"
            .to_owned(),
    });
    proc_net::list(protocol, family, StateSet::ALL, list)
}

fn missing(what: &str, error: &Error) -> Degradation {
    Degradation {
        feature: format!("a list of {what}"),
        reason: error.to_string(),
        consequence: "those that were not listed are shown without their ends".to_owned(),
    }
}

/// What comes before the first NUL.
pub(super) fn bytes_until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}
