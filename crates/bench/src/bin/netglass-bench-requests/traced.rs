//! The traced client, which records requests with their headers, sockets, and DNS.

use anyhow::{Result, ensure};
use http_trace::{
    ProxyChoice, TracedClient,
    settings::{HeaderRecording, RequestRecording},
};

use crate::{LARGEST_READ, MAXIMUM_HEADERS, Options, PATIENCE, plain::USER_AGENT};

pub(crate) struct Traced {
    client: TracedClient,
    options: Options,
}

impl Traced {
    pub(crate) fn new(options: Options) -> Result<Self> {
        let client = TracedClient::builder().settings(|settings| {
            settings.timeouts.connect = Some(PATIENCE);
            settings.timeouts.request = Some(PATIENCE);
            settings.limits.response_headers = MAXIMUM_HEADERS;
            settings.limits.response_header_bytes = LARGEST_READ;
            settings.disable_keep_alive = options.new_connections;
            settings.disable_compression = true;
            settings.proxy = ProxyChoice::Direct;
            USER_AGENT.clone_into(&mut settings.user_agent);
            settings.dns.nameservers.extend(options.nameserver);
            let headers = HeaderRecording::Values;
            settings.recording.requests =
                Some(RequestRecording { headers, ..RequestRecording::default() });
        });
        Ok(Self { client: client.build()?, options })
    }

    /// Fetches a URL; how long its body is.
    pub(crate) async fn get(&self, url: &str) -> Result<u64> {
        let mut body = self.client.get(url).await?.into_body();
        let mut bytes = 0;
        while let Some(data) = body.chunk().await? {
            bytes += data.len() as u64;
        }
        Ok(bytes)
    }

    /// Fails unless all of it was recorded, as far as records are kept.
    pub(crate) fn check(&self, requests: u32, bytes: u64) -> Result<()> {
        let trace = self.client.close("");
        let recorded = |kept: usize, dropped: u64| kept as u64 + dropped;
        let requests = u64::from(requests);
        ensure!(
            recorded(trace.requests.len(), trace.dropped.requests) == requests,
            "not all requests were recorded"
        );
        let connections = if self.options.new_connections { requests } else { 1 };
        ensure!(
            recorded(trace.tcp.len(), trace.dropped.tcp) == connections,
            "not all connections were recorded"
        );
        for tcp in &trace.tcp {
            let operations = tcp.operations.as_ref();
            let read = tcp.received_bytes > bytes && operations.is_some_and(|it| it.list.len() > 1);
            ensure!(read, "not all reads were recorded");
        }
        if self.options.nameserver.is_some() {
            ensure!(
                recorded(trace.dns.len(), trace.dropped.dns) == 2 * requests,
                "not all questions were recorded"
            );
        }
        Ok(())
    }
}
