//! A test that cannot run says so in one line, and fails where everything must be there.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::process::{Command, Output};

use netglass_testing::{require, requirement};

/// Run by the tests below, in a process of its own.
#[test]
#[ignore = "it is a part of the other tests"]
fn needs_what_nobody_has() {
    require!(command("netglass-no-such-command"));
    panic!("the requirement is not met: this is not reached");
}

fn run_the_needy_test(strict: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "needs_what_nobody_has"])
        .env(requirement::STRICT, strict)
        .output()
        .unwrap()
}

#[test]
fn a_missing_requirement_is_one_line_that_the_harness_does_not_hide() {
    let output = run_the_needy_test("");
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "skipped needs_what_nobody_has: needs the command netglass-no-such-command \
         (run make setup)\n"
    );
}

#[test]
fn a_missing_requirement_fails_a_strict_run() {
    let output = run_the_needy_test("1");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("needs_what_nobody_has needs the command netglass-no-such-command"));
}

#[test]
fn what_is_there_is_no_hindrance() {
    assert!(requirement::all_met("test", &[requirement::command("sh")]));
}
