//! TLS for quinn, by rustls: as quinn's own, but what is agreed on, and why not, is recorded.

use std::{any::Any, io::Cursor, sync::Arc};

use quinn::{
    ConnectError, ConnectionId, Side, TransportErrorCode,
    crypto::{self, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey},
};
use quinn_proto::{TransportError, transport_parameters::TransportParameters};
use ring::aead;
use tokio_rustls::rustls::{
    self, CipherSuite, ClientConfig,
    crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256,
    pki_types::ServerName,
    quic::{ClientConnection, KeyChange, Secrets, Suite, Version},
};

use crate::tls::quic::{QuicHandshake, QuicTunnel};

/// The one version that is spoken (RFC 9000).
pub(super) const VERSION: u32 = 1;

/// Key and nonce of the integrity of a `Retry` (RFC 9001, section 5.8). They are no secrets.
const RETRY_KEY: [u8; 16] = [
    0xbe, 0x0c, 0x69, 0x0b, 0x9f, 0x66, 0x57, 0x5a, 0x1d, 0x76, 0x6b, 0x54, 0xe3, 0x68, 0xc8, 0x4e,
];
const RETRY_NONCE: [u8; 12] =
    [0x46, 0x15, 0x99, 0xd3, 0x5d, 0x63, 0x2b, 0xf2, 0x23, 0x98, 0x25, 0xbb];

/// What one connection is made with.
pub(super) struct Config {
    tls: Arc<ClientConfig>,
    name: ServerName<'static>,
    tunnel: Arc<QuicTunnel>,
}

impl From<QuicHandshake> for Config {
    fn from(QuicHandshake { config, name, tunnel }: QuicHandshake) -> Self {
        Self { tls: config, name, tunnel }
    }
}

impl crypto::ClientConfig for Config {
    fn start_session(
        self: Arc<Self>,
        version: u32,
        server_name: &str,
        parameters: &TransportParameters,
    ) -> Result<Box<dyn crypto::Session>, ConnectError> {
        let initial = initial_suite().filter(|_| version == VERSION);
        let initial = initial.ok_or(ConnectError::UnsupportedVersion)?;
        let mut bytes = Vec::new();
        parameters.write(&mut bytes);
        let (config, name) = (Arc::clone(&self.tls), self.name.clone());
        let inner = ClientConnection::new(config, Version::V1, name, bytes).map_err(|error| {
            self.tunnel.refused(&error);
            ConnectError::InvalidServerName(server_name.to_owned())
        })?;
        Ok(Box::new(Session {
            inner,
            initial,
            next: None,
            has_handshake_data: false,
            tunnel: Arc::clone(&self.tunnel),
        }))
    }
}

/// What the first packets are sealed with (RFC 9001, section 5.2).
fn initial_suite() -> Option<Suite> {
    debug_assert_eq!(TLS13_AES_128_GCM_SHA256.suite(), CipherSuite::TLS13_AES_128_GCM_SHA256);
    TLS13_AES_128_GCM_SHA256.tls13()?.quic_suite()
}

struct Session {
    inner: ClientConnection,
    initial: Suite,
    next: Option<Secrets>,
    has_handshake_data: bool,
    tunnel: Arc<QuicTunnel>,
}

fn pair(keys: rustls::quic::Keys) -> Keys {
    Keys {
        header: KeyPair {
            local: Box::new(keys.local.header),
            remote: Box::new(keys.remote.header),
        },
        packet: KeyPair {
            local: Box::new(keys.local.packet),
            remote: Box::new(keys.remote.packet),
        },
    }
}

impl crypto::Session for Session {
    fn initial_keys(&self, destination: &ConnectionId, side: Side) -> Keys {
        let side = match side {
            Side::Client => rustls::Side::Client,
            Side::Server => rustls::Side::Server,
        };
        pair(self.initial.keys(destination, side, Version::V1))
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        // What there is to know is recorded; this says that it is there.
        self.has_handshake_data.then(|| Box::new(()) as Box<dyn Any>)
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        None
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        let keys = self.inner.zero_rtt_keys()?;
        Some((Box::new(keys.header), Box::new(keys.packet)))
    }

