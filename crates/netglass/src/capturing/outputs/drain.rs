//! The end: what waits is delivered, as far as that is possible.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use netglass_store::flow_log::FlowOutput;

use super::super::Work;

/// How often is looked at whether something was delivered.
const LOOK: Duration = Duration::from_millis(10);

/// Ends a log, and returns an error if something was lost that should have been stored. An output
/// that takes nothing for as long as `patience` is given up, and all of them are with a signal.
pub(in super::super) fn finish(work: &mut Work, patience: Duration) -> anyhow::Result<()> {
    work.conversations.log_mut().flush();
    let is_drained = drain(work, patience);
    let Work { conversations, reporter, .. } = work;
    let log = conversations.log_mut();
    log.finish(if is_drained { patience } else { Duration::ZERO });
    for note in log.take_notes() {
        reporter.tell(&note);
    }
    for output in log.outputs() {
        let spooled = output.ledger().spooled;
        if spooled > 0 {
            reporter.tell(&format!(
                "{spooled} flow records wait in the spool for {}: the next capture with the same \
                 --spool-dir delivers them",
                output.target()
            ));
        }
    }
    let failed: Vec<_> = (log.outputs().iter())
        // Whoever reads as much as he wants and then goes has got what he wanted.
        .filter(|output| !output.is_closed())
        .filter(|output| output.ledger().dropped_total() > 0)
        .map(|output| format!("{}: {}", output.target(), output.ledger()))
        .collect();
    if failed.is_empty() {
        return Ok(());
    }
    Err(anyhow::anyhow!(failed.join("; "))).context("not everything was logged")
}

/// Waits for as long as something is delivered. Returns whether nothing waits any more.
fn drain(work: &mut Work, patience: Duration) -> bool {
    let Work { conversations, packets, reporter } = work;
    let (mut before, mut since) = (0, Instant::now());
    loop {
        let log = conversations.log_mut();
        log.tick(Instant::now());
        let open = log.outputs().iter().filter(|output| !output.is_closed());
        let waiting: u64 = open.map(FlowOutput::waiting_batches).sum();
        if waiting == 0 {
            return true;
        }
        if waiting != before {
            (before, since) = (waiting, Instant::now());
        }
        let goes_on = !reporter.is_due() || reporter.report(conversations, packets.as_ref());
        if since.elapsed() >= patience || !goes_on {
            return false;
        }
        thread::sleep(LOOK);
    }
}
