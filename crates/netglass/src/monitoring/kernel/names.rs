//! What the numbers of our own datapath stand for, and whose packets are.

use std::{collections::HashMap, time::Duration};

use netglass_cilium::{
    KernelFacts, KernelNames, Layouts, Notification, PacketEnds, PacketProcess, SocketEnd, Style,
    Summarizer, decode, put_kernel_names,
};
use netglass_kernel::{
    FlowEnds, FlowOwnerOptions, FlowOwners, OwnerSource, PacketSocket, datapath::Datapath,
};
use netglass_model::{Attribution, IpProtocol, NamespaceInode, Owner, Timestamp};

/// For how long sockets are remembered that are gone: longer than events are kept back.
const REMEMBERED: Duration = Duration::from_secs(10);
/// How many answers are remembered until sockets are looked at again.
const MOST_ANSWERS: usize = 65_536;

/// What is asked for a packet.
type Question = (u32, u64, Option<PacketEnds>);

/// Names what the kernel tells as numbers.
pub(super) struct Names {
    owners: FlowOwners,
    summarizer: Summarizer,
    /// What was found since the last look at sockets.
    answers: HashMap<Question, (Option<Owner>, Option<Owner>)>,
    look: u64,
}

impl Names {
    pub(super) fn open() -> anyhow::Result<Self> {
        let owners = FlowOwners::new(FlowOwnerOptions {
            all_namespaces: true,
            owners: OwnerSource::Auto,
            keep: REMEMBERED,
        })?;
        let look = owners.looks();
        let summarizer = Summarizer::new(Style::Netglass(None));
        Ok(Self { owners, summarizer, answers: HashMap::new(), look })
    }

    pub(super) fn trial(&self) -> impl FnOnce() -> bool + Send + '_ {
        self.owners.trial()
    }

    pub(super) fn look_if_due(&mut self) -> anyhow::Result<()> {
        Ok(self.owners.look_if_due()?)
    }

    pub(super) fn look(&mut self) -> anyhow::Result<()> {
        Ok(self.owners.look()?)
    }

    /// Until when it is known who had which socket.
    pub(super) fn known_until(&self) -> Timestamp {
        self.owners.known_until()
    }

    /// What does not work as well as it could.
    pub(super) fn take_news(&mut self) -> Vec<String> {
        self.owners.take_degradations().iter().map(ToString::to_string).collect()
    }

    /// Appends a notification with its names.
    pub(super) fn put(
        &mut self,
        datapath: &mut Datapath,
        at: Timestamp,
        data: &[u8],
        out: &mut Vec<u8>,
    ) {
        let (facts, interface, captured) = match decode(data, Layouts::Told) {
            Ok(Notification::Drop(it)) => (it.kernel, it.interface, it.captured),
            Ok(Notification::Trace(it)) => (it.kernel, Some(it.interface), it.captured),
            // It is told as what it is.
            _ => (None, None, netglass_cilium::Captured::default()),
        };
        let Some(facts) = facts else {
            out.extend_from_slice(data);
            return;
        };
        let ends = self.summarizer.ends(&captured);
        let (source, destination) = self.owners_of(&facts, ends, at);
        let function = datapath.function(facts.location).map(str::to_owned);
        let namespace = NamespaceInode(facts.network_namespace.into());
        put_kernel_names(
            out,
            data,
            &KernelNames {
                reason: datapath.reason(facts.reason).filter(|_| facts.reason > 0),
                function: function.as_deref(),
                interface: interface.and_then(|index| datapath.interface(namespace, index)),
                network_namespace: datapath.namespace(namespace),
                source: source.as_ref().map(process),
                destination: destination.as_ref().map(process),
            },
        );
    }

    /// The processes at both ends of a packet, where those are known.
    fn owners_of(
        &mut self,
        facts: &KernelFacts<'_>,
        ends: Option<PacketEnds>,
        at: Timestamp,
    ) -> (Option<Owner>, Option<Owner>) {
        if self.look != self.owners.looks() || self.answers.len() >= MOST_ANSWERS {
            self.look = self.owners.looks();
            self.answers.clear();
        }
        let owners = &self.owners;
        let question = (facts.network_namespace, facts.socket_cookie, ends);
        let answer = self.answers.entry(question).or_insert_with(|| {
            let Some(ends) = ends else { return (None, None) };
            let ends = FlowEnds {
                protocol: IpProtocol(ends.protocol),
                source: ends.source,
                destination: ends.destination,
                first_seen: at,
                last_seen: at,
            };
            let namespace = NamespaceInode(facts.network_namespace.into());
            let socket = facts.socket_end.filter(|_| facts.socket_cookie > 0).map(|end| {
                PacketSocket { cookie: facts.socket_cookie, is_source: end == SocketEnd::Source }
            });
            owners.find_of_packet(&ends, Some(namespace).filter(|it| it.0 > 0), socket)
        });
        answer.clone()
    }
}

fn process(owner: &Owner) -> PacketProcess<'_> {
    let process = &owner.process;
    PacketProcess {
        pid: process.pid,
        is_listener: owner.attribution == Attribution::Listener,
        uid: process.uid,
        start_time: process.start_time.as_nanoseconds(),
        comm: &process.comm,
        exe: process.exe.as_deref().unwrap_or_default(),
        container: process.container.as_deref().unwrap_or_default(),
    }
}
