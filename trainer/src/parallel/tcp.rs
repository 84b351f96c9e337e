//! Processes connected by TCP: every rank has a connection to rank 0, which adds up in the order of ranks.
//!
//! A thread sends a beat on every connection now and then, so that a long evaluation is not taken for a death: what counts
//! is silence, not slowness. Nothing is encrypted; the network between training machines has to be one's own, as for other
//! frameworks.

use std::io;
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use bytemuck::{Pod, cast_slice, cast_slice_mut};

use super::frame::{self, Kind};
use super::{Communicator, Launch, ParallelError};

/// First bytes of a greeting: program and version of what is said.
const GREETING: &[u8] = b"layoutlm-parallel 1";
/// Longest greeting and longest reason.
const SHORT: u64 = 4096;
/// Between two tries to connect, or looks whether someone did.
const PAUSE: Duration = Duration::from_millis(50);
/// Beats within the time that counts as silence.
const BEATS: u32 = 6;

/// How long processes wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For all processes to come.
    pub start: Duration,
    /// Without a sign of life of a connected one.
    pub silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { start: Duration::from_secs(600), silence: Duration::from_secs(60) }
    }
}

/// A connection to another rank.
#[derive(Debug)]
struct Link {
    rank: usize,
    from: TcpStream,
    to: Arc<Mutex<TcpStream>>,
}

/// Processes connected by TCP.
#[derive(Debug)]
pub struct Tcp {
    rank: usize,
    world_size: usize,
    patience: Patience,
    /// Of rank 0 to all others in order; of the others to rank 0.
    links: Mutex<Vec<Link>>,
    beats: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Tcp {
    /// Meets the other processes.
    ///
    /// # Errors
    /// [`ParallelError::Unreachable`], [`ParallelError::Missing`], or [`ParallelError::GaveUp`] where rank 0 expects others.
    pub fn connect(launch: &Launch, patience: Patience) -> Result<Self, ParallelError> {
        let links = if launch.rank == 0 { gather(launch, patience)? } else { vec![reach(launch, patience)?] };
        let (stop, stopped) = channel();
        let to: Vec<_> = links.iter().map(|link| Arc::clone(&link.to)).collect();
        let every = patience.silence / BEATS;
        let thread = std::thread::spawn(move || {
            while matches!(stopped.recv_timeout(every), Err(RecvTimeoutError::Timeout)) {
                for stream in &to {
                    // A broken connection is noticed by whoever reads from it.
                    let _ = frame::write(&mut *lock(stream), Kind::Beat, &[]);
                }
            }
        });
        let (rank, world_size) = (launch.rank, launch.world_size);
        Ok(Self { rank, world_size, patience, links: Mutex::new(links), beats: Some((stop, thread)) })
    }

    /// The next message's content from a connection.
    fn receive(&self, link: &mut Link, most: u64) -> Result<Vec<u8>, ParallelError> {
        match frame::read(&mut link.from, most.max(SHORT)) {
            Ok((Kind::GivenUp, why)) => {
                Err(ParallelError::GaveUp(String::from_utf8_lossy(&why).into_owned()))
            }
            Ok((Kind::Data, content)) => Ok(content),
            Ok((kind, _)) => {
                Err(ParallelError::Differs { rank: link.rank, what: format!("sent {kind:?} for data") })
            }
            Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                Err(ParallelError::Differs { rank: link.rank, what: format!("sent {e}") })
            }
            Err(e) => Err(lost(link.rank, &e, self.patience)),
        }
    }

    fn send(&self, link: &Link, content: &[u8]) -> Result<(), ParallelError> {
        frame::write(&mut *lock(&link.to), Kind::Data, content)
            .map_err(|e| lost(link.rank, &e, self.patience))
    }

    /// Runs an exchange; when it fails in rank 0, which alone knows all others, they are told why.
    fn exchange<T>(
        &self,
        work: impl FnOnce(&mut [Link]) -> Result<T, ParallelError>,
    ) -> Result<T, ParallelError> {
        let mut links = lock(&self.links);
        let result = work(&mut links);
        if let Err(error) = &result
            && self.rank == 0
        {
            tell(&links, &error.to_string());
        }
        result
    }

    fn sum<T: Pod + std::ops::AddAssign>(&self, values: &mut [T]) -> Result<(), ParallelError> {
        let length = size_of_val(values);
        let expect = |rank: usize, found: Vec<u8>| match found.len() == length {
            true => Ok(found),
            false => {
                let what = format!("sent {} bytes where {length} were due", found.len());
                Err(ParallelError::Differs { rank, what })
            }
        };
        let mut other = vec![T::zeroed(); if self.rank == 0 { values.len() } else { 0 }];
        self.exchange(|links| {
            if self.rank != 0 {
                let Some(link) = links.first_mut() else { return Ok(()) };
                self.send(link, cast_slice(values))?;
                let total = expect(0, self.receive(link, length as u64)?)?;
                cast_slice_mut(values).copy_from_slice(&total);
                return Ok(());
            }
            for link in &mut *links {
                let part = expect(link.rank, self.receive(link, length as u64)?)?;
                cast_slice_mut(&mut other).copy_from_slice(&part);
                for (value, other) in values.iter_mut().zip(&other) {
                    *value += *other;
                }
            }
            links.iter().try_for_each(|link| self.send(link, cast_slice(values)))
        })
    }
}

impl Communicator for Tcp {
    fn rank(&self) -> usize {
        self.rank
    }

    fn world_size(&self) -> usize {
        self.world_size
    }

    fn sum_f32(&self, values: &mut [f32]) -> Result<(), ParallelError> {
        self.sum(values)
    }

