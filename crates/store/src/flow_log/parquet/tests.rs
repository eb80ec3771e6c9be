use std::{fs::File, path::PathBuf};

use ::parquet::{
    file::reader::{FileReader as _, SerializedFileReader},
    record::Field,
};
use netglass_testing::directory_in_memory;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::flow_log::{COLUMNS, ColumnType, Value, fixtures};

const NEVER: ParquetLimits = ParquetLimits { bytes: u64::MAX, age: Duration::MAX };

fn sink(directory: &TempDir, limits: ParquetLimits, row_group: usize) -> ParquetSink {
    ParquetSink::open_with(directory.path(), limits, row_group).unwrap()
}

/// The files under their final names, and how many others there are.
fn files(directory: &TempDir) -> (Vec<PathBuf>, usize) {
    let paths = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
    let (mut whole, others): (Vec<_>, Vec<_>) =
        paths.partition(|path| path.extension().is_some_and(|it| it == "parquet"));
    whole.sort();
    (whole, others.len())
}

fn read(path: &Path) -> SerializedFileReader<File> {
    SerializedFileReader::new(File::open(path).unwrap()).unwrap()
}

/// The fields of each row.
fn rows(path: &Path) -> Vec<Vec<(String, Field)>> {
    let rows = read(path).into_iter();
    rows.map(|row| row.unwrap().into_columns()).collect()
}

fn field(value: Option<Value<'_>>) -> Field {
    match value {
        None => Field::Null,
        Some(Value::Integer(integer)) => Field::Long(integer),
        Some(Value::Timestamp(moment)) => Field::Long(moment.as_nanoseconds()),
        Some(text) => Field::Str(text.to_string()),
    }
}

fn check(records: &[FlowRecord], rows: &[Vec<(String, Field)>]) {
    assert_eq!(rows.len(), records.len());
    for (record, row) in records.iter().zip(rows) {
        let wanted = COLUMNS.iter().map(|it| (it.name.to_owned(), field(it.value(record))));
        assert_eq!(*row, wanted.collect::<Vec<_>>());
    }
}

#[test]
fn the_schema_is_that_of_flow_logs() {
    let directory = directory_in_memory();
    let mut sink = sink(&directory, NEVER, 10);
    sink.write(&fixtures::batch(1, vec![fixtures::record()])).unwrap();
    sink.finish().unwrap();
    let reader = read(&files(&directory).0[0]);
    let metadata = reader.metadata().file_metadata();
    let version = &metadata.key_value_metadata().unwrap()[0];
    assert_eq!(
        (version.key.as_str(), version.value.as_deref()),
        ("netglass.flow_log.version", Some("1"))
    );
    for (column, found) in COLUMNS.iter().zip(metadata.schema().get_fields()) {
        let of_type = match column.column_type {
            ColumnType::String => "BYTE_ARRAY Some(String)",
            ColumnType::Integer => "INT64 None",
            ColumnType::Timestamp => {
                "INT64 Some(Timestamp(TimestampType { is_adjusted_to_u_t_c: true, unit: NANOS }))"
            }
        };
        let info = found.get_basic_info();
        let found_type = format!("{} {:?}", found.get_physical_type(), info.logical_type_ref());
        assert_eq!((found.name(), found_type.as_str()), (column.name, of_type));
        assert_eq!(found.is_optional(), column.is_nullable);
    }
}

#[test]
fn a_file_is_completed_when_it_is_large_enough() {
    let directory = directory_in_memory();
    let limits = ParquetLimits { bytes: 20_000, ..NEVER };
    let mut sink = sink(&directory, limits, 100);
    let mut records = Vec::new();
    for number in 1..=40 {
        let batch = fixtures::batch(number, vec![fixtures::record(); 50]);
        records.extend_from_slice(&batch.records);
        sink.write(&batch).unwrap();
        let stored: usize = files(&directory).0.iter().map(|path| rows(path).len()).sum();
        assert_eq!(stored as u64 + sink.unfinished(), records.len() as u64);
    }
    sink.finish().unwrap();
    let (whole, others) = files(&directory);
    assert_eq!((sink.unfinished(), others), (0, 0));
    assert!(whole.len() >= 2, "{whole:?}");
    for path in &whole {
        for group in read(path).metadata().row_groups() {
            assert!(group.num_rows() <= 100);
        }
    }
    // Names of the same second come in any order, and all records are alike.
    check(&records, &whole.iter().flat_map(|path| rows(path)).collect::<Vec<_>>());
}

#[test]
fn a_file_is_completed_when_it_is_old_enough() {
    let directory = directory_in_memory();
    let limits = ParquetLimits { age: Duration::ZERO, ..NEVER };
    let mut sink = sink(&directory, limits, 100);
    sink.write(&fixtures::batch(1, vec![fixtures::record()])).unwrap();
    sink.tick().unwrap();
    sink.tick().unwrap();
    assert_eq!((files(&directory).0.len(), sink.unfinished()), (1, 0));
    sink.write(&fixtures::batch(2, vec![fixtures::record()])).unwrap();
    sink.finish().unwrap();
    sink.finish().unwrap();
    assert_eq!((files(&directory).0.len(), files(&directory).1), (2, 0));
}

#[test]
fn nothing_that_is_unfinished_looks_like_a_file() {
    let directory = directory_in_memory();
    let mut sink = sink(&directory, NEVER, 10);
    sink.write(&fixtures::batch(1, vec![fixtures::record(); 25])).unwrap();
    assert_eq!((files(&directory), sink.unfinished()), ((Vec::new(), 1), 25));
    drop(sink);
    assert_eq!(files(&directory), (Vec::new(), 0), "who gives up leaves nothing");
}

#[test]
fn what_a_killed_run_left_is_removed_and_what_is_being_written_is_not() {
    let directory = directory_in_memory();
    let name = ".flows-20260131T140000Z-0f1e2d3c4b5a.parquet.part";
    fs::write(directory.path().join(name), [0; 77]).unwrap();
    fs::write(directory.path().join("notes.part"), "mine").unwrap();
    let mut first = sink(&directory, NEVER, 10);
    assert!(first.take_notes()[0].starts_with("1 unfinished files (77 bytes)"));
    first.write(&fixtures::batch(1, vec![fixtures::record()])).unwrap();
    let mut second = sink(&directory, NEVER, 10);
    assert_eq!(second.take_notes(), [""; 0]);
    first.finish().unwrap();
    assert_eq!((files(&directory).0.len(), files(&directory).1), (1, 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_record_comes_back(
        records in prop::collection::vec(fixtures::any_record(), 1..20),
        row_group in 1_usize..10,
    ) {
        let directory = directory_in_memory();
        let mut sink = sink(&directory, NEVER, row_group);
        sink.write(&fixtures::batch(1, records.clone())).unwrap();
        sink.finish().unwrap();
        check(&records, &rows(&files(&directory).0[0]));
    }
}
