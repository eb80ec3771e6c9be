//! The UDP socket below a QUIC connection: each datagram is recorded, and what the network says
//! against it is heard.

use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use quinn::{
    AsyncUdpSocket, UdpPoller,
    udp::{RecvMeta, Transmit, UdpSocketState},
};
use tokio::{io::Interest, net::UdpSocket, sync::Notify};

use super::packet::{self, ServerPacket};
use crate::{
    clock::Moment,
    connection_log::LogWriter,
    connector::attempt,
    record::{FailureKind, IcmpCause, Id, OperationKind},
    recorder::Recorder,
    socket,
};

/// What the network said.
#[derive(Debug)]
pub(super) struct Complaint {
    pub(super) error: io::Error,
    pub(super) cause: Option<IcmpCause>,
}

/// A socket that is connected to a server.
pub(super) struct TracedSocket {
    io: UdpSocket,
    state: UdpSocketState,
    recorder: Arc<Recorder>,
    id: Id,
    writer: Mutex<LogWriter>,
    /// Whether the first flight of the server is still to come.
    learns: AtomicBool,
    sent: AtomicU64,
    complaint: Mutex<Option<Complaint>>,
    complained: Notify,
}

impl fmt::Debug for TracedSocket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TracedSocket").field("id", &self.id).finish_non_exhaustive()
    }
}

impl TracedSocket {
    pub(super) fn new(
        socket: std::net::UdpSocket,
        recorder: Arc<Recorder>,
        id: Id,
        writer: LogWriter,
    ) -> io::Result<Self> {
        let io = UdpSocket::from_std(socket)?;
        let state = UdpSocketState::new((&io).into())?;
        // A capture would see what the kernel puts together, which is no datagram of anybody's. A
        // kernel that does not know it does not do it either.
        let _ = nix::sys::socket::setsockopt(&io, nix::sys::socket::sockopt::UdpGroSegment, &false);
        Ok(Self {
            io,
            state,
            recorder,
            id,
            writer: Mutex::new(writer),
            learns: AtomicBool::new(true),
            sent: AtomicU64::new(0),
            complaint: Mutex::new(None),
            complained: Notify::new(),
        })
    }

    fn writer(&self) -> MutexGuard<'_, LogWriter> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server is there. What the network says from now on may be anybody's word, and would take
    /// the room of what is received.
    pub(super) fn forget_complaints(&self) {
        if let Ok(server) = self.io.peer_addr() {
            socket::forget_errors(&self.io, server);
        }
    }

    /// Says that nobody uses it any more. What is still sent, such as that the connection has
    /// ended, counts all the same.
    pub(super) fn close(&self, at: Moment) {
        self.writer().close(at);
    }

    /// How many datagrams were sent.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Waits for the network to say that nobody is there.
    pub(super) async fn complaint(&self) -> Complaint {
        loop {
            let complained = self.complained.notified();
            if let Some(complaint) = self.take_complaint() {
                return complaint;
            }
            tokio::select! {
                () = complained => {}
                ready = self.io.ready(Interest::ERROR) => {
                    if let Err(error) = ready {
                        return Complaint { error, cause: None };
                    }
                    if let Ok(Some(error)) = self.io.take_error() {
                        self.hear(error);
                    } else if let Some(cause) = socket::cause(&self.io) {
                        self.hear_cause(cause);
                    }
                    // It is ready no more until the network speaks again.
                    let _ = self.io.try_io(Interest::ERROR, || {
                        Err::<(), _>(io::ErrorKind::WouldBlock.into())
                    });
                }
            }
        }
    }

