//! Receipts in JSONL turned into the items that the table's own client would write of them.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The image id of a receipt: UUIDs stay, other names become one.
pub fn image_id(neutral: &str) -> String {
    let is_uuid =
        neutral.len() == 36 && neutral.as_bytes().get(14) == Some(&b'4') && neutral.split('-').count() == 5;
    if is_uuid {
        return neutral.into();
    }
    let hash = Sha256::digest(format!("receipt-image:{neutral}").as_bytes());
    let mut bytes: [u8; 16] = hash[..16].try_into().unwrap();
    (bytes[6], bytes[8]) = (bytes[6] & 0x0f | 0x40, bytes[8] & 0x3f | 0x80);
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// RECEIPT, RECEIPT_WORD and RECEIPT_WORD_LABEL items of a receipt in pixels, origin top left.
pub fn items(receipt: &Value) -> Vec<Value> {
    let place = Place {
        pk: format!("IMAGE#{}", image_id(receipt["image_id"].as_str().unwrap())),
        number: receipt["receipt_id"].as_u64().unwrap(),
        size: ["width", "height"].map(|side| receipt[side].as_f64().unwrap()),
    };
    let words = receipt["words"].as_array().unwrap();
    let from_zero = |id: &str| u64::from(words.iter().any(|w| w[id] == 0));
    let shift = [from_zero("line_id"), from_zero("word_id")];
    let mut items = vec![place.head()];
    for word in words {
        let id = |name: &str, shift: u64| word[name].as_u64().unwrap() + shift;
        let (line, number) = (id("line_id", shift[0]), id("word_id", shift[1]));
        items.push(place.word(word, line, number));
        if let Some(label) = word["label"].as_str().filter(|l| *l != "O") {
            items.push(place.label(
                label,
                word["validation_status"].as_str().unwrap_or("VALID"),
                line,
                number,
            ));
        }
    }
    items
}

/// Where a receipt's items lie.
struct Place {
    pk: String,
    number: u64,
    size: [f64; 2],
}

fn s(text: impl Into<String>) -> Value {
    json!({ "S": text.into() })
}

fn n(number: f64) -> Value {
    json!({ "N": number.to_string() })
}

fn point(x: f64, y: f64) -> Value {
    json!({"M": {"x": n(x), "y": n(y)}})
}

impl Place {
    fn index(&self) -> String {
        format!("{}#RECEIPT#{:05}", self.pk, self.number)
    }

    fn head(&self) -> Value {
        let sk = format!("RECEIPT#{:05}", self.number);
        json!({
            "PK": s(&self.pk), "SK": s(&sk), "TYPE": s("RECEIPT"),
            "GSI1PK": s(&self.pk), "GSI1SK": s(&sk),
            "GSI2PK": s("RECEIPT"), "GSI2SK": s(self.index()),
            "GSI4PK": s(self.index()), "GSI4SK": s("0_RECEIPT"),
            "width": n(self.size[0]), "height": n(self.size[1]),
        })
    }

    fn sk(&self, line: u64, word: u64) -> String {
        format!("RECEIPT#{:05}#LINE#{line:05}#WORD#{word:05}", self.number)
    }

    fn word(&self, word: &Value, line: u64, number: u64) -> Value {
        let corner = |i: usize| word["box"][i].as_f64().unwrap();
        let [width, height] = self.size;
        let [left, right] = [corner(0) / width, corner(2) / width];
        let [top, bottom] = [1.0 - corner(1) / height, 1.0 - corner(3) / height];
        let path = format!("{}#{}", self.pk, self.sk(line, number));
        json!({
            "PK": s(&self.pk), "SK": s(self.sk(line, number)), "TYPE": s("RECEIPT_WORD"),
            "GSI1PK": s("EMBEDDING_STATUS#NONE"), "GSI1SK": s(format!("WORD#{path}")),
            "GSI2PK": s("RECEIPT"), "GSI2SK": s(path),
            "GSI3PK": s(self.index()), "GSI3SK": s("WORD"),
            "GSI4PK": s(self.index()), "GSI4SK": s(format!("3_WORD#{line:05}#{number:05}")),
            "text": s(word["text"].as_str().unwrap()),
            "top_left": point(left, top), "top_right": point(right, top),
            "bottom_left": point(left, bottom), "bottom_right": point(right, bottom),
        })
    }

    fn label(&self, label: &str, status: &str, line: u64, word: u64) -> Value {
        let sk = self.sk(line, word);
        let path = format!("{}#{sk}", self.pk);
        json!({
            "PK": s(&self.pk), "SK": s(format!("{sk}#LABEL#{label}")), "TYPE": s("RECEIPT_WORD_LABEL"),
            "GSI1PK": s(format!("{:_<40}", format!("LABEL#{label}"))), "GSI1SK": s(&path),
            "GSI2PK": s("RECEIPT"), "GSI2SK": s(&path),
            "GSI3PK": s(format!("VALIDATION_STATUS#{status}")), "GSI3SK": s(format!("{path}#LABEL#{label}")),
            "GSI4PK": s(self.index()), "GSI4SK": s(format!("4_LABEL#{line:05}#{word:05}#{label}")),
            "reasoning": s("from a public data set"), "timestamp_added": s("2025-11-13T02:00:00+00:00"),
            "validation_status": s(status),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_the_same_uuids_as_in_the_fixtures() {
        assert_eq!(image_id("X00016469612"), "db9158ac-13d8-4f19-ae14-1c60dc7d584c");
        let uuid = "db9158ac-13d8-4f19-ae14-1c60dc7d584c";
        assert_eq!(image_id(uuid), uuid);
    }
}
