//! What a run's report says, section by section.

use std::path::Path;

use layoutlm_core::evaluate::Evaluation;
use serde_json::{Map, Value};

use super::chart::{Bars, Chart, Lines, Matrix, Series};
use super::compare::{comparison_section, incomparable};
use super::document::{Block, Section, Table};
use super::format::{bytes, count, duration, percent, score, value};
use super::view::{EpochView, RunView};
use super::{findings, tables};

/// Earlier runs shown beside a run.
const OTHERS: usize = 10;

/// The report of a run; `others` are the runs beside it, oldest first.
pub(super) fn of_run(run: &RunView, others: &[RunView]) -> Vec<Section> {
    let mut sections = vec![summary(run, others), epochs(run)];
    if let Some(evaluation) = &run.evaluation {
        sections.extend([labels(evaluation), confusion(evaluation), confidence(evaluation)]);
        let parts = tables::parts(evaluation)
            .map(|t| Section::new("Parts of the validation receipts", vec![Block::Table(t)]));
        sections.extend(parts);
    }
    sections.push(previous(run, others));
    sections.push(data(run));
    sections.extend(quality(run));
    sections.extend([configuration(run), machine(run), artefacts(run)]);
    sections
}

fn summary(run: &RunView, others: &[RunView]) -> Section {
    let best = run.best();
    let status = if run.status.is_empty() { "recorded" } else { &run.status };
    let mut blocks = vec![Block::Text(match best {
        Some(b) => format!(
            "{}, {} epochs. Best: epoch {} (step {}, by {}) with F1 {}, precision {}, recall {} on {} held-out receipts.",
            status,
            run.epochs.len(),
            b.epoch,
            b.step,
            run.best_metric,
            score(b.get("f1")),
            score(b.get("precision")),
            score(b.get("recall")),
            count(run.validation_receipts)
        ),
        None => format!("{status}; no epoch is complete yet."),
    })];
    if let Some(i) = run.evaluation.as_ref().and_then(|e| e.f1_interval) {
        let text =
            format!("95 % interval of that F1 (bootstrap over receipts): {:.3} – {:.3}.", i.low, i.high);
        blocks.push(Block::Text(text));
    }
    if !run.comparability.is_empty() {
        blocks.push(Block::Text(format!("Comparability: {}.", run.comparability.trim_end_matches('.'))));
    }
    let findings = findings::of_run(run, others);
    if !findings.is_empty() {
        blocks.push(Block::List(findings));
    }
    Section::new("What came out", blocks)
}

fn epochs(run: &RunView) -> Section {
    let mut table = Table::new([
        "epoch",
        "step",
        "F1",
        "precision",
        "recall",
        "train loss",
        "eval loss",
        "token accuracy",
        "lr",
        "seconds",
    ]);
    for e in &run.epochs {
        let figure = |name| score(e.get(name));
        table.push([
            e.epoch.to_string(),
            count(e.step as usize),
            figure("f1"),
            figure("precision"),
            figure("recall"),
            score(e.train_loss),
            figure("loss"),
            figure("accuracy"),
            e.learning_rate.map(|v| format!("{v:.2e}")).unwrap_or_default(),
            e.train_seconds.map(|v| format!("{v:.1}")).unwrap_or_default(),
        ]);
    }
    let mut blocks = vec![Block::Table(table)];
    if !run.epochs.is_empty() {
        blocks.extend([scores_chart(run), loss_chart(run)].map(|c| Block::Chart(Chart::Lines(c))));
    }
    if !run.held_out.is_empty() {
        blocks.push(Block::Text("The same checkpoints scored line by line, as earlier runs were (entities end with their OCR line):".into()));
        blocks.push(Block::Table(held_out(run)));
    }
    Section::new("Results by epoch", blocks)
}

fn held_out(run: &RunView) -> Table {
    let mut table = Table::new([
        "epoch",
        "<checkpoint",
        "held-out F1",
        "precision",
        "recall",
        "Δ to F1",
        "ms per receipt",
    ]);
    for e in &run.held_out {
        let h = &e.heldout;
        table.push([
            e.epoch.map(|n| n.to_string()).unwrap_or_default(),
            e.checkpoint.clone(),
            score(Some(h.heldout_f1)),
            score(Some(h.heldout_precision)),
            score(Some(h.heldout_recall)),
            e.heldout_f1_delta_vs_training_reported.map(|d| format!("{d:+.4}")).unwrap_or_default(),
            e.avg_inference_ms.map(|v| format!("{v:.1}")).unwrap_or_default(),
        ]);
    }
    table
}

fn series(run: &RunView, name: &str, of: impl Fn(&EpochView) -> Option<f64>) -> Series {
    let points = run.epochs.iter().filter_map(|e| Some((e.epoch, of(e).filter(|v| v.is_finite())?)));
    Series { name: name.into(), points: points.collect() }
}

