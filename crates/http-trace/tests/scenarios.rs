//! Every scenario of nettrace that is kept with the reference, replayed through our client on the
//! same stage, and its traces compared with those of the original.
//!
//! It takes the reference, root, and the programs that make the stage. `NETGLASS_TEST_SCENARIO`
//! names the only one that is replayed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

#[path = "scenarios/compare.rs"]
mod compare;
#[path = "scenarios/exceptions.rs"]
mod exceptions;
#[path = "scenarios/stage.rs"]
mod stage;

use std::{
    fs,
    path::{Path, PathBuf},
};

use netglass_testing::{require, requirement, shared_folder};
use serde_json::Value;

use self::stage::Stage;

#[test]
fn our_traces_agree_with_those_of_the_original() {
    require!(root, shared, command("dnsmasq"), command("openssl"));
    // Not among what `make setup` brings, so a missing one is no failure.
    let found = ["go", "iptables", "tinyproxy"].map(requirement::command);
    if let Some(missing) = found.iter().find_map(|found| found.missing()) {
        return eprintln!("skipped: needs {missing}");
    }
    let vectors = shared_folder().join("vectors/nettrace");
    let stage = Stage::set(&vectors.join("testbed"));
    let only = std::env::var("NETGLASS_TEST_SCENARIO").ok();
    let mut names: Vec<String> = fs::read_dir(&vectors)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".scenario.json").map(ToOwned::to_owned))
        .filter(|name| only.as_ref().is_none_or(|only| only == name))
        .collect();
    names.sort();
    assert!(!names.is_empty());
    let mut differences = Vec::new();
    for name in &names {
        let scenario = vectors.join(format!("{name}.scenario.json"));
        let ours = stage.replay(&scenario);
        let theirs = originals(&vectors, name);
        if ours.len() != theirs.len() {
            differences.push(format!("{name}: {} traces, not {}", ours.len(), theirs.len()));
        }
        for (number, (theirs, ours)) in theirs.iter().zip(&ours).enumerate() {
            for difference in compare::differences(theirs, ours) {
                if !exceptions::allow(name, number + 1, &difference) {
                    differences.push(format!("{name} {}: {difference}", number + 1));
                }
            }
        }
    }
    assert!(
        differences.is_empty(),
        "{} differences:\n{}",
        differences.len(),
        differences.join("\n")
    );
}

/// The traces of the original, one for each that was taken.
fn originals(vectors: &Path, name: &str) -> Vec<Value> {
    let read = |path: PathBuf| -> Option<Value> {
        Some(serde_json::from_str(&fs::read_to_string(path).ok()?).unwrap())
    };
    match read(vectors.join(format!("{name}.json"))) {
        Some(only) => vec![only],
        None => {
            (1..).map_while(|number| read(vectors.join(format!("{name}.{number}.json")))).collect()
        }
    }
}
