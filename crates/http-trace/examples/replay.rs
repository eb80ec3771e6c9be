//! Replays a scenario: makes a client as it says, takes its steps, and prints the trace of each
//! step `trace` as one line of nettrace's JSON. What the caller of the client saw goes to the
//! standard error.

// An example for developers: it says what it does, and ends at the first thing that it cannot do.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used
)]

use std::{
    net::SocketAddr,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{future::join_all, stream};
use http::{HeaderName, HeaderValue, Method, Request};
use http_body_util::StreamBody;
use http_trace::{
    ProxyChoice, RequestBody, RequestOptions, TracedClient,
    nettrace::{self, Ids},
    settings::{
        Batches, CaptureSettings, HeaderRecording, HttpVersions, RequestRecording, Settings,
        TcpKeepAlive,
    },
};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio_rustls::rustls::ProtocolVersion;

#[tokio::main]
async fn main() {
    let (scenario, pki) = arguments();
    let text = std::fs::read_to_string(&scenario).expect("the scenario can be read");
    let scenario: Value = serde_json::from_str(&text).expect("the scenario is JSON");
    let builder = TracedClient::builder().settings(|settings| configure(settings, &scenario, &pki));
    let client = match builder.build() {
        Ok(client) => client,
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(2);
        }
    };
    let replay = Replay {
        client,
        ids: if flag(&scenario["opts"], "shortUUID") || flag(&scenario["opts"], "shortUuid") {
            Ids::ShortUuid
        } else {
            Ids::Counter
        },
    };
    let steps = scenario["steps"].as_array().cloned().unwrap_or_default();
    for (number, step) in steps.iter().enumerate() {
        replay.step(number, step).await;
    }
}

fn arguments() -> (PathBuf, PathBuf) {
    let mut scenario = None;
    let mut pki = PathBuf::from(".");
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--pki" {
            pki = arguments.next().expect("--pki is followed by a directory").into();
        } else {
            scenario = Some(PathBuf::from(argument));
        }
    }
    (scenario.expect("usage: replay SCENARIO.json [--pki DIRECTORY]"), pki)
}

fn flag(value: &Value, name: &str) -> bool {
    value[name].as_bool().unwrap_or(false)
}

fn milliseconds(value: &Value, name: &str) -> Option<Duration> {
    value[name].as_u64().filter(|&time| time > 0).map(Duration::from_millis)
}

fn texts(value: &Value) -> Vec<String> {
    let texts = value.as_array().map(Vec::as_slice).unwrap_or_default();
    texts.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect()
}

fn version(value: &Value) -> Option<ProtocolVersion> {
    match value.as_str()? {
        "1.2" => Some(ProtocolVersion::TLSv1_2),
        "1.3" => Some(ProtocolVersion::TLSv1_3),
        other => panic!("TLS {other} is not known"),
    }
}

fn number(value: &Value, name: &str) -> Option<NonZeroUsize> {
    NonZeroUsize::new(usize::try_from(value[name].as_u64()?).ok()?)
}

fn configure(settings: &mut Settings, scenario: &Value, pki: &Path) {
    let cfg = &scenario["cfg"];
    // The tenth request is the last one, so nine redirects are followed.
    settings.limits.redirects = 9;
    settings.session = Some("00000000-0000-4000-8000-000000000000".to_owned());
    settings.versions =
        if flag(cfg, "preferHTTP2") { HttpVersions::PreferHttp2 } else { HttpVersions::Http1 };
    settings.source_ip = cfg["sourceIP"].as_str().map(|ip| ip.parse().expect("an address"));
    settings.timeouts.request = milliseconds(cfg, "reqTimeoutMs");
    settings.timeouts.connect = milliseconds(cfg, "tcpHandshakeTimeoutMs");
    settings.timeouts.tls_handshake = milliseconds(cfg, "tlsHandshakeTimeoutMs");
    settings.timeouts.response_headers = milliseconds(cfg, "responseHeaderTimeoutMs");
    settings.timeouts.expect_continue = milliseconds(cfg, "expectContinueTimeoutMs");
    settings.timeouts.idle_connection = milliseconds(cfg, "idleConnTimeoutMs");
    settings.limits.connections_per_host = number(cfg, "maxConnsPerHost");
    settings.limits.idle_connections = number(cfg, "maxIdleConns");
    if let Some(limit) = number(cfg, "maxIdleConnsPerHost") {
        settings.limits.idle_connections_per_host = limit;
    }
    settings.tcp_keep_alive = match cfg["tcpKeepAliveIntervalMs"].as_i64() {
        Some(time) if time < 0 => TcpKeepAlive::Off,
        Some(time) if time > 0 => TcpKeepAlive::Every(Duration::from_millis(time.unsigned_abs())),
        _ => TcpKeepAlive::Usual,
    };
    settings.disable_keep_alive = flag(cfg, "disableKeepAlive");
    settings.disable_compression = flag(cfg, "disableCompression");
    configure_dns(settings, cfg);
    configure_proxy(settings, cfg);
    if let Some(file) = cfg["caFile"].as_str() {
        let pem = std::fs::read(pki.join(file)).expect("the certificates can be read");
        settings.tls.certificate_authorities = Some(pem);
    }
    if let (Some(certificate), Some(key)) = (cfg["certFile"].as_str(), cfg["keyFile"].as_str()) {
        let read = |file| std::fs::read(pki.join(file)).expect("the certificate can be read");
        settings.tls.client_certificate = Some((read(certificate), read(key)));
    }
    settings.tls.accept_invalid_certificates = flag(cfg, "insecure");
    settings.tls.minimum_version = version(&cfg["tlsMinVersion"]);
    settings.tls.maximum_version = version(&cfg["tlsMaxVersion"]);
    settings.tls.session_cache = if flag(cfg, "tlsSessionCache") { 32 } else { 0 };
    configure_recording(settings, &scenario["opts"]);
}

