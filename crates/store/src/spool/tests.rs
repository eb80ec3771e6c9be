use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
};

use netglass_testing::directory_in_memory;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const CONTENT: u16 = 1;
/// Room for everything.
const AMPLE: u64 = 1 << 30;

fn open(directory: &TempDir, limit: u64) -> Spool {
    Spool::open(directory.path(), limit, CONTENT).unwrap()
}

/// Takes out all that waits.
fn drain(spool: &mut Spool) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    while let Some(record) = spool.oldest().unwrap() {
        records.push(record.payload);
        spool.acknowledge().unwrap();
    }
    records
}

fn segments(directory: &TempDir) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> = entries.filter(|path| number_of(path).is_some()).collect();
    segments.sort();
    segments
}

fn only_segment(directory: &TempDir) -> PathBuf {
    let segments = segments(directory);
    assert_eq!(segments.len(), 1);
    segments[0].clone()
}

fn flip(path: &Path, at: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x40], at).unwrap();
}

/// A spool of segments with two records each, whose payloads are their numbers in 100 bytes and
/// whose sightings are 1, 2, ….
fn spool_of_pairs(directory: &TempDir, records: u8) -> Spool {
    let two_records = START + 2 * record_size(100);
    let mut spool = open(directory, two_records * SEGMENTS);
    for number in 0..records {
        spool.append(&[number; 100], u64::from(number) + 1).unwrap();
    }
    spool
}

fn numbers(records: &[Vec<u8>]) -> Vec<u8> {
    records.iter().map(|payload| payload[0]).collect()
}

