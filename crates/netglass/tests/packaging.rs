//! What is in `packaging/` fits the program.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use netglass_testing::require;

const PROGRAM: &str = env!("CARGO_BIN_EXE_netglass");
const INSTALLED: &str = "/usr/local/bin/netglass";
const UNIT: &str = "netglass-probe.service";

fn packaging(name: &str) -> (PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging").join(name);
    let text = fs::read_to_string(&path).unwrap();
    (path, text)
}

fn help(verb: &str) -> String {
    let output = Command::new(PROGRAM).args([verb, "--help"]).output().unwrap();
    assert!(output.status.success(), "{verb}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_unit_runs_a_verb_with_options_that_there_are() {
    let (_, unit) = packaging(UNIT);
    let command = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let mut words = command.split_whitespace();
    assert_eq!(words.next(), Some(INSTALLED));
    let help = help(words.next().unwrap());
    for option in words.filter(|word| word.starts_with("--")) {
        let name = option.split('=').next().unwrap();
        assert!(help.contains(&format!("{name} ")), "{name}");
    }
}

#[test]
fn every_variable_of_the_environment_file_is_that_of_an_option() {
    let (_, file) = packaging("probe.env");
    let help = help("probe");
    let variables: Vec<&str> = file
        .lines()
        .filter_map(|line| line.trim_start_matches('#').split_once('='))
        .filter_map(|(name, _)| name.starts_with("NETGLASS_").then_some(name))
        .collect();
    assert!(variables.contains(&"NETGLASS_DB"), "{variables:?}");
    for variable in variables {
        let shown = [format!("[env: {variable}="), format!("[env: {variable}]")];
        assert!(shown.iter().any(|shown| help.contains(shown)), "{variable}");
    }
}

#[test]
fn the_values_of_the_environment_file_are_understood() {
    let (_, file) = packaging("probe.env");
    let mut command = Command::new(PROGRAM);
    command.args(["probe", "--config", "/dev/null", "--interval", "9d"]);
    let values = file.lines().filter_map(|line| line.trim_start_matches('#').split_once('='));
    for (name, value) in values.filter(|(name, _)| name.starts_with("NETGLASS_")) {
        command.env(name, value);
    }
    // It ends at what is wrong on purpose, which is looked at once all values are understood.
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("--interval (9d) is longer than --flush-interval (30s)"), "{stderr}");
}

#[test]
fn systemd_understands_the_unit() {
    require!(command("systemd-analyze"));
    let directory = tempfile::tempdir().unwrap();
    let unit = directory.path().join(UNIT);
    // It says so where a program is not there.
    let (_, text) = packaging(UNIT);
    fs::write(&unit, text.replace(INSTALLED, PROGRAM)).unwrap();
    let drop_ins = directory.path().join(format!("{UNIT}.d"));
    fs::create_dir(&drop_ins).unwrap();
    let (path, _) = packaging("password.conf");
    fs::copy(path, drop_ins.join("password.conf")).unwrap();
    let output =
        Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    // It also looks at the machine's own units, of which we need know nothing.
    let ours: Vec<&str> = stderr.lines().filter(|line| line.contains("netglass")).collect();
    assert!(ours.is_empty() && output.status.success(), "{stderr}");
}
