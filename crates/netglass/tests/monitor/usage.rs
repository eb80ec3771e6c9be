//! Wrong usage, and what cannot be opened.

use crate::support::{Place, three};

#[test]
fn wrong_usage_is_status_2() {
    let place = Place::new();
    let fails =
        |arguments: &[&str], parts: &[&str]| place.monitor(arguments).assert_fails(2, parts);
    fails(&["-r", "in", "--socket", "s"], &["not from several of them"]);
    fails(&["--map", "m", "--socket", "s"], &["not from several of them"]);
    fails(&["-t", "drop,packets"], &["there is no such type", "policy-verdict"]);
    fails(&["--compat", "1.6"], &["'1.6'", "1.5, 1.20"]);
    fails(&["--compat", "1.5", "--cilium-version", "1.9"], &["cannot be used with"]);
    fails(&["--cilium-version", "new"], &["'new'"]);
    fails(&["--drop-reason", "because"], &["neither the number of a drop reason nor its words"]);
    fails(&["--addr", "10.0.0.0/33"], &["10.0.0.0/33"]);
    fails(&["--port", "65536"], &["65536"]);
    fails(&["--from", "65536"], &["65536"]);
    fails(&["--proto", "carrier-pigeon"], &["carrier-pigeon"]);
    fails(&["--summary=0"], &["'0'"]);
    fails(&["-w", "-", "--summary"], &["standard output"]);
    fails(&["--kernel", "-r", "in"], &["not from several of them"]);
    fails(&["--kernel", "--compat", "1.20"], &["leave out --compat"]);
    fails(&["--kernel", "--cilium-version", "1.20"], &["leave out --cilium-version"]);
    fails(&["-r", "in", "-i", "lo"], &["--kernel"]);
    fails(&["--kernel", "--capture-len", "9217"], &["9217"]);
}

#[test]
fn what_cannot_be_opened_is_named() {
    let place = Place::new();
    place.file("in", three());
    let fails =
        |arguments: &[&str], parts: &[&str]| place.monitor(arguments).assert_fails(1, parts);
    fails(&["-r", "missing"], &["opening missing", "No such file"]);
    fails(&["--socket", "missing"], &["missing", "--socket", "-r"]);
    fails(&["-r", "in", "-w", "in"], &["in is read", "destroy"]);
    fails(&["-r", "in", "-w", "no/where"], &["no/where"]);
    if cfg!(feature = "ebpf") {
        fails(&["--map", "missing"], &["missing"]);
    } else {
        place.monitor(&["--map", "missing"]).assert_fails(2, &["--features ebpf"]);
    }
}
