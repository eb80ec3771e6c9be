//! Streaming where some of the kernel programs cannot be had.

use std::collections::BTreeSet;

use netglass_testing::require;

use super::{
    Sizes, StreamOptions, Streamer,
    existing::SECLUDED,
    hook::{Feature, HOOKS},
};
use crate::{Collector, Limits, selection::Selection};

const OPTIONS: StreamOptions = StreamOptions {
    selection: Selection {
        all_namespaces: false,
        loopback: true,
        scope: netglass_model::AddressScope::All,
    },
    sizes: Sizes { flows: 64, connections: 64, conversations: 64, process_buffer: 64 * 1024 },
};

/// Starts without some programs, looks once, and gives the features that were told to be missing.
fn told_without(unavailable: &[&str]) -> Vec<String> {
    let mut streamer = Streamer::without(OPTIONS, unavailable)
        .unwrap_or_else(|error| panic!("without {unavailable:?}: {error}"));
    let mut told = streamer.take_degradations();
    // What this host itself does not let us see.
    let denied = crate::owner::denied_files();
    told.retain(|degradation| degradation.reason != SECLUDED && *degradation != denied);
    for degradation in &told {
        assert!(
            unavailable.iter().any(|program| degradation.reason.contains(program)),
            "{degradation}"
        );
    }
    streamer.collect(&mut Collector::new(Limits { flows: 1024, sockets: 1024 })).unwrap();
    told.into_iter().map(|degradation| degradation.feature).collect()
}

#[test]
fn without_one_program_the_others_go_on_and_what_is_lost_is_told_once() {
    require!(root, ebpf);
    for hook in HOOKS.iter().filter(|hook| !hook.feature.is_required()) {
        assert_eq!(told_without(&[hook.program]), [hook.feature.name()], "{}", hook.program);
    }
}

#[test]
fn without_all_optional_programs_each_feature_is_told_once() {
    require!(root, ebpf);
    let optional = HOOKS.iter().filter(|hook| !hook.feature.is_required());
    let programs: Vec<_> = optional.map(|hook| hook.program).collect();
    let told = told_without(&programs);
    let features: BTreeSet<_> = told.iter().map(String::as_str).collect();
    let expected = Feature::ALL.into_iter().filter(|feature| !feature.is_required());
    assert_eq!(features, expected.map(Feature::name).collect());
    assert_eq!(told.len(), features.len(), "{told:?}");
}

#[test]
fn without_a_required_program_there_is_no_streaming() {
    require!(root, ebpf);
    for hook in HOOKS.iter().filter(|hook| hook.feature.is_required()) {
        let error = Streamer::without(OPTIONS, &[hook.program]).unwrap_err().to_string();
        assert!(error.contains(hook.program), "{error}");
    }
}
