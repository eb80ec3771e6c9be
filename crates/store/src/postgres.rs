//! The database as the schema `netglass` of a `PostgreSQL` database, for many hosts.
//!
//! Everything of a call runs on the thread that makes it, and no answer is awaited for ever. A
//! connection that was lost is made again by the next call, with the claim that it held.

mod ask;
mod claim;
mod codec;
mod connect;
mod dimensions;
mod fault;
mod flow_log;
mod fold;
mod history;
mod identity;
mod maintain;
mod migration;
mod observations;
mod partition;
mod password;
mod probe;
mod read;
mod recent;
mod select;
mod snapshot;
mod tls;
mod write;

use netglass_model::{Flush, HostId, ProbeStatus, Timestamp};
use tokio::runtime::{Builder, Runtime};

use self::{
    connect::Session,
    fault::Fault,
    snapshot::{Moment, PostgresSnapshot},
};
use crate::{
    Access, Claim, Database, DatabaseUrl, Error, PostgresUrl, Settings, Snapshot, Window,
    flow_log::FlowBatch,
};

/// How often what others were in the way of is tried.
const ATTEMPTS: u32 = 5;

/// A database of a server.
pub(crate) struct Postgres {
    url: DatabaseUrl,
    server: PostgresUrl,
    access: Access,
    settings: Settings,
    claimed: Option<(HostId, Claim)>,
    /// None after it was lost.
    session: Option<Session>,
    // After the session, which needs it until it ends.
    runtime: Runtime,
}

impl Postgres {
    /// Opens the database at `url`.
    pub(crate) fn open(
        url: &PostgresUrl,
        access: Access,
        settings: Settings,
    ) -> Result<Self, Error> {
        let shown = DatabaseUrl::Postgres(Box::new(url.clone()));
        let action = match access {
            Access::Read => "read the database",
            Access::Write => "open for writing the database",
        };
        let open = || {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| Fault::Setup(error.to_string()))?;
            let session =
                runtime.block_on(Session::open(&runtime, url, access, migration::STEPS))?;
            Ok((runtime, session))
        };
        let (runtime, session) = open().map_err(|fault: Fault| fault.into_error(action, &shown))?;
        Ok(Self {
            url: shown,
            server: url.clone(),
            access,
            settings,
            claimed: None,
            session: Some(session),
            runtime,
        })
    }

    /// Does `work` on a connection that is there. Where it was lost since the call before, `work`
    /// is done once more on a new one if `again` says that this does no harm.
    fn with<T>(
        &mut self,
        action: &'static str,
        again: impl Fn() -> bool,
        mut work: impl AsyncFnMut(&mut Session, &Settings) -> Result<T, Fault>,
    ) -> Result<T, Error> {
        let Self { runtime, session, server, access, settings, claimed, url } = self;
        let attempts = async {
            session.take_if(|session| session.is_spoiled);
            let mut may_reconnect = session.is_some();
            let mut conflicts = 0;
            loop {
                let current = if let Some(session) = session {
                    session
                } else {
                    let opened = Session::open(runtime, server, *access, migration::STEPS).await?;
                    if let Some((host, claim)) = claimed {
                        claim::claim(&opened, host, *claim, true).await?;
                    }
                    session.insert(opened)
                };
                let fault = match work(current, settings).await {
                    Ok(done) => return Ok(done),
                    Err(fault) => fault,
                };
                if current.is_spoiled || fault.is_lost() {
                    *session = None;
                }
                if fault.is_lost() {
                    if !may_reconnect || matches!(fault, Fault::Silent) || !again() {
                        return Err(fault);
                    }
                    may_reconnect = false;
                } else if fault.is_conflict() && conflicts < ATTEMPTS && again() {
                    conflicts += 1;
                } else {
                    return Err(fault);
                }
            }
        };
        runtime.block_on(attempts).map_err(|fault| fault.into_error(action, url))
    }

    fn with_write_access<T>(
        &mut self,
        action: &'static str,
        work: impl AsyncFnMut(&mut Session, &Settings) -> Result<T, Fault>,
    ) -> Result<T, Error> {
        match self.access {
            Access::Write => self.with(action, || true, work),
            Access::Read => Err(Fault::ReadOnly("it was opened for reading only".to_owned())
                .into_error(action, &self.url)),
        }
    }
}

impl Database for Postgres {
    fn claim(&mut self, host: &HostId, claim: Claim) -> Result<(), Error> {
        self.claimed = None;
        self.with_write_access("probe into the database", async |session, _| {
            claim::claim(session, host, claim, false).await
        })?;
        self.claimed = Some((host.clone(), claim));
        Ok(())
    }

    fn write(&mut self, flush: &Flush) -> Result<(), Error> {
        self.with_write_access("write observations to the database", async |session, settings| {
            write::write(session, settings.bucket, flush).await
        })
    }

    fn log_flows(&mut self, host: &HostId, batch: &FlowBatch) -> Result<(), Error> {
        self.with_write_access("write flow records to the database", async |session, settings| {
            flow_log::write(session, settings, host, batch).await
        })
    }

    fn maintain(&mut self, now: Timestamp) -> Result<u64, Error> {
        self.with_write_access("maintain the database", async |session, settings| {
            maintain::maintain(session, settings, now).await
        })
    }

    fn maintain_flow_log(&mut self, now: Timestamp) -> Result<(), Error> {
        self.with_write_access(
            "remove old flow records from the database",
            async |session, settings| maintain::maintain_flow_log(session, settings, now).await,
        )
    }

    fn probes(&mut self) -> Result<Vec<ProbeStatus>, Error> {
        self.with(
            "read probes from the database",
            || true,
            async |session, _| probe::read(session).await,
        )
    }

    fn snapshot(&mut self, window: Window) -> Result<Box<dyn Snapshot + '_>, Error> {
        const ACTION: &str = "read the database";
        let moment =
            self.with(ACTION, || true, async |session, _| Moment::begin(session, window).await)?;
        let Self { runtime, session, url, .. } = self;
        match session {
            Some(session) => Ok(Box::new(PostgresSnapshot { runtime, session, moment, url })),
            None => Err(Fault::Silent.into_error(ACTION, url)),
        }
    }
}
