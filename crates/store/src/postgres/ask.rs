//! Asking in one round trip.

use tokio_postgres::{
    Client, Row,
    types::{ToSql, Type},
};

use super::{
    connect::{READ_PATIENCE, within},
    fault::Fault,
};

/// A value, and the type under which it is sent.
pub(super) type Parameter<'p> = (&'p (dyn ToSql + Sync), Type);

/// Asks once. The types are said so that it takes one round trip.
pub(super) async fn ask(
    client: &Client,
    text: &str,
    parameters: &[Parameter<'_>],
) -> Result<Vec<Row>, Fault> {
    within(READ_PATIENCE, client.query_typed(text, parameters)).await
}
