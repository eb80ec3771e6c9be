//! What a client is to do, and what it is to record.

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, SocketAddr},
    num::NonZeroUsize,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use tokio_rustls::rustls::{ClientConfig, ProtocolVersion};
use url::Url;

use crate::{Error, HttpTrace, proxy::ProxyChoice};

/// Decides of a name server whether it is left out, and why.
pub type NameserverSelector = dyn Fn(SocketAddr) -> Option<String> + Send + Sync;
/// Decides of a header whether it is left out of the record; it is given its name as written by
/// convention (`Content-Type`).
pub type HeaderExclusion = dyn Fn(&str) -> bool + Send + Sync;
/// Takes a batch of records that are complete.
pub type BatchHandler = dyn Fn(HttpTrace) + Send + Sync;

/// Which versions of the Internet Protocol are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Family {
    /// Both.
    #[default]
    Any,
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
}

/// How names become addresses.
#[derive(Clone)]
pub struct DnsSettings {
    /// These name servers instead of those of the system, all of them, in their order.
    pub nameservers: Vec<SocketAddr>,
    /// Leaves name servers out.
    pub skip_nameserver: Option<Arc<NameserverSelector>>,
    /// Addresses of names, by name and port, that are not looked up.
    pub overrides: HashMap<(String, u16), Vec<IpAddr>>,
    /// The system's settings. This and the next two are read again when they were read a second
    /// ago.
    pub configuration_file: PathBuf,
    /// The system's names.
    pub hosts_file: PathBuf,
    /// In which order the system asks the two.
    pub order_file: PathBuf,
    /// How many names have their addresses remembered for as long as they hold; nothing is
    /// remembered with zero.
    pub cache: usize,
}

impl fmt::Debug for DnsSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("DnsSettings")
            .field("nameservers", &self.nameservers)
            .field("overrides", &self.overrides)
            .finish_non_exhaustive()
    }
}

impl Default for DnsSettings {
    fn default() -> Self {
        Self {
            nameservers: Vec::new(),
            skip_nameserver: None,
            overrides: HashMap::new(),
            configuration_file: "/etc/resolv.conf".into(),
            hosts_file: "/etc/hosts".into(),
            order_file: "/etc/nsswitch.conf".into(),
            cache: 0,
        }
    }
}

/// How TLS is spoken.
#[derive(Clone, Default)]
pub struct TlsSettings {
    /// Everything at once, instead of all that follows. What is offered with ALPN is set by the
    /// client, and its verifier is asked through the client's.
    pub config: Option<Arc<ClientConfig>>,
    /// Certificates that are trusted, as PEM, instead of the system's.
    pub certificate_authorities: Option<Vec<u8>>,
    /// Accepts any certificate.
    pub accept_invalid_certificates: bool,
    /// Our certificate chain and its key, as PEM.
    pub client_certificate: Option<(Vec<u8>, Vec<u8>)>,
    /// The oldest version that is spoken.
    pub minimum_version: Option<ProtocolVersion>,
    /// The newest version that is spoken.
    pub maximum_version: Option<ProtocolVersion>,
    /// How many sessions are remembered, to be taken up again.
    pub session_cache: usize,
    /// Sends requests that may be made twice (`GET`, `HEAD`, `OPTIONS`) along with the handshake of
    /// HTTP/3 where a session is taken up again (0-RTT). Who records them can have the server see
    /// them again, so it is off unless it is asked for; it takes a `session_cache`.
    pub early_data: bool,
    /// Keeps the secrets of each connection, so that captured packets can be read.
    pub keep_secrets: bool,
    /// Adds the secrets of each connection to this file as soon as they are known, in the format of
    /// `SSLKEYLOGFILE`. A file that is made is its owner's alone.
    pub secrets_file: Option<PathBuf>,
}

impl fmt::Debug for TlsSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TlsSettings")
            .field("accept_invalid_certificates", &self.accept_invalid_certificates)
            .field("client_certificate", &self.client_certificate.is_some())
            .field("minimum_version", &self.minimum_version)
            .field("maximum_version", &self.maximum_version)
            .finish_non_exhaustive()
    }
}