    fn sum_f64(&self, values: &mut [f64]) -> Result<(), ParallelError> {
        self.sum(values)
    }

    fn broadcast(&self, bytes: Vec<u8>) -> Result<Vec<u8>, ParallelError> {
        self.exchange(|links| {
            if self.rank != 0 {
                let Some(link) = links.first_mut() else { return Ok(bytes) };
                // Rank 0 waits for this before it sends: a full buffer is then never the sign of a slow reader.
                self.send(link, &[])?;
                return self.receive(link, u64::MAX);
            }
            for link in &mut *links {
                self.receive(link, 0)?;
            }
            links.iter().try_for_each(|link| self.send(link, &bytes))?;
            Ok(bytes)
        })
    }

    fn give_up(&self, reason: &str) {
        tell(&lock(&self.links), &format!("rank {} gave up: {reason}", self.rank));
    }
}

impl Drop for Tcp {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.beats.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

fn tell(links: &[Link], reason: &str) {
    let short: String = reason.chars().take(SHORT as usize / 4).collect();
    for link in links {
        // Who is gone already needs no reason.
        let _ = frame::write(&mut *lock(&link.to), Kind::GivenUp, short.as_bytes());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lost(rank: usize, error: &io::Error, patience: Patience) -> ParallelError {
    let reason = match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            format!("no sign of life for {} s", patience.silence.as_secs_f64())
        }
        io::ErrorKind::UnexpectedEof => "it closed the connection".into(),
        _ => error.to_string(),
    };
    ParallelError::Lost { rank, reason }
}

fn unreachable(launch: &Launch, source: io::Error) -> ParallelError {
    let address = format!("{}:{}", launch.host, launch.port);
    ParallelError::Unreachable { rank: launch.rank, address, source }
}

fn link(rank: usize, stream: TcpStream, patience: Patience) -> io::Result<Link> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(patience.silence))?;
    stream.set_write_timeout(Some(patience.silence))?;
    let to = Arc::new(Mutex::new(stream.try_clone()?));
    Ok(Link { rank, from: stream, to })
}

/// Rank 0: waits for all others.
fn gather(launch: &Launch, patience: Patience) -> Result<Vec<Link>, ParallelError> {
    let failed = |e| unreachable(launch, e);
    let listener = match TcpListener::bind((launch.host.as_str(), launch.port)) {
        // The name of a service in front of this machine: listen on all of its own addresses.
        Err(e) if e.kind() == io::ErrorKind::AddrNotAvailable => TcpListener::bind(("::", launch.port)),
        result => result,
    }
    .map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let mut links: Vec<Link> = Vec::new();
    let deadline = Instant::now() + patience.start;
    while links.len() + 1 < launch.world_size {
        match listener.accept() {
            Ok((stream, _)) => links.extend(greet(launch, stream, &links, patience)?),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                if Instant::now() > deadline {
                    let came = |rank: &usize| links.iter().any(|link| link.rank == *rank);
                    let missing: Vec<String> =
                        (1..launch.world_size).filter(|r| !came(r)).map(|r| r.to_string()).collect();
                    let missing = missing.join(", ");
                    return Err(ParallelError::Missing { missing, seconds: patience.start.as_secs() });
                }
                sleep(PAUSE);
            }
            Err(e) => return Err(failed(e)),
        }
    }
    links.sort_by_key(|link| link.rank);
    Ok(links)
}

/// Hears who connected; strangers are sent away without a word, processes of another run with one.
fn greet(
    launch: &Launch,
    stream: TcpStream,
    links: &[Link],
    patience: Patience,
) -> Result<Option<Link>, ParallelError> {
    let Ok(mut link) = link(0, stream, patience) else { return Ok(None) };
    let Ok((Kind::Hello, content)) = frame::read(&mut link.from, SHORT) else { return Ok(None) };
    let numbers = content.strip_prefix(GREETING).map(|rest| rest.as_chunks::<8>().0);
    let Some([rank, world]) = numbers else { return Ok(None) };
    let [rank, world] = [rank, world].map(|bytes| u64::from_le_bytes(*bytes) as usize);
    let wrong = if world != launch.world_size {
        Some(format!("rank {rank} was told of {world} processes, rank 0 of {}", launch.world_size))
    } else if rank == 0 || rank >= world || links.iter().any(|link| link.rank == rank) {
        Some(format!("rank {rank} came twice, or is none of {world}"))
    } else {
        None
    };
    match wrong {
        Some(reason) => {
            tell(&[link], &reason);
            Err(ParallelError::Launch(reason))
        }
        None => {
            link.rank = rank;
            Ok(Some(link))
        }
    }
}

/// Any other rank: reaches rank 0, which may not have started yet.
fn reach(launch: &Launch, patience: Patience) -> Result<Link, ParallelError> {
    let deadline = Instant::now() + patience.start;
    loop {
        match try_reach(launch, patience) {
            Ok(link) => return Ok(link),
            Err(e) if Instant::now() > deadline => return Err(unreachable(launch, e)),
            Err(_) => sleep(PAUSE),
        }
    }
}

fn try_reach(launch: &Launch, patience: Patience) -> io::Result<Link> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (launch.host.as_str(), launch.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, patience.silence) {
            Ok(stream) => {
                let link = link(0, stream, patience)?;
                let mut hello = GREETING.to_vec();
                for number in [launch.rank, launch.world_size] {
                    hello.extend((number as u64).to_le_bytes());
                }
                frame::write(&mut *lock(&link.to), Kind::Hello, &hello)?;
                return Ok(link);
            }
            Err(e) => last = e,
        }
    }
    Err(last)
}
