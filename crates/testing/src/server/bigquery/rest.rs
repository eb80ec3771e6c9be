//! The REST API (version 2), and the other things that are asked for over HTTP/1.1.

use http_body_util::BodyExt as _;
use hyper::{
    HeaderMap, Method, Request, Response,
    body::{Bytes, Incoming},
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, IF_MATCH},
};
use serde_json::{Map, Value, json};

use super::{
    BigQueryCall, BigQueryFault, DATASET, PROJECT,
    columns::{columns, missing, value},
    connection::{Body, Context, full},
    oauth,
    state::{State, Table},
};

/// What one request may hold.
const MOST_BYTES: usize = 10 * 1000 * 1000;
const MOST_ROWS: usize = 50_000;

/// What a request is about.
enum Route<'a> {
    Token,
    MachineToken,
    Tables,
    Table(&'a str),
    InsertAll(&'a str),
}

/// An error of the API: its status, its reason and its message.
type Refusal = (u16, &'static str, String);

pub(super) async fn answer(request: Request<Incoming>, context: Context) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    if !parts.headers.contains_key(HOST) {
        context.violation("a request has no Host");
    }
    let path = parts.uri.path().to_owned();
    let Some((call, route)) = route(&parts.method, &path) else {
        let (method, uri) = (&parts.method, &parts.uri);
        context.violation(format!("{method} {uri} is no method of the API"));
        return refusal((404, "notFound", format!("{method} {uri}")));
    };
    let fault = context.state().called(call);
    if let Some(fault) = fault.filter(|fault| !fault.is_after()) {
        if fault.is_cut() {
            context.cut().await;
        }
        if let Some(mut refused) = refused_on_demand(fault) {
            if call == BigQueryCall::Token && fault == BigQueryFault::RateLimited {
                refused.0 = 429;
            }
            return refusal(refused);
        }
    }
    let done = answer_now(&mut context.state(), &route, &parts.headers, &body, fault);
    match fault {
        Some(BigQueryFault::Slow(time)) => tokio::time::sleep(time).await,
        Some(fault) if fault.is_cut() => {
            context.cut().await;
        }
        Some(BigQueryFault::UnavailableAfter) => {
            return refusal((503, "backendError", "it was done all the same".to_owned()));
        }
        _ => {}
    }
    match done {
        Ok((status, value)) => json_answer(status, &value),
        Err(refused) => {
            if refused.1 == "badRequest" {
                context.violation(refused.2.clone());
            }
            refusal(refused)
        }
    }
}

fn route<'a>(method: &Method, path: &'a str) -> Option<(BigQueryCall, Route<'a>)> {
    match (method.as_str(), path) {
        ("POST", "/token") => return Some((BigQueryCall::Token, Route::Token)),
        ("GET", "/computeMetadata/v1/instance/service-accounts/default/token") => {
            return Some((BigQueryCall::Token, Route::MachineToken));
        }
        _ => {}
    }
    let dataset = format!("/bigquery/v2/projects/{PROJECT}/datasets/");
    let rest = path.strip_prefix(&dataset)?;
    let parts: Vec<_> = rest.split('/').collect();
    Some(match (method.as_str(), &*parts) {
        ("POST", [_, "tables"]) => (BigQueryCall::InsertTable, Route::Tables),
        ("GET", [DATASET, "tables", table]) => (BigQueryCall::GetTable, Route::Table(table)),
        // A dataset that is not there has no tables either.
        ("GET", [_, "tables", _]) => (BigQueryCall::GetTable, Route::Table("")),
        ("PATCH", [DATASET, "tables", table]) => (BigQueryCall::PatchTable, Route::Table(table)),
        ("POST", [DATASET, "tables", table, "insertAll"]) => {
            (BigQueryCall::InsertAll, Route::InsertAll(table))
        }
        _ => return None,
    })
}

