//! Connections to hosts: names are looked up, addresses sorted and tried (RFC 6555, RFC 8305).

mod addresses;
pub(crate) mod attempt;

use std::{
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    quic::{QuicDialing, QuicStream},
    record::{
        Attempt, AttemptOutcome, AttemptTransport, DialOutcome, Failure, FailureKind, Id, Layer,
    },
    recorder::Recorder,
    resolver::Resolver,
    settings::Family,
    socket::SocketOptions,
    stream::TracedStream,
};

/// How long the first family, or transport, has to itself.
const FALLBACK_DELAY: Duration = Duration::from_millis(300);
/// An address is not given less than this while others wait, unless there is less.
const LEAST_FOR_AN_ADDRESS: Duration = Duration::from_secs(2);

/// Opens connections.
#[derive(Debug)]
pub(crate) struct Connector {
    pub(crate) resolver: Resolver,
    pub(crate) options: SocketOptions,
    pub(crate) family: Family,
    pub(crate) timeout: Option<Duration>,
    pub(crate) recorder: Arc<Recorder>,
}

/// How connections may be made.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Transports<'a> {
    Tcp,
    Quic(QuicDialing<'a>),
    /// TCP follows where QUIC does not succeed soon.
    QuicThenTcp(QuicDialing<'a>),
}

/// How one connection is made.
#[derive(Debug, Clone, Copy)]
enum Transport<'a> {
    Tcp,
    Quic(QuicDialing<'a>),
}

/// A connection to a host.
#[derive(Debug)]
pub(crate) enum Dialed {
    Tcp(TracedStream),
    Quic(Box<QuicStream>),
}

impl Dialed {
    fn id(&self) -> Id {
        match self {
            Self::Tcp(stream) => stream.id(),
            Self::Quic(stream) => stream.id,
        }
    }
}

/// The record of a dial. When nobody wants the connection any more, it ends with that.
struct DialGuard<'a> {
    recorder: &'a Recorder,
    id: Id,
    ended: bool,
}

impl Drop for DialGuard<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let ended_at = Some(self.recorder.now());
            let reason = "nobody waits for the connection any more".to_owned();
            self.recorder.dial(self.id, |dial| {
                dial.ended_at = ended_at;
                if let Some(lookup) = dial.lookup.as_mut().filter(|it| it.ended_at.is_none()) {
                    lookup.ended_at = ended_at;
                    lookup.error =
                        Some(Failure::new(Layer::Caller, FailureKind::Canceled, reason.clone()));
                }
                dial.outcome = DialOutcome::Abandoned { reason };
            });
        }
    }
}

impl Connector {
    /// A record of a dial that is about to begin.
    pub(crate) fn begin(&self, request: Option<Id>, host: &str, port: &str) -> Id {
        let destination = [host, ":", port].concat();
        self.recorder.begin_dial(request, destination, self.options.source_ip)
    }

    /// Connects to a host, which may be an address in brackets.
    pub(crate) async fn dial(
        &self,
        id: Id,
        host: &str,
        port: &str,
        transports: Transports<'_>,
    ) -> Result<Dialed, Failure> {
        let mut guard = DialGuard { recorder: &self.recorder, id, ended: false };
        let result = self.connect(id, host, port, transports).await;
        guard.ended = true;
        let ended_at = Some(self.recorder.now());
        self.recorder.dial(id, |dial| {
            dial.ended_at = ended_at;
            dial.outcome = match &result {
                Ok(dialed) => DialOutcome::Connected { connection: Some(dialed.id()) },
                Err(error) => DialOutcome::Failed { error: error.clone() },
            };
            let first = dial.attempts.first().map(|attempt| attempt.began_at);
            let won = |attempt: &&Attempt| attempt.outcome == AttemptOutcome::Won;
            let winner = dial.attempts.iter().find(won).map(|attempt| attempt.began_at);
            dial.fallback_cost = first.zip(winner).and_then(|(first, winner)| {
                u64::try_from(winner.since(first).as_nanos()).ok().filter(|&cost| cost > 0)
            });
        });
        result
    }

