//! The dial of a connection: where to, over which transports, and what of a request's time it took.

use super::Maker;
use crate::{
    connector::{Dialed, Transports},
    pool::Target,
    quic::QuicDialing,
    record::{AttemptTransport, Failure, HttpRequest, Id, Phases},
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
        let phases = self.phases_of(dial);
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

    pub(crate) fn first_hop(&self, target: &Target) -> (String, String) {
        if let Some(proxy) = &target.proxy {
            return (proxy.host().to_owned(), proxy.port().to_string());
        }
        let known = target.port.parse().ok().map(|port| (target.host.to_ascii_lowercase(), port));
        match known.and_then(|known| self.connect_to.get(&known)) {
            Some((host, port)) => (host.clone(), port.to_string()),
            None => (target.host.clone(), target.port.clone()),
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

    /// The parts of a request's time that its dial took.
    fn phases_of(&self, dial: Id) -> Phases {
        let mut phases = Phases::default();
        self.recorder.dial(dial, |dial| {
            if let Some(lookup) = &dial.lookup {
                phases.lookup_began_at = Some(lookup.began_at);
                phases.lookup_ended_at = lookup.ended_at;
            }
            let times = |transport| {
                let mut attempts =
                    dial.attempts.iter().filter(|attempt| attempt.transport == transport);
                let began_at = attempts.next()?.began_at;
                let others = attempts.filter_map(|attempt| attempt.ended_at);
                let first = dial.attempts.iter().find(|attempt| attempt.began_at == began_at);
                let ended_at = others.chain(first.and_then(|first| first.ended_at)).max();
                Some((began_at, ended_at.or(dial.ended_at)))
            };
            if let Some((began_at, ended_at)) = times(AttemptTransport::Tcp) {
                (phases.connect_began_at, phases.connect_ended_at) = (Some(began_at), ended_at);
            }
            if let Some((began_at, ended_at)) = times(AttemptTransport::Quic) {
                (phases.quic_began_at, phases.quic_ended_at) = (Some(began_at), ended_at);
            }
        });
        phases
    }
}
