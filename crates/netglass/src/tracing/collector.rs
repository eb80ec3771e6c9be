//! Sends spans to a collector of OpenTelemetry: OTLP over HTTP, as JSON.

use std::time::Duration;

use anyhow::{Context as _, bail};
use http::{Request, header};
use http_trace::{HttpTrace, ProxyChoice, RequestBody, TracedClient};
use netglass_model::printable;
use serde_json::Value;
use url::Url;

use super::parse::parse_url;
use crate::{output::trace::otlp, probing::tell, usage::UsageError};

/// How long a collector may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much of its answer is read.
const MOST_BYTES: usize = 64 << 10;
/// Where it takes spans, as its protocol says.
const PATH: &str = "/v1/traces";

/// Where spans are sent.
pub(super) struct Collector {
    client: TracedClient,
    url: Url,
}

impl Collector {
    pub(super) fn new(url: &str) -> anyhow::Result<Self> {
        let mut url = parse_url(url, "http")?;
        if matches!(url.path(), "" | "/") {
            url.set_path(PATH);
        }
        let client = TracedClient::builder().settings(|settings| {
            settings.timeouts.request = Some(PATIENCE);
            settings.proxy = ProxyChoice::Environment;
            settings.recording.requests = None;
            settings.recording.operations = false;
            settings.recording.dns = false;
            settings.recording.tcp_information = false;
        });
        let client = client.build().map_err(|error| UsageError(error.to_string()))?;
        Ok(Self { client, url })
    }

    /// Sends a trace. What the collector did not take is told.
    pub(super) async fn send(&self, trace: &HttpTrace) -> anyhow::Result<()> {
        let sent = self.export(trace).await;
        sent.with_context(|| format!("sending spans to the collector {}", self.shown()))
    }

    async fn export(&self, trace: &HttpTrace) -> anyhow::Result<()> {
        let request = Request::post(self.url.as_str())
            .header(header::CONTENT_TYPE, "application/json")
            .body(RequestBody::from(otlp::export(trace).to_string()))?;
        let response = self.client.execute(request).await?;
        let status = response.status();
        let answer = response.into_body().bytes(MOST_BYTES).await?;
        if !status.is_success() {
            let answer = String::from_utf8_lossy(&answer);
            bail!(
                "it answered {status}: {}; see whether it takes JSON there",
                printable(answer.trim())
            );
        }
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        let partial = &answer["partialSuccess"];
        // The mapping of Protocol Buffers has 64 bits as strings; some send a number.
        let rejected = match &partial["rejectedSpans"] {
            Value::String(count) => count.parse().unwrap_or_default(),
            count => count.as_u64().unwrap_or_default(),
        };
        if rejected > 0 {
            let why = partial["errorMessage"].as_str().unwrap_or("it does not say why");
            tell(&[format!(
                "the collector {} did not take {rejected} spans: {}",
                self.shown(),
                printable(why)
            )]);
        }
        Ok(())
    }

    /// The URL without what may be secret.
    fn shown(&self) -> String {
        let origin = self.url.origin().ascii_serialization();
        format!("{origin}{}", self.url.path())
    }
}
