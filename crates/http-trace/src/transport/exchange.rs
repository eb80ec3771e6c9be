//! What is sent over a connection, and what comes back.

use std::{pin::pin, sync::Arc, time::Duration};

use http::{HeaderMap, Method, Request, Response, StatusCode, Version, header};
use hyper::ext::on_informational;
use tokio::{sync::Notify, time::sleep};

use super::{Lease, Recorded, Transport, head::request_target};
use crate::{
    body::{Attached, Given, RequestBody, ResponseBody, SendBody},
    clock::Moment,
    connection::{Connection, Driving, Sender},
    headers,
    incoming::Incoming,
    observed::Marks,
    pool::Target,
    record::{Failure, FailureKind, Id, Layer, Message},
    recorder::{Progress, Recorder},
};

impl Transport {
    pub(super) async fn send(
        &self,
        head: &http::request::Parts,
        body: RequestBody,
        target: &Target,
        mut connection: Connection,
        shown: &Arc<str>,
        recorded: &Recorded,
    ) -> Result<Response<ResponseBody>, SendFailure> {
        let id = recorded.id;
        let version = connection.sender.version();
        let is_shared = connection.sender.is_shared();
        let sent = Arc::<Given>::default();
        let expects = head
            .headers
            .get(header::EXPECT)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        let consent = (expects && !is_shared && !body.is_empty())
            .then_some(self.expect_continue_timeout)
            .flatten()
            .map(|timeout| (Arc::new(Notify::new()), timeout));
        let asks_for_gzip = self.asks_for_gzip(head);
        let mut added = self.added_headers(head, target, is_shared, asks_for_gzip);
        let progress = &recorded.progress;
        let kept = headers::recorded(&added, self.recorder.recording());
        Progress::keep(&progress.added_headers, kept);
        let given = consent.as_ref().map(|(consent, _)| consent);
        let send_body = SendBody::new(body, Arc::clone(progress), Arc::clone(&sent), given);
        let mut request = Request::new(send_body);
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = request_target(&head.uri, target, is_shared);
        *request.version_mut() = version;
        *request.headers_mut() = {
            let mut headers = std::mem::take(&mut added);
            if !head.headers.is_empty() {
                headers.extend(head.headers.clone());
            }
            headers
        };
        if !is_shared {
            self.listen_for_informational(&mut request, id, given.map(Arc::clone));
        }
        connection.shared.marks.set_back();
        let marks = Arc::clone(&connection.shared.marks);
        let mut passing = (!is_shared).then(|| Passing {
            recorder: &self.recorder,
            id,
            marks: Arc::clone(&marks),
            given: Arc::clone(&sent),
        });
        if let Some(streams) = &connection.shared.streams {
            streams.expect(id);
        }
        let mut driving = connection.driving.take();
        let result = {
            let sending = pin!(async {
                let hyper = |response: Response<_>| response.map(Incoming::Hyper);
                match &mut connection.sender {
                    Sender::Http1(sender) => Ok(hyper(sender.try_send_request(request).await?)),
                    Sender::Http2(sender) => Ok(hyper(sender.try_send_request(request).await?)),
                    // What it takes is a lot, and not to be carried by the others.
                    Sender::Http3(sender) => Box::pin(sender.send(request, id)).await,
                }
            });
            let sending = Driving::during(&mut driving, sending);
            self.wait_for_headers(sending, consent, &sent).await
        };
        let headers_at = self.recorder.now();
        connection.driving = driving;
        connection.let_go();
        drop(passing.take());
        match result {
            Some(Ok(response)) => Ok(self.respond(
                response,
                head,
                target,
                connection,
                shown,
                recorded,
                headers_at,
                asks_for_gzip,
            )),
            Some(Err(unanswered)) => {
                let nothing = marks.first_read().is_none();
                let message = format!("no response of {shown}: {}", unanswered.why);
                Err(SendFailure {
                    failure: Failure::new(Layer::Request, unanswered.kind, message),
                    not_processed: unanswered.not_processed,
                    connection_ended: unanswered.connection_ended && nothing,
                    is_early_data_rejected: unanswered.is_early_data_rejected,
                })
            }
            None => {
                let limit = self.response_headers_timeout.unwrap_or_default();
                let message = format!(
                    "no response of {shown}: its headers did not come within {limit:?} after the request"
                );
                Err(SendFailure {
                    failure: Failure::new(Layer::Request, FailureKind::Timeout, message),
                    not_processed: false,
                    connection_ended: false,
                    is_early_data_rejected: false,
                })
            }
        }
    }

