//! QUIC for h3, by quinn: what passes is looked at on its way, and what is given up is said to be.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use h3::{
    error::Code,
    quic::{self, ConnectionErrorIncoming, StreamErrorIncoming, StreamId, WriteBuf},
};
use quinn::{ReadError, VarInt, WriteError};

use super::{frames::Filter, observed::Observed};

/// How much is read at once.
const PIECE: usize = 16 << 10;

/// A stream ended within a frame.
#[derive(Debug, thiserror::Error)]
#[error("the stream ended before all of it had come")]
pub(super) struct Truncated;

type Pending<T> = Pin<Box<dyn Future<Output = Result<T, quinn::ConnectionError>> + Send + Sync>>;
type Both = (quinn::SendStream, quinn::RecvStream);

pub(super) struct Connection {
    opener: Opener,
    accept_bidirectional: Pending<Both>,
    accept_unidirectional: Pending<quinn::RecvStream>,
}

fn accept_bidirectional(connection: quinn::Connection) -> Pending<Both> {
    Box::pin(async move { connection.accept_bi().await })
}

fn accept_unidirectional(connection: quinn::Connection) -> Pending<quinn::RecvStream> {
    Box::pin(async move { connection.accept_uni().await })
}

impl Connection {
    pub(super) fn new(connection: quinn::Connection, observed: Arc<Observed>) -> Self {
        Self {
            accept_bidirectional: accept_bidirectional(connection.clone()),
            accept_unidirectional: accept_unidirectional(connection.clone()),
            opener: Opener::new(connection, observed),
        }
    }
}

fn of_connection(error: quinn::ConnectionError) -> ConnectionErrorIncoming {
    match error {
        quinn::ConnectionError::ApplicationClosed(close) => {
            ConnectionErrorIncoming::ApplicationClose { error_code: close.error_code.into_inner() }
        }
        quinn::ConnectionError::TimedOut => ConnectionErrorIncoming::Timeout,
        other => ConnectionErrorIncoming::Undefined(Arc::new(other)),
    }
}

fn of_stream(error: quinn::ConnectionError) -> StreamErrorIncoming {
    StreamErrorIncoming::ConnectionErrorIncoming { connection_error: of_connection(error) }
}

impl quic::Connection<Bytes> for Connection {
    type RecvStream = RecvStream;
    type OpenStreams = Opener;