fn scores_chart(run: &RunView) -> Lines {
    let of = |name: &'static str| series(run, name, move |e| e.get(name));
    Lines {
        title: "Scores by epoch".into(),
        x_name: "epoch".into(),
        series: vec![of("f1"), of("precision"), of("recall")],
        y_range: Some((0.0, 1.0)),
    }
}

fn loss_chart(run: &RunView) -> Lines {
    Lines {
        title: "Loss by epoch".into(),
        x_name: "epoch".into(),
        series: vec![series(run, "training", |e| e.train_loss), series(run, "validation", |e| e.get("loss"))],
        y_range: None,
    }
}

fn labels(evaluation: &Evaluation) -> Section {
    let bar = |(name, s): (&String, &layoutlm_core::metrics::Scores)| {
        (name.clone(), s.f1, format!("{:.3} of {}", s.f1, count(s.support)))
    };
    let bars = Bars { title: "F1 by label".into(), bars: evaluation.labels.iter().map(bar).collect() };
    let share = |v: Option<f64>| v.map_or_else(|| "–".into(), percent);
    let text = format!(
        "Token accuracy {}, of O words {}, of entity words {}. {} of the words are labelled as an entity, {} are one. F1 \
         under strict IOB2: {:.4}.",
        percent(evaluation.token_accuracy),
        share(evaluation.o_token_accuracy),
        share(evaluation.entity_token_accuracy),
        percent(evaluation.entity_prediction_rate),
        percent(evaluation.gold_entity_rate),
        evaluation.strict.micro.f1
    );
    Section::new(
        "Results by label",
        vec![Block::Table(tables::scores(evaluation)), Block::Chart(Chart::Bars(bars)), Block::Text(text)],
    )
}

fn confusion(evaluation: &Evaluation) -> Section {
    let c = &evaluation.label_confusion;
    let matrix = Matrix {
        title: "Words by gold and predicted label".into(),
        labels: c.labels.clone(),
        counts: c.counts.clone(),
    };
    let blocks = vec![
        Block::Table(tables::mistakes(evaluation)),
        Block::Table(confused(evaluation)),
        Block::Chart(Chart::Matrix(matrix)),
    ];
    Section::new("Mistakes", blocks)
}

/// The most frequent confusions of labels, for readers without the plot.
fn confused(evaluation: &Evaluation) -> Table {
    let c = &evaluation.label_confusion;
    let mut pairs: Vec<(&str, &str, usize)> = Vec::new();
    for (gold, row) in c.labels.iter().zip(&c.counts) {
        pairs.extend(
            c.labels
                .iter()
                .zip(row)
                .filter(|(p, n)| *p != gold && **n > 0)
                .map(|(p, n)| (gold.as_str(), p.as_str(), *n)),
        );
    }
    pairs.sort_by_key(|(_, _, n)| std::cmp::Reverse(*n));
    let mut table = Table::new(["<gold", "<predicted", "words"]);
    pairs.into_iter().take(10).for_each(|(g, p, n)| table.push([g.into(), p.into(), count(n)]));
    table
}

fn confidence(evaluation: &Evaluation) -> Section {
    let c = &evaluation.calibration;
    let filled = c.reliability.bins.iter().filter(|b| b.words > 0);
    let measured =
        Series { name: "this model".into(), points: filled.map(|b| (b.confidence, b.accuracy)).collect() };
    let ideal = Series { name: "as it should be".into(), points: vec![(0.0, 0.0), (1.0, 1.0)] };
    let chart = Lines {
        title: "Share of right words by confidence".into(),
        x_name: "confidence".into(),
        series: vec![measured, ideal],
        y_range: Some((0.0, 1.0)),
    };
    let mut table = Table::new(["<", "temperature", "calibration error", "mean −ln p"]);
    let row = |name: &str, t: f64, ece: f64, nll: f64| {
        [name.into(), format!("{t:.3}"), score(Some(ece)), score(Some(nll))]
    };
    table.push(row("as trained", c.temperature, c.reliability.ece, c.nll));
    table.push(row("fitted, stored in the encoding", c.fitted_temperature, c.fitted_ece, c.fitted_nll));
    Section::new("Confidence", vec![Block::Table(table), Block::Chart(Chart::Lines(chart))])
}

fn previous(run: &RunView, others: &[RunView]) -> Section {
    let title = "Comparison to previous runs";
    let mut earlier: Vec<&RunView> = others.iter().filter(|o| o.written_at <= run.written_at).collect();
    if earlier.is_empty() {
        return Section::new(title, vec![Block::Text("There is no earlier run in this folder.".into())]);
    }
    // The previous best always stays in; of the others the newest do.
    let f1 = |r: &&RunView| r.f1().unwrap_or(0.0);
    let comparable = earlier.iter().copied().filter(|o| incomparable(o, run).is_none());
    let best = comparable.max_by(|a, b| f1(a).total_cmp(&f1(b))).map(|r| r.dir.clone());
    while earlier.len() > OTHERS {
        let drop = earlier.iter().position(|r| Some(&r.dir) != best.as_ref()).unwrap_or(0);
        earlier.remove(drop);
    }
    let mut runs = vec![run];
    runs.extend(earlier.iter().rev());
    comparison_section(title, &runs, 0)
}

