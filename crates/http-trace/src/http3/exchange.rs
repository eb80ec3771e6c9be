//! One request over HTTP/3: its stream, what is sent on it, and the beginning of what comes back.

use std::{future::poll_fn, pin::Pin, sync::PoisonError};

use bytes::Bytes;
use h3::error::{Code, StreamError};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, header};
use hyper::body::Body as _;
use tokio::task::JoinHandle;

use super::{Body, Sender, adapter, cause};
use crate::{
    body::SendBody,
    incoming::Incoming,
    record::{EarlyData, FailureKind, Id, Reset, ResetBy},
    recorder::Recorder,
    transport::Unanswered,
};

type SendHalf = h3::client::RequestStream<adapter::SendStream, Bytes>;
pub(super) type ReceiveHalf = h3::client::RequestStream<adapter::RecvStream, Bytes>;

/// What only has a meaning on one connection (RFC 9114, section 4.2).
const OF_A_CONNECTION: [HeaderName; 5] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// A request that is being sent. Nobody waits for the response any more when it is dropped.
#[derive(Debug)]
pub(super) struct Sending(JoinHandle<Result<(), String>>);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Sender {
    /// Sends a request and waits for the headers of its response.
    pub(crate) async fn send(
        &self,
        request: Request<SendBody>,
        id: Option<Id>,
    ) -> Result<Response<Incoming>, Unanswered> {
        let is_early = *self.shared.early.borrow() == EarlyData::Offered;
        if is_early && !may_be_early(request.method()) {
            self.early_data().await;
        }
        let gone = match self.exchange(request, id).await {
            Ok(response) => return Ok(response),
            Err(gone) => gone,
        };
        let (error, unsent) = match gone {
            Gone::Stream(error) => (error, false),
            Gone::Unsent(error) => (error, true),
            Gone::Other(kind, why) => {
                return Err(Unanswered {
                    kind,
                    why,
                    not_processed: false,
                    connection_ended: false,
                    is_early_data_rejected: false,
                });
            }
        };
        let mut not_processed = unsent;
        if let StreamError::RemoteTerminate { code, .. } = &error {
            self.note_reset(id, ResetBy::Server, *code);
            // RFC 9114, section 4.1.1.
            not_processed |= *code == Code::H3_REQUEST_REJECTED;
        }
        let is_early_data_rejected =
            cause::is_early_data_rejected(&error) && self.early_data().await == EarlyData::Rejected;
        let (kind, why) = cause::of_stream(&error, &self.shared.connection);
        let connection_ended = self.is_closed();
        Err(Unanswered { kind, why, not_processed, connection_ended, is_early_data_rejected })
    }

    pub(super) fn note_reset(&self, id: Option<Id>, by: ResetBy, code: Code) {
        let (at, code) = (self.shared.recorder.now(), code.value());
        self.shared.recorder.request(id, |request| {
            request.reset.get_or_insert(Reset { at, by, code });
        });
    }

    async fn exchange(
        &self,
        request: Request<SendBody>,
        id: Option<Id>,
    ) -> Result<Response<Incoming>, Gone> {
        let shared = &self.shared;
        let (mut head, body) = request.into_parts();
        let is_head = head.method == Method::HEAD;
        tidy(&mut head.headers, &mut head.uri, &head.method, &body);
        let mut requests = shared.requests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let stream = requests.send_request(Request::from_parts(head, ())).await;
        // In use from here on is the stream alone, which the lease of the connection keeps open.
        drop(requests);
        let stream = stream.map_err(Gone::Unsent)?;
        let number = stream.id().into_inner();
        shared.observed.opened(number, id);
        let (send, mut receive) = stream.split();
        let mut sending = self.begin_sending(send, body, id).await?;
        let response = loop {
            let response = match &mut sending {
                None => receive.recv_response().await,
                Some(sent) => tokio::select! {
                    biased;
                    response = receive.recv_response() => response,
                    result = &mut sent.0 => {
                        sending = None;
                        match result {
                            Ok(Err(why)) => return Err(Gone::Other(FailureKind::Other, why)),
                            // One that was given up has nobody who waits for its response.
                            Ok(Ok(())) | Err(_) => continue,
                        }
                    }
                },
            };
            let response = response.map_err(Gone::Stream)?;
            if !response.status().is_informational() {
                break response;
            }
            shared.recorder.informational(id, response.status(), response.headers());
        };
        if response.headers().len() > shared.headers {
            let why = format!("its headers are more than {}", shared.headers);
            return Err(Gone::Other(FailureKind::TooLarge, why));
        }
        let length = response.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        let expected = length.filter(|_| !is_head && response.status() != 304);
        let body = Body::new(receive, sending, self.clone(), id, expected);
        Ok(response.map(|()| Incoming::Http3(Box::new(body))))
    }

    /// Sends a body in the background; one that is empty at once.
    async fn begin_sending(
        &self,
        mut send: SendHalf,
        mut body: SendBody,
        id: Option<Id>,
    ) -> Result<Option<Sending>, Gone> {
        let recorder = std::sync::Arc::clone(&self.shared.recorder);
        let ended = move |recorder: &Recorder| {
            let at = Some(recorder.now());
            recorder.request(id, |request| request.phases.request_ended_at = at);
        };
        if body.is_end_stream() {
            send.finish().await.map_err(Gone::Stream)?;
            ended(&recorder);
            return Ok(None);
        }
        let sending = async move {
            while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await
            {
                let frame = match frame {
                    Ok(frame) => frame,
                    Err(error) => {
                        send.stop_stream(Code::H3_REQUEST_CANCELLED);
                        return Err(format!("the body of the request cannot be read: {error}"));
                    }
                };
                let sent = match frame.into_data() {
                    Ok(data) => send.send_data(data).await,
                    Err(frame) => match frame.into_trailers() {
                        Ok(trailers) => send.send_trailers(trailers).await,
                        Err(_) => Ok(()),
                    },
                };
                if sent.is_err() {
                    // A server may answer before it has read all. If it does not, the response
                    // fails for the same reason.
                    return Ok(());
                }
            }
            if send.finish().await.is_ok() {
                ended(&recorder);
            }
            Ok(())
        };
        Ok(Some(Sending(tokio::spawn(sending))))
    }
}

/// Why there is no response.
enum Gone {
    Stream(StreamError),
    /// Nothing of the request was sent.
    Unsent(StreamError),
    Other(FailureKind, String),
}

/// Whether a request may be seen twice by the server (RFC 8470, section 4).
fn may_be_early(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS].contains(method)
}

/// Says in HTTP/3 what the headers say for HTTP/1.1.
fn tidy(headers: &mut HeaderMap, uri: &mut Uri, method: &Method, body: &SendBody) {
    for name in OF_A_CONNECTION {
        headers.remove(name);
    }
    if headers.get(header::TE).is_some_and(|te| te != "trailers") {
        headers.remove(header::TE);
    }
    if let Some(host) = headers.remove(header::HOST) {
        let mut parts = std::mem::take(uri).into_parts();
        if let Ok(authority) = host.as_bytes().try_into() {
            parts.authority = Some(authority);
        }
        // Scheme, authority and path are there, as they were.
        *uri = Uri::from_parts(parts).unwrap_or_default();
    }
    let says_length = [Method::POST, Method::PUT, Method::PATCH].contains(method);
    if let Some(length) = body.size_hint().exact()
        && (length > 0 || says_length)
    {
        headers.entry(header::CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
}
