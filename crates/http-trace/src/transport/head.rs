//! What a request says of itself and of where it goes, beyond what its caller gave.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};

use super::Transport;
use crate::{
    pool::Target,
    proxy::ProxyKind,
    record::{Failure, FailureKind, Layer},
    settings::HttpVersions,
};

impl Transport {
    pub(super) fn target(&self, uri: &Uri) -> Result<Target, Failure> {
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
            after.strip_prefix(':').filter(|port| !port.is_empty())
        }) {
            Some(port) => port,
            None if secure => "443",
            None => "80",
        };
        let proxy = self.proxy.of(uri)?;
        if self.maker.versions == HttpVersions::Http3Only {
            if !secure {
                return Err(fail("HTTP/3 is asked for, which takes https"));
            }
            if let Some(proxy) = &proxy {
                let proxy = proxy.shown(false);
                return Err(fail(&format!("HTTP/3 does not go through a proxy, as {proxy}")));
            }
        }
        Ok(Target { secure, host: host.into(), port: port.into(), proxy })
    }

    pub(super) fn asks_for_gzip(&self, head: &http::request::Parts) -> bool {
        self.compression
            && head.method != Method::HEAD
            && !head.headers.contains_key(header::ACCEPT_ENCODING)
            && !head.headers.contains_key(header::RANGE)
    }

    /// What the caller did not give, and the server has to know.
    pub(super) fn added_headers(
        &self,
        head: &http::request::Parts,
        target: &Target,
        is_shared: bool,
        asks_for_gzip: bool,
    ) -> HeaderMap {
        let mut added = HeaderMap::new();
        let mut add = |name: HeaderName, value: HeaderValue| {
            if !head.headers.contains_key(&name) {
                added.insert(name, value);
            }
        };
        if !is_shared
            && let Some(authority) = authority(&head.uri)
            && let Ok(authority) = HeaderValue::from_str(authority)
        {
            add(header::HOST, authority);
        }
        if asks_for_gzip {
            add(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if !self.keep_alive && !is_shared {
            add(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(proxy) = &target.proxy
            && proxy.kind != ProxyKind::Socks5
            && !target.secure
            && let Some(authorization) = proxy.authorization()
            && let Ok(authorization) = HeaderValue::from_str(&authorization)
        {
            add(header::PROXY_AUTHORIZATION, authorization);
        }
        if let Some(agent) = &self.user_agent
            && !head.headers.contains_key(header::USER_AGENT)
        {
            added.insert(header::USER_AGENT, agent.clone());
        }
        added
    }
}

/// Host and port as they are written in the URL.
fn authority(uri: &Uri) -> Option<&str> {
    let authority = uri.authority()?.as_str();
    let authority = authority.rsplit('@').next()?;
    let default = if uri.scheme_str() == Some("https") { ":443" } else { ":80" };
    Some(authority.strip_suffix(default).unwrap_or(authority))
}

fn without_credentials(uri: &Uri) -> String {
    match (uri.scheme_str(), authority(uri)) {
        (Some(scheme), Some(authority)) => format!("{scheme}://{authority}{}", uri.path()),
        _ => uri.to_string(),
    }
}

/// What stands in the request for the URL: the whole of it for HTTP/2, for HTTP/3 and for proxies.
pub(super) fn request_target(uri: &Uri, target: &Target, is_shared: bool) -> Uri {
    let by_proxy = !target.secure
        && target.proxy.as_ref().is_some_and(|proxy| proxy.kind != ProxyKind::Socks5);
    let mut parts = http::uri::Parts::default();
    let path = uri.path_and_query().cloned();
    if !is_shared && !by_proxy {
        parts.path_and_query = path;
        return Uri::from_parts(parts).unwrap_or_default();
    }
    parts.path_and_query = path.or_else(|| "/".parse().ok());
    parts.scheme = uri.scheme().cloned();
    parts.authority = authority(uri).and_then(|authority| authority.parse().ok());
    Uri::from_parts(parts).unwrap_or_default()
}
