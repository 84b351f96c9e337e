//! The GPU instance's user data under the shells and package clients of both Linux families. Commands that would reach
//! the network or the machine itself are stand-ins: nothing but a few core utilities is on its PATH.
// Helpers of tests may fail the test.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docker/gpu/user-data.sh");
const TOOLS: [&str; 12] =
    ["mkdir", "mv", "cp", "chmod", "sha256sum", "tar", "gzip", "uname", "rm", "cat", "touch", "env"];
/// Takes the object's file from `$FAKE_S3`, as `aws s3 cp --only-show-errors s3://… target` would.
const AWS: &str = "#!/bin/sh\ncp \"$FAKE_S3/${4##*/}\" \"$5\"\n";
const TRAINER: &str = "#!/bin/sh
[ \"$1\" = --version ] && { echo 'layoutlm-cli 0'; exit 0; }
echo \"$@\" >\"$SEEN/arguments\"
echo \"$LD_LIBRARY_PATH\" >\"$SEEN/libraries\"
echo epoch 1
[ -z \"$WAITS\" ] || { trap 'echo told >\"$SEEN/signal\"; exit 130' TERM; touch \"$SEEN/waiting\"; while :; do sleep 0.1; done; }
exit \"${TRAINER_EXIT:-0}\"
";

/// A machine of its own: a PATH, an S3, a place to write.
struct Machine {
    folder: TempDir,
    shell: &'static [&'static str],
}

impl Machine {
    /// A machine whose `sh` is `shell` and whose package client, if any, is `client`.
    fn new(shell: &'static [&'static str], client: Option<&str>) -> Self {
        let machine = Self { folder: tempfile::tempdir().unwrap(), shell };
        for name in ["bin", "s3", "seen"] {
            std::fs::create_dir(machine.path(name)).unwrap();
        }
        for tool in TOOLS {
            symlink(which(tool), machine.path("bin").join(tool)).unwrap();
        }
        machine.program("sleep", &format!("#!/bin/sh\nexec {} 0.02\n", which("sleep").display()));
        machine.program("shutdown", "#!/bin/sh\necho \"$@\" >\"$SEEN/shutdown\"\n");
        machine.program("nvidia-smi", "#!/bin/sh\necho 'GPU 0: stand-in'\n");
        machine.executable(&machine.path("s3").join("layoutlm-cli"), TRAINER);
        match client {
            None => machine.program("aws", AWS),
            Some(client) => {
                machine.executable(&machine.path("s3").join("aws"), AWS);
                let install =
                    "#!/bin/sh\ncase \"$*\" in *install*) cp \"$FAKE_S3/aws\" \"$BIN/aws\" ;; esac\n";
                machine.program(client, install);
            }
        }
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn executable(&self, file: &Path, text: &str) {
        std::fs::write(file, text).unwrap();
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn program(&self, name: &str, text: &str) {
        self.executable(&self.path("bin").join(name), text);
    }

    fn command(&self, settings: &[(&str, &str)]) -> Command {
        let mut command = Command::new(which(self.shell[0]));
        command.args(&self.shell[1..]).arg(SCRIPT).env_clear();
        command.env("PATH", self.path("bin")).env("BIN", self.path("bin"));
        command.env("FAKE_S3", self.path("s3")).env("SEEN", self.path("seen"));
        command.env("LAYOUTLM_HOME", self.path("home")).env("LAYOUTLM_LOG", self.path("log"));
        command.env("LAYOUTLM_ENV_FILE", self.path("settings"));
        command
            .env("PROGRAM_S3", "s3://bucket/layoutlm-cli")
            .env("TRAIN_ARGUMENTS", "--job-name a --epochs 3");
        command.envs(settings.iter().copied()).stdin(Stdio::null());
        command
    }

    fn run(&self, settings: &[(&str, &str)]) -> Output {
        self.command(settings).output().unwrap()
    }

    /// What was noted under a name, if anything.
    fn seen(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.path("seen").join(name)).ok().map(|t| t.trim().to_string())
    }
}

fn which(tool: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    let found = std::env::split_paths(&path).map(|folder| folder.join(tool)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("no {tool} on this machine"))
}

/// Ubuntu's `sh` is dash; Amazon Linux's is bash in its POSIX mode.
const UBUNTU: &[&str] = &["dash"];
const AMAZON: &[&str] = &["bash", "--posix"];

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[test]
fn both_families_fetch_the_program_and_train() {
    for (shell, client) in [
        (UBUNTU, Some("apt-get")),
        (AMAZON, Some("dnf")),
        (AMAZON, Some("yum")),
        (UBUNTU, None),
        (AMAZON, None),
    ] {
        let machine = Machine::new(shell, client);
        let output = machine.run(&[]);
        let said = text(&output);
        assert_eq!(output.status.code(), Some(0), "{shell:?} {client:?}: {said}");
        assert_eq!(machine.seen("arguments").as_deref(), Some("train --job-name a --epochs 3"), "{said}");
        assert!(machine.seen("libraries").unwrap().starts_with(&*machine.path("home/lib").to_string_lossy()));
        assert_eq!(std::fs::read_to_string(machine.path("log")).unwrap(), "epoch 1\n");
        assert_eq!(machine.seen("shutdown").as_deref(), Some("-h +1"));
    }
}

#[test]
fn a_machine_without_any_package_client_says_so_and_is_powered_off() {
    let machine = Machine::new(UBUNTU, None);
    std::fs::remove_file(machine.path("bin/aws")).unwrap();
    let output = machine.run(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("neither aws nor a package client"), "{}", text(&output));
    assert!(machine.seen("shutdown").is_some());
}

#[test]
fn a_program_with_another_hash_is_not_started() {
    for shell in [UBUNTU, AMAZON] {
        let machine = Machine::new(shell, None);
        let output = machine.run(&[("PROGRAM_SHA256", &"0".repeat(64))]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output).contains("is not the file with SHA-256"), "{}", text(&output));
        assert_eq!(machine.seen("arguments"), None);
    }
}

