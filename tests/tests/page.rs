//! The page in a real browser: with pointer and keys, on a desktop and a phone, by day and by night.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // A test fails by panicking.

use std::path::PathBuf;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use layoutlm_tests::browser::{Browser, Screen};
use layoutlm_tests::bundle::TestBundle;
use layoutlm_tests::page_hand::Dropped;
use layoutlm_tests::server::TestServer;
use layoutlm_tests::shared;
use serde_json::{Value, json};

static BUNDLE: LazyLock<TestBundle> = LazyLock::new(TestBundle::small);

/// The small model, or the bundle that `LAYOUTLM_PAGE_BUNDLE` names, for pictures of a trained one.
fn server() -> TestServer {
    let named = std::env::var_os("LAYOUTLM_PAGE_BUNDLE").map(PathBuf::from);
    TestServer::start(&named.unwrap_or_else(|| BUNDLE.path()), |_| {})
}

/// One browser at a time is enough for a small machine.
fn alone() -> MutexGuard<'static, ()> {
    static BROWSER: Mutex<()> = Mutex::new(());
    BROWSER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The page, ready to be asked.
fn open(screen: Screen, dark: bool, server: &TestServer) -> Option<Browser> {
    let browser = Browser::start(screen, dark)?;
    browser.open(&format!("http://{}/", server.address()));
    browser.wait_for("a model", "return state.labels.length > 0");
    Some(browser)
}

/// Kept as an artefact of the run.
fn picture(browser: &Browser, name: &str) {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/screenshots"));
    std::fs::create_dir_all(&folder).unwrap();
    browser.screenshot(&folder.join(name));
}

/// A receipt with gold labels as it is in a data set.
fn receipt() -> Value {
    let word = |id: usize, text: &str, x: usize, y: usize, label: &str| json!({"line_id": y, "word_id": id, "text": text, "box": [x, y, x + 80, y + 16], "label": label});
    json!({"image_id": "r", "width": 400, "height": 200, "words": [
        word(0, "Market", 20, 10, "MERCHANT_NAME"), word(1, "2024-03-14", 20, 40, "DATE"),
        word(2, "Total", 20, 80, "O"), word(3, "12.50", 300, 80, "GRAND_TOTAL"), word(4, "\u{200b}", 20, 120, "O")
    ]})
}

/// A PNG of one white pixel.
const PIXEL: &[u8] = &[
    137, 80, 78, 71, 13, 10, 26, 10, 0, 0, 0, 13, 73, 72, 68, 82, 0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0, 58,
    126, 155, 85, 0, 0, 0, 10, 73, 68, 65, 84, 120, 156, 99, 248, 15, 0, 1, 1, 1, 0, 177, 56, 246, 20, 0, 0,
    0, 0, 73, 69, 78, 68, 174, 66, 96, 130,
];

fn drop_receipt(browser: &Browser, receipt: &Value, image: Option<(&str, &[u8])>) {
    let text = receipt.to_string();
    let mut files = vec![Dropped { name: "r.json", kind: "application/json", bytes: text.as_bytes() }];
    files.extend(image.map(|(kind, bytes)| Dropped { name: "photo", kind, bytes }));
    browser.drop_files(&files);
    let words = receipt["words"].as_array().unwrap().len();
    browser.wait_for("the words", &format!("return groups.length === {words}"));
}

#[test]
fn a_dropped_receipt_is_drawn_word_by_word_over_its_image_and_hovering_shows_probabilities() {
    let (_alone, server) = (alone(), server());
    let Some(browser) = open(Screen::Desktop, false, &server) else { return };
    drop_receipt(&browser, &receipt(), Some(("image/png", PIXEL)));
    assert_eq!(browser.run("return document.querySelectorAll('.word rect').length"), 5);
    let image = browser.run("return document.querySelector('svg image').getAttribute('href')");
    assert!(image.as_str().unwrap().starts_with("blob:"), "{image}");
    assert_eq!(browser.property("#tip", "hidden"), true);
    browser.hover(".word");
    browser.wait_for("the tip", "return !at('tip').hidden");
    let tip = browser.property("#tip", "innerText").as_str().unwrap().to_string();
    assert!(tip.starts_with("Market") && tip.contains('%'), "{tip}");
    assert!(tip.contains("gold: MERCHANT_NAME"), "{tip}");
    let shown = browser.run("return document.querySelectorAll('#tip div').length");
    assert_eq!(shown, 5, "four probabilities and the gold label");
    let best = browser.run("return [...document.querySelectorAll('#tip div span:last-child')].map((s) => parseFloat(s.textContent))");
    let best: Vec<f64> = best.as_array().unwrap().iter().take(4).map(|p| p.as_f64().unwrap()).collect();
    assert!(best.is_sorted_by(|a, b| a >= b), "{best:?}");
    picture(&browser, "page-hover.png");
    browser.click("#show-image");
    browser.wait_for("no image", "return !document.querySelector('svg image')");
}

