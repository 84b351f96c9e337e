//! What a run's figures say in words: where to look next. Each finding names its numbers, so that it can be checked.

use layoutlm_core::receipt::ValidationStatus;

use super::compare::incomparable;
use super::format::{count, percent};
use super::view::RunView;

/// Below this F1 a label is worth a sentence.
const WEAK: f64 = 0.5;
/// Fewer training words than this explain a weak label.
const FEW: usize = 100;
/// Above this expected calibration error confidences mislead.
const MISCALIBRATED: f64 = 0.05;

/// Sentences, most useful first.
pub(super) fn of_run(run: &RunView, others: &[RunView]) -> Vec<String> {
    let all = [
        comparison(run, others),
        course(run),
        weak_labels(run),
        mistakes(run),
        rates(run),
        confidence(run),
        unseen_merchants(run),
        waiting_labels(run),
        lost_words(run),
    ];
    all.into_iter().flatten().collect()
}

fn comparison(run: &RunView, others: &[RunView]) -> Option<String> {
    let own = run.f1()?;
    let earlier = |o: &&RunView| o.written_at < run.written_at && incomparable(o, run).is_none();
    let best = others.iter().filter(earlier).filter_map(|o| Some((o, o.f1()?)));
    let (other, f1) = best.max_by(|a, b| a.1.total_cmp(&b.1))?;
    let word = if own > f1 { "better" } else { "not better" };
    let doubt = match run.evaluation.as_ref().and_then(|e| e.f1_interval) {
        Some(i) if (i.low..=i.high).contains(&f1) => {
            format!(", but {f1:.4} lies inside this run's 95 % interval {:.3} – {:.3}", i.low, i.high)
        }
        _ => String::new(),
    };
    Some(format!(
        "F1 {own:.4} is {word} than the best earlier comparable run, {} with {f1:.4}{doubt}.",
        other.job_name
    ))
}

fn course(run: &RunView) -> Option<String> {
    let (best, last) = (run.best()?, run.epochs.last()?);
    let before = run.epochs.iter().rev().nth(1).and_then(|epoch| epoch.get("f1"));
    let rose = before.zip(last.get("f1")).is_some_and(|(before, f1)| f1 > before);
    if best.epoch == last.epoch && rose {
        return Some(format!(
            "The last epoch ({}) is the best: F1 was still rising, more epochs may help.",
            last.epoch
        ));
    }
    let worse = best.get("loss").zip(last.get("loss")).is_some_and(|(b, l)| l > b * 1.05);
    let sentence = format!("Validation loss rose after epoch {}: later epochs overfit.", best.epoch);
    (worse && last.epoch > best.epoch).then_some(sentence)
}

fn weak_labels(run: &RunView) -> Option<String> {
    let best = run.best()?;
    let train_words = |label: &str| -> Option<usize> {
        let counts = &run.counts.get("train")?.label_counts;
        Some(["B-", "I-"].iter().filter_map(|p| counts.get(&format!("{p}{label}"))).sum())
    };
    let weak: Vec<String> = run
        .labels
        .iter()
        .filter_map(|l| Some((l, best.of_label(l, "f1")?)))
        .filter(|(l, f1)| *f1 < WEAK && best.of_label(l, "support").unwrap_or(0.0) > 0.0)
        .map(|(l, f1)| match train_words(l) {
            Some(n) if n < FEW => format!("{l} {f1:.3} (only {} training words)", count(n)),
            _ => format!("{l} {f1:.3}"),
        })
        .collect();
    (!weak.is_empty()).then(|| format!("Labels below F1 {WEAK}: {}.", weak.join(", ")))
}

fn mistakes(run: &RunView) -> Option<String> {
    let e = run.evaluation.as_ref()?.errors.total;
    let wrong = e.boundary + e.kind + e.boundary_and_type + e.missed;
    if wrong == 0 {
        return None;
    }
    let share = |n: usize| percent(n as f64 / wrong as f64);
    Some(format!(
        "Of {} gold entities not found exactly, {} have wrong ends only, {} the wrong type, {} were missed; {} were made up.",
        count(wrong),
        share(e.boundary),
        share(e.kind + e.boundary_and_type),
        share(e.missed),
        count(e.spurious)
    ))
}

fn rates(run: &RunView) -> Option<String> {
    let ratio = run.best()?.get("entity_prediction_gold_ratio")?;
    match ratio {
        r if r < 0.8 => Some(format!(
            "Only {r:.2} words are labelled per gold entity word: the model is too shy; a lower --o-entity-ratio or class weights may help."
        )),
        r if r > 1.25 => {
            Some(format!("{r:.2} words are labelled per gold entity word: the model labels too much."))
        }
        _ => None,
    }
}

fn confidence(run: &RunView) -> Option<String> {
    let c = &run.evaluation.as_ref()?.calibration;
    if c.reliability.ece < MISCALIBRATED {
        return None;
    }
    Some(format!(
        "Raw confidences are off by {} on average; at the stored temperature {:.3} by {}.",
        percent(c.reliability.ece),
        c.fitted_temperature,
        percent(c.fitted_ece)
    ))
}

fn unseen_merchants(run: &RunView) -> Option<String> {
    let slices = &run.evaluation.as_ref()?.slices;
    let of = |value: &str| slices.iter().find(|s| s.by == "merchant in training" && s.value == value);
    let (seen, unseen) = (of("seen")?, of("unseen")?);
    let sentence = format!(
        "Merchants seen in training score F1 {:.3} ({} receipts), unseen ones {:.3} ({}): a random split flatters.",
        seen.f1, seen.receipts, unseen.f1, unseen.receipts
    );
    (seen.f1 > unseen.f1 + 0.03).then_some(sentence)
}

fn waiting_labels(run: &RunView) -> Option<String> {
    let quality = &run.stats.as_ref()?.quality;
    let waiting: Vec<String> = quality
        .iter()
        .map(|q| (q, q.count(ValidationStatus::NeedsReview) + q.count(ValidationStatus::Pending)))
        .filter(|(q, n)| *n * 5 > q.total)
        .map(|(q, n)| format!("{} {}", q.label, count(n)))
        .collect();
    (!waiting.is_empty()).then(|| {
        format!(
            "Words waiting for review (more than a fifth of their label): {}; `data audit` ranks them.",
            waiting.join(", ")
        )
    })
}

fn lost_words(run: &RunView) -> Option<String> {
    let stats = run.stats.as_ref()?;
    let lost = stats.lengths.cut_windows.lost_words;
    (lost > 0).then(|| {
        format!(
            "A plain cut at the token limit would have lost {} words in {} receipts; none is lost here.",
            count(lost),
            count(stats.lengths.cut_windows.receipts)
        )
    })
}
