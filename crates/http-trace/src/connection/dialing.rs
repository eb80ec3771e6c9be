//! The dial of a connection: where to, over which transports, and what of a request's time it took.

use std::borrow::Cow;

use super::Maker;
use crate::{
    connector::{Dialed, Transports},
    pool::Target,
    quic::QuicDialing,
    record::{Failure, HttpRequest, Id, Phases},
    settings::HttpVersions,
};

impl Maker {
    /// The connection to the first hop.
    pub(super) async fn dial(
        &self,
        dial: Id,
        request: Option<Id>,
        target: &Target,
    ) -> Result<(Dialed, Phases), Failure> {
        let (host, port) = self.first_hop(target);
        let transports = self.transports(request, target);
        let result = self.connector.dial(dial, &host, &port, transports).await;
        let phases = self.recorder.phases_of_dial(dial);
        self.waiting(request, |request| {
            let queued_at = request.phases.queued_at;
            request.phases = Phases { queued_at, ..phases };
        });
        Ok((result?, phases))
    }

    fn transports<'a>(&'a self, request: Option<Id>, target: &'a Target) -> Transports<'a> {
        let quic = || QuicDialing::new(&self.tls, request, &target.host);
        let transports = match self.versions {
            HttpVersions::Http3Only => quic().map(Transports::Quic),
            HttpVersions::PreferHttp3 if target.secure && target.proxy.is_none() => {
                quic().map(Transports::QuicThenTcp)
            }
            _ => None,
        };
        transports.unwrap_or(Transports::Tcp)
    }

    pub(crate) fn first_hop<'a>(&'a self, target: &'a Target) -> (Cow<'a, str>, Cow<'a, str>) {
        if let Some(proxy) = &target.proxy {
            return (proxy.host().into(), proxy.port().to_string().into());
        }
        let (host, port) = ((&*target.host).into(), (&*target.port).into());
        if self.connect_to.is_empty() {
            return (host, port);
        }
        let known = target.port.parse().ok().map(|port| (target.host.to_ascii_lowercase(), port));
        match known.and_then(|known| self.connect_to.get(&known)) {
            Some((host, port)) => (host.into(), port.to_string().into()),
            None => (host, port),
        }
    }

    /// Changes the record of a request, unless it was given another connection meanwhile.
    pub(super) fn waiting(&self, request: Option<Id>, change: impl FnOnce(&mut HttpRequest)) {
        self.recorder.request(request, |request| {
            if request.connection.is_none() {
                change(request);
            }
        });
    }
}
