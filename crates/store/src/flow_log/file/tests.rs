use std::fs;

use netglass_testing::directory_in_memory;

use super::*;
use crate::flow_log::{append_json, fixtures};

const FORMATS: [TextFormat; 3] = [TextFormat::Json, TextFormat::Csv, TextFormat::Table];

fn batch(sequence: u64) -> FlowBatch {
    fixtures::batch(sequence, vec![fixtures::record(), fixtures::bare_record()])
}

/// What stands in a file to which so many batches were written.
fn written(format: TextFormat, batches: u64) -> Vec<u8> {
    let mut encoder = Encoder::from(format);
    let mut out = Vec::new();
    encoder.append_header(&mut out);
    (1..=batches).for_each(|number| encoder.append(&batch(number), &mut out));
    out
}

#[test]
fn what_is_there_is_appended_to_under_one_header() {
    for format in FORMATS {
        let directory = directory_in_memory();
        let path = directory.path().join("flows");
        for number in 1..=3 {
            let mut sink = open_file(&path, format).unwrap();
            sink.write(&batch(number)).unwrap();
            sink.finish().unwrap();
        }
        assert!(fs::read(&path).unwrap() == written(format, 3), "{format:?}");
    }
}

#[test]
fn the_line_that_a_killed_run_left_unfinished_is_taken_away() {
    for format in FORMATS {
        let directory = directory_in_memory();
        let path = directory.path().join("flows");
        let whole = written(format, 1);
        for left in [1, 5, whole.len() - 1] {
            fs::write(&path, &whole[..left]).unwrap();
            let mut sink = open_file(&path, format).unwrap();
            sink.write(&batch(1)).unwrap();
            let kept = whole[..left].iter().rposition(|&byte| byte == b'\n').map_or(0, |it| it + 1);
            let mut wanted = whole[..kept].to_vec();
            let mut encoder = Encoder::from(format);
            if kept == 0 {
                encoder.append_header(&mut wanted);
            }
            encoder.append(&batch(1), &mut wanted);
            assert!(fs::read(&path).unwrap() == wanted, "{format:?} after {left}");
        }
    }
}

#[test]
fn a_file_that_holds_something_else_is_left_untouched() {
    for format in FORMATS {
        let directory = directory_in_memory();
        let path = directory.path().join("flows");
        fs::write(&path, "dear diary").unwrap();
        let error = open_file(&path, format).err().unwrap();
        assert!(error.to_string().contains("it holds something else"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"dear diary");
    }
}

#[test]
fn two_do_not_write_to_one_file() {
    let directory = directory_in_memory();
    let path = directory.path().join("flows");
    let _first = open_file(&path, TextFormat::Json).unwrap();
    let error = open_file(&path, TextFormat::Json).err().unwrap();
    assert!(error.to_string().contains("another netglass writes to it"), "{error}");
}

#[test]
fn a_file_that_was_cut_meanwhile_goes_on_from_its_start() {
    let directory = directory_in_memory();
    let path = directory.path().join("flows");
    let mut sink = open_file(&path, TextFormat::Csv).unwrap();
    sink.write(&batch(1)).unwrap();
    File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    sink.write(&batch(2)).unwrap();
    assert!(fs::read(&path).unwrap() == written(TextFormat::Csv, 1));
}

#[test]
fn a_device_is_a_stream() {
    let mut sink = open_file(Path::new("/dev/full"), TextFormat::Json).unwrap();
    let error = sink.write(&batch(1)).unwrap_err();
    assert!(matches!(error, SinkError::Full { .. }), "{error}");
    let error = open_file(Path::new("/nonexistent/flows"), TextFormat::Json).err().unwrap();
    assert!(error.to_string().contains("/nonexistent/flows"), "{error}");
}

#[test]
fn a_named_pipe_is_a_stream_until_its_reader_ends() {
    let directory = directory_in_memory();
    let path = directory.path().join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let reader = std::thread::spawn({
        let path = path.clone();
        // As much as the first batch has.
        move || {
            let mut found = vec![0; written(TextFormat::Json, 1).len()];
            File::open(path).unwrap().read_exact(&mut found).unwrap();
            found
        }
    });
    let mut sink = open_file(&path, TextFormat::Json).unwrap();
    sink.write(&batch(1)).unwrap();
    assert!(reader.join().unwrap() == written(TextFormat::Json, 1));
    let error = sink.write(&batch(2)).unwrap_err();
    assert!(matches!(error, SinkError::Closed { .. }), "{error}");
}

#[test]
fn a_file_that_is_moved_is_completed_and_another_one_begun() {
    for format in FORMATS {
        let directory = directory_in_memory();
        let (path, moved) = (directory.path().join("flows"), directory.path().join("flows.1"));
        let mut sink = open_file(&path, format).unwrap();
        sink.write(&batch(1)).unwrap();
        fs::rename(&path, &moved).unwrap();
        // As soon as somebody looks, although nothing is to be written.
        sink.tick().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"");
        sink.write(&batch(1)).unwrap();
        assert!(fs::read(&moved).unwrap() == written(format, 1), "{format:?}");
        assert!(fs::read(&path).unwrap() == written(format, 1), "{format:?}");
        // Who made the next one already has made it right; who took it away wants it again.
        fs::remove_file(&path).unwrap();
        fs::write(&path, b"").unwrap();
        sink.write(&batch(1)).unwrap();
        fs::remove_file(&path).unwrap();
        sink.write(&batch(1)).unwrap();
        sink.finish().unwrap();
        assert!(fs::read(&path).unwrap() == written(format, 1), "{format:?}");
    }
}

#[test]
fn a_file_that_cannot_be_begun_anew_keeps_what_waits() {
    let directory = directory_in_memory();
    let (inner, path) = (directory.path().join("inner"), directory.path().join("inner/flows"));
    fs::create_dir(&inner).unwrap();
    let mut sink = open_file(&path, TextFormat::Json).unwrap();
    fs::rename(&inner, directory.path().join("away")).unwrap();
    let error = sink.write(&batch(1)).unwrap_err();
    assert!(error.to_string().contains("inner/flows"), "{error}");
    fs::create_dir(&inner).unwrap();
    sink.write(&batch(1)).unwrap();
    assert!(fs::read(&path).unwrap() == written(TextFormat::Json, 1));
}

#[test]
fn a_file_is_whole_however_much_is_sent_to_the_disk_meanwhile() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("flows.json");
    let mut sink = open_file(&path, TextFormat::Json).unwrap();
    let records = vec![fixtures::record(); 4096];
    let mut batch = Vec::new();
    append_json(&records, &mut batch);
    let batches = usize::try_from(3 * WRITTEN_TOGETHER).unwrap() / batch.len() + 1;
    for round in 0..2 {
        for number in 1..=batches {
            // Some bring their text.
            let json = (number % 2 == 0).then(|| batch.clone());
            let records = fixtures::batch(number as u64, records.clone());
            sink.write(&FlowBatch { json, ..records }).unwrap();
        }
        sink.finish().unwrap();
        assert!(fs::read(&path).unwrap() == batch.repeat(batches), "round {round}");
        // Somebody has read it, and wants no more of that.
        File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    }
}