fn answer_now(
    state: &mut State,
    route: &Route<'_>,
    headers: &HeaderMap,
    body: &Bytes,
    fault: Option<BigQueryFault>,
) -> Result<(u16, Value), Refusal> {
    let text = |name: &hyper::header::HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
    let bad = |reason: String| (400, "badRequest", reason);
    match route {
        Route::Token => {
            if text(&CONTENT_TYPE) != Some("application/x-www-form-urlencoded") {
                return Err(bad("a form has to be sent to the token endpoint".to_owned()));
            }
            return Ok(oauth::grant(state, body));
        }
        Route::MachineToken => {
            if headers.get("metadata-flavor") != Some(&HeaderValue::from_static("Google")) {
                return Err((
                    403,
                    "forbidden",
                    "Missing Metadata-Flavor:Google header.".to_owned(),
                ));
            }
            return Ok(oauth::granted(state));
        }
        _ => {}
    }
    if !state.is_authorized(text(&AUTHORIZATION)) {
        return Err((401, "authError", "Request had invalid authentication credentials.".into()));
    }
    if body.len() >= MOST_BYTES {
        return Err((413, "badRequest", "Request payload size exceeds the limit".to_owned()));
    }
    let sent: Value = if body.is_empty() {
        Value::Null
    } else if text(&CONTENT_TYPE).is_some_and(|kind| kind.starts_with("application/json")) {
        serde_json::from_slice(body).map_err(|error| bad(format!("Parse Error: {error}")))?
    } else {
        return Err(bad("the body is not declared to be JSON".to_owned()));
    };
    let missing =
        |name: &str| (404, "notFound", format!("Not found: Table {PROJECT}:{DATASET}.{name}"));
    match route {
        Route::Token | Route::MachineToken => Err(bad(String::new())),
        Route::Tables => {
            let reference = &sent["tableReference"];
            if reference["projectId"] != PROJECT {
                return Err(bad("tableReference.projectId is not that of the path".to_owned()));
            }
            if reference["datasetId"] != DATASET {
                let dataset = format!("Not found: Dataset {PROJECT}:{}", reference["datasetId"]);
                return Err((404, "notFound", dataset));
            }
            let name = reference["tableId"].as_str().unwrap_or_default().to_owned();
            let known =
                ["tableReference", "description", "schema", "timePartitioning", "clustering"];
            unknown_name(&sent, &known).map_err(bad)?;
            if state.tables.contains_key(&name) {
                return Err((409, "duplicate", format!("Already Exists: Table {name}")));
            }
            state.create_table(&name, sent).map_err(bad)?;
            Ok((200, state.tables[&name].resource.clone()))
        }
        Route::Table(name) if sent.is_null() => {
            let table = state.tables.get(*name).ok_or_else(|| missing(name))?;
            Ok((200, table.resource.clone()))
        }
        Route::Table(name) => {
            let next = state.next();
            let table = state.tables.get_mut(*name).ok_or_else(|| missing(name))?;
            patch(table, next, text(&IF_MATCH), &sent)?;
            Ok((200, table.resource.clone()))
        }
        Route::InsertAll(name) => {
            if !state.tables.contains_key(*name) {
                return Err(missing(name));
            }
            insert_all(state, name, &sent, fault)
        }
    }
}

fn unknown_name(value: &Value, known: &[&str]) -> Result<(), String> {
    let object = value.as_object().ok_or("the body is no object")?;
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(format!("Unknown name \"{key}\"")),
        None => Ok(()),
    }
}

/// Only the schema can be changed, and columns only added.
fn patch(table: &mut Table, next: u64, etag: Option<&str>, sent: &Value) -> Result<(), Refusal> {
    if etag.is_some_and(|etag| table.resource["etag"] != etag) {
        return Err((412, "conditionNotMet", "Precondition Failed".to_owned()));
    }
    let bad = |reason: String| (400, "badRequest", reason);
    unknown_name(sent, &["schema"]).map_err(bad)?;
    let new = columns(&sent["schema"]).map_err(bad)?;
    for column in &table.columns {
        if !new.contains(column) {
            let name = &column.name;
            return Err((400, "invalid", format!("Provided Schema does not match: {name}")));
        }
    }
    for column in &new {
        if column.is_required && !table.columns.contains(column) {
            let name = &column.name;
            return Err((400, "invalid", format!("Cannot add required columns: {name}")));
        }
    }
    table.resource["schema"] = sent["schema"].clone();
    table.resource["etag"] = json!(format!("etag-{next}"));
    table.columns = new;
    Ok(())
}

