//! LayoutLM checkpoints as Hugging Face folders, with fixed pseudo-random weights.

use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;

/// How large a model is, and how far apart its weights lie.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Width of a token's vector.
    pub hidden: usize,
    /// Width inside a layer.
    pub inner: usize,
    /// Layers.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Least number of vocabulary entries.
    pub vocab: usize,
    /// How far apart weights lie.
    pub spread: f32,
}

impl Shape {
    /// Fast, and wide enough that labels vary.
    pub const SMALL: Self = Self { hidden: 32, inner: 64, layers: 2, heads: 4, vocab: 0, spread: 1.2 };
    /// As large as layoutlm-base-uncased: 113 million weights.
    pub const BASE: Self =
        Self { hidden: 768, inner: 3072, layers: 12, heads: 12, vocab: 30_522, spread: 0.07 };
}

/// Tags in class-id order.
pub const LABELS: [&str; 7] =
    ["O", "B-AMOUNT", "B-DATE", "B-MERCHANT_NAME", "I-AMOUNT", "I-DATE", "I-MERCHANT_NAME"];

/// Writes `config.json`, `vocab.txt` and `model.safetensors` of the small model.
pub fn write_checkpoint(folder: &Path) {
    write_checkpoint_of(folder, Shape::SMALL);
}

/// The same for a model of some size.
pub fn write_checkpoint_of(folder: &Path, shape: Shape) {
    std::fs::create_dir_all(folder).unwrap();
    let vocab = vocab(shape.vocab);
    let id2label: serde_json::Map<_, _> =
        LABELS.iter().enumerate().map(|(i, l)| (i.to_string(), json!(l))).collect();
    let label2id: serde_json::Map<_, _> =
        LABELS.iter().enumerate().map(|(i, l)| (l.to_string(), json!(i))).collect();
    let config = json!({
        "model_type": "layoutlm", "architectures": ["LayoutLMForTokenClassification"], "vocab_size": vocab.len(),
        "hidden_size": shape.hidden, "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads,
        "intermediate_size": shape.inner,
        "max_2d_position_embeddings": 1024, "id2label": id2label, "label2id": label2id
    });
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    std::fs::write(folder.join("vocab.txt"), vocab.join("\n") + "\n").unwrap();
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = shapes(shape, vocab.len())
        .into_iter()
        .scan(1u64, |state, (name, sides)| {
            let spread = if name.contains("LayerNorm.weight") { (1.0, 0.2) } else { (0.0, shape.spread) };
            let mut bytes = Vec::new();
            for _ in 0..sides.iter().product() {
                *state =
                    state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let unit = (*state >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
                bytes.extend((spread.0 + spread.1 * unit).to_le_bytes());
            }
            Some((name, sides, bytes))
        })
        .collect();
    let views = tensors.iter().map(|(n, s, b)| (n, TensorView::new(Dtype::F32, s.clone(), b).unwrap()));
    std::fs::write(folder.join("model.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
}

/// Characters and a few words, filled up to at least `least` entries.
fn vocab(least: usize) -> Vec<String> {
    let mut vocab: Vec<String> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(String::from).to_vec();
    let characters: Vec<char> = ('!'..='~').filter(|c| !c.is_ascii_uppercase()).collect();
    vocab.extend(characters.iter().map(char::to_string));
    vocab.extend(characters.iter().map(|c| format!("##{c}")));
    vocab.extend(["total", "tax", "subtotal", "cash", "market", "street", "thank", "you"].map(String::from));
    let room = least.saturating_sub(vocab.len());
    let new: Vec<String> = pieces().filter(|piece| !vocab.contains(piece)).take(room).collect();
    vocab.extend(new);
    vocab.extend((vocab.len()..least).map(|i| format!("[unused{i}]")));
    vocab
}

/// Pieces of two and three signs, so that a word takes two or three tokens with a large vocabulary, as it does in a real
/// one.
fn pieces() -> impl Iterator<Item = String> {
    let letters: Vec<String> = ('a'..='z').map(String::from).collect();
    let signs: Vec<String> = ('a'..='z').chain('0'..='9').map(String::from).collect();
    let pairs = |left: &[String], right: &[String]| -> Vec<String> {
        left.iter().flat_map(|a| right.iter().map(move |b| format!("{a}{b}"))).collect()
    };
    let two = pairs(&signs, &signs);
    let three = pairs(&pairs(&letters, &letters), &letters);
    let continued: Vec<String> = two.iter().map(|pair| format!("##{pair}")).collect();
    two.into_iter().chain(continued).chain(three)
}

fn shapes(shape: Shape, vocab: usize) -> Vec<(String, Vec<usize>)> {
    let mut shapes = Vec::new();
    let mut add = |name: String, shape: &[usize]| shapes.push((format!("{name}.weight"), shape.to_vec()));
    for (table, rows) in [("word", vocab), ("position", 512), ("token_type", 2)] {
        add(format!("layoutlm.embeddings.{table}_embeddings"), &[rows, shape.hidden]);
    }
    for table in ["x", "y", "h", "w"] {
        add(format!("layoutlm.embeddings.{table}_position_embeddings"), &[1024, shape.hidden]);
    }
    let mut modules = vec![("layoutlm.embeddings.LayerNorm".to_string(), vec![shape.hidden])];
    for layer in 0..shape.layers {
        let name = |part: &str| format!("layoutlm.encoder.layer.{layer}.{part}");
        for part in
            ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"]
        {
            modules.push((name(part), vec![shape.hidden, shape.hidden]));
        }
        modules.push((name("intermediate.dense"), vec![shape.inner, shape.hidden]));
        modules.push((name("output.dense"), vec![shape.hidden, shape.inner]));
        modules.push((name("attention.output.LayerNorm"), vec![shape.hidden]));
        modules.push((name("output.LayerNorm"), vec![shape.hidden]));
    }
    modules.push(("classifier".into(), vec![LABELS.len(), shape.hidden]));
    for (module, shape) in modules {
        shapes.push((format!("{module}.bias"), vec![shape[0]]));
        shapes.push((format!("{module}.weight"), shape));
    }
    shapes
}
