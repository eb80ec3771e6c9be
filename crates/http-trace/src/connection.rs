//! A connection that HTTP is spoken over, from the dial to the first request.

mod dialing;
mod driving;

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use http::Version;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

pub(crate) use self::driving::Driving;
use crate::{
    body::SendBody,
    clock::Moment,
    connector::{Connector, Dialed},
    http2_frames::{FrameObserver, Streams},
    http3,
    observed::{Marks, ObservedStream, Stream},
    pool::Target,
    proxy::{self, ProxyKind},
    quic::Live,
    record::{Failure, FailureKind, Id, Layer, Phases, TlsRole},
    recorder::Recorder,
    settings::{HttpVersions, Limits},
    stream::TracedStream,
    tls::{Peer, Tls},
};

/// How a connection is made.
#[derive(Debug)]
pub(crate) struct Maker {
    pub(crate) connector: Connector,
    pub(crate) tls: Tls,
    pub(crate) versions: HttpVersions,
    pub(crate) limits: Limits,
    pub(crate) user_agent: String,
    pub(crate) connect_to: std::collections::HashMap<(String, u16), (String, u16)>,
    pub(crate) recorder: Arc<Recorder>,
    /// Connections of QUIC.
    pub(crate) live: Arc<Live>,
    /// Turns true when the client is closed.
    pub(crate) closed: watch::Receiver<bool>,
}

/// Takes requests.
#[derive(Debug)]
pub(crate) enum Sender {
    Http1(http1::SendRequest<SendBody>),
    Http2(http2::SendRequest<SendBody>),
    #[cfg_attr(not(feature = "http3"), expect(dead_code, reason = "nobody makes one"))]
    Http3(http3::Sender),
}

impl Sender {
    pub(crate) fn version(&self) -> Version {
        match self {
            Self::Http1(_) => Version::HTTP_11,
            Self::Http2(_) => Version::HTTP_2,
            Self::Http3(_) => Version::HTTP_3,
        }
    }

    /// Whether it takes several requests at once.
    pub(crate) fn is_shared(&self) -> bool {
        !matches!(self, Self::Http1(_))
    }
}

/// What all who use a connection know of it.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Its record: one of TCP, or of UDP for QUIC.
    pub(crate) connection: Id,
    pub(crate) tls: Option<Id>,
    pub(crate) proxy_tls: Option<Id>,
    pub(crate) proxy_connect: Option<Id>,
    pub(crate) made_for: Option<Id>,
    /// The parts of a request's time that it took to make it.
    pub(crate) phases: Phases,
    pub(crate) marks: Arc<Marks>,
    pub(crate) streams: Option<Arc<Streams>>,
    uses: AtomicU64,
    idle_since: AtomicU64,
    /// Its other end goes when the connection has ended. Nothing once somebody waits for that.
    ended: Mutex<Option<oneshot::Receiver<()>>>,
    /// One of as many as the host may have.
    _turn: Option<OwnedSemaphorePermit>,
}

impl Shared {
    /// Of a connection that has no layers of a proxy, and what is dropped at its end.
    #[cfg(feature = "http3")]
    pub(crate) fn new(
        connection: Id,
        tls: Option<Id>,
        made_for: Option<Id>,
        phases: Phases,
        turn: Option<OwnedSemaphorePermit>,
    ) -> (Self, oneshot::Sender<()>) {
        let (end, ended) = oneshot::channel();
        let shared = Self {
            connection,
            tls,
            proxy_tls: None,
            proxy_connect: None,
            made_for,
            phases,
            marks: Arc::default(),
            streams: None,
            uses: AtomicU64::new(0),
            idle_since: AtomicU64::new(0),
            ended: Mutex::new(Some(ended)),
            _turn: turn,
        };
        (shared, end)
    }

    /// Counts a use, and says how many there were before.
    pub(crate) fn begin_use(&self) -> u64 {
        self.uses.fetch_add(1, Relaxed)
    }

    pub(crate) fn became_idle(&self, now: Moment) {
        self.idle_since.store(now.0.saturating_add(1), Relaxed);
    }

    /// What resolves when the connection has ended. Nothing where somebody has it already.
    pub(crate) fn end(&self) -> Option<oneshot::Receiver<()>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn idle_since(&self) -> Option<Moment> {
        self.idle_since.load(Relaxed).checked_sub(1).map(Moment)
    }
}

/// One end of a connection that takes requests. When all are gone, it is closed.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) sender: Sender,
    pub(crate) shared: Arc<Shared>,
    /// What is to be driven for it to go on. Nothing once it goes on by itself.
    pub(crate) driving: Option<Driving>,
}

impl Connection {
    /// Lets it go on by itself.
    pub(crate) fn let_go(&mut self) {
        if let Some(driving) = self.driving.take() {
            tokio::spawn(driving);
        }
    }

