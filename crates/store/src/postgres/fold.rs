//! Putting what has arrived into the tables of all resolutions.

use std::{cell::Cell, fmt::Write as _, time::Duration};

use netglass_model::Timestamp;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{codec::Moment, connect::Session, fault::Fault, recent::Kind};
use crate::{Settings, resolution::Resolution};

/// For how long after its end more may arrive of a bucket: what comes later is added to what is
/// there, which costs more.
const GRACE: Duration = Duration::from_secs(30);
/// How far ahead of the present a bucket may be and still be waited for.
const FUTURE: Duration = Duration::from_secs(2 * 60 * 60);
/// How much of the table one transaction puts away, in bytes: a second's work, which a slow server
/// does before the time of any statement is up.
const STEP: i64 = 32 << 20;
const MAX_STEPS: i64 = 4096;
/// How large the table may be for all of it to be gone through: of what does not belong to the
/// present there may be some in it.
const TO_GO_THROUGH: i64 = 1 << 30;

/// Puts away what is of buckets that are over at the moment `now`.
pub(super) async fn fold(
    session: &mut Session,
    settings: &Settings,
    now: Timestamp,
) -> Result<(), Fault> {
    let mut over = Moment::floor(now.saturating_sub(settings.bucket + GRACE));
    let ahead = Moment::floor(now.saturating_add(FUTURE));
    let size = "SELECT pg_relation_size('recent')";
    let size: i64 = session.within(session.client.query_one(size, &[])).await?.try_get(0)?;
    if size <= TO_GO_THROUGH {
        // Nobody waits for the time of a clock that is wrong. With all the rest, so that what is of
        // one thing stays in order.
        let last = "SELECT max(bucket) FROM recent";
        let last = session.within(session.client.query_one(last, &[])).await?;
        if let Some(last) = last.try_get::<_, Option<Moment>>(0)?.filter(|last| *last > ahead) {
            over = Moment(last.0.saturating_add(1));
        }
    }
    let steps = Steps::new(size);
    // Much is put away by two processors. Who gets no second connection does it with one.
    let other = if steps.count > 1 { session.another().await.ok() } else { None };
    match other {
        Some(mut other) => {
            let (one, other) = tokio::join!(work(session, over, &steps), async {
                work(&mut other, over, &steps).await
            });
            one.and(other)
        }
        None => work(session, over, &steps).await,
    }
}

/// The ranges of ids that are put away one at a time.
struct Steps {
    count: u128,
    next: Cell<u128>,
}

impl Steps {
    /// Of a table of this size.
    fn new(size: i64) -> Self {
        let count = u128::try_from((size / STEP + 1).min(MAX_STEPS)).unwrap_or(1);
        Self { count, next: Cell::new(0) }
    }

    /// The first and the last id of the next one.
    fn next(&self) -> Option<[Uuid; 2]> {
        let step = self.next.get();
        if step == self.count {
            return None;
        }
        self.next.set(step + 1);
        // Ids are spread evenly.
        let share = u128::MAX / self.count;
        let last = if step + 1 == self.count { u128::MAX } else { share * (step + 1) - 1 };
        Some([share * step, last].map(Uuid::from_u128))
    }
}

/// Puts away one range after the other, until none is left.
async fn work(session: &mut Session, over: Moment, steps: &Steps) -> Result<(), Fault> {
    while let Some([first, last]) = steps.next() {
        let range: [&(dyn ToSql + Sync); 3] = [&over, &first, &last];
        let mut folded = part(session, Sum::Fast, &range).await;
        if folded.as_ref().is_err_and(Fault::is_out_of_range) {
            folded = part(session, Sum::Any, &range).await;
        }
        match folded {
            Err(fault) if fault.is_locked() || fault.is_conflict() => return Ok(()),
            folded => folded?,
        }
    }
    Ok(())
}

async fn part(
    session: &mut Session,
    sum: Sum,
    range: &[&(dyn ToSql + Sync); 3],
) -> Result<(), Fault> {
    // A table that was empty a minute ago passes for a small one, whose rows might as well be fetched
    // one by one.
    session
        .run(
            "BEGIN; SET LOCAL jit = off; SET LOCAL work_mem = '64MB';
             SET LOCAL enable_indexscan = off",
        )
        .await?;
    match put_away(session, sum, range).await {
        Ok(()) => session.run("COMMIT").await,
        Err(fault) if fault.is_lost() => Err(fault),
        Err(fault) => {
            session.run("ROLLBACK").await?;
            Err(fault)
        }
    }
}

async fn put_away(
    session: &Session,
    sum: Sum,
    range: &[&(dyn ToSql + Sync); 3],
) -> Result<(), Fault> {
    for reached in session.within(session.client.query(&statement(sum), range)).await? {
        let values: [&(dyn ToSql + Sync); 4] = [
            &reached.try_get::<_, i32>(0)?,
            &reached.try_get::<_, Option<i64>>(1)?,
            &reached.try_get::<_, Option<i64>>(2)?,
            &reached.try_get::<_, Option<Moment>>(3)?,
        ];
        // Last, so that nobody waits long for it.
        let extend = "UPDATE extent SET before = greatest(before, $2), after = greatest(after, $3),
                        latest = greatest(latest, $4)
                      WHERE resolution = $1::integer";
        session.within(session.client.execute(extend, &values)).await?;
    }
    Ok(())
}