    fn poll_accept_recv(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<RecvStream, ConnectionErrorIncoming>> {
        let accepted = ready!(self.accept_unidirectional.as_mut().poll(context));
        self.accept_unidirectional = accept_unidirectional(self.opener.connection.clone());
        let observed = Arc::clone(&self.opener.observed);
        let filter = Filter::of_unidirectional(observed.longest_frame);
        Poll::Ready(
            accepted
                .map(|stream| RecvStream::new(stream, observed, filter, false))
                .map_err(of_connection),
        )
    }

    fn poll_accept_bidi(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<BidiStream, ConnectionErrorIncoming>> {
        let accepted = ready!(self.accept_bidirectional.as_mut().poll(context));
        self.accept_bidirectional = accept_bidirectional(self.opener.connection.clone());
        let observed = Arc::clone(&self.opener.observed);
        Poll::Ready(accepted.map(|both| BidiStream::new(both, observed)).map_err(of_connection))
    }

    fn opener(&self) -> Opener {
        self.opener.clone()
    }
}

impl quic::OpenStreams<Bytes> for Connection {
    type BidiStream = BidiStream;
    type SendStream = SendStream;

    fn poll_open_bidi(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<BidiStream, StreamErrorIncoming>> {
        self.opener.poll_open_bidi(context)
    }

    fn poll_open_send(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<SendStream, StreamErrorIncoming>> {
        self.opener.poll_open_send(context)
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        self.opener.close(code, reason);
    }
}

/// Opens streams.
pub(super) struct Opener {
    connection: quinn::Connection,
    observed: Arc<Observed>,
    bidirectional: Option<Pending<Both>>,
    unidirectional: Option<Pending<quinn::SendStream>>,
}

impl Opener {
    fn new(connection: quinn::Connection, observed: Arc<Observed>) -> Self {
        Self { connection, observed, bidirectional: None, unidirectional: None }
    }
}

impl Clone for Opener {
    fn clone(&self) -> Self {
        Self::new(self.connection.clone(), Arc::clone(&self.observed))
    }
}

impl quic::OpenStreams<Bytes> for Opener {
    type BidiStream = BidiStream;
    type SendStream = SendStream;

    fn poll_open_bidi(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<BidiStream, StreamErrorIncoming>> {
        let connection = &self.connection;
        let opening = self.bidirectional.get_or_insert_with(|| {
            let connection = connection.clone();
            Box::pin(async move { connection.open_bi().await })
        });
        let opened = ready!(opening.as_mut().poll(context));
        self.bidirectional = None;
        let observed = Arc::clone(&self.observed);
        Poll::Ready(opened.map(|both| BidiStream::new(both, observed)).map_err(of_stream))
    }

    fn poll_open_send(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<SendStream, StreamErrorIncoming>> {
        let connection = &self.connection;
        let opening = self.unidirectional.get_or_insert_with(|| {
            let connection = connection.clone();
            Box::pin(async move { connection.open_uni().await })
        });
        let opened = ready!(opening.as_mut().poll(context));
        self.unidirectional = None;
        Poll::Ready(opened.map(|stream| SendStream::new(stream, false)).map_err(of_stream))
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        self.observed.say(code.value(), &String::from_utf8_lossy(reason));
        self.connection.close(code_of(code.value()), reason);
    }
}

fn code_of(code: u64) -> VarInt {
    VarInt::from_u64(code).unwrap_or(VarInt::MAX)
}

#[expect(clippy::expect_used, reason = "both take the same numbers")]
fn stream_id(id: quinn::StreamId) -> StreamId {
    StreamId::try_from(VarInt::from(id).into_inner()).expect("a number of 62 bits")
}

/// The stream of a request.
pub(super) struct BidiStream {
    send: SendStream,
    receive: RecvStream,
}

impl BidiStream {
    fn new((send, receive): Both, observed: Arc<Observed>) -> Self {
        let filter = Filter::of_request(observed.longest_frame);
        Self {
            send: SendStream::new(send, true),
            receive: RecvStream::new(receive, observed, filter, true),
        }
    }
}

impl quic::BidiStream<Bytes> for BidiStream {
    type SendStream = SendStream;
    type RecvStream = RecvStream;

    fn split(self) -> (SendStream, RecvStream) {
        (self.send, self.receive)
    }
}

impl quic::RecvStream for BidiStream {
    type Buf = Bytes;

    fn poll_data(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        self.receive.poll_data(context)
    }

    fn stop_sending(&mut self, code: u64) {
        self.receive.stop_sending(code);
    }

    fn recv_id(&self) -> StreamId {
        self.receive.recv_id()
    }
}

impl quic::SendStream<Bytes> for BidiStream {
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.send.poll_ready(context)
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        self.send.send_data(data)
    }

    fn poll_finish(&mut self, context: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.send.poll_finish(context)
    }

    fn reset(&mut self, code: u64) {
        self.send.reset(code);
    }

    fn send_id(&self) -> StreamId {
        self.send.send_id()
    }
}

/// What we send. A request that is given up is not taken for a whole one.
pub(super) struct SendStream {
    inner: quinn::SendStream,
    writing: Option<WriteBuf<Bytes>>,
    is_open_request: bool,
}

impl SendStream {
    fn new(inner: quinn::SendStream, is_request: bool) -> Self {
        Self { inner, writing: None, is_open_request: is_request }
    }
}

impl quic::SendStream<Bytes> for SendStream {
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        if let Some(writing) = &mut self.writing {
            while writing.has_remaining() {
                let write = Pin::new(&mut self.inner).poll_write(context, writing.chunk());
                let written = ready!(write).map_err(|error| match error {
                    WriteError::Stopped(code) => {
                        StreamErrorIncoming::StreamTerminated { error_code: code.into_inner() }
                    }
                    WriteError::ConnectionLost(error) => of_stream(error),
                    other => StreamErrorIncoming::Unknown(Box::new(other)),
                })?;
                writing.advance(written);
            }
        }
        self.writing = None;
        Poll::Ready(Ok(()))
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        if self.writing.is_some() {
            let reason = "a frame follows another one that is not written yet".to_owned();
            let connection_error = ConnectionErrorIncoming::InternalError(reason);
            return Err(StreamErrorIncoming::ConnectionErrorIncoming { connection_error });
        }
        self.writing = Some(data.into());
        Ok(())
    }

    fn poll_finish(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.is_open_request = false;
        let finished = self.inner.finish();
        Poll::Ready(finished.map_err(|error| StreamErrorIncoming::Unknown(Box::new(error))))
    }

    fn reset(&mut self, code: u64) {
        self.is_open_request = false;
        // One that has ended is as good.
        let _ = self.inner.reset(code_of(code));
    }

    fn send_id(&self) -> StreamId {
        stream_id(self.inner.id())
    }
}

impl Drop for SendStream {
    fn drop(&mut self) {
        if self.is_open_request {
            let _ = self.inner.reset(code_of(Code::H3_REQUEST_CANCELLED.value()));
        }
    }
}

/// What comes.
pub(super) struct RecvStream {
    inner: quinn::RecvStream,
    observed: Arc<Observed>,
    filter: Filter,
    passed: VecDeque<Bytes>,
    buffer: Box<[u8]>,
    is_request: bool,
    has_begun: bool,
    has_ended: bool,
}

impl RecvStream {
    fn new(
        inner: quinn::RecvStream,
        observed: Arc<Observed>,
        filter: Filter,
        is_request: bool,
    ) -> Self {
        Self {
            inner,
            observed,
            filter,
            passed: VecDeque::new(),
            buffer: Box::default(),
            is_request,
            has_begun: false,
            has_ended: false,
        }
    }

    fn number(&self) -> u64 {
        VarInt::from(self.inner.id()).into_inner()
    }
}

impl quic::RecvStream for RecvStream {
    type Buf = Bytes;

    fn poll_data(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        loop {
            if let Some(bytes) = self.passed.pop_front() {
                return Poll::Ready(Ok(Some(bytes)));
            }
            if self.has_ended {
                return Poll::Ready(Ok(None));
            }
            if self.buffer.is_empty() {
                self.buffer = vec![0; PIECE].into();
            }
            let read = ready!(self.inner.poll_read(context, &mut self.buffer));
            let read = read.map_err(|error| {
                self.has_ended = true;
                match error {
                    ReadError::Reset(code) => {
                        StreamErrorIncoming::StreamTerminated { error_code: code.into_inner() }
                    }
                    ReadError::ConnectionLost(error) => of_stream(error),
                    other => StreamErrorIncoming::Unknown(Box::new(other)),
                }
            })?;
            if read > 0 && !std::mem::replace(&mut self.has_begun, true) && self.is_request {
                self.observed.received(self.number());
            }
            if read == 0 {
                self.has_ended = true;
                if !self.filter.is_between_frames() {
                    return Poll::Ready(Err(StreamErrorIncoming::Unknown(Box::new(Truncated))));
                }
                continue;
            }
            let bytes = self.buffer.get(..read).unwrap_or_default();
            let observed = &self.observed;
            let passed = self.filter.pass(bytes, &mut self.passed, |kind, payload| {
                if !self.is_request {
                    observed.frame(kind, payload);
                }
            });
            if let Err(too_long) = passed {
                self.stop_sending(Code::H3_EXCESSIVE_LOAD.value());
                return Poll::Ready(Err(StreamErrorIncoming::Unknown(Box::new(too_long))));
            }
        }
    }

    fn stop_sending(&mut self, code: u64) {
        self.has_ended = true;
        // One that has ended is as good.
        let _ = self.inner.stop(code_of(code));
    }

    fn recv_id(&self) -> StreamId {
        stream_id(self.inner.id())
    }
}

impl Drop for RecvStream {
    fn drop(&mut self) {
        if self.is_request {
            self.observed.abandoned(self.number());
            if !self.has_ended {
                let _ = self.inner.stop(code_of(Code::H3_REQUEST_CANCELLED.value()));
            }
        }
    }
}
