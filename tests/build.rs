//! Compiles the graphics card's kernels for the processor, so that they are tested where there is no card.

use std::path::Path;

fn main() {
    let kernels = Path::new("../trainer/src/gpu/kernels");
    for folder in [kernels, Path::new("emulation")] {
        println!("cargo::rerun-if-changed={}", folder.display());
    }
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .file("emulation/run.cpp")
        .include("emulation")
        .include(kernels)
        .define("LAYOUTLM_EMULATION", None)
        .opt_level(2)
        .flag_if_supported("-Wno-unknown-pragmas")
        .warnings(false)
        .compile("layoutlm_kernel_emulation");
}
