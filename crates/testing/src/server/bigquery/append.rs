//! `AppendRows`: rows of protobuf, checked against the table and taken in the order of a stream.

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use serde_json::{Map, Value};

use super::{
    columns::{Column, missing, moment},
    grpc::{
        ALREADY_EXISTS, INVALID_ARGUMENT, NOT_FOUND, OUT_OF_RANGE, no_stream, status,
        storage_status,
    },
    message::{
        AppendResult, AppendRowsRequest, AppendRowsResponse, FieldDescriptorProto, Int64Value,
        RowError, Status, StorageErrorCode,
    },
    state::State,
};

const MOST_BYTES: usize = 10 * 1000 * 1000;
const TYPE_INT64: i32 = 3;
const TYPE_STRING: i32 = 9;

/// One call: the stream, and what its rows look like.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) stream: String,
    fields: Vec<Field>,
}

#[derive(Debug)]
struct Field {
    number: u32,
    wire_type: WireType,
    column: Column,
}

impl Session {
    /// What the first request says.
    pub(super) fn open(state: &State, request: &AppendRowsRequest) -> Result<Self, Status> {
        let name = &request.write_stream;
        let stream = state.streams.get(name).ok_or_else(|| no_stream(name))?;
        let table = state.tables.get(&stream.table).ok_or_else(|| {
            storage_status(NOT_FOUND, StorageErrorCode::TableNotFound, name, "Table is not found")
        })?;
        let invalid = |reason: String| status(INVALID_ARGUMENT, reason);
        let data = request.proto_rows.as_ref();
        let schema = data.and_then(|data| data.writer_schema.as_ref()?.proto_descriptor.as_ref());
        let schema = schema.ok_or_else(|| invalid("the first request has no schema".to_owned()))?;
        if schema.name.as_deref().unwrap_or_default().is_empty() || !schema.nested_type.is_empty() {
            return Err(invalid("the descriptor has no name, or what is not needed".to_owned()));
        }
        let mut fields = Vec::<Field>::new();
        for descriptor in &schema.field {
            let field = field(descriptor, &table.columns)?;
            if fields.iter().any(|f| f.number == field.number || f.column == field.column) {
                return Err(invalid(format!("the field {} is there twice", field.column.name)));
            }
            fields.push(field);
        }
        let mut columns = table.columns.iter().filter(|column| column.is_required);
        let is_there = |column: &Column| fields.iter().any(|field| field.column == *column);
        if let Some(column) = columns.find(|column| !is_there(column)) {
            return Err(invalid(format!("the required field {} is missing", column.name)));
        }
        Ok(Self { stream: name.clone(), fields })
    }

    /// Takes the rows of a request: all of them or none.
    pub(super) fn append(
        &self,
        state: &mut State,
        request: &AppendRowsRequest,
        size: usize,
    ) -> Result<AppendRowsResponse, Status> {
        let name = &self.stream;
        let invalid = |reason: String| status(INVALID_ARGUMENT, reason);
        if size >= MOST_BYTES {
            return Err(invalid(format!("AppendRows request too large: {size}")));
        }
        if !request.write_stream.is_empty() && request.write_stream != *name {
            return Err(invalid("the stream is another one than before".to_owned()));
        }
        let rows = request.proto_rows.as_ref().and_then(|data| data.rows.as_ref());
        let rows = rows.map(|rows| rows.serialized_rows.as_slice()).unwrap_or_default();
        if rows.is_empty() {
            return Err(invalid("a request without rows".to_owned()));
        }
        let stream = state.streams.get(name).ok_or_else(|| no_stream(name))?;
        let answer = |append_result, error, row_errors| AppendRowsResponse {
            append_result,
            error,
            row_errors,
            write_stream: name.clone(),
        };
        let refused = |status| Ok(answer(None, Some(status), Vec::new()));
        if stream.is_finalized {
            let code = StorageErrorCode::StreamFinalized;
            return refused(storage_status(INVALID_ARGUMENT, code, name, "Stream is finalized"));
        }
        let end = stream.count;
        let offset = request.offset.as_ref().map_or(end, |offset| offset.value);
        if offset < end {
            let code = StorageErrorCode::OffsetAlreadyExists;
            let message = format!("The offset is within stream, expected offset {end}");
            return refused(storage_status(ALREADY_EXISTS, code, name, &message));
        }
        if offset > end {
            let code = StorageErrorCode::OffsetOutOfRange;
            let message = format!("The offset is beyond stream, expected offset {end}");
            return refused(storage_status(OUT_OF_RANGE, code, name, &message));
        }
        let mut taken = Vec::new();
        let mut row_errors = Vec::new();
        for (index, row) in (0..).zip(rows) {
            let read =
                self.read(row).map_err(|reason| invalid(format!("row {index}: {reason}")))?;
            match read.and_then(|row| state.refusal(&row).map_or(Ok(row), Err)) {
                Ok(row) => taken.push(row),
                Err(message) => row_errors.push(RowError { index, code: 1, message }),
            }
        }
        if !row_errors.is_empty() {
            let error = status(INVALID_ARGUMENT, "Errors found while processing rows.");
            return Ok(answer(None, Some(error), row_errors));
        }
        let Some(stream) = state.streams.get_mut(name) else { return Err(no_stream(name)) };
        let Some(table) = state.tables.get_mut(&stream.table) else {
            let code = StorageErrorCode::TableNotFound;
            return Err(storage_status(NOT_FOUND, code, name, "Table is not found"));
        };
        stream.count += i64::try_from(taken.len()).unwrap_or(i64::MAX);
        if stream.is_pending {
            stream.pending.append(&mut taken);
        } else {
            table.rows.append(&mut taken);
        }
        let result = AppendResult { offset: Some(Int64Value { value: offset }) };
        Ok(answer(Some(result), None, Vec::new()))
    }

