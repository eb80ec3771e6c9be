//! Connections: HTTP/1.1 and HTTP/2, and the end of a connection on demand.

use std::{
    convert::Infallible,
    future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    header::CONTENT_TYPE,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Notify,
};
use tokio_rustls::TlsAcceptor;

use super::{grpc, rest, state::State};

/// The body of an answer.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A whole body.
pub(super) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

/// What a call knows of where it comes from.
#[derive(Clone)]
pub(super) struct Context {
    state: Arc<Mutex<State>>,
    cut: Arc<Notify>,
}

impl Context {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the connection at once, and with it this call.
    pub(super) async fn cut(&self) -> Infallible {
        self.cut.notify_one();
        future::pending().await
    }

    pub(super) fn violation(&self, what: impl Into<String>) {
        self.state().violations.push(what.into());
    }
}

pub(super) async fn serve(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    state: Arc<Mutex<State>>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let context = Context { state: Arc::clone(&state), cut: Arc::default() };
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            if let Some(acceptor) = acceptor {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                speak(stream, is_http2, context).await;
            } else {
                let is_http2 = begins_as_http2(&stream).await;
                speak(stream, is_http2, context).await;
            }
        });
    }
}

/// Whether the client begins with the preface of HTTP/2 (RFC 9113, section 3.4).
async fn begins_as_http2(stream: &TcpStream) -> bool {
    let mut first = [0; 3];
    loop {
        match stream.peek(&mut first).await {
            Ok(0) | Err(_) => return false,
            Ok(3) => return first == *b"PRI",
            // The rest is on its way, and nothing tells of it while there is something to read.
            Ok(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

async fn speak<S>(stream: S, is_http2: bool, context: Context)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let cut = Arc::clone(&context.cut);
    let service = service_fn(move |request| answer(request, context.clone()));
    let stream = TokioIo::new(stream);
    // How a connection ends is of no interest to the server.
    if is_http2 {
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .serve_connection(stream, service);
        tokio::select! { _ = connection => {}, () = cut.notified() => {} }
    } else {
        let connection =
            http1::Builder::new().timer(TokioTimer::new()).serve_connection(stream, service);
        tokio::select! { _ = connection => {}, () = cut.notified() => {} }
    }
}

async fn answer(
    request: Request<Incoming>,
    context: Context,
) -> Result<Response<Body>, Infallible> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    Ok(if kind.is_some_and(|kind| kind.starts_with("application/grpc")) {
        grpc::answer(request, context).await
    } else {
        rest::answer(request, context).await
    })
}
