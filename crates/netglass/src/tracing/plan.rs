//! What the options ask of the client: its settings, and the requests that it is to make.

use std::{
    collections::HashMap,
    env,
    fs::{self, File},
    io::{self, Read},
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use http::{HeaderMap, HeaderValue, Method, Request, header};
use http_trace::{
    ProxyChoice, RequestBody, TracedClient,
    settings::{Family, HeaderRecording, HttpVersions, RequestRecording, Settings},
};
use url::Url;

use super::{
    arguments::{ConnectionArguments, OutputArguments, RequestArguments, TlsArguments},
    packets,
    parse::{parse_header, parse_url},
    places,
};
use crate::{secrets::Hidden, usage::UsageError};

/// The longest body, and the longest file with certificates, that is sent or read.
const MOST_BYTES: u64 = 1 << 30;

/// Headers whose values are secrets.
const SECRET_HEADERS: [&str; 6] =
    ["authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "x-auth-token"];

/// What the client is to do.
pub(super) struct Plan {
    settings: Settings,
    urls: Vec<Url>,
    method: Method,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
}

impl Plan {
    /// Understands the options, and reads the files that they name.
    pub(super) fn new(
        request: &RequestArguments,
        connection: &ConnectionArguments,
        tls: &TlsArguments,
        output: &OutputArguments,
    ) -> anyhow::Result<Self> {
        let urls: Vec<Url> =
            request.urls.iter().map(|url| parse_url(&url.0, "http")).collect::<Result<_, _>>()?;
        for url in &urls {
            if !matches!(url.scheme(), "http" | "https") {
                return Err(UsageError(format!(
                    "the scheme of a URL is {}, and only http and https are spoken",
                    url.scheme()
                ))
                .into());
            }
        }
        if output.output.is_some() && urls.len() > 1 {
            let reason = "--output takes the body of one URL, and several are given";
            return Err(UsageError(reason.to_owned()).into());
        }
        let body = body(request)?;
        let mut settings = settings(request, connection, tls, output)?;
        settings.connect_to = places::connect_to(&connection.connect_to, &urls);
        let mut headers = headers(request, body.is_some())?;
        if let Some(agent) = headers.remove(header::USER_AGENT) {
            agent.to_str().unwrap_or_default().clone_into(&mut settings.user_agent);
        }
        let usual = if body.is_some() { "POST" } else { "GET" };
        let method = request.request.as_deref().unwrap_or(usual);
        let method = method.parse().map_err(|_| {
            UsageError(format!("'{}' is no method", netglass_model::printable(method)))
        })?;
        Ok(Self { settings, urls, method, headers, body })
    }

    /// A client that has no connections yet.
    pub(super) fn client(&self) -> anyhow::Result<TracedClient> {
        let settings = self.settings.clone();
        let built = TracedClient::builder().settings(|usual| *usual = settings).build();
        Ok(built.map_err(|error| UsageError(error.to_string()))?)
    }

    /// The requests, one for each URL.
    pub(super) fn requests(&self) -> impl Iterator<Item = anyhow::Result<Request<RequestBody>>> {
        self.urls.iter().map(|url| {
            let mut url = url.clone();
            // It is for who reads the page, and is not sent.
            url.set_fragment(None);
            let body = self.body.clone().map_or_else(RequestBody::empty, RequestBody::from);
            let request = Request::builder().method(self.method.clone()).uri(url.as_str());
            let mut request = request.body(body).map_err(|reason| {
                UsageError(format!("cannot make a request for a URL that was given: {reason}"))
            })?;
            *request.headers_mut() = self.headers.clone();
            Ok(request)
        })
    }

    /// The secrets in the arguments.
    pub(super) fn secrets<'a>(
        request: &'a RequestArguments,
        connection: &'a ConnectionArguments,
        output: &'a OutputArguments,
    ) -> Vec<&'a str> {
        let password = |url: &'a Hidden| {
            let (_, rest) = url.0.split_once("://").unwrap_or(("", &url.0));
            let authority = rest.split(['/', '?', '#']).next()?;
            let (user_information, _) = authority.rsplit_once('@')?;
            user_information.split_once(':').map(|(_, password)| password)
        };
        let value = |header: &'a Hidden| {
            let (name, value) = header.0.split_once(':')?;
            SECRET_HEADERS
                .contains(&name.trim().to_ascii_lowercase().as_str())
                .then(|| value.trim())
        };
        let urls = request.urls.iter().chain(&connection.proxy).chain(&output.collector);
        let bodies = request.data.iter().chain(&request.data_binary);
        urls.filter_map(password)
            .chain(request.header.iter().filter_map(value))
            .chain(request.user.as_ref().and_then(|user| Some(user.0.split_once(':')?.1)))
            .chain(bodies.map(|data| data.0.as_str()).filter(|data| !data.starts_with('@')))
            .collect()
    }
}