    /// A row; or why its values do not fit; or why it is no message at all.
    fn read(&self, mut message: &[u8]) -> Result<Result<Map<String, Value>, String>, String> {
        let mut row = Map::new();
        let mut wrong = None;
        while !message.is_empty() {
            let (number, wire_type) = decode_key(&mut message).map_err(|e| e.to_string())?;
            let Some(field) = self.fields.iter().find(|field| field.number == number) else {
                skip_field(wire_type, number, &mut message, DecodeContext::default())
                    .map_err(|error| error.to_string())?;
                return Err(format!("the field {number} is not in the descriptor"));
            };
            if wire_type != field.wire_type {
                return Err(format!("the field {number} is not of the type in the descriptor"));
            }
            let varint = decode_varint(&mut message).map_err(|error| error.to_string())?;
            let value = if wire_type == WireType::Varint {
                let integer = varint.cast_signed();
                if field.column.kind == "TIMESTAMP" { moment(integer) } else { Ok(integer.into()) }
            } else {
                let length = usize::try_from(varint).map_err(|error| error.to_string())?;
                let (text, rest) =
                    message.split_at_checked(length).ok_or("a field is cut short")?;
                message = rest;
                let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
                Ok(text.into())
            };
            match value {
                Ok(value) => {
                    if row.insert(field.column.name.clone(), value).is_some() {
                        return Err(format!("the field {number} is there twice"));
                    }
                }
                Err(reason) => wrong = wrong.or(Some(reason)),
            }
        }
        let columns = self.fields.iter().map(|field| field.column.clone()).collect::<Vec<_>>();
        let wrong = wrong.or_else(|| missing(&columns, &row).map(|(_, reason)| reason));
        Ok(wrong.map_or(Ok(row), Err))
    }
}

fn field(descriptor: &FieldDescriptorProto, columns: &[Column]) -> Result<Field, Status> {
    let invalid = |reason: &str| status(INVALID_ARGUMENT, format!("{reason}: {descriptor:?}"));
    let name = descriptor.name.as_deref().unwrap_or_default();
    let found = columns.iter().find(|column| column.name.eq_ignore_ascii_case(name));
    let column = found.cloned().ok_or_else(|| {
        let code = StorageErrorCode::SchemaMismatchExtraFields;
        let message = format!("Input schema has more fields than BigQuery schema, extra: '{name}'");
        storage_status(INVALID_ARGUMENT, code, name, &message)
    })?;
    // 19000 to 19999 are the implementation's own.
    let number = descriptor.number.and_then(|number| u32::try_from(number).ok());
    let number = number.filter(|n| (1..=536_870_911).contains(n) && !(19_000..20_000).contains(n));
    let number = number.ok_or_else(|| invalid("a field has no number that is allowed"))?;
    let label = descriptor.label.unwrap_or_default();
    if !(label == 1 || label == 2 || label == 3 && column.is_repeated) {
        return Err(invalid("the label of a field does not fit its column"));
    }
    if descriptor.type_name.is_some() {
        return Err(invalid("a field of a plain type has a type name"));
    }
    let wire_type = match (descriptor.field_type, column.kind.as_str()) {
        (Some(TYPE_STRING), "STRING") => WireType::LengthDelimited,
        (Some(TYPE_INT64), "INTEGER" | "TIMESTAMP") => WireType::Varint,
        _ => return Err(invalid("the type of a field does not fit its column")),
    };
    Ok(Field { number, wire_type, column })
}
