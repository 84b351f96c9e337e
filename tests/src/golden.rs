//! The reference's golden receipts.

use std::path::Path;

use layoutlm_core::bbox::NormalizedBox;
use layoutlm_core::window::Window;
use safetensors::SafeTensors;
use serde_json::Value;

/// Every golden receipt of `goldens/encode` as a window, with PyTorch's logits `[seq, 15]` f32 for it.
pub fn golden_windows(folder: &Path) -> Vec<(Window, Vec<f32>)> {
    let bytes = std::fs::read(folder.join("arrays.safetensors")).unwrap();
    let arrays = SafeTensors::deserialize(&bytes).unwrap();
    let receipts: Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("receipts.json")).unwrap()).unwrap();
    let window = |r: &Value| Window {
        word_indices: Vec::new(),
        input_ids: serde_json::from_value(r["input_ids"].clone()).unwrap(),
        bbox: serde_json::from_value::<Vec<NormalizedBox>>(r["bbox"].clone()).unwrap(),
        word_ids: serde_json::from_value(r["word_ids"].clone()).unwrap(),
    };
    let logits = |r: &Value| -> Vec<f32> {
        let tensor = arrays.tensor(&format!("{}.logits", r["key"].as_str().unwrap())).unwrap();
        tensor.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
    };
    receipts["receipts"].as_array().unwrap().iter().map(|r| (window(r), logits(r))).collect()
}
