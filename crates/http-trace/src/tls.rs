//! TLS, and what a handshake leaves behind: also of one that failed.

mod certificate;
#[cfg(feature = "http3")]
pub(crate) mod quic;
mod secrets;
mod verifier;

use std::{
    cell::RefCell,
    future::Future,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        self, AlertDescription, CertificateError, ClientConfig, CommonState, HandshakeKind,
        ProtocolVersion, RootCertStore, SupportedProtocolVersion,
        client::{ResolvesClientCert, Resumption},
        crypto::ring::default_provider,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
        version::{TLS12, TLS13},
    },
};

use self::verifier::RecordingVerifier;
pub(crate) use self::{certificate::describe as describe_certificate, secrets::Secrets};
use crate::{
    Error,
    record::{Failure, FailureKind, Id, Layer, TlsRole, TlsTunnel},
    recorder::Recorder,
    settings::{TlsSettings, invalid},
};

/// How many certificates of a chain are kept.
const MAXIMUM_CERTIFICATES: usize = 32;

/// What the other end showed in the handshake that is being polled on this thread.
#[derive(Default)]
struct Seen {
    certificates: Vec<CertificateDer<'static>>,
    ocsp_response: usize,
    client_certificate_requested: bool,
    refused: Option<rustls::Error>,
}

thread_local! {
    static SEEN: RefCell<Option<Seen>> = const { RefCell::new(None) };
}

fn see(what: impl FnOnce(&mut Seen)) {
    SEEN.with_borrow_mut(|seen| {
        if let Some(seen) = seen {
            what(seen);
        }
    });
}

/// Makes handshakes.
#[derive(Debug)]
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
    /// The same for QUIC, with sessions of its own: those of TCP hold nothing that QUIC needs.
    #[cfg(feature = "http3")]
    quic: Arc<ClientConfig>,
    secrets: Option<Arc<Secrets>>,
    recorder: Arc<Recorder>,
    timeout: Option<Duration>,
}

/// A tunnel that is established.
pub(crate) struct Tunnel<S> {
    pub(crate) stream: TlsStream<S>,
    pub(crate) record: Option<Id>,
    pub(crate) http2: bool,
}

/// Who a handshake is with, and for.
pub(crate) struct Peer<'a> {
    pub(crate) connection: Id,
    pub(crate) request: Option<Id>,
    pub(crate) role: TlsRole,
    pub(crate) host: &'a str,
    pub(crate) protocols: &'a [&'a str],
}

impl Tls {
    pub(crate) fn new(
        settings: &TlsSettings,
        timeout: Option<Duration>,
        recorder: Arc<Recorder>,
    ) -> Result<Self, Error> {
        let secrets = Secrets::new(settings, &recorder)?.map(Arc::new);
        let mut config = match &settings.config {
            Some(config) => ClientConfig::clone(config),
            None => config(settings, &recorder)?,
        };
        if let Some(secrets) = &secrets {
            config.key_log = Arc::clone(secrets) as _;
        }
        config.client_auth_cert_resolver =
            Arc::new(RecordingResolver(Arc::clone(&config.client_auth_cert_resolver)));
        Ok(Self {
            #[cfg(feature = "http3")]
            quic: Arc::new(quic::config(&config, settings)),
            config: Arc::new(config),
            secrets,
            recorder,
            timeout,
        })
    }

    /// The secrets until now, and how many lines there was no room for; nothing where they are not
    /// kept.
    pub(crate) fn secrets(&self) -> Option<(String, u64)> {
        self.secrets.as_ref()?.lines()
    }

    pub(crate) async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        peer: Peer<'_>,
    ) -> Result<Tunnel<S>, Failure> {
        let offered = peer.protocols.iter().map(|&protocol| protocol.to_owned()).collect();
        let record = self.recorder.begin_tls(peer.connection, peer.request, peer.role, offered);
        let mut guard = TunnelGuard { recorder: &self.recorder, record, ended: false };
        let host = host_of(peer.host);
        let name = match server_name(host) {
            Ok(name) => name,
            Err(failure) => {
                guard.end(|tunnel| tunnel.error = Some(failure.clone()));
                return Err(failure);
            }
        };
        let server_name = matches!(name, ServerName::DnsName(_)).then(|| host.to_owned());
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols =
            peer.protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
        let mut observed = Observed { inner: connecting, seen: Some(Seen::default()) };
        let result = match self.timeout {
            None => pin!(&mut observed).await,
            Some(limit) => match timeout(limit, pin!(&mut observed)).await {
                Ok(result) => result,
                Err(_) => Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("it did not end within {limit:?}"),
                )),
            },
        };
        let seen = observed.seen.take().unwrap_or_default();
        match result {
            Ok(stream) => {
                let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                guard.end(|tunnel| {
                    describe(tunnel, stream.get_ref().1, &seen);
                    tunnel.server_name = server_name;
                });
                Ok(Tunnel { stream, record, http2 })
            }
            Err(error) => {
                let failure = failure(host, peer.role, &error);
                guard.end(|tunnel| {
                    tunnel.server_name = server_name;
                    tunnel.error = Some(failure.clone());
                    describe_failed(tunnel, &error, &seen);
                });
                Err(failure)
            }
        }
    }
}

