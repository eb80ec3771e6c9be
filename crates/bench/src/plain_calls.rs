//! As plain programs as can tell of calls: they take the times of nine system calls by their
//! numbers and look at no socket. One does nothing else, another one writes a line for each call, and
//! one adds calls up by process and call. What they cost is about what that costs at all.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use libbpf_rs::{Link, Map, MapCore, MapFlags, Object, ObjectBuilder, RingBufferBuilder};
use rustix::time::{ClockId, clock_gettime};

use crate::{
    kernel_program::compile,
    rate::{Observer, Work},
    report::grouped,
};

/// Which calls.
const CALLS: &str = r#"
#include <asm/unistd.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct pt_regs {
	unsigned long orig_ax;
	unsigned long di;
} __attribute__((preserve_access_index));

static __always_inline int is_told(long number)
{
	switch (number) {
	case __NR_socket:
	case __NR_connect:
	case __NR_accept4:
	case __NR_read:
	case __NR_write:
	case __NR_writev:
	case __NR_recvfrom:
	case __NR_shutdown:
	case __NR_close:
		return 1;
	}
	return 0;
}

char _license[] SEC("license") = "Dual MIT/GPL";
"#;

/// Their two times and no more, kept where a thread's id leads to.
const TIMES: &str = r#"
#define SLOTS 65536

struct task_struct {
	int pid;
} __attribute__((preserve_access_index));

struct slot {
	__u64 begun, calls, time, reserved[5];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, struct slot);
} slots SEC(".maps");

static __always_inline struct slot *own_slot(void)
{
	struct task_struct *task = (void *)bpf_get_current_task_btf();
	__u32 key = (__u32)task->pid % SLOTS;

	return bpf_map_lookup_elem(&slots, &key);
}

SEC("tp_btf/sys_enter") int begins(__u64 *context)
{
	struct slot *slot;

	if (!is_told(context[1]))
		return 0;
	slot = own_slot();
	if (slot)
		slot->begun = bpf_ktime_get_ns();
	return 0;
}

SEC("tp_btf/sys_exit") int returns(__u64 *context)
{
	struct pt_regs *registers = (void *)context[0];
	struct slot *slot;

	if (!is_told(registers->orig_ax))
		return 0;
	slot = own_slot();
	if (!slot)
		return 0;
	slot->time += bpf_ktime_get_ns() - slot->begun;
	slot->calls++;
	return 0;
}
"#;

/// When each call begins, for those that do more with it.
const BEGINS: &str = r#"
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, __u64);
} begun SEC(".maps");

SEC("tp_btf/sys_enter") int begins(__u64 *context)
{
	__u64 who, now;

	if (!is_told(context[1]))
		return 0;
	who = bpf_get_current_pid_tgid();
	now = bpf_ktime_get_ns();
	bpf_map_update_elem(&begun, &who, &now, BPF_ANY);
	return 0;
}
"#;

/// A line for each call that returns.
const LINES: &str = r#"
struct line {
	__u64 time, duration, who;
	__s64 result;
	__u32 call, descriptor;
	char comm[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 26);
} lines SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} lost SEC(".maps");

SEC("tp_btf/sys_exit") int returns(__u64 *context)
{
	struct pt_regs *registers = (void *)context[0];
	__u64 who, flags, *since;
	struct line *line;
	__u32 first = 0;

	if (!is_told(registers->orig_ax))
		return 0;
	who = bpf_get_current_pid_tgid();
	since = bpf_map_lookup_elem(&begun, &who);
	if (!since)
		return 0;
	line = bpf_ringbuf_reserve(&lines, sizeof(*line), 0);
	if (!line) {
		__u64 *count = bpf_map_lookup_elem(&lost, &first);

		if (count)
			++*count;
		return 0;
	}
	line->time = bpf_ktime_get_ns();
	line->duration = line->time - *since;
	line->who = who;
	line->result = context[1];
	line->call = registers->orig_ax;
	line->descriptor = registers->di;
	bpf_get_current_comm(line->comm, sizeof(line->comm));
	flags = bpf_ringbuf_query(&lines, BPF_RB_AVAIL_DATA) > 1 << 24 ? BPF_RB_FORCE_WAKEUP :
									BPF_RB_NO_WAKEUP;
	bpf_ringbuf_submit(line, flags);
	return 0;
}
"#;

