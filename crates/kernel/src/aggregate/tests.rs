use proptest::{collection::vec, prelude::*};

use super::{record::STEPS, *};

const fn at(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanoseconds(nanoseconds)
}

fn flow(packets: [u64; 2], bytes: [u64; 2], steps: &[Step]) -> AggregatedFlow {
    let mut kept = [None; STEPS];
    for (place, step) in kept.iter_mut().zip(steps) {
        *place = Some(*step);
    }
    AggregatedFlow {
        interface: 0,
        protocol: IpProtocol::TCP,
        endpoints: [([10, 0, 0, 1].into(), 1), ([10, 0, 0, 2].into(), 2)],
        first_sender: 0,
        began: at(10),
        last: at(100),
        packets,
        bytes,
        flags: [0; 2],
        data: false,
        steps: kept,
    }
}

fn step(moment: i64, sender: usize, packets: [u32; 2], bytes: [u32; 2]) -> Step {
    let segment = TcpSegment { sequence: 0, acknowledgment: 0, flags: 2, payload: 0 };
    Step { at: at(moment), sender, wire_length: 60, segment, packets, bytes }
}

#[test]
fn what_came_between_steps_is_a_sum() {
    let steps = [
        step(10, 0, [0, 0], [0, 0]),
        step(20, 1, [1, 0], [60, 0]),
        step(50, 0, [4, 3], [360, 1000]),
    ];
    let of_flow: Vec<_> = flow([6, 4], [1420, 1500], &steps).portions().collect();
    let segment = |number: usize| {
        let Step { at, sender, wire_length, segment, .. } = steps[number];
        Portion::Segment { at, sender, wire_length, segment }
    };
    let sums =
        |from, to, packets, bytes| Portion::Sums { from: at(from), to: at(to), packets, bytes };
    let expected = [
        segment(0),
        segment(1),
        sums(20, 50, [3, 2], [300, 940]),
        segment(2),
        sums(50, 100, [1, 1], [1000, 500]),
    ];
    assert_eq!(of_flow, expected);
    assert_eq!(
        flow([3, 0], [180, 0], &[]).portions().collect::<Vec<_>>(),
        [sums(10, 100, [3, 0], [180, 0])]
    );
}

#[test]
fn a_count_goes_beyond_what_a_step_can_hold() {
    // 4 GiB and 40 bytes before the second step.
    let steps = [step(10, 0, [0, 0], [0, 0]), step(20, 0, [3, 0], [40, 0])];
    let total = (1_u64 << 32) + 100;
    let sums: u64 = flow([4, 0], [total, 0], &steps)
        .portions()
        .map(|portion| match portion {
            Portion::Segment { wire_length, .. } => wire_length.into(),
            Portion::Sums { bytes, .. } => bytes[0],
        })
        .sum();
    assert_eq!(sums, total);
}

proptest! {
    #[test]
    fn portions_are_the_sums_whatever_steps_say(
        packets in any::<[u32; 2]>(),
        bytes in any::<[u32; 2]>(),
        said in vec((0_usize..2, any::<[u32; 2]>(), any::<[u32; 2]>()), 0..=STEPS),
    ) {
        let steps: Vec<_> = said.iter().map(|(sender, packets, bytes)| {
            step(20, *sender, packets.map(|it| it % 1000), bytes.map(|it| it % 100_000))
        }).collect();
        let (packets, bytes) = (packets.map(|it| u64::from(it % 100)), bytes.map(u64::from));
        let (mut packets_told, mut bytes_told) = ([0; 2], [0; 2]);
        for portion in flow(packets, bytes, &steps).portions() {
            match portion {
                Portion::Segment { sender, wire_length, .. } => {
                    packets_told[sender] += 1;
                    bytes_told[sender] += u64::from(wire_length);
                }
                Portion::Sums { packets, bytes, .. } => for end in 0..2 {
                    packets_told[end] += packets[end];
                    bytes_told[end] += bytes[end];
                }
            }
        }
        prop_assert_eq!((packets_told, bytes_told), (packets, bytes));
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        bytes in vec(any::<u8>(), record::SUMS_LENGTH),
        length in 0..=record::SUMS_LENGTH,
    ) {
        let clock = Clock::read();
        if let Some(flow) = record::parse(&bytes[..record::KEY_LENGTH], &bytes, clock) {
            let _ = flow.portions().count();
        }
        let _ = record::parse(&bytes[..length.min(record::KEY_LENGTH)], &bytes[..length], clock);
    }
}
