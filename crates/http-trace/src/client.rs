//! The client: requests with their redirects and timeouts, and the trace of them.

use std::{
    collections::HashSet,
    fmt::Write as _,
    pin::pin,
    sync::{Arc, PoisonError},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use url::Url;
use uuid::Uuid;

use crate::{
    Error,
    body::{RequestBody, ResponseBody},
    capture::PacketCapture,
    connection::Maker,
    connector::Connector,
    kernel::KernelRecorder,
    quic::Live,
    record::{Failure, FailureKind, HttpTrace, Id, Layer, Via},
    recorder::Recorder,
    resolver::Resolver,
    settings::{Settings, without_password},
    socket::SocketOptions,
    tls::Tls,
    transport::{Reason, Transport},
};

/// How much of the body of a redirect is read, so that its connection can be used again.
const DRAINED: u64 = 2 << 10;

/// Makes a [`TracedClient`].
#[derive(Debug, Default)]
pub struct Builder {
    settings: Settings,
}

impl Builder {
    /// Changes the settings.
    #[must_use]
    pub fn settings(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// Makes the client. Its requests have to be made on a runtime of tokio.
    pub fn build(self) -> Result<TracedClient, Error> {
        let settings = self.settings;
        settings.check()?;
        let session = settings.session.clone().unwrap_or_else(|| Uuid::new_v4().to_string());
        let recorder = Recorder::new(settings.recording.clone(), session);
        let options = SocketOptions {
            source_ip: settings.source_ip,
            interface: settings.interface.clone(),
            keep_alive: settings.tcp_keep_alive,
        };
        let resolver = Resolver::new(
            settings.dns.clone(),
            settings.family,
            options.clone(),
            Arc::clone(&recorder),
        );
        let connector = Connector {
            resolver,
            options,
            family: settings.family,
            timeout: settings.timeouts.connect,
            recorder: Arc::clone(&recorder),
        };
        let tls = Tls::new(&settings.tls, settings.timeouts.tls_handshake, Arc::clone(&recorder))?;
        let (close, closed) = watch::channel(false);
        let maker = Arc::new(Maker {
            connector,
            tls,
            versions: settings.versions,
            limits: settings.limits.clone(),
            user_agent: settings.user_agent.clone(),
            connect_to: settings.connect_to.clone(),
            recorder: Arc::clone(&recorder),
            live: Live::new(Arc::clone(&recorder)),
            closed,
        });
        let transport = Transport::new(&settings, maker, Arc::clone(&recorder));
        let kernel = KernelRecorder::start(&recorder);
        recorder.begin();
        Ok(TracedClient {
            shared: Arc::new(Client { settings, transport, recorder, close, kernel }),
        })
    }
}

/// An HTTP client whose every step is recorded. Clones share connections and the trace.
#[derive(Debug, Clone)]
pub struct TracedClient {
    shared: Arc<Client>,
}

#[derive(Debug)]
struct Client {
    settings: Settings,
    transport: Transport,
    recorder: Arc<Recorder>,
    close: watch::Sender<bool>,
    kernel: KernelRecorder,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.close.send_replace(true);
    }
}

/// What is done differently for one request.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestOptions {
    /// Whether redirects are followed, whatever the client's settings say.
    pub follow_redirects: Option<bool>,
    /// How long it may take, whatever the client's settings say.
    pub timeout: Option<Duration>,
}

impl TracedClient {
    /// With the usual settings.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Sends a request and waits for the headers of the response, over redirects where they are
    /// followed. The URL has to be whole. Credentials in it are sent as `Authorization`.
    pub async fn execute(
        &self,
        request: Request<RequestBody>,
    ) -> Result<Response<ResponseBody>, Error> {
        self.execute_with(request, RequestOptions::default()).await
    }

