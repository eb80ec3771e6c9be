//! What the agent tells of itself.

use super::{Level, Renderer};
use crate::{
    agent::AgentNotify,
    event::Event,
    style::Style,
    tables::agent_events::agent_event,
    text::{put, put_number},
};

/// The last event that 1.5 knows.
const LAST_OF_1_5: u64 = 6;

/// Appends what happened.
pub(super) fn put_kind(out: &mut Vec<u8>, agent: &AgentNotify, style: Style) {
    let number = u32::try_from(agent.kind).ok();
    let name = number.and_then(agent_event);
    match name.filter(|_| !(style.is_1_5() && agent.kind > LAST_OF_1_5)) {
        Some(name) => put(out, name),
        None => put_number(out, agent.kind),
    }
}

impl Renderer {
    pub(super) fn agent(&mut self, event: &Event<'_>, agent: &AgentNotify, out: &mut Vec<u8>) {
        let style = self.options.style;
        if self.options.level == Level::Json {
            put(out, "{\"type\":\"agent\",\"subtype\":\"");
            put_kind(out, agent, style);
            put(out, "\",\"message\":");
            put(out, &agent.text);
            put(out, "}\n");
            return;
        }
        self.put_time(event, out);
        put(out, ">> ");
        put_kind(out, agent, style);
        put(out, ": ");
        put(out, &agent.text);
        out.push(b'\n');
    }
}
