//! Runs side by side, and which of them may be compared at all.

use super::document::{Block, Section, Table};
use super::format::{count, duration, score};
use super::view::RunView;

/// Runs in groups whose scores mean the same.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// Letter of each run's group: runs of one letter may be compared.
    pub groups: Vec<char>,
    /// Why groups differ, one sentence per group after the first.
    pub reasons: Vec<String>,
}

/// Why two runs' scores must not be compared; `None` when they may be.
///
/// They may only where both were scored on the same receipts, for the same labels, against the same gold entities.
pub fn incomparable(a: &RunView, b: &RunView) -> Option<String> {
    for run in [a, b] {
        if run.validation_hash.is_empty() {
            return Some(format!("{} does not record what it was validated on", run.job_name));
        }
    }
    if a.validation_hash != b.validation_hash {
        return Some(format!(
            "validated on other receipts: {} ({} receipts) and {} ({} receipts)",
            a.validation_hash, a.validation_receipts, b.validation_hash, b.validation_receipts
        ));
    }
    if a.labels != b.labels {
        return Some(format!("other labels: {} and {}", a.labels.join(" "), b.labels.join(" ")));
    }
    if a.merges != b.merges {
        return Some("labels were merged differently".into());
    }
    let gold = |run: &RunView| -> Option<Vec<f64>> {
        let best = run.best()?;
        run.labels.iter().map(|l| best.of_label(l, "support")).collect()
    };
    match (gold(a), gold(b)) {
        (Some(x), Some(y)) if x != y => {
            Some("the validation receipts' labels changed in between: their gold entities differ".into())
        }
        _ => None,
    }
}

/// Groups runs by comparability; the first run of a group stands for it.
pub fn compare(runs: &[&RunView]) -> Comparison {
    let mut representatives: Vec<&RunView> = Vec::new();
    let mut out = Comparison { groups: Vec::new(), reasons: Vec::new() };
    for run in runs {
        // A run that records nothing to compare by is a group of its own, even beside itself.
        let place = representatives.iter().position(|r| incomparable(r, run).is_none());
        let index = place.unwrap_or_else(|| {
            if let Some(first) = representatives.first() {
                let reason = incomparable(first, run).unwrap_or_default();
                out.reasons.push(format!("{} against {}: {reason}", run.job_name, first.job_name));
            }
            representatives.push(run);
            representatives.len() - 1
        });
        out.groups.push(char::from(b'A' + (index % 26) as u8));
    }
    out
}

/// The comparison as a section; `baseline` is the run whose distance the others show.
pub fn comparison_section(title: &str, runs: &[&RunView], baseline: usize) -> Section {
    let comparison = compare(runs);
    let mut table = Table::new([
        "<run",
        "<set",
        "F1",
        "Δ",
        "precision",
        "recall",
        "<best epoch",
        "<start",
        "lr",
        "batch",
        "time",
        "train",
        "validation",
    ]);
    let base = runs.get(baseline).and_then(|r| r.f1());
    let base_group = comparison.groups.get(baseline);
    for (i, (run, group)) in runs.iter().zip(&comparison.groups).enumerate() {
        let best = run.best();
        let figure = |name| score(best.and_then(|e| e.get(name)));
        let option = |name: &str| run.training.get(name).map(super::format::value).unwrap_or_default();
        let delta = match (run.f1(), base) {
            _ if i == baseline => "·".into(),
            _ if Some(group) != base_group => "not comparable".into(),
            (Some(f1), Some(base)) => format!("{:+.4}", f1 - base),
            _ => "–".into(),
        };
        table.push([
            run.job_name.clone(),
            group.to_string(),
            figure("f1"),
            delta,
            figure("precision"),
            figure("recall"),
            best.map(|e| format!("{} of {}", e.epoch, run.epochs.len())).unwrap_or_default(),
            option("pretrained_model_name"),
            option("learning_rate"),
            option("batch_size"),
            run.seconds.map(duration).unwrap_or_default(),
            count(run.train_receipts),
            count(run.validation_receipts),
        ]);
    }
    let mut blocks = vec![Block::Table(table)];
    if !comparison.reasons.is_empty() {
        let text = "Runs of different letters under “set” must not be compared:";
        blocks.push(Block::Text(text.into()));
        blocks.push(Block::List(comparison.reasons));
    }
    blocks.extend(labels_table(runs, &comparison.groups).map(Block::Table));
    Section::new(title, blocks)
}

/// F1 per label for runs of one group, when there are at least two.
fn labels_table(runs: &[&RunView], groups: &[char]) -> Option<Table> {
    let together: Vec<&&RunView> =
        runs.iter().zip(groups).filter(|(_, g)| Some(*g) == groups.first()).map(|(r, _)| r).collect();
    if together.len() < 2 {
        return None;
    }
    let mut table = Table::new(["<F1 by label"]);
    table.columns.extend(together.iter().map(|r| (r.job_name.clone(), super::Align::Right)));
    for label in &together.first()?.labels {
        let f1 = |r: &&&RunView| score(r.best().and_then(|e| e.of_label(label, "f1")));
        table.rows.push(std::iter::once(label.clone()).chain(together.iter().map(f1)).collect());
    }
    Some(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &str, hash: &str, label: &str, support: usize) -> RunView {
        let dir = tempfile::tempdir().unwrap();
        let json = format!(
            r#"{{"job_name":"{name}","label_list":["O","B-{label}"],"split_metadata":{{"val_receipts_hash":"{hash}"}},
                "epoch_metrics":[{{"epoch":1,"global_step":1,"eval_f1":0.5,"eval_label_{label}_support":{support}}}]}}"#
        );
        std::fs::write(dir.path().join("run.json"), json).unwrap();
        RunView::read(dir.path()).unwrap()
    }

    #[test]
    fn runs_on_other_receipts_labels_or_gold_are_never_called_comparable() {
        let a = run("a", "h1", "DATE", 7);
        for other in [
            run("b", "h2", "DATE", 7),
            run("c", "h1", "TIME", 7),
            run("d", "h1", "DATE", 8),
            run("e", "", "DATE", 7),
        ] {
            assert!(incomparable(&a, &other).is_some(), "{}", other.job_name);
            let text = format!("{:?}", comparison_section("x", &[&a, &other], 0).blocks);
            assert!(text.contains("not comparable"), "{text}");
        }
        assert_eq!(incomparable(&a, &run("f", "h1", "DATE", 7)), None);
        assert!(incomparable(&run("e", "", "DATE", 7), &run("e", "", "DATE", 7)).is_some());
    }

    #[test]
    fn groups_get_letters_and_every_other_group_a_reason() {
        let runs = [run("a", "h1", "DATE", 7), run("b", "h2", "DATE", 7), run("c", "h1", "DATE", 7)];
        let c = compare(&runs.iter().collect::<Vec<_>>());
        assert_eq!((c.groups, c.reasons.len()), (vec!['A', 'B', 'A'], 1));
    }
}