    /// The same, with options of its own.
    pub async fn execute_with(
        &self,
        request: Request<RequestBody>,
        options: RequestOptions,
    ) -> Result<Response<ResponseBody>, Error> {
        let client = &self.shared;
        if *client.close.borrow() {
            let message = "cannot send a request: the client was closed";
            return Err(Error::failed(Layer::Caller, FailureKind::ClientClosed, message));
        }
        let timeout = options.timeout.or(client.settings.timeouts.request);
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        let reason = Reason::default();
        let follow = options.follow_redirects.unwrap_or(client.settings.follow_redirects);
        let mut following = pin!(client.follow(request, follow, &reason));
        let Some(deadline) = deadline else { return Ok(following.await?) };
        let Ok(response) = timeout_at(deadline, &mut following).await else {
            let limit = timeout.unwrap_or_default();
            let mut reason = reason.lock().unwrap_or_else(PoisonError::into_inner);
            let (layer, during) = client.recorder.stage(reason.request);
            let message = format!("the request took longer than {limit:?}, and was {during}");
            let failure = Failure::new(layer, FailureKind::Timeout, message);
            // The record ends when the future is dropped.
            reason.failure = Some(failure.clone());
            return Err(failure.into());
        };
        let mut response = response?;
        response.body_mut().set_deadline(deadline);
        Ok(response)
    }

    /// Fetches a URL.
    pub async fn get(&self, url: &str) -> Result<Response<ResponseBody>, Error> {
        let request = Request::get(url).body(RequestBody::empty()).map_err(|error| {
            let message = format!("cannot request {url}: {error}");
            Error::failed(Layer::Configuration, FailureKind::Invalid, message)
        })?;
        self.execute(request).await
    }

    /// All that happened since the client was made, or its trace last cleared. It can be taken as
    /// often as one likes, and nothing is forgotten by it. Where records are given away in batches,
    /// all there are are given away, and the trace holds none.
    #[must_use]
    pub fn trace(&self, description: &str) -> HttpTrace {
        self.shared.transport.maker.live.update();
        let captures = self.shared.kernel.update();
        self.shared.recorder.snapshot(description, captures)
    }

    /// Begins a new trace. What is over is forgotten; what still goes on, connections among it, is
    /// taken along with its times, which are before the beginning of the new trace.
    pub fn clear(&self) {
        self.shared.recorder.clear();
        self.shared.kernel.clear();
    }

    /// Closes connections that no request uses.
    pub fn close_idle_connections(&self) {
        self.shared.transport.pool.close_idle();
    }

    /// Closes all connections, and waits a tenth of a second at most for those of HTTP/3 to say so
    /// to their servers, which hear nothing of an end otherwise.
    pub async fn close_connections(&self) {
        self.close_idle_connections();
        self.shared.transport.maker.live.say_farewell().await;
    }

    /// Ends everything: requests, dials and connections. Gives the last trace; the ones after it
    /// are empty.
    #[allow(clippy::must_use_candidate)]
    pub fn close(&self, description: &str) -> HttpTrace {
        self.shared.close.send_replace(true);
        self.shared.transport.pool.close();
        self.shared.transport.maker.live.close();
        let captures = self.shared.kernel.update();
        self.shared.kernel.stop();
        self.shared.recorder.close(description, captures)
    }

    /// The packets of the trace that was taken last, by interface.
    #[must_use]
    pub fn captures(&self) -> Vec<PacketCapture> {
        self.shared.kernel.captures()
    }

    /// The secrets of the connections since the client was made, as `SSLKEYLOGFILE` has them, and
    /// how many lines there was no room for; nothing where they are not kept.
    #[must_use]
    pub fn tls_secrets(&self) -> Option<(String, u64)> {
        self.shared.transport.maker.tls.secrets()
    }
}

