//! Whatever lies in a bundle's folder, the server's loader ends with a bundle or with an error that says why.
#![no_main]

use std::fs;
use std::sync::LazyLock;

use layoutlm_core::bundle::{MANIFEST_FILE, Manifest};
use layoutlm_fuzz::Files;
use layoutlm_inference::Bundle;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a temporary folder"));

fuzz_target!(|data: &[u8]| {
    let Some(files) = Files::cut(data) else { return };
    let write = |name: &str, bytes: &[u8]| fs::write(FOLDER.path().join(name), bytes).expect("a temporary file");
    write(MANIFEST_FILE, files.manifest.as_bytes());
    files.others.iter().for_each(|(name, bytes)| write(name, bytes));
    if let Ok(bundle) = Bundle::open(FOLDER.path()) {
        let _ = (bundle.variant(None), bundle.variant(Some("int8")));
        let text = bundle.manifest().to_json().expect("a manifest that was read can be written");
        assert_eq!(Manifest::from_json(&text).expect("what is written is read").files, bundle.manifest().files);
    }
});
