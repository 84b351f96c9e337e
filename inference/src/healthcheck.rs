//! Asks a running server whether it is ready, for containers without curl.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Why a server does not count as ready.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HealthError {
    /// Nobody answers.
    #[error("no answer from {address}: {source}")]
    Unreachable {
        /// Where we asked.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// It answers, and is not ready.
    #[error("{address} is not ready: {status}")]
    NotReady {
        /// Where we asked.
        address: SocketAddr,
        /// Its status line.
        status: String,
    },
}

/// One `GET /health/ready`.
///
/// # Errors
/// [`HealthError`] unless the answer is 200 within `timeout` per step.
pub fn ask(address: SocketAddr, timeout: Duration) -> Result<(), HealthError> {
    let status =
        status_line(address, timeout).map_err(|source| HealthError::Unreachable { address, source })?;
    if status.split(' ').nth(1) == Some("200") {
        Ok(())
    } else {
        Err(HealthError::NotReady { address, status })
    }
}

fn status_line(address: SocketAddr, timeout: Duration) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    let request = format!("GET /health/ready HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(4096).read_to_end(&mut answer)?;
    let text = String::from_utf8_lossy(&answer);
    Ok(text.lines().next().unwrap_or("an empty answer").to_string())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn answering(text: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // Closing before all is read would reset the connection.
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                asked.extend(byte);
            }
            stream.write_all(text.as_bytes()).unwrap();
        });
        address
    }

    #[test]
    fn only_200_is_ready() {
        let second = Duration::from_secs(5);
        ask(answering("HTTP/1.1 200 OK\r\n\r\n"), second).unwrap();
        let text =
            ask(answering("HTTP/1.1 503 Service Unavailable\r\n\r\n"), second).unwrap_err().to_string();
        assert!(text.contains("not ready: HTTP/1.1 503"), "{text}");
    }

    #[test]
    fn nobody_there_is_said() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let text = ask(address, Duration::from_secs(5)).unwrap_err().to_string();
        assert!(text.starts_with("no answer from 127.0.0.1"), "{text}");
    }
}
