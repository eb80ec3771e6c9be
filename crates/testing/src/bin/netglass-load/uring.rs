//! Questions and answers by way of an `io_uring`, with which no system call names a socket.

use std::{
    convert::Infallible,
    net::{self, SocketAddr},
};

use anyhow::{Context, Result, ensure};
use compio::{
    buf::BufResult,
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    runtime::{Runtime, spawn},
};

use crate::{hold, server};

const QUESTION: &[u8] = b"netglass?";

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct What {
    /// Succeed if the kernel allows it
    #[arg(long)]
    check: bool,
    /// Send back what comes at this address, over TCP and over UDP
    #[arg(long, value_name = "ADDR:PORT")]
    serve: Option<SocketAddr>,
    /// Ask this server, over TCP and over UDP, each time on a new socket
    #[arg(long, value_name = "ADDR:PORT")]
    to: Option<SocketAddr>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    what: What,
    #[arg(long, value_name = "N", default_value_t = 1)]
    count: usize,
}

/// Does what is asked for.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if let Some(address) = arguments.what.serve {
        let tcp = net::TcpListener::bind(address).with_context(|| format!("binding {address}"))?;
        let udp = net::UdpSocket::bind(address).with_context(|| format!("binding {address}"))?;
        return server::work_until_stdin_closes(move || runtime()?.block_on(serve(tcp, udp)));
    }
    let runtime = runtime()?;
    if let Some(address) = arguments.what.to {
        hold::ready()?;
        hold::until_told()?;
        for index in 0..arguments.count {
            let asked = runtime.block_on(ask(address));
            asked.with_context(|| format!("asking {address}, number {index}"))?;
        }
        hold::done(arguments.count)?;
        hold::until_stdin_closes();
    }
    Ok(())
}

fn runtime() -> Result<Runtime> {
    Runtime::new().context("making an io_uring")
}

async fn serve(tcp: net::TcpListener, udp: net::UdpSocket) -> Result<Infallible> {
    let (tcp, udp) = (TcpListener::from_std(tcp)?, UdpSocket::from_std(udp)?);
    spawn(async move {
        // Its end is seen by those who wait for an answer.
        while echo_datagram(&udp).await.is_ok() {}
    })
    .detach();
    loop {
        let (connection, _) = tcp.accept().await.context("accepting")?;
        spawn(async move {
            let _ = echo_stream(connection).await;
        })
        .detach();
    }
}

async fn echo_datagram(socket: &UdpSocket) -> Result<()> {
    let BufResult(received, question) = socket.recv_from(Vec::with_capacity(1024)).await;
    let (_, peer) = received?;
    socket.send_to(question, peer).await.0?;
    Ok(())
}

async fn echo_stream(mut connection: TcpStream) -> Result<()> {
    let BufResult(read, question) = connection.read_exact(vec![0; QUESTION.len()]).await;
    read?;
    connection.write_all(question).await.0?;
    // Whoever asked closes first.
    let _ = connection.read_exact(vec![0; 1]).await;
    connection.close().await?;
    Ok(())
}

async fn ask(to: SocketAddr) -> Result<()> {
    let mut connection = TcpStream::connect(to).await?;
    connection.write_all(QUESTION).await.0?;
    let BufResult(read, answer) = connection.read_exact(vec![0; QUESTION.len()]).await;
    read?;
    ensure!(answer == QUESTION, "the answer is another one");
    connection.close().await?;

    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await?;
    socket.send_to(QUESTION, to).await.0?;
    let BufResult(received, answer) = socket.recv_from(Vec::with_capacity(1024)).await;
    received?;
    ensure!(answer == QUESTION, "the answer is another one");
    socket.close().await?;
    Ok(())
}
