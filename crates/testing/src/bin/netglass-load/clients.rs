//! Clients that open many connections.

use std::{
    ffi::OsString,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::OwnedFd,
};

use anyhow::{Context, Result, ensure};
use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use rustix::net::{
    AddressFamily, SendFlags, SocketFlags, SocketType, bind, connect, send, socket_with,
};

use crate::{Clients, family, hold, server::above};

pub(crate) fn hold(clients: &Clients) -> Result<()> {
    ensure!(clients.processes > 0, "some process must open the connections");
    ensure!(clients.sources > 0, "connections need a source address");
    if clients.processes > 1 {
        let children = (0..clients.processes).map(|process| arguments(clients, process));
        return family::hold(children.collect::<Result<Vec<_>>>()?);
    }
    let open = |index| {
        open(clients, index).with_context(|| {
            format!("opening connection {index} of {} to {}", clients.connections, clients.to)
        })
    };
    let connections = (0..clients.connections).map(open).collect::<Result<Vec<_>>>()?;
    hold::ready()?;
    hold::until_stdin_closes();
    drop(connections);
    Ok(())
}

/// What the child number `process` is to do of the whole.
fn arguments(clients: &Clients, process: u16) -> Result<Vec<OsString>> {
    let (process_count, number) = (usize::from(clients.processes), usize::from(process));
    let remainder = usize::from(number < clients.connections % process_count);
    let connections = clients.connections / process_count + remainder;
    let mut arguments = vec![
        "hold-clients".to_owned(),
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

fn open(clients: &Clients, index: usize) -> Result<OwnedFd> {
    let family = if clients.to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
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
