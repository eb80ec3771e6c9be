//! Bodies: what a caller gives and gets, counted on the way.

mod decoder;

use std::{
    error::Error as StdError,
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper::body::{Body, Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    sync::{Notify, futures::OwnedNotified, oneshot},
    time::{Instant, Sleep, sleep, sleep_until},
};

use self::decoder::Decoder;
use crate::{
    Error,
    incoming::{Broken, Incoming},
    record::{Failure, FailureKind, Id, Layer},
    recorder::{Progress, Recorder},
    transport::Lease,
};

/// How much is read at once from what gives a body.
const CHUNK: usize = 16 << 10;
/// How much of a body is given to a connection at once, so that what is counted as sent is not far
/// from it.
const SENT_AT_ONCE: usize = 64 << 10;
/// How long the end of a connection is waited for that ends with its response.
const PATIENCE_WITH_END: Duration = Duration::from_millis(20);

type Cause = Box<dyn StdError + Send + Sync>;

/// The body of a request.
pub struct RequestBody {
    pub(crate) content: Content,
}

pub(crate) enum Content {
    Empty,
    /// Can be sent again, when a connection fails or a redirect asks for it.
    Full(Bytes),
    Stream {
        length: Option<u64>,
        body: BoxBody<Bytes, Cause>,
    },
    /// Was a stream, and has been sent.
    Spent,
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let content = match &self.content {
            Content::Empty => "Empty".to_owned(),
            Content::Full(bytes) => format!("Full({} bytes)", bytes.len()),
            Content::Stream { length, .. } => format!("Stream({length:?} bytes)"),
            Content::Spent => "Spent".to_owned(),
        };
        write!(formatter, "RequestBody::{content}")
    }
}

impl RequestBody {
    /// No body.
    #[must_use]
    pub fn empty() -> Self {
        Self { content: Content::Empty }
    }

    /// What a reader gives until its end; sent in chunks where its length is not known. It can
    /// only be sent once.
    pub fn reader(
        reader: impl AsyncRead + Send + Sync + Unpin + 'static,
        length: Option<u64>,
    ) -> Self {
        let stream = futures_util::stream::unfold(reader, |mut reader| async move {
            let mut chunk = BytesMut::with_capacity(CHUNK);
            match reader.read_buf(&mut chunk).await {
                Ok(0) => None,
                Ok(_) => Some((Ok(Frame::data(chunk.freeze())), reader)),
                Err(error) => Some((Err(Cause::from(error)), reader)),
            }
        });
        let body = BoxBody::new(StreamBody::new(stream));
        Self { content: Content::Stream { length, body } }
    }

    /// Any other body, trailers and all. It can only be sent once.
    pub fn stream<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + Sync + 'static,
        B::Error: Into<Cause>,
    {
        let length = body.size_hint().exact();
        Self { content: Content::Stream { length, body: BoxBody::new(body.map_err(Into::into)) } }
    }

    pub(crate) fn is_empty(&self) -> bool {
        match &self.content {
            Content::Empty => true,
            Content::Full(bytes) => bytes.is_empty(),
            Content::Stream { .. } | Content::Spent => false,
        }
    }

    /// The same once more; a stream moves there, and cannot be taken again.
    pub(crate) fn take(&mut self) -> Option<Self> {
        let content = match &self.content {
            Content::Empty => Content::Empty,
            Content::Full(bytes) => Content::Full(bytes.clone()),
            Content::Stream { .. } => std::mem::replace(&mut self.content, Content::Spent),
            Content::Spent => return None,
        };
        Some(Self { content })
    }

    pub(crate) fn can_be_sent_again(&self) -> bool {
        matches!(self.content, Content::Empty | Content::Full(_))
    }
}

impl From<Bytes> for RequestBody {
    fn from(bytes: Bytes) -> Self {
        Self { content: Content::Full(bytes) }
    }
}

