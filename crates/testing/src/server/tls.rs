//! The server's end of TLS.

use std::{path::Path, sync::Arc};

use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring::default_provider,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

/// Shows the certificate `server.crt` of a folder, whose key is `server.key`.
pub(super) fn acceptor(folder: &Path) -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_file(folder.join("server.crt"));
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key"));
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has the ciphers of both")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.expect("openssl wrote it")],
            key.expect("openssl wrote it"),
        )
        .expect("the key is that of the certificate");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}
