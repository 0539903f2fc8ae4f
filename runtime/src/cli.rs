//! The command line: what can be said, and which code comes back (0 done, 1 a query failed, 2 the command line or a
//! file is wrong).

mod checkpoint;
mod explain;
mod plugins;
mod run;
mod test;
mod validate;

use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tidegate_api::{Registry, Settings};
use tidegate_epoch::SinkMode;
use tracing_subscriber::EnvFilter;

use crate::config::{self, Defaults, Loaded, Problem, References};
use crate::screen::Screen;
use crate::spark::Pending;

const DONE: u8 = 0;
const FAILED: u8 = 1;
const WRONG: u8 = 2;

/// Streaming SQL, exactly once, in one binary.
#[derive(Parser)]
#[command(name = "tidegate", version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// What to log to stderr: error, warn, info, debug, or filters such as tidegate_epoch=debug
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Run queries until all end, one fails, or a signal comes
    Run(RunArgs),
    /// Say all that is wrong with files, without touching any outside system
    Validate(FileArgs),
    /// Show the plan of a query: sources, operators, state, watermarks, guarantees
    Explain(FileArgs),
    /// Run scenario files and say how many passed
    Test {
        /// Scenario files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Look at a checkpoint, go back in it, or begin one where another program stopped
    #[command(subcommand)]
    Checkpoint(CheckpointCommand),
    /// List what can be named in connector.class, with all keys
    Plugins {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
struct FileArgs {
    /// Pipeline files: .yaml, .json or .toml
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Set a key of every file
    #[arg(long, value_name = "KEY=VALUE", value_parser = config::parse_assignment)]
    set: Vec<(String, String)>,
    /// Where checkpoints lie when a file names none (default: data)
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

#[derive(Args)]
struct RunArgs {
    #[command(flatten)]
    files: FileArgs,
    /// Instead of the trigger of the files: "10 seconds", once, available-now, "continuous 1 second"
    #[arg(long)]
    trigger: Option<String>,
    /// Progress on stderr: a live line on a terminal (auto), an object a line (json), or nothing (none)
    #[arg(long, value_enum, default_value_t = ProgressKind::Auto)]
    progress: ProgressKind,
    /// Take checkpoints from their owners, which are dead or will never be heard of again
    #[arg(long)]
    take_over: bool,
    /// Make checkpoints that are copies new queries: their sinks see a new writer
    #[arg(long)]
    adopt: bool,
}

#[derive(Subcommand)]
enum CheckpointCommand {
    /// Say what it holds: the epochs that can be gone back to, where its sources stand, who owns it
    Show(ShowArgs),
    /// Say what is wrong with it: missing, damaged and foreign files; code 1 if there is any
    Verify(LookArgs),
    /// Go back to an earlier epoch: the next run goes on from there. The query must not run
    Rewind(RewindArgs),
    /// Begin where a query of Spark Structured Streaming stopped: takes over positions and watermark
    Import(ImportArgs),
}

/// One pipeline file, whose checkpoint is changed.
#[derive(Args)]
struct OneFileArgs {
    /// A pipeline file: .yaml, .json or .toml
    file: PathBuf,
    /// Set a key of the file
    #[arg(long, value_name = "KEY=VALUE", value_parser = config::parse_assignment)]
    set: Vec<(String, String)>,
    /// Where checkpoints lie when a file names none (default: data)
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Say what was done as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct RewindArgs {
    #[command(flatten)]
    file: OneFileArgs,
    /// The epoch to go back to; 'checkpoint show' lists those that can be
    #[arg(long, value_name = "EPOCH")]
    to: u64,
    /// What becomes of rows that sinks got since: keep (they stay, and do not come again), or replay (they are taken back
    /// where a sink can, and come again)
    #[arg(long, value_name = "keep|replay")]
    sinks: SinkMode,
    /// Take the checkpoint from its owner, which is dead or will never be heard of again
    #[arg(long)]
    take_over: bool,
    /// If the checkpoint is a copy, make it a new query: its sinks see a new writer
    #[arg(long)]
    adopt: bool,
}

#[derive(Args)]
struct ImportArgs {
    #[command(flatten)]
    file: OneFileArgs,
    /// The checkpointLocation of a query of Spark, which must not run any more
    #[arg(long, value_name = "FOLDER")]
    from: PathBuf,
    /// What to do with an epoch that Spark began and did not commit
    #[arg(long)]
    pending: Option<Pending>,
    /// Which source of the file goes on from which of Spark's: its number in Spark's query, or its name there; 'new' for
    /// a source that Spark did not have. Needless with one source on each side
    #[arg(long = "source", value_name = "NAME=NUMBER", value_parser = config::parse_assignment)]
    sources: Vec<(String, String)>,
    /// Begin with empty state: what Spark's operators, or this query's, would have kept of rows read so far is lost
    #[arg(long)]
    without_state: bool,
}

#[derive(Args)]
struct ShowArgs {
    #[command(flatten)]
    look: LookArgs,
    /// Instead of all that: the rows that this operator remembers, a JSON object a line
    #[arg(long, value_name = "OPERATOR", group = "rows")]
    state: Option<String>,
    /// Instead of all that: the operators that remember something, a JSON object a line
    #[arg(long, group = "rows")]
    operators: bool,
    /// The state, or the operators, after this epoch (default: the newest whose outcome is known)
    #[arg(long, value_name = "EPOCH", requires = "rows")]
    epoch: Option<u64>,
}

/// A checkpoint to be looked at; it may be in use.
#[derive(Args)]
struct LookArgs {
    /// A pipeline file, or a checkpoint's folder or URL
    #[arg(value_name = "FILE|LOCATION")]
    what: String,
    /// Set a key of the file; with a location: storage.<key>
    #[arg(long, value_name = "KEY=VALUE", value_parser = config::parse_assignment)]
    set: Vec<(String, String)>,
    /// Where checkpoints lie when a file names none (default: data)
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ProgressKind {
    Auto,
    Json,
    None,
}

/// Runs the command line of this process with the connectors of `registry`: all that a `main` of one's own needs.
pub fn run(registry: Registry) -> ExitCode {
    tidegate_kafka_ffi::limit_arenas();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let code = if e.use_stderr() { WRONG } else { DONE };
            // Nobody is left to tell if the terminal is gone.
            _ = e.print();
            return code.into();
        }
    };
    let live = matches!(&cli.command, Command::Run(it) if it.progress == ProgressKind::Auto);
    let screen = Screen::new(live);
    install_panic_hook(screen.clone());
    if let Err(message) = start_logs(cli.log.as_deref(), &screen) {
        screen.note(&format!("error: {message}"));
        return WRONG.into();
    }
    // The hook has said what happened; what is left is the code.
    panic::catch_unwind(AssertUnwindSafe(|| dispatch(cli.command, registry, &screen))).unwrap_or(FAILED).into()
}

fn dispatch(command: Command, registry: Registry, screen: &Screen) -> u8 {
    match command {
        Command::Run(args) => run::run(args, registry, screen),
        Command::Validate(args) => validate::validate(args, registry, screen),
        Command::Explain(args) => explain::explain(args, registry, screen),
        Command::Test { files } => test::test(&files, &registry, screen),
        Command::Checkpoint(command) => checkpoint::checkpoint(command, &registry, screen),
        Command::Plugins { json } => plugins::plugins(&registry, json, screen),
    }
}

/// One line, no backtrace: a panic is ours to repair, not the user's to read.
fn install_panic_hook(screen: Screen) {
    panic::set_hook(Box::new(move |info| {
        let payload = info.payload();
        let text = payload.downcast_ref::<&str>().map(|it| (*it).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        screen.note(&format!("internal error: {} ({place})", text.replace('\n', " ")));
    }));
}

fn start_logs(asked: Option<&str>, screen: &Screen) -> Result<(), String> {
    let from_env = std::env::var("RUST_LOG").ok().filter(|it| !it.is_empty());
    let filter = asked.or(from_env.as_deref()).unwrap_or("warn");
    let filter = EnvFilter::try_new(filter).map_err(|e| format!("log filter '{filter}': {e}"))?;
    let logs =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(screen.clone()).with_ansi(screen.is_live());
    logs.try_init().map_err(|e| format!("logs can't be written: {e}"))
}

impl OneFileArgs {
    fn files(&self) -> FileArgs {
        FileArgs { files: vec![self.file.clone()], set: self.set.clone(), data_dir: self.data_dir.clone() }
    }
}

impl LookArgs {
    fn files(&self) -> FileArgs {
        FileArgs { files: vec![self.what.clone().into()], set: self.set.clone(), data_dir: self.data_dir.clone() }
    }
}

impl FileArgs {
    /// What is in the one file, its references resolved.
    fn load_one(&self, registry: &Registry, screen: &Screen) -> Loaded {
        let (read, problems) = self.read(&[]);
        let Some((file, settings)) = read.into_iter().next() else { return Loaded { pipeline: None, problems } };
        let references = References::Resolve(screen.secrets().clone());
        config::load(&file, &settings, &self.defaults(&file), registry, &references)
    }

    /// The settings of each file, with `--set` and what the caller adds; problems of files that can't be read.
    fn read(&self, over: &[(&str, &str)]) -> (Vec<(String, Settings)>, Vec<Problem>) {
        let set = self.set.iter().map(|(key, value)| (key.as_str(), value.as_str())).chain(over.iter().copied());
        let over: Settings = set.collect();
        let (mut read, mut problems) = (Vec::new(), Vec::new());
        for path in &self.files {
            match config::read_settings(path) {
                Ok(settings) => read.push((path.display().to_string(), config::overlay(&settings, &over))),
                Err(found) => problems.extend(found),
            }
        }
        (read, problems)
    }

    fn defaults(&self, file: &str) -> Defaults {
        let name = Path::new(file).file_stem().map_or_else(|| file.to_owned(), |it| it.to_string_lossy().into_owned());
        Defaults { name, data_dir: self.data_dir.clone(), sink: "console" }
    }
}

/// Writes problems to stderr, one a line.
fn report(problems: &[Problem], screen: &Screen) {
    for problem in problems {
        screen.note(&format!("error: {}", one_line(&problem.to_string())));
    }
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|it| !it.is_empty()).collect::<Vec<_>>().join(" ")
}
