//! System calls about sockets, one by one.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::{IpProtocol, NamespaceInode, Timestamp};

macro_rules! call_names {
    ($($variant:ident $name:literal),+ $(,)?) => {
        /// A system call that is followed, or an operation of `io_uring`; its name is the kernel's.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs, reason = "each is the system call of its name")]
        pub enum CallName {
            $($variant),+
        }

        impl CallName {
            /// Every one, in the order of the kernel programs' numbers, which begin with 1.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The kernel's name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),+
                }
            }
        }
    };
}

call_names! {
    Socket "socket",
    Socketpair "socketpair",
    Bind "bind",
    Listen "listen",
    Connect "connect",
    Accept "accept",
    Accept4 "accept4",
    Getsockopt "getsockopt",
    Shutdown "shutdown",
    Close "close",
    Read "read",
    Readv "readv",
    Pread64 "pread64",
    Preadv "preadv",
    Preadv2 "preadv2",
    Write "write",
    Writev "writev",
    Pwrite64 "pwrite64",
    Pwritev "pwritev",
    Pwritev2 "pwritev2",
    Sendto "sendto",
    Sendmsg "sendmsg",
    Sendmmsg "sendmmsg",
    Recvfrom "recvfrom",
    Recvmsg "recvmsg",
    Recvmmsg "recvmmsg",
    Sendfile "sendfile",
    Splice "splice",
    Tee "tee",
    Dup "dup",
    Dup2 "dup2",
    Dup3 "dup3",
    Fcntl "fcntl",
    Poll "poll",
    Ppoll "ppoll",
    Select "select",
    Pselect6 "pselect6",
    EpollWait "epoll_wait",
    EpollPwait "epoll_pwait",
    EpollPwait2 "epoll_pwait2",
    UringReadv "io_uring:readv",
    UringWritev "io_uring:writev",
    UringReadFixed "io_uring:read_fixed",
    UringWriteFixed "io_uring:write_fixed",
    UringSendmsg "io_uring:sendmsg",
    UringRecvmsg "io_uring:recvmsg",
    UringAccept "io_uring:accept",
    UringConnect "io_uring:connect",
    UringRead "io_uring:read",
    UringWrite "io_uring:write",
    UringSend "io_uring:send",
    UringRecv "io_uring:recv",
    UringSplice "io_uring:splice",
    UringShutdown "io_uring:shutdown",
    UringSocket "io_uring:socket",
    UringSendZc "io_uring:send_zc",
    UringSendmsgZc "io_uring:sendmsg_zc",
    UringBind "io_uring:bind",
    UringListen "io_uring:listen",
}

/// Which way data goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transfer {
    /// Out of the process.
    Send,
    /// Into the process.
    Receive,
}

impl CallName {
    /// The call of that name; `send` and `recv`, which are no system calls of their own, are
    /// `sendto` and `recvfrom`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "send" => Some(Self::Sendto),
            "recv" => Some(Self::Recvfrom),
            "sendfile64" => Some(Self::Sendfile),
            _ => Self::ALL.iter().copied().find(|call| call.name() == name),
        }
    }

    /// Whether it waits for several descriptors at once.
    #[must_use]
    pub const fn waits(self) -> bool {
        matches!(
            self,
            Self::Poll
                | Self::Ppoll
                | Self::Select
                | Self::Pselect6
                | Self::EpollWait
                | Self::EpollPwait
                | Self::EpollPwait2
        )
    }

    /// Whether it is an operation of `io_uring` rather than a system call.
    #[must_use]
    pub fn is_of_uring(self) -> bool {
        self >= Self::UringReadv
    }

    /// Which way data goes, where any does; of calls between two descriptors it depends on which of
    /// them is the socket.
    #[must_use]
    pub const fn transfer(self) -> Option<Transfer> {
        match self {
            Self::Write
            | Self::Writev
            | Self::Pwrite64
            | Self::Pwritev
            | Self::Pwritev2
            | Self::Sendto
            | Self::Sendmsg
            | Self::Sendmmsg
            | Self::UringWritev
            | Self::UringWriteFixed
            | Self::UringSendmsg
            | Self::UringWrite
            | Self::UringSend
            | Self::UringSendZc
            | Self::UringSendmsgZc => Some(Transfer::Send),
            Self::Read
            | Self::Readv
            | Self::Pread64
            | Self::Preadv
            | Self::Preadv2
            | Self::Recvfrom
            | Self::Recvmsg
            | Self::Recvmmsg
            | Self::UringReadv
            | Self::UringReadFixed
            | Self::UringRecvmsg
            | Self::UringRead
            | Self::UringRecv => Some(Transfer::Receive),
            _ => None,
        }
    }

    /// Whether its result is a descriptor.
    #[must_use]
    pub const fn makes_descriptor(self) -> bool {
        matches!(
            self,
            Self::Socket
                | Self::Accept
                | Self::Accept4
                | Self::Dup
                | Self::Dup2
                | Self::Dup3
                | Self::Fcntl
                | Self::UringAccept
                | Self::UringSocket
        )
    }
}

