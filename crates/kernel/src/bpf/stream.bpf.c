// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Every connection of this host, however short, added up in the kernel by flow: nothing is told of
 * a connection by itself.
 */
#include <stdbool.h>

#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "barrier.h"
#include "inet.h"
#include "kernel_types.h"
#include "stream/records.h"

#include "stream/maps.h"

#include "stream/process.h"

#include "stream/flow.h"

#include "stream/listening.h"

#include "stream/connection.h"

#include "stream/listed.h"

#include "stream/tcp.h"

#include "stream/attempt.h"
#include "stream/claim.h"

#include "stream/udp.h"

#include "stream/address.h"
#include "stream/collect.h"
#include "stream/existing.h"

/* Some helpers are for programs that declare themselves GPL compatible. */
char _license[] SEC("license") = "Dual MIT/GPL";
