//! What the kernel tells of its own accord, to whoever has joined a multicast group (netlink(7)).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::{
    io::Errno,
    net::{self, RecvFlags, netlink::SocketAddrNetlink, sockopt},
};

use super::{
    Family,
    message::{Message, Messages},
    open_socket,
};
use crate::Error;

/// The kernel writes an event into the memory of one page at most.
const BUFFER_LENGTH: usize = 8 * 1024;

/// How many datagrams are taken at one time: the kernel may write them faster than they are read.
const MAXIMUM_TAKEN: usize = 1 << 18;

/// What became of events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Losses {
    /// How often the kernel had no room for what it had to tell.
    pub(crate) overruns: u64,
    /// Datagrams that could not be understood.
    pub(crate) malformed: u64,
}

/// A netlink socket that waits for events of the network namespace in which it was opened.
#[derive(Debug)]
pub(crate) struct Events {
    socket: OwnedFd,
}

impl Events {
    /// Joins `groups`, each a bit of its own: the first group is the lowest bit. The kernel keeps
    /// what was not taken yet, up to `room` bytes of its own memory.
    pub(crate) fn open(
        family: Family,
        what: &'static str,
        groups: u32,
        room: usize,
    ) -> Result<Self, Error> {
        let error = |errno| Error::netlink(what, errno);
        let socket = open_socket(family).map_err(error)?;
        // Beyond the limit that others have; where that is not allowed, up to it.
        sockopt::set_socket_recv_buffer_size_force(&socket, room)
            .or_else(|_| sockopt::set_socket_recv_buffer_size(&socket, room))
            .map_err(error)?;
        net::bind(&socket, &SocketAddrNetlink::new(0, groups)).map_err(error)?;
        Ok(Self { socket })
    }

    /// Calls `visit` with each event that came since the last time.
    pub(crate) fn take(
        &self,
        what: &'static str,
        mut visit: impl FnMut(&Message<'_>),
    ) -> Result<Losses, Error> {
        let mut buffer = [0; BUFFER_LENGTH];
        let mut losses = Losses::default();
        for _ in 0..MAXIMUM_TAKEN {
            match net::recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT | RecvFlags::TRUNC) {
                Ok((_, length)) => {
                    losses.malformed += u64::from(!read(buffer.get(..length), &mut visit));
                }
                Err(Errno::INTR) => {}
                Err(Errno::NOBUFS) => losses.overruns += 1,
                Err(Errno::AGAIN) => break,
                Err(errno) => return Err(Error::netlink(what, errno)),
            }
        }
        Ok(losses)
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Visits the messages of one datagram; whether all of it could be read.
fn read(datagram: Option<&[u8]>, visit: &mut impl FnMut(&Message<'_>)) -> bool {
    let Some(datagram) = datagram else { return false };
    Messages::new(datagram).all(|message| {
        message.is_ok_and(|message| {
            visit(&message);
            true
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_is_read_as_far_as_it_goes() {
        let mut bytes = Vec::new();
        super::super::message::write_request(&mut bytes, 0x100, 0, 0, &[1, 2, 3, 4]);
        let mut kinds = Vec::new();
        assert!(read(Some(&bytes), &mut |message| kinds.push(message.kind)));
        assert!(!read(Some(&bytes[..10]), &mut |message| kinds.push(message.kind)));
        assert!(!read(None, &mut |message| kinds.push(message.kind)));
        assert_eq!(kinds, [0x100]);
    }
}
