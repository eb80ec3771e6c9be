//! The sentences of debug messages.

use super::Renderer;
use crate::{
    notification::DebugMessage,
    style::Style,
    tables::errors::error_text,
    text::{put, put_hexadecimal, put_ipv4, put_number, put_prefixed_hexadecimal},
};

/// The last message that 1.5 knows.
const LAST_OF_1_5: u8 = 60;
/// The last one of 1.20, by the numbers that its program has for them.
const LAST_OF_1_20: u8 = 67;

impl Renderer {
    /// Appends what a message says.
    #[expect(clippy::too_many_lines, reason = "a table: a few lines for each message")]
    pub(super) fn put_sentence(&self, debug: &DebugMessage, out: &mut Vec<u8>) {
        let style = self.options.style;
        let [a, b, c] = debug.arguments;
        let is_old = style.is_1_5();
        // Services were called otherwise.
        let words = |old, new| if is_old { old } else { new };
        let last = match style {
            Style::V1_5 => LAST_OF_1_5,
            Style::V1_20 => LAST_OF_1_20,
            Style::Netglass(_) => u8::MAX,
        };
        let mut say = Sentence { out, style };
        match debug.sub_type {
            number if number > last => say.unknown(number, a, b),
            1 => {
                say.text("No message, arg1=").number(a).hexadecimal_in_brackets(a);
                say.text(" arg2=").number(b).hexadecimal_in_brackets(b);
                if !is_old {
                    say.text(" arg3=").number(c).hexadecimal_in_brackets(c);
                }
            }
            2 => say.two("Attempting local delivery for container id ", a, " from seclabel ", b),
            3 => {
                say.text("Encapsulating to node ").number(a).hexadecimal_in_brackets(a);
                say.text(" from seclabel ").number(b);
            }
            4 => {
                say.text("Local container found ifindex ");
                self.put_interface(say.out, a);
                say.text(" seclabel ");
                // Cilium takes the identity for a port.
                if style.is_ours() {
                    say.number(b)
                } else {
                    say.port(b)
                };
            }
            5 => say.two("Policy evaluation would deny packet from ", a, " to ", b),
            6 => say.text("CT lookup: ").tuple(a, b),
            7 => say.text("CT reverse lookup: ").tuple(a, b),
            8 => {
                say.text("CT entry found lifetime=").number(a).text(", revnat=").port(b);
            }
            9 => {
                say.text("CT created 1/2: ").tuple(a, b);
                say.text(" revnat=").port(c);
            }
            10 => {
                say.text("CT created 2/2: ").ipv4(a).text(" revnat=").port(b);
            }
            11 => {
                say.text("Handling ICMPv6 type=").number(a);
            }
            12 => {
                say.text("ICMPv6 echo request for router offset=").number(a);
            }
            13 => {
                let word = if style.is_ours() { "solicitation" } else { "soliciation" };
                say.text("ICMPv6 neighbour ").text(word).text(" for address ");
                say.hexadecimal(a).text(":").hexadecimal(b);
            }
            14 => {
                say.text("Sending ICMPv6 time exceeded");
            }
            15 => {
                say.text("CT verdict: ").verdict(a).text(", revnat=").port(b);
            }
            16 => {
                say.text("Tunnel decap: id=").number(a).text(" flowlabel=").hexadecimal(b);
            }
            17 => say.two("Mapping port from=", a, " to=", b),
            18 => {
                say.text("BPF function ").number(a).text(" returned error ");
                if style.is_ours() {
                    put_number(say.out, b.cast_signed());
                } else {
                    say.number(b);
                }
            }
            19 => {
                say.text("Going to host, policy-skip=").number(a);
            }
            20 => {
                say.text("Going to the stack, policy-skip=").number(a);
            }
            21 => {
                say.text("Packet hash=").number(a).hexadecimal_in_brackets(a);
                say.text(", selected_service=").number(b);
            }
            22 => {
                say.text(words("Master", "Frontend")).text(" service lookup, addr.p4=");
                say.hexadecimal(a).text(" key.dport=").port(b);
            }
            23 => {
                say.text(words("Master", "Frontend")).text(" service lookup failed, addr.p2=");
                say.hexadecimal(a).text(" addr.p3=").hexadecimal(b);
            }
            24 | 32 => {
                say.text(words(
                    "Slave service lookup: slave=",
                    "Service backend slot lookup: slot=",
                ));
                say.number(a).text(", dport=").port(b);
            }
            25 => {
                say.text(words("Slave service lookup", "Service backend slot lookup"));
                say.text(" result: target.p4=").hexadecimal(a).text(" port=").port(b);
            }
            26 | 34 => {
                say.text(words(
                    "Slave service lookup failed: slave=",
                    "Service backend slot lookup failed: slot=",
                ));
                say.number(a).text(", dport=").port(b);
            }
            27 | 35 => {
                say.text("Backend service lookup failed: backend_id=").number(a);
            }
            28 | 36 => {
                say.text("Reverse NAT lookup, index=").port(a);
            }
            29 => {
                say.text("Performing reverse NAT, address.p4=").hexadecimal(a);
                say.text(" port=").port(b);
            }
            30 => {
                say.text(words("Master", "Frontend")).text(" service lookup, addr=").ipv4(a);
                say.text(" key.dport=").port(b);
            }
            31 => {
                say.text(words("Master", "Frontend")).text(" service lookup failed");
            }
            33 => {
                say.text(words("Slave service lookup", "Service backend slot lookup"));
                say.text(" result: target=").ipv4(a).text(" port=").port(b);
            }
            37 => {
                say.text("Performing reverse NAT, address=").ipv4(a).text(" port=").port(b);
            }
            38 => {
                say.text("Loopback SNAT from=").ipv4(a).text(" to=").ipv4(b);
            }
            39 => {
                say.text("Loopback reverse SNAT from=").ipv4(a).text(" to=").ipv4(b);
            }
            40 => {
                say.text("CT lookup address: ").ipv4(a);
            }
            41 => {
                say.text(words("RR slave selection hash=", "RR backend slot selection hash="));
                say.number(a).hexadecimal_in_brackets(a).text(", selected_service=").number(b);
            }
            42 => {
                say.text("Reverse proxy lookup ").proxy(a, b);
                say.text(" nexthdr=").number(c);
            }
            43 => {
                say.text("Reverse proxy entry found, orig-daddr=").ipv4(a);
                say.text(" orig-dport=").number(b);
            }
            44 => {
                say.text("Reverse proxy updated ").proxy(a, b);
                say.text(" nexthdr=").number(c);
            }
            45 => {
                say.text("Resolved L4 policy to: ").port(a).text(" / ");
                say.text(match b {
                    0 => "egress",
                    1 => "ingress",
                    _ => "",
                });
            }
            46 => {
                say.text("Destination is inside cluster prefix, source identity: ").number(a);
            }
            47 => {
                say.text("Attempting encapsulation, lookup key: ").ipv4(a);
                say.text(", identity: ").number(b);
            }
            48 => say.text("Conntrack lookup 1/2: ").ipv4_ends(a, b, c),
            49 | 52 => {
                say.text("Conntrack lookup 2/2: nexthdr=").number(a >> 8);
                say.text(" flags=").number(a & 0xff);
                if !is_old {
                    say.text(" dir=").number(b).text(" scope=").number(c);
                }
            }
            50 => {
                say.created(a, b);
                say.text(" lb=").ipv4(c);
            }
            51 => say.text("Conntrack lookup 1/2: ").ipv6_ends(a, b, c),
            53 => say.created(a, b),
            54 => {
                say.text("Skipping proxy, tc_index is set=").hexadecimal(a);
            }
            55 => {
                say.text("Matched L4 policy; creating conntrack src=").number(a);
                say.text(" dst=").number(b).text(" dport=").port(c >> 16);
                say.text(" proto=").number(c & 0xff);
            }
            56 => {
                say.text("Failed to map ").text(words("daddr=", "addr=")).ipv4(a);
                say.text(" to identity");
            }
            57 => {
                say.text("Failed to map ").text(words("daddr.p4=", "addr.p4=")).ipv6(a);
                say.text(" to identity");
            }
            58 => {
                say.text("Successfully mapped ").text(words("daddr=", "addr=")).ipv4(a);
                say.text(" to identity=").number(b);
            }
            59 => {
                say.text("Successfully mapped ").text(words("daddr.p4=", "addr.p4=")).ipv6(a);
                say.text(" to identity=").number(b);
            }
            60 => {
                say.text("Stale CT entry found stale_ct.rev_nat_id=").number(b);
                say.text(", svc.rev_nat_id=").number(a);
            }
            61 => {
                say.text("Inheriting identity=").number(a).text(" from stack");
            }
            62 => say.text("Socket lookup: ").ipv4_ends(a, b, c),
            63 => say.text("Socket lookup: ").ipv6_ends(a, b, c),
            64 => {
                say.text("Socket assign: ").result(a);
            }
            65 => {
                say.text("L7 LB from ").ipv4(a).text(" to ").ipv4(b);
                say.text(": proxy port ").number(c);
            }
            number => say.newest(number, a, b),
        }
    }
}

