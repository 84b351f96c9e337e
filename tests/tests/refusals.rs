//! Refusals that come before a body was read: the client gets to see them, and its connection stays in use where it can.
// Helpers of tests may fail the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use layoutlm_tests::bundle::TestBundle;
use layoutlm_tests::server::TestServer;

static BUNDLE: LazyLock<TestBundle> = LazyLock::new(TestBundle::small);

fn connect(server: &TestServer) -> TcpStream {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

/// Head of a call that announces `length` bytes of body, of a media type that is refused unread.
fn refused_head(length: usize, more: &str) -> String {
    format!(
        "POST /v1/classify HTTP/1.1\r\nhost: x\r\ncontent-type: text/csv\r\ncontent-length: {length}\r\n{more}\r\n"
    )
}

/// Reads one answer and leaves the connection open: its head in lower case, its body.
fn one_answer(stream: &mut TcpStream) -> (String, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}

#[test]
fn a_refusal_leaves_the_connection_in_use_once_the_body_is_there() {
    let server = TestServer::start(&BUNDLE.path(), |_| {});
    let (mut stream, half) = (connect(&server), [b' '; 150_000]);
    for _ in 0..2 {
        stream.write_all(refused_head(300_000, "").as_bytes()).unwrap();
        stream.write_all(&half).unwrap();
        // Long enough for a server that does not wait to have answered and closed.
        std::thread::sleep(Duration::from_millis(200));
        stream.write_all(&half).unwrap();
        let (head, body) = one_answer(&mut stream);
        assert!(head.starts_with("http/1.1 415") && body.contains("unsupported_media_type"), "{head}{body}");
        assert!(!head.contains("connection: close"), "{head}");
    }
    stream.write_all(b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert!(one_answer(&mut stream).0.starts_with("http/1.1 200"));
}

#[test]
fn a_body_too_large_is_not_waited_for_and_its_refusal_reaches_who_is_still_sending() {
    let server = TestServer::start(&BUNDLE.path(), |c| c.max_body_bytes = 1000);
    let (mut stream, megabyte) = (connect(&server), vec![b' '; 1 << 20]);
    let head =
        format!("POST /v1/classify HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", 4 * megabyte.len());
    stream.write_all(head.as_bytes()).unwrap();
    for _ in 0..4 {
        stream.write_all(&megabyte).unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    let (head, body) = one_answer(&mut stream);
    assert!(head.starts_with("http/1.1 413") && body.contains("body_too_large"), "{head}{body}");
    assert!(head.contains("connection: close"), "{head}");
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "the connection is still open");
}

#[test]
fn a_body_that_waits_to_be_asked_for_is_not_asked_for() {
    let server = TestServer::start(&BUNDLE.path(), |_| {});
    let mut stream = connect(&server);
    stream.write_all(refused_head(300_000, "expect: 100-continue\r\n").as_bytes()).unwrap();
    let (head, _) = one_answer(&mut stream);
    assert!(head.starts_with("http/1.1 415") && head.contains("connection: close"), "{head}");
}

#[test]
fn a_body_that_stalls_holds_up_its_refusal_only_for_a_moment() {
    let server = TestServer::start(&BUNDLE.path(), |_| {});
    let (mut stream, begun) = (connect(&server), Instant::now());
    stream.write_all(refused_head(300_000, "").as_bytes()).unwrap();
    stream.write_all(&[b' '; 1000]).unwrap();
    let (head, _) = one_answer(&mut stream);
    assert!(head.starts_with("http/1.1 415") && head.contains("connection: close"), "{head}");
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

/// Head of a call in chunks, of a media type that is read.
const CHUNKED: &str = "POST /v1/classify HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n";

#[test]
fn a_body_in_chunks_that_was_read_to_its_end_leaves_the_connection_in_use() {
    let server = TestServer::start(&BUNDLE.path(), |_| {});
    let mut stream = connect(&server);
    for _ in 0..2 {
        stream.write_all(format!("{CHUNKED}expect: 100-continue\r\n\r\n").as_bytes()).unwrap();
        stream.write_all(b"2\r\n{}\r\n0\r\n\r\n").unwrap();
        let mut go_on = [0; 25];
        stream.read_exact(&mut go_on).unwrap();
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        let (head, body) = one_answer(&mut stream);
        assert!(head.starts_with("http/1.1 4") && !head.contains("connection: close"), "{head}{body}");
    }
}

#[test]
fn a_body_that_is_broken_off_by_its_own_form_closes_the_connection_and_says_so() {
    let server = TestServer::start(&BUNDLE.path(), |_| {});
    let mut stream = connect(&server);
    stream.write_all(format!("{CHUNKED}\r\nno length\r\n").as_bytes()).unwrap();
    let (head, body) = one_answer(&mut stream);
    assert!(head.starts_with("http/1.1 400") && head.contains("connection: close"), "{head}{body}");
}