impl Client {
    async fn follow(
        &self,
        request: Request<RequestBody>,
        follow: bool,
        reason: &Reason,
    ) -> Result<Response<ResponseBody>, Failure> {
        let (mut head, mut body) = request.into_parts();
        let secrets = self.settings.recording.secrets;
        let keeps_referer = head.headers.contains_key(header::REFERER);
        let mut hop = 0;
        let mut previous: Option<Id> = None;
        // Without limits it is as long as the chain.
        let mut visited = HashSet::new();
        loop {
            authorize(&mut head);
            let shown: Arc<str> = shown(&head.uri, secrets).into();
            let content = body.take().unwrap_or_else(RequestBody::empty);
            let via = (hop > 0).then_some(Via::Redirect { from: previous, hop });
            let outcome = self.transport.round_trip(&head, content, &shown, via, reason).await?;
            let mut response = outcome.response;
            let location = response.headers().get(header::LOCATION);
            let redirects = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            let Some(location) = location.filter(|_| redirects && follow) else {
                return Ok(response);
            };
            let url = parse(&head.uri).ok();
            let ends = |kind, message: String| {
                let failure = Failure::new(Layer::Request, kind, message);
                let error = Some(failure.clone());
                self.recorder.request(outcome.id, |request| request.redirect_error = error);
                failure
            };
            let keeps_body = matches!(response.status().as_u16(), 307 | 308);
            if keeps_body && !body.can_be_sent_again() {
                let message = format!(
                    "{shown} redirects the request with its body, which is a stream that is spent"
                );
                ends(FailureKind::Other, message);
                return Ok(response);
            }
            let next = next_url(url.as_ref(), location).map_err(|why| {
                let message = format!("{shown} redirects to where nobody can go: {why}");
                ends(FailureKind::Invalid, message)
            })?;
            visited.insert(head.uri.to_string());
            if hop >= self.settings.limits.redirects {
                drain(response.body_mut()).await;
                let mut message = format!("{shown} redirects once more after {hop} redirects");
                if visited.contains(without_fragment(&next).as_str()) {
                    let next = without_password(&next, secrets);
                    let _ = write!(message, ", in a circle: {next} was requested before");
                }
                return Err(ends(FailureKind::TooManyRedirects, message));
            }
            redirect(&mut head, response.status(), url.as_ref(), &next, keeps_referer)
                .map_err(|why| ends(FailureKind::Invalid, why))?;
            if !keeps_body {
                body = RequestBody::empty();
            }
            drain(response.body_mut()).await;
            previous = outcome.id;
            hop += 1;
        }
    }
}

/// What most URLs have room in.
const ROOM_FOR_A_URL: usize = 128;

/// A URL as it is recorded.
fn shown(uri: &Uri, secrets: bool) -> String {
    let may_have_password = uri.authority().is_some_and(|it| it.as_str().contains('@'));
    match may_have_password.then(|| parse(uri)) {
        Some(Ok(url)) if url.password().is_some() => without_password(&url, secrets),
        _ => {
            let mut shown = String::with_capacity(ROOM_FOR_A_URL);
            // Writing to a String cannot fail.
            let _ = write!(shown, "{uri}");
            shown
        }
    }
}

fn parse(uri: &Uri) -> Result<Url, url::ParseError> {
    Url::parse(&uri.to_string())
}

/// Credentials of the URL become a header, unless there is one.
fn authorize(head: &mut http::request::Parts) {
    if head.headers.contains_key(header::AUTHORIZATION) {
        return;
    }
    let Some((user_information, _)) =
        head.uri.authority().and_then(|authority| authority.as_str().rsplit_once('@'))
    else {
        return;
    };
    let decoded = percent_encoding::percent_decode_str(user_information).collect::<Vec<u8>>();
    let mut credentials = decoded;
    if !user_information.contains(':') {
        credentials.push(b':');
    }
    let value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(credentials)));
    if let Ok(mut value) = value {
        value.set_sensitive(true);
        head.headers.insert(header::AUTHORIZATION, value);
    }
}

fn next_url(base: Option<&Url>, location: &HeaderValue) -> Result<Url, String> {
    let location = std::str::from_utf8(location.as_bytes()).map_err(|error| error.to_string())?;
    let next = match base {
        Some(base) => base.join(location),
        None => Url::parse(location),
    };
    let mut next = next.map_err(|error| format!("{location}: {error}"))?;
    if !matches!(next.scheme(), "http" | "https") {
        let shown = without_password(&next, false);
        return Err(format!("{shown} has a scheme that is neither http nor https"));
    }
    if next.fragment().is_none() {
        next.set_fragment(base.and_then(Url::fragment));
    }
    Ok(next)
}

