//! Sockets: made, bound, and asked what the kernel knows of them.

mod information;

use std::{
    io::{self, IoSlice},
    net::{IpAddr, SocketAddr},
    os::fd::AsFd,
};

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

pub(crate) use self::information::tcp_information;
use crate::{record::IcmpCause, settings::TcpKeepAlive};

/// How sockets are made.
#[derive(Debug, Clone, Default)]
pub(crate) struct SocketOptions {
    pub(crate) source_ip: Option<IpAddr>,
    pub(crate) interface: Option<String>,
    pub(crate) keep_alive: TcpKeepAlive,
}

impl SocketOptions {
    /// Whether a socket that is bound to our address can reach the other one.
    pub(crate) fn suits(&self, address: IpAddr) -> bool {
        self.source_ip.is_none_or(|source| source.is_ipv4() == address.is_ipv4())
    }

    fn prepare(&self, socket: &Socket, bind: bool) -> io::Result<()> {
        if let Some(interface) = &self.interface {
            socket.bind_device(Some(interface.as_bytes()))?;
        }
        if let Some(source) = self.source_ip.filter(|_| bind) {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        Ok(())
    }
}

/// A TCP socket that is not bound yet.
pub(crate) fn tcp(address: SocketAddr) -> io::Result<Socket> {
    let socket =
        Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    receive_errors(&socket, address);
    Ok(socket)
}

/// Binds a TCP socket and begins to connect it. What is returned is connected once it can be
/// written to.
pub(crate) fn begin_connect(
    socket: Socket,
    address: SocketAddr,
    options: &SocketOptions,
) -> (io::Result<()>, Socket) {
    let result = options.prepare(&socket, true).and_then(|()| {
        socket.set_tcp_nodelay(true)?;
        let every = match options.keep_alive {
            TcpKeepAlive::Usual => Some(std::time::Duration::from_secs(15)),
            TcpKeepAlive::Off => None,
            TcpKeepAlive::Every(time) => Some(time),
        };
        if let Some(every) = every {
            socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(every).with_interval(every))?;
        }
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() == Some(nix::libc::EINPROGRESS) => Ok(()),
            result => result,
        }
    });
    (result, socket)
}

/// Sends without asking the runtime whether the socket takes it: of one that was just connected it does
/// not know that before its next turn. Nothing where that has to be waited for.
pub(crate) fn send_now(socket: &impl AsFd, buffers: &[IoSlice<'_>]) -> Option<io::Result<usize>> {
    match SockRef::from(socket).send_vectored_with_flags(buffers, nix::libc::MSG_NOSIGNAL) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        result => Some(result),
    }
}

/// A UDP socket that is connected to a name server.
pub(crate) fn udp(address: SocketAddr, options: &SocketOptions) -> io::Result<std::net::UdpSocket> {
    let socket =
        Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    options.prepare(&socket, !address.ip().is_loopback())?;
    receive_errors(&socket, address);
    socket.connect(&address.into())?;
    Ok(socket.into())
}

/// A UDP socket that is connected to a server, and hears what the network says against it.
#[cfg(feature = "http3")]
pub(crate) fn quic(
    address: SocketAddr,
    options: &SocketOptions,
) -> io::Result<std::net::UdpSocket> {
    let socket =
        Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    receive_errors(&socket, address);
    options.prepare(&socket, true)?;
    socket.connect(&address.into())?;
    Ok(socket.into())
}

/// Our end of a socket; nothing where the kernel never bound it.
pub(crate) fn local_address(socket: &Socket) -> Option<SocketAddr> {
    socket.local_addr().ok()?.as_socket().filter(|address| address.port() != 0)
}

/// Whether a cause may pass, so that one goes on waiting (RFC 1122, section 4.2.3.9): without
/// `IP_RECVERR` the kernel tells a UDP socket nothing of it.
pub(crate) fn may_pass(cause: &IcmpCause, address: SocketAddr) -> bool {
    match (address, cause.icmp_type, cause.icmp_code) {
        (SocketAddr::V4(_), Some(3), Some(code)) => matches!(code, 0 | 1 | 4 | 11 | 12),
        (SocketAddr::V4(_), Some(icmp_type), _) => icmp_type == 11,
        (SocketAddr::V6(_), Some(1), Some(code)) => matches!(code, 0 | 2 | 3),
        (SocketAddr::V6(_), Some(icmp_type), _) => matches!(icmp_type, 2 | 3),
        (_, None, _) => false,
    }
}

