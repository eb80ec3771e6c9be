//! One question to one name server: over UDP, and over TCP where the answer was cut short.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UdpSocket,
    time::{Instant, timeout_at},
};

use super::{
    Resolver, Wish,
    configuration::Configuration,
    datagrams::Datagrams,
    message::{Reply, Request},
    timed_out,
};
use crate::{
    clock::Moment,
    connection_log::LogWriter,
    connector::attempt,
    record::{
        AddressTuple, DnsTransport, Failure, FailureKind, Id, Layer, OperationKind, ResolverDial,
    },
    recorder::{DnsMessages, Recorder},
    socket,
};

impl Resolver {
    pub(super) async fn exchange(
        &self,
        wish: Wish<'_>,
        server: SocketAddr,
        request: &Arc<Request>,
        configuration: &Configuration,
    ) -> Result<Reply, Failure> {
        if !configuration.tcp_alone {
            let deadline = self.deadline(wish, configuration.timeout);
            let reply = self.over_udp(wish, server, request, deadline).await?;
            let truncated = reply.header.is_some_and(|header| header.metadata.truncation);
            if !truncated {
                return Ok(reply);
            }
        }
        let deadline = self.deadline(wish, configuration.timeout);
        self.over_tcp(wish, server, request, deadline).await
    }

    #[allow(clippy::unused_self)]
    fn deadline(&self, wish: Wish<'_>, timeout: Duration) -> Instant {
        let deadline = Instant::now() + timeout;
        wish.deadline.map_or(deadline, |other| other.min(deadline))
    }

    async fn over_udp(
        &self,
        wish: Wish<'_>,
        server: SocketAddr,
        request: &Arc<Request>,
        deadline: Instant,
    ) -> Result<Reply, Failure> {
        let began_at = self.recorder.now();
        let opened = if self.options.suits(server.ip()) || server.ip().is_loopback() {
            socket::udp(server, &self.options).and_then(UdpSocket::from_std)
        } else {
            Err(io::Error::new(
                io::ErrorKind::AddrNotAvailable,
                "the source address is of another family",
            ))
        };
        let (opened, connection, error) = match opened {
            Ok(socket) => {
                let addresses =
                    AddressTuple { source: socket.local_addr().ok(), destination: server };
                let (id, writer) = self.recorder.begin_udp(wish.dial, addresses, None);
                (Ok((socket, id, writer)), Some(id), None)
            }
            Err(error) => {
                let failure = cannot_open(wish.name, server, &error);
                (Err(failure.clone()), None, Some(failure))
            }
        };
        self.resolver_dial(wish.dial, began_at, server, DnsTransport::Udp, connection, error);
        let (socket, id, mut writer) = opened?;
        let mut exchange =
            Exchange::begin(&self.recorder, wish.dial, id, DnsTransport::Udp, server);
        let asking = exchange.ask_over_udp(
            wish,
            (&socket, &self.datagrams),
            server,
            &mut writer,
            request,
            deadline,
        );
        let result = asking.await;
        if let Some(failure) = result.as_ref().err().filter(|failure| failure.cause.is_some()) {
            self.recorder.udp(id, |udp| udp.error = Some(failure.clone()));
        }
        // The socket is closed with it.
        drop(socket);
        writer.close(self.recorder.now());
        exchange.end(result)
    }

    async fn over_tcp(
        &self,
        wish: Wish<'_>,
        server: SocketAddr,
        request: &Arc<Request>,
        deadline: Instant,
    ) -> Result<Reply, Failure> {
        let began_at = self.recorder.now();
        let connecting = attempt::connect(&self.recorder, wish.dial, server, &self.options, true);
        let connected = match timeout_at(deadline, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(timed_out(wish.name, server)),
        };
        let (stream, connection, error) = match connected {
            Ok(stream) => {
                let id = stream.id();
                (Ok(stream), Some(id), None)
            }
            Err(mut failure) => {
                failure.layer = Layer::Dns;
                failure.message = format!(
                    "cannot resolve {}: no connection to the name server: {}",
                    wish.name, failure.message
                );
                (Err(failure.clone()), None, Some(failure))
            }
        };
        self.resolver_dial(wish.dial, began_at, server, DnsTransport::Tcp, connection, error);
        let mut stream = stream?;
        let id = stream.id();
        let mut exchange =
            Exchange::begin(&self.recorder, wish.dial, id, DnsTransport::Tcp, server);
        let asking = exchange.ask_over_tcp(wish, &mut stream, server, request);
        let result = match timeout_at(deadline, asking).await {
            Ok(result) => result,
            Err(_) => Err(timed_out(wish.name, server)),
        };
        drop(stream);
        exchange.end(result)
    }

    fn resolver_dial(
        &self,
        dial: Id,
        began_at: Moment,
        nameserver: SocketAddr,
        transport: DnsTransport,
        connection: Option<Id>,
        error: Option<Failure>,
    ) {
        let ended_at = Some(self.recorder.now());
        self.recorder.dial(dial, |dial| {
            if dial.resolver_dials.is_empty() {
                // One for each family.
                dial.resolver_dials.reserve_exact(2);
            }
            dial.resolver_dials.push(ResolverDial {
                began_at,
                ended_at,
                nameserver,
                transport,
                connection,
                error,
            });
        });
    }
}

fn cannot_open(name: &str, server: SocketAddr, error: &io::Error) -> Failure {
    let kind = attempt::kind(error);
    let message = format!("cannot resolve {name}: no socket to the name server {server}: {error}");
    Failure::new(Layer::Dns, kind, message)
}

/// The record of an exchange. When nobody waits for it any more, it ends with that.
struct Exchange {
    recorder: Arc<Recorder>,
    /// Where exchanges are recorded.
    record: Option<(Id, Arc<DnsMessages>)>,
    ended: bool,
}

