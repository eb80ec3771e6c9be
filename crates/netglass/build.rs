//! Tells the tests of the program where the kernel programs are that they need.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if let Ok(directory) = env::var("DEP_NETGLASS_KERNEL_PROGRAMS") {
        println!("cargo::rustc-env=NETGLASS_KERNEL_PROGRAMS={directory}");
    }
}
