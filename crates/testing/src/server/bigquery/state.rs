//! What the server knows.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Instant,
};

use serde_json::{Map, Value, json};

use super::{
    BigQueryCall, BigQueryFault, DATASET, PROJECT,
    columns::{Column, columns},
    oauth::Signer,
};

/// What the server knows.
#[derive(Debug)]
pub(super) struct State {
    pub(super) endpoint: String,
    pub(super) signer: Signer,
    /// Until when each is good.
    pub(super) tokens: HashMap<String, Instant>,
    pub(super) token_lifetime: u64,
    pub(super) tables: HashMap<String, Table>,
    pub(super) streams: HashMap<String, WriteStream>,
    pub(super) faults: HashMap<BigQueryCall, VecDeque<BigQueryFault>>,
    pub(super) calls: HashMap<BigQueryCall, usize>,
    /// Columns and the values that are refused there.
    pub(super) refused: Vec<(String, Value)>,
    pub(super) violations: Vec<String>,
    next: u64,
}

/// A table.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) resource: Value,
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Map<String, Value>>,
    pub(super) insert_ids: HashSet<String>,
}

/// A stream that a client has made.
#[derive(Debug)]
pub(super) struct WriteStream {
    pub(super) table: String,
    pub(super) is_pending: bool,
    /// How many rows were appended.
    pub(super) count: i64,
    /// Those that cannot be read yet.
    pub(super) pending: Vec<Map<String, Value>>,
    pub(super) is_finalized: bool,
    pub(super) is_committed: bool,
}

impl State {
    pub(super) fn new(endpoint: String, key: &str) -> Self {
        Self {
            endpoint,
            signer: Signer::read(key),
            tokens: HashMap::new(),
            token_lifetime: 3600,
            tables: HashMap::new(),
            streams: HashMap::new(),
            faults: HashMap::new(),
            calls: HashMap::new(),
            refused: Vec::new(),
            violations: Vec::new(),
            next: 0,
        }
    }

    /// A number that was not given before.
    pub(super) fn next(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Counts a call, and says how it is to fail.
    pub(super) fn called(&mut self, call: BigQueryCall) -> Option<BigQueryFault> {
        *self.calls.entry(call).or_default() += 1;
        self.faults.get_mut(&call)?.pop_front()
    }

    /// Whether this is the value of `Authorization` of somebody who may ask.
    pub(super) fn is_authorized(&self, header: Option<&str>) -> bool {
        let token = header.and_then(|header| header.strip_prefix("Bearer "));
        let until = token.and_then(|token| self.tokens.get(token));
        until.is_some_and(|until| Instant::now() < *until)
    }

    /// Makes a table as `tables.insert` does; or why not.
    pub(super) fn create_table(&mut self, name: &str, mut resource: Value) -> Result<(), String> {
        let columns = columns(&resource["schema"])?;
        if let Some(partitioning) = resource.get("timePartitioning") {
            let field = partitioning["field"].as_str().ok_or("timePartitioning has no field")?;
            if partitioning["type"] != "DAY" {
                return Err("timePartitioning.type is none that is known".to_owned());
            }
            if !columns.iter().any(|column| column.name == field && column.kind == "TIMESTAMP") {
                return Err(format!("the partitioning field {field} is no TIMESTAMP"));
            }
        }
        if let Some(clustering) = resource.get("clustering") {
            let fields = clustering["fields"].as_array().ok_or("clustering has no fields")?;
            let is_known = |field: &Value| columns.iter().any(|column| *field == *column.name);
            if fields.is_empty() || fields.len() > 4 || !fields.iter().all(is_known) {
                return Err("clustering.fields are not 1 to 4 columns".to_owned());
            }
        }
        resource["type"] = json!("TABLE");
        resource["etag"] = json!(format!("etag-{}", self.next()));
        resource["tableReference"] =
            json!({ "projectId": PROJECT, "datasetId": DATASET, "tableId": name });
        let (rows, insert_ids) = (Vec::new(), HashSet::new());
        self.tables.insert(name.to_owned(), Table { resource, columns, rows, insert_ids });
        Ok(())
    }

    /// Why a row is refused on demand.
    pub(super) fn refusal(&self, row: &Map<String, Value>) -> Option<String> {
        let mut refused = self.refused.iter();
        let (column, _) = refused.find(|(column, value)| row.get(column) == Some(value))?;
        Some(format!("the value of {column} is refused"))
    }
}
