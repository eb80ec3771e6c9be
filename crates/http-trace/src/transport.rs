//! One request over one connection: which connection, what is sent, what comes back.

use std::{
    error::Error as StdError,
    io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header,
};
use hyper::{body::Incoming, ext::on_informational};
use tokio::{
    sync::{Notify, oneshot},
    task::JoinHandle,
    time::sleep,
};

use crate::{
    body::{Attached, RequestBody, ResponseBody, SendBody},
    clock::Moment,
    connection::{Connection, Maker, Sender},
    pool::{Checkout, Pool, Target},
    proxy::{ProxyChoice, ProxyKind},
    record::{ConnectionUse, Failure, FailureKind, Id, Informational, Layer, Message, Via},
    recorder::{Progress, Recorder},
    settings::Settings,
};

/// How many responses before the final one are recorded.
const MAXIMUM_INFORMATIONAL: usize = 32;
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
    pub(crate) user_agent: String,
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
            Sender::Http2(_) => None,
        }
    }

    pub(crate) fn give_back(self) {
        self.pool.put(&self.target, self.connection);
    }
}

/// The record of a request. When nobody waits for it any more, it ends with that.
struct Recorded {
    recorder: Arc<Recorder>,
    id: Option<Id>,
    progress: Arc<Progress>,
    /// What ends it where nobody waits for it any more.
    reason: Reason,
    ended: bool,
}

impl Recorded {
    fn fail(&mut self, failure: &Failure) {
        self.ended = true;
        let ended_at = Some(self.recorder.now());
        self.recorder.request(self.id, |request| {
            request.phases.ended_at = ended_at;
            request.error = Some(failure.clone());
        });
    }
}

