// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Every system call on a socket, one by one: what is needed of it when it begins is kept with its
 * thread, and when it returns it is told of with the connection that it was about, or added up with
 * others of its kind.
 */
#include <stdbool.h>
#include <stddef.h>

#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "barrier.h"
#include "inet.h"
#include "kernel_types.h"
#include "task.h"

#include "calls/records.h"

#include "calls/maps.h"

#include "calls/progress.h"

#include "calls/ring.h"

#include "calls/syscalls.h"

#include "calls/select.h"

#include "calls/socket.h"

#include "calls/arguments.h"

#include "calls/process.h"

#include "calls/sums.h"

#include "calls/tell.h"

#include "calls/pending.h"

#include "calls/uring.h"

/* Some helpers are for programs that declare themselves GPL compatible. */
char _license[] SEC("license") = "Dual MIT/GPL";
