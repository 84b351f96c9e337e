//! `report.html` as a person meets it: in a real browser, on a desk and on a phone, by day and in the dark.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A test fails by panicking.

use std::path::{Path, PathBuf};

use layoutlm_tests::browser::{Browser, Screen};
use layoutlm_trainer::report::write_reports;
use serde_json::Value;

/// Makes the example run's report anew, next to nothing else.
fn report(folder: &Path) -> PathBuf {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/run");
    let run = folder.join("receipts-1");
    std::fs::create_dir(&run).unwrap();
    for entry in std::fs::read_dir(example).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, run.join(path.file_name().unwrap())).unwrap();
    }
    write_reports(&run, Some(folder)).unwrap()[1].clone()
}

/// Where a picture is kept for people to look at, when asked for.
fn keep(browser: &Browser, name: &str) {
    if let Some(folder) = std::env::var_os("LAYOUTLM_SCREENSHOTS") {
        browser.screenshot(&PathBuf::from(folder).join(name));
    }
}

/// Names of plots that have no size or hold nothing.
const EMPTY_PLOTS: &str = r"
  const size = e => { const b = e.getBoundingClientRect(); return Math.min(b.width, b.height); };
  const bad = [];
  for (const figure of document.querySelectorAll('figure.plot')) {
    const name = figure.querySelector('figcaption').textContent;
    const curves = [...figure.querySelectorAll('path.curve')];
    const bars = [...figure.querySelectorAll('.bar')].filter(b => b.getBoundingClientRect().width > 1);
    const cells = [...figure.querySelectorAll('td')].filter(c => c.textContent.trim() !== '');
    const drawn = curves.some(c => c.getTotalLength() > 20) || bars.length > 0 || cells.length > 1;
    const seen = [...figure.querySelectorAll('svg, .bars, table')].every(e => size(e) > 40);
    if (!drawn || !seen) bad.push(name);
  }
  return bad;
";

/// Least contrast (WCAG 2.1) between text and what is behind it.
const LEAST_CONTRAST: &str = r"
  const rgb = text => text.match(/[\d.]+/g).map(Number);
  const light = c => { const [r, g, b] = c.slice(0, 3).map(v => { v /= 255;
    return v <= 0.03928 ? v / 12.92 : Math.pow((v + 0.055) / 1.055, 2.4); }); return 0.2126*r + 0.7152*g + 0.0722*b; };
  const behind = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
    if (c.length < 4 || c[3] > 0.99) return c; } return [255, 255, 255]; };
  let least = 99;
  for (const e of document.querySelectorAll('p, li, th, td:not(.hit):not(.miss), h1, h2, .name, .note, text, a')) {
    const style = getComputedStyle(e);
    const [a, b] = [light(rgb(e.tagName === 'text' ? style.fill : style.color)), light(behind(e))];
    least = Math.min(least, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
  }
  return least;
";

fn looks_right(screen: Screen, dark: bool, name: &str) {
    let folder = tempfile::tempdir().unwrap();
    let page = report(folder.path());
    let Some(browser) = Browser::start(screen, dark) else { return };
    browser.requests();
    browser.open_file(&page);
    keep(&browser, name);

    let asked: Vec<String> = browser.requests().into_iter().filter(|u| !u.starts_with("data:")).collect();
    assert_eq!(asked.len(), 1, "the page asks for more than itself: {asked:?}");
    assert!(browser.property("h1", "textContent").as_str().unwrap().contains("Results of"));

    let plots = browser.run("return document.querySelectorAll('figure.plot').length").as_u64().unwrap();
    assert!(plots >= 6, "{plots} plots");
    assert_eq!(browser.run(EMPTY_PLOTS), Value::Array(vec![]), "plots without content");
    let curves = browser.run("return document.querySelectorAll('path.curve').length").as_u64().unwrap();
    assert!(curves >= 7, "{curves} curves");

    let too_wide = browser.run("return document.documentElement.scrollWidth - innerWidth").as_f64().unwrap();
    assert!(too_wide <= 0.0, "the page is {too_wide} pixels wider than the screen");
    let smallest = "return Math.min(...[...document.querySelectorAll('svg text, td, p, li')].map(e => \
        e.tagName === 'text' ? e.getBoundingClientRect().height : parseFloat(getComputedStyle(e).fontSize)))";
    let smallest = browser.run(smallest).as_f64().unwrap();
    assert!(smallest >= 10.0, "the smallest text is {smallest} pixels high");
    let contrast = browser.run(LEAST_CONTRAST).as_f64().unwrap();
    assert!(contrast >= 4.5, "the least contrast is {contrast}");
    let background = "const c = getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number); \
        return c[0] + c[1] + c[2]";
    let bright = browser.run(background).as_f64().unwrap() > 3.0 * 128.0;
    assert_eq!(bright, !dark, "the page does not follow the reader's colour scheme");
}

#[test]
fn the_report_is_whole_on_a_desk() {
    looks_right(Screen::Desktop, false, "report-desktop.png");
}

#[test]
fn the_report_is_whole_in_the_dark() {
    looks_right(Screen::Desktop, true, "report-dark.png");
}

#[test]
fn the_report_is_readable_on_a_phone() {
    looks_right(Screen::Phone, false, "report-phone.png");
}
