//! Sockets as the kernel lists them.

mod diag;
pub mod diag_message;
mod netlink;
mod open;
mod packet;
pub mod proc_net;
mod unix;
mod vsock;

use std::net::IpAddr;

use netglass_model::Protocol;

pub use self::open::{OpenSocket, SocketName};
pub(crate) use self::{
    diag::{Diag, InetFamily},
    open::list_open,
};

/// The state of a socket (`include/net/tcp_states.h`); UDP knows only [`SocketState::Established`]
/// for a connected and [`SocketState::Close`] for an unconnected one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "RFC 9293, section 3.3.2, has the meaning of each")]
pub enum SocketState {
    Established = 1,
    SynSent = 2,
    SynReceived = 3,
    FinWait1 = 4,
    FinWait2 = 5,
    TimeWait = 6,
    Close = 7,
    CloseWait = 8,
    LastAck = 9,
    Listen = 10,
    Closing = 11,
}

impl SocketState {
    /// The state of a number in the kernel's lists.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Established,
            2 => Self::SynSent,
            // 12 is TCP_NEW_SYN_RECV: a request that has no whole socket yet.
            3 | 12 => Self::SynReceived,
            4 => Self::FinWait1,
            5 => Self::FinWait2,
            6 => Self::TimeWait,
            7 => Self::Close,
            8 => Self::CloseWait,
            9 => Self::LastAck,
            10 => Self::Listen,
            11 => Self::Closing,
            _ => return None,
        })
    }

    /// Its name in RFC 9293, as the kernel writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Established => "ESTABLISHED",
            Self::SynSent => "SYN_SENT",
            Self::SynReceived => "SYN_RECEIVED",
            Self::FinWait1 => "FIN_WAIT_1",
            Self::FinWait2 => "FIN_WAIT_2",
            Self::TimeWait => "TIME_WAIT",
            Self::Close => "CLOSE",
            Self::CloseWait => "CLOSE_WAIT",
            Self::LastAck => "LAST_ACK",
            Self::Listen => "LISTEN",
            Self::Closing => "CLOSING",
        }
    }

    /// Whether the connection is still being opened.
    #[must_use]
    pub const fn is_half_open(self) -> bool {
        matches!(self, Self::SynSent | Self::SynReceived)
    }
}

/// A set of socket states, as a request names it: one bit for each state's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StateSet(u32);

impl StateSet {
    /// TCP sockets that wait for peers.
    pub(crate) const LISTENING: Self = Self(1 << SocketState::Listen as u8);
    /// UDP sockets that take datagrams from anyone.
    pub(crate) const UNCONNECTED: Self = Self(1 << SocketState::Close as u8);
    /// Sockets with a peer: all states but those two, `TCP_NEW_SYN_RECV` (12) among them.
    pub(crate) const CONNECTED: Self = Self(0x1ffe & !(Self::LISTENING.0 | Self::UNCONNECTED.0));

    /// Sockets in any state.
    pub(crate) const ALL: Self = Self(0x1ffe);

    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

    pub(crate) const fn contains(self, state: SocketState) -> bool {
        self.0 & (1 << state as u8) != 0
    }
}

/// What `struct tcp_info` (`linux/tcp.h`) tells of the traffic of a socket since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TcpTraffic {
    /// Smoothed round trip time in microseconds; 0 while there is none.
    pub rtt_us: u32,
    /// Segments sent again.
    pub retransmits: u32,
    /// Payload bytes sent, without retransmissions.
    pub bytes_sent: u64,
    /// Payload bytes received.
    pub bytes_received: u64,
    /// Segments sent, with and without payload; modulo 2³², 0 where the kernel does not count them.
    pub segments_sent: u32,
    /// Segments received, with and without payload; modulo 2³², 0 where the kernel does not count
    /// them.
    pub segments_received: u32,
}

/// What waits in a socket. Of one of TCP that listens, connections: those that nobody has accepted,
/// and how many may wait so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Queues {
    /// Bytes that the program has not read.
    pub receive: u32,
    /// Bytes that the peer has not acknowledged, or that are not sent.
    pub send: u32,
}

/// A socket as the kernel lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Socket {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Its state.
    pub state: SocketState,
    /// The local address, in its canonical family.
    pub local_address: IpAddr,
    /// The local port.
    pub local_port: u16,
    /// The peer's address, in its canonical family; the wildcard where there is no peer.
    pub peer_address: IpAddr,
    /// The peer's port; 0 where there is no peer.
    pub peer_port: u16,
    /// The inode of the file that processes hold; 0 where no process does or can hold it
    /// (`TIME_WAIT`, not yet accepted, orphaned).
    pub inode: u32,
    /// What tells this socket from every other one of its network namespace, at any time.
    pub cookie: u64,
    /// An IPv6 wildcard socket that takes no IPv4 peers (`IPV6_V6ONLY`).
    pub only_v6: bool,
    /// What waits in it.
    pub queues: Queues,
    /// Its traffic, where the kernel tells.
    pub traffic: Option<TcpTraffic>,
}