    /// Nothing when the headers took too long.
    async fn wait_for_headers<T>(
        &self,
        sending: impl Future<Output = T>,
        consent: Option<(Arc<Notify>, Duration)>,
        sent: &Given,
    ) -> Option<T> {
        let mut sending = pin!(sending);
        if self.response_headers_timeout.is_none() && consent.is_none() {
            return Some(sending.await);
        }
        let give_consent = async {
            match consent {
                Some((consent, timeout)) => {
                    sleep(timeout).await;
                    consent.notify_one();
                }
                None => std::future::pending().await,
            }
            std::future::pending::<()>().await;
        };
        let run_out = async {
            match self.response_headers_timeout {
                Some(timeout) => {
                    sent.wait().await;
                    sleep(timeout).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            result = &mut sending => Some(result),
            () = give_consent => None,
            () = run_out => None,
        }
    }

    fn listen_for_informational(
        &self,
        request: &mut Request<SendBody>,
        id: Option<Id>,
        consent: Option<Arc<Notify>>,
    ) {
        let recorder = Arc::clone(&self.recorder);
        on_informational(request, move |response| {
            if response.status() == StatusCode::CONTINUE
                && let Some(consent) = &consent
            {
                consent.notify_one();
            }
            recorder.informational(id, response.status(), response.headers());
        });
    }

    #[allow(clippy::too_many_arguments)]
    fn respond(
        &self,
        response: Response<Incoming>,
        head: &http::request::Parts,
        target: &Target,
        connection: Connection,
        shown: &Arc<str>,
        recorded: &Recorded,
        headers_at: Moment,
        asked_for_gzip: bool,
    ) -> Response<ResponseBody> {
        let (mut parts, incoming) = response.into_parts();
        let decode = asked_for_gzip
            && head.method != Method::HEAD
            && parts
                .headers
                .get(header::CONTENT_ENCODING)
                .is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"gzip"));
        if decode {
            parts.headers.remove(header::CONTENT_ENCODING);
            parts.headers.remove(header::CONTENT_LENGTH);
        }
        let headers = headers::recorded(&parts.headers, self.recorder.recording());
        Progress::keep(&recorded.progress.response_headers, headers);
        let (services, alternatives) = crate::alternative_services::of(&parts.headers).unzip();
        self.recorder.request(recorded.id, |request| {
            request.status = Some(parts.status.as_u16());
            if parts.version == Version::HTTP_10 {
                request.version = Some("HTTP/1.0".into());
            }
            request.response = Some(Message::default());
            request.phases.headers_at = Some(headers_at);
            request.phases.first_byte_at.get_or_insert(headers_at);
            request.decoded = decode.then(|| "gzip".to_owned());
            request.alternative_services = services;
            request.alternatives = alternatives.map(Box::new);
        });
        let http1 = matches!(connection.sender, Sender::Http1(_));
        let switches = parts.status == StatusCode::SWITCHING_PROTOCOLS;
        let ends = http1 && (switches || !self.keep_alive || asks_to_close(&parts.headers));
        let end = (ends && !switches).then(|| connection.shared.end()).flatten();
        let lease = (!ends).then(|| Lease {
            connection,
            pool: Arc::clone(&self.pool),
            target: target.clone(),
        });
        let attached = Attached {
            recorder: Arc::clone(&self.recorder),
            id: recorded.id,
            progress: Arc::clone(&recorded.progress),
            lease,
        };
        let mut body = ResponseBody::new(
            incoming,
            decode,
            attached,
            self.response_body_limit,
            Arc::clone(shown),
        );
        if let Some(end) = end {
            body.ends_with(end);
        }
        Response::from_parts(parts, body)
    }
}

/// A message of HTTP/1 that passes. Whenever that ends, when its bytes passed goes to the record.
struct Passing<'a> {
    recorder: &'a Recorder,
    id: Option<Id>,
    marks: Arc<Marks>,
    given: Arc<Given>,
}

impl Drop for Passing<'_> {
    fn drop(&mut self) {
        let Self { marks, .. } = self;
        let first_byte = marks.first_read();
        // A response may come before the request has been written, and to more than its beginning.
        let is_over = first_byte.is_some() || self.given.is_whole();
        let last_write = marks.last_write().filter(|_| is_over);
        self.recorder.request(self.id, |request| {
            request.phases.request_began_at = marks.first_write();
            request.phases.request_ended_at = last_write;
            request.phases.first_byte_at = first_byte;
        });
    }
}

/// Why a request was not answered, and what may be done about it.
pub(super) struct SendFailure {
    pub(super) failure: Failure,
    /// The server did nothing of it: nothing has left, or it says so.
    pub(super) not_processed: bool,
    /// The connection ended before anything came back.
    pub(super) connection_ended: bool,
    /// The server did not look at it.
    pub(super) is_early_data_rejected: bool,
}

/// Whether a message is the last of its connection (RFC 9112, section 9.6).
fn asks_to_close(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case("close"))
}
