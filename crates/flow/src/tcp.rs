//! How a TCP connection goes.
//!
//! The states are those of Zeek's `conn.log`. As there, each end has a state of its own, and the
//! connection's follows from the two when it is written. What is asked of a segment is its flags, its
//! numbers and its length; windows and checksums are not looked at.

use std::time::Duration;

use netglass_model::{ConnectionState, TcpConnection, Timestamp};
use netglass_packet::TcpSegment;

use crate::flow::Side;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// One end of a connection, by what it sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// Nothing that counts.
    #[default]
    Inactive,
    /// A SYN, not answered yet.
    SynSent,
    /// A SYN with an acknowledgment, although it is the source.
    SynAckSent,
    /// Something without a SYN before it.
    Partial,
    /// A SYN, and the other one did too.
    Established,
    /// A FIN.
    Closed,
    /// A FIN, and the other one has acknowledged something since, or reset it.
    Acknowledged,
    /// A reset.
    Reset,
    /// A FIN, and then a reset.
    ClosedAndReset,
}

impl End {
    const fn is_reset(self) -> bool {
        matches!(self, Self::Reset | Self::ClosedAndReset)
    }

    const fn is_closed(self) -> bool {
        matches!(self, Self::Closed | Self::Acknowledged)
    }

    const fn is_silent(self) -> bool {
        matches!(self, Self::Inactive | Self::Partial)
    }
}

/// What the numbers of segments tell, by [`Side`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sequences {
    /// The number after the highest one that was sent.
    next: [u32; 2],
    /// Those that [`ConnectionDetails::more_retransmissions`] does not tell of.
    retransmissions: [u16; 2],
}

/// A connection, as far as its packets tell: what is asked of each. Arrays are by [`Side`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Connection {
    ends: [End; 2],
    flags: [u8; 2],
    marks: Marks,
    /// Whether either end sent data.
    data: bool,
    handshake: Handshake,
}

/// What only the segments that open it say of a connection, as a rule.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionDetails {
    /// The number of the SYN.
    initial: [u32; 2],
    /// When the source's last SYN was sent, or how long the handshake took then: nanoseconds.
    handshake: i64,
    /// How many times 2 to the power of 16 segments were sent again.
    more_retransmissions: [u16; 2],
}

impl ConnectionDetails {
    /// Those of a connection that nothing was seen of.
    pub(crate) const NONE: Self =
        Self { initial: [0; 2], handshake: 0, more_retransmissions: [0; 2] };
}

/// By side, whether its number in [`Sequences`] says something, and whether that of its SYN does.
#[derive(Debug, Clone, Copy)]
struct Marks(u8);

impl Marks {
    fn of(self, side: usize) -> Mark {
        match self.0 >> (4 * side) & 0xf {
            0 => Mark::Unknown,
            1 => Mark::Next,
            _ => Mark::NextAndInitial,
        }
    }