/// How long what may take. `None` is for ever.
#[derive(Debug, Clone, Default)]
pub struct Timeouts {
    /// A request with its redirects, until the last byte of the response.
    pub request: Option<Duration>,
    /// A dial: the lookup of the name, and all attempts to connect, those of QUIC with their
    /// handshake of TLS.
    pub connect: Option<Duration>,
    /// A TLS handshake over TCP.
    pub tls_handshake: Option<Duration>,
    /// From the last byte of the request to the headers of the response.
    pub response_headers: Option<Duration>,
    /// Until the body of a request with `Expect: 100-continue` is sent without an answer; with
    /// `None` it is sent at once.
    pub expect_continue: Option<Duration>,
    /// A connection that is not used.
    pub idle_connection: Option<Duration>,
}

/// How much of what there may be. `None` is as many as there are.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections that are not used.
    pub idle_connections: Option<NonZeroUsize>,
    /// Connections that are not used, of one host.
    pub idle_connections_per_host: NonZeroUsize,
    /// Connections of one host, also those that are being opened. A request waits for its turn.
    pub connections_per_host: Option<NonZeroUsize>,
    /// Redirects that are followed.
    pub redirects: u32,
    /// Headers of a response, in number.
    pub response_headers: usize,
    /// Headers of a response, in bytes.
    pub response_header_bytes: usize,
    /// Bytes of a response's body, after its coding is taken off.
    pub response_body: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            idle_connections: None,
            idle_connections_per_host: NonZeroUsize::MIN.saturating_add(1),
            connections_per_host: None,
            redirects: 10,
            response_headers: 256,
            response_header_bytes: 1 << 20,
            response_body: None,
        }
    }
}

/// Which versions of HTTP are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HttpVersions {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 where the server takes it, over TLS.
    PreferHttp2,
    /// HTTP/2, also without TLS and without being asked.
    Http2Only,
    /// HTTP/3 over TLS, where a connection of QUIC is there before one of TCP that begins a while
    /// later; else as [`Self::PreferHttp2`]. Through a proxy, and without TLS, that too.
    PreferHttp3,
    /// HTTP/3, over TLS and without a proxy.
    Http3Only,
}

/// Keep-alive probes of TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TcpKeepAlive {
    /// Every 15 seconds.
    #[default]
    Usual,
    /// None.
    Off,
    /// As often as this.
    Every(Duration),
}

/// How much of headers is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HeaderRecording {
    /// Nothing.
    #[default]
    Off,
    /// Their names, each once.
    Names,
    /// Their names, and the lengths of their values.
    Lengths,
    /// All of them.
    Values,
}

/// What is recorded of requests.
#[derive(Clone, Default)]
pub struct RequestRecording {
    /// How much of headers.
    pub headers: HeaderRecording,
    /// Which headers not at all.
    pub exclude: Option<Arc<HeaderExclusion>>,
}

impl fmt::Debug for RequestRecording {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RequestRecording")
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

/// Gives complete records away instead of keeping them.
#[derive(Clone)]
pub struct Batches {
    /// With how many records of a kind a batch is given away.
    pub threshold: NonZeroUsize,
    /// Who takes them, one batch after the other. It is called on a thread of its own.
    pub handler: Arc<BatchHandler>,
    /// Whether what is left is given away when the client is closed.
    pub flush_on_close: bool,
}

impl fmt::Debug for Batches {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Batches")
            .field("threshold", &self.threshold)
            .field("flush_on_close", &self.flush_on_close)
            .finish_non_exhaustive()
    }
}

