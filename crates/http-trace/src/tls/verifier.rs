//! Judges certificates, and keeps what was judged for the record.

use std::sync::Arc;

use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::see;
use crate::{Error, settings::invalid};

#[derive(Debug)]
enum Judge {
    /// Accepts all.
    Anything,
    /// Trusts nobody, as nobody is known.
    Nothing,
    Roots(Arc<WebPkiServerVerifier>),
}

/// One for all handshakes of a client: sessions are only taken up again by the one that judged
/// their certificates.
#[derive(Debug)]
pub(super) struct RecordingVerifier {
    judge: Judge,
    provider: Arc<CryptoProvider>,
}

impl RecordingVerifier {
    pub(super) fn of_anything(provider: Arc<CryptoProvider>) -> Self {
        Self { judge: Judge::Anything, provider }
    }

    pub(super) fn of_roots(
        roots: RootCertStore,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, Error> {
        if roots.is_empty() {
            return Ok(Self { judge: Judge::Nothing, provider });
        }
        let builder =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        match builder.build() {
            Ok(judge) => Ok(Self { judge: Judge::Roots(judge), provider }),
            Err(error) => {
                invalid("tls.certificate_authorities", format!("cannot be used: {error}"))
            }
        }
    }
}

impl ServerCertVerifier for RecordingVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let result = match &self.judge {
            Judge::Anything => Ok(ServerCertVerified::assertion()),
            Judge::Nothing => Err(CertificateError::UnknownIssuer.into()),
            Judge::Roots(judge) => {
                judge.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
        };
        see(|seen| {
            seen.certificates = std::iter::once(end_entity)
                .chain(intermediates)
                .take(super::MAXIMUM_CERTIFICATES)
                .map(|certificate| certificate.clone().into_owned())
                .collect();
            seen.ocsp_response = ocsp_response.len();
            seen.refused = result.as_ref().err().cloned();
        });
        result
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
