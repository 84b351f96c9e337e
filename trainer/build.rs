//! With the feature `cuda`: compiles the kernels to PTX with nvcc (`NVCC`, `CUDA_HOME/bin`, or the search path).

use std::path::{Path, PathBuf};
use std::process::Command;

const KERNELS: &str = "src/gpu/kernels";

fn main() {
    println!("cargo::rerun-if-changed={KERNELS}");
    for name in ["NVCC", "CUDA_HOME"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    if std::env::var_os("CARGO_FEATURE_CUDA").is_some()
        && let Err(e) = compile()
    {
        println!("cargo::error=feature cuda: {e}");
    }
}

fn compile() -> Result<(), String> {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo gave no OUT_DIR")?);
    let nvcc = nvcc();
    let run = |command: &mut Command| {
        let output = command.output().map_err(|e| {
            format!(
                "{} can't be started ({e}); install the CUDA compiler, or set NVCC or CUDA_HOME",
                nvcc.display()
            )
        })?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    };
    let version = run(Command::new(&nvcc).arg("--version"))?;
    let version = version.split("release ").nth(1).and_then(|v| v.split(',').next()).unwrap_or("unknown");
    println!("cargo::rustc-env=LAYOUTLM_CUDA_VERSION={version}");
    let kernels = Path::new(KERNELS);
    run(Command::new(&nvcc)
        .args(["-ptx", "-arch=compute_86", "-std=c++17", "-O3", "-I"])
        .arg(kernels)
        .arg(kernels.join("kernels.cu"))
        .arg("-o")
        .arg(out.join("kernels.ptx")))?;
    Ok(())
}

fn nvcc() -> PathBuf {
    let home = std::env::var_os("CUDA_HOME").map(|home| Path::new(&home).join("bin/nvcc"));
    std::env::var_os("NVCC").map(PathBuf::from).or(home).unwrap_or_else(|| "nvcc".into())
}
