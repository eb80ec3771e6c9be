//! Datagrams that come from name servers.

use std::{
    io,
    os::fd::AsRawFd,
    sync::{Mutex, PoisonError},
};

use nix::sys::socket::{MsgFlags, recv};
use tokio::{io::Interest, net::UdpSocket};

/// Where datagrams of any length are received into, one after the other: a buffer for each question
/// would cost more than the question.
#[derive(Debug, Default)]
pub(super) struct Datagrams {
    buffer: Mutex<Vec<u8>>,
}

impl Datagrams {
    /// Waits for a datagram, which is given to `take` as it came, or for what the network says
    /// against the socket. Returns its length.
    pub(super) async fn receive(
        &self,
        socket: &UdpSocket,
        mut take: impl FnMut(&[u8]),
    ) -> io::Result<usize> {
        let read = || {
            let mut buffer = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
            buffer.resize(usize::from(u16::MAX), 0);
            let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            take(buffer.get(..length).unwrap_or_default());
            Ok(length)
        };
        socket.async_io(Interest::READABLE | Interest::ERROR, read).await
    }
}
