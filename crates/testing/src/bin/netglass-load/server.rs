//! Servers: what they have in common, and those that accept connections and keep them.

use std::{
    convert::Infallible,
    ffi::OsString,
    io::{self, Write},
    net::SocketAddr,
    os::fd::OwnedFd,
    process, thread,
};

use anyhow::{Context, Result, ensure};
use rustix::{
    io::Errno,
    net::{
        AddressFamily, SocketFlags, SocketType, accept_with, bind, listen, socket_with, sockopt,
    },
};

use crate::{family, hold};

/// As many connections may wait to be accepted as the kernel allows (`net.core.somaxconn`).
const BACKLOG: i32 = i32::MAX;

/// Accepts connections and keeps them.
pub(crate) fn hold(address: SocketAddr, processes: u16) -> Result<()> {
    in_processes(address, processes, &["hold-server"], accept_and_keep)
}

/// Does `work` with the listening socket of `address`, or starts this program with `arguments` for
/// each of several processes, which listen on ports one above the other. It is held until standard
/// input closes.
pub(crate) fn in_processes(
    address: SocketAddr,
    processes: u16,
    arguments: &[&str],
    work: impl FnOnce(&OwnedFd) -> Result<Infallible> + Send + 'static,
) -> Result<()> {
    ensure!(processes > 0, "some process must listen");
    if processes > 1 {
        let arguments = |process| -> Result<Vec<OsString>> {
            let listen = format!("--listen={}", above(address, process)?);
            Ok(arguments.iter().copied().chain([listen.as_str()]).map(OsString::from).collect())
        };
        return family::hold((0..processes).map(arguments).collect::<Result<Vec<_>>>()?);
    }
    let socket = listen_on(address)?;
    work_until_stdin_closes(move || work(&socket).with_context(|| format!("serving {address}")))
}

/// Does what does not end by itself; if it fails, so does this process.
pub(crate) fn work_until_stdin_closes(
    work: impl FnOnce() -> Result<Infallible> + Send + 'static,
) -> Result<()> {
    thread::spawn(move || {
        let Err(error) = work();
        let _ = writeln!(io::stderr(), "netglass-load: {error:#}");
        process::exit(1);
    });
    hold::ready()?;
    hold::until_stdin_closes();
    Ok(())
}

/// The address with a port that is higher by `steps`.
pub(crate) fn above(mut address: SocketAddr, steps: u16) -> Result<SocketAddr> {
    let port = address.port().checked_add(steps).context("there are no ports above 65535")?;
    address.set_port(port);
    Ok(address)
}

/// A listening socket.
pub(crate) fn listen_on(address: SocketAddr) -> Result<OwnedFd> {
    let socket = socket_with(family_of(address), SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address).with_context(|| format!("binding {address}"))?;
    listen(&socket, BACKLOG).with_context(|| format!("listening on {address}"))?;
    Ok(socket)
}

/// The address family of an address.
pub(crate) fn family_of(address: SocketAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 }
}

fn accept_and_keep(socket: &OwnedFd) -> Result<Infallible> {
    let mut connections = Vec::new();
    loop {
        match accept_with(socket, SocketFlags::CLOEXEC) {
            Ok(connection) => connections.push(connection),
            Err(Errno::INTR | Errno::CONNABORTED) => {}
            Err(error) => {
                let count = connections.len();
                return Err(error).with_context(|| format!("accepting after {count} connections"));
            }
        }
    }
}