#[test]
fn what_goes_in_comes_out_in_order() {
    let directory = directory_in_memory();
    let mut spool = spool_of_pairs(&directory, 7);
    assert_eq!(segments(&directory).len(), 4);
    assert_eq!((spool.usage().flushes, spool.sightings()), (7, 28));
    assert_eq!(numbers(&drain(&mut spool)), [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!((spool.usage().flushes, spool.sightings()), (0, 0));
    assert_eq!(spool.take_losses(), Losses::default());
}

#[test]
fn what_was_delivered_does_not_lie_around() {
    let directory = directory_in_memory();
    let mut spool = spool_of_pairs(&directory, 5);
    drain(&mut spool);
    assert_eq!(fs::metadata(only_segment(&directory)).unwrap().len(), START);
    // What comes then is none of what was there.
    spool.append(b"next", 1).unwrap();
    drop(spool);
    assert_eq!(drain(&mut open(&directory, AMPLE)), [b"next"]);
}

#[test]
fn what_is_not_acknowledged_comes_again() {
    let directory = directory_in_memory();
    let mut spool = spool_of_pairs(&directory, 3);
    assert_eq!(spool.oldest().unwrap().unwrap().payload[0], 0);
    assert_eq!(spool.oldest().unwrap().unwrap().payload[0], 0);
    spool.acknowledge().unwrap();
    spool.acknowledge().unwrap();
    assert_eq!(spool.oldest().unwrap().unwrap().payload[0], 1);
    drop(spool);
    let mut spool = open(&directory, AMPLE);
    assert_eq!((spool.usage().flushes, spool.sightings()), (2, 0));
    assert!(spool.oldest().unwrap().unwrap().inherited);
    assert_eq!(numbers(&drain(&mut spool)), [1, 2]);
}

#[test]
fn a_lost_position_brings_back_what_is_still_there_and_skips_nothing() {
    let directory = directory_in_memory();
    let mut spool = spool_of_pairs(&directory, 6);
    for _ in 0..3 {
        spool.oldest().unwrap();
        spool.acknowledge().unwrap();
    }
    drop(spool);
    flip(&directory.path().join("position"), 3);
    let mut spool = open(&directory, AMPLE);
    assert_eq!(numbers(&drain(&mut spool)), [2, 3, 4, 5]);
    assert_eq!(spool.take_losses(), Losses::default());
}

#[test]
fn the_oldest_make_way_and_are_counted() {
    let directory = directory_in_memory();
    let mut spool = spool_of_pairs(&directory, 40);
    let kept = numbers(&drain(&mut spool));
    let lost = 40 - u8::try_from(kept.len()).unwrap();
    assert_eq!(kept, (lost..40).collect::<Vec<_>>());
    assert!((1..=10).contains(&lost), "{lost}");
    let sightings = (1..=u64::from(lost)).sum();
    let bytes = u64::from(lost) * record_size(100);
    let full = Loss { records: lost.into(), sightings, inherited: 0, bytes };
    assert_eq!(spool.take_losses(), Losses { full, ..Losses::default() });
    assert_eq!(spool.take_losses(), Losses::default());
}

#[test]
fn bytes_on_disk_stay_within_the_limit() {
    let directory = directory_in_memory();
    let mut spool = open(&directory, 5000);
    for length in [10, 900, 4000, 1, 4900, 30, 2000, 2000, 2000] {
        spool.append(&vec![0; length], 1).unwrap();
        let bytes: u64 =
            segments(&directory).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
        assert!(bytes <= 5000, "{bytes}");
        assert_eq!(bytes, spool.usage().bytes);
    }
}

#[test]
fn what_waits_for_another_verb_is_left_untouched() {
    let directory = directory_in_memory();
    let mut spool = spool_of_pairs(&directory, 3);
    for of_other_kind in [0x0100 | CONTENT, 0xff00] {
        drop(spool);
        let error = Spool::open(directory.path(), AMPLE, of_other_kind).unwrap_err();
        assert!(matches!(error, SpoolError::OtherKind { .. }), "{error}");
        spool = open(&directory, AMPLE);
    }
    assert_eq!(numbers(&drain(&mut spool)), [0, 1, 2]);
}

#[test]
fn what_will_never_fit_is_refused_and_nothing_makes_way_for_it() {
    let directory = directory_in_memory();
    let mut spool = open(&directory, 1000);
    spool.append(b"small", 1).unwrap();
    let error = spool.append(&[0; 1000], 1).unwrap_err();
    assert!(matches!(error, SpoolError::TooLarge { bytes: 1072, limit: 1000, .. }), "{error}");
    assert_eq!(drain(&mut spool), [b"small"]);
}

#[test]
fn a_record_that_makes_way_while_it_is_delivered_counts_as_what_becomes_of_it() {
    for is_delivered in [true, false] {
        let directory = directory_in_memory();
        let mut spool = open(&directory, 2 * (START + record_size(100)));
        spool.append(&[0; 100], 5).unwrap();
        spool.append(&[1; 100], 7).unwrap();
        spool.oldest().unwrap().unwrap();
        spool.append(&[2; 100], 11).unwrap();
        assert_eq!(spool.sightings(), 5 + 7 + 11);
        if is_delivered {
            spool.acknowledge().unwrap();
        } else {
            spool.release();
        }
        assert_eq!(spool.take_losses().full.sightings, if is_delivered { 0 } else { 5 });
        assert_eq!(spool.sightings(), 7 + 11);
        assert_eq!(numbers(&drain(&mut spool)), [1, 2]);
    }
}

#[test]
fn an_append_that_was_cut_anywhere_is_cut_off_and_counted() {
    let whole = START + 2 * record_size(20);
    for length in START + record_size(20)..whole {
        let directory = directory_in_memory();
        let mut spool = open(&directory, AMPLE);
        spool.append(&[1; 20], 3).unwrap();
        spool.append(&[2; 20], 4).unwrap();
        drop(spool);
        let path = only_segment(&directory);
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length).unwrap();

        let mut spool = open(&directory, AMPLE);
        let damaged = spool.take_losses().damaged;
        assert_eq!(damaged.bytes, length - START - record_size(20));
        // The header says what was in it, once it is there.
        let known = damaged.bytes >= record_size(0);
        assert_eq!((damaged.records, damaged.inherited), if known { (1, 4) } else { (0, 0) });
        spool.append(&[3; 20], 5).unwrap();
        drop(spool);
        let mut spool = open(&directory, AMPLE);
        assert_eq!(numbers(&drain(&mut spool)), [1, 3]);
        assert_eq!(spool.take_losses(), Losses::default());
    }
}

#[test]
fn a_segment_that_was_cut_within_its_header_is_removed() {
    for length in 0..START {
        let directory = directory_in_memory();
        let mut spool = spool_of_pairs(&directory, 3);
        let last = segments(&directory).pop().unwrap();
        fs::OpenOptions::new().write(true).open(&last).unwrap().set_len(length).unwrap();
        drop(spool);
        spool = open(&directory, AMPLE);
        assert_eq!(spool.take_losses().damaged.bytes, length);
        spool.append(&[9; 9], 1).unwrap();
        assert_eq!(numbers(&drain(&mut spool)), [0, 1, 9]);
    }
}

#[test]
fn of_a_damaged_payload_that_record_alone_is_lost() {
    let directory = directory_in_memory();
    let mut spool = spool_of_pairs(&directory, 6);
    flip(&segments(&directory)[1], START + record_size(0) + 50);
    assert_eq!(numbers(&drain(&mut spool)), [0, 1, 3, 4, 5]);
    let damaged = Loss { records: 1, sightings: 3, inherited: 0, bytes: record_size(100) };
    assert_eq!(spool.take_losses(), Losses { damaged, ..Losses::default() });
}

#[test]
fn of_a_damaged_header_the_rest_of_its_file_is_lost_and_counted() {
    let directory = directory_in_memory();
    let spool = spool_of_pairs(&directory, 6);
    flip(&segments(&directory)[1], START + 5);
    drop(spool);
    let mut spool = open(&directory, AMPLE);
    assert_eq!(numbers(&drain(&mut spool)), [0, 1, 4, 5]);
    let damaged = Loss { records: 2, sightings: 0, inherited: 7, bytes: 2 * record_size(100) };
    assert_eq!(spool.take_losses(), Losses { damaged, ..Losses::default() });
}

#[test]
fn what_somebody_took_away_is_counted() {
    for is_open in [true, false] {
        let directory = directory_in_memory();
        let mut spool = spool_of_pairs(&directory, 6);
        if !is_open {
            drop(spool);
        }
        fs::remove_file(&segments(&directory)[1]).unwrap();
        spool = if is_open { spool_again(&directory) } else { open(&directory, AMPLE) };
        assert_eq!(numbers(&drain(&mut spool)), [0, 1, 4, 5]);
        let damaged = spool.take_losses().damaged;
        assert_eq!((damaged.records, damaged.sightings + damaged.inherited), (2, 7));
    }
}

/// The same spool, under a name that is not locked.
fn spool_again(directory: &TempDir) -> Spool {
    fs::remove_file(directory.path().join("lock")).unwrap();
    open(directory, AMPLE)
}

#[test]
fn a_file_that_was_taken_away_is_not_appended_to() {
    let directory = directory_in_memory();
    let mut spool = open(&directory, AMPLE);
    spool.append(b"first", 1).unwrap();
    fs::remove_file(only_segment(&directory)).unwrap();
    spool.append(b"second", 1).unwrap();
    drop(spool);
    assert_eq!(drain(&mut open(&directory, AMPLE)), [b"second"]);
}

#[test]
fn a_spool_is_for_its_owner_alone_and_for_one_process() {
    let top = directory_in_memory();
    let path = top.path().join("a/b");
    let mut spool = Spool::open(&path, AMPLE, CONTENT).unwrap();
    spool.append(b"secret", 1).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o700, 0o700));
    for entry in fs::read_dir(&path).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
    let error = Spool::open(&path, AMPLE, CONTENT).unwrap_err();
    assert!(matches!(error, SpoolError::Locked { .. }), "{error}");
    drop(spool);
    Spool::open(&path, AMPLE, CONTENT).unwrap();
}

