//! A server of HTTP/3 that answers as a test wants, well or badly.

use std::{
    fmt,
    net::{SocketAddr, UdpSocket},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
};

use h3::{error::Code, server::RequestStream};
use hyper::{
    HeaderMap, Request, Response,
    body::{Buf as _, Bytes},
    header::{HeaderName, HeaderValue},
};
use quinn::{
    Endpoint, EndpointConfig, Incoming, ServerConfig, TokioRuntime, VarInt,
    crypto::rustls::QuicServerConfig,
};
use tokio::{
    runtime::Builder,
    sync::{Notify, oneshot},
};
use tokio_rustls::rustls::{
    self,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

type Stream = RequestStream<h3_quinn::BidiStream<Bytes>, Bytes>;
type Answering = dyn Fn(&Http3Request) -> Http3Answer + Send + Sync;

/// A request as the server reads it.
#[derive(Debug, Clone)]
pub struct Http3Request {
    /// Method, URI and headers.
    pub head: Request<()>,
    /// The whole body.
    pub body: Vec<u8>,
    /// Headers after it.
    pub trailers: Option<HeaderMap>,
}

/// What the server says to a request.
#[derive(Debug, Clone, Default)]
pub struct Http3Answer {
    /// Statuses before the final one.
    pub informational: Vec<u16>,
    /// Headers; `:status` is the status, which is 200 otherwise.
    pub headers: Vec<(String, String)>,
    /// The body, in frames.
    pub body: Vec<Vec<u8>>,
    /// Headers after it.
    pub trailers: Vec<(String, String)>,
    /// How it ends.
    pub end: Http3End,
}

/// How an answer ends.
#[derive(Debug, Clone, Default)]
pub enum Http3End {
    /// As it should.
    #[default]
    Whole,
    /// Not at all.
    Never,
    /// The stream is reset: where there is a body, when [`Http3::proceed`] says so, and else before
    /// anything is sent.
    Reset(u64),
    /// The connection is closed, at the same time.
    Close(u64, String),
    /// As it should; and the server takes no more requests on the connection.
    GoAway,
}

impl Http3Answer {
    /// An answer that is as it should be.
    pub fn with_body(body: impl Into<Vec<u8>>) -> Self {
        Self { body: vec![body.into()], ..Self::default() }
    }

    /// The same with a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same with another end.
    #[must_use]
    pub fn ends(mut self, end: Http3End) -> Self {
        self.end = end;
        self
    }
}

/// How the server treats connections.
#[derive(Debug, Clone, Default)]
pub struct Http3Options {
    /// Has clients prove their address first.
    pub retry: bool,
    /// The versions of QUIC that it speaks, rather than the usual ones.
    pub versions: Option<Vec<u32>>,
}

/// A running server.
pub struct Http3 {
    address: SocketAddr,
    endpoint: Endpoint,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<Http3Request>>>,
    proceed: Arc<Notify>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Http3 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Http3").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Http3 {
    /// Starts it on a socket, which may be of any namespace.
    pub fn start(
        socket: UdpSocket,
        tls: rustls::ServerConfig,
        options: &Http3Options,
        answer: impl Fn(&Http3Request) -> Http3Answer + Send + Sync + 'static,
    ) -> Self {
        let address = socket.local_addr().expect("it is bound");
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mut config = EndpointConfig::default();
        if let Some(versions) = &options.versions {
            config.supported_versions(versions.clone());
        }
        let endpoint = {
            let _guard = runtime.enter();
            Endpoint::new(config, Some(server(tls)), socket, Arc::new(TokioRuntime))
        };
        let endpoint = endpoint.expect("a socket that datagrams come through");
        let connections = Arc::<AtomicUsize>::default();
        let requests = Arc::<Mutex<Vec<Http3Request>>>::default();
        let proceed = Arc::<Notify>::default();
        let (stop, stopped) = oneshot::channel();
        let serving = Serving {
            answer: Arc::new(answer),
            connections: Arc::clone(&connections),
            requests: Arc::clone(&requests),
            proceed: Arc::clone(&proceed),
        };
        let (accepting, retry) = (endpoint.clone(), options.retry);
        let thread = thread::spawn(move || {
            runtime.block_on(async move {
                tokio::select! {
                    () = serving.accept(&accepting, retry) => {}
                    _ = stopped => {}
                }
                accepting.close(VarInt::from_u32(0), b"the test is over");
                accepting.wait_idle().await;
            });
        });
        let (stop, thread) = (Some(stop), Some(thread));
        Self { address, endpoint, connections, requests, proceed, stop, thread }
    }

    /// Settings of TLS with a certificate, those between it and an authority, and its key (PEM).
    pub fn tls(certificate: &Path, key: &Path) -> rustls::ServerConfig {
        let chain = CertificateDer::pem_file_iter(certificate).expect("a file of certificates");
        let chain = chain.collect::<Result<_, _>>().expect("certificates");
        let key = PrivateKeyDer::from_pem_file(key).expect("a key");
        let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the ciphers of both")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("the key is that of the certificate");
        tls.alpn_protocols = vec![b"h3".to_vec()];
        tls
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it took.
    pub fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }

    /// The requests that it read, in their order.
    pub fn requests(&self) -> Vec<Http3Request> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets an answer that waits in its middle come to its end.
    pub fn proceed(&self) {
        self.proceed.notify_one();
    }

    /// Connections from now on have other settings of TLS.
    pub fn set_tls(&self, tls: rustls::ServerConfig) {
        self.endpoint.set_server_config(Some(server(tls)));
    }
}

impl Drop for Http3 {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn server(tls: rustls::ServerConfig) -> ServerConfig {
    let tls = QuicServerConfig::try_from(tls).expect("TLS 1.3 with the cipher of the beginning");
    ServerConfig::with_crypto(Arc::new(tls))
}

#[derive(Clone)]
struct Serving {
    answer: Arc<Answering>,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<Http3Request>>>,
    proceed: Arc<Notify>,
}

impl Serving {
    async fn accept(&self, endpoint: &Endpoint, retry: bool) {
        while let Some(incoming) = endpoint.accept().await {
            if retry && !incoming.remote_address_validated() {
                incoming.retry().expect("an address that is not proved");
                continue;
            }
            let serving = self.clone();
            tokio::spawn(async move {
                // A client that does not like the server ends the handshake.
                let _ = serving.serve(incoming).await;
            });
        }
    }

    async fn serve(&self, incoming: Incoming) -> Result<(), Box<dyn std::error::Error>> {
        let quic = incoming.await?;
        self.connections.fetch_add(1, SeqCst);
        let mut connection =
            h3::server::Connection::new(h3_quinn::Connection::new(quic.clone())).await?;
        let mut is_going = false;
        while let Some(resolver) = connection.accept().await? {
            let (head, mut stream) = resolver.resolve_request().await?;
            let request = read(head, &mut stream).await?;
            let answer = (self.answer)(&request);
            self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
            if matches!(answer.end, Http3End::GoAway) && !std::mem::replace(&mut is_going, true) {
                connection.shutdown(0).await?;
            }
            let (quic, proceed) = (quic.clone(), Arc::clone(&self.proceed));
            tokio::spawn(async move {
                // Who has gone does not want it.
                let _ = give(answer, &mut stream, &quic, &proceed).await;
            });
        }
        Ok(())
    }
}

async fn read(
    head: Request<()>,
    stream: &mut Stream,
) -> Result<Http3Request, h3::error::StreamError> {
    let mut body = Vec::new();
    while let Some(mut data) = stream.recv_data().await? {
        while data.has_remaining() {
            let length = data.chunk().len();
            body.extend_from_slice(data.chunk());
            data.advance(length);
        }
    }
    let trailers = stream.recv_trailers().await?;
    Ok(Http3Request { head, body, trailers })
}

async fn give(
    answer: Http3Answer,
    stream: &mut Stream,
    quic: &quinn::Connection,
    proceed: &Notify,
) -> Result<(), h3::error::StreamError> {
    for status in &answer.informational {
        let response = Response::builder().status(*status).body(());
        stream.send_response(response.expect("a status")).await?;
    }
    let has_body = !answer.body.is_empty();
    let is_cut = !matches!(answer.end, Http3End::Whole | Http3End::GoAway);
    if !is_cut || has_body {
        let mut response = Response::new(());
        for (name, value) in &answer.headers {
            if name == ":status" {
                *response.status_mut() = value.parse().expect("a status");
            } else {
                let (name, value) = pair(name, value);
                response.headers_mut().append(name, value);
            }
        }
        stream.send_response(response).await?;
        for piece in answer.body {
            stream.send_data(piece.into()).await?;
        }
    }
    match answer.end {
        Http3End::Whole | Http3End::GoAway => {
            if !answer.trailers.is_empty() {
                let pairs = answer.trailers.iter().map(|(name, value)| pair(name, value));
                stream.send_trailers(pairs.collect()).await?;
            }
            stream.finish().await
        }
        Http3End::Never => std::future::pending().await,
        Http3End::Reset(code) => {
            if has_body {
                proceed.notified().await;
            }
            stream.stop_stream(Code::from(code));
            Ok(())
        }
        Http3End::Close(code, reason) => {
            if has_body {
                proceed.notified().await;
            }
            quic.close(VarInt::from_u64(code).expect("a code"), reason.as_bytes());
            Ok(())
        }
    }
}

fn pair(name: &str, value: &str) -> (HeaderName, HeaderValue) {
    (name.parse().expect("a name"), value.parse().expect("a value"))
}
