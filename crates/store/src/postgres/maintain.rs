//! Putting what is old together by hour and by day, and removing what is older than the retention.

use std::{fmt::Write as _, time::Duration};

use netglass_model::Timestamp;
use tokio_postgres::types::ToSql;

use super::{
    codec::Moment,
    connect::{Session, within},
    dimensions::PERIOD,
    fault::Fault,
    partition::{self, Resolution},
    staging::Kind,
};
use crate::Settings;

/// How many rows of a dimension one transaction removes.
const CHUNK: i64 = 10_000;

/// How long one step may take; others can write during it, except to what it moves.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// Puts together and removes what is old at the moment `now`, unless another process is at it.
/// Returns how many observations of flows and listeners were removed.
pub(super) async fn maintain(
    session: &mut Session,
    settings: &Settings,
    now: Timestamp,
) -> Result<u64, Fault> {
    let lock = "hashtextextended('netglass maintenance', 0)";
    let taken = format!("SELECT pg_try_advisory_lock({lock})");
    let taken = session.within(session.client.query_one(&taken, &[])).await?;
    if !taken.try_get::<_, bool>(0)? {
        return Ok(0);
    }
    let removed = all(session, settings, now).await;
    if !removed.as_ref().is_err_and(Fault::is_lost) {
        session.run(&format!("SELECT pg_advisory_unlock({lock})")).await?;
    }
    removed
}

async fn all(session: &mut Session, settings: &Settings, now: Timestamp) -> Result<u64, Fault> {
    let moves = [
        (Resolution::Written, Resolution::Hour, settings.hourly_after),
        (Resolution::Hour, Resolution::Day, settings.daily_after),
    ];
    for (from, to, after) in moves {
        let cutoff = now.saturating_sub(after).bucket(to.length());
        for kind in Kind::ALL {
            for part in partitions(session, kind, from, Moment::floor(cutoff)).await? {
                if !part.is_default() {
                    partition::make(session, to, [part.first]).await?;
                }
                let statements = part.move_statements(kind, to);
                step(session, &part, Moment::floor(cutoff), &statements).await?;
            }
        }
    }
    let cutoff = now.saturating_sub(settings.retention);
    let mut removed = 0;
    for kind in Kind::ALL {
        for resolution in Resolution::ALL {
            for part in partitions(session, kind, resolution, Moment::floor(cutoff)).await? {
                let count = remove(session, &part, resolution, Moment::floor(cutoff)).await?;
                if matches!(kind, Kind::Flow | Kind::Listener) {
                    removed += count;
                }
            }
        }
    }
    forget(session, settings, cutoff).await?;
    Ok(removed)
}

impl Resolution {
    /// How long a bucket is; nothing where that is up to who writes.
    const fn length(self) -> Duration {
        Duration::from_secs(match self {
            Self::Written => 0,
            Self::Hour => 60 * 60,
            Self::Day => 24 * 60 * 60,
        })
    }
}

/// A partition that is there.
struct Part {
    name: String,
    /// Of the default one, the earliest time.
    first: Moment,
    next: Moment,
}

impl Part {
    fn is_default(&self) -> bool {
        self.next == Moment(i64::MAX)
    }

    /// The statements that put together what is before `$1` in the table `to`, and then remove it.
    fn move_statements(&self, kind: Kind, to: Resolution) -> [String; 2] {
        let (name, columns, table) = (kind.name(), kind.columns(), to.table(kind));
        let unit = match to {
            Resolution::Day => "day",
            Resolution::Hour | Resolution::Written => "hour",
        };
        let mut sums = String::new();
        for &column in kind.counters() {
            // Sums are of a type that holds any number of them.
            let value = match column {
                "connections" => "max(connections + later)".to_owned(),
                column => format!("sum({column})"),
            };
            // Writing to a String cannot fail.
            let _ = write!(sums, ", least({value}, 9223372036854775807)::bigint");
        }
        // What began in the buckets that follow within the same longer one was not there before.
        let later = format!(
            ", coalesce(sum(opened) OVER (
                PARTITION BY {name}_id, date_trunc('{unit}', bucket) ORDER BY bucket DESC
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS later"
        );
        let later = if kind.counters().is_empty() { "" } else { &later };
        let merge = kind.merge(&table);
        let (part, resolution) = (&self.name, to.number());
        let insert = format!(
            "WITH moved AS (
                INSERT INTO {table} ({columns})
                SELECT {name}_id, date_trunc('{unit}', bucket) AS longer, min(first_seen),
                    max(last_seen) {sums}
                FROM (SELECT * {later} FROM {part} WHERE bucket < $1) shorter
                GROUP BY {name}_id, longer
                ON CONFLICT ({name}_id, bucket) DO UPDATE SET {merge}
                RETURNING bucket, first_seen, last_seen),
             far AS (
                SELECT extract(epoch FROM max(bucket - first_seen)) * 1000000 AS before,
                    extract(epoch FROM max(last_seen - bucket)) * 1000000 AS after FROM moved)
             UPDATE extent SET before = greatest(extent.before, far.before::bigint),
                after = greatest(extent.after, far.after::bigint)
             FROM far WHERE resolution = {resolution} AND far.before IS NOT NULL"
        );
        [insert, self.delete("bucket < $1")]
    }

    fn delete(&self, what: &str) -> String {
        format!("DELETE FROM {} WHERE {what}", self.name)
    }
}

