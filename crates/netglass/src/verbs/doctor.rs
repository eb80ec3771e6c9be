//! `netglass doctor`: what of this host works for netglass, and what to do about the rest.

use std::{
    io::{self, BufWriter, Write},
    process::ExitCode,
};

use anstyle::{AnsiColor, Style};
use clap::{Args, ValueEnum};
use netglass_kernel::doctor::{self, Finding};
use netglass_model::{Degradation, printable};
use serde::Serialize;
use unicode_width::UnicodeWidthStr as _;

use crate::probing::{Trial, TriedMode};

/// The version of the JSON schema (docs/doctor.md).
const VERSION: u32 = 1;

/// The longest line.
const WIDTH: usize = 100;
/// What stands before a detail of a feature that does not work.
const INDENT: &str = "    ";
/// How wide the names of these details are.
const NAME_WIDTH: usize = 9;

const HEADING: Style = Style::new().dimmed();
const WORKS: Style = AnsiColor::Green.on_default();
const FAILS: Style = AnsiColor::Red.on_default().bold();

/// Tries what this host offers to netglass, and says what to do about what does not work
///
/// Each feature is really tried, with the rights of whoever calls, and undone at once. The last
/// lines say how `--mode auto` would find connections here, and what of them it would miss.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit status: 0 everything works, 1 something does not, 2 wrong usage.

Examples:
  netglass doctor                   as whoever will run the probe, mostly root
  netglass doctor --format json     for programs, one object a line
  netglass doctor > /dev/null || echo 'this host does not offer everything'")]
pub(crate) struct Arguments {
    /// How the answer is written
    #[arg(long, env = "NETGLASS_DOCTOR_FORMAT", value_name = "FORMAT", default_value = "text")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table, to be read by people
    Text,
    /// One JSON object a line, with a documented and versioned schema
    Json,
}

/// Tries everything; the status says whether all of it works.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let findings = doctor::examine();
    let trial = Trial::run();
    let stdout = io::stdout().lock();
    match arguments.format {
        Format::Text => {
            let mut out = BufWriter::new(anstream::AutoStream::auto(stdout));
            write_text(&findings, &trial, &mut out)?;
            out.flush()?;
        }
        Format::Json => {
            let mut out = BufWriter::new(stdout);
            write_json(&findings, &trial, &mut out)?;
            out.flush()?;
        }
    }
    let works = findings.iter().all(Finding::works) && trial.mode != TriedMode::Neither;
    Ok(if works { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn write_text(findings: &[Finding], trial: &Trial, out: &mut impl Write) -> io::Result<()> {
    let widest = findings.iter().map(|finding| finding.feature.width()).max().unwrap_or_default();
    writeln!(out, "{HEADING}{:widest$}  WORKS{HEADING:#}", "FEATURE")?;
    for finding in findings {
        let (style, works) = if finding.works() { (WORKS, "yes") } else { (FAILS, "no") };
        let gap = widest - finding.feature.width();
        writeln!(out, "{}{:gap$}  {style}{works}{style:#}", finding.feature, "")?;
        if let Some(reason) = &finding.reason {
            for (name, text) in
                [("why", reason.as_str()), ("lost", finding.lost), ("remedy", &finding.remedy)]
            {
                write_detail(name, text, out)?;
            }
        }
    }
    writeln!(out)?;
    let (style, means) = match trial.mode {
        TriedMode::Streaming => (WORKS, "streams: kernel programs watch all sockets"),
        TriedMode::Polling => (FAILS, "polls: what lives between two scans is missed"),
        TriedMode::Neither => (FAILS, "fails"),
    };
    writeln!(out, "`--mode auto` {style}{means}{style:#}")?;
    if let Some(failure) = &trial.failure {
        write_detail("why", failure, out)?;
    }
    for Degradation { feature, reason, consequence } in &trial.lost {
        write_detail("without", feature, out)?;
        write_detail("why", reason, out)?;
        write_detail("lost", consequence, out)?;
    }
    Ok(())
}

/// Writes a named text, wrapped at the right margin.
fn write_detail(name: &str, text: &str, out: &mut impl Write) -> io::Result<()> {
    let room = WIDTH - INDENT.len() - NAME_WIDTH;
    let mut name = name;
    for line in wrap(&printable(text), room) {
        writeln!(out, "{INDENT}{HEADING}{name:NAME_WIDTH$}{HEADING:#}{line}")?;
        name = "";
    }
    Ok(())
}

/// Lines of whole words, none wider than `room` unless one word is.
fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.width() + 1 + word.width() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[derive(Serialize)]
struct FeatureRecord<'a> {
    version: u32,
    kind: &'static str,
    key: &'a str,
    feature: &'a str,
    works: bool,
    reason: Option<&'a str>,
    lost: &'a str,
    remedy: &'a str,
}

#[derive(Serialize)]
struct ModeRecord<'a> {
    version: u32,
    kind: &'static str,
    mode: Option<&'static str>,
    reason: Option<&'a str>,
    lost: &'a [Degradation],
}

