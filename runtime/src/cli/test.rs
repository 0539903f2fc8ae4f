//! `tidegate test`: runs scenario files.

use std::path::{Path, PathBuf};

use tidegate_api::Registry;

use super::{DONE, FAILED, WRONG};
use crate::scenario::{self, Scenario};
use crate::screen::Screen;
use crate::supervisor::Threads;

pub(super) fn test(files: &[PathBuf], registry: &Registry, screen: &Screen) -> u8 {
    let threads = match Threads::start() {
        Ok(threads) => threads,
        Err(e) => {
            screen.note(&format!("error: {e}"));
            return FAILED;
        }
    };
    let (mut passed, mut failed, mut code) = (0_usize, 0_usize, DONE);
    for path in files {
        let outcome = match Scenario::read(path) {
            Ok(scenario) => run_one(scenario, registry.clone(), &threads).map_err(|report| (FAILED, report)),
            Err(message) => Err((WRONG, message)),
        };
        match outcome {
            Ok(()) => {
                passed += 1;
                screen.result(&format!("ok      {}", shown(path)));
            }
            Err((this, report)) => {
                failed += 1;
                code = code.max(this);
                screen.result(&format!("FAILED  {}", shown(path)));
                screen.result(&format!("  {}", report.trim_end().replace('\n', "\n  ")));
            }
        }
    }
    screen.result(&format!("{passed} passed, {failed} failed"));
    threads.end();
    code
}

fn run_one(scenario: Scenario, registry: Registry, threads: &Threads) -> Result<(), String> {
    let outcome = threads.compute(async move { scenario::run(&scenario, &registry).await });
    outcome.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