/// Captures the client's packets.
#[derive(Debug, Clone)]
pub struct CaptureSettings {
    /// On these interfaces.
    pub interfaces: Vec<String>,
    /// How many bytes of each packet are kept.
    pub snapshot_length: u32,
    /// How many bytes of packets are kept of each interface.
    pub size_limit: u64,
    /// Also all ICMP and `ICMPv6`.
    pub icmp: bool,
    /// Also all ARP.
    pub arp: bool,
    /// Of TCP, only packets without payload.
    pub tcp_without_payload: bool,
}

impl Default for CaptureSettings {
    fn default() -> Self {
        Self {
            interfaces: Vec::new(),
            snapshot_length: 1518,
            size_limit: 1 << 20,
            icmp: false,
            arp: false,
            tcp_without_payload: false,
        }
    }
}

/// What is recorded, and how much of it is kept.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools)]
pub struct Recording {
    /// Requests and TLS tunnels.
    pub requests: Option<RequestRecording>,
    /// Reads and writes of sockets.
    pub operations: bool,
    /// Messages of DNS.
    pub dns: bool,
    /// What the kernel knows of each TCP connection.
    pub tcp_information: bool,
    /// The kernel's connection tracking.
    pub conntrack: bool,
    /// Packets.
    pub capture: Option<CaptureSettings>,
    /// How many records of each kind are kept, the newest.
    pub records: NonZeroUsize,
    /// How many operations of each connection are kept, the first ones.
    pub operations_per_connection: NonZeroUsize,
    /// Gives records away.
    pub batches: Option<Batches>,
    /// Whether passwords and tokens in URLs and headers are recorded.
    pub secrets: bool,
}

impl Default for Recording {
    fn default() -> Self {
        Self {
            requests: Some(RequestRecording::default()),
            operations: true,
            dns: true,
            tcp_information: true,
            conntrack: false,
            capture: None,
            records: NonZeroUsize::MIN.saturating_add(9_999),
            operations_per_connection: NonZeroUsize::MIN.saturating_add(9_999),
            batches: None,
            secrets: false,
        }
    }
}

/// All of a client's settings, with what is usual.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools)]
pub struct Settings {
    /// The versions of HTTP.
    pub versions: HttpVersions,
    /// Where sockets are bound to, those of the resolver too.
    pub source_ip: Option<IpAddr>,
    /// The interface that sockets are bound to.
    pub interface: Option<String>,
    /// The versions of the Internet Protocol.
    pub family: Family,
    /// Other hosts and ports to connect to, by those of the URL. The request stays the same.
    pub connect_to: HashMap<(String, u16), (String, u16)>,
    /// The proxy.
    pub proxy: ProxyChoice,
    /// Names.
    pub dns: DnsSettings,
    /// TLS.
    pub tls: TlsSettings,
    /// How long what may take.
    pub timeouts: Timeouts,
    /// How much there may be.
    pub limits: Limits,
    /// Probes of connections.
    pub tcp_keep_alive: TcpKeepAlive,
    /// Whether each connection is for one request.
    pub disable_keep_alive: bool,
    /// Whether responses are asked for as they are.
    pub disable_compression: bool,
    /// Whether redirects are followed.
    pub follow_redirects: bool,
    /// What is said of the client (`User-Agent`); nothing where it is empty.
    pub user_agent: String,
    /// What is recorded.
    pub recording: Recording,
    /// The session that the trace names.
    pub session: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            versions: HttpVersions::default(),
            source_ip: None,
            interface: None,
            family: Family::default(),
            connect_to: HashMap::new(),
            proxy: ProxyChoice::default(),
            dns: DnsSettings::default(),
            tls: TlsSettings::default(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            tcp_keep_alive: TcpKeepAlive::default(),
            disable_keep_alive: false,
            disable_compression: false,
            follow_redirects: true,
            user_agent: concat!("netglass/", env!("CARGO_PKG_VERSION")).to_owned(),
            recording: Recording::default(),
            session: None,
        }
    }
}

