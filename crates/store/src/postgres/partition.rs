//! Partitions of the observation tables, by time.

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

/// How many partitions back from the present there may be, and how far ahead of it: what is farther
/// comes from a clock that is wrong, and there are as many wrong times as there are such clocks.
const PAST: u32 = 48;
const FUTURE: Duration = Duration::from_secs(2 * 60 * 60);
/// How many partitions are remembered.
const MAX_KNOWN: usize = 4096;

/// The partitions that are known to be there, by number of the resolution and start.
#[derive(Debug, Default)]
pub(super) struct Partitions(HashSet<(i16, Moment)>);

impl Partitions {
    /// The starts of the partitions for `buckets` that are not known to be there.
    fn missing(
        &self,
        resolution: Resolution,
        buckets: impl IntoIterator<Item = Moment>,
    ) -> HashSet<Moment> {
        let now = Timestamp::from(SystemTime::now());
        let range = now.saturating_sub(resolution.partition() * PAST)..now.saturating_add(FUTURE);
        buckets
            .into_iter()
            .map(|bucket| bucket.timestamp().bucket(resolution.partition()))
            .filter(|first| range.contains(first))
            .map(Moment::floor)
            .filter(|first| !self.0.contains(&(resolution.number(), *first)))
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
        for first in session.partitions.missing(resolution, buckets.iter().copied()) {
            make_one(session, resolution, first).await?;
        }
    }
    Ok(())
}

async fn make_one(
    session: &mut Session,
    resolution: Resolution,
    first: Moment,
) -> Result<(), Fault> {
    let next = Moment::floor(first.timestamp().saturating_add(resolution.partition()));
    let tables: Vec<_> = Kind::ALL.map(|kind| resolution.table(kind)).into();
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
            session.partitions.0.insert((resolution.number(), first));
            Ok(())
        }
        Err(fault) if fault.is_locked() || fault.is_conflict() => Ok(()),
        Err(fault) => Err(fault),
    }
}
