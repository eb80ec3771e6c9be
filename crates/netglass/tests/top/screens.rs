//! The full screen.

use std::process::Command;

use netglass_testing::{Place, require};
use rustix::process::Signal;

use crate::{Talk, terminal::Terminal, top};

fn command(place: &Place, talk: &Talk) -> Command {
    top(place, ["--interval", "200ms", "-p", &talk.pids()])
}

/// The line of a process in the upper half.
fn line<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().skip(2).find(|line| line.contains(name) && !line.starts_with("──"))
}

#[test]
fn what_processes_do_is_shown_while_they_do_it() {
    require!(root, ebpf, command("python3"));
    let place = Place::new();
    let talk = Talk::start("screen");
    let mut terminal = Terminal::run(command(&place, &talk), 120, 24);
    let text = terminal.wait_for(|text| {
        text.contains("netglass top")
            && line(text, "asker").is_some_and(|line| line.contains("iB"))
            && line(text, "echoer").is_some_and(|line| line.contains("root"))
    });
    assert!(text.contains("2 processes"), "{text}");
    terminal.press("/asker\r");
    terminal.wait_for(|text| text.contains("filter: asker  ") || text.contains("filter: asker\n"));
    terminal.wait_for(|text| text.contains("EAGAIN") && text.contains("ESTABLISHED"));
    // The one that is selected has the connection, from its side.
    terminal.press("\x1b");
    terminal.wait_for(|text| !text.contains("filter: "));
    terminal.press("/echoer\r");
    let text = terminal.wait_for(|text| {
        text.contains(&format!("── {} echoer", talk.running.id()))
            && text.contains("LISTEN")
            && text.lines().any(|line| line.contains("ESTABLISHED") && line.contains("us"))
    });
    let connection = text.lines().find(|line| line.contains("ESTABLISHED")).unwrap();
    assert!(connection.contains(" 127.0.0.1:7090 "), "{text}");
    assert!(text.contains("1 process ") && line(&text, "asker").is_none(), "{text}");

    terminal.press("f");
    let frozen = terminal.wait_for(|text| text.contains("FROZEN"));
    assert!(frozen.contains("echoer"));
    terminal.press("f?");
    terminal.wait_for(|text| text.contains("stand still") && !text.contains("FROZEN"));
    terminal.press("x");
    terminal.wait_for(|text| text.contains("LISTEN"));
    terminal.press("q");
    let (status, text, is_restored) = terminal.end();
    assert!(status.success() && is_restored, "{text}");
    assert!(text.contains(" lost"), "{text}");
}

#[test]
fn a_terminal_may_change_its_size() {
    require!(root, ebpf, command("python3"));
    let place = Place::new();
    let talk = Talk::start("size");
    let terminal = Terminal::run(command(&place, &talk), 40, 10);
    terminal.wait_for(|text| text.contains("too small: 40x10"));
    terminal.resize(100, 30);
    let text = terminal.wait_for(|text| line(text, "asker").is_some() && text.contains("P99"));
    assert!(!text.contains("too small"), "{text}");
    terminal.resize(35, 30);
    terminal.wait_for(|text| text.contains("too small: 35x30"));
    terminal.signal(Signal::TERM);
    let (status, text, is_restored) = terminal.end();
    assert!(status.success() && is_restored, "{text}");
}

#[test]
fn colours_are_for_who_wants_them() {
    require!(root, ebpf, command("python3"));
    let place = Place::new();
    let talk = Talk::start("colors");
    let mut colored = Terminal::run(command(&place, &talk), 100, 24);
    colored.press("/asker\r");
    colored.wait_for(|text| text.contains("EAGAIN") && text.contains("(colours)"));
    // Ctrl-C is a key here.
    colored.press("\x03");
    let (status, text, is_restored) = colored.end();
    assert!(status.success() && is_restored, "{text}");

    let mut plain = command(&place, &talk);
    plain.env("NO_COLOR", "1");
    let mut terminal = Terminal::run(plain, 100, 24);
    terminal.press("/asker\r");
    let text = terminal.wait_for(|text| text.contains("EAGAIN") && text.contains("ESTABLISHED"));
    assert!(!text.contains("(colours)"), "{text}");
    terminal.signal(Signal::INT);
    let (status, text, is_restored) = terminal.end();
    assert!(status.success() && is_restored, "{text}");
}
