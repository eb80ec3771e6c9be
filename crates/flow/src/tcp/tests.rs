use super::*;

/// A connection with all that belongs to it.
struct Whole {
    connection: Connection,
    sequences: Sequences,
    details: ConnectionDetails,
}

impl Whole {
    fn new() -> Self {
        Self {
            connection: Connection::NONE,
            sequences: Sequences::NONE,
            details: ConnectionDetails::NONE,
        }
    }

    fn add(&mut self, sender: Side, segment: &TcpSegment, at: Timestamp) -> bool {
        self.connection.add(&mut self.sequences, &mut self.details, sender, segment, at)
    }

    fn summary(&self) -> Option<TcpConnection> {
        self.connection.summary(&self.sequences, &self.details)
    }

    fn begin_anew(&mut self) {
        self.connection.begin_anew();
        self.sequences.begin_anew(&mut self.details);
    }

    fn is_followed_by(&self, sender: Side, segment: &TcpSegment) -> bool {
        self.connection.is_followed_by(&self.details, sender, segment)
    }
}

/// Adds segments, one every millisecond, with the numbers that they have when nothing is lost. `>` is
/// sent by the source and `<` by the destination, then come flags, and D for ten bytes of data.
fn connection(segments: &str) -> Whole {
    let mut connection = Whole::new();
    let mut next = [1000_u32, u32::MAX - 5];
    for (milliseconds, segment) in (0..).zip(segments.split_whitespace()) {
        let sender = if segment.starts_with('>') { Side::Source } else { Side::Destination };
        let has = |letter: char| segment.contains(letter);
        let flag = |letter, flag| if has(letter) { flag } else { 0 };
        let flags = flag('S', SYN) | flag('F', FIN) | flag('R', RST) | flag('A', ACK);
        let payload = if has('D') { 10 } else { 0 };
        let sequence = next[sender as usize];
        next[sender as usize] =
            sequence.wrapping_add(payload + u32::from(has('S')) + u32::from(has('F')));
        let acknowledgment = if has('A') { next[sender.other() as usize] } else { 0 };
        connection.add(
            sender,
            &TcpSegment { sequence, acknowledgment, flags, payload },
            Timestamp::from_nanoseconds(milliseconds * 1_000_000),
        );
    }
    connection
}

fn segment(flags: u8, sequence: u32, acknowledgment: u32, payload: u32) -> TcpSegment {
    TcpSegment { sequence, acknowledgment, flags, payload }
}

fn at(milliseconds: i64) -> Timestamp {
    Timestamp::from_nanoseconds(milliseconds * 1_000_000)
}

#[test]
fn states_are_those_that_zeek_documents() {
    let cases = [
        // Attempt seen, no reply; again; acknowledged before it is answered.
        (">S", "S0"),
        (">S >S >S", "S0"),
        (">S <A", "S0"),
        // Established, not terminated.
        (">S <SA", "S1"),
        (">S <SA >A", "S1"),
        (">S <SA >A >AD <AD", "S1"),
        // The SYN was not seen, the answer and its acknowledgment were; the SYN was seen late.
        ("<SA >A >AD", "S1"),
        ("<SA >S >A", "S1"),
        // Both open at the same time.
        (">S <S >SA <SA", "S1"),
        // Established and terminated.
        (">S <SA >A >AD <AD >FA <FA >A", "SF"),
        (">S <SA >A >FA <A <FA >A", "SF"),
        (">S <SA >A <FA >FA <A", "SF"),
        // A reset after both have closed, or between the two FIN, changes nothing.
        (">S <SA >A >FA <FA >R", "SF"),
        (">S <SA >A >FA <FA <RA", "SF"),
        (">S <SA >A >FA >R <FA", "SF"),
        // From the middle, closed by both.
        (">AD <AD >FA <FA >A", "SF"),
        // Rejected.
        (">S <RA", "REJ"),
        (">S <RA >S <RA", "REJ"),
        (">S <A <RA", "REJ"),
        (">R <R", "REJ"),
        // Closed by one.
        (">S <SA >A >FA <A", "S2"),
        (">S <SA >A <FA >A", "S3"),
        // Aborted by the originator, or the responder.
        (">S <SA >A >AD >RA", "RSTO"),
        (">S <SA >R", "RSTO"),
        (">S <SA >A >FA >R", "RSTO"),
        (">S <SA >A >FA <A >R", "RSTO"),
        (">S <SA >A >AD <RA", "RSTR"),
        (">S <SA >A <FA <R", "RSTR"),
        (">S <SA >A >AD >R <R", "RSTR"),
        // A SYN followed by a reset, no SYN-ACK.
        (">S >R", "RSTOS0"),
        (">S >S >RA", "RSTOS0"),
        (">S <A >R", "RSTOS0"),
        (">SD >AD >R", "RSTOS0"),
        // Not, if the originator acknowledged something in between.
        (">S >A >R", "OTH"),
        // A SYN-ACK followed by a reset, no SYN.
        ("<SA <R", "RSTRH"),
        ("<SA <RA", "RSTRH"),
        (">AD <AD <R", "RSTRH"),
        // A SYN followed by a FIN, no SYN-ACK.
        (">S >F", "SH"),
        (">SF", "SH"),
        // A SYN-ACK followed by a FIN, no SYN.
        ("<SA <FA", "SHR"),
        // Midstream.
        (">AD <AD", "OTH"),
        (">A", "OTH"),
        (">AD >R", "OTH"),
        ("<SA", "OTH"),
        // The acknowledgment of data says nothing of how it began; the SYN after it does.
        (">AD >S", "S0"),
    ];
    for (segments, expected) in cases {
        let summary = connection(segments).summary().expect(segments);
        assert_eq!(summary.state.name(), expected, "{segments}");
    }
}