impl Settings {
    /// Refuses what cannot be, before anything is done with it.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let timeouts = [
            ("timeouts.request", self.timeouts.request),
            ("timeouts.connect", self.timeouts.connect),
            ("timeouts.tls_handshake", self.timeouts.tls_handshake),
            ("timeouts.response_headers", self.timeouts.response_headers),
            ("timeouts.expect_continue", self.timeouts.expect_continue),
            ("timeouts.idle_connection", self.timeouts.idle_connection),
        ];
        for (field, timeout) in timeouts {
            if timeout.is_some_and(|timeout| timeout.is_zero()) {
                return invalid(field, "is zero; leave it out to wait for ever");
            }
        }
        if self.tcp_keep_alive == TcpKeepAlive::Every(Duration::ZERO) {
            return invalid("tcp_keep_alive", "is every zero seconds; turn it off, or name a time");
        }
        if let Some(source) = self.source_ip {
            if source.is_unspecified() || source.is_multicast() {
                return invalid("source_ip", format!("is {source}, which no host has"));
            }
            let other = match self.family {
                Family::V4 => source.is_ipv6(),
                Family::V6 => source.is_ipv4(),
                Family::Any => false,
            };
            if other {
                return invalid(
                    "source_ip",
                    format!("is {source}, of the family that is not used"),
                );
            }
        }
        if self.interface.as_ref().is_some_and(|name| name.is_empty() || name.len() > 15) {
            return invalid("interface", "is no name of an interface: those have 1 to 15 bytes");
        }
        for nameserver in &self.dns.nameservers {
            if nameserver.port() == 0 {
                return invalid("dns.nameservers", format!("has {nameserver}, without a port"));
            }
        }
        for ((host, _), addresses) in &self.dns.overrides {
            if addresses.is_empty() {
                return invalid("dns.overrides", format!("has no address for {host}"));
            }
        }
        if let (Some(oldest), Some(newest)) = (self.tls.minimum_version, self.tls.maximum_version)
            && u16::from(oldest) > u16::from(newest)
        {
            return invalid("tls.minimum_version", "is newer than the newest one");
        }
        for version in [self.tls.minimum_version, self.tls.maximum_version].into_iter().flatten() {
            if u16::from(version) > u16::from(ProtocolVersion::TLSv1_3) {
                return invalid(
                    "tls",
                    format!("names the version {version:?}, which is not known"),
                );
            }
        }
        if self.tls.maximum_version.is_some_and(|newest| u16::from(newest) < 0x0303) {
            return invalid("tls.maximum_version", "is older than TLS 1.2, the oldest one spoken");
        }
        if matches!(self.versions, HttpVersions::PreferHttp3 | HttpVersions::Http3Only) {
            if !cfg!(feature = "http3") {
                return invalid("versions", "names HTTP/3, which this program is built without");
            }
            if self.tls.maximum_version.is_some_and(|newest| newest != ProtocolVersion::TLSv1_3) {
                return invalid("tls.maximum_version", "is older than TLS 1.3, which HTTP/3 takes");
            }
        }
        if self.limits.response_header_bytes < 8192 {
            return invalid("limits.response_header_bytes", "is less than 8192");
        }
        if self.user_agent.parse::<http::HeaderValue>().is_err() {
            return invalid("user_agent", "has characters that a header cannot have");
        }
        if let Some(capture) = &self.recording.capture {
            if capture.interfaces.is_empty() {
                return invalid("recording.capture.interfaces", "names no interface");
            }
            if capture.snapshot_length == 0 {
                return invalid("recording.capture.snapshot_length", "is zero");
            }
        }
        self.proxy.check()
    }
}

pub(crate) fn invalid<T>(field: &'static str, reason: impl Into<String>) -> Result<T, Error> {
    Err(Error::InvalidSetting { field, reason: reason.into() })
}

/// A URL without its password, unless secrets are recorded.
pub(crate) fn without_password(url: &Url, secrets: bool) -> String {
    if secrets || url.password().is_none() {
        return url.to_string();
    }
    let mut url = url.clone();
    // A URL with a password can have it replaced.
    let _ = url.set_password(Some("REDACTED"));
    url.to_string()
}