fn data(run: &RunView) -> Section {
    let mut blocks = Vec::new();
    let mut table =
        Table::new(["<part", "receipts", "windows", "words", "entity words", "O words", "O per entity word"]);
    for (part, receipts) in [("train", run.train_receipts), ("validation", run.validation_receipts)] {
        let Some(c) = run.counts.get(part) else { continue };
        table.push([
            part.into(),
            count(receipts),
            count(c.num_lines),
            count(c.num_tokens),
            count(c.num_entity_tokens),
            count(c.num_o_tokens),
            c.o_entity_ratio.map(|r| format!("{r:.2}")).unwrap_or_default(),
        ]);
    }
    blocks.push(Block::Table(table));
    if let Some(stats) = &run.stats {
        let text = format!(
            "{} receipts of {} known merchants, {} words, {} of them labelled.",
            count(stats.receipts),
            count(stats.merchants),
            count(stats.words),
            count(stats.labelled_words)
        );
        blocks.push(Block::Text(text));
        blocks
            .extend([tables::merged(stats), tables::lengths(stats), tables::losses(stats)].map(Block::Table));
    }
    Section::new("Data set analysis", blocks)
}

fn quality(run: &RunView) -> Option<Section> {
    let stats = run.stats.as_ref()?;
    let bar = |q: &crate::stats::LabelQuality| (q.label.clone(), q.valid_share, percent(q.valid_share));
    let bars = Bars { title: "Share of VALID labels".into(), bars: stats.quality.iter().map(bar).collect() };
    let blocks = vec![Block::Table(tables::quality(stats)), Block::Chart(Chart::Bars(bars))];
    Some(Section::new("Label quality", blocks))
}

fn configuration(run: &RunView) -> Section {
    let mut table = Table::new(["<option", "<value"]);
    let rows = |map: &Map<String, Value>| -> Vec<[String; 2]> {
        map.iter().filter(|(_, v)| !v.is_null()).map(|(name, v)| [name.clone(), value(v)]).collect()
    };
    rows(&run.training).into_iter().chain(rows(&run.data)).for_each(|row| table.push(row));
    table.push(["labels".into(), run.labels.join(" ")]);
    for (target, sources) in &run.merges {
        table.push([format!("merged into {target}"), sources.join(" ")]);
    }
    table.push(["validation receipts hash".into(), run.validation_hash.clone()]);
    table.push(["encoding fingerprint".into(), run.fingerprint.clone()]);
    table.rows.retain(|row| row.get(1).is_some_and(|v| !v.is_empty()));
    Section::new("Configuration", vec![Block::Table(table)])
}

fn machine(run: &RunView) -> Section {
    let mut table = Table::new(["<", "<"]);
    let trained: f64 = run.epochs.iter().filter_map(|e| e.train_seconds).sum();
    let rows = [
        ("all sittings", run.seconds.map(duration)),
        ("of it training", Some(trained).filter(|s| *s > 0.0).map(duration)),
        ("machine", Some(run.machine.clone())),
        ("written by", Some(run.written_by.clone())),
        ("written at", Some(run.written_at.clone())),
    ];
    for (name, text) in rows {
        if let Some(text) = text.filter(|t| !t.is_empty()) {
            table.push([name.into(), text]);
        }
    }
    Section::new("Time and machine", vec![Block::Table(table)])
}

fn artefacts(run: &RunView) -> Section {
    let mut table = Table::new(["<in the run's folder", "size"]);
    let entries = std::fs::read_dir(&run.dir).into_iter().flatten().flatten().map(|e| e.path());
    let mut names: Vec<(String, u64)> = entries
        .filter_map(|p| Some((p.file_name()?.to_string_lossy().into_owned(), p)))
        .filter(|(name, _)| {
            !name.starts_with('.') && name != super::RESULTS_FILE && name != super::REPORT_FILE
        })
        .map(
            |(name, path)| {
                if path.is_dir() { (format!("{name}/"), size(&path)) } else { (name, size(&path)) }
            },
        )
        .collect();
    names.sort();
    names.into_iter().for_each(|(name, size)| table.push([name, bytes(size)]));
    Section::new("Artefacts", vec![Block::Table(table)])
}

/// Bytes of a file, or of all files under a folder.
fn size(path: &Path) -> u64 {
    match std::fs::symlink_metadata(path) {
        Ok(m) if m.is_dir() => {
            std::fs::read_dir(path).into_iter().flatten().flatten().map(|e| size(&e.path())).sum()
        }
        Ok(m) => m.len(),
        Err(_) => 0,
    }
}