impl From<Vec<u8>> for RequestBody {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<String> for RequestBody {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<()> for RequestBody {
    fn from((): ()) -> Self {
        Self::empty()
    }
}

/// Whether the body of a request was given to its connection as a whole.
#[derive(Debug, Default)]
pub(crate) struct Given {
    told: Notify,
    is_whole: AtomicBool,
}

impl Given {
    fn tell(&self, is_whole: bool) {
        self.is_whole.fetch_or(is_whole, Relaxed);
        self.told.notify_one();
    }

    /// Waits until there is no more of it to give.
    pub(crate) async fn wait(&self) {
        self.told.notified().await;
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.is_whole.load(Relaxed)
    }
}

/// The body of a request as it is sent.
pub(crate) struct SendBody {
    content: Content,
    progress: Arc<Progress>,
    given: Arc<Given>,
    /// What is waited for before the first byte: the server's consent.
    consent: Option<Pin<Box<OwnedNotified>>>,
}

impl SendBody {
    pub(crate) fn new(
        body: RequestBody,
        progress: Arc<Progress>,
        given: Arc<Given>,
        consent: Option<&Arc<Notify>>,
    ) -> Self {
        if body.is_empty() {
            given.tell(true);
        }
        let consent = consent.map(|consent| Box::pin(Arc::clone(consent).notified_owned()));
        Self { content: body.content, progress, given, consent }
    }
}

impl Body for SendBody {
    type Data = Bytes;
    type Error = Cause;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cause>>> {
        let this = &mut *self;
        if let Some(consent) = &mut this.consent {
            ready!(consent.as_mut().poll(context));
            this.consent = None;
        }
        let frame = match &mut this.content {
            Content::Empty | Content::Spent => None,
            Content::Full(bytes) => {
                let length = bytes.len().min(SENT_AT_ONCE);
                (length > 0).then(|| Ok(Frame::data(bytes.split_to(length))))
            }
            Content::Stream { body, .. } => ready!(Pin::new(body).poll_frame(context)),
        };
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    this.progress.request_body.fetch_add(data.len() as u64, Relaxed);
                    this.progress.request_wire.fetch_add(data.len() as u64, Relaxed);
                }
                if this.is_end_stream() {
                    this.given.tell(true);
                }
            }
            Some(Err(_)) => this.given.tell(false),
            None => this.given.tell(true),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Empty | Content::Spent => true,
            Content::Full(bytes) => bytes.is_empty(),
            Content::Stream { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Empty | Content::Spent => SizeHint::with_exact(0),
            Content::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Stream { length: Some(length), .. } => SizeHint::with_exact(*length),
            Content::Stream { length: None, .. } => SizeHint::new(),
        }
    }
}

/// What ends with the body of a response.
pub(crate) struct Attached {
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) id: Option<Id>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) lease: Option<Lease>,
}

/// The body of a response: counted, and freed of the coding that the client asked for.
///
/// It is an [`http_body::Body`](hyper::body::Body); when it is dropped before its end, what is
/// left of it is not read.
pub struct ResponseBody {
    incoming: Incoming,
    /// On the heap, as most responses need none.
    decoder: Option<Box<Decoder>>,
    attached: Option<Attached>,
    deadline: Option<Instant>,
    /// Ends at the deadline. It is made once there is something to wait for.
    waiting: Option<Pin<Box<Sleep>>>,
    /// The end of the connection that ends with the response.
    closing: Option<Closing>,
    limit: Option<u64>,
    given: u64,
    /// What came and was not given yet, where the caller wanted less.
    held: Bytes,
    /// As much as is given at once.
    piece: usize,
    url: Arc<str>,
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ResponseBody").field("given", &self.given).finish_non_exhaustive()
    }
}

/// The end of a connection, or of the patience with it.
struct Closing {
    end: oneshot::Receiver<()>,
    /// Mostly there is nothing to wait for.
    patience: Option<Pin<Box<Sleep>>>,
}

