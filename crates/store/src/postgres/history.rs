//! Which observations tell of a window: the coarsest ones that lie within it as a whole, and finer
//! ones where it begins and ends ([`crate::resolution`]).

use tokio_postgres::{Transaction, types::ToSql};

use super::{
    codec::Moment,
    connect::{READ_PATIENCE, Session, within},
    fault::Fault,
    read::ask,
    recent::Kind,
};
use crate::{Window, resolution::Resolution};

/// A moment of the database.
///
/// The tables are locked (nobody may drop them) before the moment is chosen: what is in a partition
/// that is dropped is then either there, or known not to be kept.
pub(super) async fn snapshot<'s>(
    session: &'s mut Session,
    kinds: &[Kind],
    is_narrow: bool,
) -> Result<Transaction<'s>, Fault> {
    let tables: Vec<_> = kinds
        .iter()
        .flat_map(|&kind| Resolution::ALL.map(|resolution| resolution.table(kind)))
        .collect();
    let lock = format!("LOCK TABLE {} IN ACCESS SHARE MODE", tables.join(", "));
    let begin = session
        .client
        .build_transaction()
        .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
        .read_only(true)
        .start();
    let transaction = within(READ_PATIENCE, begin).await?;
    // Compiling a statement costs more than running it does where a few flows are read.
    let mut prepare = format!("SET LOCAL jit = off; {lock}");
    if is_narrow {
        // What is known of tables that grow all the time is always out of date, and a plan that is
        // made for other sizes may go through all of them. Each row here is found by an index.
        prepare.push_str(
            "; SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off;
             SET LOCAL enable_mergejoin = off",
        );
    }
    within(READ_PATIENCE, transaction.batch_execute(&prepare)).await?;
    Ok(transaction)
}

/// The parameters of [`observations`].
pub(super) struct Bounds([Moment; Self::COUNT]);

impl Bounds {
    /// How many parameters there are.
    pub(super) const COUNT: usize = 10;

    /// Those of a window: per resolution the first and last bucket that may hold what touches it,
    /// its start and end, and from when on the two finer resolutions are kept.
    pub(super) async fn new(transaction: &Transaction<'_>, window: Window) -> Result<Self, Fault> {
        let (mut since, until) = (Moment::floor(window.since), Moment::floor(window.until));
        let text = "SELECT before, after, kept_since FROM extent ORDER BY resolution";
        let mut extents = Vec::with_capacity(Resolution::ALL.len());
        for row in &ask(transaction, text, &[]).await? {
            extents.push((row.try_get(0)?, row.try_get(1)?, row.try_get::<_, Moment>(2)?));
        }
        let [written, hour, day] = extents[..] else {
            return Err(Fault::Malformed(format!("there are {} extents", extents.len())));
        };
        since = since.max(day.2);
        let bounds = |(before, after, _): (i64, i64, Moment)| {
            [
                Moment(since.0.saturating_sub(after).max(EARLIEST)),
                Moment(until.0.saturating_add(before).min(LATEST)),
            ]
        };
        let [first, last] = bounds(written);
        let [first_hour, last_hour] = bounds(hour);
        let [first_day, last_day] = bounds(day);
        let [since, until] = [since, until].map(|moment| Moment(moment.0.clamp(EARLIEST, LATEST)));
        Ok(Self([
            first, last, first_hour, last_hour, first_day, last_day, since, until, written.2,
            hour.2,
        ]))
    }

    /// The start of the first bucket that may hold what touches the window.
    pub(super) fn first(&self) -> Moment {
        self.0[0].min(self.0[2]).min(self.0[4])
    }

    pub(super) fn parameters(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.0.iter().map(|moment| moment as &(dyn ToSql + Sync)).collect()
    }
}

/// What no time that can be held is beyond, and what the server can hold.
const EARLIEST: i64 = -(1 << 54);
const LATEST: i64 = 1 << 54;

/// The observations of a kind that tell of the window, of everything or of the one thing whose id is
/// `id`, in no order; the parameters are the [`Bounds`].
pub(super) fn observations(kind: Kind, id: Option<&str>) -> String {
    let name = kind.name();
    let of = |column: &str| id.map(|id| format!("{column} = {id} AND ")).unwrap_or_default();
    let columns =
        |row: &str| format!("{row}.{}", kind.columns().replace(", ", &format!(", {row}.")));
    let [written, hours, days] = Resolution::ALL.map(|resolution| resolution.table(kind));
    let below = |fine: &str, coarse: &str| {
        format!(
            "{fine}.{name}_id = {coarse}.{name}_id AND {fine}.bucket >= {coarse}.bucket
                AND {fine}.bucket < {coarse}.bucket + interval '1 {coarse}'"
        )
    };
    let day = format!(
        "{days} AS day WHERE {}{}",
        of(&format!("day.{name}_id")),
        touches("day", Resolution::Day)
    );
    let hour = format!(
        "{hours} AS hour ON {} AND {}",
        below("hour", "day"),
        touches("hour", Resolution::Hour)
    );
    let minute = format!(
        "{written} AS minute ON {} AND {}",
        below("minute", "hour"),
        touches("minute", Resolution::Written)
    );
    let day_tells = tells("day", Resolution::Day);
    let hour_tells = tells("hour", Resolution::Hour);
    let arrived = kind.columns().replacen(&format!("{name}_id"), "id", 1);
    format!(
        "(SELECT {} FROM {day} AND {day_tells}
         UNION ALL
         SELECT {} FROM (SELECT * FROM {day} AND NOT {day_tells}) day JOIN {hour} AND {hour_tells}
         UNION ALL
         SELECT {} FROM (SELECT * FROM {day} AND NOT {day_tells}) day
            JOIN {hour} AND NOT {hour_tells} JOIN {minute}
         UNION ALL
         SELECT {arrived} FROM recent
         WHERE {}kind = {} AND first_seen <= $8 AND last_seen >= $7) o",
        columns("day"),
        columns("hour"),
        columns("minute"),
        of("recent.id"),
        kind as i16,
    )
}

/// That a row touches the window.
fn touches(row: &str, resolution: Resolution) -> String {
    let first = resolution.number() * 2 + 1;
    let last = first + 1;
    format!(
        "{row}.bucket BETWEEN ${first} AND ${last} AND {row}.first_seen <= $8
            AND {row}.last_seen >= $7"
    )
}

/// That a row which touches the window tells of it: all that is in it touches the window too, or is
/// not kept any more.
fn tells(row: &str, resolution: Resolution) -> String {
    let finer = match resolution {
        Resolution::Written => return "true".to_owned(),
        Resolution::Hour => 9,
        Resolution::Day => 10,
    };
    format!(
        "(({row}.bucket >= $7 OR {row}.first_seen >= $7) AND {row}.last_seen <= $8
            OR {row}.bucket < ${finer})"
    )
}