/// A host without what is around it in a URL.
fn host_of(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches([']', '.'])
}

fn server_name(host: &str) -> Result<ServerName<'static>, Failure> {
    ServerName::try_from(host.to_owned()).map_err(|error| {
        let message = format!("cannot speak TLS with {host}: it is no name: {error}");
        Failure::new(Layer::Tls, FailureKind::Invalid, message)
    })
}

fn certificates(chain: &[CertificateDer<'_>]) -> Vec<crate::record::Certificate> {
    chain.iter().take(MAXIMUM_CERTIFICATES).map(|der| certificate::describe(der)).collect()
}

/// What a handshake agreed on.
fn describe(tunnel: &mut TlsTunnel, connection: &CommonState, seen: &Seen) {
    let protocol = connection.alpn_protocol();
    tunnel.protocol = protocol.map(|protocol| String::from_utf8_lossy(protocol).into_owned());
    tunnel.version = connection.protocol_version().map(version_name);
    let suite = connection.negotiated_cipher_suite().map(|suite| suite.suite());
    tunnel.cipher_suite = suite.map(u16::from);
    tunnel.cipher_suite_name =
        suite.and_then(|suite| suite.as_str().map(|name| name.replace("TLS13_", "TLS_")));
    let group = connection.negotiated_key_exchange_group();
    tunnel.group = group.map(|group| format!("{:?}", group.name()));
    tunnel.resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
    tunnel.certificates = certificates(connection.peer_certificates().unwrap_or_default());
    tunnel.client_certificate_requested = seen.client_certificate_requested;
    tunnel.ocsp_response = u32::try_from(seen.ocsp_response).ok().filter(|&length| length > 0);
}

/// What is known of a handshake that failed.
fn describe_failed(tunnel: &mut TlsTunnel, error: &io::Error, seen: &Seen) {
    tunnel.certificates = certificates(&seen.certificates);
    tunnel.client_certificate_requested = seen.client_certificate_requested;
    if let Some(refused) = &seen.refused {
        tunnel.refused_certificate = certificate::offending(&seen.certificates, refused);
    }
    alerts(tunnel, error);
}

fn version_name(version: ProtocolVersion) -> String {
    match version {
        ProtocolVersion::TLSv1_2 => "TLSv1.2".to_owned(),
        ProtocolVersion::TLSv1_3 => "TLSv1.3".to_owned(),
        other => format!("{other:?}"),
    }
}

fn rustls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// What TLS calls the alerts of RFC 8446, section 6.
fn alert_name(alert: AlertDescription) -> String {
    alert.as_str().map_or_else(|| format!("alert {}", u8::from(alert)), ToOwned::to_owned)
}

fn alerts(tunnel: &mut TlsTunnel, error: &io::Error) {
    let Some(error) = rustls_error(error) else { return };
    match error {
        rustls::Error::AlertReceived(alert) => tunnel.alert_received = Some(alert_name(*alert)),
        rustls::Error::InvalidCertificate(error) => {
            tunnel.alert_sent = Some(alert_name(AlertDescription::from(error.clone())));
        }
        rustls::Error::InvalidMessage(_) => {
            tunnel.alert_sent = Some(alert_name(AlertDescription::DecodeError));
        }
        rustls::Error::PeerIncompatible(_) => {
            tunnel.alert_sent = Some(alert_name(AlertDescription::HandshakeFailure));
        }
        _ => {}
    }
}

/// The failure of a connection that speaks TLS, in the handshake or, where TLS 1.3 tells of it
/// only then, after it.
pub(crate) fn alert_of(error: &(dyn std::error::Error + 'static)) -> Option<(FailureKind, String)> {
    let mut next = Some(error);
    while let Some(error) = next {
        let tls = match error.downcast_ref::<io::Error>() {
            Some(error) => rustls_error(error),
            None => error.downcast_ref::<rustls::Error>(),
        };
        match tls {
            Some(rustls::Error::AlertReceived(alert)) => {
                let text = format!("the other end sent the TLS alert {}", alert_name(*alert));
                return Some((FailureKind::Alert, text));
            }
            Some(error) => return Some((FailureKind::Protocol, format!("TLS: {error}"))),
            None => next = error.source(),
        }
    }
    None
}

fn failure(host: &str, role: TlsRole, error: &io::Error) -> Failure {
    let whom = match role {
        TlsRole::Server => host.to_owned(),
        TlsRole::Proxy => format!("the proxy {host}"),
    };
    let (kind, why) = match rustls_error(error) {
        Some(rustls::Error::InvalidCertificate(error)) => {
            (FailureKind::Certificate, certificate_problem(error))
        }
        Some(rustls::Error::AlertReceived(alert)) => {
            (FailureKind::Alert, format!("it sent the alert {}", alert_name(*alert)))
        }
        Some(rustls::Error::InvalidMessage(_)) => {
            (FailureKind::Protocol, format!("it does not speak TLS: {error}"))
        }
        Some(error) => (FailureKind::Protocol, error.to_string()),
        None => match crate::connector::attempt::kind(error) {
            FailureKind::Closed => {
                (FailureKind::Closed, "it closed the connection during the handshake".to_owned())
            }
            kind => (kind, error.to_string()),
        },
    };
    Failure::new(Layer::Tls, kind, format!("cannot speak TLS with {whom}: {why}"))
}

fn certificate_problem(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => {
            "nobody that is trusted signed its certificate".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("its certificate has expired: {error}")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("its certificate is not valid yet: {error}")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("its certificate is for another name: {error}")
        }
        _ => format!("its certificate is not accepted: {error}"),
    }
}

/// The record of a handshake. When nobody waits for it any more, it ends with that.
struct TunnelGuard<'a> {
    recorder: &'a Recorder,
    record: Option<Id>,
    ended: bool,
}

