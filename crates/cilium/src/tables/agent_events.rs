//! What the agent tells of itself.

/// The words for a notification of the agent.
pub(crate) const fn agent_event(number: u32) -> Option<&'static str> {
    Some(match number {
        0 => "unspecified",
        1 => "Message",
        2 => "Cilium agent started",
        3 => "Endpoint regenerated",
        4 => "Failed endpoint regeneration",
        5 => "Policy updated",
        6 => "Policy deleted",
        7 => "Endpoint created",
        8 => "Endpoint deleted",
        9 => "IPCache entry upserted",
        10 => "IPCache entry deleted",
        _ => return None,
    })
}
