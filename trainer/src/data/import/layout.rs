//! Which published layout a folder is in, and where its parts are.

use std::path::{Path, PathBuf};

/// A data set whose files can be read as published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// ICDAR 2019 SROIE: `box/` with line boxes, `key/` (or `entities/`) with four fields.
    Sroie,
    /// CORD: `json/` with words and their categories.
    Cord,
    /// FUNSD: `annotations/` with entities and their words.
    Funsd,
}

impl std::fmt::Display for Published {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Sroie => "SROIE",
            Self::Cord => "CORD",
            Self::Funsd => "FUNSD",
        })
    }
}

/// The folders of one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PartFolders {
    /// One file per receipt.
    pub(super) annotations: PathBuf,
    /// SROIE's fields, one file per receipt.
    pub(super) fields: Option<PathBuf>,
    /// Images, asked for their size only.
    pub(super) images: Option<PathBuf>,
    /// What to put before file names so that receipts of different parts differ.
    pub(super) prefix: String,
}

/// A data set's parts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Parts {
    pub(super) train: Option<PartFolders>,
    pub(super) validation: Option<PartFolders>,
    pub(super) test: Option<PartFolders>,
}

const TRAIN: [&str; 3] = ["train", "training", "training_data"];
const VALIDATION: [&str; 5] = ["validation", "valid", "val", "dev", "validation_data"];
const TEST: [&str; 3] = ["test", "testing", "testing_data"];
const IMAGES: [&str; 4] = ["img", "image", "images", "jpg"];

/// Finds parts in the folder's own name for it, else takes the folder as one part to train on.
pub(super) fn detect(folder: &Path) -> Option<(Published, Parts)> {
    for published in [Published::Sroie, Published::Cord, Published::Funsd] {
        let named = |names: &[&str]| {
            names.iter().find_map(|name| part(published, &folder.join(name), &format!("{name}-")))
        };
        let parts = Parts { train: named(&TRAIN), validation: named(&VALIDATION), test: named(&TEST) };
        if parts != Parts::default() {
            return Some((published, parts));
        }
        if let Some(whole) = part(published, folder, "") {
            return Some((published, Parts { train: Some(whole), ..Parts::default() }));
        }
    }
    sroie_tasks(folder).map(|train| (Published::Sroie, Parts { train: Some(train), ..Parts::default() }))
}

fn part(published: Published, folder: &Path, prefix: &str) -> Option<PartFolders> {
    let child = |names: &[&str]| names.iter().map(|n| folder.join(n)).find(|p| p.is_dir());
    let images = child(&IMAGES);
    let (annotations, fields, prefix) = match published {
        // SROIE's file names are the receipts' own ids.
        Published::Sroie => (child(&["box"])?, Some(child(&["key", "entities"])?), String::new()),
        Published::Cord => (child(&["json"])?, None, format!("cord-{prefix}")),
        Published::Funsd => (child(&["annotations"])?, None, String::new()),
    };
    Some(PartFolders { annotations, fields, images, prefix })
}

/// SROIE as first handed out: `0325updated.task1train(626p)` beside `0325updated.task2train(626p)`.
fn sroie_tasks(folder: &Path) -> Option<PartFolders> {
    let children: Vec<PathBuf> =
        std::fs::read_dir(folder).ok()?.flatten().map(|e| e.path()).filter(|p| p.is_dir()).collect();
    let named = |wanted: &str| {
        children.iter().find(|p| p.file_name().is_some_and(|n| n.to_string_lossy().contains(wanted))).cloned()
    };
    let annotations = named("task1train")?;
    let fields = named("task2train")?;
    Some(PartFolders {
        images: Some(annotations.clone()),
        annotations,
        fields: Some(fields),
        prefix: String::new(),
    })
}
