//! Putting away what has arrived, and removing what is not kept any more.

use netglass_model::Timestamp;
use tokio_postgres::types::ToSql;

use super::{
    codec::Moment, connect::Session, dimensions::PERIOD, fault::Fault, fold, partition::FLOW_LOG,
    recent::Kind,
};
use crate::{Settings, resolution::Resolution};

/// How many rows of a dimension one transaction removes.
const CHUNK: i64 = 10_000;
/// How many observations one transaction removes: less than a second's work, which a slow server does
/// before the time of any statement is up.
const STEP: u64 = 100_000;

/// Puts away what has arrived, and removes what is not kept any more at the moment `now`, unless
/// another process is at it. Returns of how many days of flows and listeners nothing is left.
pub(super) async fn maintain(
    session: &mut Session,
    settings: &Settings,
    now: Timestamp,
) -> Result<u64, Fault> {
    alone(session, async |session| all(session, settings, now).await).await
}

/// Removes flow records that are not kept any more at the moment `now`, and nothing else, unless
/// another process is at it.
pub(super) async fn maintain_flow_log(
    session: &mut Session,
    settings: &Settings,
    now: Timestamp,
) -> Result<(), Fault> {
    let cutoff = Moment::floor(now.saturating_sub(settings.retention));
    alone(session, async |session| remove_flow_records(session, cutoff).await).await
}

/// Does `work` unless another process maintains the database.
async fn alone<T: Default>(
    session: &mut Session,
    work: impl AsyncFnOnce(&mut Session) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let lock = "hashtextextended('netglass maintenance', 0)";
    let taken = format!("SELECT pg_try_advisory_lock({lock})");
    let taken = session.within(session.client.query_one(&taken, &[])).await?;
    if !taken.try_get::<_, bool>(0)? {
        return Ok(T::default());
    }
    let done = work(session).await;
    if !done.as_ref().is_err_and(Fault::is_lost) {
        session.run(&format!("SELECT pg_advisory_unlock({lock})")).await?;
    }
    done
}

async fn all(session: &mut Session, settings: &Settings, now: Timestamp) -> Result<u64, Fault> {
    fold::fold(session, settings, now).await?;
    let mut kept = [Moment(0); 3];
    for (resolution, kept) in Resolution::ALL.into_iter().zip(&mut kept) {
        let [since, most] = resolution.kept_since(settings, now).map(Moment::floor);
        *kept = since;
        // Before anything is removed, so that nobody looks for it any more.
        let text = "UPDATE extent SET kept_since = greatest($2, least(kept_since, $3))
                    WHERE resolution = $1";
        let values: [&(dyn ToSql + Sync); 3] = [&resolution.number(), &since, &most];
        session.within(session.client.execute(text, &values)).await?;
    }
    let [written, hour, _] = kept;

    let cutoff = now.saturating_sub(settings.retention);
    let mut removed = 0;
    for kind in Kind::ALL {
        for (resolution, kept) in [(Resolution::Written, written), (Resolution::Hour, hour)] {
            for part in partitions(session, &resolution.table(kind), kept).await? {
                clear(session, &part, kept, "bucket < $1").await?;
            }
        }
        for resolution in Resolution::ALL {
            let table = resolution.table(kind);
            for part in partitions(session, &table, Moment::floor(cutoff)).await? {
                let count = remove(session, &part, resolution, Moment::floor(cutoff)).await?;
                if resolution == Resolution::Day && matches!(kind, Kind::Flow | Kind::Listener) {
                    removed += count;
                }
            }
        }
    }
    remove_flow_records(session, Moment::floor(cutoff)).await?;
    forget(session, settings, cutoff).await?;
    Ok(removed)
}

/// A partition that is there.
struct Part {
    name: String,
    /// Where it ends.
    next: Moment,
}

impl Part {
    /// Where the default one ends.
    const NEVER: Moment = Moment(i64::MAX);
}

/// The partitions of `parent` that may hold something before `cutoff`.
async fn partitions(session: &Session, parent: &str, cutoff: Moment) -> Result<Vec<Part>, Fault> {
    let text = "SELECT name, nullif(next_bucket, 'infinity')
                FROM partition WHERE parent = $1 AND first_bucket < $2 ORDER BY first_bucket";
    let rows = session.within(session.client.query(text, &[&parent, &cutoff])).await?;
    rows.iter()
        .map(|row| {
            let next: Option<Moment> = row.try_get(1)?;
            Ok(Part { name: row.try_get(0)?, next: next.unwrap_or(Part::NEVER) })
        })
        .collect()
}

