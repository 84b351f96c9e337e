//! The interface's description is checked in, so that a change of the interface is seen in review.
#![allow(clippy::unwrap_used)]

#[test]
fn the_description_in_docs_is_that_of_the_code() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
    let found = layoutlm_inference::http::openapi().to_pretty_json().unwrap() + "\n";
    if std::env::var_os("LAYOUTLM_BLESS").is_some() {
        std::fs::write(path, &found).unwrap();
    }
    let checked_in = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        checked_in == found,
        "docs/openapi.json is out of date: run `make openapi` and look at the difference"
    );
}
