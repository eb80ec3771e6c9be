//! Flow records as the bytes of a Parquet file.

use std::sync::Arc;

use bytes::Bytes;
use netglass_model::FlowRecord;
use parquet::{
    basic::{Compression, LogicalType, Repetition, TimeUnit, Type as PhysicalType, ZstdLevel},
    data_type::{ByteArray, ByteArrayType, Int64Type},
    errors::{ParquetError, Result},
    file::{
        metadata::KeyValue,
        properties::{WriterProperties, WriterPropertiesPtr},
        writer::{SerializedColumnWriter, SerializedFileWriter},
    },
    schema::types::{ColumnPath, Type, TypePtr},
};

use crate::flow_log::{
    columns::{COLUMNS, Column, ColumnType, SCHEMA_VERSION, Value},
    text::Text,
};

/// The key of the schema's version in the metadata of a file.
pub(super) const VERSION_KEY: &str = "netglass.flow_log.version";

/// Makes the bytes of one file. They are in memory until they are taken, so that a disk which fails
/// leaves this as it is.
pub(super) struct Encoder {
    writer: SerializedFileWriter<Vec<u8>>,
}

impl Encoder {
    pub(super) fn new() -> Result<Self> {
        let writer = SerializedFileWriter::new(Vec::new(), schema()?, properties()?)?;
        Ok(Self { writer })
    }

    /// Adds a row group.
    pub(super) fn add(&mut self, records: &[FlowRecord]) -> Result<()> {
        let mut group = self.writer.next_row_group()?;
        for column in &COLUMNS {
            let writer = group.next_column()?.ok_or_else(|| {
                ParquetError::General(format!("the schema has no column {}", column.name))
            })?;
            match column.column_type {
                ColumnType::String => write_texts(column, records, writer)?,
                ColumnType::Integer | ColumnType::Timestamp => {
                    write_numbers(column, records, writer)?;
                }
            }
        }
        group.close().map(drop)
    }

    /// Adds the end of the file. No row group follows it.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.writer.finish().map(drop)
    }

    /// What is to be written behind what was taken before.
    pub(super) fn take(&mut self) -> Result<Vec<u8>> {
        self.writer.flush()?;
        Ok(std::mem::take(self.writer.inner_mut()))
    }
}

fn write_texts(
    column: &Column,
    records: &[FlowRecord],
    mut writer: SerializedColumnWriter<'_>,
) -> Result<()> {
    let mut bytes = Vec::new();
    let mut text = Text::new(&mut bytes);
    let mut ends = Vec::with_capacity(records.len());
    let levels = levels(column, records, |value| {
        if let Some(outside) = text.append(value) {
            text.bytes(outside.as_bytes());
        }
        ends.push(text.out.len());
    });
    let text = Bytes::from(bytes);
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let value = |(start, end)| ByteArray::from(text.slice(start..end));
    let values: Vec<_> = starts.zip(ends.iter().copied()).map(value).collect();
    writer.typed::<ByteArrayType>().write_batch(&values, levels.as_deref(), None)?;
    writer.close()
}

fn write_numbers(
    column: &Column,
    records: &[FlowRecord],
    mut writer: SerializedColumnWriter<'_>,
) -> Result<()> {
    let mut values = Vec::with_capacity(records.len());
    let levels = levels(column, records, |value| match value {
        Value::Integer(integer) => values.push(integer),
        Value::Timestamp(moment) => values.push(moment.as_nanoseconds()),
        // Not in a column of this type.
        _ => values.push(0),
    });
    writer.typed::<Int64Type>().write_batch(&values, levels.as_deref(), None)?;
    writer.close()
}

/// Calls `with` for each value, and returns which records have one, as Parquet writes that: 1, or 0
/// for those that have none.
fn levels<'a>(
    column: &Column,
    records: &'a [FlowRecord],
    mut with: impl FnMut(Value<'a>),
) -> Option<Vec<i16>> {
    let values = records.iter().map(|record| column.value(record));
    if column.is_nullable {
        return Some(values.map(|value| i16::from(value.map(&mut with).is_some())).collect());
    }
    values.flatten().for_each(with);
    None
}

fn schema() -> Result<TypePtr> {
    let field = |column: &Column| {
        let (physical, logical) = match column.column_type {
            ColumnType::String => (PhysicalType::BYTE_ARRAY, Some(LogicalType::String)),
            ColumnType::Integer => (PhysicalType::INT64, None),
            ColumnType::Timestamp => {
                (PhysicalType::INT64, Some(LogicalType::timestamp(true, TimeUnit::NANOS)))
            }
        };
        let repetition =
            if column.is_nullable { Repetition::OPTIONAL } else { Repetition::REQUIRED };
        let field = Type::primitive_type_builder(column.name, physical)
            .with_logical_type(logical)
            .with_repetition(repetition);
        field.build().map(Arc::new)
    };
    let fields = COLUMNS.iter().map(field).collect::<Result<_>>()?;
    Type::group_type_builder("flow_log").with_fields(fields).build().map(Arc::new)
}

fn properties() -> Result<WriterPropertiesPtr> {
    let version = KeyValue::new(VERSION_KEY.to_owned(), SCHEMA_VERSION.to_string());
    let properties = WriterProperties::builder()
        .set_created_by(format!("netglass version {}", env!("CARGO_PKG_VERSION")))
        .set_key_value_metadata(Some(vec![version]))
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        // No two are the same.
        .set_column_dictionary_enabled(ColumnPath::from("id"), false);
    Ok(Arc::new(properties.build()))
}
