//! UDP sockets with and without a peer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use anyhow::{Context, Result};

use crate::{hold, server::above};

pub(crate) fn hold_connected(to: SocketAddr, count: usize) -> Result<()> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let open = |_| {
        let socket = UdpSocket::bind((any, 0)).context("binding any port")?;
        socket.connect(to).with_context(|| format!("connecting to {to}"))?;
        Ok(socket)
    };
    hold_all((0..count).map(open).collect::<Result<_>>()?)
}

pub(crate) fn hold_unconnected(listen: SocketAddr, count: u16) -> Result<()> {
    let open = |index| {
        let address = if listen.port() == 0 { listen } else { above(listen, index)? };
        UdpSocket::bind(address).with_context(|| format!("binding {address}"))
    };
    hold_all((0..count).map(open).collect::<Result<_>>()?)
}

fn hold_all(sockets: Vec<UdpSocket>) -> Result<()> {
    hold::ready()?;
    hold::until_stdin_closes();
    drop(sockets);
    Ok(())
}
