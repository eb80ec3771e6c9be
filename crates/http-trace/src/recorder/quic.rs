//! Records of QUIC connections: those of UDP sockets with what QUIC adds.

use super::Recorder;
use crate::record::{Id, QuicConnection};
#[cfg(feature = "http3")]
use crate::{
    connection_log::LogWriter,
    record::{AddressTuple, UdpConnection},
};

impl Recorder {
    #[cfg(feature = "http3")]
    pub(crate) fn begin_quic(
        &self,
        dial: Id,
        addresses: AddressTuple,
        quic: QuicConnection,
    ) -> (Id, LogWriter) {
        let (log, writer) = self.log();
        let mut state = self.state();
        let id = Self::next_id();
        let connection = UdpConnection {
            id,
            dial: Some(dial),
            to_nameserver: false,
            began_at: quic.handshake_began_at,
            closed_at: None,
            addresses,
            sent_bytes: 0,
            received_bytes: 0,
            operations: None,
            error: None,
            conntrack: None,
            quic: Some(Box::new(quic)),
        };
        state.udp.add(id, connection, log);
        (id, writer)
    }

    pub(crate) fn quic(&self, id: Id, change: impl FnOnce(&mut QuicConnection)) {
        self.udp(id, |udp| {
            if let Some(quic) = &mut udp.quic {
                change(quic);
            }
        });
    }

    /// Counts a request over a connection of either kind.
    pub(crate) fn count_request(&self, connection: Id) {
        {
            let mut state = self.state();
            state.tcp.change(connection, |tcp| tcp.requests += 1);
            state.udp.change(connection, |udp| {
                if let Some(quic) = &mut udp.quic {
                    quic.requests += 1;
                }
            });
        }
        self.after_change();
    }
}
