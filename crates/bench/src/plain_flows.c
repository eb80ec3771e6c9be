/*
 * As plain a program as can log the flows of a file: it knows Ethernet with one tag, IPv4 and IPv6
 * without extension headers, and one kind of capture file. 64 packets are decoded and their keys
 * hashed, then their places in the table and their flows are fetched, then they are counted. Flows
 * that were idle for two minutes are found in a queue, in which one that went on is put last again.
 *
 *     plain_flows IN.pcap OUT.json
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BATCH 64
#define FLOWS (1u << 21)
#define PLACES (2 * FLOWS)
#define PIECE (256 << 10)
#define LONGEST (256 << 10)
#define MICROSECONDS 1000000ull
#define IDLE (120 * MICROSECONDS)

#define FIN 1
#define RST 4
#define ACK 16

/* The lower address comes first. */
struct key {
	uint64_t ends[2][2];
	uint16_t ports[2];
	uint16_t protocol;
	uint16_t is_ipv6;
};

struct packet {
	struct key key;
	uint64_t hash, at;
	uint32_t length, sequence, payload;
	/* Which end sent it. */
	uint8_t from, flags;
};

struct flow {
	struct key key;
	uint64_t hash, first, last, queued;
	uint64_t bytes[2];
	uint32_t packets[2], retransmissions[2], next_sequence[2];
	uint32_t before, behind;
	uint8_t source, is_answered, flags[2];
};
_Static_assert(sizeof(struct flow) == 128, "two lines");

/* None has the number 0. */
static struct flow *flows;
static uint32_t *places, *free_numbers, free_count, used = 1;
static uint32_t longest_queued, last_queued;

static char *lines;
static size_t written;
static int output;
static uint64_t records;