fn settings(
    request: &RequestArguments,
    connection: &ConnectionArguments,
    tls: &TlsArguments,
    output: &OutputArguments,
) -> anyhow::Result<Settings> {
    let mut settings = Settings {
        versions: match connection {
            ConnectionArguments { http1_1: true, .. } => HttpVersions::Http1,
            ConnectionArguments { http2: true, .. } => HttpVersions::Http2Only,
            ConnectionArguments { http3: true, .. } => HttpVersions::PreferHttp3,
            ConnectionArguments { http3_only: true, .. } => HttpVersions::Http3Only,
            _ => HttpVersions::PreferHttp2,
        },
        family: match (connection.ipv4, connection.ipv6) {
            (true, _) => Family::V4,
            (false, true) => Family::V6,
            (false, false) => Family::Any,
        },
        disable_compression: !request.compressed,
        follow_redirects: request.location,
        proxy: proxy(connection.proxy.as_ref())?,
        ..Settings::default()
    };
    match connection.interface.as_deref().map(|name| (name, name.parse::<IpAddr>())) {
        Some((_, Ok(address))) => settings.source_ip = Some(address),
        Some((name, Err(_))) => settings.interface = Some(name.to_owned()),
        None => {}
    }
    settings.timeouts.request = request.max_time;
    settings.timeouts.connect = Some(request.connect_timeout);
    settings.timeouts.tls_handshake = Some(request.connect_timeout);
    settings.dns.nameservers.clone_from(&connection.dns_servers);
    let mut overrides: HashMap<_, Vec<IpAddr>> = HashMap::new();
    for rule in &connection.resolve {
        overrides.entry(rule.place.clone()).or_default().extend(&rule.addresses);
    }
    settings.dns.overrides = overrides;
    settings.tls.accept_invalid_certificates = tls.insecure;
    settings.tls.certificate_authorities = tls.cacert.as_deref().map(read_pem).transpose()?;
    if let Some(path) = &tls.cert {
        let key = tls.key.as_ref().unwrap_or(path);
        settings.tls.client_certificate = Some((read_pem(path)?, read_pem(key)?));
    }
    // What other programs that speak TLS call it; who does not want the secrets leaves it empty.
    settings.tls.secrets_file =
        env::var_os("SSLKEYLOGFILE").filter(|path| !path.is_empty()).map(PathBuf::from);
    let headers = HeaderRecording::Values;
    settings.recording.requests = Some(RequestRecording { headers, ..Default::default() });
    settings.recording.secrets = output.show_secrets;
    settings.recording.conntrack = cfg!(feature = "capture");
    if output.pcap.is_some() {
        if request.repeat.get() > 1 {
            let reason = "--pcap takes the packets of one time, and --repeat asks for several";
            return Err(UsageError(reason.to_owned()).into());
        }
        settings.tls.keep_secrets = output.show_secrets;
        settings.recording.capture = Some(packets::settings(settings.interface.as_deref())?);
    }
    Ok(settings)
}

fn proxy(proxy: Option<&Hidden>) -> Result<ProxyChoice, UsageError> {
    match proxy {
        None => Ok(ProxyChoice::Environment),
        Some(url) if url.0.is_empty() => Ok(ProxyChoice::Direct),
        Some(url) => Ok(ProxyChoice::Url(parse_url(&url.0, "http")?)),
    }
}

fn headers(request: &RequestArguments, has_body: bool) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for header in &request.header {
        let (name, mut value) = parse_header(&header.0)?;
        value.set_sensitive(SECRET_HEADERS.contains(&name.as_str()));
        headers.append(name, value);
    }
    if let Some(user) = &request.user {
        // As RFC 7617 has it, a name without a password has an empty one.
        let credentials =
            if user.0.contains(':') { user.0.clone() } else { format!("{}:", user.0) };
        let mut value: HeaderValue = format!("Basic {}", base64(credentials.as_bytes()))
            .parse()
            .context("making a header of --user")?;
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
    }
    if has_body {
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.entry(header::CONTENT_TYPE).or_insert(form);
    }
    Ok(headers)
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    STANDARD.encode(bytes)
}

fn body(request: &RequestArguments) -> anyhow::Result<Option<Vec<u8>>> {
    let is_form = !request.data.is_empty();
    let given = if is_form { &request.data } else { &request.data_binary };
    let mut body: Option<Vec<u8>> = None;
    for data in given {
        let mut part = match data.0.strip_prefix('@') {
            None => data.0.clone().into_bytes(),
            Some("-") => {
                read_all(io::stdin().lock()).context("reading --data from standard input")?
            }
            Some(path) => read_file(Path::new(path))?,
        };
        if is_form && data.0.starts_with('@') {
            part.retain(|byte| !matches!(byte, b'\r' | b'\n' | 0));
        }
        match &mut body {
            None => body = Some(part),
            Some(body) => {
                body.push(b'&');
                body.append(&mut part);
            }
        }
    }
    Ok(body)
}

fn read_file(path: &Path) -> anyhow::Result<Vec<u8>> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    read_all(file).with_context(|| format!("reading {}", path.display()))
}

fn read_all(source: impl Read) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let length = source.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    if u64::try_from(length).is_ok_and(|length| length > MOST_BYTES) {
        bail!("it is longer than {MOST_BYTES} bytes, the most that is sent");
    }
    Ok(bytes)
}

fn read_pem(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path)
        .with_context(|| format!("reading the certificates or the key {}", path.display()))
}
