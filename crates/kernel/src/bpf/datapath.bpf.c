// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Packets one by one: where they come by, and where and why the kernel drops them. What is told are
 * notifications as Cilium's datapath makes them, with what else the kernel knows behind their header.
 */
#include <stdbool.h>

#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "inet.h"
#include "kernel_types.h"

#include "datapath/records.h"

#include "datapath/maps.h"

#include "datapath/headers.h"

#include "datapath/select.h"

#include "datapath/trace.h"

#include "datapath/drop.h"

/* Some helpers are for programs that declare themselves GPL compatible. */
char _license[] SEC("license") = "Dual MIT/GPL";
