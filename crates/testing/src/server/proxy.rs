//! A proxy for requests: `CONNECT` of HTTP (RFC 9110, section 9.3.6), with or without encryption, or
//! SOCKS 5 (RFC 1928 and 1929).

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    runtime::Builder,
    sync::oneshot,
};
use tokio_rustls::TlsAcceptor;

use super::{postgresql::certificates, tls::acceptor};

/// The longest request that is read.
const LONGEST: usize = 16 << 10;

/// A running proxy on the loopback device of this host.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Proxied>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    folder: TempDir,
}

/// What a proxy was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxied {
    /// The host, as it was written: a name, or an address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// `USER:PASSWORD`, where it was given.
    pub credentials: Option<String>,
    /// Whether they were right, or none are wanted.
    pub is_allowed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    Http,
    Https,
    Socks5,
}

/// How a proxy is to run.
#[derive(Debug, Clone)]
pub struct ProxyOptions {
    language: Language,
    credentials: Option<String>,
    hosts: HashMap<String, SocketAddr>,
}

impl Proxy {
    /// One that speaks HTTP.
    pub fn http() -> ProxyOptions {
        ProxyOptions::new(Language::Http)
    }

    /// One that speaks HTTP over TLS. Needs the command `openssl`.
    pub fn https() -> ProxyOptions {
        ProxyOptions::new(Language::Https)
    }

    /// One that speaks SOCKS 5.
    pub fn socks5() -> ProxyOptions {
        ProxyOptions::new(Language::Socks5)
    }

    /// `HOST:PORT`.
    pub fn authority(&self) -> String {
        self.address.to_string()
    }

    /// A PEM file of who signed its certificate.
    pub fn root_certificate(&self) -> PathBuf {
        self.folder.path().join("root.crt")
    }

    /// All that it was asked until now.
    pub fn asked(&self) -> Vec<Proxied> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ProxyOptions {
    fn new(language: Language) -> Self {
        Self { language, credentials: None, hosts: HashMap::new() }
    }

    /// Wants these credentials, as `USER:PASSWORD`.
    #[must_use]
    pub fn credentials(mut self, credentials: &str) -> Self {
        self.credentials = Some(credentials.to_owned());
        self
    }

    /// Connects whoever asks for this host, whatever the port, to a server.
    #[must_use]
    pub fn host(mut self, name: &str, server: SocketAddr) -> Self {
        self.hosts.insert(name.to_owned(), server);
        self
    }

    /// Starts it; returns when it listens.
    ///
    /// # Panics
    ///
    /// When it cannot.
    pub fn start(&self) -> Proxy {
        let folder = tempfile::Builder::new().prefix("netglass-proxy-").tempdir();
        let folder = folder.expect("a temporary folder");
        let acceptor = (self.language == Language::Https).then(|| {
            certificates(folder.path(), "127.0.0.1");
            acceptor(folder.path())
        });
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let asked = Arc::<Mutex<Vec<Proxied>>>::default();
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::new(Serving { options: self.clone(), asked: Arc::clone(&asked) });
        let thread = thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serving.accept(listener, acceptor) => {}
                    _ = stopped => {}
                }
            });
        });
        Proxy { address, asked, stop: Some(stop), thread: Some(thread), folder }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What all connections of a proxy share.
struct Serving {
    options: ProxyOptions,
    asked: Arc<Mutex<Vec<Proxied>>>,
}

impl Serving {
    async fn accept(self: Arc<Self>, listener: TcpListener, acceptor: Option<TlsAcceptor>) {
        while let Ok((stream, _)) = listener.accept().await {
            let (this, acceptor) = (Arc::clone(&self), acceptor.clone());
            tokio::spawn(async move {
                // A client that goes away is none of ours: the test sees what it asked.
                let _ = match (acceptor, this.options.language) {
                    (Some(acceptor), _) => match acceptor.accept(stream).await {
                        Ok(stream) => this.speak_http(stream).await,
                        Err(error) => Err(error),
                    },
                    (None, Language::Socks5) => this.speak_socks(stream).await,
                    (None, _) => this.speak_http(stream).await,
                };
            });
        }
    }