/// What the request is that a redirect asks for (RFC 9110, section 15.4).
fn redirect(
    head: &mut http::request::Parts,
    status: StatusCode,
    from: Option<&Url>,
    to: &Url,
    keeps_referer: bool,
) -> Result<(), String> {
    let changes_method = matches!(status.as_u16(), 301..=303);
    if changes_method && head.method != Method::GET && head.method != Method::HEAD {
        head.method = Method::GET;
        for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::CONTENT_ENCODING] {
            head.headers.remove(name);
        }
        head.headers.remove(header::EXPECT);
    }
    head.headers.remove(header::HOST);
    if let Some(from) = from {
        let leaves = !same_site(from, to);
        let came_by_url = !from.username().is_empty() || from.password().is_some();
        if leaves || came_by_url {
            head.headers.remove(header::AUTHORIZATION);
        }
        if leaves {
            head.headers.remove(header::COOKIE);
            head.headers.remove(header::PROXY_AUTHORIZATION);
            head.headers.remove(header::WWW_AUTHENTICATE);
        }
        let downgrade = from.scheme() == "https" && to.scheme() == "http";
        if downgrade {
            head.headers.remove(header::REFERER);
        } else if !keeps_referer {
            let mut referer = from.clone();
            referer.set_fragment(None);
            // Both only fail for URLs without a host.
            let _ = referer.set_username("");
            let _ = referer.set_password(None);
            if let Ok(value) = HeaderValue::try_from(referer.as_str()) {
                head.headers.insert(header::REFERER, value);
            }
        }
    }
    head.uri = without_fragment(to).as_str().parse().map_err(|error: http::uri::InvalidUri| {
        format!("cannot follow a redirect to {}: {error}", without_password(to, false))
    })?;
    Ok(())
}

/// What of a URL is sent.
fn without_fragment(url: &Url) -> Url {
    let mut url = url.clone();
    url.set_fragment(None);
    url
}

/// Whether the other is the same host or one below it, and may know what this one knows.
fn same_site(from: &Url, to: &Url) -> bool {
    let (Some(from_host), Some(to_host)) = (from.host_str(), to.host_str()) else { return false };
    let same = from_host.eq_ignore_ascii_case(to_host);
    let below = to_host
        .to_ascii_lowercase()
        .strip_suffix(&from_host.to_ascii_lowercase())
        .is_some_and(|rest| rest.ends_with('.'));
    let downgrade = from.scheme() == "https" && to.scheme() == "http";
    (same || below) && !downgrade
}

async fn drain(body: &mut ResponseBody) {
    let mut read = 0;
    while read < DRAINED {
        match body.chunk().await {
            Ok(Some(chunk)) => read += chunk.len() as u64,
            Ok(None) | Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redirected(status: u16, from: &str, to: &str) -> http::request::Parts {
        let request = Request::post(from)
            .header("Authorization", "Bearer abc")
            .header("Cookie", "a=1")
            .header("Content-Type", "text/plain");
        let (mut head, ()) = request.body(()).unwrap().into_parts();
        let (from, to) = (Url::parse(from).unwrap(), Url::parse(to).unwrap());
        redirect(&mut head, StatusCode::from_u16(status).unwrap(), Some(&from), &to, false)
            .unwrap();
        head
    }

    #[test]
    fn secrets_do_not_follow_to_another_site() {
        for (to, keeps) in [
            ("https://a.test/b", true),
            ("https://below.a.test/", true),
            ("https://b.test/", false),
            ("https://ba.test/", false),
            ("http://a.test/", false),
        ] {
            let head = redirected(302, "https://a.test/", to);
            assert_eq!(head.headers.contains_key(header::AUTHORIZATION), keeps, "{to}");
            assert_eq!(head.headers.contains_key(header::COOKIE), keeps, "{to}");
        }
    }

    #[test]
    fn the_method_is_kept_where_the_status_says_so() {
        for (status, method) in
            [(301, Method::GET), (303, Method::GET), (307, Method::POST), (308, Method::POST)]
        {
            assert_eq!(redirected(status, "http://a.test/", "http://a.test/b").method, method);
        }
    }

    #[test]
    fn the_referer_names_no_credentials() {
        let head = redirected(302, "http://user:word@a.test/x#y", "http://a.test/b");
        assert_eq!(head.headers[header::REFERER], "http://a.test/x");
    }
}
