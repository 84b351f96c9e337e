//! A checkpoint as a Hugging Face folder: tokenizer and encoding beside the weights.
//!
//! What this project writes carries `encoding.json`; for folders of other tools the encoding is made from what
//! `config.json` says and the defaults. Weights themselves are [`crate::weights`]' business.

use std::path::{Path, PathBuf};

use layoutlm_core::config::{ConfigError, ModelConfig};
use layoutlm_core::encoder::{Encoder, EncoderError};
use layoutlm_core::encoding::Encoding;
use layoutlm_core::label::{LabelError, LabelScheme, LabelSet, Merges};
use layoutlm_core::tokenize::{TokenizeError, Tokenizer};
use serde_json::{Value, json};

use crate::files::{FileError, write_atomic, write_json};
use crate::weights::CONFIG_FILE;

/// The encoding's file in a checkpoint folder.
pub const ENCODING_FILE: &str = "encoding.json";
/// The canonical tokenizer's file in a checkpoint folder.
pub const TOKENIZER_FILE: &str = "tokenizer.json";
const VOCAB_FILE: &str = "vocab.txt";

/// Why a folder is no usable checkpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// A file is missing or unreadable.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not a folder, or one without a model.
    #[error("{}: no checkpoint: expected a folder with {CONFIG_FILE}, or a run folder with best/", path.display())]
    NotACheckpoint {
        /// The path given.
        path: PathBuf,
    },
    /// Neither `tokenizer.json` nor `vocab.txt`.
    #[error("{}: no tokenizer: expected {TOKENIZER_FILE} or {VOCAB_FILE}", path.display())]
    NoTokenizer {
        /// The folder.
        path: PathBuf,
    },
    /// The tokenizer file is malformed.
    #[error("{}: {source}", path.display())]
    Tokenizer {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        source: TokenizeError,
    },
    /// The dimensions are malformed.
    #[error("{}: {source}", path.display())]
    Config {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        source: ConfigError,
    },
    /// `encoding.json` is malformed or does not belong to the tokenizer.
    #[error("{}: {reason}", path.display())]
    Encoding {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// Finds the checkpoint meant by a path: the folder itself, its `best/`, or its newest `checkpoint-<step>/`.
///
/// # Errors
/// [`FolderError::NotACheckpoint`].
pub fn resolve(path: &Path) -> Result<PathBuf, FolderError> {
    let is_model = |p: &Path| p.join(CONFIG_FILE).is_file();
    if is_model(path) {
        return Ok(path.into());
    }
    let best = path.join("best");
    if is_model(&best) {
        return Ok(best);
    }
    let newest = crate::run::checkpoints(path).into_iter().rev().map(|(_, p)| p).find(|p| is_model(p));
    newest.ok_or_else(|| FolderError::NotACheckpoint { path: path.into() })
}

/// Reads the dimensions from a folder.
///
/// # Errors
/// [`FolderError`].
pub fn read_config(folder: &Path) -> Result<ModelConfig, FolderError> {
    let path = folder.join(CONFIG_FILE);
    let text = std::fs::read_to_string(&path).map_err(FileError::at(&path))?;
    ModelConfig::from_json(&text).map_err(|source| FolderError::Config { path: folder.into(), source })
}

/// Reads `tokenizer.json`, or `vocab.txt` with the casing that `tokenizer_config.json` states (lower by default).
///
/// # Errors
/// [`FolderError`].
pub fn read_tokenizer(folder: &Path) -> Result<Tokenizer, FolderError> {
    let wrong = |source| FolderError::Tokenizer { path: folder.into(), source };
    let (json_path, vocab_path) = (folder.join(TOKENIZER_FILE), folder.join(VOCAB_FILE));
    if json_path.is_file() {
        let bytes = std::fs::read(&json_path).map_err(FileError::at(&json_path))?;
        Tokenizer::from_json(&bytes).map_err(wrong)
    } else if vocab_path.is_file() {
        let text = std::fs::read_to_string(&vocab_path).map_err(FileError::at(&vocab_path))?;
        Tokenizer::from_vocab(&text, states_lower_case(folder)).map_err(wrong)
    } else {
        Err(FolderError::NoTokenizer { path: folder.into() })
    }
}

fn states_lower_case(folder: &Path) -> bool {
    let stated = || -> Option<bool> {
        let text = std::fs::read_to_string(folder.join("tokenizer_config.json")).ok()?;
        serde_json::from_str::<Value>(&text).ok()?.get("do_lower_case")?.as_bool()
    };
    stated().unwrap_or(true)
}

/// Reads the encoder of a checkpoint folder, see the module's first lines for folders of other tools.
///
/// # Errors
/// [`FolderError`].
pub fn read_encoder(folder: &Path) -> Result<Encoder, FolderError> {
    let tokenizer = read_tokenizer(folder)?;
    let path = folder.join(ENCODING_FILE);
    let wrong = |reason: String| FolderError::Encoding { path: path.clone(), reason };
    let encoding = if path.is_file() {
        let text = std::fs::read_to_string(&path).map_err(FileError::at(&path))?;
        serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?
    } else {
        default_encoding(folder, &tokenizer).map_err(|e| wrong(e.to_string()))?
    };
    Encoder::new(encoding, tokenizer).map_err(|e: EncoderError| wrong(e.to_string()))
}

fn default_encoding(folder: &Path, tokenizer: &Tokenizer) -> Result<Encoding, Box<dyn std::error::Error>> {
    let config = read_config(folder)?;
    let tags = config.labels()?.ok_or("config.json has no id2label, so this is no token classifier")?;
    let labels = LabelSet::new(tags)?;
    let scheme = stored_scheme(folder, &labels)?;
    let mut encoding = Encoding::new(tokenizer.sha256().into(), tokenizer.lower_case(), labels, scheme);
    encoding.window.max_length = encoding.window.max_length.min(config.max_position_embeddings);
    Ok(encoding)
}

/// Merges of the run the folder came from (its `run.json` or its parent's); only the model's own types are allowed.
fn stored_scheme(folder: &Path, labels: &LabelSet) -> Result<LabelScheme, LabelError> {
    let read = |p: PathBuf| serde_json::from_str::<Value>(&std::fs::read_to_string(p).ok()?).ok();
    let run = read(folder.join("run.json")).or_else(|| read(folder.parent()?.join("run.json")));
    let merges: Merges =
        run.and_then(|r| serde_json::from_value(r.get("label_merges")?.clone()).ok()).unwrap_or_default();
    let types: Vec<String> = labels.entities().into_iter().map(String::from).collect();
    let known = types.iter().cloned().collect();
    LabelScheme::new(merges, Some(types), &known)
}

/// Writes tokenizer and encoding in every form that readers of such folders look for.
///
/// # Errors
/// [`FileError`].
pub fn write_encoder(folder: &Path, encoder: &Encoder) -> Result<(), FileError> {
    let tokenizer = encoder.tokenizer();
    let max_length = encoder.encoding().window.max_length;
    let special = json!({
        "cls_token": "[CLS]", "mask_token": "[MASK]", "pad_token": "[PAD]", "sep_token": "[SEP]", "unk_token": "[UNK]"
    });
    let tokenizer_config = json!({
        "tokenizer_class": "LayoutLMTokenizer", "do_lower_case": tokenizer.lower_case(), "do_basic_tokenize": true,
        "strip_accents": null, "tokenize_chinese_chars": true, "never_split": null,
        "model_max_length": max_length, "clean_up_tokenization_spaces": true,
        "cls_token": "[CLS]", "mask_token": "[MASK]", "pad_token": "[PAD]", "sep_token": "[SEP]", "unk_token": "[UNK]"
    });
    write_text(folder, TOKENIZER_FILE, tokenizer.to_json())?;
    write_text(folder, VOCAB_FILE, &tokenizer.vocab_txt())?;
    write_json(&folder.join("tokenizer_config.json"), &tokenizer_config)?;
    write_json(&folder.join("special_tokens_map.json"), &special)?;
    write_encoding(folder, encoder.encoding())
}

/// Writes `encoding.json` alone, e.g. after a new temperature was fitted.
///
/// # Errors
/// [`FileError`].
pub fn write_encoding(folder: &Path, encoding: &Encoding) -> Result<(), FileError> {
    write_json(&folder.join(ENCODING_FILE), encoding)
}

fn write_text(folder: &Path, name: &str, text: &str) -> Result<(), FileError> {
    write_atomic(&folder.join(name), |f| f.write_all(text.as_bytes()))
}
