//! Handshakes, and what is known of them when they fail.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use http_body_util::Full;
use http_trace::{
    record::{FailureKind, Layer},
    settings::HttpVersions,
};
use hyper::{body::Bytes, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use tokio::io::AsyncWriteExt;
#[cfg(feature = "http3")]
use tokio_rustls::rustls::{RootCertStore, server::WebPkiClientVerifier};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring::default_provider,
        pki_types::PrivateKeyDer,
        server::{NoClientAuth, danger::ClientCertVerifier},
    },
};

use crate::servers::{HELLO, client, fetch, request, tcp};

pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    pub(crate) fn pem(&self) -> Vec<u8> {
        pem("CERTIFICATE", self.issuer.der())
    }

    /// A server's configuration, with a certificate for 127.0.0.1.
    pub(crate) fn server(&self, expired: bool, protocols: &[&[u8]]) -> ServerConfig {
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "server");
        if expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        self.config(&params, protocols, Arc::new(NoClientAuth))
    }

    /// The same, of one that wants a certificate of this authority from its clients.
    #[cfg(feature = "http3")]
    pub(crate) fn server_that_asks(&self, protocols: &[&[u8]]) -> ServerConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let provider = Arc::new(default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        self.config(&params, protocols, verifier.build().unwrap())
    }

    fn config(
        &self,
        params: &CertificateParams,
        protocols: &[&[u8]],
        verifier: Arc<dyn ClientCertVerifier>,
    ) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let chain = vec![certificate.der().clone(), self.issuer.der().clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        config
    }

    /// A client's certificate and its key, as PEM.
    #[cfg(feature = "http3")]
    pub(crate) fn client_certificate(&self) -> (Vec<u8>, Vec<u8>) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["client".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (pem("CERTIFICATE", certificate.der()), pem("PRIVATE KEY", &key.serialize_der()))
    }
}

fn pem(label: &str, der: &[u8]) -> Vec<u8> {
    let text = STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n").into_bytes()
}

pub(crate) async fn serve(config: ServerConfig) -> SocketAddr {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tcp(move |stream, _| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                let service = service_fn(|_| async {
                    Ok::<_, Infallible>(http::Response::new(Full::new(Bytes::from("hello\n"))))
                });
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
                return;
            }
            while request(&mut stream).await.is_some() {
                stream.write_all(HELLO.as_bytes()).await.unwrap();
            }
        }
    })
    .await
}

#[tokio::test]
async fn all_that_was_agreed_on_is_recorded() {
    let authority = Authority::new("Test Root");
    let server = serve(authority.server(false, &[b"h2", b"http/1.1"])).await;
    let client = client(|settings| {
        settings.versions = HttpVersions::PreferHttp2;
        settings.tls.certificate_authorities = Some(authority.pem());
        settings.tls.keep_secrets = true;
    });
    for _ in 0..2 {
        assert_eq!(fetch(&client, &format!("https://{server}/")).await.unwrap(), "hello\n");
    }
    let trace = client.trace("agreed");
    let [tunnel] = &trace.tls[..] else { panic!("one tunnel") };
    assert_eq!(tunnel.version.as_deref(), Some("TLSv1.3"));
    assert_eq!(tunnel.protocol.as_deref(), Some("h2"));
    assert_eq!(tunnel.offered_protocols, ["h2", "http/1.1"]);
    assert!(tunnel.group.is_some() && !tunnel.resumed && tunnel.cipher_suite.is_some());
    assert_eq!(tunnel.certificates[0].names, ["127.0.0.1"]);
    assert_eq!(tunnel.certificates[0].issuer, "CN=Test Root");
    let streams: Vec<_> = trace.requests.iter().map(|request| request.stream).collect();
    assert_eq!(streams, [Some(1), Some(3)]);
    assert!(trace.requests.iter().all(|request| request.tls == Some(tunnel.id)));
    let http2 = trace.tcp[0].http2.as_ref().unwrap();
    assert!(!http2.settings.is_empty() && http2.streams_at_once == 1);
    assert!(client.tls_secrets().unwrap().0.contains("CLIENT_TRAFFIC_SECRET_0"));
}

#[tokio::test]
async fn a_handshake_that_fails_shows_the_whole_chain_and_who_was_refused() {
    let authority = Authority::new("Test Root");
    for (expired, trusted, refused) in [(true, true, 0), (false, false, 1)] {
        let server = serve(authority.server(expired, &[])).await;
        let known = if trusted { authority.pem() } else { Authority::new("Other Root").pem() };
        let client = client(|settings| {
            settings.tls.certificate_authorities = Some(known);
        });
        let error = fetch(&client, &format!("https://{server}/")).await.unwrap_err();
        assert_eq!(
            (error.layer(), error.kind()),
            (Layer::Tls, FailureKind::Certificate),
            "{error}"
        );
        let trace = client.trace("refused");
        let tunnel = &trace.tls[0];
        assert_eq!((tunnel.certificates.len(), tunnel.refused_certificate), (2, Some(refused)));
        assert!(tunnel.alert_sent.is_some() && tunnel.connection == Some(trace.tcp[0].id));
    }
}

#[tokio::test]
async fn a_session_is_taken_up_again_where_sessions_are_remembered() {
    let authority = Authority::new("Test Root");
    let server = serve(authority.server(false, &[])).await;
    let client = client(|settings| {
        settings.tls.certificate_authorities = Some(authority.pem());
        settings.tls.session_cache = 8;
        settings.disable_keep_alive = true;
    });
    for _ in 0..2 {
        fetch(&client, &format!("https://{server}/")).await.unwrap();
    }
    let trace = client.trace("resumed");
    let resumed: Vec<_> = trace.tls.iter().map(|tunnel| tunnel.resumed).collect();
    assert_eq!(resumed, [false, true]);
    assert_eq!(trace.tls[1].certificates.len(), 2);
}
