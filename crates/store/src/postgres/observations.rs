//! Reading the observations that tell of a window.

use std::slice;

use tokio_postgres::{Client, Row, types::Type};
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
    client: &'o Client,
    kind: Kind,
    bounds: &'o Bounds,
    rest: Rest<'o>,
}

enum Rest<'o> {
    All,
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
                "DECLARE observations NO SCROLL CURSOR FOR SELECT {} FROM {} ORDER BY last_seen, bucket",
                kind.columns(),
                bounds.observations(kind, None)
            );
            ask(client, &text, &bounds.parameters()).await?;
            Rest::All
        };
        Ok(Self { client, kind, bounds, rest })
    }

    /// The next ones; none where all have been read.
    pub(super) async fn next(&mut self) -> Result<Vec<Row>, Fault> {
        match &mut self.rest {
            Rest::All => {
                let rows =
                    ask(self.client, &format!("FETCH {BATCH} FROM observations"), &[]).await?;
                if rows.is_empty() {
                    within(READ_PATIENCE, self.client.batch_execute("CLOSE observations")).await?;
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

/// The observations of each of these ids, put together.
async fn of(client: &Client, kind: Kind, bounds: &Bounds, ids: &[Uuid]) -> Result<Vec<Row>, Fault> {
    let mut parameters = bounds.parameters();
    parameters.push((&ids, Type::UUID_ARRAY));
    let condition = format!("$id = ANY (${})", parameters.len());
    let observed = bounds.observations(kind, Some(&condition));
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
