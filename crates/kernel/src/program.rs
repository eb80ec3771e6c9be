//! What all kernel programs have in common: why one cannot be had, in words.

use std::{
    cell::RefCell,
    path::Path,
    sync::Once,
    time::{Duration, SystemTime},
};

use libbpf_rs::{ErrorKind, MapCore, MapFlags, PrintLevel};
use netglass_model::Timestamp;
use rustix::{
    thread::{CapabilitySet, capabilities},
    time::{ClockId, clock_gettime},
};

/// Where the kernel tells its types.
pub(crate) const TYPES: &str = "/sys/kernel/btf/vmlinux";

/// How many entries are taken out of a map at once.
const BATCH: u32 = 1024;

const LOG_BEGINS: &str = "-- BEGIN PROG LOAD LOG --";

thread_local! {
    /// What libbpf warned of since the last attempt began on this thread.
    static WARNINGS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// What kind of thing is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The kernel's types.
    Types,
    /// Rights.
    Rights,
    /// Not a right, but somebody who forbids it all the same.
    Rules,
    /// Memory.
    Memory,
    /// Something of the kernel.
    Kernel,
}

/// Why something cannot be done with kernel programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Obstacle {
    pub(crate) cause: Cause,
    pub(crate) reason: String,
}

impl Obstacle {
    pub(crate) fn of_kernel(reason: impl Into<String>) -> Self {
        Self { cause: Cause::Kernel, reason: reason.into() }
    }
}

/// Does something with libbpf that takes the capabilities `needed`. libbpf's own error is hardly
/// ever more than a number: why it fails is in what it would write to standard error.
pub(crate) fn attempt<T>(
    needed: CapabilitySet,
    work: impl FnOnce() -> libbpf_rs::Result<T>,
) -> Result<T, Obstacle> {
    static LISTEN: Once = Once::new();
    LISTEN.call_once(|| {
        libbpf_rs::set_print(Some((PrintLevel::Warn, note_warning)));
    });
    WARNINGS.take();
    let result = work();
    let warnings = WARNINGS.take();
    result.map_err(|error| explain(&error, &warnings, missing(needed)))
}

/// Takes all entries out of a map to which nobody adds meanwhile: keys and values.
pub(crate) fn take_entries(
    map: &impl MapCore,
    take: &mut dyn FnMut(&[u8], &[u8]),
) -> libbpf_rs::Result<()> {
    // A batch may be short although there is more, so the end is when there is nothing.
    loop {
        let mut is_empty = true;
        for (key, value) in map.lookup_and_delete_batch(BATCH, MapFlags::ANY, MapFlags::ANY)? {
            is_empty = false;
            take(&key, &value);
        }
        if is_empty {
            break;
        }
    }
    // One by one, where the kernel knows no batches.
    while let Some(key) = map.keys().next() {
        if let Some(value) = map.lookup(&key, MapFlags::ANY)? {
            take(&key, &value);
        }
        map.delete(&key)?;
    }
    Ok(())
}

/// Takes a count that each processor has one of, to which nobody adds meanwhile.
pub(crate) fn take_count(counts: &impl MapCore, index: u32) -> libbpf_rs::Result<u64> {
    let key = index.to_ne_bytes();
    let per_processor = counts.lookup_percpu(&key, MapFlags::ANY)?.unwrap_or_default();
    let zeroes: Vec<Vec<u8>> = per_processor.iter().map(|it| vec![0; it.len()]).collect();
    counts.update_percpu(&key, &zeroes, MapFlags::ANY)?;
    let number = |bytes: &Vec<u8>| bytes.first_chunk().map(|it| u64::from_ne_bytes(*it));
    Ok(per_processor.iter().filter_map(number).sum())
}

/// When the kernel booted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    booted: Timestamp,
}

impl Clock {
    pub(crate) fn read() -> Self {
        let since_boot = clock_gettime(ClockId::Boottime);
        let since_boot = Duration::try_from(since_boot).unwrap_or_default();
        Self { booted: Timestamp::from(SystemTime::now()).saturating_sub(since_boot) }
    }

