//! A web application that asks its database for each page.

use std::{
    convert::Infallible,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
};

use anyhow::{Context, Result};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::NoTls;

use crate::server;

/// Serves pages at `address`, each with an answer of the database at `url`, over a connection of its
/// own.
pub(crate) fn serve(address: SocketAddr, url: String) -> Result<()> {
    let listener = TcpListener::bind(address).with_context(|| format!("listening on {address}"))?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    server::work_until_stdin_closes(move || work(&listener, &runtime, &url))
}

fn work(listener: &TcpListener, runtime: &Runtime, url: &str) -> Result<Infallible> {
    loop {
        let (connection, _) = listener.accept().context("accepting a request")?;
        answer(&connection, runtime, url)?;
    }
}

fn answer(mut connection: &TcpStream, runtime: &Runtime, url: &str) -> Result<()> {
    for line in BufReader::new(connection).lines() {
        if line.context("reading a request")?.is_empty() {
            break;
        }
    }
    let page = runtime.block_on(ask(url)).context("asking the database")?;
    let length = page.len();
    write!(
        connection,
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{page}"
    )
    .context("answering a request")
}

async fn ask(url: &str) -> Result<String, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    let connection = tokio::spawn(connection);
    let row = client.query_one("SELECT version()", &[]).await?;
    let page = row.try_get(0)?;
    drop(client);
    // It is closed when this has ended.
    let _ = connection.await;
    Ok(page)
}
