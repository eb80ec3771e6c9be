//! A TCP connection whose reads and writes are recorded.

use std::{
    borrow::Cow,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::{
    clock::{Clock, Moment},
    connection_log::LogWriter,
    record::{Id, OperationKind},
    recorder::Recorder,
    socket,
};

/// What a read is told that was still waiting when we closed the connection.
const CLOSED: &str = "use of closed network connection";

/// Reads and writes, and what they leave behind. Closes when it is dropped.
#[derive(Debug)]
pub(crate) struct TracedStream {
    inner: TcpStream,
    id: Id,
    writer: LogWriter,
    clock: Clock,
    recorder: Arc<Recorder>,
    read_called: Option<Moment>,
    write_called: Option<Moment>,
    /// Nothing was written yet.
    fresh: bool,
    ended: bool,
}

impl TracedStream {
    pub(crate) fn new(
        inner: TcpStream,
        id: Id,
        writer: LogWriter,
        recorder: Arc<Recorder>,
    ) -> Self {
        let clock = recorder.clock();
        Self {
            inner,
            id,
            writer,
            clock,
            recorder,
            read_called: None,
            write_called: None,
            fresh: true,
            ended: false,
        }
    }

    pub(crate) fn id(&self) -> Id {
        self.id
    }

    /// The first write goes past the runtime, as it would ask first whether the socket can be written to.
    fn write_first(&mut self, buffers: &[IoSlice<'_>]) -> Option<io::Result<usize>> {
        std::mem::take(&mut self.fresh).then(|| socket::send_now(&self.inner, buffers)).flatten()
    }

    fn write_returned(&mut self, called: Moment, result: &io::Result<usize>) {
        self.write_called = None;
        let (bytes, error) = outcome(result);
        self.writer.count(OperationKind::Write, called, self.clock.now(), bytes, error);
    }
}

fn outcome(result: &io::Result<usize>) -> (u64, Option<Cow<'static, str>>) {
    match result {
        Ok(bytes) => (*bytes as u64, None),
        Err(error) => (0, Some(error.to_string().into())),
    }
}

impl AsyncRead for TracedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let clock = this.clock;
        let called = *this.read_called.get_or_insert_with(|| clock.now());
        let before = buffer.filled().len();
        let result = ready!(Pin::new(&mut this.inner).poll_read(context, buffer));
        this.read_called = None;
        let bytes = buffer.filled().len() - before;
        let error = match &result {
            Ok(()) if bytes == 0 && buffer.remaining() > 0 => Some("EOF".into()),
            Ok(()) => None,
            Err(error) => Some(error.to_string().into()),
        };
        // Whoever asks again after the end gets the same answer from no socket.
        if !(this.ended && error.is_some()) {
            this.ended = error.is_some();
            this.writer.count(OperationKind::Read, called, clock.now(), bytes as u64, error);
        }
        Poll::Ready(result)
    }
}

impl AsyncWrite for TracedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let clock = this.clock;
        let called = *this.write_called.get_or_insert_with(|| clock.now());
        let result = match this.write_first(&[IoSlice::new(buffer)]) {
            Some(result) => result,
            None => ready!(Pin::new(&mut this.inner).poll_write(context, buffer)),
        };
        this.write_returned(called, &result);
        Poll::Ready(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let clock = this.clock;
        let called = *this.write_called.get_or_insert_with(|| clock.now());
        let result = match this.write_first(buffers) {
            Some(result) => result,
            None => ready!(Pin::new(&mut this.inner).poll_write_vectored(context, buffers)),
        };
        this.write_returned(called, &result);
        Poll::Ready(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

impl Drop for TracedStream {
    fn drop(&mut self) {
        let now = self.clock.now();
        if let Some(called) = self.read_called.take() {
            self.writer.count(OperationKind::Read, called, now, 0, Some(CLOSED.into()));
        }
        if self.recorder.recording().tcp_information
            && let Some(information) = socket::tcp_information(&self.inner, now)
        {
            self.recorder
                .tcp(self.id, |tcp| tcp.information_at_close = Some(Box::new(information)));
        }
        self.writer.close(now);
    }
}
