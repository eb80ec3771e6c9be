//! A spool whose process is killed, and whose disk is full.

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
};

use netglass_store::{Losses, Spool, SpoolError};
use netglass_testing::require;

use crate::support::run_on_small_disk;

const CONTENT: u16 = 1;
const AMPLE: u64 = 1 << 30;

/// Where the other process of a test finds its spool; that there is one says that it is the other.
const DIRECTORY: &str = "NETGLASS_TEST_SPOOL";
const BEGIN: &str = "NETGLASS_TEST_SPOOL_BEGIN";

fn open(directory: &Path) -> Spool {
    Spool::open(directory, AMPLE, CONTENT).unwrap()
}

fn payload(number: u64) -> Vec<u8> {
    let mut payload = number.to_le_bytes().to_vec();
    payload.resize(8 + usize::try_from(number * 997 % 5000).unwrap(), 0x5a);
    payload
}

/// The number of the oldest record, once it is acknowledged.
fn deliver(spool: &mut Spool) -> Option<u64> {
    let record = spool.oldest().unwrap()?;
    let number = u64::from_le_bytes(*record.payload.first_chunk().unwrap());
    assert!(record.payload == payload(number), "record {number} is not what it was");
    spool.acknowledge().unwrap();
    Some(number)
}

/// Appends and delivers until it is killed, and says what it has done.
fn work(directory: &Path, begin: u64) -> ! {
    let mut spool = open(directory);
    let mut out = std::io::stdout();
    for number in begin.. {
        spool.append(&payload(number), 1).unwrap();
        writeln!(out, "appended {number}").unwrap();
        if number % 3 == 0 {
            let delivered = deliver(&mut spool).unwrap();
            writeln!(out, "delivered {delivered}").unwrap();
        }
    }
    unreachable!("it is killed long before")
}

fn spawn(test: &str, directory: &Path, begin: u64) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(DIRECTORY, directory)
        .env(BEGIN, begin.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn what_was_appended_survives_kill_9() {
    if let (Some(directory), Ok(begin)) = (env::var_os(DIRECTORY), env::var(BEGIN)) {
        work(Path::new(&directory), begin.parse().unwrap());
    }
    let directory = tempfile::tempdir().unwrap();
    let mut begin = 0;
    for round in 0..12 {
        let mut child = spawn("spool::what_was_appended_survives_kill_9", directory.path(), begin);
        let (mut appended, mut delivered) = (Vec::new(), Vec::new());
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for line in lines.map(Result::unwrap) {
            let number =
                |verb| line.strip_prefix(verb).map(|number| number.parse::<u64>().unwrap());
            appended.extend(number("appended "));
            delivered.extend(number("delivered "));
            // What it wrote until it was gone is read too.
            if appended.len() == 20 + round * 7 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();

        let mut spool = open(directory.path());
        let left: Vec<u64> = std::iter::from_fn(|| deliver(&mut spool)).collect();
        assert!(left.is_sorted_by(|a, b| a < b), "{left:?}");
        for number in &appended {
            assert!(delivered.contains(number) || left.contains(number), "{number} is lost");
        }
        let twice = left.iter().filter(|number| delivered.contains(number)).count();
        assert_eq!(twice, 0, "only a loss of power makes the spool forget what was delivered");
        let Losses { full, damaged } = spool.take_losses();
        assert!(full.records == 0 && damaged.records <= 1, "{full:?} {damaged:?}");
        begin = left.last().max(appended.last()).unwrap() + 1;
    }
}

#[test]
fn on_a_full_disk_what_is_there_stays_and_the_rest_is_refused() {
    if let Some(directory) = env::var_os(DIRECTORY) {
        return fill(Path::new(&directory));
    }
    require!(root, command("unshare"), command("mount"));
    run_on_small_disk(
        "spool::on_a_full_disk_what_is_there_stays_and_the_rest_is_refused",
        DIRECTORY,
    );
}

/// Fills the disk on which `directory` is.
fn fill(directory: &Path) {
    let path = directory.join("spool");
    // Segments of 64 KiB.
    let limit = 1 << 20;
    let mut spool = Spool::open(&path, limit, CONTENT).unwrap();
    let mut number = 0;
    let mut append_until_full = |spool: &mut Spool| loop {
        match spool.append(&payload(number), 1) {
            Ok(()) => number += 1,
            Err(error) => {
                assert!(matches!(error, SpoolError::DiskFull { .. }), "{error}");
                return number;
            }
        }
    };
    let first = append_until_full(&mut spool);
    assert!(first > 20, "{first}");
    assert_eq!(append_until_full(&mut spool), first, "it is full still");
    assert_eq!(spool.usage().flushes, first);
    drop(spool);

    let mut spool = Spool::open(&path, limit, CONTENT).unwrap();
    assert_eq!(spool.usage().flushes, first);
    for delivered in 0..first / 2 {
        assert_eq!(deliver(&mut spool), Some(delivered));
    }
    // There is room again.
    let second = append_until_full(&mut spool);
    assert!(second > first, "{second}");
    for delivered in first / 2..second {
        assert_eq!(deliver(&mut spool), Some(delivered));
    }
    assert_eq!(deliver(&mut spool), None);
    assert_eq!(spool.take_losses(), Losses::default());
    drop(spool);

    let remounted =
        Command::new("mount").args(["-o", "remount,ro"]).arg(directory).status().unwrap();
    assert!(remounted.success());
    let error = Spool::open(&path, limit, CONTENT).unwrap_err().to_string();
    assert!(error.contains("Read-only file system"), "{error}");
}