#[test]
fn what_is_no_directory_is_refused() {
    let top = directory_in_memory();
    let file = top.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("below")] {
        let error = Spool::open(&path, AMPLE, CONTENT).unwrap_err();
        assert!(matches!(error, SpoolError::NotDirectory { .. }), "{error}");
    }
    assert_eq!(fs::read(&file).unwrap(), b"");
}

#[test]
fn what_a_newer_version_wrote_is_refused_and_left_untouched() {
    let directory = directory_in_memory();
    let mut newer = Spool::open(directory.path(), AMPLE, CONTENT + 1).unwrap();
    newer.append(b"newer", 1).unwrap();
    drop(newer);
    let before = fs::read(only_segment(&directory)).unwrap();
    let error = Spool::open(directory.path(), AMPLE, CONTENT).unwrap_err();
    assert!(matches!(error, SpoolError::Newer { found_content: 2, .. }), "{error}");
    assert_eq!(fs::read(only_segment(&directory)).unwrap(), before);
}

#[test]
fn what_an_older_version_wrote_comes_out_as_that() {
    let directory = directory_in_memory();
    open(&directory, AMPLE).append(b"older", 1).unwrap();
    let mut newer = Spool::open(directory.path(), AMPLE, CONTENT + 1).unwrap();
    newer.append(b"newer", 1).unwrap();
    let mut next = || {
        let record = newer.oldest().unwrap().unwrap();
        newer.acknowledge().unwrap();
        (record.payload, record.content)
    };
    assert_eq!(next(), (b"older".to_vec(), CONTENT));
    assert_eq!(next(), (b"newer".to_vec(), CONTENT + 1));
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Append {
        length: usize,
        sightings: u64,
    },
    Deliver,
    Release,
    Reopen,
    /// The process dies within an append, of which so many bytes get to the disk.
    Tear {
        length: usize,
        bytes: u64,
    },
    /// The disk changes a bit.
    Flip {
        segment: prop::sample::Index,
        at: prop::sample::Index,
    },
}

