//! Clients that open many connections.

use std::{
    ffi::OsString,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::OwnedFd,
};

use anyhow::{Context, Result, ensure};
use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use rustix::net::{SendFlags, SocketFlags, SocketType, bind, connect, send, socket_with};

use crate::{
    Clients, family, hold,
    server::{above, family_of},
};

pub(crate) fn hold(clients: &Clients) -> Result<()> {
    check(clients)?;
    if clients.processes > 1 {
        let arguments = |process| arguments("hold-clients", clients, process);
        return family::hold((0..clients.processes).map(arguments).collect::<Result<Vec<_>>>()?);
    }
    let open = |index| open(clients, index);
    let connections = (0..clients.connections).map(open).collect::<Result<Vec<_>>>()?;
    hold::ready()?;
    hold::until_stdin_closes();
    drop(connections);
    Ok(())
}

/// Refuses what makes no sense.
pub(crate) fn check(clients: &Clients) -> Result<()> {
    ensure!(clients.processes > 0, "some process must open the connections");
    ensure!(clients.sources > 0, "connections need a source address");
    Ok(())
}

/// What the child number `process` is to do of the whole.
pub(crate) fn arguments(load: &str, clients: &Clients, process: u16) -> Result<Vec<OsString>> {
    let (process_count, number) = (usize::from(clients.processes), usize::from(process));
    let remainder = usize::from(number < clients.connections % process_count);
    let connections = clients.connections / process_count + remainder;
    let mut arguments = vec![
        load.to_owned(),
        format!("--to={}", above(clients.to, process)?),
        format!("--connections={connections}"),
        format!("--send={}", clients.send),
    ];
    if let Some(source) = clients.source {
        arguments.push(format!("--source={source}"));
        arguments.push(format!("--sources={}", clients.sources));
    }
    Ok(arguments.into_iter().map(OsString::from).collect())
}

/// Opens the connection number `index`.
pub(crate) fn open(clients: &Clients, index: usize) -> Result<OwnedFd> {
    connection(clients, index).with_context(|| {
        format!("opening connection {index} of {} to {}", clients.connections, clients.to)
    })
}

fn connection(clients: &Clients, index: usize) -> Result<OwnedFd> {
    let family = family_of(clients.to);
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    if let Some(base) = clients.source {
        // Without this, bind() takes a port that no other connection of the address may share, and
        // an address has no more than 64k connections, whatever they connect to.
        setsockopt(&socket, IpBindAddressNoPort, &true)?;
        let turn = u32::try_from(index % clients.sources as usize)?;
        let source = SocketAddr::new(add(base, turn), 0);
        bind(&socket, &source).with_context(|| format!("binding {source}"))?;
    }
    connect(&socket, &clients.to)?;
    let bytes = vec![b'.'; clients.send];
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        rest = &rest[send(&socket, rest, SendFlags::NOSIGNAL)?..];
    }
    Ok(socket)
}

fn add(base: IpAddr, steps: u32) -> IpAddr {
    match base {
        IpAddr::V4(base) => Ipv4Addr::from_bits(base.to_bits().wrapping_add(steps)).into(),
        IpAddr::V6(base) => {
            Ipv6Addr::from_bits(base.to_bits().wrapping_add(u128::from(steps))).into()
        }
    }
}
