//! Partitions of the tables of observations and of flow records, by time.

use std::{
    collections::HashSet,
    time::{Duration, SystemTime},
};

use netglass_model::Timestamp;

use super::{codec::Moment, connect::Session, fault::Fault, recent::Kind};
use crate::resolution::Resolution;

impl Resolution {
    /// The table of observations.
    pub(super) fn table(self, kind: Kind) -> String {
        let suffix = match self {
            Self::Written => "",
            Self::Hour => "_hour",
            Self::Day => "_day",
        };
        format!("{}_observation{suffix}", kind.name())
    }

    /// How long a partition is.
    pub(super) const fn partition(self) -> Duration {
        const HOUR: u64 = 60 * 60;
        Duration::from_secs(match self {
            Self::Written => HOUR,
            Self::Hour => 24 * HOUR,
            Self::Day => 30 * 24 * HOUR,
        })
    }
}

/// The table of flow records.
pub(super) const FLOW_LOG: &str = "flow_log";

/// Tables whose partitions are made together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Partitioned {
    Observations(Resolution),
    FlowLog,
}

impl Partitioned {
    fn tables(self) -> Vec<String> {
        match self {
            Self::Observations(resolution) => Kind::ALL.map(|kind| resolution.table(kind)).into(),
            Self::FlowLog => vec![FLOW_LOG.to_owned()],
        }
    }

    /// How long a partition is.
    const fn length(self) -> Duration {
        match self {
            Self::Observations(resolution) => resolution.partition(),
            Self::FlowLog => Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// How many partitions of observations back from the present there may be, and how far any is ahead of
/// it: what is farther comes from a clock that is wrong, and there are as many wrong times as there
/// are such clocks.
const PAST: u32 = 48;
const FUTURE: Duration = Duration::from_secs(2 * 60 * 60);
/// How many partitions are remembered.
const MAX_KNOWN: usize = 4096;

/// The partitions that are known to be there, by their start.
#[derive(Debug, Default)]
pub(super) struct Partitions(HashSet<(Partitioned, Moment)>);

impl Partitions {
    /// The starts of the partitions for `moments` that are not known to be there, and not as long
    /// ago as `past`.
    fn missing(
        &self,
        partitioned: Partitioned,
        moments: impl IntoIterator<Item = Moment>,
        past: Duration,
    ) -> HashSet<Moment> {
        let now = Timestamp::from(SystemTime::now());
        let range = now.saturating_sub(past)..now.saturating_add(FUTURE);
        moments
            .into_iter()
            .map(|moment| moment.timestamp().bucket(partitioned.length()))
            .filter(|first| range.contains(first))
            .map(Moment::floor)
            .filter(|first| !self.0.contains(&(partitioned, *first)))
            .collect()
    }
}

/// Makes the partitions that `buckets` belong to, at all resolutions. Where they cannot be had now,
/// the default ones take what is written, and they are made another time.
pub(super) async fn make(
    session: &mut Session,
    buckets: impl IntoIterator<Item = Moment>,
) -> Result<(), Fault> {
    let buckets: HashSet<Moment> = buckets.into_iter().collect();
    for resolution in Resolution::ALL {
        let observations = Partitioned::Observations(resolution);
        let past = resolution.partition() * PAST;
        for first in session.partitions.missing(observations, buckets.iter().copied(), past) {
            make_one(session, observations, first).await?;
        }
    }
    Ok(())
}

/// Makes the partitions for flows that began at `moments`, in the same way. Those that are older than
/// the `retention` are replayed from files: they may be of any day.
pub(super) async fn make_for_flow_log(
    session: &mut Session,
    moments: impl IntoIterator<Item = Moment>,
    retention: Duration,
) -> Result<(), Fault> {
    for first in session.partitions.missing(Partitioned::FlowLog, moments, retention) {
        make_one(session, Partitioned::FlowLog, first).await?;
    }
    Ok(())
}

async fn make_one(
    session: &mut Session,
    partitioned: Partitioned,
    first: Moment,
) -> Result<(), Fault> {
    let next = Moment::floor(first.timestamp().saturating_add(partitioned.length()));
    let tables = partitioned.tables();
    let statement =
        session.statement("SELECT make_partition(t, $2, $3) FROM unnest($1::text[]) t").await?;
    // A reader of a long history keeps the default partition for as long as it reads.
    session.run("BEGIN; SET LOCAL lock_timeout = '1s'").await?;
    let made = session.within(session.client.execute(&statement, &[&tables, &first, &next])).await;
    session.run(if made.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
    match made {
        Ok(_) => {
            if session.partitions.0.len() >= MAX_KNOWN {
                session.partitions.0.clear();
            }
            session.partitions.0.insert((partitioned, first));
            Ok(())
        }
        Err(fault) if fault.is_locked() || fault.is_conflict() => Ok(()),
        Err(fault) => Err(fault),
    }
}
