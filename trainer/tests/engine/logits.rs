//! Logits and hidden states equal those of the reference implementation.

use candle_core::DType;
use layoutlm_core::classifier::TokenClassifier;
use layoutlm_core::window::Window;
use layoutlm_trainer::model::{CandleClassifier, PackedBatch};
use serde_json::Value;

use crate::shared::{goldens, json, max_difference, tensors, tiny, window};

fn windows_of(receipts: &Value) -> Vec<(String, Window)> {
    let read = |receipt: &Value| {
        let ids: Vec<u32> = serde_json::from_value(receipt["input_ids"].clone()).unwrap();
        let boxes: Vec<[u16; 4]> = serde_json::from_value(receipt["bbox"].clone()).unwrap();
        (receipt["key"].as_str().unwrap().to_string(), window(&ids, &boxes))
    };
    receipts["receipts"].as_array().unwrap().iter().map(read).collect()
}

#[test]
fn logits_of_every_receipt_equal_the_reference() {
    let Some(goldens) = goldens("logits_of_every_receipt_equal_the_reference") else { return };
    let model = tiny(&goldens);
    let arrays = tensors(goldens.join("encode/arrays.safetensors"));
    let receipts = windows_of(&json(goldens.join("encode/receipts.json")));
    assert_eq!(receipts.len(), 24);
    let windows: Vec<&Window> = receipts.iter().map(|(_, w)| w).collect();
    // A small budget cuts the receipts into several passes of several windows.
    let classifier = CandleClassifier::new(&model).with_token_budget(300);
    let logits = classifier.logits(&windows).unwrap();
    assert_eq!(logits.len(), 24);
    for ((key, _), logits) in receipts.iter().zip(&logits) {
        let expected = arrays[&format!("{key}.logits")].flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let worst = max_difference(logits, &expected);
        assert!(worst < 1e-4, "{key}: {worst}");
    }
}

#[test]
fn a_packed_batch_equals_the_padded_one_on_unmasked_tokens() {
    let Some(goldens) = goldens("a_packed_batch_equals_the_padded_one_on_unmasked_tokens") else { return };
    let model = tiny(&goldens);
    let padded = tensors(goldens.join("encode/padded_batch.safetensors"));
    let mask = padded["attention_mask"].to_dtype(DType::U32).unwrap().to_vec2::<u32>().unwrap();
    let ids = padded["input_ids"].to_dtype(DType::U32).unwrap().to_vec2::<u32>().unwrap();
    let boxes = padded["bbox"].to_dtype(DType::U32).unwrap().to_vec3::<u32>().unwrap();
    let expected = padded["logits"].to_vec3::<f32>().unwrap();
    let lengths: Vec<usize> = mask.iter().map(|m| m.iter().sum::<u32>() as usize).collect();
    let windows: Vec<Window> = (ids.iter().zip(&boxes).zip(&lengths))
        .map(|((ids, boxes), &n)| {
            let corners = |b: &Vec<u32>| [b[0] as u16, b[1] as u16, b[2] as u16, b[3] as u16];
            window(&ids[..n], &boxes[..n].iter().map(corners).collect::<Vec<_>>())
        })
        .collect();
    let batch = PackedBatch::pack(&windows.iter().collect::<Vec<_>>());
    let logits = model.forward(&batch).unwrap().to_vec2::<f32>().unwrap();
    let expected: Vec<&Vec<f32>> = expected.iter().zip(&lengths).flat_map(|(rows, &n)| &rows[..n]).collect();
    assert_eq!(logits.len(), expected.len());
    for (row, expected) in logits.iter().zip(expected) {
        assert!(max_difference(row, expected) < 1e-4);
    }
}

#[test]
fn hidden_states_of_every_layer_equal_the_reference() {
    let Some(goldens) = goldens("hidden_states_of_every_layer_equal_the_reference") else { return };
    let model = tiny(&goldens);
    let arrays = tensors(goldens.join("encode/arrays.safetensors"));
    let receipts = windows_of(&json(goldens.join("encode/receipts.json")));
    let (key, window) = &receipts[1];
    assert_eq!(key, "r01");
    let states = model.hidden_states(&PackedBatch::pack(&[window])).unwrap();
    assert_eq!(states.len(), 3);
    for (i, state) in states.iter().enumerate() {
        let expected = arrays[&format!("r01.hidden_{i}")].flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let worst = max_difference(&state.flatten_all().unwrap().to_vec1::<f32>().unwrap(), &expected);
        assert!(worst < 1e-4, "hidden_{i}: {worst}");
    }
}

#[test]
fn an_empty_batch_has_no_logits() {
    let model = crate::shared::small_model(0.1);
    assert_eq!(model.forward(&PackedBatch::pack(&[])).unwrap().dims(), [0, 3]);
    assert!(CandleClassifier::new(&model).logits(&[]).unwrap().is_empty());
}
