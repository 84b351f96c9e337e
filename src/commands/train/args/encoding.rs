//! How receipts become numbers.

use layoutlm_core::encoding::{Decoding, Granularity};
use layoutlm_core::reading_order::ReadingOrder;
use layoutlm_core::window::WindowRule;
use layoutlm_trainer::config::{TrainConfig, check_windows};
use layoutlm_trainer::data::{Loader, Scope};

use crate::exit::usage;

/// Flags about windows, boxes and order.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Windows")]
pub struct EncodingArgs {
    /// Whose rules make the numbers: this toolkit's (top-left geometry, line order), or the Python trainer's
    /// (bottom-left geometry, (y, x) order, classes as observed) for comparison with its runs.
    #[arg(long, env = "LAYOUTLM_LOADER", default_value = "toolkit")]
    pub loader: LoaderArg,
    /// What one example is: a window over the receipt, or one OCR line.
    #[arg(long, env = "LAYOUTLM_GRANULARITY", default_value = "receipt")]
    pub granularity: GranularityArg,
    /// Which part of each receipt is used: all of it, or the band of its items.
    #[arg(long, env = "LAYOUTLM_SCOPE", default_value = "full")]
    pub scope: ScopeArg,
    /// Words per window.
    #[arg(long, env = "LAYOUTLM_WINDOW_SIZE", default_value_t = 200)]
    pub window_size: usize,
    /// Words between window starts.
    #[arg(long, env = "LAYOUTLM_WINDOW_STRIDE", default_value_t = 150)]
    pub window_stride: usize,
    /// Train on extra windows over each receipt's item band.
    #[arg(long, env = "LAYOUTLM_ITEM_WINDOW_AUGMENT")]
    pub item_window_augment: bool,
    /// Words per extra window.
    #[arg(long, env = "LAYOUTLM_ITEM_WINDOW_SIZE", default_value_t = 200)]
    pub item_window_size: usize,
    /// Words between their starts.
    #[arg(long, env = "LAYOUTLM_ITEM_WINDOW_STRIDE", default_value_t = 150)]
    pub item_window_stride: usize,
    /// Order of words: line, yx or given [default: line, or the loader's]
    #[arg(long, env = "LAYOUTLM_READING_ORDER")]
    pub reading_order: Option<OrderArg>,
    /// From probabilities to tags: argmax or bio.
    #[arg(long, env = "LAYOUTLM_DECODING", default_value = "argmax")]
    pub decoding: DecodingArg,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum LoaderArg {
    Toolkit,
    Upstream,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum GranularityArg {
    Receipt,
    Line,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum ScopeArg {
    Full,
    LineItems,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum OrderArg {
    Line,
    Yx,
    Given,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum DecodingArg {
    Argmax,
    Bio,
}

impl EncodingArgs {
    pub fn loader(&self) -> Loader {
        match self.loader {
            LoaderArg::Toolkit => Loader::Toolkit,
            LoaderArg::Upstream => Loader::Upstream,
        }
    }

    pub fn scope(&self) -> Scope {
        match self.scope {
            ScopeArg::Full => Scope::Full,
            ScopeArg::LineItems => Scope::LineItems,
        }
    }

    /// Sets everything these flags decide.
    ///
    /// # Errors
    /// For extra windows that make no sense, used or not.
    pub fn apply(&self, config: TrainConfig) -> anyhow::Result<TrainConfig> {
        let rule = |size, stride| WindowRule { size, stride, ..WindowRule::default() };
        let items = rule(self.item_window_size, self.item_window_stride);
        check_windows("--item-window-size/--item-window-stride", &items).map_err(usage)?;
        let mut config = config.with_loader(self.loader());
        if let Some(order) = self.reading_order {
            config.reading_order = match order {
                OrderArg::Line => ReadingOrder::Line,
                OrderArg::Yx => ReadingOrder::Yx,
                OrderArg::Given => ReadingOrder::Given,
            };
        }
        config.granularity = match self.granularity {
            GranularityArg::Receipt => Granularity::Receipt,
            GranularityArg::Line => Granularity::Line,
        };
        config.scope = self.scope();
        config.window = rule(self.window_size, self.window_stride);
        config.item_windows = self.item_window_augment.then_some(items);
        config.decoding = match self.decoding {
            DecodingArg::Argmax => Decoding::Argmax,
            DecodingArg::Bio => Decoding::Bio,
        };
        Ok(config)
    }
}