fn configure_dns(settings: &mut Settings, cfg: &Value) {
    let skipped = texts(&cfg["skipNameservers"]);
    let all = flag(cfg, "skipAllNameservers");
    if !skipped.is_empty() || all {
        settings.dns.skip_nameserver = Some(Arc::new(move |server: SocketAddr| {
            let known = [server.to_string(), server.ip().to_string()];
            let skip = all || skipped.iter().any(|one| one == "*" || known.contains(one));
            skip.then(|| "skipped by the scenario".to_owned())
        }));
    }
    let nameservers = texts(&cfg["nameservers"]);
    settings.dns.nameservers = nameservers.iter().map(|server| with_port(server)).collect();
}

fn with_port(server: &str) -> SocketAddr {
    match server.parse::<SocketAddr>() {
        Ok(server) => server,
        Err(_) => SocketAddr::new(server.parse().expect("the address of a name server"), 53),
    }
}

fn configure_proxy(settings: &mut Settings, cfg: &Value) {
    if let Some(error) = cfg["proxyError"].as_str().map(ToOwned::to_owned) {
        settings.proxy = ProxyChoice::Function(Arc::new(move |_| Err(error.clone())));
    } else if let Some(proxy) = cfg["proxy"].as_str() {
        let proxy: url::Url = proxy.parse().expect("the URL of a proxy");
        settings.proxy = ProxyChoice::Function(Arc::new(move |_| Ok(Some(proxy.clone()))));
    } else if flag(cfg, "proxyFromEnvironment") {
        settings.proxy = ProxyChoice::Environment;
    }
}

fn configure_recording(settings: &mut Settings, opts: &Value) {
    let recording = &mut settings.recording;
    recording.secrets = true;
    let excluded = texts(&opts["excludeHeaderFields"]);
    recording.requests = flag(opts, "http").then(|| RequestRecording {
        headers: match opts["headerFields"].as_str() {
            Some("names" | "namesOnly") => HeaderRecording::Names,
            Some("lengths" | "lens" | "valueLen" | "valueLenOnly" | "len") => {
                HeaderRecording::Lengths
            }
            Some("values" | "withValues") => HeaderRecording::Values,
            _ => HeaderRecording::Off,
        },
        exclude: Some(Arc::new(move |name: &str| {
            excluded.iter().any(|excluded| excluded.eq_ignore_ascii_case(name))
        })),
    });
    recording.operations = flag(opts, "sock");
    recording.dns = flag(opts, "dns");
    recording.conntrack = flag(opts, "conntrack");
    let pcap = &opts["pcap"];
    if pcap.is_object() {
        let usual = CaptureSettings::default();
        recording.capture = Some(CaptureSettings {
            interfaces: texts(&pcap["interfaces"]),
            snapshot_length: pcap["snaplen"]
                .as_u64()
                .and_then(|length| u32::try_from(length).ok())
                .unwrap_or(usual.snapshot_length),
            size_limit: pcap["totalSizeLimit"].as_u64().unwrap_or(usual.size_limit),
            icmp: flag(pcap, "icmp"),
            arp: flag(pcap, "arp"),
            tcp_without_payload: flag(pcap, "tcpWithoutPayload"),
        });
    }
    if flag(opts, "bounded") {
        recording.records = NonZeroUsize::new(1000).expect("not zero");
    }
    if let Some(threshold) = opts["batchThreshold"].as_u64() {
        let count = AtomicUsize::new(0);
        let threshold = usize::try_from(threshold).ok().and_then(NonZeroUsize::new);
        recording.batches = Some(Batches {
            threshold: threshold.unwrap_or(NonZeroUsize::new(1000).expect("not zero")),
            handler: Arc::new(move |batch| {
                let number = count.fetch_add(1, Relaxed) + 1;
                eprintln!("batch {number}: {}", nettrace::to_json(&batch));
            }),
            flush_on_close: flag(opts, "finalFlushOnClose"),
        });
    }
}

struct Replay {
    client: TracedClient,
    ids: Ids,
}