/// The statement that takes what has arrived, with ids from `$2` to `$3`, of buckets before `$1`, and
/// puts it into the tables of all kinds and resolutions. Its rows say of each resolution how far it
/// reaches from the start of its bucket, and its end.
fn statement(sum: Sum) -> String {
    let mut text = "WITH arrived AS (
            DELETE FROM recent WHERE bucket < $1 AND id BETWEEN $2 AND $3 RETURNING *)"
        .to_owned();
    let mut reached = Vec::new();
    for kind in Kind::ALL {
        let name = kind.name();
        let mut from = format!("arrived WHERE kind = {}", kind as i16);
        for resolution in Resolution::ALL {
            let (bucket, latest_first) = match resolution {
                Resolution::Written => ("bucket", "last_seen DESC"),
                Resolution::Hour => ("date_trunc('hour', bucket)", "bucket DESC"),
                Resolution::Day => ("date_trunc('day', bucket)", "bucket DESC"),
            };
            let (table, number) = (resolution.table(kind), resolution.number());
            let rows = together(kind, sum, &from, bucket, latest_first);
            from = format!("{name}_{number}");
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                ", {from} AS MATERIALIZED ({rows}), into_{from} AS (
                    INSERT INTO {table} ({}) SELECT * FROM {from}
                    ON CONFLICT ({name}_id, bucket) DO UPDATE SET {})",
                kind.columns(),
                merge(kind, &table),
            );
            reached.push(format!(
                "SELECT {number} AS resolution, max(bucket - first_seen) AS before,
                    max(last_seen - bucket) AS after, max(last_seen) AS latest FROM {from}"
            ));
        }
    }
    let _ = write!(
        text,
        " SELECT resolution, (extract(epoch FROM max(before)) * 1000000)::bigint,
            (extract(epoch FROM max(after)) * 1000000)::bigint, max(latest)
          FROM ({}) r GROUP BY resolution ORDER BY resolution",
        reached.join(" UNION ALL ")
    );
    text
}

/// Those rows of `source` that are of one thing in one bucket as one, as `FlowCounters::append` puts
/// them together; `latest_first` is their order.
pub(super) fn together(
    kind: Kind,
    sum: Sum,
    source: &str,
    bucket: &str,
    latest_first: &str,
) -> String {
    let mut sums = String::new();
    for &column in kind.counters() {
        let value = match column {
            "connections" => "max(connections + later)".to_owned(),
            column => sum.of(column),
        };
        // Writing to a String cannot fail.
        let _ = write!(sums, ", {} AS {column}", sum.limited(&value));
    }
    // What began in the rows that follow was not there before.
    let later = format!(
        ", coalesce({} OVER (
            PARTITION BY id, {bucket} ORDER BY {latest_first}
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS later",
        sum.of("opened")
    );
    let later = if kind.counters().is_empty() { "" } else { &later };
    format!(
        "SELECT id, longer AS bucket, min(first_seen) AS first_seen, max(last_seen) AS last_seen{sums}
         FROM (SELECT *, {bucket} AS longer{later} FROM {source}) o
         GROUP BY id, longer"
    )
}

/// How counts are added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sum {
    /// As integers: a sum that is larger than the largest one is an error.
    Fast,
    /// As numbers of any size, cut off at the largest integer.
    Any,
}

impl Sum {
    fn of(self, column: &str) -> String {
        match self {
            Self::Fast => format!("total({column})"),
            Self::Any => format!("sum({column})"),
        }
    }

    fn limited(self, value: &str) -> String {
        match self {
            Self::Fast => value.to_owned(),
            Self::Any => format!("least({value}, 9223372036854775807)::bigint"),
        }
    }
}

/// What a row of `table` that is written again keeps: both, the later one behind the other, as
/// `FlowCounters::append` puts them together. The sums stop at the largest integer.
fn merge(kind: Kind, table: &str) -> String {
    let sum =
        |kept: &str, added: &str| format!("least({kept}, 9223372036854775807 - {added}) + {added}");
    let append = |first: &str, later: &str| {
        let sum = sum(&format!("{first}.connections"), &format!("{later}.opened"));
        format!("greatest({later}.connections, {sum})")
    };
    let mut merge = format!(
        "first_seen = least({table}.first_seen, excluded.first_seen),
         last_seen = greatest({table}.last_seen, excluded.last_seen)"
    );
    for &column in kind.counters() {
        let value = match column {
            "connections" => format!(
                "CASE WHEN excluded.last_seen >= {table}.last_seen THEN {} ELSE {} END",
                append(table, "excluded"),
                append("excluded", table)
            ),
            column => sum(&format!("{table}.{column}"), &format!("excluded.{column}")),
        };
        // Writing to a String cannot fail.
        let _ = write!(merge, ", {column} = {value}");
    }
    merge
}
