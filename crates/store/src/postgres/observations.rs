//! Reading the observations that tell of a window.

use std::slice;

use tokio_postgres::{Portal, Row, Transaction, types::Type};
use uuid::Uuid;

use super::{
    ask::ask,
    connect::{READ_PATIENCE, within},
    fault::Fault,
    fold::{Sum, together},
    history::Bounds,
    recent::Kind,
};

/// How many observations are taken from the server at a time, or of how many ids.
const BATCH: usize = 10_000;

/// Observations of a kind that tell of the window, some at a time: all, in order of time, or those
/// of each of some ids put together.
pub(super) struct Observations<'o> {
    transaction: &'o Transaction<'o>,
    kind: Kind,
    bounds: &'o Bounds,
    rest: Rest<'o>,
}

enum Rest<'o> {
    All(Portal),
    Of(slice::Chunks<'o, Uuid>),
}

impl<'o> Observations<'o> {
    pub(super) async fn new(
        transaction: &'o Transaction<'o>,
        kind: Kind,
        bounds: &'o Bounds,
        ids: Option<&'o [Uuid]>,
    ) -> Result<Self, Fault> {
        let rest = if let Some(ids) = ids {
            Rest::Of(ids.chunks(BATCH))
        } else {
            let text = format!(
                "SELECT {} FROM {} ORDER BY last_seen, bucket",
                kind.columns(),
                bounds.observations(kind, None)
            );
            let parameters = bounds.parameters();
            let values: Vec<_> = parameters.iter().map(|(value, _)| *value).collect();
            Rest::All(within(READ_PATIENCE, transaction.bind(&text, &values)).await?)
        };
        Ok(Self { transaction, kind, bounds, rest })
    }

    /// The next ones; none where all have been read.
    pub(super) async fn next(&mut self) -> Result<Vec<Row>, Fault> {
        match &mut self.rest {
            Rest::All(portal) => {
                let batch = i32::try_from(BATCH).unwrap_or(i32::MAX);
                within(READ_PATIENCE, self.transaction.query_portal(portal, batch)).await
            }
            Rest::Of(chunks) => {
                for ids in chunks {
                    let rows = of(self.transaction, self.kind, self.bounds, ids).await?;
                    if !rows.is_empty() {
                        return Ok(rows);
                    }
                }
                Ok(Vec::new())
            }
        }
    }
}

/// The observations of each of these ids, put together.
async fn of(
    transaction: &Transaction<'_>,
    kind: Kind,
    bounds: &Bounds,
    ids: &[Uuid],
) -> Result<Vec<Row>, Fault> {
    let mut parameters = bounds.parameters();
    parameters.push((&ids, Type::UUID_ARRAY));
    let condition = format!("$id = ANY (${})", parameters.len());
    let observed = bounds.observations(kind, Some(&condition));
    let each = format!("(SELECT {}_id AS id, * FROM {observed}) each", kind.name());
    let text =
        |sum| together(kind, sum, &each, "'epoch'::timestamptz", "last_seen DESC, bucket DESC");
    // Both are sent at once.
    let savepoint = within(READ_PATIENCE, transaction.batch_execute("SAVEPOINT before_sums"));
    let fast = text(Sum::Fast);
    let (savepoint, rows) = tokio::join!(savepoint, ask(transaction, &fast, &parameters));
    savepoint?;
    match rows {
        Err(fault) if fault.is_out_of_range() => {
            let back = transaction.batch_execute("ROLLBACK TO SAVEPOINT before_sums");
            within(READ_PATIENCE, back).await?;
            ask(transaction, &text(Sum::Any), &parameters).await
        }
        rows => rows,
    }
}
