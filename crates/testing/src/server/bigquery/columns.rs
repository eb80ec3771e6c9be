//! Columns of tables, and values for them.

use serde_json::{Map, Value};

/// The first and the last moment that a TIMESTAMP can be, in microseconds since 1970.
const MOMENTS: std::ops::RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_999_999;

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    /// In the names of old: `INTEGER` for `INT64`.
    pub(super) kind: String,
    pub(super) is_required: bool,
    pub(super) is_repeated: bool,
}

/// The columns of a `TableSchema`; or what is wrong with it.
pub(super) fn columns(schema: &Value) -> Result<Vec<Column>, String> {
    let fields = schema["fields"].as_array().ok_or("the schema has no fields")?;
    let mut columns = Vec::<Column>::new();
    for field in fields {
        let field = field.as_object().ok_or("a field is no object")?;
        let known = ["name", "type", "mode", "description", "policyTags", "defaultValueExpression"];
        if let Some(key) = field.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(format!("Unknown name \"{key}\" at 'table.schema.fields'"));
        }
        let text = |key| field.get(key).and_then(Value::as_str);
        let name = text("name").ok_or("a field has no name")?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || name.len() > 300 || !name.chars().all(is_name) {
            return Err(format!("Invalid field name \"{name}\""));
        }
        if text("description").is_some_and(|text| text.len() > 1024) {
            return Err(format!("the description of {name} is too long"));
        }
        if columns.iter().any(|column| column.name.eq_ignore_ascii_case(name)) {
            return Err(format!("Duplicate field {name}"));
        }
        let kind = match text("type").ok_or("a field has no type")? {
            "INTEGER" | "INT64" => "INTEGER",
            "FLOAT" | "FLOAT64" => "FLOAT",
            "BOOLEAN" | "BOOL" => "BOOLEAN",
            kind @ ("STRING" | "BYTES" | "TIMESTAMP" | "DATE" | "JSON" | "NUMERIC") => kind,
            kind => return Err(format!("Invalid value for type: {kind} is not a valid value")),
        };
        let mode = text("mode").unwrap_or("NULLABLE");
        if !matches!(mode, "NULLABLE" | "REQUIRED" | "REPEATED") {
            return Err(format!("Invalid value for mode: {mode} is not a valid value"));
        }
        columns.push(Column {
            name: name.to_owned(),
            kind: kind.to_owned(),
            is_required: mode == "REQUIRED",
            is_repeated: mode == "REPEATED",
        });
    }
    if columns.is_empty() {
        return Err("the schema has no fields".to_owned());
    }
    Ok(columns)
}

/// What is wrong with a whole row, if anything is: the column and why.
pub(super) fn missing(columns: &[Column], row: &Map<String, Value>) -> Option<(String, String)> {
    let column = columns.iter().find(|c| c.is_required && !row.contains_key(&c.name))?;
    Some((column.name.clone(), format!("Missing required field: {}.", column.name)))
}

/// A number for a TIMESTAMP.
pub(super) fn moment(microseconds: i64) -> Result<Value, String> {
    if MOMENTS.contains(&microseconds) {
        Ok(microseconds.into())
    } else {
        Err(format!("the timestamp {microseconds} is out of range"))
    }
}

/// A value as the REST API takes it for a column, in the form in which rows are kept.
pub(super) fn value(column: &Column, value: &Value) -> Result<Value, String> {
    let invalid = || format!("Cannot convert value to {}: {value}", column.kind);
    match (column.kind.as_str(), value) {
        (_, Value::Null) if !column.is_required => Ok(Value::Null),
        ("STRING", Value::String(_)) => Ok(value.clone()),
        ("INTEGER", Value::String(text)) => {
            text.parse::<i64>().map(Value::from).map_err(|_| invalid())
        }
        ("INTEGER", Value::Number(number)) => number.as_i64().map(Value::from).ok_or_else(invalid),
        ("TIMESTAMP", Value::String(text)) => {
            let parsed: jiff::Timestamp = text.parse().map_err(|_| invalid())?;
            moment(parsed.as_microsecond())
        }
        _ => Err(invalid()),
    }
}
