//! A stub resolver (RFC 1034, section 5.3.1) each step of which is recorded: which names of the
//! search list are asked for, which name servers, over what, how often.

mod cache;
mod configuration;
mod datagrams;
mod exchange;
pub(crate) mod message;
mod system;

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use hickory_proto::rr::{Name, RecordType};
use tokio::time::Instant;

use self::{
    cache::Cache,
    configuration::{Configuration, Source},
    datagrams::Datagrams,
    message::{Reply, Request},
    system::{Contents, System},
};
use crate::{
    clock::Moment,
    record::{
        Failure, FailureKind, Id, Layer, Lookup, LookupSource, SearchStep, SkippedNameserver,
    },
    recorder::Recorder,
    settings::{DnsSettings, Family},
    socket::SocketOptions,
};

/// Looks names up.
#[derive(Debug)]
pub(crate) struct Resolver {
    settings: DnsSettings,
    system: System,
    family: Family,
    options: SocketOptions,
    recorder: Arc<Recorder>,
    next_server: AtomicUsize,
    datagrams: Datagrams,
    cache: Mutex<Cache>,
}

/// A name that is looked up for a dial.
#[derive(Debug, Clone, Copy)]
struct Wish<'a> {
    dial: Id,
    name: &'a str,
    deadline: Option<Instant>,
}

/// What one question came to.
struct Answer {
    addresses: Vec<IpAddr>,
    canonical_name: Option<String>,
    ttl: u32,
}

impl Resolver {
    pub(crate) fn new(
        settings: DnsSettings,
        family: Family,
        options: SocketOptions,
        recorder: Arc<Recorder>,
    ) -> Self {
        let cache = Mutex::new(Cache::new(settings.cache));
        let next_server = AtomicUsize::new(0);
        let system = System::new(&settings);
        Self {
            settings,
            system,
            family,
            options,
            recorder,
            next_server,
            datagrams: Datagrams::default(),
            cache,
        }
    }

    /// The addresses of a name, in no order. What was done for it stands in the dial.
    pub(crate) async fn look_up(
        &self,
        dial: Id,
        name: &str,
        port: u16,
        deadline: Option<Instant>,
    ) -> Result<Vec<IpAddr>, Failure> {
        let began_at = self.recorder.now();
        self.recorder.dial(dial, |dial| {
            dial.lookup = Some(Lookup {
                name: name.to_owned(),
                began_at,
                ended_at: None,
                source: LookupSource::Dns,
                steps: Vec::new(),
                canonical_name: None,
                addresses: Vec::new(),
                error: None,
            });
        });
        let wish = Wish { dial, name, deadline };
        let (source, result) = self.find(wish, port).await;
        let ended_at = self.recorder.now();
        self.recorder.dial(dial, |dial| {
            if let Some(lookup) = &mut dial.lookup {
                lookup.ended_at = Some(ended_at);
                lookup.source = source;
                match &result {
                    Ok(answer) => lookup.canonical_name.clone_from(&answer.canonical_name),
                    Err(error) => lookup.error = Some(error.clone()),
                }
            }
        });
        result.map(|answer| answer.addresses)
    }

    async fn find(&self, wish: Wish<'_>, port: u16) -> (LookupSource, Result<Answer, Failure>) {
        let overrides = &self.settings.overrides;
        let overridden = (!overrides.is_empty())
            .then(|| overrides.get(&(wish.name.to_ascii_lowercase(), port)))
            .flatten();
        if let Some(addresses) = overridden {
            let answer = Answer { addresses: addresses.clone(), canonical_name: None, ttl: 0 };
            return (LookupSource::Override, Ok(answer));
        }
        let system = self.system.contents();
        for source in &system.order {
            match source {
                Source::Files => {
                    let found = system.hosts(wish.name);
                    if let Some((addresses, canonical)) = found {
                        let canonical_name = Some(canonical);
                        let answer = Answer { addresses, canonical_name, ttl: 0 };
                        return (LookupSource::Hosts, Ok(answer));
                    }
                }
                Source::Dns => return self.ask(wish, &system).await,
            }
        }
        let message = format!(
            "cannot resolve {}: it is not in {}, and {} leaves DNS out",
            wish.name,
            self.settings.hosts_file.display(),
            self.settings.order_file.display()
        );
        let failure = Failure::new(Layer::Dns, FailureKind::NoSuchName, message);
        (LookupSource::Hosts, Err(failure))
    }

