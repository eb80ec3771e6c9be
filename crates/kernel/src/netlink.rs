//! Asking the kernel for lists over netlink (netlink(7), `linux/netlink.h`).

pub(crate) mod events;
pub mod message;

use std::{io, os::fd::OwnedFd, time::Duration};

use rustix::{
    io::Errno,
    net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, sockopt},
};

use self::message::{Malformed, Message, Messages};
use crate::Error;

/// The kernel puts at most 32 KiB into one datagram of a list (`netlink_dump` in
/// `net/netlink/af_netlink.c`).
const BUFFER_LENGTH: usize = 64 * 1024;

/// A list comes without waiting for anything, so an answer that stays out is cut.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_DUMP: u16 = 0x300;

/// A family of netlink requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// Sockets: `sock_diag(7)`.
    SockDiag,
    /// Links and addresses: rtnetlink(7).
    Route,
    /// Connection tracking: `linux/netfilter/nfnetlink.h`.
    Netfilter,
}

impl Family {
    const fn protocol(self) -> Option<net::Protocol> {
        match self {
            Self::SockDiag => Some(netlink::SOCK_DIAG),
            // NETLINK_ROUTE is protocol 0.
            Self::Route => None,
            Self::Netfilter => Some(netlink::NETFILTER),
        }
    }
}

/// Whether a list shows one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consistency {
    Consistent,
    /// The list changed while the kernel wrote it: entries may be missing or there twice.
    Interrupted,
}

fn open_socket(family: Family) -> Result<OwnedFd, Errno> {
    let (kind, flags) = (SocketType::RAW, SocketFlags::CLOEXEC);
    net::socket_with(AddressFamily::NETLINK, kind, flags, family.protocol())
}

/// A netlink socket of the network namespace of the thread that opened it.
#[derive(Debug)]
pub(crate) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
    request: Vec<u8>,
}

impl Netlink {
    /// Opens a socket; `what` says in an error what it is for.
    pub(crate) fn open(family: Family, what: &'static str) -> Result<Self, Error> {
        let error = |errno| Error::netlink(what, errno);
        let socket = open_socket(family).map_err(error)?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(ANSWER_TIMEOUT))
            .map_err(error)?;
        Ok(Self { socket, sequence: 0, buffer: vec![0; BUFFER_LENGTH], request: Vec::new() })
    }

    /// Asks for one thing and calls `visit` with each message of the answer, which is one datagram.
    pub(crate) fn ask(
        &mut self,
        what: &'static str,
        kind: u16,
        payload: &[u8],
        mut visit: impl FnMut(&Message<'_>),
    ) -> Result<(), Error> {
        self.send(what, kind, NLM_F_REQUEST, payload)?;
        let datagram = receive(&self.socket, &mut self.buffer, what)?;
        read_answer(datagram, self.sequence, &mut visit)
            .map_err(|failure| failure.into_error(what))?;
        Ok(())
    }

    /// Asks for the list `kind` and calls `visit` with each message of it.
    pub(crate) fn dump(
        &mut self,
        what: &'static str,
        kind: u16,
        payload: &[u8],
        mut visit: impl FnMut(&Message<'_>),
    ) -> Result<Consistency, Error> {
        self.send(what, kind, NLM_F_REQUEST | NLM_F_DUMP, payload)?;
        let mut consistency = Consistency::Consistent;
        loop {
            let datagram = receive(&self.socket, &mut self.buffer, what)?;
            let answer = read_answer(datagram, self.sequence, &mut visit)
                .map_err(|failure| failure.into_error(what))?;
            if answer.interrupted {
                consistency = Consistency::Interrupted;
            }
            if answer.done {
                return Ok(consistency);
            }
        }
    }

    fn send(
        &mut self,
        what: &'static str,
        kind: u16,
        flags: u16,
        payload: &[u8],
    ) -> Result<(), Error> {
        self.sequence = self.sequence.wrapping_add(1);
        message::write_request(&mut self.request, kind, flags, self.sequence, payload);
        net::send(&self.socket, &self.request, SendFlags::empty())
            .map_err(|errno| Error::netlink(what, errno))?;
        Ok(())
    }
}

fn receive<'a>(
    socket: &OwnedFd,
    buffer: &'a mut [u8],
    what: &'static str,
) -> Result<&'a [u8], Error> {
    let length = loop {
        match net::recv(socket, &mut *buffer, RecvFlags::TRUNC) {
            Ok((_, length)) => break length,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                return Err(Error::NetlinkCut { what, detail: "the kernel stopped answering" });
            }
            Err(errno) => return Err(Error::netlink(what, errno)),
        }
    };
    buffer.get(..length).ok_or(Error::NetlinkCut {
        what,
        detail: "a datagram is longer than any that the kernel writes",
    })
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Answer {
    done: bool,
    interrupted: bool,
}

