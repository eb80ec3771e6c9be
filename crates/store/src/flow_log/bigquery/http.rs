//! Requests of HTTP/1.1: those of the REST API, and those for tokens.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    HeaderMap, Method, Request, StatusCode,
    client::conn::http1::{SendRequest, handshake},
    header::{HOST, HeaderValue, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::{
    fault::Fault,
    transport::{Origin, Transport, Version},
};

/// As whom we introduce ourselves.
pub(super) const AGENT: &str = concat!("netglass/", env!("CARGO_PKG_VERSION"));

/// More of an answer is not read.
const LONGEST_ANSWER: usize = 16 * 1024 * 1024;

/// One server, and the connection to it while there is one.
pub(super) struct Client {
    transport: Transport,
    origin: Origin,
    timeout: Duration,
    connection: Option<SendRequest<Full<Bytes>>>,
}

/// What a server answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Client {
    pub(super) fn new(transport: Transport, origin: Origin, timeout: Duration) -> Self {
        Self { transport, origin, timeout, connection: None }
    }

    /// Asks once, or a second time where a connection of earlier turns out to be gone. So the server
    /// may be asked twice for the same.
    pub(super) async fn request(
        &mut self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<Answer, Fault> {
        let limit = self.timeout;
        if let Some(connection) = self.connection.take() {
            let again = timeout(limit, self.ask(connection, method, path, headers, body));
            match again.await.unwrap_or(Err(Fault::Silent)) {
                Err(Fault::Lost(_)) => {}
                other => return other,
            }
        }
        let connection = self.connect().await?;
        let asked = timeout(limit, self.ask(connection, method, path, headers, body));
        asked.await.unwrap_or(Err(Fault::Silent))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Fault> {
        let stream = self.transport.connect(&self.origin, Version::Http1).await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(lost)?;
        // It ends when either side closes the connection; whoever asks is told why.
        tokio::spawn(connection);
        Ok(sender)
    }

    /// Keeps the connection if it can be used again.
    async fn ask(
        &mut self,
        mut connection: SendRequest<Full<Bytes>>,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<Answer, Fault> {
        connection.ready().await.map_err(lost)?;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.origin.authority())
            .header(USER_AGENT, HeaderValue::from_static(AGENT))
            .body(Full::new(body.clone()))
            .map_err(|error| Fault::Invalid(error.to_string()))?;
        request.headers_mut().extend(headers.clone());
        let response = connection.send_request(request).await.map_err(lost)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LONGEST_ANSWER).collect().await;
        let body = body.map_err(|error| Fault::Lost(error.to_string()))?.to_bytes();
        self.connection = Some(connection);
        Ok(Answer { status, body })
    }
}

#[expect(clippy::needless_pass_by_value, reason = "as map_err gives it")]
fn lost(error: hyper::Error) -> Fault {
    // What hyper says of itself is as short as "connection error"; the reason stands behind it.
    let reason = std::error::Error::source(&error).map(|source| format!(": {source}"));
    Fault::Lost(format!("{error}{}", reason.unwrap_or_default()))
}
