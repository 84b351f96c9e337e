//! The parts of a bundle by themselves: manifest, configuration, tokenizer with its encoding, probe.
#![no_main]

use layoutlm_core::bundle::{CONFIG_FILE, Manifest, PROBE_FILE, TOKENIZER_FILE};
use layoutlm_core::config::ModelConfig;
use layoutlm_core::encoder::Encoder;
use layoutlm_core::probe;
use layoutlm_core::tokenize::Tokenizer;
use layoutlm_fuzz::Files;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(files) = Files::cut(data) else { return };
    if let Ok(windows) = probe::from_bytes(files.file(PROBE_FILE), files.classes) {
        let answers: Vec<_> = windows.iter().map(|w| w.logits.clone()).collect();
        let replayed = probe::compare(&windows, &answers, files.classes).expect("a probe equals itself");
        assert_eq!(replayed.label_flips, 0);
    }
    let _ = std::str::from_utf8(files.file(CONFIG_FILE)).map(ModelConfig::from_json);
    let Ok(manifest) = Manifest::from_json(&files.manifest) else { return };
    let text = manifest.to_json().expect("a manifest that was read can be written");
    assert_eq!(Manifest::from_json(&text).expect("what is written is read").files, manifest.files);
    let _ = Tokenizer::from_json(files.file(TOKENIZER_FILE)).map(|t| Encoder::new(manifest.encoding, t));
});