    fn early_data_accepted(&self) -> Option<bool> {
        Some(self.inner.is_early_data_accepted())
    }

    fn is_handshaking(&self) -> bool {
        self.inner.is_handshaking()
    }

    fn read_handshake(&mut self, bytes: &[u8]) -> Result<bool, TransportError> {
        let inner = &mut self.inner;
        if let Err(error) = self.tunnel.watch(|| inner.read_hs(bytes)) {
            self.tunnel.refused(&error);
            let code = match self.inner.alert() {
                Some(alert) => TransportErrorCode::crypto(alert.into()),
                None => TransportErrorCode::PROTOCOL_VIOLATION,
            };
            return Err(TransportError { code, frame: None, reason: error.to_string() });
        }
        if !self.inner.is_handshaking() {
            self.tunnel.agreed(&self.inner);
        }
        let is_known = self.inner.alpn_protocol().is_some() || !self.inner.is_handshaking();
        Ok(is_known && !std::mem::replace(&mut self.has_handshake_data, is_known))
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        let Some(bytes) = self.inner.quic_transport_parameters() else { return Ok(None) };
        Ok(Some(TransportParameters::read(Side::Client, &mut Cursor::new(bytes))?))
    }

    fn write_handshake(&mut self, buffer: &mut Vec<u8>) -> Option<Keys> {
        let inner = &mut self.inner;
        match self.tunnel.watch(|| inner.write_hs(buffer))? {
            KeyChange::Handshake { keys } => Some(pair(keys)),
            KeyChange::OneRtt { keys, next } => {
                self.next = Some(next);
                Some(pair(keys))
            }
        }
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        let keys = self.next.as_mut()?.next_packet_keys();
        Some(KeyPair { local: Box::new(keys.local), remote: Box::new(keys.remote) })
    }

    fn is_valid_retry(&self, original: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        is_valid_retry(original, header, payload).is_some()
    }

    fn export_keying_material(
        &self,
        _: &mut [u8],
        _: &[u8],
        _: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        // HTTP has no use for it.
        Err(ExportKeyingMaterialError)
    }
}

/// Whether the tag at the end of a `Retry` is of who has seen our first packet.
fn is_valid_retry(original: &[u8], header: &[u8], payload: &[u8]) -> Option<()> {
    let sealed = payload.len().checked_sub(aead::AES_128_GCM.tag_len())?;
    let (token, tag) = payload.split_at_checked(sealed)?;
    let length = u8::try_from(original.len()).ok()?;
    let pseudo_packet = [&[length], original, header, token].concat();
    let key = aead::UnboundKey::new(&aead::AES_128_GCM, &RETRY_KEY).ok()?;
    let nonce = aead::Nonce::assume_unique_for_key(RETRY_NONCE);
    let mut tag = tag.to_vec();
    let opened =
        aead::LessSafeKey::new(key).open_in_place(nonce, aead::Aad::from(&pseudo_packet), &mut tag);
    opened.ok().map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_retry_of_the_standard_is_valid_and_no_other_one() {
        // RFC 9001, appendix A.4.
        let original = [0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08];
        let header = b"\xff\x00\x00\x00\x01\x00\x08\xf0\x67\xa5\x50\x2a\x42\x62\xb5";
        let mut payload = b"token".to_vec();
        payload.extend([
            0x04, 0xa2, 0x65, 0xba, 0x2e, 0xff, 0x4d, 0x82, 0x90, 0x58, 0xfb, 0x3f, 0x0f, 0x24,
            0x96, 0xba,
        ]);
        assert!(is_valid_retry(&original, header, &payload).is_some());
        payload[0] ^= 1;
        assert!(is_valid_retry(&original, header, &payload).is_none());
        assert!(is_valid_retry(&original, header, b"short").is_none());
    }
}
