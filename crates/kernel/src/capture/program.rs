//! Running filter programs (`linux/filter.h`, "classic" BPF) on captured packets.
//!
//! libpcap's own way to do it takes the captured length for that on the wire.

/// One instruction (`struct sock_filter`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) code: u16,
    /// How many instructions to skip where a comparison holds.
    pub(super) jump_true: u8,
    /// How many where it does not.
    pub(super) jump_false: u8,
    pub(super) k: u32,
}

/// The parts of a code.
mod code {
    pub(super) const CLASS: u16 = 0x07;
    pub(super) const LD: u16 = 0x00;
    pub(super) const LDX: u16 = 0x01;
    pub(super) const ST: u16 = 0x02;
    pub(super) const STX: u16 = 0x03;
    pub(super) const ALU: u16 = 0x04;
    pub(super) const JMP: u16 = 0x05;
    pub(super) const RET: u16 = 0x06;
    pub(super) const MISC: u16 = 0x07;

    pub(super) const SIZE: u16 = 0x18;
    pub(super) const WORD: u16 = 0x00;
    pub(super) const HALF: u16 = 0x08;
    pub(super) const BYTE: u16 = 0x10;

    pub(super) const MODE: u16 = 0xe0;
    pub(super) const IMM: u16 = 0x00;
    pub(super) const ABS: u16 = 0x20;
    pub(super) const IND: u16 = 0x40;
    pub(super) const MEM: u16 = 0x60;
    pub(super) const LEN: u16 = 0x80;
    pub(super) const MSH: u16 = 0xa0;

    pub(super) const OPERATION: u16 = 0xf0;
    pub(super) const SOURCE_X: u16 = 0x08;
    pub(super) const RETURN_A: u16 = 0x10;
    pub(super) const TXA: u16 = 0x80;
}

/// `BPF_MEMWORDS`.
const WORDS: usize = 16;

/// A program with loops (`protochain`) ends after this many steps with what does not match.
const MAXIMUM_STEPS: usize = 1 << 16;

/// What a program returns for a packet of `wire_length` bytes, of which `bytes` were captured: how
/// many of them it wants. A program that does what no program may returns 0.
pub(super) fn run(program: &[Instruction], bytes: &[u8], wire_length: u32) -> u32 {
    Machine { bytes, wire_length, a: 0, x: 0, memory: [0; WORDS] }.run(program).unwrap_or(0)
}

struct Machine<'a> {
    bytes: &'a [u8],
    wire_length: u32,
    a: u32,
    x: u32,
    memory: [u32; WORDS],
}

impl Machine<'_> {
    fn run(&mut self, program: &[Instruction]) -> Option<u32> {
        let mut at = 0_usize;
        for _ in 0..MAXIMUM_STEPS {
            let instruction = *program.get(at)?;
            at += 1;
            let Instruction { code, k, .. } = instruction;
            match code & code::CLASS {
                code::LD => self.a = self.load(code, k)?,
                code::LDX => self.x = self.load_index(code, k)?,
                code::ST => *self.memory.get_mut(k as usize)? = self.a,
                code::STX => *self.memory.get_mut(k as usize)? = self.x,
                code::ALU => self.a = self.calculate(code, k)?,
                code::JMP => at = self.jump(instruction, at)?,
                code::RET if code & code::SIZE == code::RETURN_A => return Some(self.a),
                code::RET => return Some(k),
                code::MISC if code & code::OPERATION == code::TXA => self.a = self.x,
                _ => self.x = self.a,
            }
        }
        None
    }

    fn load(&self, code: u16, k: u32) -> Option<u32> {
        match code & code::MODE {
            code::IMM => Some(k),
            code::ABS => self.read(k, code & code::SIZE),
            code::IND => self.read(self.x.checked_add(k)?, code & code::SIZE),
            code::MEM => self.memory.get(k as usize).copied(),
            code::LEN => Some(self.wire_length),
            _ => None,
        }
    }

    fn load_index(&self, code: u16, k: u32) -> Option<u32> {
        match code & code::MODE {
            code::IMM => Some(k),
            code::MEM => self.memory.get(k as usize).copied(),
            code::LEN => Some(self.wire_length),
            // The length of an IPv4 header.
            code::MSH => Some((self.read(k, code::BYTE)? & 0xf) << 2),
            _ => None,
        }
    }

    fn read(&self, offset: u32, size: u16) -> Option<u32> {
        let bytes = self.bytes.get(usize::try_from(offset).ok()?..)?;
        Some(match size {
            code::WORD => u32::from_be_bytes(*bytes.first_chunk()?),
            code::HALF => u16::from_be_bytes(*bytes.first_chunk()?).into(),
            _ => (*bytes.first()?).into(),
        })
    }

    fn calculate(&self, code: u16, k: u32) -> Option<u32> {
        let operand = if code & code::SOURCE_X == 0 { k } else { self.x };
        Some(match code & code::OPERATION {
            0x00 => self.a.wrapping_add(operand),
            0x10 => self.a.wrapping_sub(operand),
            0x20 => self.a.wrapping_mul(operand),
            0x30 => self.a.checked_div(operand)?,
            0x40 => self.a | operand,
            0x50 => self.a & operand,
            0x60 => self.a.checked_shl(operand).unwrap_or(0),
            0x70 => self.a.checked_shr(operand).unwrap_or(0),
            0x80 => self.a.wrapping_neg(),
            0x90 => self.a.checked_rem(operand)?,
            0xa0 => self.a ^ operand,
            _ => return None,
        })
    }

    /// Where the program goes on; `next` is where it would without the jump.
    fn jump(&self, instruction: Instruction, next: usize) -> Option<usize> {
        let Instruction { code, jump_true, jump_false, k } = instruction;
        let operand = if code & code::SOURCE_X == 0 { k } else { self.x };
        let holds = match code & code::OPERATION {
            0x00 => return next.checked_add_signed(isize::try_from(k.cast_signed()).ok()?),
            0x10 => self.a == operand,
            0x20 => self.a > operand,
            0x30 => self.a >= operand,
            0x40 => self.a & operand != 0,
            _ => return None,
        };
        next.checked_add(usize::from(if holds { jump_true } else { jump_false }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn step(code: u16, jump_true: u8, jump_false: u8, k: u32) -> Instruction {
        Instruction { code, jump_true, jump_false, k }
    }

    #[test]
    fn a_program_that_never_ends_is_ended() {
        assert_eq!(run(&[step(0x05, 0, 0, u32::MAX)], &[], 0), 0);
    }

    #[test]
    fn what_was_not_captured_does_not_match() {
        let read_and_take = [step(0x20, 0, 0, 2), step(0x06, 0, 0, 9)];
        assert_eq!(run(&read_and_take, &[0; 6], 60), 9);
        assert_eq!(run(&read_and_take, &[0; 5], 60), 0);
    }

    #[test]
    fn the_length_is_that_on_the_wire() {
        assert_eq!(run(&[step(0x80, 0, 0, 0), step(0x16, 0, 0, 0)], &[0; 6], 1514), 1514);
    }

    proptest! {
        #[test]
        fn any_program_ends(
            program in proptest::collection::vec(any::<(u16, u8, u8, u32)>(), 0..32),
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let program: Vec<_> =
                program.into_iter().map(|(code, jt, jf, k)| step(code, jt, jf, k)).collect();
            let _ = run(&program, &bytes, 64);
        }
    }
}
