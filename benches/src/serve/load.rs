//! Load: clients that wait for their answer before they ask again, or requests that come whether or not the last ones
//! were answered.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ureq::Agent;

use super::summary::{Answer, Summary};

/// Which server, and what it is asked.
#[derive(Debug, Clone, Copy)]
pub struct Target<'t> {
    /// Its address.
    pub address: SocketAddr,
    /// Bodies, asked in turns.
    pub bodies: &'t [String],
}

/// `clients` that each ask as soon as they were answered, for `seconds`.
pub fn closed(target: Target<'_>, clients: usize, seconds: f64) -> Summary {
    let begun = Instant::now();
    let until = begun + Duration::from_secs_f64(seconds);
    let next = AtomicUsize::new(0);
    let answers = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let agent = agent();
                let mut own = Vec::new();
                while Instant::now() < until {
                    own.push(ask(&agent, target, next.fetch_add(1, Ordering::Relaxed), begun));
                }
                answers.lock().unwrap_or_else(PoisonError::into_inner).extend(own);
            });
        }
    });
    let answers = answers.into_inner().unwrap_or_else(PoisonError::into_inner);
    // Requests begun in time are counted to their end, so that slow servers are not flattered.
    Summary::of(&answers, begun.elapsed().as_secs_f64())
}

/// `per_second` requests on a fixed timetable for `seconds`, over at most `connections` at a time.
pub fn open(target: Target<'_>, per_second: f64, connections: usize, seconds: f64) -> Vec<Answer> {
    let begun = Instant::now();
    let total = (per_second * seconds) as usize;
    let next = AtomicUsize::new(0);
    let answers = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| {
                let agent = agent();
                let mut own = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= total {
                        break;
                    }
                    let due = begun + Duration::from_secs_f64(number as f64 / per_second);
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    own.push(ask(&agent, target, number, begun));
                }
                answers.lock().unwrap_or_else(PoisonError::into_inner).extend(own);
            });
        }
    });
    answers.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn agent() -> Agent {
    let config =
        Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(120)));
    config.build().into()
}

fn ask(agent: &Agent, target: Target<'_>, number: usize, begun: Instant) -> Answer {
    let body = target.bodies.get(number % target.bodies.len().max(1)).map_or("", String::as_str);
    let url = format!("http://{}/v1/classify", target.address);
    let asked = Instant::now();
    let answer = agent.post(url).header("content-type", "application/json").send(body);
    let status = answer.and_then(|mut answer| {
        answer.body_mut().read_to_vec()?;
        Ok(answer.status().as_u16())
    });
    Answer { status: status.map_err(|e| e.to_string()), took: asked.elapsed(), at: begun.elapsed() }
}
