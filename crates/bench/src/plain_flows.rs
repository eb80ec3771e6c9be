//! As plain a program as can log flows, in C (`plain_flows.c`), compiled where it runs. What it takes is
//! about what that takes at all: it knows few protocols, and trusts its file.

use std::{fs, process::Command};

use anyhow::{Context, Result, ensure};

use crate::{
    capture_contestants::{Results, number_after},
    capture_file::CaptureFile,
    command::run,
    race::Contestant,
};

pub(crate) const PLAIN: &str = "a plain program";
const SOURCE: &str = include_str!("plain_flows.c");

/// It, with lines of JSON in a file.
pub(crate) fn plain_flows(file: &CaptureFile, results: &Results) -> Result<Contestant> {
    let (path, packets, results) = (file.path.clone(), file.packets, results.clone());
    let program = results.fresh("plain_flows");
    let source = results.fresh("plain_flows.c");
    fs::write(&source, SOURCE).context("writing the source of a program")?;
    let mut gcc = Command::new("gcc");
    gcc.args(["-O3", "-march=native", "-o"]).arg(&program).arg(&source);
    run(&mut gcc)?;
    let command = move || {
        let mut command = Command::new(&program);
        command.arg(&path).arg(results.fresh("plain_flows.json"));
        command
    };
    Ok(Contestant::new(PLAIN, command, move |said| {
        let mut text = String::new();
        said.read_to_string(&mut text)?;
        let seen = number_after(&text, "seen: ")?;
        ensure!(seen == packets, "it has seen {seen} of {packets} packets");
        ensure!(number_after(&text, "records: ")? > 0, "it has written nothing");
        Ok(())
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{capture_small, race::Race};

    #[test]
    fn each_flow_is_a_line_with_its_packets() {
        const FLOWS: u64 = 300;
        let results = Results::new().unwrap();
        let path = results.path("small.pcap");
        capture_small::write(&path, FLOWS).unwrap();
        let packets = FLOWS * capture_small::PACKETS_PER_FLOW;
        let race = Race::run(&[plain_flows(&CaptureFile { path, packets }, &results).unwrap()], 1);
        assert_eq!(race.unwrap().failures, []);
        let lines = fs::read_to_string(results.path("plain_flows.json")).unwrap();
        let flows: Vec<Value> = lines.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
        assert_eq!(flows.len() as u64, FLOWS);
        for flow in flows {
            let count = |key: &str| flow[key].as_u64().unwrap();
            let seen = count("src_packets") + count("dst_packets");
            assert_eq!(seen, capture_small::PACKETS_PER_FLOW, "{flow}");
            assert_eq!(flow["status"], "established", "{flow}");
        }
    }
}
