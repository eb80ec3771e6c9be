//! Finding what was seen within a window of time, in as few rows as tell it exactly.

use std::ops::ControlFlow;

use rusqlite::{Row, Rows, Statement, Transaction};

use super::{fault::Fault, resolution::Extent};
use crate::{Window, resolution::Resolution};

/// What is called with each row, and the id of what it is of.
pub(super) type Visit<'v> = dyn FnMut(i64, &Row<'_>) -> Result<(), Fault> + 'v;

/// The same where it says whether to go on.
type VisitUntil<'v> = dyn FnMut(i64, &Row<'_>) -> Result<ControlFlow<()>, Fault> + 'v;

/// Where a row has its times.
pub(super) const FIRST_SEEN: usize = 1;
pub(super) const LAST_SEEN: usize = 2;
const BUCKET: usize = 3;
/// Where it has the columns that were asked for.
pub(super) const OTHERS: usize = 4;

/// The observations of one kind that touch a window.
///
/// A day, or an hour, is read as a whole where all that was written in it touches the window, or
/// where nothing finer is kept of it. So what is visited of one flow adds up to the same as all
/// that was written of it, and comes in order of time.
pub(super) struct Observations<'c> {
    /// Those of all days.
    all: Statement<'c>,
    /// The coarsest one first.
    levels: Vec<Level<'c>>,
}

/// A window, as far as observations are kept.
#[derive(Debug, Clone, Copy)]
struct Span {
    since: i64,
    until: i64,
}

/// Where the observations of a resolution lie that touch the window.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    resolution: Resolution,
    /// The first and last bucket.
    first: i64,
    last: i64,
    /// How much longer a bucket is than the moment that it begins with.
    rest: i64,
    /// From when on the next finer resolution is kept; nothing where there is none.
    finer_since: Option<i64>,
    span: Span,
}

impl Bounds {
    fn new(
        transaction: &Transaction<'_>,
        resolution: Resolution,
        span: Span,
    ) -> Result<Self, Fault> {
        let reach = Extent::of(transaction, resolution)?.reach;
        let finer = resolution.finer().map(|finer| Extent::of(transaction, finer)).transpose()?;
        let rest = resolution.length().map_or(0, |length| length.as_nanos().saturating_sub(1));
        Ok(Self {
            resolution,
            first: span.since.saturating_sub(reach),
            last: span.until.saturating_add(reach),
            rest: i64::try_from(rest).unwrap_or(i64::MAX),
            finer_since: finer.map(|finer| finer.kept_since),
            span,
        })
    }

    /// Whether a row that touches the window is taken as it is.
    fn takes(&self, bucket: i64, first_seen: i64, last_seen: i64) -> bool {
        let Span { since, until } = self.span;
        let begins_within = bucket >= since || first_seen >= since;
        let is_within = begins_within && last_seen <= until;
        is_within || self.finer_since.is_none_or(|finer_since| bucket < finer_since)
    }
}

/// The observations of one resolution.
struct Level<'c> {
    bounds: Bounds,
    /// Those of one flow, or whatever they are of.
    of_one: Statement<'c>,
}

impl<'c> Observations<'c> {
    /// What finds those of `what` (`flow`, say) with these columns.
    pub(super) fn new(
        transaction: &'c Transaction<'_>,
        what: &str,
        columns: &[&str],
        window: Window,
    ) -> Result<Self, Fault> {
        let columns = columns.iter().flat_map(|column| [", ", column]).collect::<String>();
        let select = |index: &str, condition: &str, order: &str| {
            transaction.prepare(&format!(
                "SELECT {what}_id, first_seen, last_seen, bucket{columns}
                 FROM {what}_observation {index}
                 WHERE resolution = ?1 AND bucket BETWEEN ?2 AND ?3
                    AND first_seen <= ?5 AND last_seen >= ?4{condition}
                 ORDER BY {order}"
            ))
        };
        // Without it SQLite takes what others did in the window for the shorter way.
        let by_id = format!("INDEXED BY {what}_observation_{what}");
        let of_one = format!(" AND {what}_id = ?6");

        let kept_since = Extent::of(transaction, Resolution::Day)?.kept_since;
        let span = Span {
            since: window.since.as_nanoseconds().max(kept_since),
            until: window.until.as_nanoseconds(),
        };
        let mut levels = Vec::new();
        for resolution in Resolution::ALL.into_iter().rev() {
            let bounds = Bounds::new(transaction, resolution, span)?;
            levels.push(Level { bounds, of_one: select(&by_id, &of_one, "bucket")? });
        }
        let all = select("", "", &format!("bucket, {what}_id"))?;
        Ok(Self { all, levels })
    }

    /// Visits those of all, each with its id.
    pub(super) fn each(&mut self, visit: &mut Visit<'_>) -> Result<(), Fault> {
        let Some((coarsest, finer)) = self.levels.split_first_mut() else { return Ok(()) };
        let Bounds { resolution, first, last, span, .. } = coarsest.bounds;
        let rows = self.all.query((resolution, first, last, span.since, span.until))?;
        let visit = &mut |id, row: &Row<'_>| visit(id, row).map(ControlFlow::Continue);
        visit_rows(rows, coarsest.bounds, finer, visit).map(drop)
    }

    /// Visits those of the one with this id.
    pub(super) fn of_one(&mut self, id: i64, visit: &mut Visit<'_>) -> Result<(), Fault> {
        let visit = &mut |id, row: &Row<'_>| visit(id, row).map(ControlFlow::Continue);
        visit_buckets(&mut self.levels, id, i64::MIN, i64::MAX, visit).map(drop)
    }

    /// Whether there is any of the one with this id.
    pub(super) fn has(&mut self, id: i64) -> Result<bool, Fault> {
        let visit = &mut |_, _: &Row<'_>| Ok(ControlFlow::Break(()));
        let end = visit_buckets(&mut self.levels, id, i64::MIN, i64::MAX, visit)?;
        Ok(end.is_break())
    }
}

/// Visits what touches the window in the buckets from `from` to `to` of the coarsest of `levels`.
fn visit_buckets(
    levels: &mut [Level<'_>],
    id: i64,
    from: i64,
    to: i64,
    visit: &mut VisitUntil<'_>,
) -> Result<ControlFlow<()>, Fault> {
    let Some((Level { bounds, of_one }, finer)) = levels.split_first_mut() else {
        return Ok(ControlFlow::Continue(()));
    };
    let Bounds { resolution, first, last, span, .. } = *bounds;
    let (first, last) = (first.max(from), last.min(to));
    let rows = of_one.query((resolution, first, last, span.since, span.until, id))?;
    visit_rows(rows, *bounds, finer, visit)
}

fn visit_rows(
    mut rows: Rows<'_>,
    bounds: Bounds,
    finer: &mut [Level<'_>],
    visit: &mut VisitUntil<'_>,
) -> Result<ControlFlow<()>, Fault> {
    while let Some(row) = rows.next()? {
        let (id, bucket) = (row.get(0)?, row.get(BUCKET)?);
        let flow = if bounds.takes(bucket, row.get(FIRST_SEEN)?, row.get(LAST_SEEN)?) {
            visit(id, row)?
        } else {
            visit_buckets(finer, id, bucket, bucket.saturating_add(bounds.rest), visit)?
        };
        if flow.is_break() {
            return Ok(flow);
        }
    }
    Ok(ControlFlow::Continue(()))
}
