//! The messages of the Storage Write API that are used here, and of them the fields
//! (`google.cloud.bigquery.storage.v1`, `google.rpc`, `google.protobuf`).

use bytes::Bytes;
use prost::Message;

/// `google.protobuf.DescriptorProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Descriptor {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) field: Vec<FieldDescriptor>,
}

/// `google.protobuf.FieldDescriptorProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct FieldDescriptor {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(int32, tag = "3")]
    pub(super) number: i32,
    #[prost(enumeration = "FieldLabel", tag = "4")]
    pub(super) label: i32,
    #[prost(enumeration = "FieldType", tag = "5")]
    pub(super) field_type: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(super) enum FieldLabel {
    /// proto2 knows no zero here; prost wants one.
    Unknown = 0,
    Optional = 1,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(super) enum FieldType {
    /// proto2 knows no zero here; prost wants one.
    Unknown = 0,
    Int64 = 3,
    String = 9,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ProtoSchema {
    #[prost(message, optional, tag = "1")]
    pub(super) proto_descriptor: Option<Descriptor>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ProtoRows {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(super) serialized_rows: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ProtoData {
    #[prost(message, optional, tag = "1")]
    pub(super) writer_schema: Option<ProtoSchema>,
    #[prost(message, optional, tag = "2")]
    pub(super) rows: Option<ProtoRows>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AppendRowsRequest {
    #[prost(string, tag = "1")]
    pub(super) write_stream: String,
    /// `google.protobuf.Int64Value`.
    #[prost(message, optional, tag = "2")]
    pub(super) offset: Option<i64>,
    #[prost(message, optional, tag = "4")]
    pub(super) proto_rows: Option<ProtoData>,
    #[prost(string, tag = "6")]
    pub(super) trace_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AppendRowsResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) append_result: Option<AppendResult>,
    #[prost(message, optional, tag = "2")]
    pub(super) error: Option<Status>,
    #[prost(message, repeated, tag = "4")]
    pub(super) row_errors: Vec<RowError>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AppendResult {
    /// `google.protobuf.Int64Value`.
    #[prost(message, optional, tag = "1")]
    pub(super) offset: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RowError {
    /// Among the rows of the request.
    #[prost(int64, tag = "1")]
    pub(super) index: i64,
    #[prost(string, tag = "3")]
    pub(super) message: String,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Status {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) details: Vec<Any>,
}

impl Status {
    /// What BigQuery tells beside the code.
    pub(super) fn storage_error(&self) -> Option<StorageErrorCode> {
        let details = self.details.iter();
        let mut told = details.filter(|any| any.type_url.ends_with(STORAGE_ERROR));
        StorageErrorCode::try_from(StorageError::decode(&*told.next()?.value).ok()?.code).ok()
    }
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Any {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

const STORAGE_ERROR: &str = "/google.cloud.bigquery.storage.v1.StorageError";

#[derive(Clone, PartialEq, Message)]
pub(super) struct StorageError {
    #[prost(enumeration = "StorageErrorCode", tag = "1")]
    pub(super) code: i32,
}

/// Those that are told apart here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(super) enum StorageErrorCode {
    Unspecified = 0,
    TableNotFound = 1,
    StreamNotFound = 3,
    InvalidStreamState = 5,
    StreamFinalized = 6,
    SchemaMismatchExtraFields = 7,
    OffsetAlreadyExists = 8,
    OffsetOutOfRange = 9,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CreateWriteStreamRequest {
    #[prost(string, tag = "1")]
    pub(super) parent: String,
    #[prost(message, optional, tag = "2")]
    pub(super) write_stream: Option<WriteStream>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WriteStream {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(enumeration = "StreamType", tag = "2")]
    pub(super) stream_type: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(super) enum StreamType {
    Unspecified = 0,
    /// Rows can be read as soon as they were appended.
    Committed = 1,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FinalizeWriteStreamRequest {
    #[prost(string, tag = "1")]
    pub(super) name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FinalizeWriteStreamResponse {
    #[prost(int64, tag = "1")]
    pub(super) row_count: i64,
}
