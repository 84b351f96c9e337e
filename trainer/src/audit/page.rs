//! The review list as a page: the strongest doubts with the receipt drawn around them.

use std::collections::BTreeMap;

use layoutlm_core::receipt::Receipt;
use maud::{Markup, html};

use super::doubt::{Doubt, Verdict};
use super::drawing::draw;
use super::{AuditReport, Experiment};
use crate::report::frame;

/// A self-contained page of the first `most` doubts.
pub fn review_page(
    report: &AuditReport,
    receipts: &[Receipt],
    experiment: Option<&Experiment>,
    most: usize,
) -> String {
    let by_key: BTreeMap<(&str, u32), &Receipt> =
        receipts.iter().map(|r| ((r.image_id.as_str(), r.receipt_id), r)).collect();
    let shown = report.doubts.iter().take(most);
    frame(
        "Labels to review",
        html! {
            main {
                section { (summary(report, experiment, most)) }
                @for (rank, doubt) in shown.enumerate() {
                    section { (entry(rank + 1, doubt, by_key.get(&(doubt.image_id.as_str(), doubt.receipt_id)))) }
                }
            }
        },
    )
}

fn summary(report: &AuditReport, experiment: Option<&Experiment>, most: usize) -> Markup {
    let count = |v: Verdict| report.doubts.iter().filter(|d| d.verdict == v).count();
    html! {
        p {
            (report.doubts.len()) " runs of words of " (report.receipts) " receipts (" (report.labelled_words)
            " labelled words), the most doubtful first; this page shows the first " (report.doubts.len().min(most)) "."
        }
        p {
            (count(Verdict::Change)) " to change, " (count(Verdict::Remove)) " to remove, " (count(Verdict::Add))
            " to add, " (count(Verdict::Confirm)) " waiting labels to confirm."
        }
        p {
            "Each receipt was labelled by a model that never saw it. F1 of the models against the labels as they are: "
            @for (i, fold) in report.folds.iter().enumerate() { @if i > 0 { ", " } (format!("{:.3}", fold.f1)) }
            "."
        }
        @if let Some(e) = experiment {
            p {
                (e.corrupted) " of " (e.entities) " entities were given a wrong label on purpose; of the first "
                (e.corrupted) " listed, " (e.found_in_first_n) " are among them (" (format!("{:.3}", e.precision_at_n)) ")."
            }
        }
    }
}

fn entry(rank: usize, doubt: &Doubt, receipt: Option<&&Receipt>) -> Markup {
    let advice = match doubt.verdict {
        Verdict::Change => format!("{} → {}", doubt.given, doubt.proposed),
        Verdict::Remove => format!("{} → no label", doubt.given),
        Verdict::Add => format!("no label → {}", doubt.proposed),
        Verdict::Confirm => format!("{} is right", doubt.given),
    };
    html! {
        h2 { (rank) ". " (advice) }
        p { "“" (doubt.text) "”" }
        p class="legend" {
            (doubt.image_id) " #" (doubt.receipt_id)
            " · given " (format!("{:.3}", doubt.given_probability)) ", proposed " (format!("{:.3}", doubt.proposed_probability))
            @if doubt.waits() { " · waits for review" }
        }
        @if let Some(receipt) = receipt { (draw(receipt, doubt)) }
    }
}