/// Calls, bytes and time of each process and call, and how many calls took how long.
const SUMS: &str = r#"
struct key {
	__u32 process, call;
};

struct sum {
	__u64 calls, bytes, time, durations[32];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct key);
	__type(value, struct sum);
} sums SEC(".maps");

static const struct sum nothing;

SEC("tp_btf/sys_exit") int returns(__u64 *context)
{
	struct pt_regs *registers = (void *)context[0];
	__u64 who, duration, rest, *since;
	struct key key = {};
	__u32 power = 0;
	struct sum *sum;

	if (!is_told(registers->orig_ax))
		return 0;
	who = bpf_get_current_pid_tgid();
	since = bpf_map_lookup_elem(&begun, &who);
	if (!since)
		return 0;
	duration = bpf_ktime_get_ns() - *since;
	key.process = who >> 32;
	key.call = registers->orig_ax;
	sum = bpf_map_lookup_elem(&sums, &key);
	if (!sum) {
		bpf_map_update_elem(&sums, &key, &nothing, BPF_NOEXIST);
		sum = bpf_map_lookup_elem(&sums, &key);
		if (!sum)
			return 0;
	}
	for (rest = duration; rest > 1 && power < 31; rest >>= 1)
		power++;
	__sync_fetch_and_add(&sum->calls, 1);
	if ((__s64)context[1] > 0)
		__sync_fetch_and_add(&sum->bytes, context[1]);
	__sync_fetch_and_add(&sum->time, duration);
	__sync_fetch_and_add(&sum->durations[power & 31], 1);
	return 0;
}
"#;

const LINE_LENGTH: usize = 56;
/// How often what was told is written, where there is little of it.
const PERIOD: Duration = Duration::from_millis(50);

/// It writes for as long as this lives.
pub(crate) struct PlainCalls {
    writer: Option<JoinHandle<Result<Written>>>,
    is_over: Arc<AtomicBool>,
    cpu_nanoseconds: Arc<AtomicU64>,
}

struct Written {
    lines: u64,
    lost: u64,
}

impl PlainCalls {
    pub(crate) fn start() -> Result<Self> {
        let object = compile(&[CALLS, BEGINS, LINES].concat())?;
        let (is_over, cpu_nanoseconds) = <(Arc<AtomicBool>, Arc<AtomicU64>)>::default();
        let (started, has_started) = std::sync::mpsc::channel();
        let (stop, cpu) = (Arc::clone(&is_over), Arc::clone(&cpu_nanoseconds));
        let writer = thread::spawn(move || write(&object, &stop, &cpu, &started));
        // Where it could not start, its error tells why.
        if has_started.recv().is_err() {
            return Err(join(writer).err().unwrap_or_else(|| anyhow!("it ended at once")));
        }
        Ok(Self { writer: Some(writer), is_over, cpu_nanoseconds })
    }
}

impl Drop for PlainCalls {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

impl Observer for PlainCalls {
    fn cpu_time(&self) -> Duration {
        Duration::from_nanos(self.cpu_nanoseconds.load(Ordering::Relaxed))
    }

    fn end(mut self: Box<Self>, work: Work) -> Result<Option<String>> {
        self.is_over.store(true, Ordering::Relaxed);
        let written = join(self.writer.take().context("it has ended before")?)?;
        ensure!(written.lines > work.count, "it has written {} lines", written.lines);
        Ok((written.lost > 0)
            .then(|| format!("{} lines, {} lost", grouped(written.lines), grouped(written.lost))))
    }
}

/// It adds calls up, or their times alone, for as long as this lives.
pub(crate) struct PlainSums {
    // Before the programs that they attach.
    _links: Vec<Link>,
    object: Object,
    /// Which map has them, and in which of its words their number is.
    calls: (&'static str, usize),
}

impl PlainSums {
    pub(crate) fn start() -> Result<Self> {
        Self::of(&[CALLS, BEGINS, SUMS], ("sums", 0))
    }

    pub(crate) fn of_times() -> Result<Self> {
        Self::of(&[CALLS, TIMES], ("slots", 1))
    }

