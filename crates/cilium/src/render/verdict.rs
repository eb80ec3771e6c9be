//! What policies say of packets.

use super::Renderer;
use crate::{
    event::Event,
    notification::PolicyVerdictNotify,
    text::{put, put_number, put_prefixed_hexadecimal},
};

/// What a policy does.
pub(super) const fn action(verdict: &PolicyVerdictNotify<'_>) -> &'static str {
    if verdict.is_audited() {
        return "audit";
    }
    match verdict.verdict {
        ..0 => "deny",
        0 => "allow",
        _ => "redirect",
    }
}

/// By what a policy matched.
pub(super) fn match_name(verdict: &PolicyVerdictNotify<'_>) -> &'static str {
    const NAMES: [&str; 7] =
        ["none", "L3-Only", "L3-L4", "L4-Only", "all", "L3-Proto", "Proto-Only"];
    NAMES.get(usize::from(verdict.match_type())).copied().unwrap_or("unknown")
}

/// Appends how a packet is authenticated.
pub(super) fn put_authentication(out: &mut Vec<u8>, number: u8) {
    match number {
        0 => put(out, "disabled"),
        1 => put(out, "spire"),
        2 => put(out, "test-always-fail"),
        _ => {
            put(out, "Unknown-auth-type-");
            put_number(out, number);
        }
    }
}

impl Renderer {
    pub(super) fn verdict(
        &mut self,
        event: &Event<'_>,
        verdict: &PolicyVerdictNotify<'_>,
        out: &mut Vec<u8>,
    ) {
        self.put_time(event, out);
        put(out, "Policy verdict log: flow ");
        put_prefixed_hexadecimal(out, verdict.hash);
        put(out, " local EP ID ");
        put_number(out, verdict.source);
        put(out, ", remote ID ");
        self.put_identity(out, verdict.remote_identity);
        put(out, ", proto ");
        put_number(out, verdict.protocol);
        put(out, if verdict.is_ingress() { ", ingress" } else { ", egress" });
        put(out, ", action ");
        put(out, action(verdict));
        if let Some(authentication) = verdict.authentication {
            put(out, ", auth: ");
            put_authentication(out, authentication);
        }
        put(out, ", match ");
        put(out, match_name(verdict));
        if let Some(cookie) = verdict.cookie.filter(|it| *it > 0 && self.options.style.is_ours()) {
            put(out, ", cookie ");
            put_number(out, cookie);
        }
        put(out, ", ");
        self.connection(&verdict.captured, out);
        out.push(b'\n');
    }
}