#[test]
fn the_trainers_exit_code_is_the_scripts_and_the_machine_still_stops() {
    for shell in [UBUNTU, AMAZON] {
        let machine = Machine::new(shell, None);
        let output = machine.run(&[("TRAINER_EXIT", "3")]);
        assert_eq!(output.status.code(), Some(3), "{}", text(&output));
        assert!(text(&output).contains("exit code 3"), "{}", text(&output));
        assert!(machine.seen("shutdown").is_some());
    }
}

#[test]
fn stay_leaves_the_machine_running() {
    let machine = Machine::new(UBUNTU, None);
    assert!(machine.run(&[("WHEN_DONE", "stay")]).status.success());
    assert_eq!(machine.seen("shutdown"), None);
}

#[test]
fn a_signal_reaches_the_trainer_which_ends_in_its_own_way() {
    for shell in [UBUNTU, AMAZON] {
        let machine = Machine::new(shell, None);
        let mut child =
            machine.command(&[("WAITS", "1")]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        while machine.seen("waiting").is_none() {
            assert!(
                Instant::now() < until && child.try_wait().unwrap().is_none(),
                "the trainer did not start"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(130), "{shell:?}");
        assert_eq!(machine.seen("signal").as_deref(), Some("told"));
    }
}

#[test]
fn what_is_not_filled_in_is_named() {
    for name in ["PROGRAM_S3", "TRAIN_ARGUMENTS"] {
        let machine = Machine::new(UBUNTU, None);
        let output = machine.run(&[(name, "")]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output).contains(&format!("{name} is not set")), "{}", text(&output));
    }
}

#[test]
fn settings_can_come_from_a_file() {
    let machine = Machine::new(AMAZON, None);
    std::fs::write(machine.path("settings"), "TRAIN_ARGUMENTS='--job-name file'\nWHEN_DONE=stay\n").unwrap();
    assert!(machine.run(&[]).status.success());
    assert_eq!(machine.seen("arguments").as_deref(), Some("train --job-name file"));
}
