//! Servers that accept connections and keep them.

use std::{
    io::{self, Write},
    net::SocketAddr,
    process, thread,
};

use anyhow::{Context, Result};
use rustix::{
    io::Errno,
    net::{
        AddressFamily, SocketFlags, SocketType, accept_with, bind, listen, socket_with, sockopt,
    },
};

use crate::{family, hold};

/// As many connections may wait to be accepted as the kernel allows (`net.core.somaxconn`).
const BACKLOG: i32 = i32::MAX;

pub(crate) fn hold(address: SocketAddr, processes: u16) -> Result<()> {
    if processes == 1 {
        return hold_one(address);
    }
    let arguments = |process| -> Result<_> {
        let address = above(address, process)?;
        Ok(["hold-server".into(), "--listen".into(), address.to_string().into()].to_vec())
    };
    family::hold((0..processes).map(arguments).collect::<Result<Vec<_>>>()?)
}

/// The address with a port that is higher by `steps`.
pub(crate) fn above(mut address: SocketAddr, steps: u16) -> Result<SocketAddr> {
    let port = address.port().checked_add(steps).context("there are no ports above 65535")?;
    address.set_port(port);
    Ok(address)
}

fn hold_one(address: SocketAddr) -> Result<()> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address).with_context(|| format!("binding {address}"))?;
    listen(&socket, BACKLOG).with_context(|| format!("listening on {address}"))?;
    thread::spawn(move || {
        let mut connections = Vec::new();
        loop {
            match accept_with(&socket, SocketFlags::CLOEXEC) {
                Ok(connection) => connections.push(connection),
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(error) => {
                    let count = connections.len();
                    let _ = writeln!(
                        io::stderr(),
                        "netglass-load: accepting on {address} after {count} connections: {error}"
                    );
                    process::exit(1);
                }
            }
        }
    });
    hold::ready()?;
    hold::until_stdin_closes();
    Ok(())
}
