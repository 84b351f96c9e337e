//! The tables that reports and commands share.

use layoutlm_core::evaluate::Evaluation;
use layoutlm_core::metrics::{EntityErrors, Interval, Scores};
use layoutlm_core::receipt::ValidationStatus;

use super::document::{Align, Table};
use super::format::{count, percent, score};
use crate::stats::{CutLoss, DataStats, Spread};

/// Per label and averaged: precision, recall, F1, support.
pub fn scores(evaluation: &Evaluation) -> Table {
    let mut table = Table::new(["<label", "precision", "recall", "F1", "support"]);
    let averages = [
        ("micro avg", evaluation.report.micro),
        ("macro avg", evaluation.report.macro_avg),
        ("weighted avg", evaluation.report.weighted),
    ];
    let labels = evaluation.labels.iter().map(|(name, s)| (name.as_str(), *s));
    for (name, Scores { precision, recall, f1, support }) in labels.chain(averages) {
        let cell = |v| score(Some(v));
        table.push([name.into(), cell(precision), cell(recall), cell(f1), count(support)]);
    }
    table
}

/// Entities by kind of mistake.
pub fn mistakes(evaluation: &Evaluation) -> Table {
    let mut table =
        Table::new(["<label", "right", "wrong ends", "wrong type", "wrong both", "missed", "made up"]);
    let rows = evaluation.errors.per_label.iter().map(|(l, e)| (l.as_str(), e));
    for (label, e) in rows.chain([("all", &evaluation.errors.total)]) {
        let EntityErrors { right, boundary, kind, boundary_and_type, missed, spurious } = *e;
        let n = |v: usize| count(v);
        table.push([
            label.into(),
            n(right),
            n(boundary),
            n(kind),
            n(boundary_and_type),
            n(missed),
            n(spurious),
        ]);
    }
    table
}

/// An interval as `0.61 – 0.74`.
pub fn interval(i: Option<Interval>) -> String {
    i.map_or_else(|| "–".into(), |i| format!("{:.3} – {:.3}", i.low, i.high))
}

/// Parts of the receipts.
pub fn parts(evaluation: &Evaluation) -> Option<Table> {
    if evaluation.slices.is_empty() {
        return None;
    }
    let mut table =
        Table::new(["<by", "<part", "receipts", "entities", "precision", "recall", "F1", "95 % interval"]);
    for s in &evaluation.slices {
        let cell = |v| score(Some(v));
        table.push([
            s.by.clone(),
            s.value.clone(),
            count(s.receipts),
            count(s.support),
            cell(s.precision),
            cell(s.recall),
            cell(s.f1),
            interval(s.interval),
        ]);
    }
    Some(table)
}

/// VALID words per label after merging, with the labels they come from.
pub fn merged(stats: &DataStats) -> Table {
    let mut table = Table::new(["<label", "VALID words", "<made of"]);
    for row in &stats.merged {
        let parts = row.parts.iter().map(|(label, n)| format!("{label} {}", count(*n)));
        let parts: Vec<String> = if row.parts.len() > 1 { parts.collect() } else { Vec::new() };
        table.push([row.label.clone(), count(row.valid), parts.join(" + ")]);
    }
    table
}

/// Words per label and status.
pub fn quality(stats: &DataStats) -> Table {
    let statuses = [
        (ValidationStatus::Valid, "VALID"),
        (ValidationStatus::Invalid, "INVALID"),
        (ValidationStatus::NeedsReview, "NEEDS_REVIEW"),
        (ValidationStatus::Pending, "PENDING"),
        (ValidationStatus::None, "NONE"),
    ];
    let used: Vec<_> = statuses
        .into_iter()
        .filter(|(s, _)| *s == ValidationStatus::Valid || stats.quality.iter().any(|q| q.count(*s) > 0))
        .collect();
    let mut table = Table::new(["<label"]);
    table.columns.extend(used.iter().map(|(_, name)| (name.to_string(), Align::Right)));
    table.columns.extend(["all", "share VALID"].map(|n| (n.to_string(), Align::Right)));
    for q in &stats.quality {
        let mut row = vec![q.label.clone()];
        row.extend(used.iter().map(|(status, _)| count(q.count(*status))));
        row.extend([count(q.total), percent(q.valid_share)]);
        table.rows.push(row);
    }
    table
}

/// Lengths in words, tokens and windows.
pub fn lengths(stats: &DataStats) -> Table {
    let mut table = Table::new(["<length", "mean", "least", "median", "95 %", "most"]);
    let l = &stats.lengths;
    for (name, s) in [
        ("words per receipt", l.words_per_receipt),
        ("tokens per word", l.tokens_per_word),
        ("windows per receipt", l.windows_per_receipt),
    ] {
        let Spread { mean, min, median, p95, max } = s;
        let whole = |v: f64| format!("{v:.0}");
        table.push([
            name.into(),
            format!("{mean:.2}"),
            whole(min),
            format!("{median:.1}"),
            format!("{p95:.1}"),
            whole(max),
        ]);
    }
    table
}

/// What cuts at the token limit would lose.
pub fn losses(stats: &DataStats) -> Table {
    let mut table = Table::new(["<cut", "receipts", "words lost", "labelled words lost", "share of words"]);
    for (name, loss) in [
        ("windows that end early (this toolkit)", CutLoss::default()),
        ("windows cut off at the token limit", stats.lengths.cut_windows),
        ("one sequence per receipt, cut off", stats.lengths.cut_receipts),
    ] {
        let share = loss.lost_words as f64 / stats.words.max(1) as f64;
        table.push([
            name.into(),
            count(loss.receipts),
            count(loss.lost_words),
            count(loss.lost_labelled_words),
            percent(share),
        ]);
    }
    table
}
