//! `netglass-load`: opens sockets of any kind and number, says `ready`, and holds them until its
//! standard input is closed.
//!
//! Loads that come and go say `ready`, start when a line comes on standard input, say `done` with
//! their number when it is over, and are there until standard input is closed, so that who looks at
//! their processes finds them.

mod activation;
mod application;
mod attempts;
mod churn_clients;
mod churn_server;
mod clients;
mod failures;
mod family;
mod hold;
mod server;
mod udp;
mod udp_exchanges;
mod uring;
mod without_netlink;

use std::{
    ffi::{CString, OsString},
    net::{IpAddr, SocketAddr},
    os::unix::ffi::OsStringExt,
};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Opens sockets, says `ready`, and holds them until standard input is closed; or says `ready`,
/// opens and closes sockets when a line comes on standard input, and says `done`.
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
    /// Accept connections, read each until its peer closes it, and close it
    ChurnServer {
        /// The first process listens here, the next one on the port above, and so on
        #[arg(long, value_name = "ADDR:PORT")]
        listen: SocketAddr,
        #[arg(long, value_name = "N", default_value_t = 1)]
        processes: u16,
        /// Bytes to send at the end of each connection, to clients that await it
        #[arg(long, value_name = "BYTES", default_value_t = 0)]
        answer: usize,
    },
    /// Open and close TCP connections as fast as can be
    ChurnClients(Churn),
    /// Reset each connection as soon as it is accepted
    ResetServer {
        #[arg(long, value_name = "ADDR:PORT")]
        listen: SocketAddr,
    },
    /// Try to connect and fail, for one reason
    FailedAttempts {
        #[arg(long)]
        kind: FailureKind,
        #[arg(long, value_name = "ADDR:PORT")]
        to: SocketAddr,
        #[arg(long, value_name = "N", default_value_t = 1)]
        count: usize,
    },
    /// Send each UDP datagram back to where it came from
    UdpServer {
        #[arg(long, value_name = "ADDR:PORT")]
        listen: SocketAddr,
    },
    /// Send a UDP datagram and wait for the answer, each time on a new socket
    UdpExchanges {
        #[arg(long, value_name = "ADDR:PORT")]
        to: SocketAddr,
        #[arg(long, value_name = "N", default_value_t = 1)]
        count: usize,
        /// Name the peer with the datagram instead of connecting the socket to it
        #[arg(long)]
        unconnected: bool,
    },
    /// Serve a page over HTTP, asking a database for each
    Application {
        #[arg(long, value_name = "ADDR:PORT")]
        listen: SocketAddr,
        /// Of a PostgreSQL database
        #[arg(long, value_name = "URL")]
        database: String,
    },
    /// Listen, and leave the connections to another process, which does what churn-server does
    Activate {
        #[arg(long, value_name = "ADDR:PORT")]
        listen: SocketAddr,
        /// The other process's name
        #[arg(long, value_name = "TEXT")]
        comm: OsString,
    },
    /// Accept the connections of the listening socket that is the standard input
    ServeActivated,
    /// Exchange over TCP and UDP by way of an `io_uring`
    Uring(uring::Arguments),
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

#[derive(Debug, Args)]
struct Churn {
    #[command(flatten)]
    clients: Clients,
    /// How long each connection lives, in milliseconds
    #[arg(long, value_name = "DURATION_MS", default_value_t = 0)]
    life: u64,
    /// Close the own direction first, and the socket when the server has closed the other
    #[arg(long)]
    await_end: bool,
}

/// Why an attempt to connect fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailureKind {
    /// Nobody listens (`ECONNREFUSED`)
    Refused,
    /// Nobody answers (`ETIMEDOUT`)
    TimedOut,
    /// The host cannot be reached (`EHOSTUNREACH`)
    Unreachable,
    /// There is no route (`ENETUNREACH`)
    NoRoute,
    /// The connection comes about and is reset before any byte (`ECONNRESET`)
    Reset,
    /// The socket is closed while the attempt goes on
    Abandoned,
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
        Load::ChurnServer { listen, processes, answer } => {
            churn_server::churn(listen, processes, answer)
        }
        Load::ChurnClients(churn) => churn_clients::churn(&churn),
        Load::ResetServer { listen } => churn_server::reset(listen),
        Load::FailedAttempts { kind, to, count } => failures::attempt(kind, to, count),
        Load::UdpServer { listen } => udp_exchanges::serve(listen),
        Load::UdpExchanges { to, count, unconnected } => {
            udp_exchanges::exchange(to, count, unconnected)
        }
        Load::Application { listen, database } => application::serve(listen, database),
        Load::Activate { listen, comm } => activation::activate(listen, comm),
        Load::ServeActivated => activation::serve(),
        Load::Uring(arguments) => uring::run(&arguments),
        Load::WithoutNetlink { command } => without_netlink::run(&command),
        Load::Named { comm, command } => {
            let name = CString::new(comm.into_vec()).context("a process name has no NUL")?;
            rustix::thread::set_name(&name).context("setting the process name")?;
            let arguments = std::iter::once(OsString::from("netglass-load")).chain(command);
            start(Cli::try_parse_from(arguments)?.load)
        }
    }
}