/// Has the kernel keep what the network says against a connection.
fn receive_errors(socket: &Socket, address: SocketAddr) {
    use nix::sys::socket::{setsockopt, sockopt};
    // Without it, a failure is told without its cause.
    let _ = match address {
        SocketAddr::V4(_) => setsockopt(socket, sockopt::Ipv4RecvErr, &true),
        SocketAddr::V6(_) => setsockopt(socket, sockopt::Ipv6RecvErr, &true),
    };
}

/// Has the kernel keep it no more, and forget what it has.
#[cfg(feature = "http3")]
pub(crate) fn forget_errors(socket: &impl AsFd, address: SocketAddr) {
    use nix::sys::socket::{setsockopt, sockopt};
    // Where that cannot be, it takes some room of what is received.
    let _ = match address {
        SocketAddr::V4(_) => setsockopt(socket, sockopt::Ipv4RecvErr, &false),
        SocketAddr::V6(_) => setsockopt(socket, sockopt::Ipv6RecvErr, &false),
    };
}

/// What the network said against a connection that failed (`ip(7)`, `IP_RECVERR`).
pub(crate) fn cause(socket: &impl std::os::fd::AsRawFd) -> Option<IcmpCause> {
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};
    let mut space = nix::cmsg_space!([u8; 128]);
    let mut data = [0; 64];
    let mut buffers = [io::IoSliceMut::new(&mut data)];
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let message =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut buffers, Some(&mut space), flags)
            .ok()?;
    message.cmsgs().ok()?.find_map(|control| match control {
        ControlMessageOwned::Ipv4RecvErr(error, from) => Some(icmp_cause(
            error.ee_origin,
            error.ee_type,
            error.ee_code,
            from.map(|from| IpAddr::from(u32::from_be(from.sin_addr.s_addr).to_be_bytes())),
        )),
        ControlMessageOwned::Ipv6RecvErr(error, from) => Some(icmp_cause(
            error.ee_origin,
            error.ee_type,
            error.ee_code,
            from.map(|from| IpAddr::from(from.sin6_addr.s6_addr)),
        )),
        _ => None,
    })
}

/// `SO_EE_ORIGIN_*` of `linux/errqueue.h`.
const LOCAL: u8 = 1;
const ICMP: u8 = 2;
const ICMP6: u8 = 3;

fn icmp_cause(origin: u8, kind: u8, code: u8, from: Option<IpAddr>) -> IcmpCause {
    let meaning = match (origin, kind, code) {
        (LOCAL, ..) => "our own host refused to send",
        (ICMP, 3, 0) | (ICMP6, 1, 0) => "no route to the network",
        (ICMP, 3, 1) | (ICMP6, 1, 3) => "the host does not answer on its link",
        (ICMP, 3, 2) => "the protocol is not spoken there",
        (ICMP, 3, 3) | (ICMP6, 1, 4) => "nobody listens on the port",
        (ICMP, 3, 4) | (ICMP6, 2, _) => "the packet is too big for a link on the way",
        (ICMP, 3, 9 | 10 | 13) | (ICMP6, 1, 1) => "a filter on the way forbids it",
        (ICMP, 3, 6 | 7) => "the destination is unknown",
        (ICMP, 11, _) | (ICMP6, 3, _) => "the packet went on for too long, perhaps in a circle",
        (ICMP6, 1, 2) => "the destination is beyond the reach of our address",
        (ICMP6, 1, 5) => "our address is not allowed on the way",
        (ICMP6, 1, 6) => "the route there rejects packets",
        _ => "something on the way refused",
    };
    let from_network = origin == ICMP || origin == ICMP6;
    IcmpCause {
        from,
        icmp_type: from_network.then_some(kind),
        icmp_code: from_network.then_some(code),
        meaning: meaning.to_owned(),
    }
}
