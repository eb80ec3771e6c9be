//! When a database is maintained.

use std::time::Duration;

use netglass_model::Timestamp;

use crate::{Database, Error};

/// Has a database maintained once in each time bucket.
#[derive(Debug)]
pub struct Maintenance {
    scope: Scope,
    bucket: Duration,
    done_in: Option<Timestamp>,
    fails: bool,
}

/// What is maintained.
#[derive(Debug)]
enum Scope {
    All,
    FlowLog,
}

impl Maintenance {
    /// For time buckets of this length.
    #[must_use]
    pub fn new(bucket: Duration) -> Self {
        Self { scope: Scope::All, bucket, done_in: None, fails: false }
    }

    /// Of flow records alone.
    pub(crate) const fn of_flow_log(bucket: Duration) -> Self {
        Self { scope: Scope::FlowLog, bucket, done_in: None, fails: false }
    }

    /// To be called after each write. An error is returned where the one before went well: it is
    /// tried again in the next bucket.
    pub fn after_write(
        &mut self,
        database: &mut dyn Database,
        now: Timestamp,
    ) -> Result<(), Error> {
        let bucket = Some(now.bucket(self.bucket));
        if self.done_in == bucket {
            return Ok(());
        }
        self.done_in = bucket;
        let maintained = match self.scope {
            Scope::All => database.maintain(now).map(drop),
            Scope::FlowLog => database.maintain_flow_log(now),
        };
        let failed_before = std::mem::replace(&mut self.fails, maintained.is_err());
        if failed_before { Ok(()) } else { maintained }
    }
}
