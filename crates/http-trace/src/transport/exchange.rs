//! What is sent over a connection, and what comes back.

use std::{pin::pin, sync::Arc, time::Duration};

use http::{HeaderMap, Method, Request, Response, StatusCode, Version, header};
use hyper::ext::on_informational;
use tokio::{sync::Notify, time::sleep};

use super::{Lease, MAXIMUM_INFORMATIONAL, Recorded, Transport, head::request_target};
use crate::{
    body::{Attached, RequestBody, ResponseBody, SendBody},
    clock::Moment,
    connection::{Connection, Sender},
    incoming::Incoming,
    pool::Target,
    record::{Failure, FailureKind, Id, Informational, Layer, Message},
};

impl Transport {
    pub(super) async fn send(
        &self,
        head: &http::request::Parts,
        body: RequestBody,
        target: &Target,
        mut connection: Connection,
        shown: &str,
        recorded: &Recorded,
    ) -> Result<Response<ResponseBody>, SendFailure> {
        let id = recorded.id;
        let version = connection.sender.version();
        let is_shared = connection.sender.is_shared();
        let sent = Arc::new(Notify::new());
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
        let recorded_added = crate::headers::record(&added, self.recorder.recording());
        let progress = &recorded.progress;
        let given = consent.as_ref().map(|(consent, _)| consent);
        let send_body = SendBody::new(body, Arc::clone(progress), Arc::clone(&sent), given);
        let mut request = Request::new(send_body);
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = request_target(&head.uri, target, is_shared);
        *request.version_mut() = version;
        *request.headers_mut() = {
            let mut headers = std::mem::take(&mut added);
            headers.extend(head.headers.clone());
            headers
        };
        if !is_shared {
            self.listen_for_informational(&mut request, id, given.map(Arc::clone));
        }
        connection.shared.marks.set_back();
        if let Some(streams) = &connection.shared.streams {
            streams.expect(id);
        }
        self.recorder.request(id, |request| {
            request.added_headers = recorded_added;
            request.version = Some(version_name(version));
        });
        let sending = async {
            let hyper = |response: Response<_>| response.map(Incoming::Hyper);
            match &mut connection.sender {
                Sender::Http1(sender) => Ok(hyper(sender.try_send_request(request).await?)),
                Sender::Http2(sender) => Ok(hyper(sender.try_send_request(request).await?)),
                // What it takes is a lot, and not to be carried by the others.
                Sender::Http3(sender) => Box::pin(sender.send(request, id)).await,
            }
        };
        let result = self.wait_for_headers(sending, consent, &sent).await;
        let headers_at = self.recorder.now();
        let marks = &connection.shared.marks;
        let (first_write, last_write, first_read) =
            (marks.first_write(), marks.last_write(), marks.first_read());
        self.recorder.request(id, |request| {
            if !is_shared {
                request.phases.request_began_at = first_write;
                request.phases.request_ended_at = last_write;
                request.phases.first_byte_at = first_read;
            }
        });
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
                let message = format!("no response of {shown}: {}", unanswered.why);
                Err(SendFailure {
                    failure: Failure::new(Layer::Request, unanswered.kind, message),
                    not_sent: unanswered.not_sent,
                    connection_ended: unanswered.connection_ended && first_read.is_none(),
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
                    not_sent: false,
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
        sent: &Notify,
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
                    sent.notified().await;
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
            let informational = Informational {
                at: recorder.now(),
                status: response.status().as_u16(),
                headers: crate::headers::record(response.headers(), recorder.recording()),
            };
            recorder.request(id, |request| {
                if request.informational.len() < MAXIMUM_INFORMATIONAL {
                    request.informational.push(informational);
                }
            });
        });
    }

    #[allow(clippy::too_many_arguments)]
    fn respond(
        &self,
        response: Response<Incoming>,
        head: &http::request::Parts,
        target: &Target,
        connection: Connection,
        shown: &str,
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
        let headers = crate::headers::record(&parts.headers, self.recorder.recording());
        let (services, alternatives) = crate::alternative_services::of(&parts.headers).unzip();
        self.recorder.request(recorded.id, |request| {
            request.status = Some(parts.status.as_u16());
            request.version = Some(version_name(parts.version));
            request.response = Some(Message { headers, ..Message::default() });
            request.phases.headers_at = Some(headers_at);
            request.phases.first_byte_at.get_or_insert(headers_at);
            request.decoded = decode.then(|| "gzip".to_owned());
            request.alternative_services = services;
            request.alternatives = alternatives.map(Box::new);
        });
        let http1 = matches!(connection.sender, Sender::Http1(_));
        let switches = parts.status == StatusCode::SWITCHING_PROTOCOLS;
        let ends = http1 && (switches || !self.keep_alive || asks_to_close(&parts.headers));
        let end = (ends && !switches).then(|| connection.shared.end());
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
            shown.to_owned(),
        );
        if let Some(end) = end {
            body.ends_with(end);
        }
        Response::from_parts(parts, body)
    }
}

/// Why a request was not answered, and what may be done about it.
pub(super) struct SendFailure {
    pub(super) failure: Failure,
    /// Nothing of it has left.
    pub(super) not_sent: bool,
    /// The connection ended before anything came back.
    pub(super) connection_ended: bool,
    /// The server did not look at it.
    pub(super) is_early_data_rejected: bool,
}

fn version_name(version: Version) -> String {
    let name = match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    };
    name.to_owned()
}

/// Whether a message is the last of its connection (RFC 9112, section 9.6).
fn asks_to_close(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case("close"))
}