/// Removes the rows of which `condition` is true, whose parameter is `cutoff`, and drops the
/// partition instead where all that it may hold is before that. Returns how many rows that were;
/// what others keep locked stays.
async fn clear(
    session: &mut Session,
    part: &Part,
    cutoff: Moment,
    condition: &str,
) -> Result<u64, Fault> {
    let mut removed = 0;
    loop {
        let count = step(session, part, cutoff, condition).await?;
        removed += count;
        if count < STEP || part.next <= cutoff {
            return Ok(removed);
        }
    }
}

/// Removes some of them, in a transaction.
async fn step(
    session: &mut Session,
    part: &Part,
    cutoff: Moment,
    condition: &str,
) -> Result<u64, Fault> {
    let done = locked_step(session, part, cutoff, condition).await;
    end(session, done).await
}

/// Ends the transaction in which `done` was done. What others are in the way of is not done.
async fn end(session: &Session, done: Result<u64, Fault>) -> Result<u64, Fault> {
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
    Part { name, next }: &Part,
    cutoff: Moment,
    condition: &str,
) -> Result<u64, Fault> {
    // Nobody adds to it any more, everybody may read it.
    let lock = format!("LOCK TABLE {name} IN SHARE ROW EXCLUSIVE MODE");
    session.run(&format!("BEGIN; SET LOCAL lock_timeout = '3s'; {lock}")).await?;
    if *next > cutoff {
        let delete = format!(
            "DELETE FROM {name} WHERE ctid = ANY(ARRAY(
                SELECT ctid FROM {name} WHERE {condition} LIMIT {STEP}))"
        );
        return session.within(session.client.execute(&delete, &[&cutoff])).await;
    }
    let count = format!("SELECT count(*) FROM {name}");
    let count = session.within(session.client.query_one(&count, &[])).await?;
    session.run(&format!("DROP TABLE {name}; DELETE FROM partition WHERE name = '{name}'")).await?;
    Ok(u64::try_from(count.try_get::<_, i64>(0)?).unwrap_or_default())
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
    let ends = Part { name: part.name.clone(), next: Moment(part.next.0.saturating_add(after)) };
    // The start of a bucket may be too old while its end is not; what it holds then stays.
    clear(session, &ends, cutoff, "bucket < $1 AND last_seen < $1").await
}

/// Removes flow records that were logged before `cutoff`: those that began long before that one by
/// one, others with all of their day. Forgets captures that logged last long before it.
async fn remove_flow_records(session: &mut Session, cutoff: Moment) -> Result<(), Fault> {
    for part in partitions(session, FLOW_LOG, cutoff).await? {
        if part.next == Part::NEVER {
            clear(session, &part, cutoff, "logged_at < $1").await?;
        } else if part.next <= cutoff && few_are_kept(session, &part, cutoff).await? {
            let retired = retire(session, &part, cutoff).await;
            end(session, retired).await?;
        }
    }
    // Their records may be there for some days more, and must not come a second time.
    let forget = "DELETE FROM capture WHERE last_logged_at < $1::timestamptz - interval '7 days'";
    session.within(session.client.execute(forget, &[&cutoff])).await?;
    Ok(())
}

/// Whether a partition holds little that was not logged before `cutoff`: flows that lasted for days,
/// or were replayed from a file.
async fn few_are_kept(session: &Session, part: &Part, cutoff: Moment) -> Result<bool, Fault> {
    let text = format!(
        "SELECT count(*) FROM (SELECT FROM {} WHERE logged_at >= $1 LIMIT {STEP}) kept",
        part.name
    );
    let kept = session.within(session.client.query_one(&text, &[&cutoff])).await?;
    Ok(u64::try_from(kept.try_get::<_, i64>(0)?).unwrap_or_default() < STEP)
}

/// Drops a partition; what is still kept of it moves to the default one.
async fn retire(session: &Session, Part { name, .. }: &Part, cutoff: Moment) -> Result<u64, Fault> {
    session
        .run(&format!(
            "BEGIN; SET LOCAL lock_timeout = '3s'; ALTER TABLE {FLOW_LOG} DETACH PARTITION {name};
             DELETE FROM partition WHERE name = '{name}'"
        ))
        .await?;
    let keep = format!("INSERT INTO {FLOW_LOG} SELECT * FROM {name} WHERE logged_at >= $1");
    let kept = session.within(session.client.execute(&keep, &[&cutoff])).await?;
    session.run(&format!("DROP TABLE {name}")).await?;
    Ok(kept)
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
