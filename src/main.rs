//! The command line that puts the rooms together.
fn main() {}