#[test]
fn every_sample_is_labelled_with_items_sum_and_gold_and_nothing_is_asked_of_anybody_else() {
    let (_alone, server) = (alone(), server());
    let Some(browser) = open(Screen::Desktop, false, &server) else { return };
    let samples = browser.run("return SAMPLES.length").as_u64().unwrap();
    assert!(samples >= 3);
    for sample in 0..samples {
        browser.run(&format!(
            "at('sample').value = '{sample}'; at('sample').dispatchEvent(new Event('change'));"
        ));
        let drawn =
            format!("return groups.length === SAMPLES[{sample}].words.length && !at('send').disabled");
        browser.wait_for("the sample", &drawn);
        let (agreement, sum) =
            (browser.property("#agreement", "textContent"), browser.property("#sum", "textContent"));
        assert!(agreement.as_str().unwrap().contains("words have their gold label"), "{agreement}");
        assert!(!sum.as_str().unwrap().is_empty());
        // Whatever unit and origin the boxes came in, the words stand on the page from top to bottom.
        let tops = browser.run("return groups.map((g) => Number(g.querySelector('rect').getAttribute('y')))");
        let tops: Vec<f64> = tops.as_array().unwrap().iter().map(|y| y.as_f64().unwrap()).collect();
        assert!(tops[0] < 100.0 && tops.is_sorted(), "{tops:?}");
    }
    let origin = format!("http://{}/", server.address());
    let asked = browser.requests();
    assert!(asked.len() > 2, "{asked:?}");
    for url in asked {
        assert!([&origin, "data:", "blob:"].iter().any(|own| url.starts_with(*own)), "{url}");
    }
}

#[test]
fn it_works_by_keyboard_and_marks_low_confidence() {
    let (_alone, server) = (alone(), server());
    let Some(browser) = open(Screen::Desktop, true, &server) else { return };
    let text = json!(receipt().to_string());
    browser.run(&format!("at('json').focus(); document.execCommand('insertText', false, {text});"));
    let control_enter = json!([
        {"type": "keyDown", "value": "\u{e009}"}, {"type": "keyDown", "value": "\u{e007}"},
        {"type": "keyUp", "value": "\u{e007}"}, {"type": "keyUp", "value": "\u{e009}"}
    ]);
    browser.post("/actions", &json!({"actions": [{"type": "key", "id": "keys", "actions": control_enter}]}));
    browser.wait_for("the words", "return groups.length === 5");
    browser.run("groups[0].focus()");
    browser.press('\u{e014}'); // Right
    let focused = browser.run("return document.activeElement.getAttribute('aria-label')");
    assert!(focused.as_str().unwrap().starts_with("2024-03-14: "), "{focused}");
    assert_eq!(browser.property("#tip", "hidden"), false);
    browser.press('\u{e00c}'); // Escape
    assert_eq!(browser.property("#tip", "hidden"), true);

    let unsure = |percent: u32| {
        browser
            .run(&format!("at('least').value = {percent}; at('least').dispatchEvent(new Event('input'));"));
        browser.run("return document.querySelectorAll('.word.unsure').length").as_u64().unwrap()
    };
    assert_eq!((unsure(0), unsure(100)), (0, 4), "a word without tokens has no confidence to mark");
    let marked = browser.run("return document.querySelectorAll('td.low').length").as_u64().unwrap();
    let rows = browser.run("return document.querySelectorAll('#fields tbody tr').length").as_u64().unwrap();
    assert_eq!(marked, rows);
    let ground = browser.run("return getComputedStyle(document.body).backgroundColor");
    assert_eq!(ground, "rgb(21, 22, 20)", "dark mode");
    picture(&browser, "page-dark.png");
}

