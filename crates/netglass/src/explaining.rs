//! Explaining: from packets that are seen and dropped to the ways of connections.

mod paths;
mod show;
mod target;

use std::{
    io::{self, Write as _},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use netglass_kernel::{conntrack::TrackedConnections, datapath::DatapathOptions};

use self::paths::Paths;
pub(crate) use self::target::Target;
use crate::{
    monitoring::kernel::{KernelSource, account},
    probing::{Event, RegisteredSignals, tell},
};

/// As much of a packet as its headers take.
const CAPTURE_LENGTH: u32 = 128;

/// Looks at packets for a while, and shows the ways of those that are asked for.
pub(crate) fn run(
    target: Target,
    namespaces: &[String],
    lasts: Duration,
    is_json: bool,
) -> anyhow::Result<()> {
    // First of all, so that from the start no signal ends the program with something unwritten.
    let signals = RegisteredSignals::new()?;
    let mut tracked = TrackedConnections::open().context("asking for translated connections")?;
    // An address may become another one on the way, so that packets are selected here.
    let mut source = KernelSource::open(&DatapathOptions {
        interfaces: vec!["any".to_owned()],
        traces: true,
        namespaces: namespaces.to_vec(),
        drops: true,
        capture_length: CAPTURE_LENGTH,
        ..DatapathOptions::default()
    })?;
    let mut paths = Paths::new(target);
    // Those that there are already.
    tracked.look(&mut |namespace, entry| paths.translate(namespace, entry))?;
    if let Some(note) = source.drop_privileges(netglass_kernel::Translations::is_usable) {
        tell(&[note]);
    }
    let signals = signals.listen()?;
    source.begin();
    let end = Instant::now() + lasts;
    let mut goes_on = true;
    while goes_on && Instant::now() < end {
        source.read(&mut |event| paths.take(event))?;
        // After the packets and before they are looked at: so it is known what became of them.
        tracked.look(&mut |namespace, entry| paths.translate(namespace, entry))?;
        source.release(&mut |event| paths.take(event))?;
        while let Some(signal) = signals.pending() {
            goes_on &= !matches!(signal, Event::End | Event::HangUp);
        }
    }
    tracked.look(&mut |namespace, entry| paths.translate(namespace, entry))?;
    source.finish(&mut |event| paths.take(event))?;
    let text = if is_json { show::json(&paths) } else { show::text(&paths) };
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())?;
    tell(&[format!(
        "{}; {}; {} translations lost",
        paths.account(),
        account(&source.counts()),
        tracked.lost()
    )]);
    Ok(())
}
