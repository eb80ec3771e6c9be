//! The table: made when it is not there, checked and given columns when it is.

use bytes::Bytes;
use hyper::Method;
use serde_json::{Map, Value, json};

use super::{
    config::BigQueryConfig,
    fault::Fault,
    rest::{Field, Rest, Schema, Table},
    token::Tokens,
};
use crate::flow_log::{COLUMNS, Column, ColumnType};

/// How often others may come in between.
const ATTEMPTS: u32 = 5;

/// Sees to it that the table is there and has every column.
pub(super) async fn ensure(
    rest: &mut Rest,
    tokens: &mut Tokens,
    config: &BigQueryConfig,
) -> Result<(), Fault> {
    let tables = format!("projects/{}/datasets/{}/tables", config.project, config.dataset);
    let path = format!("{tables}/{}", config.table);
    let mut last = Fault::Silent;
    for _ in 0..ATTEMPTS {
        let found = rest.ask::<Table>(tokens, &Method::GET, &path, None, &Bytes::new()).await;
        let changed = match found {
            Err(Fault::Missing(_)) => {
                let body = definition(config).to_string().into();
                rest.ask::<Table>(tokens, &Method::POST, &tables, None, &body).await
            }
            Err(fault) => return Err(fault),
            Ok(table) => match completed(&table)? {
                None => return Ok(()),
                Some(schema) => {
                    let body = json!({ "schema": schema }).to_string().into();
                    rest.ask(tokens, &Method::PATCH, &path, table.etag.as_deref(), &body).await
                }
            },
        };
        match changed {
            Ok(_) => return Ok(()),
            // Somebody was quicker: what is there now is looked at.
            Err(fault @ Fault::Conflict(_)) => last = fault,
            Err(fault) => return Err(fault),
        }
    }
    Err(last)
}

/// A new table.
fn definition(config: &BigQueryConfig) -> Value {
    let fields: Vec<_> = COLUMNS.iter().map(|column| field(column, column.is_nullable)).collect();
    json!({
        "tableReference": {
            "projectId": config.project,
            "datasetId": config.dataset,
            "tableId": config.table,
        },
        "description": "Flow logs of Netglass.",
        "schema": { "fields": fields },
        "timePartitioning": { "type": "DAY", "field": "first_seen_at" },
        "clustering": { "fields": ["src_addr", "dst_addr"] },
    })
}

fn field(column: &Column, is_nullable: bool) -> Field {
    let mut rest = Map::new();
    rest.insert("description".to_owned(), column.description.into());
    let mode = if is_nullable { "NULLABLE" } else { "REQUIRED" };
    Field {
        name: column.name.to_owned(),
        kind: type_name(column.column_type).to_owned(),
        mode: Some(mode.to_owned()),
        rest,
    }
}

fn type_name(column_type: ColumnType) -> &'static str {
    match column_type {
        ColumnType::String => "STRING",
        ColumnType::Integer => "INTEGER",
        ColumnType::Timestamp => "TIMESTAMP",
    }
}

/// The schema with the columns that `table` lacks; none where it has all. An error where it has a
/// column that does not fit.
fn completed(table: &Table) -> Result<Option<Schema>, Fault> {
    if let Some(kind) = table.kind.as_deref().filter(|kind| *kind != "TABLE") {
        return Err(Fault::Setup(format!(
            "it is a {kind} and no table that can be written; name another one with --bq-table"
        )));
    }
    let mut schema = table.schema.clone();
    for column in &COLUMNS {
        // Names are the same whatever their case.
        let mut fields = table.schema.fields.iter();
        match fields.find(|field| field.name.eq_ignore_ascii_case(column.name)) {
            Some(field) => check(column, field)?,
            // To a table that has rows no column can be added that must have a value.
            None => schema.fields.push(field(column, true)),
        }
    }
    for field in &table.schema.fields {
        let is_ours = COLUMNS.iter().any(|column| field.name.eq_ignore_ascii_case(column.name));
        let has_default = field.rest.contains_key("defaultValueExpression");
        if !is_ours && !has_default && mode(field) == "REQUIRED" {
            return Err(Fault::Setup(format!(
                "its column {}, which Netglass does not know, must have a value; make it NULLABLE, \
                 or name another table with --bq-table",
                field.name
            )));
        }
    }
    Ok((schema.fields.len() > table.schema.fields.len()).then_some(schema))
}