    pub(crate) fn is_usable(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => !sender.is_closed(),
            Sender::Http2(sender) => !sender.is_closed(),
            Sender::Http3(sender) => !sender.is_closed(),
        }
    }

    /// Waits until it takes a request. Right after a response it is still busy with its end; and
    /// it may turn out that it ends with it.
    pub(crate) async fn is_ready(&mut self) -> bool {
        match &mut self.sender {
            Sender::Http1(sender) => sender.ready().await.is_ok(),
            Sender::Http2(sender) => sender.ready().await.is_ok(),
            Sender::Http3(sender) => !sender.is_closed(),
        }
    }

    /// Another end of it, where it takes several requests at once.
    pub(crate) fn share(&self) -> Option<Self> {
        let sender = match &self.sender {
            Sender::Http1(_) => return None,
            Sender::Http2(sender) => Sender::Http2(sender.clone()),
            Sender::Http3(sender) => Sender::Http3(sender.clone()),
        };
        Some(Self { sender, shared: Arc::clone(&self.shared), driving: None })
    }
}

/// Layers that are there already, and what they are called in the trace.
struct Layers {
    stream: Box<dyn Stream>,
    tcp: Id,
    tls: Option<Id>,
    proxy_tls: Option<Id>,
    proxy_connect: Option<Id>,
    phases: Phases,
    http2: bool,
}

impl Maker {
    /// Makes a connection for a request.
    pub(crate) async fn make(
        &self,
        dial: Id,
        request: Option<Id>,
        target: &Target,
        turn: Option<OwnedSemaphorePermit>,
    ) -> Result<Connection, Failure> {
        let (dialed, phases) = self.dial(dial, request, target).await?;
        let stream = match dialed {
            Dialed::Tcp(stream) => stream,
            Dialed::Quic(stream) => return self.begin_http3(*stream, request, phases, turn).await,
        };
        let layers = self.layers(stream, phases, request, target).await?;
        let marks = Arc::<Marks>::default();
        let streams = layers.http2.then(Arc::<Streams>::default);
        let frames = streams.as_ref().map(|streams| {
            FrameObserver::new(Arc::clone(&self.recorder), layers.tcp, Arc::clone(streams))
        });
        let clock = self.recorder.clock();
        let stream = ObservedStream::new(layers.stream, clock, Arc::clone(&marks), frames);
        let (end, ended) = oneshot::channel();
        let shared = Arc::new(Shared {
            connection: layers.tcp,
            tls: layers.tls,
            proxy_tls: layers.proxy_tls,
            proxy_connect: layers.proxy_connect,
            made_for: request,
            phases: layers.phases,
            marks,
            streams,
            uses: AtomicU64::new(0),
            idle_since: AtomicU64::new(0),
            ended: Mutex::new(Some(ended)),
            _turn: turn,
        });
        if layers.http2 {
            let (sender, driving) = Box::pin(self.begin_http2(stream, end)).await?;
            tokio::spawn(driving);
            return Ok(Connection { sender: Sender::Http2(sender), shared, driving: None });
        }
        let (sender, driving) = self.begin_http1(stream, end).await?;
        Ok(Connection { sender: Sender::Http1(sender), shared, driving: Some(driving) })
    }