/// The partitions that may hold something before `cutoff`.
async fn partitions(
    session: &Session,
    kind: Kind,
    resolution: Resolution,
    cutoff: Moment,
) -> Result<Vec<Part>, Fault> {
    let text = "SELECT name, nullif(first_bucket, '-infinity'), nullif(next_bucket, 'infinity')
                FROM partition WHERE parent = $1 AND first_bucket < $2 ORDER BY first_bucket";
    let parent = resolution.table(kind);
    let rows = session.within(session.client.query(text, &[&parent, &cutoff])).await?;
    rows.iter()
        .map(|row| {
            let (first, next): (Option<Moment>, Option<Moment>) =
                (row.try_get(1)?, row.try_get(2)?);
            Ok(Part {
                name: row.try_get(0)?,
                first: first.unwrap_or(Moment(i64::MIN)),
                next: next.unwrap_or(Moment(i64::MAX)),
            })
        })
        .collect()
}

/// Runs the statements, whose parameter is `cutoff`, and drops the partition instead of the last one
/// where all that it may hold is before that. Returns how many rows the last one was about; nothing
/// is done where others keep the partition locked.
async fn step(
    session: &mut Session,
    part: &Part,
    cutoff: Moment,
    statements: &[String],
) -> Result<u64, Fault> {
    let done = locked_step(session, part, cutoff, statements).await;
    let end = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
    match done {
        Err(fault) if fault.is_lost() => Err(fault),
        done => {
            session.run(end).await?;
            match done {
                Err(fault) if fault.is_locked() || fault.is_conflict() => Ok(0),
                done => done,
            }
        }
    }
}

async fn locked_step(
    session: &mut Session,
    part: &Part,
    cutoff: Moment,
    statements: &[String],
) -> Result<u64, Fault> {
    // Nobody adds to it any more, everybody may read it.
    session
        .run(&format!(
            "BEGIN; SET LOCAL lock_timeout = '3s'; SET LOCAL statement_timeout = {};
             LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE",
            PATIENCE.as_millis(),
            part.name
        ))
        .await?;
    let parameters: [&(dyn ToSql + Sync); 1] = [&cutoff];
    let whole = part.next <= cutoff;
    let mut rows = 0;
    for (index, text) in statements.iter().enumerate() {
        let last = index + 1 == statements.len();
        if last && whole {
            let count = format!("SELECT count(*) FROM {}", part.name);
            let count = within(PATIENCE, session.client.query_one(&count, &[])).await?;
            rows = u64::try_from(count.try_get::<_, i64>(0)?).unwrap_or_default();
            session
                .run(&format!(
                    "DROP TABLE {0}; DELETE FROM partition WHERE name = '{0}'",
                    part.name
                ))
                .await?;
        } else {
            rows = within(PATIENCE, session.client.execute(text, &parameters)).await?;
        }
    }
    Ok(rows)
}

/// Removes what ended before `cutoff`.
async fn remove(
    session: &mut Session,
    part: &Part,
    resolution: Resolution,
    cutoff: Moment,
) -> Result<u64, Fault> {
    let text = "SELECT after FROM extent WHERE resolution = $1";
    let after = session.within(session.client.query_one(text, &[&resolution.number()])).await?;
    let after = after.try_get::<_, i64>(0)?;
    let ends =
        Part { next: Moment(part.next.0.saturating_add(after)), name: part.name.clone(), ..*part };
    // The start of a bucket may be too old while its end is not; what it holds then stays.
    let delete = part.delete("bucket < $1 AND last_seen < $1");
    step(session, &ends, cutoff, &[delete]).await
}

/// Removes the dimensions that no observation names any more, and probes that were heard of last
/// before `cutoff`. Hosts stay.
async fn forget(
    session: &mut Session,
    settings: &Settings,
    cutoff: Timestamp,
) -> Result<(), Fault> {
    let text = "DELETE FROM probe WHERE last_flush < $1";
    session.within(session.client.execute(text, &[&Moment::floor(cutoff)])).await?;

    // By the clock of the server, which says when a row was written last, as well as by ours.
    let row = session
        .within(session.client.query_one("SELECT now(), (SELECT max(after) FROM extent)", &[]))
        .await?;
    let (now, after): (Moment, i64) = (row.try_get(0)?, row.try_get(1)?);
    let oldest = now.timestamp().saturating_sub(settings.retention).min(cutoff);
    let oldest = Moment::floor(oldest.saturating_sub(2 * PERIOD));
    let oldest = Moment(oldest.0.saturating_sub(after));
    for (table, id) in [
        ("flow", "flow_id"),
        ("listener", "listener_id"),
        ("translation", "translation_id"),
        ("host_address", "address_id"),
        ("process", "process_id"),
        ("namespace", "namespace_id"),
    ] {
        // The condition stands there twice, since a row may be used again in the meantime.
        let text = format!(
            "DELETE FROM {table} WHERE last_bucket < $1 AND {id} IN (
                SELECT {id} FROM {table} WHERE last_bucket < $1 LIMIT {CHUNK})"
        );
        while session.within(session.client.execute(&text, &[&oldest])).await? > 0 {}
    }
    Ok(())
}