    async fn ask(
        &self,
        wish: Wish<'_>,
        system: &Contents,
    ) -> (LookupSource, Result<Answer, Failure>) {
        let now = Instant::now();
        let cached = self.cache.lock().unwrap_or_else(PoisonError::into_inner).get(wish.name, now);
        if let Some(addresses) = cached {
            let answer = Answer { addresses, canonical_name: None, ttl: 0 };
            return (LookupSource::Cache, Ok(answer));
        }
        let result = self.ask_for_each_name(wish, &system.configuration).await;
        if let Ok(answer) = &result {
            let until = now + Duration::from_secs(u64::from(answer.ttl));
            let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
            cache.put(wish.name, &answer.addresses, now, until);
        }
        (LookupSource::Dns, result)
    }

    async fn ask_for_each_name(
        &self,
        wish: Wish<'_>,
        configuration: &Configuration,
    ) -> Result<Answer, Failure> {
        let itself = format!("{}.", wish.name.trim_end_matches('.'));
        let mut last: Option<Refusal> = None;
        for name in configuration.names(wish.name) {
            let began_at = self.recorder.now();
            let Ok(parsed) = Name::from_ascii(&name) else {
                let why = format!("cannot resolve {}: {name} is no name of DNS", wish.name);
                last.get_or_insert(Failure::new(Layer::Dns, FailureKind::Invalid, why).into());
                continue;
            };
            let (v4, v6) = self.ask_for_both(wish, &parsed, configuration).await;
            let mut answer = Answer { addresses: Vec::new(), canonical_name: None, ttl: u32::MAX };
            let mut error = None;
            for result in [v4, v6].into_iter().flatten() {
                match result {
                    Ok((found, canonical, ttl)) => {
                        answer.addresses.extend(found);
                        answer.canonical_name = answer.canonical_name.or(canonical);
                        answer.ttl = answer.ttl.min(ttl);
                    }
                    Err(refusal) => {
                        // What a suffix of the search list says of it does not hide what is said
                        // of the name itself.
                        if last.is_none() || name != itself {
                            last = Some(refusal.clone());
                        }
                        error = Some(refusal);
                    }
                }
            }
            // Where one family has addresses, it is no failure that the other has none.
            let error = error.filter(|_| answer.addresses.is_empty());
            let error = error.map(|refusal| refusal.into_failure(wish.name));
            self.step(wish.dial, name, began_at, answer.addresses.len(), error);
            if !answer.addresses.is_empty() {
                return Ok(answer);
            }
        }
        Err(last.unwrap_or(Refusal::NoSuchName(None)).into_failure(wish.name))
    }

    fn step(
        &self,
        dial: Id,
        name: String,
        began_at: Moment,
        addresses: usize,
        error: Option<Failure>,
    ) {
        let ended_at = self.recorder.now();
        let addresses = u32::try_from(addresses).unwrap_or(u32::MAX);
        self.recorder.dial(dial, |dial| {
            if let Some(lookup) = &mut dial.lookup {
                lookup.steps.push(SearchStep { name, began_at, ended_at, addresses, error });
            }
        });
    }

    async fn ask_for_both(
        &self,
        wish: Wish<'_>,
        name: &Name,
        configuration: &Configuration,
    ) -> (Option<NameResult>, Option<NameResult>) {
        let v4 = async {
            match self.family {
                Family::V6 => None,
                _ => Some(self.ask_servers(wish, name, RecordType::A, configuration).await),
            }
        };
        let v6 = async {
            match self.family {
                Family::V4 => None,
                _ => Some(self.ask_servers(wish, name, RecordType::AAAA, configuration).await),
            }
        };
        if configuration.one_at_a_time { (v4.await, v6.await) } else { tokio::join!(v4, v6) }
    }

