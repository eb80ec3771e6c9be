//! Questions and answers over UDP, as in a look-up of a name.

use std::{
    convert::Infallible,
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustix::net::{
    RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, recvfrom, send, sendto,
    socket_with,
    sockopt::{Timeout, set_socket_timeout},
};

use crate::{hold, server};

const QUESTION: &[u8] = b"netglass?";
/// After so long the answer is lost: nobody would send the question again.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends each datagram back to where it came from, from one socket without a peer.
pub(crate) fn serve(address: SocketAddr) -> Result<()> {
    let socket = UdpSocket::bind(address).with_context(|| format!("binding {address}"))?;
    server::work_until_stdin_closes(move || echo(&socket))
}

fn echo(socket: &UdpSocket) -> Result<Infallible> {
    let mut datagram = vec![0; usize::from(u16::MAX)];
    loop {
        let (length, peer) = socket.recv_from(&mut datagram).context("waiting for a datagram")?;
        socket.send_to(&datagram[..length], peer).with_context(|| format!("answering {peer}"))?;
    }
}

/// Asks `count` times, each time from a new socket.
pub(crate) fn exchange(to: SocketAddr, count: usize, unconnected: bool) -> Result<()> {
    hold::ready()?;
    hold::until_told()?;
    for index in 0..count {
        ask(to, unconnected).with_context(|| format!("asking {to}, number {index} of {count}"))?;
    }
    hold::done(count)?;
    hold::until_stdin_closes();
    Ok(())
}

fn ask(to: SocketAddr, unconnected: bool) -> Result<()> {
    let family = server::family_of(to);
    let socket = socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
    let mut answer = [0; QUESTION.len() + 1];
    let (length, _) = if unconnected {
        sendto(&socket, QUESTION, SendFlags::empty(), &to)?;
        let (length, whole, _) = recvfrom(&socket, &mut answer, RecvFlags::empty())?;
        (length, whole)
    } else {
        connect(&socket, &to)?;
        send(&socket, QUESTION, SendFlags::empty())?;
        recv(&socket, &mut answer, RecvFlags::empty())?
    };
    ensure!(&answer[..length] == QUESTION, "the answer is another one");
    Ok(())
}