    async fn connect(
        &self,
        id: Id,
        host: &str,
        port: &str,
        transports: Transports<'_>,
    ) -> Result<Dialed, Failure> {
        let Ok(port_number) = port.parse::<u16>() else {
            let message = format!("cannot connect to {host}: {port} is no port");
            return Err(Failure::new(Layer::Connect, FailureKind::Invalid, message));
        };
        let deadline = self.timeout.map(|timeout| Instant::now() + timeout);
        let literal =
            host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let addresses = if let Ok(address) = literal.parse::<IpAddr>() {
            vec![address]
        } else {
            let mut found =
                Box::pin(self.resolver.look_up(id, host, port_number, deadline)).await?;
            found.retain(|address| match self.family {
                Family::Any => true,
                Family::V4 => address.is_ipv4(),
                Family::V6 => address.is_ipv6(),
            });
            addresses::sort(&mut found);
            self.recorder.dial(id, |dial| {
                if let Some(lookup) = &mut dial.lookup {
                    lookup.addresses.clone_from(&found);
                }
            });
            found
        };
        if addresses.is_empty() {
            let message = format!("cannot connect to {host}: it has no address of the family");
            return Err(Failure::new(Layer::Dns, FailureKind::NoSuchName, message));
        }
        let mut suitable: Vec<SocketAddr> = (addresses.iter())
            .filter(|address| self.options.suits(**address))
            .map(|&address| SocketAddr::new(address, port_number))
            .collect();
        let Some(first) = suitable.first() else {
            let source = self.options.source_ip.map(|ip| ip.to_string()).unwrap_or_default();
            let message =
                format!("cannot connect to {host}: no address of it can be reached from {source}");
            return Err(Failure::new(Layer::Connect, FailureKind::SourceAddress, message));
        };
        let of_first = first.is_ipv4();
        // Those of a family keep their order.
        suitable.sort_by_key(|address| address.is_ipv4() != of_first);
        let primaries = suitable.partition_point(|address| address.is_ipv4() == of_first);
        let (primaries, fallbacks) = suitable.split_at(primaries);
        let race = |transport| {
            let race = Race { dial: id, transport, fallback: false, deadline };
            self.race(race, primaries, fallbacks)
        };
        match transports {
            Transports::Tcp => race(Transport::Tcp).await,
            Transports::Quic(quic) => Box::pin(race(Transport::Quic(quic))).await,
            Transports::QuicThenTcp(quic) => {
                let staggered = stagger(race(Transport::Quic(quic)), race(Transport::Tcp));
                Box::pin(staggered).await.map_err(|(_, of_tcp)| of_tcp)
            }
        }
    }

    /// The first family has a start; the other one follows when it does not succeed soon.
    async fn race(
        &self,
        race: Race<'_>,
        primaries: &[SocketAddr],
        fallbacks: &[SocketAddr],
    ) -> Result<Dialed, Failure> {
        if fallbacks.is_empty() {
            return self.try_each(race, primaries).await;
        }
        let second = Race { fallback: true, ..race };
        let staggered = stagger(self.try_each(race, primaries), self.try_each(second, fallbacks));
        // What it takes is a lot, and not to be carried where there is one family.
        Box::pin(staggered).await.map_err(|(of_primaries, _)| of_primaries)
    }

    /// One address after the other, each with its share of the time. The first error is told.
    async fn try_each(&self, race: Race<'_>, addresses: &[SocketAddr]) -> Result<Dialed, Failure> {
        let mut first_error = None;
        for (index, &address) in addresses.iter().enumerate() {
            let deadline = race.deadline.map(|deadline| {
                let now = Instant::now();
                let left = deadline.saturating_duration_since(now);
                let others = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
                now + (left / others).max(LEAST_FOR_AN_ADDRESS.min(left))
            });
            match self.try_one(Race { deadline, ..race }, address).await {
                Ok(dialed) => return Ok(dialed),
                Err(error) => drop(first_error.get_or_insert(error)),
            }
        }
        Err(first_error.unwrap_or_else(|| {
            Failure::new(Layer::Connect, FailureKind::Other, "cannot connect: there is no address")
        }))
    }

    async fn try_one(&self, race: Race<'_>, address: SocketAddr) -> Result<Dialed, Failure> {
        match race.transport {
            Transport::Tcp => {
                let opened =
                    attempt::open(&self.recorder, race.dial, address, &self.options, false);
                let connect = |opened: attempt::Opened| opened.connect();
                self.attempt(race, address, opened, connect).await.map(Dialed::Tcp)
            }
            // What it takes is a lot, and not to be carried by those of TCP.
            Transport::Quic(quic) => Box::pin(self.try_quic(race, quic, address)).await,
        }
    }

    async fn try_quic(
        &self,
        race: Race<'_>,
        quic: QuicDialing<'_>,
        address: SocketAddr,
    ) -> Result<Dialed, Failure> {
        let opened = quic.open(&self.recorder, race.dial, address, &self.options);
        let connect = |opened: crate::quic::Opened| opened.connect();
        let stream = self.attempt(race, address, opened, connect).await?;
        Ok(Dialed::Quic(Box::new(stream)))
    }

