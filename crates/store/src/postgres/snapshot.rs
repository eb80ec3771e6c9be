//! A transaction that reads.

use std::{sync::Arc, time::Duration};

use netglass_model::{Host, HostFlow, HostId, Listener, NetworkNamespace, Process, Translation};
use tokio::runtime::Runtime;
use tokio_postgres::Client;

use super::{
    connect::{READ_PATIENCE, Session, within},
    fault::Fault,
    history::Bounds,
    read::{self, Dimensions},
    recent::Kind,
};
use crate::{DatabaseUrl, Error, Family, Selection, Snapshot, Window, resolution::Resolution};

/// How long is waited for the server to hear that nothing more is read.
const PATIENCE: Duration = Duration::from_secs(1);

/// A moment of the database, and what was read of it that others refer to.
pub(super) struct Moment {
    pub(super) bounds: Bounds,
    pub(super) dimensions: Dimensions,
    is_narrow: bool,
}

impl Moment {
    /// Begins to read what was seen within `window`.
    ///
    /// The tables are locked (nobody may drop them) before the moment is chosen: what is in a
    /// partition that is dropped is then either there, or known not to be kept.
    pub(super) async fn begin(session: &mut Session, window: Window) -> Result<Self, Fault> {
        let tables: Vec<_> = Kind::ALL
            .iter()
            .flat_map(|&kind| Resolution::ALL.map(|resolution| resolution.table(kind)))
            .collect();
        // Compiling a statement costs more than running it does where a few flows are read.
        let begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL jit = off;
             LOCK TABLE {} IN ACCESS SHARE MODE; {}",
            tables.join(", "),
            plan(true)
        );
        let begun = async {
            // Both are sent at once.
            let (begun, bounds) =
                tokio::join!(session.run(&begin), Bounds::new(&session.client, window));
            begun?;
            bounds
        }
        .await;
        session.is_spoiled |= begun.is_err();
        Ok(Self { bounds: begun?, dimensions: Dimensions::default(), is_narrow: true })
    }

    /// Has what comes next planned for the few rows that are wanted, or for all.
    pub(super) async fn read_narrowly(
        &mut self,
        client: &Client,
        is_narrow: bool,
    ) -> Result<(), Fault> {
        if self.is_narrow != is_narrow {
            within(READ_PATIENCE, client.batch_execute(&plan(is_narrow))).await?;
            self.is_narrow = is_narrow;
        }
        Ok(())
    }
}

/// What is known of tables that grow all the time is always out of date, and a plan that is made
/// for other sizes may go through all of them. Each of a few rows is found by an index.
fn plan(is_narrow: bool) -> String {
    let others = if is_narrow { "off" } else { "on" };
    ["seqscan", "hashjoin", "mergejoin", "bitmapscan"]
        .map(|way| format!("SET LOCAL enable_{way} = {others}"))
        .join("; ")
}

/// What was seen within a window.
pub(super) struct PostgresSnapshot<'d> {
    pub(super) runtime: &'d Runtime,
    pub(super) session: &'d mut Session,
    pub(super) moment: Moment,
    pub(super) url: &'d DatabaseUrl,
}

impl PostgresSnapshot<'_> {
    fn with<T>(
        &mut self,
        action: &'static str,
        work: impl AsyncFnOnce(&Client, &mut Moment) -> Result<T, Fault>,
    ) -> Result<T, Error> {
        let done = self.runtime.block_on(work(&self.session.client, &mut self.moment));
        // Whatever it was, nothing more comes of this transaction.
        self.session.is_spoiled |= done.is_err();
        done.map_err(|fault| fault.into_error(action, self.url))
    }
}

impl Drop for PostgresSnapshot<'_> {
    fn drop(&mut self) {
        if !self.session.is_spoiled {
            let end = within(PATIENCE, self.session.client.batch_execute("ROLLBACK"));
            self.session.is_spoiled = self.runtime.block_on(end).is_err();
        }
    }
}

impl Snapshot for PostgresSnapshot<'_> {
    fn hosts(&mut self) -> Result<Vec<Host>, Error> {
        self.with("read hosts from the database", read::hosts)
    }

    fn namespaces(
        &mut self,
        hosts: &[HostId],
        visit: &mut dyn FnMut(&HostId, NetworkNamespace),
    ) -> Result<(), Error> {
        self.with("read namespaces from the database", async |client, _| {
            read::namespaces(client, hosts, visit).await
        })
    }

    fn flows(
        &mut self,
        wanted: Option<&Selection>,
        visit: &mut dyn FnMut(&HostId, HostFlow),
    ) -> Result<(), Error> {
        self.with("read flows from the database", async |client, moment| {
            read::flows(client, moment, wanted, visit).await
        })
    }

    fn listeners(
        &mut self,
        wanted: Option<&Selection>,
        visit: &mut dyn FnMut(&HostId, Listener),
    ) -> Result<(), Error> {
        self.with("read listeners from the database", async |client, moment| {
            read::listeners(client, moment, wanted, visit).await
        })
    }

    fn members(
        &mut self,
        families: &[Family],
        visit: &mut dyn FnMut(&HostId, Arc<Process>),
    ) -> Result<(), Error> {
        self.with("read processes from the database", async |client, moment| {
            read::members(client, moment, families, visit).await
        })
    }

    fn translations(&mut self, visit: &mut dyn FnMut(&HostId, Translation)) -> Result<(), Error> {
        self.with("read translations from the database", async |client, moment| {
            read::translations(client, moment, visit).await
        })
    }
}
