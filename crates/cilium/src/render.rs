//! Events as lines, of text or of JSON.

mod agent;
mod capture;
mod clock;
mod connection;
mod debug;
mod debug_sentences;
mod drop;
mod hex;
mod kernel;
mod l7;
mod layers;
mod ours;
mod ours_l7;
mod ours_layers;
mod packet;
mod recorder;
mod summary;
mod trace;
mod trace_sock;
mod verdict;

use std::collections::HashMap;

pub use self::connection::{PacketEnds, Summarizer, connection_summary};
use crate::{
    decode::{DecodeError, decode},
    dissect::Dissector,
    event::{Event, LOST, MessageType, SAMPLE},
    filter::Filter,
    notification::{DebugCapture, DebugMessage, DropNotify, Notification, TraceNotify},
    render::clock::Clock,
    style::Style,
    text::{put, put_number},
};

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// A line for each packet that was dropped or seen.
    Info,
    /// Debug messages and translated sockets, too.
    Debug,
    /// Packets layer by layer.
    Verbose,
    /// JSON.
    Json,
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is shown, or is one that the level does not show.
    Shown,
    /// The filter does not want it.
    Filtered,
    /// It is of a type that is not known; told as such.
    UnknownType,
    /// It could not be decoded; an error is told.
    Malformed,
    /// It tells that so many were lost.
    Lost(u64),
    /// It is no notification, and tells nothing that is known.
    UnknownPayload,
}

/// What is shown, and how.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Whose lines are written.
    pub style: Style,
    /// How much is told.
    pub level: Level,
    /// Packets as bytes.
    pub hex: bool,
    /// Identities as numbers.
    pub numeric: bool,
}

/// The names of interfaces by their index.
pub type InterfaceNames = HashMap<u32, String>;

/// Writes events as lines, one after the other.
#[derive(Debug)]
pub struct Renderer {
    options: Options,
    interfaces: InterfaceNames,
    dissector: Dissector,
    clock: Clock,
}

const SEPARATOR: &str =
    "------------------------------------------------------------------------------\n";

