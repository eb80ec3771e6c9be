//! Proxies: which one a request goes through, and how it is asked.

mod connect;
mod environment;
mod socks;

use std::{fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::Uri;
use url::Url;

use self::environment::Environment;
pub(crate) use self::{
    connect::{connect, parse as parse_answer},
    socks::{connect as connect_by_socks, meaning as meaning_of_socks},
};
use crate::{
    Error,
    record::{Failure, FailureKind, Layer},
    settings::invalid,
};

/// Decides of a URL through which proxy it is fetched, if any.
pub type ProxyFunction = dyn Fn(&Uri) -> Result<Option<Url>, String> + Send + Sync;

/// Which proxy a request goes through.
#[derive(Clone, Default)]
pub enum ProxyChoice {
    /// None.
    #[default]
    Direct,
    /// What `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` say, in either case.
    Environment,
    /// This one: `http`, `https`, `socks5` or `socks5h`, with credentials if need be.
    Url(Url),
    /// Whatever the function says.
    Function(Arc<ProxyFunction>),
}

impl fmt::Debug for ProxyChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct => formatter.write_str("Direct"),
            Self::Environment => formatter.write_str("Environment"),
            Self::Url(url) => formatter
                .debug_tuple("Url")
                .field(&crate::settings::without_password(url, false))
                .finish(),
            Self::Function(_) => formatter.write_str("Function"),
        }
    }
}

impl ProxyChoice {
    pub(crate) fn check(&self) -> Result<(), Error> {
        let Self::Url(url) = self else { return Ok(()) };
        let shown = crate::settings::without_password(url, false);
        if !matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h") {
            let reason =
                format!("is {shown}: its scheme is none of http, https, socks5 and socks5h");
            return invalid("proxy", reason);
        }
        if url.host_str().is_none_or(str::is_empty) {
            return invalid("proxy", format!("is {shown}, without a host"));
        }
        Ok(())
    }

    pub(crate) fn of(&self, url: &Uri) -> Result<Option<Proxy>, Failure> {
        let chosen = match self {
            Self::Direct => None,
            Self::Url(proxy) => Some(proxy.clone()),
            Self::Environment => Environment::read()
                .of(url)
                .map_err(|reason| Failure::new(Layer::Proxy, FailureKind::Invalid, reason))?,
            Self::Function(function) => function(url).map_err(|reason| {
                let message = format!("cannot choose a proxy: {reason}");
                Failure::new(Layer::Proxy, FailureKind::Invalid, message)
            })?,
        };
        Ok(chosen.map(Proxy::new))
    }
}

/// How a proxy is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ProxyKind {
    Http,
    Https,
    Socks5,
}

/// A proxy that a request goes through.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Proxy {
    pub(crate) kind: ProxyKind,
    url: Url,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Proxy").field(&self.shown(false)).finish()
    }
}

impl Proxy {
    fn new(url: Url) -> Self {
        let kind = match url.scheme() {
            "https" => ProxyKind::Https,
            "socks5" | "socks5h" => ProxyKind::Socks5,
            // What a function of the caller's calls otherwise is spoken to as what most are.
            _ => ProxyKind::Http,
        };
        Self { kind, url }
    }

    pub(crate) fn shown(&self, secrets: bool) -> String {
        let shown = crate::settings::without_password(&self.url, secrets);
        // A proxy has no path: the slash that every URL gets says nothing.
        match self.url.path() {
            "/" => shown.strip_suffix('/').unwrap_or(&shown).to_owned(),
            _ => shown,
        }
    }

    pub(crate) fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    pub(crate) fn port(&self) -> u16 {
        self.url.port().unwrap_or(match self.kind {
            ProxyKind::Http => 80,
            ProxyKind::Https => 443,
            ProxyKind::Socks5 => 1080,
        })
    }

    /// The user and the password, if the URL has any.
    pub(crate) fn credentials(&self) -> Option<(String, String)> {
        let decode = |text: &str| {
            percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
        };
        let user = decode(self.url.username());
        let password = self.url.password().map(decode);
        (!user.is_empty() || password.is_some()).then(|| (user, password.unwrap_or_default()))
    }

    /// The value of `Proxy-Authorization`.
    pub(crate) fn authorization(&self) -> Option<String> {
        let (user, password) = self.credentials()?;
        Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
    }
}
