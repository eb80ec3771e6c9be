//! Reading the observations that tell of a window.

use std::slice;

use tokio_postgres::{Client, Row, types::Type};
use uuid::Uuid;

use super::{
    ask::{any_of, ask},
    connect::{READ_PATIENCE, within},
    fault::Fault,
    fold::{Sum, together},
    history::Bounds,
    recent::Kind,
};

/// How many observations of one id are sent as they are.
const FEW: i64 = 6;

/// How many observations are taken from the server at a time, or of how many ids.
const BATCH: usize = 10_000;

/// Observations of a kind that tell of the window, some at a time: all, in order of time, or those
/// of each of some ids put together.
pub(super) struct Observations<'o> {
    client: &'o Client,
    kind: Kind,
    bounds: &'o Bounds,
    rest: Rest<'o>,
}

enum Rest<'o> {
    /// The next batch, unless the one before was the last.
    All(Option<Vec<Row>>),
    Of(slice::Chunks<'o, Uuid>),
}

impl<'o> Observations<'o> {
    pub(super) async fn new(
        client: &'o Client,
        kind: Kind,
        bounds: &'o Bounds,
        ids: Option<&'o [Uuid]>,
    ) -> Result<Self, Fault> {
        let rest = if let Some(ids) = ids {
            Rest::Of(ids.chunks(BATCH))
        } else {
            let text = format!(
                "DECLARE observations NO SCROLL CURSOR FOR {}",
                in_order(kind, &bounds.observations(kind, None))
            );
            let parameters = bounds.parameters();
            // Both are sent at once.
            let (declared, first) = tokio::join!(ask(client, &text, &parameters), fetch(client));
            declared?;
            Rest::All(Some(first?))
        };
        Ok(Self { client, kind, bounds, rest })
    }

    /// The next ones; none where all have been read.
    pub(super) async fn next(&mut self) -> Result<Vec<Row>, Fault> {
        match &mut self.rest {
            Rest::All(batch) => {
                let Some(rows) = batch.take() else { return Ok(Vec::new()) };
                if rows.len() < BATCH {
                    within(READ_PATIENCE, self.client.batch_execute("CLOSE observations")).await?;
                } else {
                    *batch = Some(fetch(self.client).await?);
                }
                Ok(rows)
            }
            Rest::Of(chunks) => {
                for ids in chunks {
                    let rows = of(self.client, self.kind, self.bounds, ids).await?;
                    if !rows.is_empty() {
                        return Ok(rows);
                    }
                }
                Ok(Vec::new())
            }
        }
    }
}

async fn fetch(client: &Client) -> Result<Vec<Row>, Fault> {
    ask(client, &format!("FETCH {BATCH} FROM observations"), &[]).await
}

/// The rows of `observed`, in order of time.
fn in_order(kind: Kind, observed: &str) -> String {
    format!("SELECT {} FROM {observed} ORDER BY last_seen, bucket", kind.columns())
}

/// The observations of each of these ids, put together where they are many.
async fn of(client: &Client, kind: Kind, bounds: &Bounds, ids: &[Uuid]) -> Result<Vec<Row>, Fault> {
    let mut parameters = bounds.parameters();
    parameters.push((&ids, Type::UUID_ARRAY));
    let condition = format!("$id {}", any_of(parameters.len(), "uuid"));
    let observed = bounds.observations(kind, Some(&condition));
    // Putting a few rows together takes the server longer than sending them.
    if bounds.most_of_one() <= FEW {
        return ask(client, &in_order(kind, &observed), &parameters).await;
    }
    let each = format!("(SELECT {}_id AS id, * FROM {observed}) each", kind.name());
    let text =
        |sum| together(kind, sum, &each, "'epoch'::timestamptz", "last_seen DESC, bucket DESC");
    // Both are sent at once.
    let savepoint = within(READ_PATIENCE, client.batch_execute("SAVEPOINT before_sums"));
    let fast = text(Sum::Fast);
    let (savepoint, rows) = tokio::join!(savepoint, ask(client, &fast, &parameters));
    savepoint?;
    match rows {
        Err(fault) if fault.is_out_of_range() => {
            let back = client.batch_execute("ROLLBACK TO SAVEPOINT before_sums");
            within(READ_PATIENCE, back).await?;
            ask(client, &text(Sum::Any), &parameters).await
        }
        rows => rows,
    }
}