impl Renderer {
    /// With nothing left of an earlier packet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let mut dissector = Dissector::new(options.style);
        if matches!(options.level, Level::Info | Level::Debug) {
            dissector.forget_layers();
        }
        Self { options, interfaces: InterfaceNames::default(), dissector, clock: Clock::default() }
    }

    /// From now on interfaces have these names.
    pub fn set_interfaces(&mut self, interfaces: InterfaceNames) {
        self.interfaces = interfaces;
    }

    /// Appends the lines of an event, if `filter` wants it.
    pub fn render(&mut self, event: &Event<'_>, filter: &mut Filter, out: &mut Vec<u8>) -> Outcome {
        if !filter.wants_time(event.at) {
            return Outcome::Filtered;
        }
        match event.payload_type {
            SAMPLE => self.sample(event, filter, out),
            LOST => {
                self.lost(event, out);
                Outcome::Lost(event.lost)
            }
            _ => {
                self.unknown_payload(event, out);
                Outcome::UnknownPayload
            }
        }
    }

    /// Appends that so many events were lost.
    pub fn lost(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        if self.is_ours_json() {
            self.ours_lost(event, out);
            return;
        }
        self.put_time(event, out);
        put_cpu(out, event.cpu);
        put(out, " Lost ");
        put_number(out, event.lost);
        put(out, " events\n");
    }

    fn unknown_payload(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        match self.options.style {
            // It is the program that tells of it, not its formatter.
            Style::V1_5 => {}
            Style::Netglass(_) if self.is_ours_json() => self.ours_unknown_payload(event, out),
            Style::V1_20 | Style::Netglass(_) => {
                self.put_time(event, out);
                put(out, "Unknown payload type: ");
                put_number(out, event.payload_type);
                put(out, ", ");
                put_cpu(out, event.cpu);
                put(out, " Lost ");
                put_number(out, event.lost);
                put(out, " events\n");
            }
        }
    }

    fn sample(&mut self, event: &Event<'_>, filter: &mut Filter, out: &mut Vec<u8>) -> Outcome {
        let style = self.options.style;
        let Some(kind) = event.data.first().map(|first| MessageType::from_byte(*first)) else {
            // Cilium's program ends here.
            if style.is_ours() {
                self.malformed(event, None, &DecodeError::Empty, out);
            }
            return Outcome::Malformed;
        };
        let Some(kind) = kind.filter(|kind| is_known(*kind, style)) else {
            self.unknown_type(event, out);
            return Outcome::UnknownType;
        };
        let notification = match decode(event.data, style.layouts()) {
            Ok(notification) => notification,
            Err(error) => {
                self.malformed(event, Some(kind), &error, out);
                if style.is_1_5() {
                    self.zeros(event, kind, filter, out);
                }
                return Outcome::Malformed;
            }
        };
        if !filter.wants(&notification, style) {
            return Outcome::Filtered;
        }
        self.notification(event, &notification, out);
        Outcome::Shown
    }

    fn notification(
        &mut self,
        event: &Event<'_>,
        notification: &Notification<'_>,
        out: &mut Vec<u8>,
    ) {
        if self.is_ours_json() {
            self.ours(event, notification, out);
            return;
        }
        match notification {
            Notification::Drop(it) => self.drop(event, it, out),
            Notification::Trace(it) => self.trace(event, it, out),
            Notification::Capture(it) => self.capture(event, it, out),
            Notification::Debug(it) => self.debug(event, it, out),
            Notification::PolicyVerdict(it) => self.verdict(event, it, out),
            Notification::Recorder(it) => self.recorder(event, it, out),
            Notification::TraceSock(it) => self.trace_sock(event, it, out),
            Notification::L7(it) => self.l7(event, it, out),
            Notification::Agent(it) => self.agent(event, it, out),
        }
    }

    /// What 1.5 shows of what it could not decode: a notification in which everything is zero.
    fn zeros(
        &mut self,
        event: &Event<'_>,
        kind: MessageType,
        filter: &mut Filter,
        out: &mut Vec<u8>,
    ) {
        let level = self.options.level;
        let zeros = match kind {
            // Without level, Cilium's program ends when it cuts the packet out of what is too short.
            MessageType::Drop if level != Level::Info => Notification::Drop(DropNotify::default()),
            MessageType::Trace if level != Level::Info => {
                Notification::Trace(TraceNotify::default())
            }
            MessageType::Capture if level != Level::Json => {
                Notification::Capture(DebugCapture::default())
            }
            MessageType::Debug => Notification::Debug(DebugMessage::default()),
            MessageType::L7 => Notification::L7(Box::default()),
            MessageType::Agent => Notification::Agent(crate::agent::AgentNotify::default()),
            _ => return,
        };
        if filter.wants(&zeros, self.options.style) {
            self.notification(event, &zeros, out);
        }
    }

    fn unknown_type(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        if self.is_ours_json() {
            self.ours_unknown_type(event, out);
            return;
        }
        self.put_time(event, out);
        put_cpu(out, event.cpu);
        put(out, " Unknown event: [");
        for (index, byte) in event.data.iter().enumerate() {
            if index > 0 {
                out.push(b' ');
            }
            put_number(out, *byte);
        }
        put(out, "]\n");
    }

    fn malformed(
        &mut self,
        event: &Event<'_>,
        kind: Option<MessageType>,
        error: &DecodeError,
        out: &mut Vec<u8>,
    ) {
        if self.is_ours_json() {
            self.ours_malformed(event, kind, error, out);
            return;
        }
        if let (Style::V1_5, Some(kind)) = (self.options.style, kind) {
            let (doing, what) = match kind {
                MessageType::Drop => ("parsing", "drop notification"),
                MessageType::Debug => ("parsing", "debug"),
                MessageType::Capture => ("parsing", "debug capture"),
                MessageType::Trace => ("parsing", "trace notification"),
                MessageType::L7 => ("decoding", "LogRecord notification"),
                _ => ("decoding", "agent notification"),
            };
            for text in ["Error while ", doing, " ", what, " message: "] {
                put(out, text);
            }
            match error {
                DecodeError::Gob(error) => put(out, &error.to_string()),
                _ => put(out, "unexpected EOF"),
            }
            out.push(b'\n');
            return;
        }
        self.put_time(event, out);
        put(out, "cannot decode message type '");
        match kind {
            Some(kind) => put_number(out, kind as u8),
            None => put(out, "none"),
        }
        put(out, "': ");
        put(out, &error.to_string());
        out.push(b'\n');
    }

    fn is_ours_json(&self) -> bool {
        self.options.style.is_ours() && self.options.level == Level::Json
    }

    /// When an event was received; Cilium does not tell.
    fn put_time(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        if self.options.style.is_ours()
            && let Some(at) = event.at
        {
            self.clock.put(out, at);
            out.push(b' ');
        }
    }

    /// The name of an interface, or its index.
    fn put_interface(&self, out: &mut Vec<u8>, index: u32) {
        match self.interfaces.get(&index).filter(|_| index > 0) {
            Some(name) => put(out, name),
            None => put_number(out, index),
        }
    }

    /// An identity by its name, if it has one and is not wanted as a number.
    fn put_identity(&self, out: &mut Vec<u8>, identity: u32) {
        let named = !self.options.numeric && !self.options.style.is_1_5();
        match crate::tables::identities::identity(identity).filter(|_| named) {
            Some(name) => put(out, name),
            None => put_number(out, identity),
        }
    }

    fn put_identities(&self, out: &mut Vec<u8>, source: u32, destination: u32) {
        put(out, "identity ");
        self.put_identity(out, source);
        put(out, "->");
        self.put_identity(out, destination);
    }
}

/// Whether a release has this type.
fn is_known(kind: MessageType, style: Style) -> bool {
    match kind {
        MessageType::PolicyVerdict | MessageType::TraceSock => !style.is_1_5(),
        MessageType::Recorder => style.is_ours(),
        _ => true,
    }
}

/// The processor as lines begin with it.
fn put_cpu(out: &mut Vec<u8>, cpu: i64) {
    put(out, "CPU ");
    if (0..10).contains(&cpu) {
        out.push(b'0');
    }
    put_number(out, cpu);
    out.push(b':');
}