impl Replay {
    async fn step(&self, number: usize, step: &Value) {
        let delay = milliseconds(step, "ms");
        match step["do"].as_str().unwrap_or_default() {
            "request" => {
                for _ in 0..step["count"].as_u64().unwrap_or(1) {
                    self.request(number, step).await;
                }
            }
            "parallel" => {
                let steps = step["steps"].as_array().cloned().unwrap_or_default();
                join_all(steps.iter().map(|step| async move {
                    if let Some(delay) = milliseconds(step, "ms") {
                        tokio::time::sleep(delay).await;
                    }
                    match step["do"].as_str() {
                        Some("request") => self.request(number, step).await,
                        Some("sleep") => {}
                        _ => self.simple_step(step),
                    }
                }))
                .await;
            }
            "sleep" => tokio::time::sleep(delay.unwrap_or_default()).await,
            _ => self.simple_step(step),
        }
    }

    fn simple_step(&self, step: &Value) {
        match step["do"].as_str().unwrap_or_default() {
            "trace" => {
                let description = step["desc"].as_str().unwrap_or("trace");
                let trace = self.client.trace(description);
                println!("{}", nettrace::to_json_with(&trace, self.ids));
                for capture in &trace.captures {
                    eprintln!("{}", json!({ "capture": capture }));
                }
                let attempts = trace.dials.iter().flat_map(|dial| &dial.attempts);
                for attempt in attempts {
                    eprintln!("{}", json!({ "attempt": attempt }));
                }
                for missing in &trace.missing {
                    eprintln!("{}", json!({ "missing": missing }));
                }
            }
            "clear" => self.client.clear(),
            "closeIdle" => self.client.close_idle_connections(),
            "close" => drop(self.client.close("closed")),
            // What they count is not of the trace.
            "fds" | "cpu" | "goroutines" => {
                let descriptors = std::fs::read_dir("/proc/self/fd").map(Iterator::count);
                eprintln!("{}", json!({ "descriptors": descriptors.unwrap_or(0) }));
            }
            other => eprintln!("the step {other} is not known"),
        }
    }

    async fn request(&self, number: usize, step: &Value) {
        let url = step["url"].as_str().unwrap_or_default();
        let outcome = match milliseconds(step, "cancelAfterMs") {
            None => self.send(url, step).await,
            Some(after) => match tokio::time::timeout(after, self.send(url, step)).await {
                Ok(outcome) => outcome,
                Err(_) => json!({ "error": "canceled" }),
            },
        };
        eprintln!("{}", json!({ "step": number, "url": url, "outcome": outcome }));
    }

    async fn send(&self, url: &str, step: &Value) -> Value {
        let method = step["method"].as_str().unwrap_or("GET");
        let method: Method = method.parse().expect("a method");
        let mut request = Request::builder().method(method).uri(url);
        for (name, values) in step["headers"].as_object().into_iter().flatten() {
            let name: HeaderName = name.parse().expect("the name of a header");
            for value in values.as_str().unwrap_or_default().split('\n') {
                let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
                request = request.header(name.clone(), value);
            }
        }
        let request = match request.body(body(&step["body"])) {
            Ok(request) => request,
            Err(error) => return json!({ "error": error.to_string() }),
        };
        let follow_redirects = flag(step, "noFollow").then_some(false);
        let options = RequestOptions { follow_redirects, ..RequestOptions::default() };
        let mut response = match self.client.execute_with(request, options).await {
            Ok(response) => response,
            Err(error) => return json!({ "error": error.to_string() }),
        };
        let status = response.status().as_u16();
        let proto = format!("{:?}", response.version());
        let wanted = match &step["read"] {
            Value::String(text) if text == "none" => 0,
            Value::String(text) => text.parse().unwrap_or(u64::MAX),
            Value::Number(number) => number.as_u64().unwrap_or(u64::MAX),
            _ => u64::MAX,
        };
        let mut read = 0;
        let mut error = None;
        while read < wanted {
            let length = usize::try_from(wanted - read).unwrap_or(usize::MAX);
            match response.body_mut().piece(length).await {
                Ok(Some(chunk)) => read += chunk.len() as u64,
                Ok(None) => break,
                Err(failed) => {
                    error = Some(failed.to_string());
                    break;
                }
            }
        }
        json!({ "status": status, "proto": proto, "bodyBytes": read, "bodyError": error })
    }
}

/// How much of a body is given at once where its length is not.
const CHUNK: usize = 32 << 10;

fn body(value: &Value) -> RequestBody {
    let Some(size) = value["size"].as_u64().and_then(|size| usize::try_from(size).ok()) else {
        return match value.as_str().or(value["text"].as_str()) {
            Some(text) => text.to_owned().into(),
            None => RequestBody::empty(),
        };
    };
    if flag(value, "chunked") {
        let chunks = (0..size.div_ceil(CHUNK)).map(move |chunk| {
            let length = CHUNK.min(size - chunk * CHUNK);
            Ok::<_, std::io::Error>(Frame::data(Bytes::from(vec![b'a'; length])))
        });
        return RequestBody::stream(StreamBody::new(stream::iter(chunks)));
    }
    vec![b'a'; size].into()
}
