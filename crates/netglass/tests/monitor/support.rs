//! The program in a place of its own, and events to show it.

use std::{fmt::Write as _, process::Command};

pub(crate) use netglass_testing::Ended;
use netglass_testing::Running;

/// From 10.15.28.238:45678 to 10.15.116.202:80, TCP, the first of a connection.
const PACKET: &str = "5e6f1a2b3c4d0a580a0f1cee0800450000281c4640003f0679b40a0f1cee0a0f74cab26e0050\
                      112233440000000050027210beef0000";

/// A drop of endpoint 1022 for a reason, as Cilium 1.5 tells it.
pub(crate) fn drop(reason: u8) -> String {
    format!("01{reason:02x}fe03e4d37a8f36000000360000009fbf0000664b0000fe03000000000000{PACKET}")
}

/// A packet that comes from endpoint 1022, as Cilium 1.5 tells it.
pub(crate) fn trace() -> String {
    format!("0405fe0373ed5cbe36000000360000009fbf0000664b0000fe0302002a000000{PACKET}")
}

/// A drop as Cilium 1.5 shows it.
pub(crate) fn shown_drop(reason: &str) -> String {
    format!(
        "xx drop ({reason}) flow 0x8f7ad3e4 to endpoint 1022, identity 49055->19302: \
         10.15.28.238:45678 -> 10.15.116.202:80 tcp SYN\n"
    )
}

/// Lines of JSON with these events.
pub(crate) fn lines(events: &[String]) -> Vec<u8> {
    let mut text = String::new();
    for event in events {
        writeln!(text, "{{\"hex\":\"{event}\",\"cpu\":3}}").unwrap();
    }
    text.into_bytes()
}

/// Two drops and a packet.
pub(crate) fn three() -> Vec<u8> {
    lines(&[drop(133), trace(), drop(181)])
}

netglass_testing::own_place! {
    /// Where `netglass monitor` runs.
    pub(crate) struct Place;
}

impl Place {
    pub(crate) fn new() -> Self {
        Self(netglass_testing::Place::new())
    }

    /// `netglass monitor …` here.
    pub(crate) fn netglass(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_netglass"));
        command.arg("monitor");
        self.prepare(command, arguments)
    }

    /// Runs it to its end.
    #[track_caller]
    pub(crate) fn monitor(&self, arguments: &[&str]) -> Ended {
        Ended::of(Running::spawn(self.netglass(arguments)).wait())
    }

    /// Runs it to its end on events of a file.
    #[track_caller]
    pub(crate) fn monitor_file(&self, file: &[u8], arguments: &[&str]) -> Ended {
        self.file("in", file);
        let monitored = self.monitor(&[&["-r", "in"], arguments].concat());
        assert_eq!(monitored.status, 0, "{monitored:?}");
        monitored
    }
}