    /// Notes a request; where it leads, unless it is not allowed.
    fn note(&self, host: &str, port: u16, credentials: Option<String>) -> Option<(String, u16)> {
        let wanted = self.options.credentials.as_ref();
        let is_allowed = wanted.is_none() || wanted == credentials.as_ref();
        let host = host.to_owned();
        let server = self.options.hosts.get(&host);
        let to = server.map_or((host.clone(), port), |it| (it.ip().to_string(), it.port()));
        let proxied = Proxied { host, port, credentials, is_allowed };
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(proxied);
        is_allowed.then_some(to)
    }

    async fn speak_http(&self, mut client: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() > LONGEST {
                return Err(malformed());
            }
            head.push(client.read_u8().await?);
        }
        let head = String::from_utf8(head).map_err(|_| malformed())?;
        let authority = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
        let (host, port) = authority.and_then(|it| it.rsplit_once(':')).ok_or_else(malformed)?;
        let port = port.parse().map_err(|_| malformed())?;
        let given = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            let is_named = name.eq_ignore_ascii_case("proxy-authorization");
            let credentials = value.strip_prefix("Basic ").filter(|_| is_named)?;
            String::from_utf8(STANDARD.decode(credentials).ok()?).ok()
        });
        let Some(to) = self.note(host, port, given) else {
            let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\n\
                           Proxy-Authenticate: Basic realm=\"test\"\r\nContent-Length: 0\r\n\r\n";
            client.write_all(refusal.as_bytes()).await?;
            return client.shutdown().await;
        };
        let mut server = match TcpStream::connect(to).await {
            Ok(server) => server,
            Err(error) => {
                client.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n").await?;
                return Err(error);
            }
        };
        client.write_all(b"HTTP/1.1 200 Connection Established\r\n\r\n").await?;
        copy_bidirectional(&mut client, &mut server).await.map(drop)
    }

    async fn speak_socks(&self, mut client: TcpStream) -> io::Result<()> {
        let [version, count] = read(&mut client).await?;
        let mut methods = vec![0; usize::from(count)];
        client.read_exact(&mut methods).await?;
        let method = if self.options.credentials.is_some() { 2 } else { 0 };
        if version != 5 || !methods.contains(&method) {
            return client.write_all(&[5, 0xff]).await;
        }
        client.write_all(&[5, method]).await?;
        let mut credentials = None;
        if method == 2 {
            let [1] = read(&mut client).await? else { return Err(malformed()) };
            let (user, password) = (text(&mut client).await?, text(&mut client).await?);
            let given = format!("{user}:{password}");
            let is_right = self.options.credentials.as_ref() == Some(&given);
            client.write_all(&[1, u8::from(!is_right)]).await?;
            if !is_right {
                return Ok(());
            }
            credentials = Some(given);
        }
        let [5, 1, 0, kind] = read(&mut client).await? else { return Err(malformed()) };
        let host = match kind {
            1 => std::net::IpAddr::from(read::<4>(&mut client).await?).to_string(),
            3 => text(&mut client).await?,
            4 => std::net::IpAddr::from(read::<16>(&mut client).await?).to_string(),
            _ => return Err(malformed()),
        };
        let port = u16::from_be_bytes(read(&mut client).await?);
        let Some(to) = self.note(&host, port, credentials) else { return Ok(()) };
        let mut server = match TcpStream::connect(to).await {
            Ok(server) => server,
            Err(error) => {
                // Connection refused.
                client.write_all(&[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
                return Err(error);
            }
        };
        client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
        copy_bidirectional(&mut client, &mut server).await.map(drop)
    }
}

async fn read<const LENGTH: usize>(stream: &mut TcpStream) -> io::Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// A text with its length before it.
async fn text(stream: &mut TcpStream) -> io::Result<String> {
    let [length] = read(stream).await?;
    let mut text = vec![0; usize::from(length)];
    stream.read_exact(&mut text).await?;
    String::from_utf8(text).map_err(|_| malformed())
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it does not keep to the protocol")
}
