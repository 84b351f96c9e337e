//! Receipts of any length whose words the small model knows.

use serde_json::{Value, json};

/// A receipt of so many words, seven to a line.
pub fn receipt(words: usize) -> Value {
    let texts = ["Total", "12.50", "Market", "2024-03-14", "tax", "thank", "you", "x9"];
    let words: Vec<Value> = (0..words)
        .map(|i| {
            let (x, y) = ((i % 7) * 100, (i / 7) * 12);
            json!({"line_id": i / 7, "word_id": i % 7, "text": texts[i % texts.len()], "box": [x, y, x + 80, y + 10]})
        })
        .collect();
    json!({"image_id": "r", "receipt_id": 1, "width": 800, "height": 6000, "words": words})
}
