//! Hyper's own client, set up as the traced one is.

use std::time::Duration;

use anyhow::{Context, Result};
use http::{Request, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::time::timeout;

use crate::{LARGEST_READ, MAXIMUM_HEADERS, Options, PATIENCE, resolver::Resolver};

/// As often as the traced client probes connections.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// What is said of either client.
pub(crate) const USER_AGENT: &str = "netglass-bench";

/// Nothing of it is recorded.
pub(crate) struct Plain {
    client: Client<HttpConnector<Resolver>, Empty<Bytes>>,
    new_connections: bool,
}

impl Plain {
    pub(crate) fn new(options: Options) -> Self {
        let mut connector = HttpConnector::new_with_resolver(Resolver::new(options.nameserver));
        connector.set_nodelay(true);
        connector.set_keepalive(Some(KEEP_ALIVE));
        connector.set_keepalive_interval(Some(KEEP_ALIVE));
        connector.set_connect_timeout(Some(PATIENCE));
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            .pool_max_idle_per_host(if options.new_connections { 0 } else { 2 })
            .http1_title_case_headers(true)
            .http1_max_headers(MAXIMUM_HEADERS)
            .http1_max_buf_size(LARGEST_READ);
        Self { client: builder.build(connector), new_connections: options.new_connections }
    }

    /// Fetches a URL; how long its body is.
    pub(crate) async fn get(&self, url: &str) -> Result<u64> {
        timeout(PATIENCE, self.fetch(url)).await.context("it took too long")?
    }

    async fn fetch(&self, url: &str) -> Result<u64> {
        let mut request = Request::get(url).header(header::USER_AGENT, USER_AGENT);
        if self.new_connections {
            request = request.header(header::CONNECTION, "close");
        }
        let response = self.client.request(request.body(Empty::new())?).await?;
        let mut body = response.into_body();
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            bytes += frame?.data_ref().map_or(0, |data| data.len() as u64);
        }
        Ok(bytes)
    }
}
