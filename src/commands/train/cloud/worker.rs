//! The thread that talks to the table and the bucket while the run goes on.
//!
//! What can't be sent waits in the run's folder and is tried again with the next event; at the end the person is told
//! what is left and how to send it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use layoutlm_aws::jobs::{JobCheckpoint, JobState, LogLevel};
use layoutlm_aws::record::{
    JobRecorder, epoch_figures, heldout_figures, job_config, job_results, run_figures, run_summary,
};
use layoutlm_aws::s3::RunSync;
use layoutlm_aws::{AwsError, next_time};
use serde_json::{Map, Value, json};

use crate::cloud::Cloud;

/// Longest silence of a running job; a third of what makes others think that its trainer is gone.
const HEARTBEAT: Duration = Duration::from_secs(180);

/// What happened to the run.
pub enum Event {
    /// Its first step is next; `run.json` is there.
    Started { total_steps: u64 },
    /// An evaluation, and its confusion matrix.
    Epoch { epoch: Value, confusion: Option<Map<String, Value>> },
    /// A checkpoint is complete, and set aside for sending.
    Checkpoint { name: String, folder: PathBuf, step: u64, epoch: u64 },
    /// It is over.
    Ended(Ending),
}

/// How it ended.
pub enum Ending {
    /// Well.
    Succeeded { best: PathBuf },
    /// Stopped by the machine: SIGTERM, or a spot instance taken back.
    Interrupted { reason: String },
    /// Stopped by somebody at the keyboard.
    Cancelled,
    /// With an error.
    Failed { reason: String },
}

/// Sends what happens.
pub struct Worker {
    cloud: Cloud,
    run_dir: PathBuf,
    recorder: Option<JobRecorder>,
    sync: Option<RunSync>,
    stop: Arc<AtomicBool>,
    steps: Arc<AtomicU64>,
    failing: Arc<AtomicBool>,
    total_steps: u64,
    not_sent: Option<AwsError>,
}

impl Worker {
    pub fn new(
        cloud: Cloud,
        run_dir: PathBuf,
        recorder: Option<JobRecorder>,
        sync: Option<RunSync>,
        stop: Arc<AtomicBool>,
        steps: Arc<AtomicU64>,
    ) -> Self {
        let failing = Arc::default();
        Self { cloud, run_dir, recorder, sync, stop, steps, failing, total_steps: 0, not_sent: None }
    }

