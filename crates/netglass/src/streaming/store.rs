//! What was added up, stored as what a probe sees.

use std::{collections::BTreeSet, fs, os::unix::fs::MetadataExt as _, sync::Arc, time::Duration};

use anyhow::Context as _;
use netglass_model::{
    CallSum, Flush, Host, HostAddress, HostFlow, HostId, Ledger, NamespaceInode, NetworkNamespace,
    Observations, Probe, ProbeId, Process, Skip, Timestamp,
};
use netglass_store::Claim;

use super::{
    summary::{Summary, flows},
    summing::now,
};
use crate::{
    database::{DatabaseArguments, StorageArguments},
    host::{boot_id, this_host_id},
    probing::{Destination, Prepared},
};

/// How long the end waits for a database that is away, where what it does not take is on disk.
const PATIENCE: Duration = Duration::from_secs(5);
const OWN_NAMESPACE: &str = "/proc/self/ns/net";

/// A database that is open, and starts no thread yet.
pub(super) struct PreparedStore {
    prepared: Prepared,
    host: HostId,
    own_namespace: NamespaceInode,
    is_foreign: bool,
}

/// Stores what was added up.
pub(super) struct Store {
    destination: Destination,
    host: HostId,
    own_namespace: NamespaceInode,
    probe: Probe,
    flushes: u64,
    /// Counts calls.
    ledger: Ledger,
    /// What was not stored yet.
    summary: Summary,
    since: Timestamp,
}

impl PreparedStore {
    /// Opens the database, if one is named.
    pub(super) fn open(
        database: &DatabaseArguments,
        storage: &StorageArguments,
    ) -> anyhow::Result<Option<Self>> {
        if !database.is_named() {
            return Ok(None);
        }
        let own = fs::metadata(OWN_NAMESPACE)
            .with_context(|| format!("looking at {OWN_NAMESPACE}, this network namespace"))?;
        let host = this_host_id();
        let prepared = Prepared::open(database, storage, &host, Claim::AllNamespaces)?;
        let is_foreign = match &prepared {
            Prepared::Direct(_) => database.is_foreign()?,
            Prepared::Spooled { .. } => storage.is_spool_foreign()?,
        };
        let own_namespace = NamespaceInode(own.ino());
        Ok(Some(Self { prepared, host, own_namespace, is_foreign }))
    }

    /// Whether it takes more than this user's own rights to write to it.
    pub(super) fn is_foreign(&self) -> bool {
        self.is_foreign
    }

    /// Begins to take what is added up, with the privileges that there are.
    pub(super) fn start(self, storage: &StorageArguments) -> anyhow::Result<Store> {
        let Self { prepared, host, own_namespace, .. } = self;
        Ok(Store {
            destination: prepared.start(storage.settings())?,
            host,
            own_namespace,
            probe: Probe {
                id: ProbeId::new(),
                boot_id: boot_id(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started: now(),
            },
            flushes: 0,
            ledger: Ledger::default(),
            summary: Summary::default(),
            since: now(),
        })
    }
}

impl Store {
    /// Takes calls of a process; what there is no room for is counted.
    pub(super) fn add(&mut self, sum: &CallSum, process: &Arc<Process>) {
        if !self.summary.add(sum, process) {
            self.ledger.skip(Skip::TableFull, sum.calls());
        }
    }

    /// Hands over what was added up since the last time; whether it was taken. What is not taken is
    /// kept for the next time.
    pub(super) fn flush(&mut self, last: bool) -> bool {
        let until = now();
        self.summary.settle();
        let mut flows = Vec::new();
        let mut calls = 0_u64;
        for end in self.summary.ends() {
            if let Some(flow) = flows::of(end, self.since, until) {
                calls = calls.saturating_add(end.total().latencies.calls());
                flows.push(flow);
            }
        }
        let mut ledger = self.ledger.clone();
        ledger.pend(calls);
        self.destination.settle(&mut ledger);
        let flush = Flush {
            probe: self.probe.clone(),
            sequence: self.flushes + 1,
            at: until,
            last,
            ledger,
            spool: self.destination.usage(),
            observations: self.observations(flows),
        };
        let is_taken = self.destination.take(flush);
        if is_taken || last {
            self.ledger.pend(calls);
        }
        if is_taken {
            self.flushes += 1;
            self.ledger.flushed();
            self.summary = Summary::default();
            self.since = until;
        }
        is_taken
    }

    /// Flushes for the last time. What is not taken is lost, which is a failure.
    pub(super) fn finish(&mut self) -> anyhow::Result<()> {
        let is_taken = self.flush(true);
        self.destination.finish(PATIENCE);
        let lost = self.ledger.pending;
        anyhow::ensure!(is_taken || lost == 0, "{lost} calls could not be stored");
        Ok(())
    }

    /// What the user should know and was not told yet.
    pub(super) fn take_notes(&mut self) -> Vec<String> {
        self.destination.take_notes()
    }

    fn observations(&self, flows: Vec<HostFlow>) -> Observations {
        let inodes: BTreeSet<NamespaceInode> = flows.iter().map(|flow| flow.namespace).collect();
        let addresses: BTreeSet<_> =
            flows.iter().map(|flow| (flow.namespace, flow.local.address)).collect();
        let addresses = addresses
            .into_iter()
            .map(|(namespace, address)| HostAddress { namespace, address })
            .collect();
        Observations {
            host: Host { id: self.host.clone(), namespace: self.own_namespace, addresses },
            namespaces: inodes
                .into_iter()
                .map(|inode| NetworkNamespace { inode, name: None })
                .collect(),
            flows,
            listeners: Vec::new(),
            translations: Vec::new(),
        }
    }
}
