//! QUIC connections (RFC 9000): one attempt to make one to one address, and what is counted of it.

mod failure;
mod live;
pub(crate) mod packet;
mod session;
mod socket;

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use quinn::{
    ConnectionId, ConnectionIdGenerator, Endpoint, EndpointConfig, IdleTimeout, TokioRuntime,
    TransportConfig, VarInt, ZeroRttAccepted,
};
use quinn_proto::RandomConnectionIdGenerator;

pub(crate) use self::{failure::after_handshake, live::Live};
use self::{session::Config, socket::TracedSocket};
use crate::{
    connector::attempt,
    record::{AddressTuple, EarlyData, Failure, FailureKind, Id, Layer, QuicConnection},
    recorder::Recorder,
    socket::SocketOptions,
    tls::{Tls, quic::QuicTunnel},
};

/// How long identifiers of ours are, in bytes.
const SOURCE_LENGTH: usize = 8;
/// How long the identifier is that we choose for the server.
const DESTINATION_LENGTH: usize = 20;
/// How long a connection is silent before it is given up.
const IDLE: Duration = Duration::from_secs(30);
/// How many streams a server may have open: HTTP/3 has three, and some may be of unknown kinds.
const SERVER_STREAMS: u32 = 16;
/// How much of all streams together comes before it is read, in bytes.
const RECEIVE_WINDOW: u32 = 16 << 20;

/// What a connection is made with, for one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QuicDialing<'a> {
    tls: &'a Tls,
    request: Option<Id>,
    /// Who the certificate has to be of.
    host: &'a str,
}

/// A connection that takes streams.
pub(crate) struct QuicStream {
    pub(crate) id: Id,
    pub(crate) tls: Option<Id>,
    pub(crate) connection: quinn::Connection,
    pub(crate) socket: SocketGuard,
    /// Where the handshake goes on: whether the server takes what is sent meanwhile.
    pub(crate) early: Option<ZeroRttAccepted>,
}

impl fmt::Debug for QuicStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("QuicStream").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The socket of a connection. With it ends its record.
#[derive(Debug)]
pub(crate) struct SocketGuard {
    socket: Arc<TracedSocket>,
    recorder: Arc<Recorder>,
}

impl SocketGuard {
    /// Waits for the network to say that nobody is there.
    pub(crate) async fn complaint(&self) {
        self.socket.complaint().await;
    }

    /// The server is there.
    pub(crate) fn forget_complaints(&self) {
        self.socket.forget_complaints();
    }
}

impl Drop for SocketGuard {
    fn drop(&mut self) {
        self.socket.close(self.recorder.now());
    }
}

/// A socket over which a connection is about to be made, and recorded.
pub(crate) struct Opened {
    recorder: Arc<Recorder>,
    id: Id,
    address: SocketAddr,
    host: String,
    tunnel: Arc<QuicTunnel>,
    endpoint: Endpoint,
    config: quinn::ClientConfig,
    early_data: bool,
    /// Nothing once it has ended.
    socket: Option<SocketGuard>,
}

impl<'a> QuicDialing<'a> {
    /// Nothing where this is built without QUIC.
    #[allow(clippy::unnecessary_wraps)]
    pub(crate) fn new(tls: &'a Tls, request: Option<Id>, host: &'a str) -> Option<Self> {
        Some(Self { tls, request, host })
    }

    /// Makes the socket. From here on it is in the trace.
    pub(crate) fn open(
        &self,
        recorder: &Arc<Recorder>,
        dial: Id,
        address: SocketAddr,
        options: &SocketOptions,
    ) -> Result<(Id, Opened), Failure> {
        let cannot = |error: std::io::Error| {
            let message = format!("cannot connect to {address} over QUIC: {error}");
            Failure::new(Layer::Connect, attempt::kind(&error), message)
        };
        let socket = crate::socket::quic(address, options).map_err(cannot)?;
        let first_source = RandomConnectionIdGenerator::new(SOURCE_LENGTH).generate_cid();
        let original = RandomConnectionIdGenerator::new(DESTINATION_LENGTH).generate_cid();
        let quic = begun(recorder, &first_source, &original);
        let addresses = AddressTuple { source: socket.local_addr().ok(), destination: address };
        let (id, writer) = recorder.begin_udp(dial, addresses, Some(quic));
        let failed = |failure: Failure| {
            recorder.quic(id, |quic| quic.error = Some(failure.clone()));
            failure
        };
        let socket = TracedSocket::new(socket, Arc::clone(recorder), id, writer)
            .map_err(|error| failed(cannot(error)))?;
        let socket = Arc::new(socket);
        let guard = SocketGuard { socket: Arc::clone(&socket), recorder: Arc::clone(recorder) };
        let handshake = self.tls.begin_quic(id, self.request, self.host).map_err(failed)?;
        let tunnel = Arc::clone(&handshake.tunnel);
        let mut config = quinn::ClientConfig::new(Arc::new(Config::from(handshake)));
        config.version(session::VERSION);
        config.transport_config(Arc::new(transport()));
        config.initial_dst_cid_provider(Arc::new(move || original));
        let mut endpoint = EndpointConfig::default();
        endpoint.supported_versions(vec![session::VERSION]);
        endpoint.cid_generator(move || Box::new(SourceIdentifiers { first: Some(first_source) }));
        let endpoint =
            Endpoint::new_with_abstract_socket(endpoint, None, socket, Arc::new(TokioRuntime))
                .map_err(|error| failed(cannot(error)))?;
        let opened = Opened {
            recorder: Arc::clone(recorder),
            id,
            address,
            host: self.host.to_owned(),
            tunnel,
            endpoint,
            config,
            early_data: self.tls.sends_early_data(),
            socket: Some(guard),
        };
        Ok((id, opened))
    }
}