static uint64_t mixed(uint64_t a, uint64_t b)
{
	__uint128_t product = (__uint128_t)(a ^ 0x9e3779b97f4a7c15ull) * (b ^ 0xa0761d6478bd642full);

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint32_t half(const uint8_t *bytes)
{
	return bytes[0] << 8 | bytes[1];
}

static uint32_t word(const uint8_t *bytes)
{
	return half(bytes) << 16 | half(bytes + 2);
}

#define PUT(text) (memcpy(at, text, sizeof(text) - 1), at += sizeof(text) - 1)

static char *put_number(char *at, uint64_t number)
{
	char digits[20];
	int count = 0;

	do {
		digits[count++] = '0' + number % 10;
		number /= 10;
	} while (number);
	while (count)
		*at++ = digits[--count];
	return at;
}

static char *put_hexadecimal(char *at, uint64_t number, int digits)
{
	while (digits--)
		*at++ = "0123456789abcdef"[number >> 4 * digits & 15];
	return at;
}

static char *put_address(char *at, const uint64_t *end, int is_ipv6)
{
	if (is_ipv6)
		return inet_ntop(AF_INET6, end, at, INET6_ADDRSTRLEN) ? at + strlen(at) : at;
	for (int shift = 24; shift >= 0; shift -= 8) {
		at = put_number(at, end[0] >> shift & 255);
		*at++ = '.';
	}
	return at - 1;
}

static char *put_time(char *at, uint64_t time)
{
	static uint64_t day = -1;
	static char date[sizeof("2000-01-01T")];
	uint64_t second = time / MICROSECONDS;
	unsigned of_day = second % 86400, fraction = time % MICROSECONDS;
	const unsigned parts[] = { of_day / 3600, of_day / 60 % 60, of_day % 60 };

	if (second / 86400 != day) {
		time_t seconds = second;
		struct tm calendar;

		day = second / 86400;
		strftime(date, sizeof(date), "%Y-%m-%dT", gmtime_r(&seconds, &calendar));
	}
	memcpy(at, date, sizeof(date) - 1);
	at += sizeof(date) - 1;
	for (int i = 0; i < 3; i++) {
		*at++ = '0' + parts[i] / 10;
		*at++ = '0' + parts[i] % 10;
		*at++ = i < 2 ? ':' : '.';
	}
	for (unsigned unit = 100000; unit; unit /= 10)
		*at++ = '0' + fraction / unit % 10;
	PUT("000Z");
	return at;
}

static void flush(void)
{
	size_t done = 0;

	while (done < written) {
		ssize_t count = write(output, lines + done, written - done);

		if (count < 0) {
			perror("write");
			exit(1);
		}
		done += count;
	}
	written = 0;
}

/* The seed's columns, and some of those behind them. */
static void put_record(const struct flow *flow, const char *reason)
{
	const struct key *key = &flow->key;
	int source = flow->source, other = !source;
	uint64_t random = mixed(flow->hash, records);
	char *at = lines + written;

	PUT("{\"id\":\"");
	at = put_hexadecimal(at, flow->first / 1000 >> 16, 8);
	*at++ = '-';
	at = put_hexadecimal(at, flow->first / 1000, 4);
	PUT("-7");
	at = put_hexadecimal(at, random >> 52, 3);
	PUT("-8");
	at = put_hexadecimal(at, random >> 40, 3);
	*at++ = '-';
	at = put_hexadecimal(at, random, 12);
	PUT("\",\"protocol\":\"");
	switch (key->protocol) {
	case IPPROTO_TCP:
		PUT("tcp");
		break;
	case IPPROTO_UDP:
		PUT("udp");
		break;
	case IPPROTO_ICMP:
		PUT("icmp4");
		break;
	case IPPROTO_ICMPV6:
		PUT("icmp6");
		break;
	default:
		at = put_number(at, key->protocol);
	}
	PUT("\",\"src_addr\":\"");
	at = put_address(at, key->ends[source], key->is_ipv6);
	PUT("\",\"dst_addr\":\"");
	at = put_address(at, key->ends[other], key->is_ipv6);
	PUT("\",\"src_port\":");
	at = put_number(at, key->ports[source]);
	PUT(",\"dst_port\":");
	at = put_number(at, key->ports[other]);
	PUT(",\"first_seen_at\":\"");
	at = put_time(at, flow->first);
	PUT("\",\"last_seen_at\":\"");
	at = put_time(at, flow->last);
	PUT("\",\"src_bytes\":");
	at = put_number(at, flow->bytes[source]);
	PUT(",\"dst_bytes\":");
	at = put_number(at, flow->bytes[other]);
	PUT(",\"src_packets\":");
	at = put_number(at, flow->packets[source]);
	PUT(",\"dst_packets\":");
	at = put_number(at, flow->packets[other]);
	if (flow->is_answered)
		PUT(",\"status\":\"established\"");
	else
		PUT(",\"status\":\"init\"");
	PUT(",\"end_reason\":\"");
	at = stpcpy(at, reason);
	*at++ = '"';
	if (key->protocol == IPPROTO_TCP) {
		PUT(",\"src_tcp_flags\":");
		at = put_number(at, flow->flags[source]);
		PUT(",\"dst_tcp_flags\":");
		at = put_number(at, flow->flags[other]);
		PUT(",\"src_retransmissions\":");
		at = put_number(at, flow->retransmissions[source]);
		PUT(",\"dst_retransmissions\":");
		at = put_number(at, flow->retransmissions[other]);
	}
	PUT("}\n");
	written = at - lines;
	records++;
	if (written >= PIECE)
		flush();
}

static void leave_queue(uint32_t number)
{
	struct flow *flow = &flows[number];

	*(flow->before ? &flows[flow->before].behind : &longest_queued) = flow->behind;
	*(flow->behind ? &flows[flow->behind].before : &last_queued) = flow->before;
}

static void queue(uint32_t number, uint64_t now)
{
	struct flow *flow = &flows[number];

	flow->queued = now;
	flow->before = last_queued;
	flow->behind = 0;
	*(last_queued ? &flows[last_queued].behind : &longest_queued) = number;
	last_queued = number;
}

/* Takes a flow out of the table, and moves what follows it to where it would be without. */
static void take_out(uint32_t number)
{
	uint32_t hole = flows[number].hash % PLACES, next;

	while (places[hole] != number)
		hole = (hole + 1) % PLACES;
	places[hole] = 0;
	for (next = (hole + 1) % PLACES; places[next]; next = (next + 1) % PLACES) {
		uint32_t wanted = flows[places[next]].hash % PLACES;

		if ((next - wanted) % PLACES < (next - hole) % PLACES)
			continue;
		places[hole] = places[next];
		places[next] = 0;
		hole = next;
	}
	leave_queue(number);
	free_numbers[free_count++] = number;
}

/* Reads the headers of a frame; false if it is none of IP, or cut. */
static int decode(const uint8_t *frame, uint32_t captured, struct packet *packet)
{
	struct key *key = &packet->key;
	const uint8_t *end = frame + captured, *ip = frame + 14, *above;
	uint64_t source[2] = {}, destination[2] = {};
	uint16_t source_port = 0, destination_port = 0;
	uint32_t ether_type, length;

	if (captured < 54)
		return 0;
	ether_type = half(frame + 12);
	if (ether_type == 0x8100) {
		ether_type = half(ip + 2);
		ip += 4;
	}
	if (ether_type == 0x0800 && ip[0] >> 4 == 4) {
		source[0] = word(ip + 12);
		destination[0] = word(ip + 16);
		key->protocol = ip[9];
		key->is_ipv6 = 0;
		above = ip + (ip[0] & 15) * 4;
		length = half(ip + 2) - (ip[0] & 15) * 4;
	} else if (ether_type == 0x86dd && end - ip >= 40) {
		memcpy(source, ip + 8, sizeof(source));
		memcpy(destination, ip + 24, sizeof(destination));
		key->protocol = ip[6];
		key->is_ipv6 = 1;
		above = ip + 40;
		length = half(ip + 4);
	} else {
		return 0;
	}
	packet->flags = 0;
	packet->payload = 0;
	if ((key->protocol == IPPROTO_TCP || key->protocol == IPPROTO_UDP) && end - above >= 4) {
		source_port = half(above);
		destination_port = half(above + 2);
	}
	if (key->protocol == IPPROTO_TCP && end - above >= 14) {
		packet->flags = above[13];
		packet->sequence = word(above + 4);
		packet->payload = length - (above[12] >> 4) * 4;
	}
	packet->from = source[0] != destination[0] ? source[0] > destination[0] :
		       source[1] != destination[1] ? source[1] > destination[1] :
						     source_port > destination_port;
	memcpy(key->ends[packet->from], source, sizeof(source));
	memcpy(key->ends[!packet->from], destination, sizeof(destination));
	key->ports[packet->from] = source_port;
	key->ports[!packet->from] = destination_port;
	packet->hash = mixed(key->ends[0][0] ^ key->ends[0][1] * 3, key->ends[1][0] + key->ends[1][1] * 5) ^
		       mixed((uint64_t)key->ports[0] << 16 | key->ports[1],
			     (uint64_t)key->protocol << 16 | key->is_ipv6);
	packet->hash ^= packet->hash >> 29;
	return 1;
}

static uint32_t find_or_begin(const struct packet *packet)
{
	uint32_t place = packet->hash % PLACES, number;
	struct flow *flow;

	while ((number = places[place])) {
		flow = &flows[number];
		if (flow->hash == packet->hash && !memcmp(&flow->key, &packet->key, sizeof(flow->key)))
			return number;
		place = (place + 1) % PLACES;
	}
	number = free_count ? free_numbers[--free_count] : used++;
	if (number >= FLOWS) {
		fputs("there are too many flows\n", stderr);
		exit(1);
	}
	places[place] = number;
	flow = &flows[number];
	memset(flow, 0, sizeof(*flow));
	flow->key = packet->key;
	flow->hash = packet->hash;
	flow->first = packet->at;
	flow->source = packet->from;
	queue(number, packet->at);
	return number;
}

static void count(const struct packet *packet)
{
	uint32_t number = find_or_begin(packet);
	struct flow *flow = &flows[number];
	int from = packet->from;

	flow->last = packet->at;
	flow->bytes[from] += packet->length;
	flow->packets[from]++;
	flow->is_answered |= from != flow->source;
	if (packet->key.protocol != IPPROTO_TCP)
		return;
	flow->flags[from] |= packet->flags;
	if (packet->payload) {
		if (flow->packets[from] > 1 && (int32_t)(packet->sequence - flow->next_sequence[from]) < 0)
			flow->retransmissions[from]++;
		flow->next_sequence[from] = packet->sequence + packet->payload;
	}
	if (packet->flags & RST ||
	    (flow->flags[0] & flow->flags[1] & FIN && (packet->flags & (ACK | FIN)) == ACK)) {
		put_record(flow, "closed");
		take_out(number);
	}
}

static void end_idle(uint64_t now)
{
	while (longest_queued && flows[longest_queued].queued + IDLE < now) {
		uint32_t number = longest_queued;

		if (flows[number].last + IDLE < now) {
			put_record(&flows[number], "idle");
			take_out(number);
		} else {
			leave_queue(number);
			queue(number, flows[number].last);
		}
	}
}

int main(int count_of_arguments, char **arguments)
{
	static uint8_t room[LONGEST + 2 * PIECE];
	static struct packet batch[BATCH];
	const uint8_t *at = room;
	uint64_t packets = 0, others = 0;
	size_t left = 0;
	int input, is_at_end = 0;

	if (count_of_arguments != 3)
		return 2;
	input = open(arguments[1], O_RDONLY);
	output = open(arguments[2], O_WRONLY | O_CREAT | O_TRUNC, 0644);
	/* Each has two lines of the cache to itself. */
	flows = aligned_alloc(sizeof(*flows), FLOWS * sizeof(*flows));
	places = calloc(PLACES, sizeof(*places));
	free_numbers = malloc(FLOWS * sizeof(*free_numbers));
	lines = malloc(2 * PIECE);
	if (input < 0 || output < 0 || lseek(input, 24, SEEK_SET) < 0 || !flows || !places ||
	    !free_numbers || !lines) {
		perror(arguments[1]);
		return 1;
	}
	while (!is_at_end) {
		uint32_t count_of_batch = 0;

		while (count_of_batch < BATCH) {
			struct packet *packet = &batch[count_of_batch];
			uint32_t header[4];

			if (left >= sizeof(header))
				memcpy(header, at, sizeof(header));
			if (left < sizeof(header) || left < sizeof(header) + header[2]) {
				ssize_t more;

				if (left >= LONGEST)
					return 1;
				memmove(room, at, left);
				at = room;
				more = read(input, room + left, PIECE);
				is_at_end = more <= 0;
				if (is_at_end)
					break;
				left += more;
				continue;
			}
			packets++;
			packet->at = header[0] * MICROSECONDS + header[1];
			packet->length = header[3];
			if (decode(at + sizeof(header), header[2], packet)) {
				__builtin_prefetch(&places[packet->hash % PLACES]);
				count_of_batch++;
			} else {
				others++;
			}
			at += sizeof(header) + header[2];
			left -= sizeof(header) + header[2];
		}
		for (uint32_t i = 0; i < count_of_batch; i++) {
			uint32_t number = places[batch[i].hash % PLACES];

			for (size_t line = 0; number && line < sizeof(struct flow); line += 64)
				__builtin_prefetch((char *)&flows[number] + line);
		}
		for (uint32_t i = 0; i < count_of_batch; i++)
			count(&batch[i]);
		if (count_of_batch)
			end_idle(batch[count_of_batch - 1].at);
	}
	while (longest_queued) {
		put_record(&flows[longest_queued], "capture_end");
		take_out(longest_queued);
	}
	flush();
	printf("seen: %lu, of them not counted: %lu, records: %lu\n", packets, others, records);
	return 0;
}
