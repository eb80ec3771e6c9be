//! Rows as BigQuery takes them: as messages of protobuf with the description of those, or as JSON;
//! and as many of them as one request may hold.

use std::fmt::Write as _;

use bytes::{BufMut as _, Bytes, BytesMut};
use netglass_model::{FlowRecord, Timestamp};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};
use serde_json::{Map, json};

use super::message::{Descriptor, FieldDescriptor, FieldLabel, FieldType, ProtoSchema};
use crate::flow_log::{COLUMNS, ColumnType, Value};

/// A request of either kind has to be smaller than 10 MB; the rest of it besides rows is small.
pub(super) const MOST_BYTES: usize = 9_000_000;

/// As many rows `insertAll` takes in one request.
pub(super) const MOST_ROWS: usize = 50_000;

/// Rows that go together.
#[derive(Debug, Default)]
pub(super) struct Chunk<R> {
    pub(super) rows: Vec<R>,
    /// Of each row, which record of the batch it is.
    pub(super) records: Vec<usize>,
    /// The first record that is not in it, nor before it.
    pub(super) end: usize,
    /// Records that are too large for any request.
    pub(super) too_large: Vec<usize>,
}

/// The records from `start` on as rows, until one request is full or `end` is reached; without those
/// that `is_left_out` names.
pub(super) fn chunk<R: AsRef<[u8]>>(
    records: &[FlowRecord],
    start: usize,
    end: Option<usize>,
    is_left_out: impl Fn(usize) -> bool,
    encode: impl Fn(&FlowRecord) -> R,
) -> Chunk<R> {
    let end = end.unwrap_or(records.len());
    let mut chunk =
        Chunk { rows: Vec::new(), records: Vec::new(), end: start, too_large: Vec::new() };
    let mut bytes = 0;
    for (index, record) in records.iter().enumerate().take(end).skip(start) {
        if !is_left_out(index) {
            let row = encode(record);
            // Beside the row stands its length, or a comma.
            let size = row.as_ref().len() + 8;
            if size > MOST_BYTES {
                chunk.too_large.push(index);
            } else if bytes + size > MOST_BYTES || chunk.rows.len() == MOST_ROWS {
                return chunk;
            } else {
                bytes += size;
                chunk.rows.push(row);
                chunk.records.push(index);
            }
        }
        chunk.end = index + 1;
    }
    chunk
}

/// What the messages of [`message`] look like.
pub(super) fn schema() -> ProtoSchema {
    let fields = COLUMNS.iter().zip(1..).map(|(column, number)| FieldDescriptor {
        name: column.name.to_owned(),
        number,
        label: FieldLabel::Optional.into(),
        field_type: match column.column_type {
            ColumnType::String => FieldType::String,
            // A moment is microseconds since 1970.
            ColumnType::Integer | ColumnType::Timestamp => FieldType::Int64,
        }
        .into(),
    });
    let descriptor = Descriptor { name: "FlowRecord".to_owned(), field: fields.collect() };
    ProtoSchema { proto_descriptor: Some(descriptor) }
}

/// A record as a message of protobuf. proto2: what is zero is there, and what is null is not.
pub(super) fn message(record: &FlowRecord) -> Bytes {
    let mut message = BytesMut::with_capacity(256);
    let mut text = String::new();
    for (column, number) in COLUMNS.iter().zip(1..) {
        let Some(value) = column.value(record) else { continue };
        match value {
            Value::Integer(integer) => {
                encode_key(number, WireType::Varint, &mut message);
                encode_varint(integer.cast_unsigned(), &mut message);
            }
            Value::Timestamp(moment) => {
                encode_key(number, WireType::Varint, &mut message);
                encode_varint(microseconds(moment).cast_unsigned(), &mut message);
            }
            value => {
                text.clear();
                let _ = write!(text, "{value}");
                encode_key(number, WireType::LengthDelimited, &mut message);
                message.reserve(text.len() + encoded_len_varint(text.len() as u64));
                encode_varint(text.len() as u64, &mut message);
                message.put_slice(text.as_bytes());
            }
        }
    }
    message.freeze()
}

/// BigQuery keeps no more.
fn microseconds(moment: Timestamp) -> i64 {
    moment.as_nanoseconds().div_euclid(1000)
}

/// A record as one of the `rows` of `tabledata.insertAll`. The id of the row is the record's: rows
/// that come again with the same one are taken once, for a minute or so.
pub(super) fn json_row(record: &FlowRecord) -> String {
    let mut row = Map::new();
    for column in &COLUMNS {
        let value = match column.value(record) {
            // What is left out is null.
            None => continue,
            // As text, since numbers of JSON need not hold 64 bits.
            Some(Value::Integer(integer)) => integer.to_string(),
            Some(Value::Timestamp(moment)) => moment_text(moment),
            Some(value) => value.to_string(),
        };
        row.insert(column.name.to_owned(), value.into());
    }
    json!({ "insertId": record.id.to_string(), "json": row }).to_string()
}

fn moment_text(moment: Timestamp) -> String {
    let moment = jiff::Timestamp::from_microsecond(microseconds(moment));
    moment.map(|moment| format!("{moment:.6}")).unwrap_or_default()
}

/// The body of `tabledata.insertAll`.
pub(super) fn insert_all_body(rows: &[String]) -> Bytes {
    // Rows that are valid are taken although others are not.
    let (before, after) =
        ("{\"skipInvalidRows\":true,\"ignoreUnknownValues\":false,\"rows\":[", "]}");
    let size = rows.iter().map(|row| row.len() + 1).sum::<usize>() + before.len() + after.len();
    let mut body = String::with_capacity(size);
    body.push_str(before);
    for (index, row) in rows.iter().enumerate() {
        if index > 0 {
            body.push(',');
        }
        body.push_str(row);
    }
    body.push_str(after);
    body.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow_log::fixtures::{bare_record, record};

    #[test]
    fn a_request_holds_as_many_rows_as_it_may() {
        let records = vec![bare_record(); MOST_ROWS + 10];
        let first = chunk(&records, 0, None, |index| index < 5, |_| "x");
        assert_eq!((first.rows.len(), first.records[0], first.end), (MOST_ROWS, 5, MOST_ROWS + 5));
        let second = chunk(&records, first.end, None, |_| false, |_| "x");
        assert_eq!((second.rows.len(), second.end), (5, records.len()));
        let none = chunk(&records, second.end, None, |_| false, |_| "x");
        assert!(none.rows.is_empty());
    }

    #[test]
    fn a_request_that_was_sent_is_the_same_again() {
        let records = vec![bare_record(); 10];
        let again = chunk(&records, 2, Some(7), |index| index == 3, |_| "x");
        assert_eq!((again.records, again.end), (vec![2, 4, 5, 6], 7));
    }

    #[test]
    fn a_request_stays_below_the_limit_of_bytes() {
        let half = "x".repeat(MOST_BYTES / 2);
        let records = vec![bare_record(); 3];
        let first = chunk(&records, 0, None, |_| false, |_| &half);
        assert_eq!((first.rows.len(), first.end), (1, 1), "the row has a length too");
    }

    #[test]
    fn a_row_of_insert_all_is_json_with_the_id_of_the_record() {
        let row: serde_json::Value = serde_json::from_str(&json_row(&record())).unwrap();
        assert_eq!(row["insertId"], row["json"]["id"]);
        assert_eq!(row["json"]["first_seen_at"], "2023-11-14T22:13:20.123456Z");
        assert_eq!(row["json"]["src_bytes"], "1258");
        assert!(row["json"].get("dst_process_pid").is_none());
    }
}