/// The record of a connection that is about to be made.
fn begun(recorder: &Recorder, source: &[u8], original_destination: &[u8]) -> QuicConnection {
    QuicConnection {
        version: session::VERSION,
        offered_versions: Vec::new(),
        retried: false,
        handshake_began_at: recorder.now(),
        handshake_ended_at: None,
        error: None,
        early_data: EarlyData::NotOffered,
        source_connection_id: packet::show(source),
        original_destination_connection_id: packet::show(original_destination),
        destination_connection_id: None,
        from_earlier_trace: false,
        requests: 0,
        settings: Vec::new(),
        go_away: None,
        statistics: None,
        close: None,
    }
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(SERVER_STREAMS))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW))
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(IdleTimeout::try_from(IDLE).ok());
    transport
}

/// Gives the identifier that is recorded before all others.
struct SourceIdentifiers {
    first: Option<ConnectionId>,
}

impl ConnectionIdGenerator for SourceIdentifiers {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut others = RandomConnectionIdGenerator::new(SOURCE_LENGTH);
        self.first.take().unwrap_or_else(|| others.generate_cid())
    }

    fn cid_len(&self) -> usize {
        SOURCE_LENGTH
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

impl Opened {
    /// Makes the handshake; with early data, begins it.
    pub(crate) async fn connect(mut self) -> Result<QuicStream, Failure> {
        let result = self.establish().await;
        let (connection, early) = match result {
            Ok(established) => established,
            Err(failure) => {
                self.end(&failure);
                return Err(failure);
            }
        };
        let Some(socket) = self.socket.take() else {
            return Err(Failure::new(Layer::Connect, FailureKind::Other, "no socket"));
        };
        if early.is_none() {
            socket.forget_complaints();
        }
        let ended_at = Some(self.recorder.now());
        self.recorder.quic(self.id, |quic| match early {
            Some(_) => quic.early_data = EarlyData::Offered,
            None => quic.handshake_ended_at = ended_at,
        });
        let tls = self.tunnel.record;
        Ok(QuicStream { id: self.id, tls, connection, socket, early })
    }

    async fn establish(&self) -> Result<(quinn::Connection, Option<ZeroRttAccepted>), Failure> {
        let Self { address, host, tunnel, .. } = self;
        let Some(guard) = &self.socket else {
            return Err(Failure::new(Layer::Connect, FailureKind::Other, "no socket"));
        };
        let mut connecting = self
            .endpoint
            .connect_with(self.config.clone(), *address, host)
            .map_err(|error| failure::before_handshake(*address, &error, tunnel))?;
        if self.early_data {
            connecting = match connecting.into_0rtt() {
                Ok((connection, accepted)) => return Ok((connection, Some(accepted))),
                Err(connecting) => connecting,
            };
        }
        tokio::select! {
            biased;
            result = connecting => match result {
                Ok(connection) => Ok((connection, None)),
                Err(error) => Err(failure::in_handshake(*address, &error, tunnel)),
            },
            complaint = guard.socket.complaint() => {
                let failure = failure::complained(*address, complaint);
                self.recorder.udp(self.id, |udp| udp.error = Some(failure.clone()));
                Err(failure)
            }
        }
    }

    /// Ends its records with what happened.
    fn end(&mut self, failure: &Failure) {
        if self.socket.take().is_none() {
            return;
        }
        self.tunnel.fail(failure);
        let ended_at = Some(self.recorder.now());
        self.recorder.quic(self.id, |quic| {
            quic.handshake_ended_at = ended_at;
            quic.error = Some(failure.clone());
        });
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let message = format!("the attempt to connect to {} was given up", self.address);
        self.end(&Failure::new(Layer::Caller, FailureKind::Canceled, message));
    }
}