fn insert_all(
    state: &mut State,
    name: &str,
    sent: &Value,
    fault: Option<BigQueryFault>,
) -> Result<(u16, Value), Refusal> {
    let bad = |reason: String| (400, "badRequest", reason);
    unknown_name(sent, &["kind", "skipInvalidRows", "ignoreUnknownValues", "rows"]).map_err(bad)?;
    let skips_invalid = sent["skipInvalidRows"] == true;
    let rows = sent["rows"].as_array().ok_or_else(|| bad("there are no rows".to_owned()))?;
    if rows.is_empty() || rows.len() > MOST_ROWS {
        return Err((400, "invalid", format!("{} rows are none or too many", rows.len())));
    }
    let table = &state.tables[name];
    let mut taken = Vec::new();
    let mut errors = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        unknown_name(row, &["insertId", "json"]).map_err(bad)?;
        let id = row["insertId"].as_str().unwrap_or_default();
        if id.is_empty() || id.len() > 128 {
            return Err(bad(format!("insertId of row {index} is not of 1 to 128 characters")));
        }
        let row = row["json"].as_object().ok_or_else(|| bad("json is no object".to_owned()))?;
        match read(table, row) {
            Err((column, reason)) => errors.push(error(index, "invalid", &column, &reason)),
            Ok(row) => match state.refusal(&row) {
                Some(reason) => errors.push(error(index, "invalid", "", &reason)),
                None => match fault {
                    Some(BigQueryFault::Stopped) => errors.push(error(index, "stopped", "", "")),
                    Some(BigQueryFault::Partial) if index % 2 == 1 => {
                        errors.push(error(index, "backendError", "", "try again"));
                    }
                    _ => taken.push((index, id.to_owned(), row)),
                },
            },
        }
    }
    if !skips_invalid && errors.iter().any(|error| error["errors"][0]["reason"] == "invalid") {
        errors.extend(taken.drain(..).map(|(index, ..)| error(index, "stopped", "", "")));
    }
    if let Some(table) = state.tables.get_mut(name) {
        for (_, id, row) in taken {
            if table.insert_ids.insert(id) {
                table.rows.push(row);
            }
        }
    }
    let mut answer = json!({ "kind": "bigquery#tableDataInsertAllResponse" });
    if !errors.is_empty() {
        answer["insertErrors"] = errors.into();
    }
    Ok((200, answer))
}

fn read(table: &Table, row: &Map<String, Value>) -> Result<Map<String, Value>, (String, String)> {
    let mut kept = Map::new();
    for (key, sent) in row {
        let mut columns = table.columns.iter();
        let column = columns
            .find(|column| column.name.eq_ignore_ascii_case(key))
            .ok_or_else(|| (key.clone(), format!("no such field: {key}.")))?;
        let value = value(column, sent).map_err(|reason| (key.clone(), reason))?;
        if !value.is_null() {
            kept.insert(column.name.clone(), value);
        }
    }
    missing(&table.columns, &kept).map_or(Ok(kept), Err)
}

fn error(index: usize, reason: &str, location: &str, message: &str) -> Value {
    let error = json!({
        "reason": reason, "location": location, "debugInfo": "", "message": message,
    });
    json!({ "index": index, "errors": [error] })
}

fn refused_on_demand(fault: BigQueryFault) -> Option<Refusal> {
    let (status, reason) = match fault {
        BigQueryFault::Unauthenticated => (401, "authError"),
        BigQueryFault::Denied => (403, "accessDenied"),
        BigQueryFault::RateLimited => (403, "rateLimitExceeded"),
        BigQueryFault::TooMany => (429, "rateLimitExceeded"),
        BigQueryFault::Unavailable => (503, "backendError"),
        _ => return None,
    };
    Some((status, reason, "on demand".to_owned()))
}

fn refusal((status, reason, message): Refusal) -> Response<Body> {
    let error = json!({ "domain": "global", "reason": reason, "message": message });
    let error = json!({ "code": status, "message": message, "errors": [error] });
    json_answer(status, &json!({ "error": error }))
}

fn json_answer(status: u16, value: &Value) -> Response<Body> {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "application/json; charset=UTF-8")
        .body(full(value.to_string()))
        .expect("a status that there is")
}