#[test]
fn what_it_copies_is_the_answer_a_table_and_a_command_that_works() {
    let (_alone, server) = (alone(), server());
    let Some(browser) = open(Screen::Desktop, false, &server) else { return };
    let mut receipt = receipt();
    receipt["words"][2]["text"] = json!("Joe's, \"best\"");
    drop_receipt(&browser, &receipt, None);
    let copied = |what: &str| {
        browser.run("at('copied').dataset.text = ''");
        browser.click(&format!("#copy-{what}"));
        let text = browser.wait_for("something copied", "return at('copied').dataset.text || null");
        text.as_str().unwrap().to_string()
    };
    let answer: Value = serde_json::from_str(&copied("json")).unwrap();
    assert_eq!(answer["words"].as_array().unwrap().len(), 5);
    let csv = copied("csv");
    let rows = answer["entities"].as_array().unwrap().len();
    assert_eq!(csv.lines().filter(|line| line.starts_with("entity,")).count(), rows);
    assert!(csv.starts_with("kind,type,text,value,currency,confidence\n"), "{csv}");
    let output = std::process::Command::new("sh").args(["-c", &copied("curl")]).output().unwrap();
    let again: Value = serde_json::from_slice(&output.stdout).unwrap();
    // JavaScript writes 0.0 as 0, so numbers are compared as numbers.
    for (again, word) in again["words"].as_array().unwrap().iter().zip(answer["words"].as_array().unwrap()) {
        assert_eq!((&again["text"], &again["label"]), (&word["text"], &word["label"]));
        assert_eq!(again["confidence"].as_f64(), word["confidence"].as_f64());
        assert_eq!(
            again["probabilities"].as_array().map(Vec::len),
            word["probabilities"].as_array().map(Vec::len)
        );
    }
    let offered = browser.property("#copied", "textContent");
    assert_eq!(offered, "curl command copied.");
}

#[test]
fn wrong_input_is_answered_with_a_sentence() {
    let (_alone, server) = (alone(), server());
    let Some(browser) = open(Screen::Desktop, false, &server) else { return };
    for (text, part) in
        [("{", "not JSON"), ("{\"words\": [{\"text\": 1}]}", "invalid_receipt"), ("", "Paste")]
    {
        browser.run(&format!(
            "at('json').value = {}; at('json').dispatchEvent(new Event('input'));",
            json!(text)
        ));
        browser.click("#send");
        let said = browser.wait_for(
            "an error",
            "return !at('error').hidden && !at('send').disabled && at('error').textContent",
        );
        assert!(said.as_str().unwrap().contains(part), "{text}: {said}");
    }
}

#[test]
fn a_real_receipt_with_its_image_fits_a_desktop_and_a_phone() {
    let Some(data) = shared("data/sroie/test.jsonl") else { return };
    let id = "X51005442334";
    let Some(photo) = shared(&format!("data/sroie/images/{id}.jpg")) else { return };
    let lines = std::fs::read_to_string(data).unwrap();
    let receipt = lines.lines().find(|line| line.contains(id)).unwrap();
    let receipt: Value = serde_json::from_str(receipt).unwrap();
    let photo = std::fs::read(photo).unwrap();
    let (_alone, server) = (alone(), server());
    for (screen, name, width) in
        [(Screen::Desktop, "page-desktop.png", 1280), (Screen::Phone, "page-phone.png", 390)]
    {
        let Some(browser) = open(screen, false, &server) else { return };
        drop_receipt(&browser, &receipt, Some(("image/jpeg", &photo)));
        browser.wait_for("the photo", "return document.querySelector('svg image') !== null");
        let reach = browser.run("return document.documentElement.scrollWidth").as_i64().unwrap();
        assert!(reach <= width, "{name}: the page is {reach} wide");
        let boxes = browser.run("return document.querySelectorAll('.word rect').length");
        assert_eq!(boxes, receipt["words"].as_array().unwrap().len());
        // The picture is decoded after it is put in place.
        std::thread::sleep(std::time::Duration::from_millis(500));
        picture(&browser, name);
    }
}
