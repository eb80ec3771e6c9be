//! Servers that do what a test wants.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use http_trace::{Builder, TracedClient, settings::Settings};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
};

/// A server that gives each connection to a function, with how many came before.
pub(crate) async fn tcp<F, R>(serve: F) -> SocketAddr
where
    F: Fn(TcpStream, usize) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream, number));
        }
    });
    address
}

/// Reads a request without a body; nothing at the end of the connection.
pub(crate) async fn request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(text).unwrap())
}

/// A server that answers each request on its connections in the same words.
pub(crate) async fn answering(response: impl Into<Vec<u8>>) -> SocketAddr {
    let response: Arc<[u8]> = response.into().into();
    tcp(move |mut stream, _| {
        let response = Arc::clone(&response);
        async move {
            while request(&mut stream).await.is_some() {
                if stream.write_all(&response).await.is_err() {
                    return;
                }
            }
        }
    })
    .await
}

pub(crate) const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n";

/// A name server over UDP and TCP on the same port. The function is given the query and whether it
/// came over TCP, and says what is answered, one datagram after the other.
pub(crate) async fn dns<F>(answer: F) -> SocketAddr
where
    F: Fn(&[u8], bool) -> Vec<Vec<u8>> + Send + Sync + 'static,
{
    let answer = Arc::new(answer);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let socket = UdpSocket::bind(address).await.unwrap();
    let over_tcp = Arc::clone(&answer);
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            for reply in answer(&buffer[..length], false) {
                let _ = socket.send_to(&reply, from).await;
            }
        }
    });
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let answer = Arc::clone(&over_tcp);
            tokio::spawn(async move {
                while let Ok(length) = stream.read_u16().await {
                    let mut query = vec![0; usize::from(length)];
                    stream.read_exact(&mut query).await.unwrap();
                    for reply in answer(&query, true) {
                        write_in_two(&mut stream, &reply).await;
                    }
                }
            });
        }
    });
    address
}

/// A message over TCP in two pieces, as any may come.
async fn write_in_two(stream: &mut (impl AsyncWrite + Unpin), message: &[u8]) {
    let length = u16::try_from(message.len()).unwrap().to_be_bytes();
    let (first, second) = message.split_at(message.len() / 2);
    stream.write_all(&[&length, first].concat()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let _ = stream.write_all(second).await;
}

/// An answer to a query: its flags, the number of answers, and their bytes.
pub(crate) fn reply(query: &[u8], flags: u16, count: u16, answers: &[u8]) -> Vec<u8> {
    let end = 12 + query[12..].iter().position(|&byte| byte == 0).unwrap() + 5;
    let mut reply = query[..2].to_vec();
    reply.extend(flags.to_be_bytes());
    reply.extend([0, 1]);
    reply.extend(count.to_be_bytes());
    reply.extend([0; 4]);
    reply.extend(&query[12..end]);
    reply.extend(answers);
    reply
}

/// An answer with the address 127.0.0.1 to a question for one of IPv4, and without any to others.
pub(crate) fn localhost(query: &[u8]) -> Vec<u8> {
    const A: &[u8] = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x7f\0\0\x01";
    if record_type(query) == 1 { reply(query, 0x8580, 1, A) } else { reply(query, 0x8580, 0, &[]) }
}

/// What a query asks for.
pub(crate) fn record_type(query: &[u8]) -> u16 {
    let end = 12 + query[12..].iter().position(|&byte| byte == 0).unwrap();
    u16::from_be_bytes([query[end + 1], query[end + 2]])
}

/// A client that waits for nothing longer than the tests do.
pub(crate) fn builder(change: impl FnOnce(&mut Settings)) -> Builder {
    TracedClient::builder().settings(|settings| {
        settings.timeouts.request = Some(Duration::from_secs(20));
        change(settings);
    })
}

pub(crate) fn client(change: impl FnOnce(&mut Settings)) -> TracedClient {
    builder(change).build().unwrap()
}

/// Fetches all of a body.
pub(crate) async fn fetch(client: &TracedClient, url: &str) -> Result<String, http_trace::Error> {
    let body = client.get(url).await?.into_body().bytes(1 << 20).await?;
    Ok(String::from_utf8_lossy(&body).into_owned())
}
