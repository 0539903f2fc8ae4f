//! User code that keeps state.

use tidegate_api::OutputMode;

use super::{Checker, Seen};
use crate::nodes::UserState;

pub(super) fn check(checker: &mut Checker, node: &UserState, below: Seen) {
    let (mode, operation) = (checker.mode, node.step.operation);
    if mode == OutputMode::Complete {
        checker
            .refuse(format!("complete mode: {operation} has no whole result that could be kept; use append or update"));
    } else if let Some(only) = node.step.mode.filter(|it| *it != mode) {
        checker.refuse(format!("{mode} mode: {operation} was declared for {only} mode, and its sink must have that"));
    }
    check_above(checker, operation, below);
    if below.aggregated && mode != OutputMode::Append {
        checker.refuse(format!(
            "{mode} mode: {operation} stands over an aggregation, which is possible in append mode only, where each group is \
             final once it is emitted"
        ));
    }
    // A key that does not fit its input has been refused before.
    let timed = node.event_time().ok().flatten();
    if node.step.event_time && timed.is_none() {
        checker.refuse(format!("{operation} with event time: its input has no watermark; declare one"));
    }
    let times = node.event_times();
    if node.step.event_time && times.len() > 1 {
        let name = |at: &usize| node.input.schema().field(*at).name().as_str();
        checker.refuse(format!(
            "{operation}: more than one event-time column in its input ({}); leave one out of the select below",
            times.iter().map(name).collect::<Vec<_>>().join(", ")
        ));
    }
}

/// A further stateful operator: the rows of user code are only final in append mode.
pub(super) fn check_above(checker: &mut Checker, what: &str, below: Seen) {
    let mode = checker.mode;
    if below.processed && mode != OutputMode::Append {
        checker.refuse(format!(
            "{mode} mode: {what} above user state is possible in append mode only, where a row is final once it is emitted"
        ));
    }
}