/// A sentence that is written piece by piece.
struct Sentence<'o> {
    out: &'o mut Vec<u8>,
    style: Style,
}

impl Sentence<'_> {
    fn text(&mut self, text: &str) -> &mut Self {
        put(self.out, text);
        self
    }

    fn number(&mut self, number: u32) -> &mut Self {
        put_number(self.out, number);
        self
    }

    fn hexadecimal(&mut self, number: u32) -> &mut Self {
        put_hexadecimal(self.out, number);
        self
    }

    fn hexadecimal_in_brackets(&mut self, number: u32) -> &mut Self {
        put(self.out, " (");
        put_prefixed_hexadecimal(self.out, number);
        self.text(")")
    }

    /// Two numbers, each behind its words.
    fn two(&mut self, words: &str, first: u32, between: &str, second: u32) {
        self.text(words).number(first).text(between).number(second);
    }

    /// A port in network order in the lower half.
    fn port(&mut self, number: u32) -> &mut Self {
        put_number(self.out, ((number & 0xffff) as u16).swap_bytes());
        self
    }

    /// An address of IPv4 as it lies in memory.
    fn ipv4(&mut self, number: u32) -> &mut Self {
        put_ipv4(self.out, number.to_le_bytes());
        self
    }

    /// The last four bytes of an address of IPv6 as they lie in memory.
    fn ipv6(&mut self, number: u32) -> &mut Self {
        let number = number.swap_bytes();
        self.text("[::").hexadecimal(number >> 16).text(":").hexadecimal(number & 0xffff).text("]")
    }

    fn ipv4_ends(&mut self, source: u32, destination: u32, ports: u32) {
        self.text("src=").ipv4(source).text(":").number(ports & 0xffff);
        self.text(" dst=").ipv4(destination).text(":").number(ports >> 16);
    }

    fn ipv6_ends(&mut self, source: u32, destination: u32, ports: u32) {
        self.text("src=").ipv6(source).text(":").number(ports & 0xffff);
        self.text(" dst=").ipv6(destination).text(":").number(ports >> 16);
    }

    /// A tuple of connection tracking.
    fn tuple(&mut self, ports: u32, rest: u32) {
        self.text("sport=").number(ports >> 16).text(" dport=").number(ports & 0xffff);
        self.text(" nexthdr=").number(rest >> 8).text(" flags=");
        let flags = rest & 0xff;
        // Cilium has it the other way round, and does not know the one for incoming.
        let direction = match (self.style.is_ours(), flags & 1) {
            (true, 0) | (false, 1) => "OUT",
            (true, _) => "IN",
            (false, _) => "",
        };
        let is_related = flags & 2 != 0;
        self.text(direction);
        self.text(if is_related && !direction.is_empty() { ", " } else { "" });
        self.text(if is_related { "RELATED" } else { "" });
    }

    /// A state of connection tracking, or a drop reason.
    fn verdict(&mut self, number: u32) -> &mut Self {
        match number {
            0 => self.text("New"),
            1 => self.text("Established"),
            2 => self.text("Reply"),
            3 => self.text("Related"),
            _ => {
                let reason = (number & 0xff) as u8;
                if let Some(text) = self.style.drop_reason(reason, None) {
                    return self.text(text);
                }
                self.number(reason.into());
                self.text(if self.style.is_1_20() { ", 0" } else { "" })
            }
        }
    }

    fn proxy(&mut self, ports: u32, address: u32) {
        self.text("sport=").port(ports >> 16).text(" dport=").port(ports);
        self.text(" saddr=").ipv4(address);
    }

    fn created(&mut self, ports: u32, identity: u32) {
        self.text("Conntrack create: proxy-port=").number(ports >> 16);
        self.text(" revnat=").port(ports).text(" src-identity=").number(identity);
    }

    /// What a helper returned: the kernel's number, which programs negate.
    fn result(&mut self, number: u32) -> &mut Self {
        let is_negated = self.style.is_ours() && number.cast_signed() < 0;
        let number = if is_negated { number.wrapping_neg() } else { number };
        match (number, error_text(number)) {
            (0, _) => self.text("Success"),
            (_, Some(text)) => self.text(text),
            _ => self.text("errno ").number(number),
        }
    }

    fn unknown(&mut self, sub_type: u8, first: u32, second: u32) {
        self.text("Unknown message type=").number(sub_type.into());
        self.text(" arg1=").number(first).text(" arg2=").number(second);
    }

    /// Messages for which the datapath has one number more than Cilium's program.
    fn newest(&mut self, sub_type: u8, first: u32, second: u32) {
        let shift = u8::from(self.style.is_ours());
        match sub_type {
            66 if shift == 1 => {
                self.text("Skipping policy, arg1=").number(first).text(" arg2=").number(second);
            }
            _ if sub_type == 66 + shift => {
                self.text("Loopback SNAT from.p4=").hexadecimal(first);
                self.text(" to.p4=").hexadecimal(second);
            }
            _ if sub_type == 67 + shift => {
                self.text("Loopback reverse SNAT from.p4=").hexadecimal(first);
                self.text(" to.p4=").hexadecimal(second);
            }
            _ => self.unknown(sub_type, first, second),
        }
    }
}
