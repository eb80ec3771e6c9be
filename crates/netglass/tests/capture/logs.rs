//! Where conversations are logged, and how.

use std::fs;

use netglass_testing::Running;

use crate::{
    frames::{many, pcap, udp},
    support::{Place, read_flows},
};

#[test]
fn formats_are_one_schema() {
    let place = Place::new();
    let packets = [
        (1000.0, udp("10.0.0.1:4000", "10.0.0.2:53", 30)),
        (1000.25, udp("10.0.0.2:53", "10.0.0.1:4000", 100)),
    ];
    place.file("in.pcap", pcap(&packets));
    let written = |format: &str| {
        let finished =
            Running::spawn(place.netglass(&["-r", "in.pcap", "--format", format])).wait();
        assert!(finished.status.success(), "{finished:?}");
        // The id is another one each time.
        let text = String::from_utf8(finished.stdout).unwrap();
        match text.find("-7").filter(|_| format != "table") {
            Some(version) => {
                let id = &text[version - 13..version + 23];
                text.replace(id, "<id>")
            }
            None => text,
        }
    };
    insta::assert_snapshot!(written("json"), @r#"{"id":"<id>","protocol":"udp","src_addr":"10.0.0.1","dst_addr":"10.0.0.2","src_port":4000,"dst_port":53,"first_seen_at":"1970-01-01T00:16:40.000000000Z","last_seen_at":"1970-01-01T00:16:40.250000000Z","src_bytes":72,"dst_bytes":142,"src_packets":1,"dst_packets":1,"status":"established","version":1,"end_reason":"capture_end"}"#);
    insta::assert_snapshot!(written("csv").replace("\r\n", "\n"), @"
    id,protocol,src_addr,dst_addr,src_port,dst_port,first_seen_at,last_seen_at,src_bytes,dst_bytes,src_packets,dst_packets,status,end_reason,interface,tcp_state,src_tcp_flags,dst_tcp_flags,tcp_handshake_rtt_us,src_retransmissions,dst_retransmissions,src_process_pid,src_process_start_time,src_process_comm,src_process_exe,src_process_uid,src_process_container,src_process_attribution,dst_process_pid,dst_process_start_time,dst_process_comm,dst_process_exe,dst_process_uid,dst_process_container,dst_process_attribution
    <id>,udp,10.0.0.1,10.0.0.2,4000,53,1970-01-01T00:16:40.000000000Z,1970-01-01T00:16:40.250000000Z,72,142,1,1,established,capture_end,,,,,,,,,,,,,,,,,,,,,
    ");
    insta::assert_snapshot!(written("table"), @"
    first_seen_at                   protocol  src_addr         src_port  dst_addr         dst_port  src_packets  dst_packets    src_bytes    dst_bytes  tcp_state  src_process_comm  dst_process_comm
    1970-01-01T00:16:40.000000000Z  udp       10.0.0.1             4000  10.0.0.2               53            1            1           72          142  -          -                 -
    ");
}

#[test]
fn a_file_is_appended_to_and_its_name_says_the_format() {
    let place = Place::new();
    place.file("in.pcap", many(100, 10));
    let outputs = ["-r", "in.pcap", "-o", "file:flows.csv,file:flows.jsonl", "--format", "table"];
    for round in 1..=2 {
        assert_eq!(place.capture(&outputs).status, 0);
        assert_eq!(place.read("flows.csv").lines().count(), 1 + 10 * round);
        assert_eq!(read_flows(place.read("flows.jsonl").as_bytes()).len(), 10 * round);
    }
    let csv = place.read("flows.csv");
    assert!(csv.starts_with("id,protocol,src_addr,dst_addr,"), "{csv}");
}

#[test]
fn parquet_files_have_their_name_once_they_are_whole() {
    let place = Place::new();
    place.file("in.pcap", many(500, 100));
    for round in 1..=2 {
        let captured = place.capture(&["-r", "in.pcap", "-o", "parquet:flows"]);
        assert_eq!(captured.status, 0, "{captured:?}");
        assert_eq!(captured.ledger().output("flows", "stored"), 100);
        let names = place.files_in("flows");
        assert_eq!(names.len(), round, "{names:?}");
        for name in names {
            assert!(name.ends_with(".parquet"), "{name}");
            let bytes = fs::read(place.path("flows").join(name)).unwrap();
            assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
        }
    }
}

#[test]
fn an_output_that_fails_does_not_stop_the_others() {
    let place = Place::new();
    place.file("in.pcap", many(5000, 5000));
    let captured = place.capture(&[
        "-r",
        "in.pcap",
        "-o",
        "file:/dev/full",
        "-o",
        "stdout",
        "-o",
        "parquet:p",
    ]);
    assert_eq!(captured.status, 1, "{captured:?}");
    assert_eq!(captured.flows.len(), 5000);
    let ledger = captured.ledger();
    assert_eq!(ledger.output("standard output", "stored"), 5000);
    assert_eq!(ledger.output("p", "stored"), 5000);
    assert_eq!(ledger.output("/dev/full", "stored"), 0);
    assert!(captured.stderr.contains("not everything was logged"), "{captured:?}");
    assert!(captured.stderr.contains("no space is left"), "{captured:?}");
}

#[test]
fn an_output_that_cannot_be_opened_is_named_before_anything_is_read() {
    let place = Place::new();
    place.file("in.pcap", many(10, 1));
    place.file("file", b"");
    for output in ["file:missing/flows.json", "parquet:file"] {
        let captured = place.capture(&["-r", "in.pcap", "-o", output]);
        assert_eq!(captured.status, 1, "{captured:?}");
        let (_, path) = output.split_once(':').unwrap();
        assert!(captured.stderr.contains(path), "{captured:?}");
        assert!(captured.stdout.is_empty());
    }
}
