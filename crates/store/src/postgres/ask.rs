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

/// What is equal to any value of a parameter. The planner does not look into the array, which would
/// take it longer than finding the rows does.
pub(super) fn any_of(number: usize, of_type: &str) -> String {
    format!("= ANY ((SELECT ${number}::{of_type}[])::{of_type}[])")
}

/// Asks once. The types are said so that it takes one round trip.
pub(super) async fn ask(
    client: &Client,
    text: &str,
    parameters: &[Parameter<'_>],
) -> Result<Vec<Row>, Fault> {
    within(READ_PATIENCE, client.query_typed(text, parameters)).await
}