fn write_json(findings: &[Finding], trial: &Trial, out: &mut impl Write) -> io::Result<()> {
    for finding in findings {
        let record = FeatureRecord {
            version: VERSION,
            kind: "feature",
            key: finding.key,
            feature: finding.feature,
            works: finding.works(),
            reason: finding.reason.as_deref(),
            lost: finding.lost,
            remedy: &finding.remedy,
        };
        serde_json::to_writer(&mut *out, &record)?;
        writeln!(out)?;
    }
    let record = ModeRecord {
        version: VERSION,
        kind: "mode",
        mode: match trial.mode {
            TriedMode::Streaming => Some("streaming"),
            TriedMode::Polling => Some("polling"),
            TriedMode::Neither => None,
        },
        reason: trial.failure.as_deref(),
        lost: &trial.lost,
    };
    serde_json::to_writer(&mut *out, &record)?;
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> Vec<Finding> {
        let working = Finding {
            key: "sockets_over_netlink",
            feature: "sockets over netlink (sock_diag)",
            reason: None,
            lost: "bytes",
            remedy: "nothing".to_owned(),
        };
        let failing = Finding {
            key: "kernel_types",
            feature: "the kernel's types (BTF)",
            reason: Some("/sys/kernel/btf/vmlinux is\nmissing".to_owned()),
            lost: "no kernel program can be loaded: sockets are polled, and their processes found \
                   in /proc/*/fd",
            remedy: "a kernel built with CONFIG_DEBUG_INFO_BTF".to_owned(),
        };
        vec![working, failing]
    }

    fn polling() -> Trial {
        Trial {
            mode: TriedMode::Polling,
            failure: None,
            lost: vec![Degradation {
                feature: "streaming".to_owned(),
                reason: "cannot load".to_owned(),
                consequence: "sockets are polled".to_owned(),
            }],
        }
    }

    fn written(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut bytes = Vec::new();
        write(&mut bytes).unwrap();
        anstream::adapter::strip_str(&String::from_utf8(bytes).unwrap()).to_string()
    }

    #[test]
    fn what_fails_says_why_what_is_lost_and_what_to_do() {
        let text = written(|out| write_text(&findings(), &polling(), out));
        insta::assert_snapshot!(text, @r"
        FEATURE                           WORKS
        sockets over netlink (sock_diag)  yes
        the kernel's types (BTF)          no
            why      /sys/kernel/btf/vmlinux is\nmissing
            lost     no kernel program can be loaded: sockets are polled, and their processes found in
                     /proc/*/fd
            remedy   a kernel built with CONFIG_DEBUG_INFO_BTF

        `--mode auto` polls: what lives between two scans is missed
            without  streaming
            why      cannot load
            lost     sockets are polled
        ");
    }

    #[test]
    fn each_feature_is_one_object_and_the_mode_is_the_last() {
        let json = written(|out| write_json(&findings(), &polling(), out));
        insta::assert_snapshot!(json, @r#"
        {"version":1,"kind":"feature","key":"sockets_over_netlink","feature":"sockets over netlink (sock_diag)","works":true,"reason":null,"lost":"bytes","remedy":"nothing"}
        {"version":1,"kind":"feature","key":"kernel_types","feature":"the kernel's types (BTF)","works":false,"reason":"/sys/kernel/btf/vmlinux is\nmissing","lost":"no kernel program can be loaded: sockets are polled, and their processes found in /proc/*/fd","remedy":"a kernel built with CONFIG_DEBUG_INFO_BTF"}
        {"version":1,"kind":"mode","mode":"polling","reason":null,"lost":[{"feature":"streaming","reason":"cannot load","consequence":"sockets are polled"}]}
        "#);
    }

    #[test]
    fn words_stay_whole() {
        assert_eq!(wrap("a word of it", 6), ["a word", "of it"]);
        assert_eq!(wrap("overlong it", 6), ["overlong", "it"]);
    }
}
