//! Flow records in the database in which probes keep what they see.

use std::time::Duration;

use netglass_model::HostId;

use super::sink::{FlowBatch, FlowSink, SinkError};
use crate::{Error, Maintenance, Open, delivery::Opened};

/// How often what is not kept any more is removed.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(60);

/// Writes flow records to the table `flow_log` of a database, each batch once however often it is
/// sent. Those that were logged before the retention began are removed there from time to time.
///
/// A capture claims nothing: it may write beside other captures and beside the probes of its host.
pub struct DatabaseSink {
    database: Opened,
    host: HostId,
}

impl DatabaseSink {
    /// Into the database that `open` opens when it is needed; `host` is where packets are captured.
    #[must_use]
    pub const fn new(open: Open, host: HostId) -> Self {
        let maintenance = Maintenance::of_flow_log(MAINTENANCE_INTERVAL);
        Self { database: Opened::new(open, maintenance), host }
    }

    /// Opens the database now, so that what is wrong with it is told at once.
    pub fn connect(&mut self) -> Result<(), Error> {
        self.database.write(|_| Ok(()))
    }
}

impl FlowSink for DatabaseSink {
    fn write(&mut self, batch: &FlowBatch) -> Result<(), SinkError> {
        let host = &self.host;
        Ok(self.database.write(|database| database.log_flows(host, batch))?)
    }

    fn tick(&mut self) -> Result<(), SinkError> {
        Ok(self.database.maintain()?)
    }
}
