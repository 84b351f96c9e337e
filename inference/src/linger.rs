//! A connection that is closed in good order.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// Silence after which the other side has nothing more to send.
const SILENCE: Duration = Duration::from_millis(300);
/// The longest that a connection lingers, however much still comes.
const LONGEST: Duration = Duration::from_secs(10);

/// A connection that, told to shut down, says so and then takes and drops what the other side still sends. Dropped with
/// bytes unread it would be reset, and a reset makes the other side's system throw away the answer it has not read yet.
#[derive(Debug)]
pub(crate) struct Lingering {
    stream: TcpStream,
    farewell: Option<Farewell>,
}

#[derive(Debug)]
struct Farewell {
    silence: Pin<Box<Sleep>>,
    latest: Instant,
}

impl Lingering {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, farewell: None }
    }
}

impl AsyncRead for Lingering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, farewell } = &mut *self;
        if farewell.is_none() {
            ready!(Pin::new(&mut *stream).poll_shutdown(context))?;
        }
        let Farewell { silence, latest } = farewell.get_or_insert_with(|| Farewell {
            silence: Box::pin(tokio::time::sleep(SILENCE)),
            latest: Instant::now() + LONGEST,
        });
        let mut dropped = [0; 16384];
        loop {
            // Looked at here, as a timer is not asked while bytes never stop coming.
            if Instant::now() >= *latest {
                return Poll::Ready(Ok(()));
            }
            let mut dropped = ReadBuf::new(&mut dropped);
            match Pin::new(&mut *stream).poll_read(context, &mut dropped) {
                Poll::Ready(Ok(())) if !dropped.filled().is_empty() => {
                    silence.as_mut().reset((Instant::now() + SILENCE).min(*latest));
                }
                // The other side closed as well, or broke off.
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => break,
            }
        }
        silence.as_mut().poll(context).map(Ok)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