    /// Connects what has been opened, in time.
    async fn attempt<O, T, F: Future<Output = Result<T, Failure>>>(
        &self,
        race: Race<'_>,
        address: SocketAddr,
        opened: Result<(Id, O), Failure>,
        connect: impl FnOnce(O) -> F,
    ) -> Result<T, Failure> {
        let connection = opened.as_ref().ok().map(|(id, _)| *id);
        let guard = AttemptGuard::begin(&self.recorder, race, address, connection);
        let result = match (opened, race.deadline) {
            (Err(failure), _) => Err(failure),
            (Ok((_, opened)), None) => connect(opened).await,
            (Ok((_, opened)), Some(deadline)) => {
                timeout_at(deadline, connect(opened)).await.unwrap_or_else(|_| {
                    let message =
                        format!("cannot connect to {address}: it does not answer in time");
                    let failure = Failure::new(Layer::Connect, FailureKind::Timeout, message);
                    guard.timed_out(&failure);
                    Err(failure)
                })
            }
        };
        guard.end(match &result {
            Ok(_) => AttemptOutcome::Won,
            Err(error) => AttemptOutcome::Failed { error: error.clone() },
        });
        result
    }
}

/// One of several ways to a connection for a dial.
#[derive(Debug, Clone, Copy)]
struct Race<'a> {
    dial: Id,
    transport: Transport<'a>,
    /// Whether it is of the family that came second.
    fallback: bool,
    deadline: Option<Instant>,
}

/// The second begins when the first has failed, or not succeeded soon. Whichever succeeds first
/// ends the other one.
async fn stagger<T>(
    first: impl Future<Output = Result<T, Failure>>,
    second: impl Future<Output = Result<T, Failure>>,
) -> Result<T, (Failure, Failure)> {
    let (mut first, mut second) = (pin!(first), pin!(second));
    let mut delay = pin!(sleep(FALLBACK_DELAY));
    let mut begun = false;
    let mut of_first = None;
    let mut of_second = None;
    loop {
        tokio::select! {
            biased;
            result = &mut first, if of_first.is_none() => match result {
                Ok(connected) => return Ok(connected),
                Err(error) => {
                    of_first = Some(error);
                    begun = true;
                }
            },
            result = &mut second, if begun && of_second.is_none() => match result {
                Ok(connected) => return Ok(connected),
                Err(error) => of_second = Some(error),
            },
            () = &mut delay, if !begun => begun = true,
        }
        (of_first, of_second) = match (of_first, of_second) {
            (Some(of_first), Some(of_second)) => return Err((of_first, of_second)),
            waiting => waiting,
        };
    }
}

/// The record of an attempt.
struct AttemptGuard<'a> {
    recorder: &'a Recorder,
    dial: Id,
    index: usize,
    transport: AttemptTransport,
    connection: Option<Id>,
    ended: bool,
}

impl<'a> AttemptGuard<'a> {
    fn begin(
        recorder: &'a Recorder,
        race: Race<'_>,
        address: SocketAddr,
        connection: Option<Id>,
    ) -> Self {
        let began_at = recorder.now();
        let transport = match race.transport {
            Transport::Tcp => AttemptTransport::Tcp,
            Transport::Quic(_) => AttemptTransport::Quic,
        };
        let mut index = usize::MAX;
        recorder.dial(race.dial, |dial| {
            index = dial.attempts.len();
            // Most dials have one.
            dial.attempts.reserve_exact(1);
            dial.attempts.push(Attempt {
                connection,
                transport,
                address,
                fallback: race.fallback,
                began_at,
                ended_at: None,
                outcome: AttemptOutcome::Running,
            });
        });
        Self { recorder, dial: race.dial, index, transport, connection, ended: false }
    }

    fn change(&self, change: impl FnOnce(&mut Attempt)) {
        self.recorder.dial(self.dial, |dial| {
            if let Some(attempt) = dial.attempts.get_mut(self.index) {
                change(attempt);
            }
        });
    }

    /// The connection was dropped with its attempt; it is known now why.
    fn timed_out(&self, failure: &Failure) {
        let Some(id) = self.connection else { return };
        match self.transport {
            AttemptTransport::Tcp => {
                self.recorder.tcp(id, |tcp| tcp.error = Some(failure.clone()));
            }
            AttemptTransport::Quic => {
                self.recorder.quic(id, |quic| quic.error = Some(failure.clone()));
            }
        }
    }

    fn end(mut self, outcome: AttemptOutcome) {
        self.ended = true;
        let ended_at = Some(self.recorder.now());
        self.change(|attempt| {
            attempt.ended_at = ended_at;
            attempt.outcome = outcome;
        });
    }
}

impl Drop for AttemptGuard<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let ended_at = Some(self.recorder.now());
            let reason = "another was faster, or nobody waits any more".to_owned();
            self.change(|attempt| {
                attempt.ended_at = ended_at;
                attempt.outcome = AttemptOutcome::Abandoned { reason };
            });
        }
    }
}
