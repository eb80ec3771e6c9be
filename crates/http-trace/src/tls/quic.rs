//! The handshake of TLS inside that of QUIC (RFC 9001): the same settings, certificates and records
//! as over TCP.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio_rustls::rustls::{
    self, AlertDescription, ClientConfig, CommonState, client::Resumption, pki_types::ServerName,
};

use super::{SEEN, Seen, Tls, alert_name, describe, describe_failed, host_of, server_name};
use crate::{
    record::{Failure, FailureKind, Id, Layer, TlsRole, TlsTunnel},
    recorder::Recorder,
    settings::TlsSettings,
};

/// The only protocol that is offered.
const HTTP3: &str = "h3";

pub(super) fn config(config: &ClientConfig, settings: &TlsSettings) -> ClientConfig {
    let mut config = config.clone();
    config.alpn_protocols = vec![HTTP3.as_bytes().to_vec()];
    config.enable_early_data = settings.early_data;
    if settings.config.is_none() {
        config.resumption = match settings.session_cache {
            0 => Resumption::disabled(),
            sessions => Resumption::in_memory_sessions(sessions),
        };
    }
    config
}

/// The name of an alert, by its number.
pub(crate) fn alert(number: u8) -> String {
    alert_name(AlertDescription::from(number))
}

/// What a handshake is made with.
pub(crate) struct QuicHandshake {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) name: ServerName<'static>,
    pub(crate) tunnel: Arc<QuicTunnel>,
}

impl Tls {
    pub(crate) fn sends_early_data(&self) -> bool {
        self.quic.enable_early_data
    }

    /// Begins the record of a handshake.
    pub(crate) fn begin_quic(
        &self,
        connection: Id,
        request: Option<Id>,
        host: &str,
    ) -> Result<QuicHandshake, Failure> {
        let offered = vec![HTTP3.to_owned()];
        let record = self.recorder.begin_tls(connection, request, TlsRole::Server, offered);
        let host = host_of(host);
        let tunnel = QuicTunnel {
            recorder: Arc::clone(&self.recorder),
            record,
            host: host.to_owned(),
            state: Mutex::default(),
        };
        match server_name(host) {
            Ok(name) => {
                let shown = matches!(name, ServerName::DnsName(_)).then(|| host.to_owned());
                self.recorder.tls(record, |tunnel| tunnel.server_name = shown);
                Ok(QuicHandshake { config: Arc::clone(&self.quic), name, tunnel: Arc::new(tunnel) })
            }
            Err(failure) => {
                tunnel.fail(&failure);
                Err(failure)
            }
        }
    }
}

/// The record of a handshake, for those who make it and those who wait for it.
pub(crate) struct QuicTunnel {
    recorder: Arc<Recorder>,
    pub(crate) record: Option<Id>,
    host: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    seen: Option<Seen>,
    ended: bool,
    failure: Option<Failure>,
}

impl std::fmt::Debug for QuicTunnel {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("QuicTunnel").field("record", &self.record).finish_non_exhaustive()
    }
}

impl QuicTunnel {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does a step of the handshake, and notes what the other end shows in it.
    pub(crate) fn watch<T>(&self, step: impl FnOnce() -> T) -> T {
        SEEN.set(Some(self.state().seen.take().unwrap_or_default()));
        let result = step();
        self.state().seen = SEEN.take();
        result
    }

    fn end(&self, change: impl FnOnce(&mut TlsTunnel, &Seen)) {
        let seen = {
            let mut state = self.state();
            if std::mem::replace(&mut state.ended, true) {
                return;
            }
            state.seen.take().unwrap_or_default()
        };
        let ended_at = Some(self.recorder.now());
        self.recorder.tls(self.record, |tunnel| {
            tunnel.ended_at = ended_at;
            change(tunnel, &seen);
        });
    }

    /// Ends the record with what was agreed on.
    pub(crate) fn agreed(&self, connection: &CommonState) {
        self.end(|tunnel, seen| describe(tunnel, connection, seen));
    }

    /// Ends it with what TLS does not accept.
    pub(crate) fn refused(&self, error: &rustls::Error) {
        let error = io::Error::new(io::ErrorKind::InvalidData, error.clone());
        let failure = super::failure(&self.host, TlsRole::Server, &error);
        self.state().failure = Some(failure.clone());
        self.end(|tunnel, seen| {
            tunnel.error = Some(failure);
            describe_failed(tunnel, &error, seen);
        });
    }

    /// What TLS did not accept.
    pub(crate) fn failure(&self) -> Option<Failure> {
        self.state().failure.clone()
    }

    /// Ends it with an alert of the other end.
    pub(crate) fn alerted(&self, alert: u8) -> Failure {
        let error = rustls::Error::AlertReceived(AlertDescription::from(alert));
        let mut failure = super::failure(
            &self.host,
            TlsRole::Server,
            &io::Error::new(io::ErrorKind::InvalidData, error.clone()),
        );
        if AlertDescription::from(alert) == AlertDescription::NoApplicationProtocol {
            failure.message.push_str(": it does not speak HTTP/3 there");
        }
        let told = failure.clone();
        self.end(|tunnel, seen| {
            tunnel.error = Some(told);
            tunnel.certificates = super::certificates(&seen.certificates);
            tunnel.client_certificate_requested = seen.client_certificate_requested;
            tunnel.alert_received = Some(self::alert(alert));
        });
        failure
    }

    /// Ends it with what happened to the connection.
    pub(crate) fn fail(&self, failure: &Failure) {
        self.end(|tunnel, seen| {
            tunnel.error = Some(failure.clone());
            tunnel.certificates = super::certificates(&seen.certificates);
        });
    }
}

impl Drop for QuicTunnel {
    fn drop(&mut self) {
        let message = "nobody waits for the handshake any more";
        self.fail(&Failure::new(Layer::Caller, FailureKind::Canceled, message));
    }
}
