//! Connections to servers, encrypted or on this host.

use std::{net::IpAddr, path::Path, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};

use super::fault::Fault;
use crate::authorities::authorities;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    is_encrypted: bool,
    /// An IPv6 address without its brackets.
    host: String,
    port: u16,
}

impl Origin {
    /// The server of `url`, and the path that follows. Tokens and keys pass there: what is not
    /// encrypted has to stay on this host.
    pub(super) fn parse(url: &str) -> Result<(Self, String), Fault> {
        let invalid = |reason: &str| {
            Fault::Setup(format!("the URL '{}' cannot be used: {reason}", url.escape_debug()))
        };
        let (origin, path) = Self::parse_any(url).map_err(invalid)?;
        let is_local = origin.host == "localhost"
            || origin.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        if origin.is_encrypted || is_local {
            Ok((origin, path))
        } else {
            Err(invalid("it is not encrypted, and not on this host; write https://"))
        }
    }

    /// The same without a look at who could listen.
    pub(super) fn parse_any(url: &str) -> Result<(Self, String), &'static str> {
        let (is_encrypted, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://"))
        {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err("write https://HOST:PORT"),
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        let default = if is_encrypted { 443 } else { 80 };
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let is_host = |host: &str| {
            host.parse::<IpAddr>().is_ok()
                || !host.is_empty()
                    && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
        };
        if !is_host(host) {
            return Err("its host is no name and no address");
        }
        let port = match port {
            Some(port) => port.parse().map_err(|_| "its port is no number")?,
            None => default,
        };
        let is_path = |path: &str| path.chars().all(|c| c.is_ascii_graphic() && c != '#');
        if !is_path(path) {
            return Err("its path has characters that a URL cannot have");
        }
        Ok((Self { is_encrypted, host: host.to_owned(), port }, path.to_owned()))
    }

    /// `HOST:PORT`, without the port where it is the usual one.
    pub(super) fn authority(&self) -> String {
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.is_encrypted, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    pub(super) fn scheme(&self) -> &'static str {
        if self.is_encrypted { "https" } else { "http" }
    }
}

/// The versions of HTTP that are spoken here, as TLS names them (RFC 7301).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

/// A connection.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Makes connections.
#[derive(Clone)]
pub(super) struct Transport {
    http1: TlsConnector,
    http2: TlsConnector,
}

impl Transport {
    /// Trusts those in `root_certificates`, or those whom the system trusts.
    pub(super) fn new(root_certificates: Option<&Path>) -> Result<Self, Fault> {
        // Without the system's authorities a server of this host can still be reached.
        let roots =
            match (authorities(root_certificates, "--bq-root-certificates"), root_certificates) {
                (Ok(roots), _) => roots,
                (Err(reason), Some(_)) => return Err(Fault::Setup(reason)),
                (Err(_), None) => RootCertStore::empty(),
            };
        let provider = Arc::new(ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Fault::Setup(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let http1 = TlsConnector::from(Arc::new(config.clone()));
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { http1, http2: TlsConnector::from(Arc::new(config)) })
    }

    /// A new connection to `origin`, for `version` of HTTP.
    pub(super) async fn connect(
        &self,
        origin: &Origin,
        version: Version,
    ) -> Result<Box<dyn Stream>, Fault> {
        timeout(CONNECT_TIMEOUT, self.connect_without_limit(origin, version))
            .await
            .unwrap_or_else(|_| Err(Fault::Lost(format!("{} does not answer", origin.authority()))))
    }

    async fn connect_without_limit(
        &self,
        origin: &Origin,
        version: Version,
    ) -> Result<Box<dyn Stream>, Fault> {
        let failed = |error: std::io::Error| {
            Fault::Lost(format!("{} cannot be reached: {error}", origin.authority()))
        };
        let stream =
            TcpStream::connect((origin.host.as_str(), origin.port)).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        if !origin.is_encrypted {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from(origin.host.clone())
            .map_err(|error| Fault::Setup(format!("'{}': {error}", origin.host)))?;
        let connector = match version {
            Version::Http1 => &self.http1,
            Version::Http2 => &self.http2,
        };
        let stream = connector.connect(name, stream).await.map_err(failed)?;
        if version == Version::Http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(Fault::Setup(format!(
                "{} does not speak HTTP/2, which gRPC needs; check proxies and --bq-endpoint",
                origin.authority()
            )));
        }
        Ok(Box::new(stream))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        for (url, authority, scheme, path) in [
            ("https://bigquery.googleapis.com", "bigquery.googleapis.com", "https", ""),
            ("https://h:443/a/b?c", "h", "https", "/a/b?c"),
            ("http://127.0.0.1:9050/", "127.0.0.1:9050", "http", "/"),
            ("http://[::1]:9050", "[::1]:9050", "http", ""),
            ("http://localhost", "localhost", "http", ""),
        ] {
            let (origin, rest) = Origin::parse(url).unwrap();
            assert_eq!((&*origin.authority(), origin.scheme(), &*rest), (authority, scheme, path));
        }
    }

    #[test]
    fn a_token_does_not_pass_unencrypted_to_other_hosts() {
        for url in
            ["http://10.0.0.1", "http://bigquery.googleapis.com", "http://localhost.evil.com"]
        {
            let Err(Fault::Setup(reason)) = Origin::parse(url) else { panic!("{url} was taken") };
            assert!(reason.contains("write https://"), "{reason}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for url in ["", "h:1", "ftp://h", "https://", "https://u@h", "https://h:x", "https://h/ x"]
        {
            assert!(Origin::parse(url).is_err(), "{url}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(url in "(https?://)?\\PC{0,30}") {
            let _ = Origin::parse(&url);
        }
    }
}