fn check(column: &Column, field: &Field) -> Result<(), Fault> {
    let wanted = type_name(column.column_type);
    let found = match field.kind.as_str() {
        "INT64" => "INTEGER",
        kind => kind,
    };
    if found != wanted {
        return Err(unfit(field, &format!("is of type {found}"), wanted));
    }
    match mode(field) {
        "NULLABLE" => Ok(()),
        "REQUIRED" if !column.is_nullable => Ok(()),
        mode => {
            let wanted = if column.is_nullable { "NULLABLE" } else { "REQUIRED or NULLABLE" };
            Err(unfit(field, &format!("is {mode}"), wanted))
        }
    }
}

fn mode(field: &Field) -> &str {
    field.mode.as_deref().unwrap_or("NULLABLE")
}

fn unfit(field: &Field, found: &str, wanted: &str) -> Fault {
    Fault::Setup(format!(
        "its column {} {found}, and has to be {wanted}; change it, or name another table with \
         --bq-table",
        field.name
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(change: impl Fn(&mut Vec<Field>)) -> Table {
        let mut fields: Vec<_> =
            COLUMNS.iter().map(|column| field(column, column.is_nullable)).collect();
        change(&mut fields);
        Table { etag: None, kind: Some("TABLE".to_owned()), schema: Schema { fields } }
    }

    #[test]
    fn a_table_as_we_make_it_is_left_as_it_is() {
        assert!(completed(&table(|_| {})).unwrap().is_none());
        let aliases = table(|fields| {
            for field in fields {
                field.name.make_ascii_uppercase();
                field.kind = field.kind.replace("INTEGER", "INT64");
                field.mode = None;
            }
        });
        assert!(completed(&aliases).unwrap().is_none());
    }

    #[test]
    fn what_is_missing_is_added_behind_all_others_and_may_be_null() {
        let mut other = field(&COLUMNS[0], true);
        other.name = "mine".to_owned();
        other.rest.insert("policyTags".to_owned(), json!({ "names": ["x"] }));
        let schema = completed(&table(|fields| {
            fields.remove(0);
            fields.push(other.clone());
        }));
        let fields = schema.unwrap().unwrap().fields;
        let [.., kept, added] = &*fields else { panic!("{fields:?}") };
        assert_eq!(serde_json::to_value(kept).unwrap(), serde_json::to_value(&other).unwrap());
        assert_eq!((&*added.name, mode(added)), (COLUMNS[0].name, "NULLABLE"));
    }

    #[test]
    fn a_column_that_does_not_fit_is_named() {
        let unfit = |change: fn(&mut Field)| {
            let table =
                table(|fields| change(fields.iter_mut().find(|f| f.name == "interface").unwrap()));
            match completed(&table) {
                Err(Fault::Setup(reason)) => reason,
                other => panic!("{other:?}"),
            }
        };
        let reason = unfit(|field| field.kind = "FLOAT".to_owned());
        assert!(
            reason.contains("column interface is of type FLOAT, and has to be STRING"),
            "{reason}"
        );
        let reason = unfit(|field| field.mode = Some("REPEATED".to_owned()));
        assert!(
            reason.contains("column interface is REPEATED, and has to be NULLABLE"),
            "{reason}"
        );
        let reason = unfit(|field| field.mode = Some("REQUIRED".to_owned()));
        assert!(reason.contains("column interface is REQUIRED"), "{reason}");
        let reason = unfit(|field| {
            field.name = "mine".to_owned();
            field.mode = Some("REQUIRED".to_owned());
        });
        assert!(reason.contains("column mine, which Netglass does not know"), "{reason}");
    }

    #[test]
    fn a_view_is_no_table() {
        let view = Table { kind: Some("VIEW".to_owned()), ..table(|_| {}) };
        assert!(matches!(completed(&view), Err(Fault::Setup(reason)) if reason.contains("VIEW")));
    }
}