impl Drop for Recorded {
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

/// Which request is under way, and why it was given up, for its record.
#[derive(Debug, Default)]
pub(crate) struct UnderWay {
    pub(crate) request: Option<Id>,
    pub(crate) failure: Option<Failure>,
}

pub(crate) type Reason = Arc<std::sync::Mutex<UnderWay>>;

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
            user_agent: settings.user_agent.clone(),
        }
    }

    /// Sends a request and waits for the headers of its response. `shown` is its URL as it is
    /// recorded.
    pub(crate) async fn round_trip(
        &self,
        head: &http::request::Parts,
        mut body: RequestBody,
        shown: &str,
        via: Option<Via>,
        reason: &Reason,
    ) -> Result<Outcome, Failure> {
        let progress = Arc::<Progress>::default();
        let id =
            self.recorder.begin_request(head.method.to_string(), shown.to_owned(), via, &progress);
        let recorder = Arc::clone(&self.recorder);
        let mut recorded =
            Recorded { recorder, id, progress, reason: Arc::clone(reason), ended: false };
        if let Ok(mut reason) = reason.lock() {
            reason.request = id;
        }
        let headers = crate::headers::record(&head.headers, self.recorder.recording());
        self.recorder.request(id, |request| {
            request.request = Message { headers, ..Message::default() };
        });
        match self.attempts(head, &mut body, shown, &recorded).await {
            Ok(response) => {
                recorded.ended = true;
                Ok(Outcome { response, id })
            }
            Err(failure) => {
                recorded.fail(&failure);
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
        shown: &str,
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
                    let repeatable = failed.not_sent
                        || (failed.connection_ended && again && (is_idempotent(&head.method)));
                    let again = used_before && again && repeatable && retries < MAXIMUM_RETRIES;
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

    fn target(&self, uri: &Uri) -> Result<Target, Failure> {
        let fail = |why: &str| {
            let message = format!("cannot request {}: {why}", without_credentials(uri));
            Failure::new(Layer::Configuration, FailureKind::Invalid, message)
        };
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(_) => return Err(fail("its scheme is neither http nor https")),
            None => return Err(fail("it has no scheme; write http:// or https:// before it")),
        };
        let host =
            uri.host().filter(|host| !host.is_empty()).ok_or_else(|| fail("it has no host"))?;
        let port = match uri.authority().and_then(|authority| {
            let after = authority.as_str().rsplit('@').next()?.strip_prefix(host)?;
            after.strip_prefix(':').filter(|port| !port.is_empty()).map(ToOwned::to_owned)
        }) {
            Some(port) => port,
            None => if secure { "443" } else { "80" }.to_owned(),
        };
        let proxy = self.proxy.of(uri)?;
        Ok(Target { secure, host: host.to_owned(), port, proxy })
    }

    /// Whichever is there first: a connection that another request is done with, or a new one.
    async fn connection(
        &self,
        request: Option<Id>,
        target: &Target,
    ) -> Result<Connection, Failure> {
        loop {
            let (mut connection, is_new) = self.some_connection(request, target).await?;
            // A new one that is not ready has failed, and says how when it is used.
            if connection.is_ready().await || is_new {
                return Ok(connection);
            }
        }
    }

    async fn some_connection(
        &self,
        request: Option<Id>,
        target: &Target,
    ) -> Result<(Connection, bool), Failure> {
        let freed = match self.pool.check_out(target) {
            Checkout::Ready(connection) => return Ok((connection, false)),
            Checkout::Wait(freed) => freed,
        };
        let (made, wait) = oneshot::channel();
        let begun = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(make(
            Arc::clone(&self.maker),
            Arc::clone(&self.pool),
            target.clone(),
            request,
            Arc::clone(&begun),
            made,
        ));
        let mut making = Making { task, wanted: true };
        tokio::select! {
            biased;
            result = wait => {
                making.wanted = false;
                Ok((result.unwrap_or_else(|_| Err(closed()))?, true))
            }
            Ok(connection) = freed => {
                // One that is being made is for the next request.
                making.wanted = !begun.load(Relaxed);
                Ok((connection, false))
            }
        }
    }

    /// Notes which connection a request goes over. How often it was used before.
    fn assign(&self, id: Option<Id>, connection: &Connection) -> u64 {
        let shared = &connection.shared;
        let before = shared.begin_use();
        let now = self.recorder.now();
        self.recorder.tcp(shared.tcp, |tcp| tcp.requests += 1);
        let idle = shared
            .idle_since()
            .filter(|_| before > 0)
            .map(|since| u64::try_from(now.since(since).as_nanos()).unwrap_or(u64::MAX));
        self.recorder.request(id, |request| {
            let made_for_it = shared.made_for == Some(request.id);
            request.connection = Some(shared.tcp);
            request.tls = shared.tls;
            request.proxy_tls = shared.proxy_tls;
            request.proxy_connect = shared.proxy_connect;
            request.made_tunnels = made_for_it;
            request.uses.push(ConnectionUse {
                connection: Some(shared.tcp),
                at: now,
                reused: before > 0,
                idle,
                error: None,
            });
            let queued_at = request.phases.queued_at;
            let phases = if made_for_it { shared.phases } else { crate::record::Phases::default() };
            request.phases =
                crate::record::Phases { queued_at, connection_at: Some(now), ..phases };
        });
        before
    }

    async fn send(
        &self,
        head: &http::request::Parts,
        body: RequestBody,
        target: &Target,
        mut connection: Connection,
        shown: &str,
        recorded: &Recorded,
    ) -> Result<Response<ResponseBody>, SendFailure> {
        let id = recorded.id;
        let http2 = matches!(connection.sender, Sender::Http2(_));
        let sent = Arc::new(Notify::new());
        let expects = head
            .headers
            .get(header::EXPECT)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        let consent = (expects && !http2 && !body.is_empty())
            .then_some(self.expect_continue_timeout)
            .flatten()
            .map(|timeout| (Arc::new(Notify::new()), timeout));
        let asks_for_gzip = self.asks_for_gzip(head);
        let mut added = self.added_headers(head, target, http2, asks_for_gzip);
        let recorded_added = crate::headers::record(&added, self.recorder.recording());
        let progress = &recorded.progress;
        let given = consent.as_ref().map(|(consent, _)| consent);
        let send_body = SendBody::new(body, Arc::clone(progress), Arc::clone(&sent), given);
        let mut request = Request::new(send_body);
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = request_target(&head.uri, target, http2);
        *request.version_mut() = if http2 { Version::HTTP_2 } else { Version::HTTP_11 };
        *request.headers_mut() = {
            let mut headers = std::mem::take(&mut added);
            headers.extend(head.headers.clone());
            headers
        };
        if !http2 {
            self.listen_for_informational(&mut request, id, given.map(Arc::clone));
        }
        connection.shared.marks.set_back();
        if let Some(streams) = &connection.shared.streams {
            streams.expect(id);
        }
        let version = if http2 { "HTTP/2" } else { "HTTP/1.1" };
        self.recorder.request(id, |request| {
            request.added_headers = recorded_added;
            request.version = Some(version.to_owned());
        });
        let sending = async {
            match &mut connection.sender {
                Sender::Http1(sender) => sender
                    .try_send_request(request)
                    .await
                    .map_err(|error| (error.message().is_some(), error.into_error())),
                Sender::Http2(sender) => sender
                    .try_send_request(request)
                    .await
                    .map_err(|error| (error.message().is_some(), error.into_error())),
            }
        };
        let result = self.wait_for_headers(sending, consent, &sent).await;
        let headers_at = self.recorder.now();
        let marks = &connection.shared.marks;
        let (first_write, last_write, first_read) =
            (marks.first_write(), marks.last_write(), marks.first_read());
        self.recorder.request(id, |request| {
            if !http2 {
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
            Some(Err((not_sent, error))) => {
                let (kind, why) = cause(&error);
                let nothing = first_read.is_none();
                let message = format!("no response of {shown}: {why}");
                Err(SendFailure {
                    failure: Failure::new(Layer::Request, kind, message),
                    not_sent,
                    connection_ended: nothing
                        && matches!(kind, FailureKind::Closed | FailureKind::Reset),
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
        let services = parts
            .headers
            .get(header::ALT_SVC)
            .map(|services| String::from_utf8_lossy(services.as_bytes()).into_owned());
        self.recorder.request(recorded.id, |request| {
            request.status = Some(parts.status.as_u16());
            request.version = Some(match parts.version {
                Version::HTTP_10 => "HTTP/1.0".to_owned(),
                Version::HTTP_2 => "HTTP/2".to_owned(),
                _ => "HTTP/1.1".to_owned(),
            });
            request.response = Some(Message { headers, ..Message::default() });
            request.phases.headers_at = Some(headers_at);
            request.phases.first_byte_at.get_or_insert(headers_at);
            request.decoded = decode.then(|| "gzip".to_owned());
            request.alternative_services = services;
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

    fn asks_for_gzip(&self, head: &http::request::Parts) -> bool {
        self.compression
            && head.method != Method::HEAD
            && !head.headers.contains_key(header::ACCEPT_ENCODING)
            && !head.headers.contains_key(header::RANGE)
    }

    /// What the caller did not give, and the server has to know.
    fn added_headers(
        &self,
        head: &http::request::Parts,
        target: &Target,
        http2: bool,
        asks_for_gzip: bool,
    ) -> HeaderMap {
        let mut added = HeaderMap::new();
        let mut add = |name: HeaderName, value: &str| {
            if !head.headers.contains_key(&name)
                && let Ok(value) = HeaderValue::from_str(value)
            {
                added.insert(name, value);
            }
        };
        if !http2 && let Some(authority) = authority(&head.uri) {
            add(header::HOST, &authority);
        }
        if !self.user_agent.is_empty() {
            add(header::USER_AGENT, &self.user_agent);
        }
        if asks_for_gzip {
            add(header::ACCEPT_ENCODING, "gzip");
        }
        if !self.keep_alive && !http2 {
            add(header::CONNECTION, "close");
        }
        if let Some(proxy) = &target.proxy
            && proxy.kind != ProxyKind::Socks5
            && !target.secure
            && let Some(authorization) = proxy.authorization()
        {
            add(header::PROXY_AUTHORIZATION, &authorization);
        }
        added
    }
}

/// A connection that is being made for a request. Where nobody wants it, it is given up.
struct Making {
    task: JoinHandle<()>,
    wanted: bool,
}

impl Drop for Making {
    fn drop(&mut self) {
        if self.wanted {
            self.task.abort();
        }
    }
}

async fn make(
    maker: Arc<Maker>,
    pool: Arc<Pool>,
    target: Target,
    request: Option<Id>,
    begun: Arc<AtomicBool>,
    made: oneshot::Sender<Result<Connection, Failure>>,
) {
    let mut closed_by_client = maker.closed.clone();
    let making = async {
        let turn = match pool.turns(&target) {
            Some(turns) => turns.acquire_owned().await.ok(),
            None => None,
        };
        begun.store(true, Relaxed);
        let (host, port) = maker.first_hop(&target);
        let dial = maker.connector.begin(request, &host, &port);
        maker.recorder.request(request, |request| request.dial = Some(dial));
        maker.make(dial, request, &target, turn).await
    };
    let result = tokio::select! {
        result = making => result,
        _ = closed_by_client.wait_for(|closed| *closed) => Err(closed()),
    };
    let result = match result {
        Ok(connection) if matches!(connection.sender, Sender::Http2(_)) => {
            pool.put_shared(&target, connection).ok_or_else(closed)
        }
        result => result,
    };
    // Whoever wished for it may have been given another one meanwhile.
    if let Err(Ok(connection)) = made.send(result) {
        Lease { connection, pool, target }.give_back();
    }
}

fn closed() -> Failure {
    Failure::new(Layer::Caller, FailureKind::ClientClosed, "the client was closed")
}

/// Why a request was not answered, and what may be done about it.
struct SendFailure {
    failure: Failure,
    /// Nothing of it has left.
    not_sent: bool,
    /// The connection ended before anything came back.
    connection_ended: bool,
}

/// Whether a message is the last of its connection (RFC 9112, section 9.6).
fn asks_to_close(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case("close"))
}

fn is_idempotent(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE].contains(method)
}

/// Host and port as they are written in the URL.
fn authority(uri: &Uri) -> Option<String> {
    let authority = uri.authority()?.as_str();
    let authority = authority.rsplit('@').next()?;
    let default = if uri.scheme_str() == Some("https") { ":443" } else { ":80" };
    Some(authority.strip_suffix(default).unwrap_or(authority).to_owned())
}

fn without_credentials(uri: &Uri) -> String {
    match (uri.scheme_str(), authority(uri)) {
        (Some(scheme), Some(authority)) => format!("{scheme}://{authority}{}", uri.path()),
        _ => uri.to_string(),
    }
}

/// What stands in the request for the URL: the whole of it for HTTP/2 and for proxies.
fn request_target(uri: &Uri, target: &Target, http2: bool) -> Uri {
    let by_proxy = !target.secure
        && target.proxy.as_ref().is_some_and(|proxy| proxy.kind != ProxyKind::Socks5);
    let mut parts = http::uri::Parts::default();
    let path = uri.path_and_query().cloned();
    if !http2 && !by_proxy {
        parts.path_and_query = path;
        return Uri::from_parts(parts).unwrap_or_default();
    }
    parts.path_and_query = path.or_else(|| "/".parse().ok());
    parts.scheme = uri.scheme().cloned();
    parts.authority = authority(uri).and_then(|authority| authority.parse().ok());
    Uri::from_parts(parts).unwrap_or_default()
}

/// What kind of failure an error of HTTP is, and in words.
pub(crate) fn cause(error: &hyper::Error) -> (FailureKind, String) {
    if let Some(alert) = crate::tls::alert_of(error) {
        return alert;
    }
    let mut next: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(source) = next {
        if let Some(http2) = source.downcast_ref::<h2::Error>() {
            if let Some(error) = http2.get_io() {
                return (crate::connector::attempt::kind(error), error.to_string());
            }
            let who = if http2.is_remote() { "the server" } else { "the client" };
            let what = match (http2.is_reset(), http2.is_go_away()) {
                (true, _) => "reset the stream",
                (_, true) => "ended the connection",
                _ => "failed",
            };
            let code = http2.reason().map(|reason| format!(": {reason}")).unwrap_or_default();
            let kind = if http2.is_reset() || http2.is_go_away() {
                FailureKind::Reset
            } else {
                FailureKind::Protocol
            };
            return (kind, format!("{who} {what}{code}"));
        }
        if let Some(error) = source.downcast_ref::<io::Error>() {
            return (crate::connector::attempt::kind(error), error.to_string());
        }
        next = source.source();
    }
    if error.is_incomplete_message() {
        return (
            FailureKind::Closed,
            "the connection was closed before all of it had come".to_owned(),
        );
    }
    if error.is_parse() {
        return (FailureKind::Protocol, format!("it is no HTTP: {error}"));
    }
    if error.is_canceled() || error.is_closed() {
        return (FailureKind::Closed, "the connection was closed".to_owned());
    }
    (FailureKind::Other, error.to_string())
}