    /// True while S3 can't be reached.
    pub fn failing(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.failing)
    }

    /// Works until the run has ended.
    pub fn run(mut self, events: &Receiver<Event>) {
        loop {
            match events.recv_timeout(HEARTBEAT) {
                Ok(Event::Ended(ending)) => return self.end(ending),
                Ok(event) => self.handle(event),
                Err(RecvTimeoutError::Timeout) => self.sign_of_life(None),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Started { total_steps } => {
                self.total_steps = total_steps;
                self.started();
            }
            Event::Epoch { epoch, confusion } => self.epoch(&epoch, confusion.as_ref()),
            Event::Checkpoint { name, folder, step, epoch } => self.checkpoint(&name, &folder, step, epoch),
            Event::Ended(_) => {}
        }
    }

    fn started(&mut self) {
        let run = self.json("run.json");
        self.record(async |recorder| {
            recorder.running(job_config(&run)).await?;
            let job_id = recorder.job_id().to_string();
            recorder.metrics(&run_figures(&run, &job_id, &next_time())).await?;
            let message = json!({"type": "run_config", "data": run}).to_string();
            recorder.log(LogLevel::Info, message, None).await
        });
        self.send(async |sync| sync.records().await.map(|_| ()));
    }

    fn epoch(&mut self, epoch: &Value, confusion: Option<&Map<String, Value>>) {
        let run = self.json("run.json");
        let held_out = self.json("epochs.json");
        let step = epoch["global_step"].as_u64();
        let entry = held_out
            .get("epochs")
            .and_then(Value::as_array)
            .and_then(|e| e.iter().rfind(|e| e["step"].as_u64() == step));
        let labels: Vec<String> =
            run.get("label_list").and_then(|l| serde_json::from_value(l.clone()).ok()).unwrap_or_default();
        self.record(async |recorder| {
            let job_id = recorder.job_id().to_string();
            let mut metrics = epoch_figures(epoch, confusion, &job_id, &next_time());
            if let Some(entry) = entry {
                metrics.extend(heldout_figures(entry, &labels, &job_id, &next_time()));
            }
            recorder.metrics(&metrics).await
        });
        let planned = run.pointer("/training_config/epochs").and_then(Value::as_f64).unwrap_or(0.0);
        let done = epoch["epoch"].as_f64().unwrap_or(0.0);
        self.sign_of_life(Some(format!("epoch {done:.0}/{planned:.0}")));
    }

    fn checkpoint(&mut self, name: &str, folder: &Path, step: u64, epoch: u64) {
        let Some(place) = self.sync.as_ref().map(|sync| sync.place().clone()) else { return };
        let size_bytes = size_of(folder);
        let sent = self.send(async |sync| {
            sync.checkpoints().await?;
            sync.records().await.map(|_| ())
        });
        self.failing.store(!sent, Ordering::SeqCst);
        if !sent {
            return;
        }
        let run = self.json("run.json");
        let metrics = run.get("epoch_metrics").and_then(Value::as_array).and_then(|all| {
            let this = all.iter().rfind(|e| e["global_step"].as_u64() == Some(step))?.as_object()?;
            let plain =
                |name: &&str| Some((name.trim_start_matches("eval_").to_string(), this.get(*name)?.clone()));
            Some(["eval_f1", "eval_precision", "eval_recall", "eval_loss"].iter().filter_map(plain).collect())
        });
        let uri = place.checkpoint(name);
        let checkpoint = JobCheckpoint {
            job_id: String::new(),
            timestamp: next_time(),
            s3_bucket: uri.bucket,
            s3_key: uri.key,
            size_bytes,
            step,
            epoch,
            model_state: true,
            optimizer_state: folder.join("trainer_state.safetensors").is_file(),
            metrics: metrics.unwrap_or_default(),
            is_best: run.pointer("/best/step").and_then(Value::as_u64) == Some(step),
        };
        self.record(async move |recorder| recorder.checkpoint(checkpoint).await);
    }

    fn sign_of_life(&mut self, message: Option<String>) {
        let done = self.steps.load(Ordering::Relaxed) as f64 / self.total_steps.max(1) as f64;
        self.record(async move |recorder| {
            recorder.status(JobState::Running, Some(done * 100.0), message).await
        });
    }

    fn end(mut self, ending: Ending) {
        let run = self.json("run.json");
        let (state, message, best) = match ending {
            Ending::Succeeded { best } => (JobState::Succeeded, None, Some(best)),
            Ending::Interrupted { reason } => (JobState::Interrupted, Some(reason), None),
            Ending::Cancelled => (JobState::Cancelled, Some("stopped with Ctrl-C".into()), None),
            Ending::Failed { reason } => (JobState::Failed, Some(reason), None),
        };
        self.send(async |sync| match state {
            JobState::Succeeded => sync.finish().await.map(|_| ()),
            _ => {
                sync.checkpoints().await?;
                sync.records().await.map(|_| ())
            }
        });
        let best = best.map(|folder| match &self.sync {
            Some(sync) => sync.place().best().to_string(),
            None => folder.display().to_string(),
        });
        self.record(async |recorder| {
            let results = match &best {
                Some(best) => {
                    let summary = run_summary(&run, best).to_string();
                    recorder.log(LogLevel::Info, summary, None).await?;
                    job_results(&run, recorder.job_id(), best)
                }
                None => Map::new(),
            };
            if state == JobState::Failed {
                let text = message.clone().unwrap_or_else(|| "failed".into());
                recorder.log(LogLevel::Error, text.clone(), Some(text)).await?;
            }
            recorder.finish(state, message, results).await
        });
        self.tell_what_is_left();
    }

    fn tell_what_is_left(&mut self) {
        let mut left = Vec::new();
        if let Some(recorder) = &mut self.recorder
            && recorder.pending() > 0
            && let Err(error) = self.cloud.try_wait(recorder.flush())
        {
            left.push(format!("{} records for the table ({error})", recorder.pending()));
        }
        if let Some(error) = &self.not_sent {
            left.push(format!("files for S3 ({error})"));
        }
        if !left.is_empty() {
            eprintln!(
                "warning: not sent: {}; they are kept, `layoutlm-cli runs push {}` sends them",
                left.join("; "),
                self.run_dir.display()
            );
        }
    }

    /// Lets the recorder do something, if there is one; ends the run when the job is another trainer's now.
    fn record(&mut self, work: impl AsyncFnOnce(&mut JobRecorder) -> Result<(), AwsError>) {
        let Some(recorder) = &mut self.recorder else { return };
        match self.cloud.try_wait(work(recorder)) {
            Ok(()) => {}
            Err(error @ AwsError::OtherOwner { .. }) => {
                eprintln!("error: {error}; this run stops");
                self.recorder = None;
                self.stop.store(true, Ordering::SeqCst);
            }
            Err(error) => eprintln!("warning: records of this run could not be kept: {error}"),
        }
    }

    /// Lets the sync do something, if there is one; true when it was done.
    fn send(&mut self, work: impl AsyncFnOnce(&mut RunSync) -> Result<(), AwsError>) -> bool {
        let Some(sync) = &mut self.sync else { return false };
        match self.cloud.try_wait(work(sync)) {
            Ok(()) => {
                self.not_sent = None;
                true
            }
            Err(error) => {
                eprintln!("warning: {error}; the run goes on and sends it later");
                self.not_sent = Some(error);
                false
            }
        }
    }

    /// A record of the run; `null` while it is not there.
    fn json(&self, name: &str) -> Value {
        let text = std::fs::read_to_string(self.run_dir.join(name)).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }
}

fn size_of(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|entry| entry.metadata().ok()).filter(std::fs::Metadata::is_file).map(|m| m.len()).sum()
}
