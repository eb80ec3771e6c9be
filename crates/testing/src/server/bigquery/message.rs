//! The messages of `google/cloud/bigquery/storage/v1/{storage,stream,protobuf}.proto`, and what they
//! use of `google/rpc` and `google/protobuf`.

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(super) struct DescriptorProto {
    #[prost(string, optional, tag = "1")]
    pub(super) name: Option<String>,
    #[prost(message, repeated, tag = "2")]
    pub(super) field: Vec<FieldDescriptorProto>,
    #[prost(message, repeated, tag = "3")]
    pub(super) nested_type: Vec<DescriptorProto>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FieldDescriptorProto {
    #[prost(string, optional, tag = "1")]
    pub(super) name: Option<String>,
    #[prost(int32, optional, tag = "3")]
    pub(super) number: Option<i32>,
    /// `LABEL_OPTIONAL` is 1, `LABEL_REQUIRED` 2, `LABEL_REPEATED` 3.
    #[prost(int32, optional, tag = "4")]
    pub(super) label: Option<i32>,
    /// `TYPE_INT64` is 3, `TYPE_STRING` 9, and so on.
    #[prost(int32, optional, tag = "5")]
    pub(super) field_type: Option<i32>,
    #[prost(string, optional, tag = "6")]
    pub(super) type_name: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ProtoSchema {
    #[prost(message, optional, tag = "1")]
    pub(super) proto_descriptor: Option<DescriptorProto>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ProtoRows {
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub(super) serialized_rows: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ProtoData {
    #[prost(message, optional, tag = "1")]
    pub(super) writer_schema: Option<ProtoSchema>,
    #[prost(message, optional, tag = "2")]
    pub(super) rows: Option<ProtoRows>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Int64Value {
    #[prost(int64, tag = "1")]
    pub(super) value: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AppendRowsRequest {
    #[prost(string, tag = "1")]
    pub(super) write_stream: String,
    #[prost(message, optional, tag = "2")]
    pub(super) offset: Option<Int64Value>,
    #[prost(message, optional, tag = "4")]
    pub(super) proto_rows: Option<ProtoData>,
    #[prost(string, tag = "6")]
    pub(super) trace_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AppendResult {
    #[prost(message, optional, tag = "1")]
    pub(super) offset: Option<Int64Value>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AppendRowsResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) append_result: Option<AppendResult>,
    #[prost(message, optional, tag = "2")]
    pub(super) error: Option<Status>,
    #[prost(message, repeated, tag = "4")]
    pub(super) row_errors: Vec<RowError>,
    #[prost(string, tag = "5")]
    pub(super) write_stream: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RowError {
    #[prost(int64, tag = "1")]
    pub(super) index: i64,
    /// `FIELDS_ERROR` is 1.
    #[prost(int32, tag = "2")]
    pub(super) code: i32,
    #[prost(string, tag = "3")]
    pub(super) message: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Status {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Any {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StorageError {
    /// A [`StorageErrorCode`].
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) entity: String,
    #[prost(string, tag = "3")]
    pub(super) error_message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StorageErrorCode {
    TableNotFound = 1,
    StreamAlreadyCommitted = 2,
    StreamNotFound = 3,
    InvalidStreamType = 4,
    InvalidStreamState = 5,
    StreamFinalized = 6,
    SchemaMismatchExtraFields = 7,
    OffsetAlreadyExists = 8,
    OffsetOutOfRange = 9,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WriteStream {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    /// `COMMITTED` is 1, `PENDING` 2, `BUFFERED` 3.
    #[prost(int32, tag = "2")]
    pub(super) stream_type: i32,
    #[prost(message, optional, tag = "3")]
    pub(super) create_time: Option<Timestamp>,
    #[prost(message, optional, tag = "4")]
    pub(super) commit_time: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Timestamp {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CreateWriteStreamRequest {
    #[prost(string, tag = "1")]
    pub(super) parent: String,
    #[prost(message, optional, tag = "2")]
    pub(super) write_stream: Option<WriteStream>,
}

/// `GetWriteStreamRequest` and `FinalizeWriteStreamRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct NameRequest {
    #[prost(string, tag = "1")]
    pub(super) name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FinalizeWriteStreamResponse {
    #[prost(int64, tag = "1")]
    pub(super) row_count: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct BatchCommitWriteStreamsRequest {
    #[prost(string, tag = "1")]
    pub(super) parent: String,
    #[prost(string, repeated, tag = "2")]
    pub(super) write_streams: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct BatchCommitWriteStreamsResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) commit_time: Option<Timestamp>,
    #[prost(message, repeated, tag = "2")]
    pub(super) stream_errors: Vec<StorageError>,
}
