//! Sessions of one graph share its weights, packed ones and others: memory must not grow with the cores.
#![allow(missing_docs, clippy::unwrap_used)]

use layoutlm_exporter::VariantKind;
use layoutlm_inference::{Bundle, EngineOptions, Runtime};
use layoutlm_tests::bundle::export_unproved;
use layoutlm_tests::model::{Shape, write_checkpoint_of};

fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

/// The only test of this file: what others allocate meanwhile would count.
#[test]
fn more_sessions_hold_no_more_weights() {
    let folder = tempfile::tempdir().unwrap();
    let (checkpoint, path) = (folder.path().join("checkpoint"), folder.path().join("bundle"));
    write_checkpoint_of(&checkpoint, Shape { hidden: 512, inner: 2048, layers: 4, ..Shape::SMALL });
    export_unproved(&checkpoint, &path, &[VariantKind::Fp32]).unwrap();
    let bundle = Bundle::open(&path).unwrap();
    let runtime = Runtime::load(None).unwrap();
    let weights = std::fs::metadata(path.join("model.onnx")).unwrap().len() as f64 / f64::from(1 << 20);
    let open = |sessions| bundle.engine(&runtime, None, EngineOptions { sessions, threads: 1 }).unwrap();
    drop(open(1));
    let before = resident_mib();
    let engine = open(5);
    let grown = resident_mib() - before;
    drop(engine);
    // One copy as read, one packed, one packed in vain that the allocator may keep; five times two would be ten.
    assert!(grown <= 4.0 * weights, "five sessions took {grown:.0} MiB over weights of {weights:.0} MiB");
}