impl Future for Closing {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if Pin::new(&mut self.end).poll(context).is_ready() {
            return Poll::Ready(());
        }
        let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(PATIENCE_WITH_END)));
        patience.as_mut().poll(context)
    }
}

impl ResponseBody {
    pub(crate) fn new(
        incoming: Incoming,
        decode: bool,
        attached: Attached,
        limit: Option<u64>,
        url: Arc<str>,
    ) -> Self {
        let decoder = decode.then(|| Box::new(Decoder::new()));
        let mut body = Self {
            incoming,
            decoder,
            attached: Some(attached),
            deadline: None,
            waiting: None,
            closing: None,
            limit,
            given: 0,
            held: Bytes::new(),
            piece: usize::MAX,
            url,
        };
        if body.incoming.is_end_stream() {
            body.finish(None);
        }
        body
    }

    pub(crate) fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = self.attached.is_some().then_some(deadline);
    }

    /// Whether the deadline has passed; otherwise its passing wakes whoever waits.
    fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        let Some(deadline) = self.deadline else { return false };
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        waiting.as_mut().poll(context).is_ready()
    }

    /// The body's end is only told when the connection has ended, which is soon or not waited for:
    /// so a trace that is taken then has the end of both.
    pub(crate) fn ends_with(&mut self, end: oneshot::Receiver<()>) {
        self.closing = Some(Closing { end, patience: None });
    }

    /// The next piece of it; nothing at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        while let Some(frame) = self.frame().await {
            if let Ok(data) = frame?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// The next piece of it, of at most `length` bytes; nothing at its end.
    pub async fn piece(&mut self, length: usize) -> Result<Option<Bytes>, Error> {
        self.piece = length.max(1);
        let piece = self.chunk().await;
        self.piece = usize::MAX;
        piece
    }

    /// All of it, which is an error when it is more than `limit` bytes.
    pub async fn bytes(mut self, limit: usize) -> Result<Bytes, Error> {
        let mut all = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if all.len() + chunk.len() > limit {
                let message = format!("the response of {} is longer than {limit} bytes", self.url);
                let failure = Failure::new(Layer::Body, FailureKind::TooLarge, message);
                self.finish(Some(failure.clone()));
                return Err(failure.into());
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }

    /// Ends the record, once.
    fn finish(&mut self, failure: Option<Failure>) {
        self.deadline = None;
        self.waiting = None;
        let Some(attached) = self.attached.take() else { return };
        let marks = attached.lease.as_ref().and_then(Lease::last_write);
        let ended_at = Some(attached.recorder.now());
        let whole = failure.is_none();
        attached.recorder.request(attached.id, |request| {
            request.phases.ended_at = ended_at;
            request.phases.request_ended_at = marks.or(request.phases.request_ended_at);
            request.body_error = failure;
        });
        if let Some(lease) = attached.lease.filter(|_| whole) {
            lease.give_back();
        }
    }

    /// Ends the record with the last byte, where it is known to be the last.
    fn finish_at_end(&mut self, frame: &Result<Frame<Bytes>, Error>) {
        let last = self.decoder.is_none() && self.held.is_empty() && self.incoming.is_end_stream();
        if frame.is_ok() && last {
            self.finish(None);
        }
    }

    fn fail(&mut self, kind: FailureKind, why: &str) -> Error {
        let message = format!("cannot read the response of {}: {why}", self.url);
        let failure = Failure::new(Layer::Body, kind, message);
        self.finish(Some(failure.clone()));
        failure.into()
    }

    fn late(&mut self) -> Error {
        self.fail(FailureKind::Timeout, "the request took longer than it may")
    }

    fn trailers(&mut self, trailers: &HeaderMap) {
        let Some(attached) = &self.attached else { return };
        let trailers = crate::headers::record(trailers, attached.recorder.recording());
        attached.recorder.request(attached.id, |request| {
            if let Some(response) = &mut request.response {
                response.trailers = trailers;
            }
        });
    }

    /// Counts what is given to the caller.
    fn give(&mut self, mut data: Bytes) -> Result<Frame<Bytes>, Error> {
        if data.len() > self.piece {
            self.held = data.split_off(self.piece);
        }
        self.given += data.len() as u64;
        if let Some(attached) = &self.attached {
            attached.progress.response_body.fetch_add(data.len() as u64, Relaxed);
        }
        match self.limit.filter(|&limit| self.given > limit) {
            Some(limit) => {
                Err(self.fail(FailureKind::TooLarge, &format!("it is longer than {limit} bytes")))
            }
            None => Ok(Frame::data(data)),
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        if this.attached.is_none() {
            if let Some(closing) = &mut this.closing {
                ready!(Pin::new(closing).poll(context));
                this.closing = None;
            }
            return Poll::Ready(None);
        }
        if this.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Poll::Ready(Some(Err(this.late())));
        }
        if !this.held.is_empty() {
            let held = std::mem::take(&mut this.held);
            let frame = this.give(held);
            this.finish_at_end(&frame);
            return Poll::Ready(Some(frame));
        }
        loop {
            if let Some(decoder) = &mut this.decoder {
                match decoder.next() {
                    Ok(Some(data)) => return Poll::Ready(Some(this.give(data))),
                    Ok(None) => {}
                    Err(error) => {
                        let why = format!("its compression is broken: {error}");
                        let error = this.fail(FailureKind::Protocol, &why);
                        return Poll::Ready(Some(Err(error)));
                    }
                }
            }
            let frame = match Pin::new(&mut this.incoming).poll_frame(context) {
                Poll::Ready(frame) => frame,
                Poll::Pending if this.is_late(context) => {
                    return Poll::Ready(Some(Err(this.late())));
                }
                Poll::Pending => return Poll::Pending,
            };
            match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        if let Some(attached) = &this.attached {
                            let count = data.len() as u64;
                            attached.progress.response_wire.fetch_add(count, Relaxed);
                        }
                        if let Some(decoder) = &mut this.decoder {
                            decoder.take(data);
                            continue;
                        }
                        let frame = this.give(data);
                        this.finish_at_end(&frame);
                        return Poll::Ready(Some(frame));
                    }
                    Err(frame) => {
                        if let Ok(trailers) = frame.into_trailers() {
                            this.trailers(&trailers);
                            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                        }
                    }
                },
                Some(Err(Broken { kind, why })) => {
                    return Poll::Ready(Some(Err(this.fail(kind, &why))));
                }
                None => {
                    match this.decoder.as_mut().map(|decoder| decoder.finish()) {
                        Some(Ok(Some(data))) => return Poll::Ready(Some(this.give(data))),
                        Some(Err(_)) => {
                            let why = "its compression ends before its time";
                            return Poll::Ready(Some(Err(this.fail(FailureKind::Closed, why))));
                        }
                        Some(Ok(None)) | None => {}
                    }
                    this.finish(None);
                    if let Some(closing) = &mut this.closing {
                        ready!(Pin::new(closing).poll(context));
                        this.closing = None;
                    }
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.attached.is_none() && self.closing.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        if self.decoder.is_some() { SizeHint::new() } else { self.incoming.size_hint() }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        // The caller wanted no more of it, which is no error.
        let Some(mut attached) = self.attached.take() else { return };
        attached.lease = None;
        let ended_at = Some(attached.recorder.now());
        attached.recorder.request(attached.id, |request| request.phases.ended_at = ended_at);
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.kind() {
            FailureKind::Timeout => io::ErrorKind::TimedOut,
            FailureKind::Refused => io::ErrorKind::ConnectionRefused,
            FailureKind::Reset => io::ErrorKind::ConnectionReset,
            FailureKind::Closed => io::ErrorKind::UnexpectedEof,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