    fn take_complaint(&self) -> Option<Complaint> {
        self.complaint.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn hear(&self, error: io::Error) {
        // Datagrams that are too long are how the path's limit is found.
        if !matches!(attempt::kind(&error), FailureKind::Refused | FailureKind::Unreachable) {
            return;
        }
        let complaint = Complaint { cause: socket::cause(&self.io), error };
        *self.complaint.lock().unwrap_or_else(PoisonError::into_inner) = Some(complaint);
        self.complained.notify_one();
    }

    /// What the kernel kept of an error that a call of somebody else's has fetched.
    fn hear_cause(&self, cause: IcmpCause) {
        let (Some(icmp_type), Some(code)) = (cause.icmp_type, cause.icmp_code) else { return };
        let is_ipv4 = self.io.peer_addr().is_ok_and(|peer| peer.is_ipv4());
        let kind = match (is_ipv4, icmp_type, code) {
            (true, 3, 3) | (false, 1, 4) => io::ErrorKind::ConnectionRefused,
            // What is too big for a link is sent smaller.
            (true, 3, 4) => return,
            (true, 3, _) | (false, 1, _) => io::ErrorKind::HostUnreachable,
            _ => return,
        };
        let complaint = Complaint { error: kind.into(), cause: Some(cause) };
        *self.complaint.lock().unwrap_or_else(PoisonError::into_inner) = Some(complaint);
        self.complained.notify_one();
    }

    /// Looks at what can be seen of a packet without its keys.
    fn learn(&self, datagram: &[u8]) {
        match packet::parse(datagram) {
            Some(ServerPacket::Handshake(source)) => {
                self.learns.store(false, Relaxed);
                let source = packet::show(source);
                self.recorder.quic(self.id, |quic| {
                    quic.destination_connection_id = Some(source);
                });
            }
            Some(ServerPacket::Retry) => self.recorder.quic(self.id, |quic| quic.retried = true),
            Some(ServerPacket::Versions(versions)) => {
                self.recorder.quic(self.id, |quic| quic.offered_versions = versions);
            }
            None => {}
        }
    }
}

impl AsyncUdpSocket for TracedSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Writable(self))
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let called_at = self.recorder.now();
        let result =
            self.io.try_io(Interest::WRITABLE, || self.state.try_send((&self.io).into(), transmit));
        let error = match result {
            Ok(()) => None,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
            Err(error) => Some(error),
        };
        let sent = if error.is_none() { transmit.contents.len() as u64 } else { 0 };
        let words = error.as_ref().map(|error| error.to_string().into());
        self.writer().count(OperationKind::Write, called_at, self.recorder.now(), sent, words);
        self.sent.fetch_add(1, Relaxed);
        if let Some(error) = error {
            // To QUIC it is a datagram that was lost.
            self.hear(error);
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [io::IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.io.poll_recv_ready(context))?;
            let called_at = self.recorder.now();
            let result = self
                .io
                .try_io(Interest::READABLE, || self.state.recv((&self.io).into(), buffers, meta));
            match result {
                Ok(count) => {
                    let returned_at = self.recorder.now();
                    let mut writer = self.writer();
                    for (buffer, meta) in buffers.iter().zip(meta.iter()).take(count) {
                        let bytes = buffer.get(..meta.len).unwrap_or_default();
                        for datagram in bytes.chunks(meta.stride.max(1)) {
                            let length = datagram.len() as u64;
                            let kind = OperationKind::Read;
                            writer.count(kind, called_at, returned_at, length, None);
                            if self.learns.load(Relaxed) {
                                self.learn(datagram);
                            }
                        }
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    let words = Some(error.to_string().into());
                    let (kind, now) = (OperationKind::Read, self.recorder.now());
                    self.writer().count(kind, called_at, now, 0, words);
                    self.hear(error);
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    // One datagram for each call: as a capture sees them, and as they are recorded.
    fn max_transmit_segments(&self) -> usize {
        1
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }
}

/// Waits until the socket takes a datagram. A socket has one connection, so one task waits.
#[derive(Debug)]
struct Writable(Arc<TracedSocket>);

impl UdpPoller for Writable {
    fn poll_writable(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.io.poll_send_ready(context)
    }
}
