//! `netglass-load`: opens sockets of any kind and number, says `ready`, and holds them until its
//! standard input is closed.

mod attempts;
mod clients;
mod family;
mod hold;
mod server;
mod udp;
mod without_netlink;

use std::{
    ffi::{CString, OsString},
    net::{IpAddr, SocketAddr},
    os::unix::ffi::OsStringExt,
};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};

/// Opens sockets, says `ready`, and holds them until standard input is closed.
#[derive(Debug, Parser)]
#[command(name = "netglass-load")]
struct Cli {
    #[command(subcommand)]
    load: Load,
}

#[derive(Debug, Subcommand)]
enum Load {
    /// Accept connections for ever
    HoldServer {
        /// The first process listens here, the next one on the port above, and so on
        #[arg(long, value_name = "ADDR:PORT")]
        listen: SocketAddr,
        #[arg(long, value_name = "N", default_value_t = 1)]
        processes: u16,
    },
    /// Open TCP connections
    HoldClients(Clients),
    /// Begin TCP connections that nobody answers
    SynSent {
        #[arg(long, value_name = "ADDR:PORT")]
        to: SocketAddr,
        #[arg(long, value_name = "N", default_value_t = 1)]
        count: usize,
    },
    /// Connect UDP sockets
    UdpConnected {
        #[arg(long, value_name = "ADDR:PORT")]
        to: SocketAddr,
        #[arg(long, value_name = "N", default_value_t = 1)]
        count: usize,
    },
    /// Bind UDP sockets without a peer
    UdpUnconnected {
        /// The first socket is bound here, the next one to the port above; port 0 is any port
        #[arg(long, value_name = "ADDR:PORT")]
        listen: SocketAddr,
        #[arg(long, value_name = "N", default_value_t = 1)]
        count: u16,
    },
    /// Become another program, with the kernel refusing every netlink socket
    WithoutNetlink {
        /// The other program with its arguments
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
    /// Take another process name, then do one of the others
    Named {
        /// Any bytes but NUL; the kernel keeps the first 15
        #[arg(long, value_name = "TEXT")]
        comm: OsString,
        /// The other command with its options
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
}

#[derive(Debug, Args)]
struct Clients {
    /// The first process connects to this port, the next one to the port above, and so on
    #[arg(long, value_name = "ADDR:PORT")]
    to: SocketAddr,
    #[arg(long, value_name = "N", default_value_t = 1)]
    processes: u16,
    /// Of all processes together
    #[arg(long, value_name = "TOTAL", default_value_t = 1)]
    connections: usize,
    /// The first source address; the kernel's choice by default
    #[arg(long, value_name = "BASE")]
    source: Option<IpAddr>,
    /// How many addresses, from the first one on, to use in turn: each has 28,000 ports per server
    #[arg(long, value_name = "K", default_value_t = 1, requires = "source")]
    sources: u32,
    /// Bytes to send on each connection
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    send: usize,
}

fn main() -> Result<()> {
    hold::raise_file_limit()?;
    start(Cli::parse().load)
}

fn start(load: Load) -> Result<()> {
    match load {
        Load::HoldServer { listen, processes } => server::hold(listen, processes),
        Load::HoldClients(clients) => clients::hold(&clients),
        Load::SynSent { to, count } => attempts::hold(to, count),
        Load::UdpConnected { to, count } => udp::hold_connected(to, count),
        Load::UdpUnconnected { listen, count } => udp::hold_unconnected(listen, count),
        Load::WithoutNetlink { command } => without_netlink::run(&command),
        Load::Named { comm, command } => {
            let name = CString::new(comm.into_vec()).context("a process name has no NUL")?;
            rustix::thread::set_name(&name).context("setting the process name")?;
            let arguments = std::iter::once(OsString::from("netglass-load")).chain(command);
            start(Cli::try_parse_from(arguments)?.load)
        }
    }
}