#[test]
fn it_is_over_when_both_know_that_both_have_closed_or_one_has_reset() {
    for over in [
        ">S <SA >A >FA <FA >A",
        ">S <SA >A >FA <A <FA >A",
        ">S <SA >A <FA >FA <A",
        ">S <RA",
        ">S <SA >A >R",
        ">S <SA >A >FA <R",
        ">S <SA >A >FA <FA >R",
    ] {
        assert!(
            connection(over).connection.is_over() && connection(over).connection.is_closed(),
            "{over}"
        );
    }
    for closed in [">S <SA >A >FA <FA", ">S <SA >A >FA <A <FA <FA", ">S <SA >A <FA >FA >FA"] {
        assert!(
            connection(closed).connection.is_closed() && !connection(closed).connection.is_over(),
            "{closed}"
        );
    }
    for open in [">S", ">S <SA", ">S <SA >A", ">S <SA >A >FA", ">S <SA >A >FA <A", "<FA"] {
        assert!(
            !connection(open).connection.is_over() && !connection(open).connection.is_closed(),
            "{open}"
        );
    }
}

#[test]
fn a_syn_with_another_number_begins_another_connection_after_an_end() {
    let follows = |segments, sender, segment| connection(segments).is_followed_by(sender, &segment);
    let source = Side::Source;
    let closed = ">S <SA >A >FA <FA >A";
    assert!(follows(closed, source, segment(SYN, 77_000, 0, 0)));
    assert!(follows(closed, Side::Destination, segment(SYN, 77_000, 0, 0)));
    assert!(follows(">S <RA", source, segment(SYN, 77_000, 0, 0)));
    assert!(follows(">S <SA >A >FA", source, segment(SYN, 77_000, 0, 0)));
    assert!(follows(">AD <AD >FA <FA", source, segment(SYN, 77_000, 0, 0)));
    // Of the next connection, whose SYN was not seen.
    assert!(follows(closed, Side::Destination, segment(SYN | ACK, 77_000, 88_000, 0)));

    // Sent again.
    assert!(!follows(closed, source, segment(SYN, 1000, 0, 0)));
    assert!(!follows(">S <RA", source, segment(SYN, 1000, 0, 0)));
    // Not ended yet.
    assert!(!follows(">S", source, segment(SYN, 77_000, 0, 0)));
    assert!(!follows(">S <SA >A", source, segment(SYN, 77_000, 0, 0)));
    // A late answer.
    assert!(!follows(">S >F", Side::Destination, segment(SYN | ACK, 77_000, 1001, 0)));
    assert!(!follows(closed, source, segment(ACK, 77_000, 0, 0)));
    assert!(!follows(closed, source, segment(SYN | RST, 77_000, 0, 0)));
}

#[test]
fn who_answers_is_not_the_source() {
    assert_eq!(Connection::first_sender(&segment(SYN | ACK, 1, 1, 0)), Side::Destination);
    for flags in [SYN, ACK, FIN | ACK, RST, RST | ACK, 0] {
        assert_eq!(Connection::first_sender(&segment(flags, 1, 1, 0)), Side::Source);
    }
}

#[test]
fn the_handshake_lasts_from_the_last_syn_to_the_acknowledgment_of_the_answer() {
    let rtt = |segments| connection(segments).summary().expect(segments).handshake_rtt;
    assert_eq!(rtt(">S <SA >A"), Some(Duration::from_millis(2)));
    assert_eq!(rtt(">S >S >S <SA >AD >AD <A"), Some(Duration::from_millis(2)));
    assert_eq!(rtt(">S <SA >S <SA >A"), Some(Duration::from_millis(2)));
    assert_eq!(rtt(">S <SA >A >AD <AD >FA <FA >A"), Some(Duration::from_millis(2)));
    assert_eq!(rtt(">S <SA >FA"), Some(Duration::from_millis(2)));
    for unknown in [">S", ">S <SA", "<SA >A", ">S <SA >R", ">AD <AD", ">S >A <SA >A", "<SA >S >A"] {
        assert_eq!(rtt(unknown), None, "{unknown}");
    }
}

