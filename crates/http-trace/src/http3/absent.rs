//! In place of HTTP/3 where this is built without it: what cannot be made, and so needs not be done.

#![allow(clippy::unused_async, reason = "it is called as what it stands for")]

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    body::SendBody,
    connection::{Connection, Maker},
    incoming::{Broken, Incoming},
    quic::QuicStream,
    record::{Failure, Id, Phases},
    transport::Unanswered,
};

impl Maker {
    pub(crate) async fn begin_http3(
        &self,
        stream: QuicStream,
        _: Option<Id>,
        _: Phases,
        _: Option<OwnedSemaphorePermit>,
    ) -> Result<Connection, Failure> {
        match stream.never {}
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Sender {
    never: Infallible,
}

impl Sender {
    pub(crate) fn is_closed(&self) -> bool {
        match self.never {}
    }

    pub(crate) async fn send(
        &self,
        _: Request<SendBody>,
        _: Option<Id>,
    ) -> Result<Response<Incoming>, Unanswered> {
        match self.never {}
    }
}

#[derive(Debug)]
pub(crate) struct Body {
    never: Infallible,
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.never {}
    }

    fn is_end_stream(&self) -> bool {
        match self.never {}
    }

    fn size_hint(&self) -> SizeHint {
        match self.never {}
    }
}
