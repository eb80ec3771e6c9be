//! The body of a response over HTTP/3, and its trailers.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use h3::error::{Code, StreamError};
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::{
    Sender, cause,
    exchange::{ReceiveHalf, Sending},
};
use crate::{
    incoming::Broken,
    record::{FailureKind, Id, ResetBy},
};

pub(crate) struct Body {
    receive: ReceiveHalf,
    /// The request, where not all of it is sent yet.
    sending: Option<Sending>,
    /// Keeps the connection.
    sender: Sender,
    request: Option<Id>,
    /// What is still to come, where the server said how much there is.
    expected: Option<u64>,
    part: Part,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Data,
    Trailers,
    Nothing,
}

impl std::fmt::Debug for Body {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Body").field("part", &self.part).finish_non_exhaustive()
    }
}

impl Body {
    pub(super) fn new(
        receive: ReceiveHalf,
        sending: Option<Sending>,
        sender: Sender,
        request: Option<Id>,
        expected: Option<u64>,
    ) -> Self {
        Self { receive, sending, sender, request, expected, part: Part::Data }
    }

    fn broken(&mut self, error: &StreamError) -> Broken {
        self.part = Part::Nothing;
        if let StreamError::RemoteTerminate { code, .. } = error {
            self.sender.note_reset(self.request, ResetBy::Server, *code);
        }
        let (kind, why) = cause::of_stream(error, &self.sender.shared.connection);
        Broken { kind, why }
    }

    /// Counts what came against what the server said.
    fn count(&mut self, length: u64) -> Result<(), Broken> {
        let Some(expected) = &mut self.expected else { return Ok(()) };
        if let Some(left) = expected.checked_sub(length) {
            *expected = left;
        } else {
            self.part = Part::Nothing;
            let why = "it is longer than the server said".to_owned();
            return Err(Broken { kind: FailureKind::Protocol, why });
        }
        Ok(())
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = &mut *self;
        if this.part == Part::Data {
            let data = ready!(this.receive.poll_recv_data(context));
            let data = data.map(|data| data.map(|mut data| data.copy_to_bytes(data.remaining())));
            match data {
                Ok(Some(data)) => {
                    let counted = this.count(data.len() as u64);
                    return Poll::Ready(Some(counted.map(|()| Frame::data(data))));
                }
                Ok(None) => this.part = Part::Trailers,
                Err(error) => return Poll::Ready(Some(Err(this.broken(&error)))),
            }
        }
        if this.part == Part::Trailers {
            let trailers = ready!(this.receive.poll_recv_trailers(context));
            this.part = Part::Nothing;
            // What of the request the server did not wait for is not sent any more.
            this.sending = None;
            match trailers {
                Err(error) => return Poll::Ready(Some(Err(this.broken(&error)))),
                Ok(_) if this.expected.is_some_and(|left| left > 0) => {
                    let why = "it is shorter than the server said".to_owned();
                    return Poll::Ready(Some(Err(Broken { kind: FailureKind::Closed, why })));
                }
                Ok(Some(trailers)) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Ok(None) => {}
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.part == Part::Nothing
    }

    fn size_hint(&self) -> SizeHint {
        self.expected.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        // The stream is stopped with it.
        if self.part != Part::Nothing {
            self.sender.note_reset(self.request, ResetBy::Client, Code::H3_REQUEST_CANCELLED);
        }
    }
}
