//! Connections that never come about.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use rustix::{
    io::Errno,
    net::{SocketFlags, SocketType, connect, socket_with},
};

use crate::{hold, server::family_of};

pub(crate) fn hold(to: SocketAddr, count: usize) -> Result<()> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let begin = |_| {
        let socket = socket_with(family_of(to), SocketType::STREAM, flags, None)?;
        match connect(&socket, &to) {
            Err(Errno::INPROGRESS) => Ok(socket),
            Err(error) => Err(error).with_context(|| format!("connecting to {to}")),
            Ok(()) => bail!("{to} answered at once"),
        }
    };
    let attempts = (0..count).map(begin).collect::<Result<Vec<_>>>()?;
    hold::ready()?;
    hold::until_stdin_closes();
    drop(attempts);
    Ok(())
}