fn step(with_damage: bool) -> impl Strategy<Value = Step> {
    let append = (8_usize..300, 0_u64..50)
        .prop_map(|(length, sightings)| Step::Append { length, sightings });
    let tear = (8_usize..300, 0_u64..336).prop_map(|(length, bytes)| Step::Tear { length, bytes });
    let flip = (any::<prop::sample::Index>(), any::<prop::sample::Index>())
        .prop_map(|(segment, at)| Step::Flip { segment, at });
    prop_oneof![
        8 => append,
        6 => Just(Step::Deliver),
        1 => Just(Step::Release),
        1 => Just(Step::Reopen),
        1 => tear,
        u32::from(with_damage) => flip,
    ]
}

/// What a spool was given, and what came out of it.
struct Model {
    directory: TempDir,
    limit: u64,
    spool: Option<Spool>,
    /// The sightings of each record, by its number; the torn ones are not among them.
    appended: BTreeMap<u64, u64>,
    delivered: Vec<u64>,
    lost: Losses,
    next: u64,
}

impl Model {
    fn new(limit: u64) -> Self {
        let directory = directory_in_memory();
        let spool = Some(open(&directory, limit));
        let (appended, delivered) = (BTreeMap::new(), Vec::new());
        Self { directory, limit, spool, appended, delivered, lost: Losses::default(), next: 0 }
    }

    fn spool(&mut self) -> &mut Spool {
        self.spool.as_mut().unwrap()
    }

    fn payload(&mut self, length: usize) -> Vec<u8> {
        let mut payload = self.next.to_le_bytes().to_vec();
        self.next += 1;
        payload.resize(length, 0xa5);
        payload
    }

