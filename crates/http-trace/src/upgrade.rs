//! Connections that speak something else after a response `101 Switching Protocols`.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use http::Response;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    Error, ResponseBody,
    record::{FailureKind, Layer},
};

/// A connection that HTTP has left. Its reads and writes go on to be recorded.
#[derive(Debug)]
pub struct Upgraded {
    inner: TokioIo<hyper::upgrade::Upgraded>,
}

/// Takes over the connection of a response `101 Switching Protocols`.
pub async fn upgrade(response: &mut Response<ResponseBody>) -> Result<Upgraded, Error> {
    let upgraded = hyper::upgrade::on(response).await.map_err(|error| {
        let message = format!("cannot take over the connection: {error}");
        Error::failed(Layer::Request, FailureKind::Protocol, message)
    })?;
    Ok(Upgraded { inner: TokioIo::new(upgraded) })
}

impl AsyncRead for Upgraded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl AsyncWrite for Upgraded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