    fn of(sources: &[&str], calls: (&'static str, usize)) -> Result<Self> {
        let object = load(&compile(&sources.concat())?)?;
        let links = attach(&object)?;
        Ok(Self { _links: links, object, calls })
    }
}

impl Observer for PlainSums {
    fn cpu_time(&self) -> Duration {
        Duration::ZERO
    }

    fn end(self: Box<Self>, work: Work) -> Result<Option<String>> {
        let (name, word) = self.calls;
        let sums = map(&self.object, name)?;
        let mut calls = 0;
        for key in sums.keys() {
            let sum = sums.lookup(&key, MapFlags::ANY)?.unwrap_or_default();
            let number = sum.get(word * 8..).and_then(<[u8]>::first_chunk);
            calls += number.copied().map_or(0, u64::from_ne_bytes);
        }
        ensure!(calls > work.count, "it has added up {calls} calls");
        Ok(None)
    }
}

fn load(object: &[u8]) -> Result<Object> {
    ObjectBuilder::default()
        .open_memory(object)
        .and_then(libbpf_rs::OpenObject::load)
        .context("loading a plain program")
}

fn attach(object: &Object) -> Result<Vec<Link>> {
    let attached = object.progs_mut().map(|program| program.attach());
    attached.collect::<Result<_, _>>().context("attaching a plain program")
}

fn map<'o>(object: &'o Object, name: &str) -> Result<Map<'o>> {
    object.maps().find(|map| map.name() == name).with_context(|| format!("there is no map {name}"))
}

fn join(writer: JoinHandle<Result<Written>>) -> Result<Written> {
    writer.join().map_err(|_| anyhow!("the thread that writes ended"))?
}

fn write(
    object: &[u8],
    is_over: &AtomicBool,
    cpu: &AtomicU64,
    started: &std::sync::mpsc::Sender<()>,
) -> Result<Written> {
    let object = load(object)?;
    let folder = tempfile::tempdir().context("a temporary folder for its lines")?;
    let file = File::create(folder.path().join("lines")).context("making the file of its lines")?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let (lines_map, lost_map) = (map(&object, "lines")?, map(&object, "lost")?);
    let mut lines = 0;
    let mut failure = None;
    {
        let mut rings = RingBufferBuilder::new();
        rings
            .add(&lines_map, |bytes| {
                lines += 1;
                failure = write_line(&mut out, bytes).err();
                -i32::from(failure.is_some())
            })
            .context("reading its ring buffer")?;
        let rings = rings.build().context("reading its ring buffer")?;
        let links = attach(&object)?;
        let _ = started.send(());
        while !is_over.load(Ordering::Relaxed) {
            rings.poll(PERIOD).context("waiting for what it tells")?;
            rings.consume().context("reading what it tells")?;
            let used = Duration::try_from(clock_gettime(ClockId::ThreadCPUTime))?;
            cpu.store(u64::try_from(used.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
        drop(links);
        rings.consume().context("reading what it told last")?;
    }
    failure.map_or(Ok(()), Err)?;
    out.flush().context("writing its lines")?;
    let counts = lost_map.lookup_percpu(&0_u32.to_ne_bytes(), MapFlags::ANY)?.unwrap_or_default();
    let lost = counts.iter().filter_map(|count| count.first_chunk().copied());
    Ok(Written { lines, lost: lost.map(u64::from_ne_bytes).sum() })
}

fn write_line(out: &mut impl std::io::Write, bytes: &[u8]) -> Result<()> {
    let line: &[u8; LINE_LENGTH] = bytes.try_into().context("a line of another length")?;
    let word = |place: usize| -> u64 {
        line[place * 8..].first_chunk().copied().map_or(0, u64::from_ne_bytes)
    };
    let comm = line[40..].split(|&byte| byte == 0).next().unwrap_or_default();
    writeln!(
        out,
        "{} {} {} {} {} {} {}",
        word(0),
        word(1),
        word(2) >> 32,
        String::from_utf8_lossy(comm),
        word(4) & u64::from(u32::MAX),
        word(4) >> 32,
        word(3).cast_signed(),
    )
    .context("writing a line")
}