    fn reopen(&mut self) {
        self.count_losses();
        self.spool = None;
        self.spool = Some(open(&self.directory, self.limit));
    }

    fn count_losses(&mut self) {
        let losses = self.spool().take_losses();
        self.lost.full += losses.full;
        self.lost.damaged += losses.damaged;
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Append { length, sightings } => {
                let number = self.next;
                let payload = self.payload(length);
                self.spool().append(&payload, sightings).unwrap();
                self.appended.insert(number, sightings);
            }
            Step::Deliver => {
                self.deliver();
            }
            Step::Release => {
                self.spool().oldest().unwrap();
                self.spool().release();
            }
            Step::Reopen => self.reopen(),
            Step::Tear { length, bytes } => {
                let payload = self.payload(length);
                self.spool().append(&payload, 1).unwrap();
                self.count_losses();
                self.spool = None;
                let path = segments(&self.directory).pop().unwrap();
                let length = fs::metadata(&path).unwrap().len();
                let torn = record_size(payload.len() as u64) - bytes.min(payload.len() as u64);
                let file = fs::OpenOptions::new().write(true).open(path).unwrap();
                file.set_len(length - torn).unwrap();
                self.spool = Some(open(&self.directory, self.limit));
                // It was never there, but whatever else is cut off with it was.
                self.lost.damaged.bytes += self.spool().take_losses().damaged.bytes;
            }
            Step::Flip { segment, at } => {
                let segments = segments(&self.directory);
                if !segments.is_empty() {
                    let path = segment.get(&segments);
                    let length = usize::try_from(fs::metadata(path).unwrap().len()).unwrap();
                    flip(path, at.index(length) as u64);
                }
            }
        }
    }

    fn deliver(&mut self) -> bool {
        let Some(record) = self.spool().oldest().unwrap() else { return false };
        let number = u64::from_le_bytes(*record.payload.first_chunk().unwrap());
        assert_eq!(self.appended.get(&number), Some(&record.sightings));
        assert!(record.payload[8..].iter().all(|&byte| byte == 0xa5));
        self.delivered.push(number);
        self.spool().acknowledge().unwrap();
        true
    }

    /// Delivers what is left. Returns how many records never came out, and their sightings.
    fn finish(&mut self) -> (u64, u64) {
        while self.deliver() {}
        assert_eq!(self.spool().usage().flushes, 0);
        self.count_losses();
        let missing = self.appended.iter().filter(|(number, _)| !self.delivered.contains(number));
        missing.fold((0, 0), |sum, (_, sightings)| (sum.0 + 1, sum.1 + sightings))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn each_record_comes_out_once_in_order_or_is_counted(
        steps in prop::collection::vec(step(false), 0..60),
        limit in 400_u64..6000,
    ) {
        let mut model = Model::new(limit);
        for step in steps {
            model.take(step);
        }
        let missing = model.finish();
        prop_assert!(model.delivered.is_sorted_by(|a, b| a < b));
        let full = model.lost.full;
        prop_assert_eq!((full.records, full.sightings + full.inherited), missing);
        prop_assert_eq!(Loss { bytes: 0, ..model.lost.damaged }, Loss::default());
    }

    #[test]
    fn whatever_is_damaged_what_comes_out_is_what_went_in_and_no_loss_is_silent(
        steps in prop::collection::vec(step(true), 0..60),
        limit in 400_u64..6000,
    ) {
        let mut model = Model::new(limit);
        for step in steps {
            model.take(step);
        }
        let (missing, _) = model.finish();
        prop_assert!(model.delivered.is_sorted_by(|a, b| a < b));
        let Losses { full, damaged } = model.lost;
        prop_assert!(missing == 0 || full.records + damaged.records + damaged.bytes > 0);
        prop_assert!(full.records + damaged.records <= missing);
    }
}
