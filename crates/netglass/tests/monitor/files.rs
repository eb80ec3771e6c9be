//! Events of files.

use std::io::Write as _;

use netglass_testing::Running;

use crate::support::{Ended, Place, drop, lines, shown_drop, three, trace};

#[test]
fn events_are_shown_and_accounted_for() {
    let place = Place::new();
    let monitored = place.monitor_file(&three(), &["--compat", "1.5", "-t", "drop"]);
    let expected = shown_drop("Policy denied (L3)") + &shown_drop("181");
    assert_eq!(monitored.stdout, expected);
    monitored.assert_ledger("3 events = 2 shown + 1 filtered out; 0 lost before they came");

    let odd = [lines(&[drop(133), "0101".to_owned(), "fe00".to_owned()]), vec![]].concat();
    let monitored = place.monitor_file(&odd, &["-j"]);
    let kinds: Vec<_> = monitored.objects().iter().map(|it| it["type"].clone()).collect();
    assert_eq!(kinds, ["drop", "malformed", "unknown"]);
    monitored.assert_ledger(
        "3 events = 1 shown + 0 filtered out + 1 malformed + 1 of unknown types; 0 lost before \
         they came",
    );
}

#[test]
fn events_come_from_standard_input_too() {
    let place = Place::new();
    let mut running = Running::spawn(place.netglass(&["-r", "-", "--compat", "1.5"]));
    running.write_stdin(&lines(&[drop(133)]));
    running.wait_for_line("Policy denied");
    running.write_stdin(&lines(&[trace()]));
    running.wait_for_line("<- endpoint 1022");
    running.close_stdin();
    let monitored = Ended::of(running.wait());
    assert_eq!(monitored.status, 0, "{monitored:?}");
    assert_eq!(monitored.stdout.lines().count(), 2);
}

#[test]
fn filters_leave_what_is_wanted() {
    let place = Place::new();
    let count = |arguments: &[&str]| {
        place.monitor_file(&three(), &[arguments, &["-j"]].concat()).objects().len()
    };
    assert_eq!(count(&[]), 3);
    assert_eq!(count(&["-t", "drop,trace"]), 3);
    assert_eq!(count(&["-t", "debug"]), 0);
    assert_eq!(count(&["--drop-reason", "133"]), 1);
    assert_eq!(count(&["--drop-reason", "policy denied", "--drop-reason", "181"]), 2);
    assert_eq!(count(&["--addr", "10.15.28.0/24"]), 3);
    assert_eq!(count(&["--addr", "10.16.0.0/16"]), 0);
    assert_eq!(count(&["--port", "80", "--proto", "tcp"]), 3);
    assert_eq!(count(&["--port", "80", "--proto", "udp"]), 0);
    assert_eq!(count(&["--from", "1022", "--related-to", "1022"]), 3);
    assert_eq!(count(&["--to", "7"]), 0);
}

#[test]
fn options_come_from_the_environment_too() {
    let place = Place::new();
    place.file("in", three());
    let mut command = place.netglass(&[]);
    command
        .env("NETGLASS_READ", "in")
        .env("NETGLASS_COMPAT", "1.5")
        .env("NETGLASS_DROP_REASON", "133")
        .env("NETGLASS_MONITOR_FROM", "1022,7");
    let monitored = Ended::of(Running::spawn(command).wait());
    assert_eq!(monitored.stdout, shown_drop("Policy denied (L3)"), "{monitored:?}");
}

#[test]
fn a_recording_has_what_was_wanted() {
    let place = Place::new();
    let shown = place.monitor_file(&three(), &["-t", "drop", "-w", "out", "--compat", "1.5"]);
    let again = place.monitor(&["-r", "out", "--compat", "1.5"]);
    assert_eq!((again.status, &again.stdout), (0, &shown.stdout), "{again:?}");

    let mut file = std::fs::File::create(place.path("piped")).unwrap();
    let piped = Running::spawn(place.netglass(&["-r", "in", "-t", "drop", "-w", "-"])).wait();
    file.write_all(&piped.stdout).unwrap();
    assert_eq!(place.monitor(&["-r", "piped", "--compat", "1.5"]).stdout, shown.stdout);

    let recording = std::fs::read(place.path("out")).unwrap();
    place.file("cut", &recording[..recording.len() - 1]);
    let cut = place.monitor(&["-r", "cut", "--compat", "1.5"]);
    cut.assert_fails(1, &["reading cut", "in the middle of an event"]);
    assert!(shown.stdout.starts_with(&cut.stdout) && !cut.stdout.is_empty(), "{cut:?}");
}

#[test]
fn nonsense_is_refused_with_its_place() {
    let place = Place::new();
    let mut bytes = three();
    bytes.extend_from_slice(b"{\"hex\":\"0g\"}\n");
    place.file("in", &bytes);
    let monitored = place.monitor(&["-r", "in", "--compat", "1.5"]);
    monitored.assert_fails(1, &["reading in", "line 4"]);
    assert_eq!(monitored.stdout.lines().count(), 3);
}

#[test]
fn drops_are_summed_up() {
    let place = Place::new();
    let events = lines(&[drop(133), drop(133), trace(), drop(181)]);
    let text = place.monitor_file(&events, &["--summary"]).stdout;
    for part in ["3 drops in", "1 other events, 0 lost", "by reason", "         2  Policy denied"] {
        assert!(text.contains(part), "{part:?} is missing in {text}");
    }
    assert!(text.contains("10.15.28.238:45678 -> 10.15.116.202:80"), "{text}");

    let objects = place.monitor_file(&events, &["--summary", "-j", "-t", "drop"]).objects();
    let [object] = &objects[..] else { panic!("{objects:?}") };
    assert_eq!((&object["type"], &object["drops"]), (&"summary".into(), &3.into()));
    assert_eq!(object["reasons"][0]["count"], 2);
    assert_eq!(object["others"], 0);
}
