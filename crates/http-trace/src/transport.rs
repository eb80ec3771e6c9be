//! One request over one connection: which connection, what is sent, what comes back.

mod acquire;
mod cause;
mod exchange;
mod head;

use std::{pin::pin, sync::Arc, time::Duration};

use http::{HeaderValue, Method, Response};

use self::cause::StreamEnd;
pub(crate) use self::cause::cause;
use crate::{
    body::{RequestBody, ResponseBody, SendBody},
    clock::Moment,
    connection::{Connection, Maker, Sender},
    headers,
    pool::{Pool, Target},
    proxy::ProxyChoice,
    record::{ConnectionUse, Failure, FailureKind, Id, Layer, Phases, Via},
    recorder::{Progress, Recorder},
    settings::Settings,
};

type TrySendError = hyper::client::conn::TrySendError<http::Request<SendBody>>;

/// How often a request is given to another connection.
const MAXIMUM_RETRIES: u32 = 8;

/// Sends requests.
#[derive(Debug)]
pub(crate) struct Transport {
    pub(crate) maker: Arc<Maker>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) proxy: ProxyChoice,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) response_headers_timeout: Option<Duration>,
    pub(crate) expect_continue_timeout: Option<Duration>,
    pub(crate) keep_alive: bool,
    pub(crate) compression: bool,
    pub(crate) response_body_limit: Option<u64>,
    pub(crate) user_agent: Option<HeaderValue>,
}

/// A connection that is back with the pool when the response has been read.
pub(crate) struct Lease {
    connection: Connection,
    pool: Arc<Pool>,
    target: Target,
}

impl Lease {
    pub(crate) fn last_write(&self) -> Option<Moment> {
        match self.connection.sender {
            Sender::Http1(_) => self.connection.shared.marks.last_write(),
            Sender::Http2(_) | Sender::Http3(_) => None,
        }
    }

    pub(crate) fn give_back(self) {
        self.pool.put(&self.target, self.connection);
    }
}

/// Where what becomes of a request is recorded.
struct Recorded {
    id: Option<Id>,
    progress: Arc<Progress>,
}

/// The end of the record of a request. When nobody waits for it any more, it ends with that.
struct Ending<'a> {
    recorder: &'a Recorder,
    id: Option<Id>,
    /// What ends it where nobody waits for it any more.
    reason: &'a Reason,
    ended: bool,
}

impl Ending<'_> {
    fn fail(&mut self, failure: &Failure) {
        self.ended = true;
        self.recorder.fail_request(self.id, failure);
    }
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let reason = self.reason.lock().map(|mut reason| reason.failure.take());
            let failure = reason.unwrap_or_default().unwrap_or_else(|| {
                let message = "the request was given up by its caller";
                Failure::new(Layer::Caller, FailureKind::Canceled, message)
            });
            self.fail(&failure);
        }
    }
}

/// Why a connection gave no response.
#[derive(Debug)]
pub(crate) struct Unanswered {
    pub(crate) kind: FailureKind,
    pub(crate) why: String,
    /// The server did nothing of the request: nothing has left, or it says so.
    pub(crate) not_processed: bool,
    /// It is the connection that failed, and not the request alone.
    pub(crate) connection_ended: bool,
    /// It was sent before the handshake had ended, and the server did not look at it.
    pub(crate) is_early_data_rejected: bool,
}

impl From<TrySendError> for Unanswered {
    fn from(mut error: TrySendError) -> Self {
        let unsent = error.take_message().is_some();
        let (kind, why) = cause(error.error());
        let stream = cause::stream_end(error.error());
        let not_processed = unsent || stream == Some(StreamEnd::Refused);
        let connection_ended =
            stream.is_none() && matches!(kind, FailureKind::Closed | FailureKind::Reset);
        Self { kind, why, not_processed, connection_ended, is_early_data_rejected: false }
    }
}

/// Which request is under way, and why it was given up, for its record.
#[derive(Debug, Default)]
pub(crate) struct UnderWay {
    pub(crate) request: Option<Id>,
    pub(crate) failure: Option<Failure>,
}

pub(crate) type Reason = std::sync::Mutex<UnderWay>;

/// What the caller of a round trip gets.
pub(crate) struct Outcome {
    pub(crate) response: Response<ResponseBody>,
    pub(crate) id: Option<Id>,
}

impl Transport {
    pub(crate) fn new(settings: &Settings, maker: Arc<Maker>, recorder: Arc<Recorder>) -> Self {
        let pool = Pool::new(
            settings.limits.clone(),
            !settings.disable_keep_alive,
            settings.timeouts.idle_connection,
            recorder.clock(),
        );
        Self {
            maker,
            pool,
            proxy: settings.proxy.clone(),
            recorder,
            response_headers_timeout: settings.timeouts.response_headers,
            expect_continue_timeout: settings.timeouts.expect_continue,
            keep_alive: !settings.disable_keep_alive,
            compression: !settings.disable_compression,
            response_body_limit: settings.limits.response_body,
            user_agent: (!settings.user_agent.is_empty())
                .then(|| HeaderValue::from_str(&settings.user_agent).ok())
                .flatten(),
        }
    }

