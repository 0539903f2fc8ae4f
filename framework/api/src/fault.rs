//! Named fault points inside connectors: where a test over real processes makes one fail, stop or die.
//!
//! The environment arms them: `TIDEGATE_SINK_FAULTS=<point>=<action>[@<n>][*<times>]`, separated by commas. Actions:
//! `error` (transient), `pause` (SIGSTOP: somebody else has to send SIGCONT), `kill` (SIGKILL). `@3` passes two hits
//! first; `*10` acts on ten hits instead of one. With nothing armed a point costs one relaxed load.

use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};

/// Faults for a whole process.
pub const FAULTS_ENV: &str = "TIDEGATE_SINK_FAULTS";

const UNKNOWN: u8 = 0;
const UNARMED: u8 = 1;
const ARMED: u8 = 2;

static STATE: AtomicU8 = AtomicU8::new(UNKNOWN);
static RULES: Mutex<Vec<Rule>> = Mutex::new(Vec::new());

/// The connector is at `point`, for example `kafka.commit`.
///
/// # Errors
/// `Transient` if an error is due here; `Config` if the environment says something that is no fault.
pub fn hit(point: &str) -> Result<()> {
    if STATE.load(Ordering::Relaxed) == UNARMED { Ok(()) } else { hit_armed(point) }
}

#[cold]
fn hit_armed(point: &str) -> Result<()> {
    let action = {
        let mut rules = rules();
        if STATE.load(Ordering::Relaxed) == UNKNOWN {
            let text = std::env::var(FAULTS_ENV).unwrap_or_default();
            *rules = parse(&text).map_err(|e| e.within(FAULTS_ENV))?;
            STATE.store(if rules.is_empty() { UNARMED } else { ARMED }, Ordering::Relaxed);
        }
        due(&mut rules, point)
    };
    match action {
        None => Ok(()),
        Some(Action::Error) => Err(Error::transient(format!("fault at {point}"))),
        Some(Action::Pause) => {
            signal("-STOP");
            Ok(())
        }
        Some(Action::Kill) => {
            signal("-KILL");
            std::process::abort()
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Error,
    Pause,
    Kill,
}

#[derive(Debug, PartialEq, Eq)]
struct Rule {
    point: String,
    action: Action,
    /// Hits that still pass.
    skip: u32,
    /// Hits that still act.
    times: u32,
}

fn rules() -> MutexGuard<'static, Vec<Rule>> {
    RULES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn due(rules: &mut [Rule], point: &str) -> Option<Action> {
    let mut action = None;
    for rule in rules.iter_mut().filter(|it| it.point == point && it.times > 0) {
        if rule.skip > 0 {
            rule.skip -= 1;
        } else if action.is_none() {
            rule.times -= 1;
            action = Some(rule.action);
        }
    }
    action
}

/// To this process, by the command of that name: there is no way without unsafe code.
fn signal(name: &str) {
    let _ = Command::new("kill").args([name, &std::process::id().to_string()]).status();
}

fn parse(text: &str) -> Result<Vec<Rule>> {
    text.split(',').map(str::trim).filter(|it| !it.is_empty()).map(parse_rule).collect()
}

fn parse_rule(text: &str) -> Result<Rule> {
    let wrong = || Error::config(format!("fault '{text}': expected <point>=error|pause|kill[@<n>][*<times>]"));
    let (point, rest) = text.split_once('=').ok_or_else(wrong)?;
    let (rest, times) = match rest.split_once('*') {
        Some((rest, times)) => (rest, times.parse().map_err(|_| wrong())?),
        None => (rest, 1),
    };
    let (action, nth) = match rest.split_once('@') {
        Some((action, nth)) => (action, nth.parse::<u32>().map_err(|_| wrong())?),
        None => (rest, 1),
    };
    let action = match action {
        "error" => Action::Error,
        "pause" => Action::Pause,
        "kill" => Action::Kill,
        _ => return Err(wrong()),
    };
    Ok(Rule { point: point.to_owned(), action, skip: nth.saturating_sub(1), times })
}

#[cfg(test)]
mod tests;