#[derive(Debug)]
enum Failure {
    Refused(i32),
    Malformed(Malformed),
}

impl Failure {
    fn into_error(self, what: &'static str) -> Error {
        match self {
            Self::Refused(errno) => {
                Error::Netlink { what, source: io::Error::from_raw_os_error(errno) }
            }
            Self::Malformed(malformed) => Error::NetlinkCut { what, detail: malformed.detail() },
        }
    }
}

/// Visits the messages of one datagram that answer the request `sequence`.
fn read_answer(
    datagram: &[u8],
    sequence: u32,
    visit: &mut impl FnMut(&Message<'_>),
) -> Result<Answer, Failure> {
    let mut answer = Answer::default();
    for message in Messages::new(datagram) {
        let message = message.map_err(Failure::Malformed)?;
        if message.sequence != sequence {
            continue;
        }
        answer.interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
        match message.kind {
            // Both carry a negated errno first; of a list that ended well it is 0 or left out.
            NLMSG_DONE | NLMSG_ERROR => {
                if let Some(errno) = message.errno() {
                    return Err(Failure::Refused(errno));
                }
                answer.done = true;
                return Ok(answer);
            }
            _ => visit(&message),
        }
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INET_DIAG: u16 = 20;

    fn datagram(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        message::write_request(&mut bytes, kind, flags, sequence, payload);
        bytes
    }

    fn read(datagram: &[u8]) -> (Result<Answer, Failure>, usize) {
        let mut visited = 0;
        let answer = read_answer(datagram, 7, &mut |_| visited += 1);
        (answer, visited)
    }

    #[test]
    fn a_list_goes_on_until_it_is_done() {
        let mut bytes = datagram(INET_DIAG, 0, 7, &[0; 72]);
        let (answer, visited) = read(&bytes);
        assert_eq!((answer.unwrap(), visited), (Answer::default(), 1));

        bytes.extend(datagram(NLMSG_DONE, 0, 7, &0_i32.to_ne_bytes()));
        let (answer, visited) = read(&bytes);
        assert_eq!((answer.unwrap(), visited), (Answer { done: true, interrupted: false }, 1));
    }

    #[test]
    fn what_answers_an_earlier_request_is_passed_over() {
        let (answer, visited) = read(&datagram(NLMSG_DONE, 0, 6, &[]));
        assert_eq!((answer.unwrap(), visited), (Answer::default(), 0));
    }

    #[test]
    fn a_refusal_is_the_errno_that_the_kernel_gives() {
        for kind in [NLMSG_ERROR, NLMSG_DONE] {
            let (answer, _) = read(&datagram(kind, 0, 7, &(-2_i32).to_ne_bytes()));
            let error = answer.unwrap_err().into_error("sockets");
            assert_eq!(
                error.to_string(),
                "cannot read sockets over netlink: No such file or directory (os error 2)"
            );
        }
    }

    #[test]
    fn a_list_that_changed_meanwhile_says_so() {
        let (answer, _) = read(&datagram(NLMSG_DONE, NLM_F_DUMP_INTR, 7, &[]));
        assert!(answer.unwrap().interrupted);
    }

    #[test]
    fn a_message_that_is_cut_is_an_error() {
        let whole = datagram(INET_DIAG, 0, 7, &[0; 72]);
        for length in 1..whole.len() {
            let (answer, visited) = read(&whole[..length]);
            assert_eq!(visited, 0);
            let error = answer.unwrap_err().into_error("sockets").to_string();
            assert!(error.contains("the answer is cut"), "{error}");
        }
    }
}