    /// Sends a request and waits for the headers of its response. `shown` is its URL as it is
    /// recorded.
    pub(crate) async fn round_trip(
        &self,
        head: &http::request::Parts,
        mut body: RequestBody,
        shown: &Arc<str>,
        via: Option<Via>,
        reason: &Reason,
    ) -> Result<Outcome, Failure> {
        let progress = Arc::<Progress>::default();
        let id = self.recorder.begin_request(&head.method, shown, via, &progress);
        let recorded = Recorded { id, progress };
        if let Ok(mut reason) = reason.lock() {
            reason.request = id;
        }
        let headers = headers::recorded(&head.headers, self.recorder.recording());
        Progress::keep(&recorded.progress.headers, headers);
        let mut attempts = pin!(self.attempts(head, &mut body, shown, &recorded));
        // Goes before what it ends: what was under way for the request had not ended before it.
        let mut ending = Ending { recorder: &self.recorder, id, reason, ended: false };
        match attempts.as_mut().await {
            Ok(response) => {
                ending.ended = true;
                Ok(Outcome { response, id })
            }
            Err(failure) => {
                ending.fail(&failure);
                Err(failure)
            }
        }
    }

    /// Over one connection after the other, as long as it is certain or allowed that nothing is
    /// done twice.
    async fn attempts(
        &self,
        head: &http::request::Parts,
        body: &mut RequestBody,
        shown: &Arc<str>,
        recorded: &Recorded,
    ) -> Result<Response<ResponseBody>, Failure> {
        let target = self.target(&head.uri)?;
        if let Some(proxy) = &target.proxy {
            let proxy = proxy.shown(self.recorder.recording().secrets);
            self.recorder.request(recorded.id, |request| request.proxy = Some(proxy));
        }
        let mut retries = 0;
        loop {
            let connection = self.connection(recorded.id, &target).await?;
            let used_before = self.assign(recorded.id, &connection) > 0;
            let again = body.can_be_sent_again();
            let Some(content) = body.take() else {
                let message =
                    format!("cannot send the request to {shown} again: its body is a stream");
                return Err(Failure::new(Layer::Request, FailureKind::Other, message));
            };
            match self.send(head, content, &target, connection, shown, recorded).await {
                Ok(response) => return Ok(response),
                Err(failed) => {
                    let repeatable = failed.not_processed
                        || (failed.connection_ended && again && (is_idempotent(&head.method)));
                    // What the server did not look at, it has not done.
                    let repeatable = (used_before && repeatable) || failed.is_early_data_rejected;
                    let again = again && repeatable && retries < MAXIMUM_RETRIES;
                    if !again {
                        return Err(failed.failure);
                    }
                    retries += 1;
                    self.recorder.request(recorded.id, |request| {
                        if let Some(used) = request.uses.last_mut() {
                            used.error = Some(failed.failure);
                        }
                    });
                }
            }
        }
    }

    /// Notes which connection a request goes over. How often it was used before.
    fn assign(&self, id: Option<Id>, connection: &Connection) -> u64 {
        let shared = &connection.shared;
        let before = shared.begin_use();
        let version = match connection.sender {
            Sender::Http1(_) => "HTTP/1.1",
            Sender::Http2(_) => "HTTP/2",
            Sender::Http3(_) => "HTTP/3",
        };
        let now = self.recorder.now();
        self.recorder.count_request(shared.connection);
        let idle = shared
            .idle_since()
            .filter(|_| before > 0)
            .map(|since| u64::try_from(now.since(since).as_nanos()).unwrap_or(u64::MAX));
        self.recorder.request(id, |request| {
            let made_for_it = shared.made_for == Some(request.id);
            request.connection = Some(shared.connection);
            request.tls = shared.tls;
            request.proxy_tls = shared.proxy_tls;
            request.proxy_connect = shared.proxy_connect;
            request.made_tunnels = made_for_it;
            request.version = Some(version.into());
            // Hardly any goes over a second one.
            request.uses.reserve_exact(1);
            request.uses.push(ConnectionUse {
                connection: Some(shared.connection),
                at: now,
                reused: before > 0,
                idle,
                error: None,
            });
            let queued_at = request.phases.queued_at;
            let phases = if made_for_it { shared.phases } else { Phases::default() };
            request.phases = Phases { queued_at, connection_at: Some(now), ..phases };
        });
        before
    }
}

fn closed() -> Failure {
    Failure::new(Layer::Caller, FailureKind::ClientClosed, "the client was closed")
}

fn is_idempotent(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE].contains(method)
}
