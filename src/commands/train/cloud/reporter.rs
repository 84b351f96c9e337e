//! Tells AWS how a run goes on, without making it wait: everything is handed to a thread of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use layoutlm_aws::AwsError;
use layoutlm_aws::record::{JobRecorder, NewJob, trainer_name};
use layoutlm_aws::s3::RunSync;
use layoutlm_aws::sagemaker::metric_line;
use layoutlm_trainer::run::checkpoints;
use layoutlm_trainer::train::{CheckpointSaved, EpochReport, Observer, Outcome, Started, TrainError};
use serde_json::{Map, Value};

use super::spot::SpotWatch;
use super::worker::{Ending, Event, Worker};
use crate::cloud::{Cloud, sort};
use crate::commands::train::args::Args;
use crate::commands::train::sources::source;
use crate::interrupt::Signals;

/// Checkpoints that may wait to be sent.
const MOST_WAITING: usize = 4;
/// Between two looks at how many wait.
const PAUSE: Duration = Duration::from_millis(20);

/// Hands a run's events to the worker.
pub struct Reporter {
    events: Option<Sender<Event>>,
    worker: Option<JoinHandle<()>>,
    steps: Arc<AtomicU64>,
    signals: Signals,
    spot: SpotWatch,
    run_dir: PathBuf,
    uploads: bool,
    failing: Arc<AtomicBool>,
}

/// Whoever keeps the table and the bucket informed of a run; nobody unless one was named. Claims the job, so that a second
/// trainer of it stops here.
pub fn reporter(args: &Args, signals: Signals, spot: SpotWatch) -> anyhow::Result<Option<Reporter>> {
    let place = super::place(args)?;
    let from_table =
        source(&args.data, &args.effective)? == "--dynamo-table" && !args.data.cloud.no_job_records;
    let table = args.data.dynamo_table.as_deref().filter(|_| from_table);
    if place.is_none() && table.is_none() {
        return Ok(None);
    }
    let cloud = Cloud::connect(Some(&args.data.region))?;
    let run_dir = args.output.output_dir.join(&args.job_name);
    let recorder = match table {
        None => None,
        Some(table) => {
            let new = NewJob {
                name: args.job_name.clone(),
                trainer: trainer_name(&machine()),
                place: place.clone(),
                instance_id: Some(machine()),
                resuming: !checkpoints(&run_dir).is_empty(),
            };
            Some(cloud.wait(JobRecorder::claim(cloud.aws.table(table), &run_dir, new))?)
        }
    };
    if let Some(recorder) = &recorder {
        eprintln!("job {}", recorder.job_id());
    }
    let sync = place.map(|place| RunSync::new(&cloud.aws, place, &run_dir)).transpose().map_err(sort)?;
    let (uploads, steps) = (sync.is_some(), Arc::new(AtomicU64::new(0)));
    let worker =
        Worker::new(cloud, run_dir.clone(), recorder, sync, Arc::clone(&signals.stop), Arc::clone(&steps));
    let (events, received) = channel();
    let failing = worker.failing();
    let worker = std::thread::spawn(move || worker.run(&received));
    Ok(Some(Reporter {
        events: Some(events),
        worker: Some(worker),
        steps,
        signals,
        spot,
        run_dir,
        uploads,
        failing,
    }))
}

/// This machine, as records name it.
fn machine() -> String {
    let name = std::env::var("SM_CURRENT_HOST").or_else(|_| std::env::var("HOSTNAME"));
    let kernel = || std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.unwrap_or_else(|_| kernel().trim().to_string());
    if name.is_empty() { "unknown".into() } else { name }
}

impl Reporter {
    fn send(&self, event: Event) {
        // A worker that has ended has said why.
        if let Some(events) = &self.events {
            let _ = events.send(event);
        }
    }

    /// Makes room for a checkpoint and sets it aside. A bucket slower than the training is waited for; where it can't be
    /// reached the newest ones are kept, beside those that the run's folder keeps anyway.
    fn set_aside(&self, saved: &CheckpointSaved<'_>) -> Result<(), AwsError> {
        while RunSync::waiting(saved.run_dir)? >= MOST_WAITING {
            let gone = self.worker.as_ref().is_none_or(JoinHandle::is_finished);
            if gone || self.failing.load(Ordering::SeqCst) {
                RunSync::give_up_oldest(saved.run_dir)?;
            } else {
                std::thread::sleep(PAUSE);
            }
        }
        RunSync::set_aside(saved.run_dir, saved.folder)
    }

    /// Waits until everything is told.
    fn end(&mut self, ending: Ending) {
        self.send(Event::Ended(ending));
        self.events = None;
        if let Some(worker) = self.worker.take()
            && worker.join().is_err()
        {
            eprintln!("warning: reporting to AWS broke off; `layoutlm-cli runs push` sends what is left");
        }
    }
}

impl Observer for Reporter {
    fn started(&mut self, run: &Started<'_>) {
        self.steps.store(run.first_step, Ordering::Relaxed);
        self.send(Event::Started { total_steps: run.total_steps });
    }

    fn step(&mut self, step: &layoutlm_trainer::train::StepReport) {
        self.steps.store(step.global_step, Ordering::Relaxed);
    }

    fn epoch(&mut self, report: &EpochReport<'_>) {
        let confusion = &report.evaluation.confusion;
        let matrix = serde_json::json!({"labels": confusion.labels, "matrix": confusion.counts});
        let confusion: Option<Map<String, Value>> = matrix.as_object().cloned();
        let epoch = serde_json::to_value(report.metrics).unwrap_or_default();
        self.send(Event::Epoch { epoch, confusion });
    }

    fn checkpoint_saved(&mut self, saved: &CheckpointSaved<'_>) {
        if self.uploads
            && let Err(error) = self.set_aside(saved)
        {
            eprintln!("warning: {} is not sent: {error}", saved.folder.display());
        }
        let name = saved.folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let (step, epoch, folder) = (saved.step, saved.epoch as u64, saved.folder.to_path_buf());
        self.send(Event::Checkpoint { name, folder, step, epoch });
    }

    fn finished(&mut self, _outcome: &Outcome) {
        self.end(Ending::Succeeded { best: self.run_dir.join("best") });
    }

    fn interrupted(&mut self, _outcome: &Outcome) {
        let ending = match self.spot.notice() {
            Some(notice) => Ending::Interrupted { reason: format!("spot reclaim: {notice}") },
            None if self.signals.by_hand() => Ending::Cancelled,
            None => Ending::Interrupted { reason: "stopped by a signal".into() },
        };
        self.end(ending);
    }

    fn failed(&mut self, _run_dir: &Path, error: &TrainError) {
        self.end(Ending::Failed { reason: error.to_string() });
    }
}

impl Drop for Reporter {
    /// A run that never came to its first step has failed all the same.
    fn drop(&mut self) {
        if self.worker.is_some() {
            self.end(Ending::Failed { reason: "the run ended before its first step".into() });
        }
    }
}

/// One line per evaluation on stdout, which SageMaker's metric definitions look for.
#[derive(Debug)]
pub struct MetricLines;

impl Observer for MetricLines {
    #[allow(clippy::print_stdout)] // Stdout is what SageMaker scrapes.
    fn epoch(&mut self, report: &EpochReport<'_>) {
        println!("{}", metric_line(&serde_json::to_value(report.metrics).unwrap_or_default()));
    }
}
