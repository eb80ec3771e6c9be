//! The body of a response as it comes, whichever version of HTTP brings it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use crate::{http3, record::FailureKind};

#[derive(Debug)]
pub(crate) enum Incoming {
    /// HTTP/1.1 and HTTP/2.
    Hyper(hyper::body::Incoming),
    #[cfg_attr(not(feature = "http3"), expect(dead_code, reason = "nobody makes one"))]
    Http3(Box<http3::Body>),
}

/// Why no more of it comes.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) kind: FailureKind,
    pub(crate) why: String,
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match &mut *self {
            Self::Hyper(body) => Pin::new(body).poll_frame(context).map_err(|error| {
                let (kind, why) = crate::transport::cause(&error);
                Broken { kind, why }
            }),
            Self::Http3(body) => Pin::new(body.as_mut()).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Hyper(body) => body.is_end_stream(),
            Self::Http3(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Hyper(body) => body.size_hint(),
            Self::Http3(body) => body.size_hint(),
        }
    }
}