impl fmt::Display for CallName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `task_struct.comm`: the bytes of a process's name up to the first NUL, at most 15.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CommandName([u8; 16]);

impl CommandName {
    /// The name that stands at the beginning of these bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        const FIRST_BITS: u128 = u128::from_ne_bytes([0x01; 16]);
        const LAST_BITS: u128 = u128::from_ne_bytes([0x80; 16]);
        let mut name = [0; 16];
        let length = bytes.len().min(15);
        name[..length].copy_from_slice(&bytes[..length]);
        // All at once: the first bit that this leaves is that of the first NUL, and there is one.
        let all = u128::from_le_bytes(name);
        let nul = all.wrapping_sub(FIRST_BITS) & !all & LAST_BITS;
        let kept = (1 << (nul.trailing_zeros() / 8 * 8)) - 1;
        Self((all & kept).to_le_bytes())
    }

    /// Without what follows.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.split(|&byte| byte == 0).next().unwrap_or_default()
    }

    /// With what follows, which is NULs.
    #[must_use]
    pub const fn padded(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for CommandName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&crate::text_from_bytes(self.as_bytes()), f)
    }
}

/// The path that a Unix socket is bound to (unix(7)), or its abstract name behind a NUL; nothing of a
/// socket that has none.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct SocketPath(Vec<u8>);

impl SocketPath {
    /// `sizeof(sun_path)`.
    pub const MOST: usize = 108;
    /// That of a socket that has none.
    pub const NONE: Self = Self(Vec::new());

    /// Of as many bytes as there can be.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.get(..Self::MOST).unwrap_or(bytes).to_vec())
    }

    /// As people are shown it: up to the first NUL, or, of an abstract name, with `@` for each.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        match &self.0[..] {
            [] => None,
            bytes @ [0, ..] => Some(crate::text_from_bytes(bytes).replace('\0', "@")),
            path => {
                let path = path.split(|&byte| byte == 0).next().unwrap_or_default();
                Some(crate::text_from_bytes(path))
            }
        }
    }
}

impl fmt::Debug for SocketPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text(), f)
    }
}

/// How far a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallPhase {
    /// It begins.
    Entered,
    /// It began long ago and has not returned.
    Pending,
    /// It has returned.
    Returned,
}

impl CallPhase {
    /// The number of the error that a call in this phase ended with, if that is what it returned.
    #[must_use]
    pub fn error(self, result: i64) -> Option<u32> {
        let has_failed = self == Self::Returned && result < 0;
        has_failed.then(|| u32::try_from(result.unsigned_abs()).ok()).flatten()
    }
}

/// Who made a call. Ids are those of the pid and user namespaces in which Netglass runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Caller {
    /// Process (thread group) id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// Parent's process id.
    pub ppid: u32,
    /// Real user id.
    pub uid: u32,
    /// The process's name, which is that of its first thread.
    pub comm: CommandName,
    /// The parent's.
    pub parent_comm: CommandName,
}

/// What a call was about, as the kernel's socket has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallConnection {
    /// Address family, `AF_…`.
    pub family: u16,
    /// The socket's protocol: of IP sockets the number in IP's header.
    pub protocol: u16,
    /// Socket type, `SOCK_…`.
    pub socket_type: u16,
    /// The socket's state, `TCP_…`, also of sockets that are not of TCP.
    pub state: u8,
    /// Local address and port of an IP socket; 0 is any.
    pub local: Option<SocketAddr>,
    /// Remote address and port of a connected IP socket.
    pub remote: Option<SocketAddr>,
    /// Its network namespace.
    pub namespace: NamespaceInode,
    /// The socket's cookie, if somebody asked the kernel to give it one.
    pub cookie: Option<u64>,
}