    /// The moment so many nanoseconds after that.
    pub(crate) fn at(self, since_boot: u64) -> Timestamp {
        let nanoseconds = i64::try_from(since_boot).unwrap_or(i64::MAX);
        Timestamp::from_nanoseconds(self.booted.as_nanoseconds().saturating_add(nanoseconds))
    }
}

/// A number of a record that a kernel program wrote, in the order of this processor.
pub(crate) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(offset..)?.first_chunk()?))
}

/// The same of 32 bits.
pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(offset..)?.first_chunk()?))
}

/// The same of 64 bits.
pub(crate) fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(offset..)?.first_chunk()?))
}

fn note_warning(_: PrintLevel, text: String) {
    // It is borrowed by nobody while libbpf is at work.
    WARNINGS.with(|warnings| {
        if let Ok(mut warnings) = warnings.try_borrow_mut() {
            warnings.push(text);
        }
    });
}

/// Those of the capabilities that the calling thread has not; `CAP_SYS_ADMIN` stands for each.
pub(crate) fn missing(needed: CapabilitySet) -> CapabilitySet {
    let has = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    if has.contains(CapabilitySet::SYS_ADMIN) { CapabilitySet::empty() } else { needed - has }
}

/// What is said where rights are missing.
fn lack_of(missing: CapabilitySet) -> String {
    const NAMES: [(CapabilitySet, &str); 3] = [
        (CapabilitySet::BPF, "CAP_BPF"),
        (CapabilitySet::PERFMON, "CAP_PERFMON"),
        (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN"),
    ];
    let names: Vec<_> = NAMES
        .into_iter()
        .filter(|(capability, _)| missing.contains(*capability))
        .map(|(_, name)| name)
        .collect();
    match names.as_slice() {
        [] => "no capability is missing, so seccomp, a user namespace or the kernel's lockdown \
               forbids it"
            .to_owned(),
        [only] => format!("{only} is missing"),
        [first @ .., last] => format!("{} and {last} are missing", first.join(", ")),
    }
}

/// Why the kernel refuses something that takes capabilities of which some are missing.
pub(crate) fn refusal(said: &str, missing: CapabilitySet) -> Obstacle {
    let cause = if missing.is_empty() { Cause::Rules } else { Cause::Rights };
    Obstacle { cause, reason: format!("{said}; {}", lack_of(missing)) }
}

fn explain(error: &libbpf_rs::Error, warnings: &[String], missing: CapabilitySet) -> Obstacle {
    let lines = || warnings.iter().flat_map(|warning| warning.lines());
    let said = |text: &str| lines().any(|line| line.contains(text));
    let number = format!("{error:#}");
    // The verifier refuses with the same error.
    let is_refused = error.kind() == ErrorKind::PermissionDenied;
    if is_refused && (!missing.is_empty() || !said(LOG_BEGINS)) {
        return refusal(&number, missing);
    }
    if ["kernel BTF is missing", "read kernel BTF", "valid kernel BTF"].into_iter().any(said) {
        let reason = if Path::new(TYPES).exists() {
            format!("{TYPES} does not hold the kernel's types (BTF): {number}")
        } else {
            format!("{TYPES} is missing, which tells the kernel's types (BTF)")
        };
        return Obstacle { cause: Cause::Types, reason };
    }
    let cause = match error.kind() {
        ErrorKind::OutOfMemory => Cause::Memory,
        _ => Cause::Kernel,
    };
    let reason = match detail(lines()) {
        Some(detail) => format!("{number}; {detail}"),
        None => number,
    };
    Obstacle { cause, reason }
}

/// What of the warnings says most.
fn detail<'a>(mut lines: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
    const UNKNOWN: &str = "failed to find kernel BTF type ID of '";
    if let Some((_, rest)) = lines.clone().find_map(|line| line.split_once(UNKNOWN)) {
        let name = rest.split('\'').next().unwrap_or(rest);
        return Some(format!("this kernel has no {name}"));
    }
    // The verifier gives its reason in the last line of what it writes, before the statistics.
    let mut log = lines.clone().skip_while(|line| !line.contains(LOG_BEGINS));
    if log.next().is_some() {
        let is_reason = |line: &&str| {
            !["processed ", "verification time ", "stack depth "]
                .into_iter()
                .any(|statistics| line.starts_with(statistics))
        };
        let reason = log.take_while(|line| !line.contains("-- END ")).filter(is_reason).last();
        if let Some(reason) = reason {
            return Some(format!("the verifier: {}", reason.trim()));
        }
    }
    lines.next().map(|line| line.trim_start_matches("libbpf: ").trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(number: i32, warnings: &[&str]) -> Obstacle {
        let warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();
        let error = libbpf_rs::Error::from_raw_os_error(number);
        explain(&error, &warnings, CapabilitySet::BPF | CapabilitySet::PERFMON)
    }

    #[test]
    fn what_libbpf_does_not_find_is_named() {
        let types = explained(
            3,
            &[
                "libbpf: kernel BTF is missing at '/sys/kernel/btf/vmlinux', was it enabled?\n",
                "libbpf: Error loading vmlinux BTF: -ESRCH\n",
            ],
        );
        assert_eq!(types.cause, Cause::Types);
        assert!(types.reason.starts_with(TYPES), "{types:?}");
        let tracepoint = explained(
            3,
            &["libbpf: prog 'observe_send': failed to find kernel BTF type ID of \
               'sock_send_length': -ESRCH\n"],
        );
        assert_eq!(tracepoint.cause, Cause::Kernel);
        assert!(tracepoint.reason.ends_with("; this kernel has no sock_send_length"));
    }

    #[test]
    fn missing_rights_are_named() {
        let obstacle = explained(1, &["libbpf: Error in bpf_object__probe_loading(): -EPERM\n"]);
        assert_eq!(obstacle.cause, Cause::Rights);
        assert_eq!(
            obstacle.reason,
            "Operation not permitted (os error 1); CAP_BPF and CAP_PERFMON are missing"
        );
        assert!(lack_of(CapabilitySet::empty()).contains("no capability is missing"));
        let all = CapabilitySet::BPF | CapabilitySet::PERFMON | CapabilitySet::NET_ADMIN;
        assert_eq!(lack_of(all), "CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN are missing");
        assert_eq!(lack_of(CapabilitySet::BPF), "CAP_BPF is missing");
    }

    #[test]
    fn the_verifier_s_last_word_is_its_reason() {
        let log = "libbpf: prog 'x': -- BEGIN PROG LOAD LOG --\n0: R1=ctx() R10=fp0\n\
                   R1 invalid mem access 'scalar'\nprocessed 2 insns (limit 1000000)\n\
                   -- END PROG LOAD LOG --\n";
        let failed = "libbpf: prog 'x': BPF program load failed: -EINVAL\n";
        let obstacle = explained(22, &[failed, log]);
        assert_eq!(obstacle.cause, Cause::Kernel);
        assert!(obstacle.reason.ends_with("; the verifier: R1 invalid mem access 'scalar'"));
        let obstacle = explained(22, &["libbpf: map 'sockets': failed to create: -EINVAL\n"]);
        assert!(obstacle.reason.ends_with("; map 'sockets': failed to create: -EINVAL"));
        assert_eq!(explained(12, &[]).cause, Cause::Memory);
    }

    #[test]
    fn only_what_is_warned_of_during_an_attempt_counts() {
        let needed = CapabilitySet::empty();
        let failing = || {
            note_warning(PrintLevel::Warn, "libbpf: this one\n".to_owned());
            Err::<(), _>(libbpf_rs::Error::from_raw_os_error(22))
        };
        assert!(attempt(needed, failing).unwrap_err().reason.ends_with("; this one"));
        let failing = || Err::<(), _>(libbpf_rs::Error::from_raw_os_error(22));
        assert!(!attempt(needed, failing).unwrap_err().reason.contains("this one"));
    }
}
