//! Records of QUIC connections: those of UDP sockets with what QUIC adds.

use super::Recorder;
use crate::record::{Id, QuicConnection};

impl Recorder {
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