/// A system call about a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Which one.
    pub name: CallName,
    /// How far it is.
    pub phase: CallPhase,
    /// When it was in that phase: of a call that has returned, when it did.
    pub at: Timestamp,
    /// For how long it ran or has run; none where it began before it was watched.
    pub duration: Option<Duration>,
    /// What it returned: a negative number is that of an error (`errno`).
    pub result: i64,
    /// How many bytes it was to send or receive at most; none where it does neither, or does not
    /// say.
    pub length: Option<u64>,
    /// How many bytes went through.
    pub transferred: Option<u64>,
    /// The descriptor that it was called with; of a call that makes a socket, the socket's.
    pub fd: Option<i32>,
    /// Who called.
    pub caller: Caller,
    /// The socket's family where there is no socket: one that could not be made.
    pub family: Option<u16>,
    /// The connection; none where several descriptors are waited for, or where the descriptor was
    /// closed meanwhile.
    pub connection: Option<CallConnection>,
    /// Of a Unix socket: what it is bound to, and what its peer is bound to; not known of `close`, nor
    /// of calls that are pending.
    pub paths: [SocketPath; 2],
    /// The address that the caller named, or was given.
    pub address: Option<SocketAddr>,
    /// What else it was given: of `socket` and `socketpair` type and protocol, of `listen` the
    /// backlog, of `shutdown` how, of vectors and messages how many, of `getsockopt` the error, of
    /// `sendto` and `recvfrom` the flags, of `sendfile`, `splice` and `tee` descriptors.
    pub details: [u32; 2],
}

impl Call {
    /// The number of the error that it ended with.
    #[must_use]
    pub fn error(&self) -> Option<u32> {
        self.phase.error(self.result)
    }

    /// The family of what it was about, as far as it is known.
    #[must_use]
    pub fn family(&self) -> Option<u16> {
        self.connection.map(|connection| connection.family).or(self.family)
    }

    /// Which way data goes.
    #[must_use]
    pub fn transfer(&self) -> Option<Transfer> {
        match self.name {
            // The first of the details is the descriptor that it takes from.
            CallName::Splice | CallName::Sendfile | CallName::Tee => {
                let is_taken_from =
                    self.fd.is_some_and(|fd| u32::try_from(fd) == Ok(self.details[0]));
                Some(if is_taken_from { Transfer::Receive } else { Transfer::Send })
            }
            name => name.transfer(),
        }
    }

    /// The remote end: the socket's, or, where it has none, what the call named.
    #[must_use]
    pub fn remote(&self) -> Option<SocketAddr> {
        // An attempt that failed leaves the address behind, without its port.
        let is_one = |connection: &CallConnection| {
            connection.protocol != u16::from(IpProtocol::TCP.0)
                || connection.remote.is_some_and(|remote| remote.port() != 0)
        };
        let connected = self.connection.filter(is_one).and_then(|connection| connection.remote);
        connected.or(match self.name {
            CallName::Bind => None,
            _ => self.address,
        })
    }
}

/// An address of 16 bytes, where one of IPv4 is mapped into IPv6.
#[must_use]
pub fn unmapped_address(bytes: [u8; 16]) -> IpAddr {
    IpAddr::from(bytes).to_canonical()
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn a_name_is_what_stands_before_its_first_nul(bytes in vec(0..4_u8, 0..20)) {
            let name = CommandName::new(&bytes);
            let expected: Vec<u8> =
                bytes.iter().copied().take(15).take_while(|&byte| byte != 0).collect();
            prop_assert_eq!(name.as_bytes(), &expected[..]);
            prop_assert!(name.padded()[expected.len()..].iter().all(|&byte| byte == 0));
        }
    }

    #[test]
    fn calls_are_found_by_name() {
        for &call in CallName::ALL {
            assert_eq!(CallName::from_name(call.name()), Some(call));
        }
        assert_eq!(CallName::from_name("send"), Some(CallName::Sendto));
        assert_eq!(CallName::from_name("open"), None);
        assert!(CallName::ALL.iter().all(|it| it.is_of_uring() == it.name().contains(':')));
    }

    #[test]
    fn a_path_ends_at_its_nul_and_an_abstract_name_with_its_bytes() {
        let text = |bytes: &[u8]| SocketPath::new(bytes).text();
        assert_eq!(text(b"/run/a.sock\0"), Some("/run/a.sock".to_owned()));
        assert_eq!(text(b"\0name\0x"), Some("@name@x".to_owned()));
        assert_eq!(text(b""), None);
        assert_eq!(text(&[b'a'; 200]), Some("a".repeat(SocketPath::MOST)));
    }

    #[test]
    fn a_name_ends_at_its_first_nul_or_after_15_bytes() {
        assert_eq!(CommandName::new(b"nginx\0rest").as_bytes(), b"nginx");
        assert_eq!(CommandName::new(b"more than fifteen").as_bytes(), b"more than fifte");
        assert_eq!(CommandName::new(b"").padded(), &[0; 16]);
    }
}
