//! Flow logs on a disk that is full, and of a process that is killed.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use netglass_model::{EndReason, FlowRecord, FlowStatus, IpProtocol, Timestamp};
use netglass_store::flow_log::{
    DropReason, FlowBatch, FlowOutput, FlowSink, ParquetLimits, ParquetSink, SinkError, TextFormat,
    open_file,
};
use netglass_testing::require;
use uuid::Uuid;

use crate::support::run_on_small_disk;

/// Where the other process of a test finds its directory; that there is one says that it is the
/// other.
const DIRECTORY: &str = "NETGLASS_TEST_FLOW_LOG";

fn batch(sequence: u64) -> FlowBatch {
    let record = |port| FlowRecord {
        id: Uuid::now_v7(),
        protocol: IpProtocol::UDP,
        source: "10.0.0.1".parse().unwrap(),
        destination: "10.0.0.2".parse().unwrap(),
        source_port: port,
        destination_port: 53,
        first_seen: Timestamp::from_nanoseconds(1),
        last_seen: Timestamp::from_nanoseconds(2),
        source_bytes: sequence,
        destination_bytes: 0,
        source_packets: 1,
        destination_packets: 0,
        status: FlowStatus::Init,
        end_reason: EndReason::Idle,
        interface: None,
        tcp: None,
        source_owner: None,
        destination_owner: None,
    };
    FlowBatch::new(Uuid::nil(), sequence, (0..10).map(record).collect())
}

/// Writes batches until there is no room for one more, and returns how many were written.
fn fill(sink: &mut dyn FlowSink) -> u64 {
    for sequence in 1.. {
        if let Err(error) = sink.write(&batch(sequence)) {
            assert!(matches!(error, SinkError::Full { .. }), "{error}");
            return sequence - 1;
        }
    }
    unreachable!("a disk has an end")
}

/// How many lines there are, all of which are whole.
fn lines(path: &Path) -> usize {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    for line in text.lines() {
        let _: serde_json::Value = serde_json::from_str(line).unwrap();
    }
    text.lines().count()
}

#[test]
fn on_a_full_disk_a_file_ends_with_the_last_batch_that_was_written() {
    let Some(directory) = env::var_os(DIRECTORY) else {
        require!(root, command("unshare"), command("mount"));
        let test = "on_a_full_disk_a_file_ends_with_the_last_batch_that_was_written";
        return run_on_small_disk(&format!("flow_log::{test}"), DIRECTORY);
    };
    let directory = Path::new(&directory);
    let ballast = directory.join("ballast");
    fs::write(&ballast, vec![0; 64 << 10]).unwrap();
    let path = directory.join("flows.json");
    let mut sink = open_file(&path, TextFormat::Json).unwrap();
    let written = fill(sink.as_mut());
    assert!(written > 10);
    assert_eq!(lines(&path) as u64, written * 10);
    assert!(sink.write(&batch(written + 1)).is_err());
    fs::remove_file(&ballast).unwrap();
    sink.write(&batch(written + 1)).unwrap();
    sink.finish().unwrap();
    assert_eq!(lines(&path) as u64, (written + 1) * 10);
}

#[test]
fn on_a_full_disk_no_parquet_file_is_half() {
    let Some(directory) = env::var_os(DIRECTORY) else {
        require!(root, command("unshare"), command("mount"));
        let test = "flow_log::on_a_full_disk_no_parquet_file_is_half";
        return run_on_small_disk(test, DIRECTORY);
    };
    let directory = Path::new(&directory);
    let is_whole = |entry: &fs::DirEntry| {
        let bytes = fs::read(entry.path()).unwrap();
        bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1")
    };
    let whole = || {
        let entries = fs::read_dir(directory.join("flows")).unwrap().map(Result::unwrap);
        let named: Vec<_> =
            entries.filter(|it| it.file_name().to_str().unwrap().ends_with(".parquet")).collect();
        assert!(named.iter().all(is_whole), "{named:?}");
        named.len()
    };
    let ballast = directory.join("ballast");
    fs::write(&ballast, vec![0; 64 << 10]).unwrap();
    // Each batch completes a file.
    let limits = ParquetLimits { age: Duration::ZERO, ..ParquetLimits::default() };
    let mut sink = ParquetSink::open(&directory.join("flows"), limits).unwrap();
    let written = fill(&mut sink);
    assert!(written > 3 && sink.unfinished() == 10, "{written}");
    assert_eq!(whole() as u64, written - 1);
    fs::remove_file(&ballast).unwrap();
    sink.write(&batch(written + 1)).unwrap();
    sink.finish().unwrap();
    assert_eq!((whole() as u64, sink.unfinished()), (written + 1, 0));

    // What can never be completed is counted, and leaves the disk to others.
    let limit = 1 << 20;
    let sink = ParquetSink::open(&directory.join("flows"), ParquetLimits::default()).unwrap();
    let mut output = FlowOutput::direct(Box::new(sink), "flows".to_owned(), limit);
    output.submit(&Arc::new(batch(1)));
    let _ = fs::write(&ballast, vec![0; 192 << 10]);
    output.finish(Duration::ZERO);
    let ledger = output.ledger();
    assert!(ledger.balances() && ledger.stored == 0, "{ledger}");
    assert_eq!(ledger.dropped[&DropReason::Abandoned], 10);
    drop(output);
    assert_eq!(fs::read_dir(directory.join("flows")).unwrap().count(), whole());
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    if let Some(directory) = env::var_os(DIRECTORY) {
        let path = Path::new(&directory).join("flows.json");
        let mut sink = open_file(&path, TextFormat::Json).unwrap();
        let mut out = std::io::stdout();
        for sequence in 1.. {
            sink.write(&batch(sequence)).unwrap();
            writeln!(out, "acknowledged").unwrap();
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("flows.json");
    let mut acknowledged = 0;
    for round in 0..5 {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "flow_log::what_was_acknowledged_survives_kill_9", "--nocapture"])
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut since = 0;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            since += usize::from(line.unwrap().contains("acknowledged"));
            if since == 20 + round * 7 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        acknowledged += since;
        let mut sink = open_file(&path, TextFormat::Json).unwrap();
        // This takes away what was torn.
        sink.finish().unwrap();
        drop(sink);
        let found = lines(&path);
        assert!(found >= acknowledged * 10, "{found} lines of {acknowledged} batches");
    }
}