impl Exchange {
    fn begin(
        recorder: &Arc<Recorder>,
        dial: Id,
        connection: Id,
        transport: DnsTransport,
        server: SocketAddr,
    ) -> Self {
        let record = recorder.begin_dns(dial, connection, transport, server);
        Self { recorder: Arc::clone(recorder), record, ended: false }
    }

    fn sent(&self, sent_at: Moment, request: &Arc<Request>) {
        if let Some((_, messages)) = &self.record {
            messages.sent(sent_at, request);
        }
    }

    fn received(&self, received_at: Moment, bytes: &[u8], request: &Request) -> Option<Reply> {
        let reply = Reply::parse(bytes);
        let accepted = reply.answers(request);
        if let Some((_, messages)) = &self.record {
            messages.received(received_at, bytes, accepted);
        }
        accepted.then_some(reply)
    }

    fn end(&mut self, result: Result<Reply, Failure>) -> Result<Reply, Failure> {
        self.close(result.as_ref().err().cloned());
        result
    }

    fn close(&mut self, error: Option<Failure>) {
        self.ended = true;
        let ended_at = Some(self.recorder.now());
        self.recorder.dns(self.record.as_ref().map(|(id, _)| *id), |exchange| {
            exchange.ended_at = ended_at;
            exchange.error = error;
        });
    }

    async fn ask_over_udp(
        &self,
        wish: Wish<'_>,
        (socket, datagrams): (&UdpSocket, &Datagrams),
        nameserver: SocketAddr,
        writer: &mut LogWriter,
        request: &Arc<Request>,
        deadline: Instant,
    ) -> Result<Reply, Failure> {
        let mut writer = Closing { writer, recorder: &self.recorder, open: true };
        let called_at = self.recorder.now();
        let sent = match socket::send_now(socket, &[IoSlice::new(&request.bytes)]) {
            Some(sent) => sent,
            None => socket.send(&request.bytes).await,
        };
        let sent_at = writer.count(OperationKind::Write, called_at, sent.as_ref().copied());
        sent.map_err(|error| with_cause(broken(wish, nameserver, &error), socket))?;
        self.sent(sent_at, request);
        let mut cause = None;
        loop {
            let called_at = self.recorder.now();
            let mut reply = None;
            let receiving = datagrams.receive(socket, |bytes| {
                let received_at = writer.count(OperationKind::Read, called_at, Ok(bytes.len()));
                reply = self.received(received_at, bytes, request);
            });
            let Ok(received) = timeout_at(deadline, receiving).await else {
                let error = io::Error::new(io::ErrorKind::TimedOut, "i/o timeout");
                writer.count(OperationKind::Read, called_at, Err(&error));
                writer.open = false;
                return Err(Failure { cause, ..timed_out(wish.name, nameserver) });
            };
            if let Err(error) = received {
                writer.count(OperationKind::Read, called_at, Err(&error));
                let failure = with_cause(broken(wish, nameserver, &error), socket);
                match failure.cause {
                    Some(passing) if socket::may_pass(&passing, nameserver) => {
                        cause = Some(passing);
                        continue;
                    }
                    _ => return Err(failure),
                }
            }
            if let Some(reply) = reply {
                writer.open = false;
                return Ok(reply);
            }
        }
    }

    async fn ask_over_tcp(
        &self,
        wish: Wish<'_>,
        stream: &mut crate::stream::TracedStream,
        server: SocketAddr,
        request: &Arc<Request>,
    ) -> Result<Reply, Failure> {
        let broken = |error: io::Error| broken(wish, server, &error);
        let length = u16::try_from(request.bytes.len()).unwrap_or(u16::MAX);
        let message = [&length.to_be_bytes()[..], &request.bytes].concat();
        stream.write_all(&message).await.map_err(broken)?;
        self.sent(self.recorder.now(), request);
        let mut length = [0; 2];
        stream.read_exact(&mut length).await.map_err(broken)?;
        let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut bytes).await.map_err(broken)?;
        self.received(self.recorder.now(), &bytes, request).ok_or_else(|| {
            let message = format!(
                "cannot resolve {}: the name server {server} answers another question",
                wish.name
            );
            Failure::new(Layer::Dns, FailureKind::ServerMisbehaving, message)
        })
    }
}

fn broken(wish: Wish<'_>, server: SocketAddr, error: &io::Error) -> Failure {
    let message =
        format!("cannot resolve {}: the name server {server} cannot be asked: {error}", wish.name);
    Failure::new(Layer::Dns, attempt::kind(error), message)
}

/// Adds what the network said of it.
fn with_cause(mut failure: Failure, socket: &UdpSocket) -> Failure {
    failure.cause = socket::cause(socket).map(Box::new);
    failure
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.ended {
            let message = "nobody waits for the answer any more";
            self.close(Some(Failure::new(Layer::Caller, FailureKind::Canceled, message)));
        }
    }
}

/// Closes the record of a socket also where nobody waits for it any more.
struct Closing<'a> {
    writer: &'a mut LogWriter,
    recorder: &'a Recorder,
    open: bool,
}

impl Closing<'_> {
    /// Counts a read or a write that returns now.
    fn count(
        &mut self,
        kind: OperationKind,
        called_at: Moment,
        result: Result<usize, &io::Error>,
    ) -> Moment {
        let (bytes, error) = match result {
            Ok(bytes) => (bytes as u64, None),
            Err(error) => (0, Some(error.to_string().into())),
        };
        let now = self.recorder.now();
        self.writer.count(kind, called_at, now, bytes, error);
        now
    }
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        if self.open {
            self.writer.close(self.recorder.now());
        }
    }
}
