//! Published layouts: folders rebuilt from the neutral files are imported to the same words and labels again.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // helpers of tests, which may panic

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use layoutlm_core::receipt::{BadLines, Receipt, Word};
use layoutlm_trainer::data::{Dataset, load};
use serde_json::{Value, json};

/// The material shared with this repository, or a line that says why a test is passed over.
fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("LAYOUTLM_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")), PathBuf::from);
    let path = root.join(path);
    if !path.exists() {
        eprintln!("skipped: {} is not there (set LAYOUTLM_SHARED)", path.display());
        return None;
    }
    Some(path)
}

/// Receipts of a neutral file with the fields that the receipt type does not hold.
fn neutral(path: &str) -> Option<Vec<(Receipt, Value)>> {
    let text = std::fs::read_to_string(shared(path)?).unwrap();
    let both = |line: &str| (Receipt::from_json(line).unwrap(), serde_json::from_str(line).unwrap());
    Some(text.lines().map(both).collect())
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// Runs of words with equal `of`.
fn grouped<K: Ord>(words: &[Word], of: impl Fn(&Word) -> K) -> Vec<Vec<&Word>> {
    let mut groups: BTreeMap<K, Vec<&Word>> = BTreeMap::new();
    for word in words {
        groups.entry(of(word)).or_default().push(word);
    }
    groups.into_values().collect()
}

/// The published names of SROIE's fields.
fn fields(raw: &Value) -> String {
    let names = [
        ("company", "MERCHANT_NAME"),
        ("date", "DATE"),
        ("address", "ADDRESS_LINE"),
        ("total", "GRAND_TOTAL"),
    ];
    let fields = raw["fields"].as_object().unwrap();
    let published: BTreeMap<&str, &Value> =
        names.iter().filter_map(|(n, l)| Some((*n, fields.get(*l)?))).collect();
    json!(published).to_string()
}

fn text(words: &[&Word]) -> String {
    words.iter().map(|w| w.text.as_str()).collect::<Vec<_>>().join(" ")
}

fn load_folder(folder: &Path) -> Dataset {
    load(&[folder.to_path_buf()], BadLines::Refuse).unwrap()
}

#[test]
fn sroie_fields_are_found_where_the_neutral_files_have_them() {
    let Some(receipts) = neutral("data/sroie/test.jsonl") else { return };
    let folder = tempfile::tempdir().unwrap();
    for (receipt, raw) in &receipts {
        let line = |words: &Vec<&Word>| {
            let (first, last) = (words[0].bbox, words[words.len() - 1].bbox);
            let [x0, y0, x1, y1] = [first[0], first[1], last[2], last[3]];
            format!("{x0},{y0},{x1},{y0},{x1},{y1},{x0},{y1},{}", text(words))
        };
        let lines: Vec<String> = grouped(&receipt.words, |w| w.line_id).iter().map(line).collect();
        let at = |kind: &str, ending: &str| {
            folder.path().join("test").join(kind).join(format!("{}.{ending}", receipt.image_id))
        };
        write(&at("box", "csv"), &lines.join("\r\n"));
        write(&at("key", "json"), &fields(raw));
    }
    let imported = load_folder(folder.path());
    assert!(imported.train.is_empty() && imported.validation.is_none());
    let imported: BTreeMap<String, Receipt> =
        imported.test.unwrap().into_iter().map(|r| (r.image_id.clone(), r)).collect();
    assert_eq!(imported.len(), receipts.len());
    // Correct, found, there.
    let mut scores: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    let (mut shifted, mut words) = (0usize, 0usize);
    for (want, _) in &receipts {
        let got = &imported[&want.image_id];
        assert_eq!(got.words.len(), want.words.len(), "{}", want.image_id);
        for (g, w) in got.words.iter().zip(&want.words) {
            assert_eq!(g.text, w.text);
            words += 1;
            shifted += usize::from(g.bbox.iter().zip(&w.bbox).any(|(a, b)| (a - b).abs() > 1.0));
            let (g, w) = (g.label.as_deref().unwrap(), w.label.as_deref().unwrap());
            for label in ["DATE", "GRAND_TOTAL", "MERCHANT_NAME", "ADDRESS_LINE"] {
                let score = scores.entry(label).or_default();
                score[0] += usize::from(g == label && w == label);
                score[1] += usize::from(g == label);
                score[2] += usize::from(w == label);
            }
        }
    }
    assert!(shifted * 1000 < words, "{shifted} of {words} boxes differ by more than a pixel");
    for (label, [right, found, there]) in scores {
        let f1 = 2.0 * right as f64 / (found + there) as f64;
        eprintln!("{label}: F1 {f1:.4} over {there} words");
        assert!(f1 > 0.97, "{label}: {f1}");
    }
}

#[test]
fn funsd_forms_come_back_word_for_word() {
    let Some(forms) = neutral("data/funsd/test.jsonl") else { return };
    let folder = tempfile::tempdir().unwrap();
    for (form, _) in &forms {
        let entity = |words: &Vec<&Word>| {
            let one = |w: &&Word| json!({"text": w.text, "box": w.bbox.map(|v| v as i64)});
            let words_json: Vec<Value> = words.iter().map(one).collect();
            json!({"label": words[0].source_label, "text": text(words), "words": words_json, "id": words[0].entity_id, "linking": []})
        };
        let entities: Vec<Value> = grouped(&form.words, |w| w.entity_id).iter().map(entity).collect();
        let file = folder.path().join("testing_data/annotations").join(format!("{}.json", form.image_id));
        write(&file, &json!({"form": entities}).to_string());
    }
    let imported = load_folder(folder.path()).test.unwrap();
    let key = |w: &Word| (w.text.clone(), w.bbox.map(|v| v as i64), w.label.clone(), w.line_id, w.word_id);
    let (mut equal, mut total) = (0, 0);
    for got in imported {
        let (want, _) = forms.iter().find(|(f, _)| f.image_id == got.image_id).unwrap();
        assert_eq!(got.words.len(), want.words.len(), "{}", got.image_id);
        total += want.words.len();
        equal += got.words.iter().zip(&want.words).filter(|(g, w)| key(g) == key(w)).count();
    }
    assert!(equal as f64 > 0.999 * total as f64, "{equal} of {total}");
}

#[test]
fn cord_receipts_come_back_with_their_rows_and_labels() {
    let Some(receipts) = neutral("data/cord/train.jsonl") else { return };
    let folder = tempfile::tempdir().unwrap();
    for (receipt, _) in &receipts {
        let line = |words: &Vec<&Word>| {
            let class = words[0].source_label.as_deref().unwrap().trim_end_matches("_KEY").to_lowercase();
            let group = ["void_menu", "sub_total", "menu", "total"]
                .into_iter()
                .find(|g| class.starts_with(g))
                .unwrap();
            let one = |w: &&Word| {
                let [x0, y0, x1, y1] = w.bbox;
                let key = w.source_label.as_deref().unwrap().ends_with("_KEY");
                json!({"quad": {"x1": x0, "y1": y0, "x2": x1, "y2": y0, "x3": x1, "y3": y1, "x4": x0, "y4": y1},
                       "is_key": u8::from(key), "row_id": 70_000 + w.line_id, "text": w.text})
            };
            let words: Vec<Value> = words.iter().map(one).collect();
            json!({"words": words, "category": format!("{group}.{}", &class[group.len() + 1..]), "group_id": 1})
        };
        let mut lines: Vec<Value> = grouped(&receipt.words, |w| w.entity_id).iter().map(line).collect();
        lines.reverse();
        let size = json!({"width": receipt.width, "height": receipt.height});
        let file = folder.path().join("train/json").join(format!("{}.json", receipt.image_id));
        write(&file, &json!({"valid_line": lines, "meta": {"image_size": size}}).to_string());
    }
    let imported = load_folder(folder.path()).train;
    assert_eq!(imported.len(), receipts.len());
    let key = |w: &Word| (w.text.clone(), w.bbox.map(|v| v as i64), w.label.clone(), w.source_label.clone());
    let (mut equal, mut total) = (0, 0);
    for got in imported {
        let (want, _) =
            receipts.iter().find(|(r, _)| got.image_id == format!("cord-train-{}", r.image_id)).unwrap();
        assert_eq!((got.width, got.height, got.words.len()), (want.width, want.height, want.words.len()));
        total += want.words.len();
        equal += got.words.iter().zip(&want.words).filter(|(g, w)| key(g) == key(w)).count();
    }
    assert!(equal as f64 > 0.97 * total as f64, "{equal} of {total}");
}

#[test]
fn image_sizes_are_read_where_images_lie_beside() {
    let Some(images) = shared("data/sroie/images") else { return };
    let Some(receipts) = neutral("data/sroie/test.jsonl") else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut expected = BTreeMap::new();
    for image in std::fs::read_dir(images).unwrap().flatten() {
        let name = image.path().file_stem().unwrap().to_string_lossy().into_owned();
        let (receipt, raw) = receipts.iter().find(|(r, _)| r.image_id == name).unwrap();
        write(&folder.path().join("box").join(format!("{name}.txt")), "1,1,9,1,9,9,1,9,HELLO\n");
        write(&folder.path().join("key").join(format!("{name}.txt")), &fields(raw));
        write(&folder.path().join("img").join("x"), "");
        std::fs::copy(image.path(), folder.path().join("img").join(image.file_name())).unwrap();
        expected.insert(name, (receipt.width, receipt.height));
    }
    let imported = load_folder(folder.path()).train;
    let got: BTreeMap<_, _> =
        imported.into_iter().map(|r| (r.image_id.clone(), (r.width, r.height))).collect();
    assert_eq!(got, expected);
}

#[test]
fn broken_files_are_named_by_file_and_line_or_counted() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write(&at("box/a.txt"), "1,1,9,1,9,9,1,9,HELLO, WORLD\n\n1,2,3,TOTAL\n");
    write(&at("key/a.txt"), "{}");
    write(&at("box/b.txt"), "1,1,9,1,9,9,1,9,HELLO\n");
    write(&at("key/b.json"), r#"{"company": "Hello"}"#);
    let load = |bad| load(&[folder.path().to_path_buf()], bad);
    let message = load(BadLines::Refuse).unwrap_err().to_string();
    assert!(message.contains("a.txt:3: expected x1,y1"), "{message}");
    let data = load(BadLines::Skip).unwrap();
    assert_eq!((data.train.len(), data.skipped.len()), (1, 1));
    assert_eq!(data.train[0].words[0].label.as_deref(), Some("MERCHANT_NAME"));
    assert_eq!(data.train[0].merchant.as_deref(), Some("Hello"));
    std::fs::remove_file(at("key/b.json")).unwrap();
    let skipped = load(BadLines::Skip).unwrap_err().to_string();
    assert!(skipped.contains("no receipt found (2 unreadable"), "{skipped}");

    let forms = tempfile::tempdir().unwrap();
    write(&forms.path().join("annotations/f.json"), "{\n\"form\": [{\"label\": \"answer\"}]}");
    let message = layoutlm_trainer::data::load(&[forms.path().to_path_buf()], BadLines::Refuse)
        .unwrap_err()
        .to_string();
    assert!(message.contains("f.json:2: missing field `words`"), "{message}");
}