impl TunnelGuard<'_> {
    fn end(&mut self, change: impl FnOnce(&mut TlsTunnel)) {
        self.ended = true;
        let ended_at = Some(self.recorder.now());
        self.recorder.tls(self.record, |tunnel| {
            tunnel.ended_at = ended_at;
            change(tunnel);
        });
    }
}

impl Drop for TunnelGuard<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let message = "nobody waits for the handshake any more";
            let failure = Failure::new(Layer::Caller, FailureKind::Canceled, message);
            self.end(|tunnel| tunnel.error = Some(failure));
        }
    }
}

/// A handshake that tells what it sees.
struct Observed<F> {
    inner: F,
    seen: Option<Seen>,
}

impl<F: Future + Unpin> Future for Observed<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        SEEN.set(this.seen.take());
        let result = Pin::new(&mut this.inner).poll(context);
        this.seen = SEEN.take();
        result
    }
}

/// Tells that a certificate of ours was asked for.
#[derive(Debug)]
struct RecordingResolver(Arc<dyn ResolvesClientCert>);

impl ResolvesClientCert for RecordingResolver {
    fn resolve(
        &self,
        root_hint_subjects: &[&[u8]],
        schemes: &[rustls::SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        see(|seen| seen.client_certificate_requested = true);
        self.0.resolve(root_hint_subjects, schemes)
    }

    fn only_raw_public_keys(&self) -> bool {
        self.0.only_raw_public_keys()
    }

    fn has_certs(&self) -> bool {
        // Whether there is one is asked when one is requested, too.
        self.0.has_certs()
    }
}

fn config(settings: &TlsSettings, recorder: &Recorder) -> Result<ClientConfig, Error> {
    let provider = Arc::new(default_provider());
    let versions: Vec<&'static SupportedProtocolVersion> = [&TLS13, &TLS12]
        .into_iter()
        .filter(|version| {
            let number = u16::from(version.version);
            settings.minimum_version.is_none_or(|oldest| number >= u16::from(oldest))
                && settings.maximum_version.is_none_or(|newest| number <= u16::from(newest))
        })
        .collect();
    let builder = match ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
    {
        Ok(builder) => builder,
        Err(error) => return invalid("tls", format!("names no version that is spoken: {error}")),
    };
    let verifier = if settings.accept_invalid_certificates {
        RecordingVerifier::of_anything(provider)
    } else {
        RecordingVerifier::of_roots(roots(settings, recorder)?, provider)?
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match &settings.client_certificate {
        None => builder.with_no_client_auth(),
        Some((certificates, key)) => {
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificates).collect();
            let chain = match chain {
                Ok(chain) if !chain.is_empty() => chain,
                Ok(_) => return invalid("tls.client_certificate", "holds no certificate"),
                Err(error) => {
                    return invalid("tls.client_certificate", format!("is not PEM: {error}"));
                }
            };
            let Ok(key) = PrivateKeyDer::from_pem_slice(key) else {
                return invalid("tls.client_certificate", "has a key that is not PEM");
            };
            match builder.with_client_auth_cert(chain, key) {
                Ok(config) => config,
                Err(error) => {
                    let reason = format!("cannot be used with its key: {error}");
                    return invalid("tls.client_certificate", reason);
                }
            }
        }
    };
    config.resumption = match settings.session_cache {
        0 => Resumption::disabled(),
        sessions => Resumption::in_memory_sessions(sessions),
    };
    Ok(config)
}

fn roots(settings: &TlsSettings, recorder: &Recorder) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    let Some(pem) = &settings.certificate_authorities else {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let why = found.errors.first().map(ToString::to_string).unwrap_or_default();
            recorder.missing(
                "the system's trusted certificates",
                &format!("there are none, so no server is trusted; install ca-certificates {why}"),
            );
        }
        return Ok(roots);
    };
    for certificate in CertificateDer::pem_slice_iter(pem) {
        match certificate {
            Ok(certificate) => {
                if let Err(error) = roots.add(certificate) {
                    let reason = format!("has a certificate that cannot be used: {error}");
                    return invalid("tls.certificate_authorities", reason);
                }
            }
            Err(error) => {
                return invalid("tls.certificate_authorities", format!("is not PEM: {error}"));
            }
        }
    }
    if roots.is_empty() {
        return invalid("tls.certificate_authorities", "holds no certificate");
    }
    Ok(roots)
}
