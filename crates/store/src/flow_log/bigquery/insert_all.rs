//! Rows through `tabledata.insertAll` of the REST API, with their ids, by which BigQuery recognises
//! for about a minute what it has taken already.

use std::collections::BTreeSet;

use hyper::Method;
use uuid::Uuid;

use super::{
    config::BigQueryConfig,
    fault::Fault,
    request::{chunk, insert_all_body, json_row},
    rest::{ErrorProto, Inserted, Rest},
    token::Tokens,
};
use crate::flow_log::{FlowBatch, Refusals};

/// How often rows are sent again that were not taken because of others.
const ATTEMPTS: u32 = 3;

/// Rows on their way into one table.
#[derive(Debug)]
pub(super) struct InsertAll {
    path: String,
    /// Of the batch that failed last: its run and number, and which of its records are done with.
    unfinished: Option<(Uuid, u64, BTreeSet<usize>)>,
}

impl InsertAll {
    pub(super) fn new(config: &BigQueryConfig) -> Self {
        let BigQueryConfig { project, dataset, table, .. } = config;
        let path = format!("projects/{project}/datasets/{dataset}/tables/{table}/insertAll");
        Self { path, unfinished: None }
    }

    /// Stores all of `batch`, but for rows that are told in `refusals`.
    pub(super) async fn write(
        &mut self,
        rest: &mut Rest,
        tokens: &mut Tokens,
        batch: &FlowBatch,
        refusals: &mut Refusals,
    ) -> Result<(), Fault> {
        let name = (batch.run, batch.sequence);
        let mut settled = match self.unfinished.take() {
            Some((run, sequence, settled)) if (run, sequence) == name => settled,
            _ => BTreeSet::new(),
        };
        let written = self.settle(rest, tokens, batch, &mut settled, refusals).await;
        if written.is_err() {
            self.unfinished = Some((batch.run, batch.sequence, settled));
        }
        written
    }

    async fn settle(
        &self,
        rest: &mut Rest,
        tokens: &mut Tokens,
        batch: &FlowBatch,
        settled: &mut BTreeSet<usize>,
        refusals: &mut Refusals,
    ) -> Result<(), Fault> {
        let mut attempts = 0;
        loop {
            let chunk = chunk(&batch.records, 0, None, |index| settled.contains(&index), json_row);
            for &index in &chunk.too_large {
                settled.insert(index);
                refusals.add("a row is too large for BigQuery");
            }
            if chunk.rows.is_empty() {
                return Ok(());
            }
            let body = insert_all_body(&chunk.rows);
            let inserted: Inserted =
                rest.ask(tokens, &Method::POST, &self.path, None, &body).await?;
            let mut again = None;
            let mut waiting = BTreeSet::new();
            for row in inserted.insert_errors {
                let Some(&record) = chunk.records.get(row.index) else { continue };
                match row.errors.into_iter().find(|error| error.reason != "stopped") {
                    // The row is as it should be, and the table is not any more.
                    Some(error) if error.message.starts_with("no such field") => {
                        waiting.insert(record);
                        again = Some(Fault::Conflict(told(&error)));
                    }
                    Some(error) if error.reason == "invalid" => {
                        if settled.insert(record) {
                            refusals.add(&told(&error));
                        }
                    }
                    error => {
                        waiting.insert(record);
                        again = again.or(error.map(|error| Fault::Busy(told(&error))));
                    }
                }
            }
            settled.extend(chunk.records.iter().filter(|record| !waiting.contains(record)));
            attempts = if waiting.is_empty() { 0 } else { attempts + 1 };
            match again {
                Some(fault) => return Err(fault),
                None if attempts == ATTEMPTS => {
                    return Err(Fault::Busy("rows are not taken because of others".to_owned()));
                }
                None => {}
            }
        }
    }
}

fn told(error: &ErrorProto) -> String {
    let ErrorProto { reason, location, message } = error;
    match location.as_str() {
        "" => format!("{reason}: {message}"),
        column => format!("{reason}: column {column}: {message}"),
    }
}
