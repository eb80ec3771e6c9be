//! Putting what has arrived into the tables of all resolutions.

use std::{fmt::Write as _, time::Duration};

use netglass_model::Timestamp;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{
    codec::Moment,
    connect::{Session, within},
    fault::Fault,
    maintain::PATIENCE,
    partition,
    recent::Kind,
};
use crate::{Settings, resolution::Resolution};

/// For how long after its end more may arrive of a bucket: what comes later is added to what is
/// there, which costs more.
const GRACE: Duration = Duration::from_secs(30);
/// How far ahead of the present a bucket may be and still be waited for.
const FUTURE: Duration = Duration::from_secs(2 * 60 * 60);
/// How much of the table one transaction puts away, in bytes.
const STEP: i64 = 512 << 20;
const MAX_STEPS: i64 = 256;

/// Puts away what is of buckets that are over at the moment `now`.
pub(super) async fn fold(
    session: &mut Session,
    settings: &Settings,
    now: Timestamp,
) -> Result<(), Fault> {
    let mut over = Moment::floor(now.saturating_sub(settings.bucket + GRACE));
    let ahead = Moment::floor(now.saturating_add(FUTURE));
    let text = "SELECT DISTINCT date_trunc('hour', bucket) FROM recent WHERE bucket < $1";
    let last = "SELECT max(bucket) FROM recent";
    let last: Option<Moment> =
        within(PATIENCE, session.client.query_one(last, &[])).await?.try_get(0)?;
    // Nobody waits for the time of a clock that is wrong. With all the rest, so that what is of one
    // thing stays in order.
    over = last.filter(|last| *last > ahead).map_or(over, |last| Moment(last.0.saturating_add(1)));
    let rows = within(PATIENCE, session.client.query(text, &[&over])).await?;
    if rows.is_empty() {
        return Ok(());
    }
    let mut hours: Vec<Moment> = Vec::with_capacity(rows.len());
    for row in &rows {
        hours.push(row.try_get(0)?);
    }
    for resolution in Resolution::ALL {
        partition::make(session, resolution, hours.iter().copied()).await?;
    }

    let size = "SELECT pg_relation_size('recent')";
    let size: i64 = within(PATIENCE, session.client.query_one(size, &[])).await?.try_get(0)?;
    let steps = u128::try_from((size / STEP + 1).min(MAX_STEPS)).unwrap_or(1);
    for step in 0..steps {
        // Ids are spread evenly.
        let share = u128::MAX / steps;
        let first = Uuid::from_u128(share * step);
        let last = if step + 1 == steps { u128::MAX } else { share * (step + 1) - 1 };
        match part(session, &[&over, &first, &Uuid::from_u128(last)]).await {
            Err(fault) if fault.is_locked() || fault.is_conflict() => return Ok(()),
            folded => folded?,
        }
    }
    // The room is what the next ones are written to.
    within(PATIENCE, session.client.batch_execute("VACUUM (TRUNCATE false) recent")).await
}

const IN_PART: &str = "bucket < $1 AND id BETWEEN $2 AND $3";

async fn part(session: &mut Session, range: &[&(dyn ToSql + Sync); 3]) -> Result<(), Fault> {
    // One moment for all statements: nothing is removed that arrives between them. A table that was
    // empty a minute ago passes for a small one, whose rows might as well be fetched one by one.
    session
        .run(&format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL statement_timeout = {};
             SET LOCAL jit = off; SET LOCAL work_mem = '64MB'; SET LOCAL enable_indexscan = off",
            PATIENCE.as_millis()
        ))
        .await?;
    let done = async {
        for kind in Kind::ALL {
            within(PATIENCE, session.client.execute(&statement(kind), range)).await?;
        }
        let remove = format!("DELETE FROM recent WHERE {IN_PART}");
        within(PATIENCE, session.client.execute(&remove, range)).await
    };
    match done.await {
        Ok(_) => session.run("COMMIT").await,
        Err(fault) if fault.is_lost() => Err(fault),
        Err(fault) => {
            session.run("ROLLBACK").await?;
            Err(fault)
        }
    }
}

/// The statement that puts what has arrived of a kind into the tables of all resolutions, and keeps
/// how far what is there then reaches from the start of its bucket.
fn statement(kind: Kind) -> String {
    let name = kind.name();
    let mut text = format!(
        "WITH written AS MATERIALIZED ({}), hour AS MATERIALIZED ({}), day AS MATERIALIZED ({})",
        together(
            kind,
            &format!("SELECT * FROM recent WHERE kind = {} AND {IN_PART}", kind as i16),
            "bucket",
            "last_seen DESC",
        ),
        together(kind, "SELECT * FROM written", "date_trunc('hour', bucket)", "bucket DESC"),
        together(kind, "SELECT * FROM hour", "date_trunc('day', bucket)", "bucket DESC"),
    );
    let mut reached = Vec::new();
    for (resolution, from) in Resolution::ALL.into_iter().zip(["written", "hour", "day"]) {
        let (table, number) = (resolution.table(kind), resolution.number());
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            ", into_{from} AS (
                INSERT INTO {table} ({}) SELECT * FROM {from}
                ON CONFLICT ({name}_id, bucket) DO UPDATE SET {}
                RETURNING bucket, first_seen, last_seen)",
            kind.columns(),
            merge(kind, &table),
        );
        reached.push(format!(
            "SELECT {number} AS resolution, max(bucket - first_seen) AS before,
                max(last_seen - bucket) AS after FROM into_{from}"
        ));
    }
    let _ = write!(
        text,
        ", reached AS ({})
         UPDATE extent SET
            before = greatest(extent.before, (extract(epoch FROM r.before) * 1000000)::bigint),
            after = greatest(extent.after, (extract(epoch FROM r.after) * 1000000)::bigint)
         FROM reached r WHERE r.resolution = extent.resolution AND r.before IS NOT NULL",
        reached.join(" UNION ALL ")
    );
    text
}

/// Those rows of `source` that are of one thing in one bucket as one, as `FlowCounters::append` puts
/// them together; `latest_first` is their order.
fn together(kind: Kind, source: &str, bucket: &str, latest_first: &str) -> String {
    let mut sums = String::new();
    for &column in kind.counters() {
        // Sums are of a type that holds any number of them.
        let value = match column {
            "connections" => "max(connections + later)".to_owned(),
            column => format!("sum({column})"),
        };
        // Writing to a String cannot fail.
        let _ = write!(sums, ", least({value}, 9223372036854775807)::bigint AS {column}");
    }
    // What began in the rows that follow was not there before.
    let later = format!(
        ", coalesce(sum(opened) OVER (
            PARTITION BY id, {bucket} ORDER BY {latest_first}
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS later"
    );
    let later = if kind.counters().is_empty() { "" } else { &later };
    format!(
        "SELECT id, longer AS bucket, min(first_seen) AS first_seen, max(last_seen) AS last_seen{sums}
         FROM (SELECT *, {bucket} AS longer{later} FROM ({source}) s) o
         GROUP BY id, longer"
    )
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