    async fn begin_http1(
        &self,
        stream: ObservedStream,
        end: oneshot::Sender<()>,
    ) -> Result<(http1::SendRequest<SendBody>, Driving), Failure> {
        let (sender, connection) = http1::Builder::new()
            .title_case_headers(true)
            .max_headers(self.limits.response_headers)
            .max_buf_size(self.limits.response_header_bytes)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| no_http(&error))?;
        Ok((sender, Driving::new(connection.with_upgrades(), self.closed.clone(), end)))
    }

    async fn begin_http2(
        &self,
        stream: ObservedStream,
        end: oneshot::Sender<()>,
    ) -> Result<(http2::SendRequest<SendBody>, Driving), Failure> {
        let header_bytes = u32::try_from(self.limits.response_header_bytes).unwrap_or(u32::MAX);
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .adaptive_window(true)
            .max_header_list_size(header_bytes)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| no_http(&error))?;
        Ok((sender, Driving::new(connection, self.closed.clone(), end)))
    }

    async fn layers(
        &self,
        stream: TracedStream,
        phases: Phases,
        request: Option<Id>,
        target: &Target,
    ) -> Result<Layers, Failure> {
        let tcp = stream.id();
        // What most connections do not need is on the heap: each step moves all of it otherwise.
        let mut layers = Layers {
            stream: Box::new(stream),
            tcp,
            tls: None,
            proxy_tls: None,
            proxy_connect: None,
            phases,
            http2: self.versions == HttpVersions::Http2Only && !target.secure,
        };
        let proxy = target.proxy.as_ref();
        if let Some(proxy) = proxy.filter(|proxy| proxy.kind == ProxyKind::Https) {
            let role = TlsRole::Proxy;
            let peer = Peer { connection: tcp, request, role, host: proxy.host(), protocols: &[] };
            layers = Box::pin(self.add_tls(layers, request, peer)).await?;
        }
        if let Some(proxy) = proxy
            && (target.secure || proxy.kind == ProxyKind::Socks5)
        {
            layers = Box::pin(self.add_tunnel(layers, request, target, proxy)).await?;
        }
        if target.secure {
            let protocols: &[&str] = match self.versions {
                HttpVersions::Http1 => &[],
                HttpVersions::Http2Only => &["h2"],
                HttpVersions::PreferHttp2 | HttpVersions::PreferHttp3 | HttpVersions::Http3Only => {
                    &["h2", "http/1.1"]
                }
            };
            let role = TlsRole::Server;
            let peer = Peer { connection: tcp, request, role, host: &target.host, protocols };
            layers = Box::pin(self.add_tls(layers, request, peer)).await?;
        }
        Ok(layers)
    }

    async fn add_tls(
        &self,
        mut layers: Layers,
        request: Option<Id>,
        peer: Peer<'_>,
    ) -> Result<Layers, Failure> {
        let began_at = self.recorder.now();
        layers.phases.tls_began_at.get_or_insert(began_at);
        let began_at = layers.phases.tls_began_at;
        self.waiting(request, |request| request.phases.tls_began_at = began_at);
        let role = peer.role;
        let result = self.tls.handshake(layers.stream, peer).await;
        layers.phases.tls_ended_at = Some(self.recorder.now());
        let ended_at = layers.phases.tls_ended_at;
        self.waiting(request, |request| request.phases.tls_ended_at = ended_at);
        let tunnel = result?;
        layers.stream = Box::new(tunnel.stream);
        match role {
            TlsRole::Proxy => layers.proxy_tls = tunnel.record,
            TlsRole::Server => {
                layers.tls = tunnel.record;
                layers.http2 = tunnel.http2;
            }
        }
        Ok(layers)
    }

    async fn add_tunnel(
        &self,
        mut layers: Layers,
        request: Option<Id>,
        target: &Target,
        proxy: &proxy::Proxy,
    ) -> Result<Layers, Failure> {
        let authority = target.authority();
        let protocol = if proxy.kind == ProxyKind::Socks5 { "socks5" } else { "http" };
        let record = self.recorder.begin_connect(layers.tcp, request, protocol, &authority);
        self.waiting(request, |request| request.proxy_connect = record);
        layers.proxy_connect = record;
        let result = if proxy.kind == ProxyKind::Socks5 {
            self.ask_by_socks(&mut layers, target, proxy).await
        } else {
            self.ask_by_connect(&mut layers, &authority, proxy, record).await
        };
        let ended_at = Some(self.recorder.now());
        self.recorder.connect(record, |connect| {
            connect.ended_at = ended_at;
            match &result {
                Ok(status) => connect.status = Some(*status),
                Err((status, failure)) => {
                    connect.status = *status;
                    connect.error = Some(failure.clone());
                }
            }
        });
        result.map_err(|(_, failure)| failure)?;
        Ok(layers)
    }

    async fn ask_by_socks(
        &self,
        layers: &mut Layers,
        target: &Target,
        proxy: &proxy::Proxy,
    ) -> Result<u16, (Option<u16>, Failure)> {
        let port = target.port.parse().map_err(|_| {
            let message = format!("cannot connect to {}: {} is no port", target.host, target.port);
            (None, Failure::new(Layer::Connect, FailureKind::Invalid, message))
        })?;
        let code = proxy::connect_by_socks(&mut layers.stream, proxy, &target.host, port)
            .await
            .map_err(|failure| (None, failure))?;
        if code == 0 {
            return Ok(0);
        }
        let message = format!(
            "the proxy {} does not connect to {}: {}",
            proxy.shown(false),
            target.authority(),
            proxy::meaning_of_socks(code)
        );
        let failure = Failure::new(Layer::Proxy, FailureKind::ProxyRefused, message);
        Err((Some(u16::from(code)), failure))
    }

    async fn ask_by_connect(
        &self,
        layers: &mut Layers,
        authority: &str,
        proxy: &proxy::Proxy,
        record: Option<Id>,
    ) -> Result<u16, (Option<u16>, Failure)> {
        let answer = proxy::connect(&mut layers.stream, proxy, authority, &self.user_agent)
            .await
            .map_err(|failure| (None, failure))?;
        let headers = crate::headers::record(&answer.headers, self.recorder.recording());
        self.recorder.connect(record, |connect| connect.headers = headers);
        if (200..300).contains(&answer.status) {
            return Ok(answer.status);
        }
        let message = format!(
            "the proxy {} does not connect to {authority}: {} {}",
            proxy.shown(false),
            answer.status,
            answer.reason
        );
        let failure = Failure::new(Layer::Proxy, FailureKind::ProxyRefused, message);
        Err((Some(answer.status), failure))
    }
}

fn no_http(error: &hyper::Error) -> Failure {
    let message = format!("cannot begin to speak HTTP: {error}");
    Failure::new(Layer::Request, FailureKind::Protocol, message)
}
