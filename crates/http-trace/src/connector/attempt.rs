//! One TCP connection to one address.

use std::{io, net::SocketAddr, os::fd::AsFd, sync::Arc};

use socket2::Socket;
use tokio::net::TcpStream;

use crate::{
    connection_log::LogWriter,
    record::{AddressTuple, Failure, FailureKind, Id, Layer, TcpInformation},
    recorder::Recorder,
    socket::{self, SocketOptions},
    stream::TracedStream,
};

/// `TCP_ESTABLISHED` of `net/tcp_states.h`.
const ESTABLISHED: u8 = 1;

/// A socket that is about to be connected, and recorded.
pub(crate) struct Opened {
    recorder: Arc<Recorder>,
    id: Id,
    address: SocketAddr,
    socket: Option<Socket>,
    writer: Option<LogWriter>,
    options: SocketOptions,
}

/// Connects to an address.
pub(crate) async fn connect(
    recorder: &Arc<Recorder>,
    dial: Id,
    address: SocketAddr,
    options: &SocketOptions,
    to_nameserver: bool,
) -> Result<TracedStream, Failure> {
    if !options.suits(address.ip()) {
        let message =
            format!("cannot connect to {address}: the source address is of another family");
        return Err(Failure::new(Layer::Connect, FailureKind::SourceAddress, message));
    }
    let (_, opened) = open(recorder, dial, address, options, to_nameserver)?;
    opened.connect().await
}

/// Makes the socket. From here on it is in the trace.
pub(crate) fn open(
    recorder: &Arc<Recorder>,
    dial: Id,
    address: SocketAddr,
    options: &SocketOptions,
    to_nameserver: bool,
) -> Result<(Id, Opened), Failure> {
    let socket = socket::tcp(address).map_err(|error| failure(address, &error))?;
    let addresses = AddressTuple { source: None, destination: address };
    let (id, writer) = recorder.begin_tcp(dial, to_nameserver, addresses);
    let opened = Opened {
        recorder: Arc::clone(recorder),
        id,
        address,
        socket: Some(socket),
        writer: Some(writer),
        options: options.clone(),
    };
    Ok((id, opened))
}

impl Opened {
    fn information(&self, socket: &impl AsFd) -> Option<TcpInformation> {
        socket::tcp_information(socket, self.recorder.now())
    }

    pub(crate) async fn connect(mut self) -> Result<TracedStream, Failure> {
        let result = self.establish().await;
        let ended_at = Some(self.recorder.now());
        let recorder = Arc::clone(&self.recorder);
        match (result, self.writer.take()) {
            (Ok(Established { stream, source, information }), Some(writer)) => {
                let information = information.filter(|_| recorder.recording().tcp_information);
                recorder.tcp(self.id, |tcp| {
                    tcp.addresses.source = source;
                    tcp.ended_at = ended_at;
                    tcp.connected = true;
                    tcp.information_at_connect = information.map(Box::new);
                });
                Ok(TracedStream::new(stream, self.id, writer, recorder))
            }
            (result, writer) => {
                let failure = match result {
                    Err(failure) => failure,
                    Ok(_) => Failure::new(Layer::Connect, FailureKind::Other, "no log"),
                };
                drop(writer);
                let error = failure.clone();
                recorder.tcp(self.id, |tcp| {
                    tcp.ended_at = ended_at;
                    tcp.error = Some(error);
                });
                Err(failure)
            }
        }
    }

    async fn establish(&mut self) -> Result<Established, Failure> {
        let address = self.address;
        let Some(socket) = self.socket.take() else {
            return Err(Failure::new(Layer::Connect, FailureKind::Other, "no socket"));
        };
        let (begun, socket) = socket::begin_connect(socket, address, &self.options);
        let source = socket::local_address(&socket);
        // Its other end may have answered already where it is on this host.
        let at_once = begun.is_ok().then(|| self.information(&socket)).flatten();
        let at_once = at_once.filter(|information| information.state == ESTABLISHED);
        if at_once.is_none() {
            self.recorder.tcp(self.id, |tcp| tcp.addresses.source = source);
        }
        let with_cause = |error: io::Error, cause| {
            let mut failure = failure(address, &error);
            failure.cause = cause;
            failure
        };
        if let Err(error) = begun {
            return Err(with_cause(error, socket::cause(&socket).map(Box::new)));
        }
        let stream =
            TcpStream::from_std(socket.into()).map_err(|error| failure(address, &error))?;
        if at_once.is_some() {
            return Ok(Established { stream, source, information: at_once });
        }
        let result = match stream.writable().await {
            Ok(()) => match stream.take_error() {
                Ok(None) => Ok(()),
                Ok(Some(error)) | Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        match result {
            Ok(()) => {
                let wanted = self.recorder.recording().tcp_information;
                let information = wanted.then(|| self.information(&stream)).flatten();
                Ok(Established { stream, source, information })
            }
            Err(error) => Err(with_cause(error, socket::cause(&stream).map(Box::new))),
        }
    }
}

/// A connection that is there.
struct Established {
    stream: TcpStream,
    source: Option<SocketAddr>,
    information: Option<TcpInformation>,
}

impl Drop for Opened {
    fn drop(&mut self) {
        if self.writer.is_some() {
            let ended_at = Some(self.recorder.now());
            let message = format!("the attempt to connect to {} was given up", self.address);
            let failure = Failure::new(Layer::Caller, FailureKind::Canceled, message);
            self.recorder.tcp(self.id, |tcp| {
                tcp.ended_at = ended_at;
                tcp.error = Some(failure);
            });
        }
    }
}

fn failure(address: SocketAddr, error: &io::Error) -> Failure {
    let message = format!("cannot connect to {address}: {error}");
    Failure::new(Layer::Connect, kind(error), message)
}

/// What kind of failure the kernel's word for it is.
pub(crate) fn kind(error: &io::Error) -> FailureKind {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused => FailureKind::Refused,
        Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe => FailureKind::Reset,
        Kind::TimedOut => FailureKind::Timeout,
        Kind::AddrNotAvailable => FailureKind::SourceAddress,
        Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown => {
            FailureKind::Unreachable
        }
        Kind::UnexpectedEof => FailureKind::Closed,
        // What a route of the kinds `prohibit` and `unreachable` gives.
        Kind::PermissionDenied => FailureKind::Unreachable,
        _ => FailureKind::Other,
    }
}