#[test]
fn an_acknowledgment_of_something_else_does_not_end_the_handshake() {
    let mut connection = Whole::new();
    connection.add(Side::Source, &segment(SYN, 10, 0, 0), at(0));
    connection.add(Side::Destination, &segment(SYN | ACK, 500, 11, 0), at(1));
    connection.add(Side::Source, &segment(ACK, 11, 500, 0), at(2));
    assert_eq!(connection.summary().unwrap().handshake_rtt, None);
    connection.add(Side::Source, &segment(ACK, 11, 501, 0), at(3));
    assert_eq!(connection.summary().unwrap().handshake_rtt, Some(Duration::from_millis(3)));
}

#[test]
fn a_handshake_that_ends_before_it_begins_took_no_time() {
    let mut connection = Whole::new();
    connection.add(Side::Source, &segment(SYN, 10, 0, 0), at(5));
    connection.add(Side::Destination, &segment(SYN | ACK, 500, 11, 0), at(1));
    connection.add(Side::Source, &segment(ACK, 11, 501, 0), at(2));
    assert_eq!(connection.summary().unwrap().handshake_rtt, Some(Duration::ZERO));
}

fn retransmissions(segments: &[TcpSegment]) -> u64 {
    let mut connection = Whole::new();
    for segment in segments {
        connection.add(Side::Source, segment, at(0));
    }
    connection.summary().map_or(0, |summary| summary.source_retransmissions.unwrap())
}

#[test]
fn what_begins_before_the_highest_number_is_sent_again() {
    let data = |sequence, length| segment(ACK, sequence, 1, length);
    assert_eq!(retransmissions(&[data(100, 50), data(150, 50), data(200, 1)]), 0);
    assert_eq!(retransmissions(&[data(100, 50), data(100, 50)]), 1);
    // In part, and with something new.
    assert_eq!(retransmissions(&[data(100, 50), data(120, 10), data(140, 50), data(190, 5)]), 2);
    // After a gap.
    assert_eq!(retransmissions(&[data(100, 50), data(500, 50), data(550, 50)]), 0);
    // SYN and FIN have numbers.
    assert_eq!(retransmissions(&[segment(SYN, 99, 0, 0), segment(SYN, 99, 0, 0)]), 1);
    let fin = segment(FIN | ACK, 150, 1, 0);
    assert_eq!(retransmissions(&[data(100, 50), fin, fin, segment(ACK, 151, 2, 0)]), 1);
    // Acknowledgments have none.
    assert_eq!(retransmissions(&[data(100, 50), data(150, 0), data(150, 0), data(100, 0)]), 0);
}

#[test]
fn sequence_numbers_wrap_around() {
    let data = |sequence: u32, length| segment(ACK, sequence, 1, length);
    let end = u32::MAX - 9;
    assert_eq!(retransmissions(&[data(end, 20), data(10, 20), data(30, 1)]), 0);
    assert_eq!(retransmissions(&[data(end, 20), data(10, 20), data(end, 20), data(10, 20)]), 2);
}

#[test]
fn a_keep_alive_is_not_sent_again_and_a_reset_says_nothing_of_numbers() {
    let data = |sequence, length| segment(ACK, sequence, 1, length);
    assert_eq!(retransmissions(&[data(100, 50), data(149, 0), data(149, 1), data(149, 1)]), 0);
    assert_eq!(retransmissions(&[data(100, 50), data(148, 1)]), 1);
    let reset = segment(RST, 4_000_000, 0, 9);
    assert_eq!(retransmissions(&[data(100, 50), reset, data(150, 50)]), 0);
}

#[test]
fn another_attempt_counts_its_numbers_from_its_own_syn() {
    let syn = |sequence| segment(SYN, sequence, 0, 0);
    assert_eq!(retransmissions(&[syn(5_000_000), syn(100), segment(ACK, 101, 1, 50)]), 0);
}

#[test]
fn what_is_counted_begins_anew_and_where_it_is_stays() {
    let mut connection = connection(">S <SA >A >AD");
    connection.begin_anew();
    connection.add(Side::Source, &segment(ACK, 1001, 0, 10), at(9));
    let summary = connection.summary().unwrap();
    assert_eq!(summary.state, ConnectionState::S1);
    assert_eq!((summary.source_flags, summary.destination_flags), (ACK, 0));
    assert_eq!(summary.source_retransmissions, Some(1));
    assert_eq!(summary.handshake_rtt, Some(Duration::from_millis(2)));
}

#[test]
fn without_a_segment_nothing_is_told() {
    assert_eq!(Whole::new().summary(), None);
}
