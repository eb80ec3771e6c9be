//! What can be seen between HTTP and the connection below it: when bytes of a request and of its
//! response pass, and of HTTP/2 the frames.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    clock::{Clock, Moment},
    http2_frames::FrameObserver,
};

/// Anything that HTTP can be spoken over.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}

/// When bytes passed since the marks were last set back. Zero is never.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    first_write: AtomicU64,
    last_write: AtomicU64,
    first_read: AtomicU64,
}

fn moment(mark: &AtomicU64) -> Option<Moment> {
    mark.load(Relaxed).checked_sub(1).map(Moment)
}

fn set_first(mark: &AtomicU64, now: impl FnOnce() -> Moment) {
    if mark.load(Relaxed) == 0 {
        mark.store(now().0.saturating_add(1), Relaxed);
    }
}

impl Marks {
    pub(crate) fn set_back(&self) {
        for mark in [&self.first_write, &self.last_write, &self.first_read] {
            mark.store(0, Relaxed);
        }
    }

    pub(crate) fn first_write(&self) -> Option<Moment> {
        moment(&self.first_write)
    }

    pub(crate) fn last_write(&self) -> Option<Moment> {
        moment(&self.last_write)
    }

    pub(crate) fn first_read(&self) -> Option<Moment> {
        moment(&self.first_read)
    }
}

/// A connection that HTTP is spoken over.
pub(crate) struct ObservedStream {
    inner: Box<dyn Stream>,
    clock: Clock,
    marks: Arc<Marks>,
    /// Of HTTP/2 alone.
    frames: Option<FrameObserver>,
}

impl ObservedStream {
    pub(crate) fn new(
        inner: Box<dyn Stream>,
        clock: Clock,
        marks: Arc<Marks>,
        frames: Option<FrameObserver>,
    ) -> Self {
        Self { inner, clock, marks, frames }
    }

    fn wrote(&mut self, buffers: &[IoSlice<'_>], mut written: usize) {
        let now = self.clock.now();
        set_first(&self.marks.first_write, || now);
        self.marks.last_write.store(now.0.saturating_add(1), Relaxed);
        let Some(frames) = &mut self.frames else { return };
        for buffer in buffers {
            let length = buffer.len().min(written);
            frames.sent(buffer.get(..length).unwrap_or_default());
            written -= length;
        }
    }
}

impl AsyncRead for ObservedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(context, buffer))?;
        let read = buffer.filled().get(before..).unwrap_or_default();
        if !read.is_empty() {
            set_first(&this.marks.first_read, || this.clock.now());
            if let Some(frames) = &mut this.frames {
                frames.received(read);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ObservedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(context, buffer))?;
        self.wrote(&[IoSlice::new(buffer)], written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write_vectored(context, buffers))?;
        self.wrote(buffers, written);
        Poll::Ready(Ok(written))
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
