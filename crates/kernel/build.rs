//! Compiles the kernel programs into `OUT_DIR`.

#[cfg_attr(not(feature = "ebpf"), allow(clippy::unnecessary_wraps))]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=src/bpf");
    #[cfg(feature = "ebpf")]
    programs::compile()?;
    Ok(())
}

#[cfg(feature = "ebpf")]
mod programs {
    use std::{env, error::Error, path::PathBuf};

    use libbpf_cargo::SkeletonBuilder;

    const PROGRAMS: [&str; 7] = [
        "aggregate",
        "calls",
        "datapath",
        "flow_owner",
        "perf_event_test",
        "socket_owner",
        "stream",
    ];

    pub(super) fn compile() -> Result<(), Box<dyn Error>> {
        let output = PathBuf::from(env::var("OUT_DIR")?);
        println!("cargo::metadata=programs={}", output.display());
        // clang for the bpf target does not look into Debian's directory of the machine's own
        // headers, where <asm/types.h> is.
        let machine = env::var("CARGO_CFG_TARGET_ARCH")?;
        let include = format!("-I/usr/include/{machine}-linux-gnu");
        for program in PROGRAMS {
            SkeletonBuilder::new()
                .source(format!("src/bpf/{program}.bpf.c"))
                .obj(output.join(format!("{program}.bpf.o")))
                // Version 3 of the instruction set has atomic exchange (Linux 5.12).
                .clang_args([include.as_str(), "-mcpu=v3", "-Wall", "-Werror"])
                .build()
                .map_err(|error| {
                    format!(
                        "cannot compile the kernel program {program}: {error:#}\n\
                         `make setup` installs clang and the headers it needs; \
                         `--no-default-features` builds without kernel programs"
                    )
                })?;
        }
        Ok(())
    }
}