    /// Asks each name server, as often as there are attempts, until one gives an answer.
    async fn ask_servers(
        &self,
        wish: Wish<'_>,
        name: &Name,
        record_type: RecordType,
        configuration: &Configuration,
    ) -> NameResult {
        let count = configuration.nameservers.len();
        let first = if configuration.rotate {
            self.next_server.fetch_add(1, Relaxed) % count.max(1)
        } else {
            0
        };
        let mut last = None;
        for _ in 0..configuration.attempts {
            let servers = configuration.nameservers.iter().cycle().skip(first).take(count);
            for &server in servers {
                if wish.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                    return Err(last.unwrap_or_else(|| timed_out(wish.name, server).into()));
                }
                if let Some(reason) = self.skips(wish.dial, server) {
                    let message =
                        format!("cannot resolve {}: {server} is not asked: {reason}", wish.name);
                    last =
                        Some(Failure::new(Layer::Dns, FailureKind::NoNameserver, message).into());
                    continue;
                }
                let trust = configuration.trust_authentic_data;
                let Some(request) = Request::new(name, record_type, trust) else {
                    let message = format!("cannot resolve {}: it is no name of DNS", wish.name);
                    return Err(Failure::new(Layer::Dns, FailureKind::Invalid, message).into());
                };
                let request = Arc::new(request);
                match self.exchange(wish, server, &request, configuration).await {
                    Ok(reply) => match verdict(wish.name, server, &reply, record_type) {
                        Verdict::Answer => {
                            let (addresses, canonical) = reply.addresses();
                            return Ok((addresses, canonical, reply.ttl()));
                        }
                        Verdict::Final(refusal) => return Err(refusal),
                        Verdict::AskAnother(failure) => last = Some(failure.into()),
                    },
                    Err(failure) => last = Some(failure.into()),
                }
            }
        }
        Err(last.unwrap_or(Refusal::NoSuchName(None)))
    }

    fn skips(&self, dial: Id, nameserver: SocketAddr) -> Option<String> {
        let reason = self.settings.skip_nameserver.as_ref()?(nameserver)?;
        self.recorder.dial(dial, |dial| {
            let skipped = &mut dial.skipped_nameservers;
            if skipped.iter().all(|skipped| skipped.nameserver != nameserver) {
                skipped.push(SkippedNameserver { nameserver, reason: reason.clone() });
            }
        });
        Some(reason)
    }
}

type NameResult = Result<(Vec<IpAddr>, Option<String>, u32), Refusal>;

/// Why there are no addresses. It is only put in words where it is told: that a name has addresses
/// of one family alone is of no interest.
#[derive(Debug, Clone)]
enum Refusal {
    /// As a name server says, where one was asked.
    NoSuchName(Option<SocketAddr>),
    Failed(Failure),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Refusal {
    fn into_failure(self, name: &str) -> Failure {
        match self {
            Self::NoSuchName(server) => no_such_name(name, server),
            Self::Failed(failure) => failure,
        }
    }
}

enum Verdict {
    Answer,
    /// There is no use in asking another server.
    Final(Refusal),
    AskAnother(Failure),
}

const NO_ERROR: u16 = 0;
const FORMAT_ERROR: u16 = 1;
const SERVER_FAILURE: u16 = 2;
const NAME_ERROR: u16 = 3;
const NOT_IMPLEMENTED: u16 = 4;
const REFUSED: u16 = 5;

fn verdict(name: &str, server: SocketAddr, reply: &Reply, record_type: RecordType) -> Verdict {
    let misbehaves = |what: String| {
        let message = format!("cannot resolve {name}: the name server {server} {what}");
        Verdict::AskAnother(Failure::new(Layer::Dns, FailureKind::ServerMisbehaving, message))
    };
    let metadata = reply.header.map(|header| header.metadata);
    let code = reply.response_code().unwrap_or(NO_ERROR);
    if code == NAME_ERROR {
        return Verdict::Final(Refusal::NoSuchName(Some(server)));
    }
    let nothing = reply.answers.is_empty();
    if reply.answers_malformed && nothing {
        return misbehaves("answers with what cannot be understood".to_owned());
    }
    let speaks =
        metadata.is_some_and(|metadata| metadata.authoritative || metadata.recursion_available);
    if code == NO_ERROR && !speaks && nothing && !reply.has_additionals() {
        return misbehaves("neither knows the name nor asks others".to_owned());
    }
    if code != NO_ERROR {
        let why = match code {
            FORMAT_ERROR => "does not understand the question (FORMERR)".to_owned(),
            SERVER_FAILURE => "failed (SERVFAIL)".to_owned(),
            NOT_IMPLEMENTED => "cannot answer such a question (NOTIMP)".to_owned(),
            REFUSED => "refuses to answer (REFUSED)".to_owned(),
            _ => format!("answers with code {code}"),
        };
        return misbehaves(why);
    }
    if reply.answers.iter().any(|record| record.record_type() == record_type) {
        return Verdict::Answer;
    }
    if reply.answers_malformed {
        return misbehaves("answers with what cannot be understood".to_owned());
    }
    Verdict::Final(Refusal::NoSuchName(Some(server)))
}

fn no_such_name(name: &str, server: Option<SocketAddr>) -> Failure {
    let says = server.map(|server| format!(", says the name server {server}")).unwrap_or_default();
    let message = format!("cannot resolve {name}: it does not exist or has no address{says}");
    Failure::new(Layer::Dns, FailureKind::NoSuchName, message)
}

fn timed_out(name: &str, server: SocketAddr) -> Failure {
    let message = format!("cannot resolve {name}: the name server {server} did not answer in time");
    Failure::new(Layer::Dns, FailureKind::Timeout, message)
}