    fn set(&mut self, side: usize, mark: Mark) {
        self.0 = self.0 & !(0xf << (4 * side)) | (mark as u8) << (4 * side);
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    #[default]
    Unknown,
    Next,
    NextAndInitial,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Handshake {
    /// Not seen from its beginning.
    #[default]
    Unknown,
    /// The source has sent a SYN, and nothing but SYNs, resets and data since.
    Attempted,
    /// The source has sent a SYN and something that does not belong to an attempt.
    Irregular,
    /// The destination has answered a SYN.
    Answered,
    /// The source has acknowledged that.
    Done,
}

impl Connection {
    /// One that nothing was seen of.
    pub(crate) const NONE: Self = Self {
        ends: [End::Inactive; 2],
        flags: [0; 2],
        marks: Marks(0),
        data: false,
        handshake: Handshake::Unknown,
    };

    /// Who is the source if a flow begins with this segment of the sender: an answer to a SYN tells
    /// that the other end is.
    pub(crate) const fn first_sender(segment: &TcpSegment) -> Side {
        if segment.flags & (SYN | ACK) == SYN | ACK { Side::Destination } else { Side::Source }
    }

    /// Whether a segment says something new of the connection, and not of its data alone.
    #[inline]
    pub(crate) const fn changes(segment: &TcpSegment) -> bool {
        segment.flags & (SYN | FIN | RST) != 0
    }

    /// Whether a segment may be the first one of another connection, see [`Self::is_followed_by`].
    #[inline]
    pub(crate) const fn may_follow(segment: &TcpSegment) -> bool {
        segment.flags & (SYN | RST) == SYN
    }

    /// Whether its handshake lacks nothing but the source's acknowledgment.
    #[inline]
    pub(crate) fn awaits_acknowledgment(self) -> bool {
        self.handshake == Handshake::Answered
    }

    /// Adds a segment. Returns whether nothing is expected any more from then on, see
    /// [`Self::is_over`].
    #[inline]
    pub(crate) fn add(
        &mut self,
        sequences: &mut Sequences,
        details: &mut ConnectionDetails,
        sender: Side,
        segment: &TcpSegment,
        at: Timestamp,
    ) -> bool {
        let settled = self.ends.iter().all(|end| matches!(end, End::Established | End::Partial))
            && matches!(self.handshake, Handshake::Unknown | Handshake::Done)
            && !Self::changes(segment);
        self.flags[sender as usize] |= segment.flags;
        if settled {
            self.data |= segment.payload > 0;
            sequences.follow_data(details, sender, segment);
            return false;
        }
        self.follow(sequences, details, sender, segment, at)
    }

    /// Follows a segment that may say something new of the connection. Returns whether nothing is
    /// expected any more from then on.
    #[inline(never)]
    fn follow(
        &mut self,
        sequences: &mut Sequences,
        details: &mut ConnectionDetails,
        sender: Side,
        segment: &TcpSegment,
        at: Timestamp,
    ) -> bool {
        let was_over = self.is_over();
        self.follow_handshake(details, sender, segment, at);
        self.follow_end(sender, segment);
        self.follow_initial(sequences, details, sender, segment);
        sequences.follow(details, sender, segment);
        self.data |= segment.payload > 0 && segment.flags & RST == 0;
        self.is_over() && !was_over
    }

    /// Adds segments that neither open nor close it, of which only the flags are known, and whether
    /// either end sent data. What follows from sequence numbers is not known any more.
    pub(crate) fn add_sums(&mut self, sender: Side, flags: u8, data: bool) {
        let segment = TcpSegment {
            sequence: 0,
            acknowledgment: 0,
            flags: flags & !(SYN | FIN | RST),
            payload: u32::from(data),
        };
        self.follow_end(sender, &segment);
        self.flags[sender as usize] |= flags;
        self.data |= data;
    }

    /// Whether both ends have closed it, or one has reset it.
    #[inline]
    pub(crate) fn is_closed(self) -> bool {
        self.ends.iter().all(|&end| end >= End::Closed)
            || self.ends.iter().any(|end| end.is_reset())
    }

    /// Whether nothing is expected any more: it was reset, or both ends have closed it and know that
    /// of each other. However late the last acknowledgment is, it belongs to the connection.
    #[inline]
    pub(crate) fn is_over(self) -> bool {
        self.ends.iter().all(|&end| end >= End::Acknowledged)
            || self.ends.iter().any(|end| end.is_reset())
    }

    /// Whether a segment begins another connection between the same ports: a SYN with another number
    /// than before, after a FIN or a reset.
    ///
    /// As long as neither was seen it is another attempt at the same connection. A SYN with an
    /// acknowledgment may be a late answer, unless its sender has sent another SYN before.
    #[inline]
    pub(crate) fn is_followed_by(
        self,
        details: &ConnectionDetails,
        sender: Side,
        segment: &TcpSegment,
    ) -> bool {
        let sender = sender as usize;
        Self::may_follow(segment)
            && self.ends.iter().any(|&end| end >= End::Closed)
            && if self.marks.of(sender) == Mark::NextAndInitial {
                segment.sequence != details.initial[sender]
            } else {
                segment.flags & ACK == 0
            }
    }

    /// What is counted for a record begins anew; where the connection is stays.
    pub(crate) fn begin_anew(&mut self) {
        self.flags = [0; 2];
    }

    /// What is told of it; none if no segment was seen.
    pub(crate) fn summary(
        self,
        sequences: &Sequences,
        details: &ConnectionDetails,
    ) -> Option<TcpConnection> {
        let [sent_again, answered_again] = sequences.retransmissions(details);
        (self.ends != [End::Inactive; 2]).then(|| TcpConnection {
            state: self.state(),
            source_flags: self.flags[0],
            destination_flags: self.flags[1],
            handshake_rtt: (self.handshake == Handshake::Done)
                .then(|| Duration::from_nanos(details.handshake.unsigned_abs())),
            source_retransmissions: Some(sent_again),
            destination_retransmissions: Some(answered_again),
        })
    }

    /// Zeek's `conn_state`.
    fn state(self) -> ConnectionState {
        let [source, destination] = self.ends;
        if destination.is_reset() {
            let attempted = matches!(source, End::SynSent | End::SynAckSent);
            if attempted || source.is_reset() && !self.data {
                ConnectionState::Rej
            } else if source.is_silent() {
                ConnectionState::Rstrh
            } else {
                ConnectionState::Rstr
            }
        } else if source.is_reset() {
            match destination.is_silent() {
                false => ConnectionState::Rsto,
                true if self.handshake == Handshake::Attempted => ConnectionState::Rstos0,
                true => ConnectionState::Oth,
            }
        } else {
            match (source, destination) {
                _ if source.is_closed() && destination.is_closed() => ConnectionState::Sf,
                _ if source.is_closed() && destination.is_silent() => ConnectionState::Sh,
                _ if source.is_closed() => ConnectionState::S2,
                _ if destination.is_closed() && source.is_silent() => ConnectionState::Shr,
                _ if destination.is_closed() => ConnectionState::S3,
                (End::SynSent, End::Inactive) => ConnectionState::S0,
                (End::Established, End::Established) => ConnectionState::S1,
                _ => ConnectionState::Oth,
            }
        }
    }

    fn follow_handshake(
        &mut self,
        details: &mut ConnectionDetails,
        sender: Side,
        segment: &TcpSegment,
        at: Timestamp,
    ) {
        let control = segment.flags & (SYN | FIN | RST);
        let acknowledges = segment.flags & ACK != 0;
        self.handshake = match (self.handshake, sender) {
            (Handshake::Unknown, Side::Source)
                if self.ends == [End::Inactive; 2] && control == SYN && !acknowledges =>
            {
                details.handshake = at.as_nanoseconds();
                Handshake::Attempted
            }
            (Handshake::Attempted, Side::Source) => match control {
                _ if self.ends[0].is_reset() => Handshake::Attempted,
                SYN if !acknowledges => {
                    details.handshake = at.as_nanoseconds();
                    Handshake::Attempted
                }
                RST => Handshake::Attempted,
                0 if segment.payload > 0 || !acknowledges => Handshake::Attempted,
                _ => Handshake::Irregular,
            },
            (Handshake::Attempted, Side::Destination) if control & SYN != 0 => Handshake::Answered,
            (Handshake::Answered, Side::Source) if control == SYN && !acknowledges => {
                details.handshake = at.as_nanoseconds();
                Handshake::Answered
            }
            (Handshake::Answered, Side::Source)
                if control & (SYN | RST) == 0
                    && acknowledges
                    && !is_before(segment.acknowledgment, details.initial[1].wrapping_add(1)) =>
            {
                let took = at.since(Timestamp::from_nanoseconds(details.handshake));
                details.handshake = i64::try_from(took.as_nanos()).unwrap_or(i64::MAX);
                Handshake::Done
            }
            (handshake, _) => handshake,
        };
    }

    fn follow_end(&mut self, sender: Side, segment: &TcpSegment) {
        let (mine, others) = (sender as usize, sender.other() as usize);
        let [syn, fin, reset, acknowledges] =
            [SYN, FIN, RST, ACK].map(|flag| segment.flags & flag != 0);
        let other = self.ends[others];
        self.ends[mine] = match self.ends[mine] {
            End::Inactive => {
                if syn && sender == Side::Destination && other == End::SynSent {
                    self.ends[others] = End::Established;
                }
                if reset {
                    End::Reset
                } else if fin {
                    End::Closed
                } else if syn {
                    match sender {
                        // The answer was seen before the SYN.
                        Side::Source if other == End::Established => End::Established,
                        Side::Source if acknowledges => End::SynAckSent,
                        Side::Source => End::SynSent,
                        Side::Destination => End::Established,
                    }
                } else if sender == Side::Destination
                    && other == End::SynSent
                    && segment.payload == 0
                {
                    // Some acknowledge a SYN before they answer it.
                    End::Inactive
                } else if acknowledges && other == End::Established {
                    End::Established
                } else {
                    End::Partial
                }
            }
            End::SynSent | End::SynAckSent | End::Partial | End::Established if reset => End::Reset,
            End::SynSent | End::SynAckSent if fin => End::Closed,
            End::Partial | End::Established if fin => {
                if other == End::ClosedAndReset {
                    self.ends[others] = End::Acknowledged;
                    End::Acknowledged
                } else {
                    End::Closed
                }
            }
            End::Partial if syn && !acknowledges && other == End::Inactive => End::SynSent,
            End::Closed | End::Acknowledged if reset && !other.is_closed() => End::ClosedAndReset,
            end => end,
        };
        if (acknowledges || reset) && other == End::Closed {
            self.ends[others] = End::Acknowledged;
        }
    }

    /// A SYN with another number than before begins another count.
    fn follow_initial(
        &mut self,
        Sequences { next, .. }: &mut Sequences,
        details: &mut ConnectionDetails,
        sender: Side,
        segment: &TcpSegment,
    ) {
        let sender = sender as usize;
        let is_known = |details: &ConnectionDetails| {
            self.marks.of(sender) == Mark::NextAndInitial
                && details.initial[sender] == segment.sequence
        };
        if segment.flags & (SYN | RST) == SYN && !is_known(details) {
            details.initial[sender] = segment.sequence;
            next[sender] = segment.sequence;
            self.marks.set(sender, Mark::NextAndInitial);
        } else if segment.flags & RST == 0 && self.marks.of(sender) == Mark::Unknown {
            next[sender] = segment.sequence;
            self.marks.set(sender, Mark::Next);
        }
    }
}

impl Sequences {
    /// Follows a segment. What is reset has no numbers.
    #[inline]
    fn follow(&mut self, details: &mut ConnectionDetails, sender: Side, segment: &TcpSegment) {
        let control = u32::from(segment.flags & SYN != 0) + u32::from(segment.flags & FIN != 0);
        if segment.flags & RST == 0 {
            self.follow_numbers(details, sender, segment, control);
        }
    }

    /// Follows a segment that neither opens nor closes a connection.
    #[inline]
    fn follow_data(&mut self, details: &mut ConnectionDetails, sender: Side, segment: &TcpSegment) {
        self.follow_numbers(details, sender, segment, 0);
    }

    /// A segment that begins before the highest number sent was sent before, or overtaken by what was
    /// sent after it, which is not told apart. A keep-alive is neither: it has at most one byte, the
    /// last one that was sent (RFC 9293, 3.8.4). SYN and FIN have a number each, as `control` says.
    #[inline]
    fn follow_numbers(
        &mut self,
        details: &mut ConnectionDetails,
        sender: Side,
        segment: &TcpSegment,
        control: u32,
    ) {
        let sender = sender as usize;
        let (next, start) = (self.next[sender], segment.sequence);
        let length = segment.payload.wrapping_add(control);
        let counts = length != 0;
        let end = start.wrapping_add(length);
        let keep_alive = control == 0 && length == 1 && end == next;
        let sent_again = counts && is_before(start, next) && !keep_alive;
        let (retransmissions, more) =
            self.retransmissions[sender].overflowing_add(sent_again.into());
        self.retransmissions[sender] = retransmissions;
        if more {
            let more = &mut details.more_retransmissions[sender];
            *more = more.saturating_add(1);
        }
        self.next[sender] = if counts & is_before(next, end) { end } else { next };
    }

    /// None is known.
    pub(crate) const NONE: Self = Self { next: [0; 2], retransmissions: [0; 2] };

    /// How many segments each side has sent again.
    fn retransmissions(&self, details: &ConnectionDetails) -> [u64; 2] {
        [0, 1].map(|side| {
            let more = u64::from(details.more_retransmissions[side]);
            more << u16::BITS | u64::from(self.retransmissions[side])
        })
    }

    /// What is counted for a record begins anew; the numbers stay.
    pub(crate) fn begin_anew(&mut self, details: &mut ConnectionDetails) {
        self.retransmissions = [0; 2];
        details.more_retransmissions = [0; 2];
    }
}

/// Whether a sequence number comes before another one (RFC 9293, 3.4).
#[inline]
fn is_before(number: u32, other: u32) -> bool {
    number.wrapping_sub(other).cast_signed() < 0
}

#[cfg(test)]
mod tests;
