//! Joins in which a stream takes part.

use arrow_schema::Schema;
use datafusion::common::{Column, JoinType};
use datafusion::logical_expr::{Join, LogicalPlan};
use tidegate_api::OutputMode;

use super::{Checker, Seen};
use crate::event_time::event_time;
use crate::stream_join::{StreamJoin, TimeBound};

pub(super) fn check(checker: &mut Checker, join: &Join, left: Seen, right: Seen) {
    match (left.streaming, right.streaming) {
        (true, true) => streams(checker, join, left.aggregated || right.aggregated),
        (true, false) => one_stream(checker, join.join_type, "left"),
        (false, true) => one_stream(checker, join.join_type.swap(), "right"),
        (false, false) => {}
    }
}

/// `join_type` as if the stream were on the left.
fn one_stream(checker: &mut Checker, join_type: JoinType, side: &str) {
    let other = if side == "left" { "right" } else { "left" };
    if matches!(join_type, JoinType::Right | JoinType::Full | JoinType::RightSemi | JoinType::RightAnti) {
        checker.refuse(format!(
            "join of a stream ({side}) and a static table ({other}): this outer, semi or anti join keeps the static \
             side, whose unmatched rows can't be known before the stream ends; let it keep the stream's side, or use \
             an inner join"
        ));
    }
}

fn streams(checker: &mut Checker, join: &Join, aggregated: bool) {
    use JoinType::{Full, Inner, Left, LeftAnti, LeftMark, LeftSemi, Right, RightAnti, RightMark, RightSemi};
    let above = if join.join_type == Inner { checker.above.clone() } else { Vec::new() };
    let condition = StreamJoin::with(join, &above);
    let (kind, mode) = (join.join_type, checker.mode);
    if condition.keys.is_empty() {
        checker.refuse("join of two streams without an equality between them: add a condition such as a.id = b.id");
    }
    if aggregated && mode != OutputMode::Append {
        checker.refuse(format!(
            "{mode} mode: a join above an aggregation is possible in append mode only, where each group is final once it \
             is emitted"
        ));
    }
    match kind {
        LeftAnti | RightAnti | LeftMark | RightMark => {
            checker.refuse(format!("{kind} join is not possible between two streams; use an outer join and IS NULL"));
        }
        Left | Right | Full | LeftSemi | RightSemi if !ends(&condition, join) => checker.refuse(format!(
            "{kind} join of two streams needs a watermark, on a time in its keys or on the nullable side with a range \
             of time, else it never knows that a row stays without a match"
        )),
        _ => {}
    }
    match kind {
        Left | Right | Full if mode == OutputMode::Update && checker.extensions.update_mode => {}
        Left | Right | Full if mode != OutputMode::Append => {
            checker.refuse(format!("outer join ({kind}) of two streams in {mode} mode: use append mode"));
        }
        Inner | LeftSemi | RightSemi if mode == OutputMode::Complete => {
            checker.refuse("join of two streams in complete mode: use append mode");
        }
        _ => {}
    }
}

/// True if a row that is kept for want of a match is given up some time.
fn ends(condition: &StreamJoin, join: &Join) -> bool {
    if condition.time_key.is_some() {
        return true;
    }
    let bounded = |bounds: &[TimeBound], other: &LogicalPlan| bounds.iter().any(|it| is_event_time(&it.other, other));
    let left = bounded(&condition.left, &join.right);
    let right = bounded(&condition.right, &join.left);
    match join.join_type {
        JoinType::Left | JoinType::LeftSemi => left,
        JoinType::Right | JoinType::RightSemi => right,
        _ => left || right,
    }
}

fn is_event_time(column: &Column, plan: &LogicalPlan) -> bool {
    let schema: &Schema = plan.schema().as_arrow();
    plan.schema().maybe_index_of_column(column).is_some_and(|at| event_time(schema.field(at)).is_some())
}
