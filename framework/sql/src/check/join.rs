//! Joins in which a stream takes part.

use datafusion::common::JoinType;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Join, Operator};
use tidegate_api::OutputMode;

use super::Checker;
use crate::event_time::event_time_columns;

pub(super) fn check(checker: &mut Checker, join: &Join, left: bool, right: bool) {
    match (left, right) {
        (true, true) => streams(checker, join),
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

fn streams(checker: &mut Checker, join: &Join) {
    use JoinType::{Full, Inner, Left, LeftAnti, LeftMark, LeftSemi, Right, RightAnti, RightMark, RightSemi};
    let timed = [&join.left, &join.right].into_iter().any(|it| !event_time_columns(it.schema().as_arrow()).is_empty());
    let kind = join.join_type;
    if !has_equality(join) {
        checker.refuse("join of two streams without an equality between them: add a condition such as a.id = b.id");
    }
    match kind {
        LeftAnti | RightAnti | LeftMark | RightMark => {
            checker.refuse(format!("{kind} join is not possible between two streams; use an outer join and IS NULL"));
        }
        Left | Right | Full | LeftSemi | RightSemi if !timed => checker.refuse(format!(
            "{kind} join of two streams needs a watermark, on a time in its keys or on the nullable side with a range \
             of time, else it never knows that a row stays without a match"
        )),
        Left | Right | Full if checker.mode != OutputMode::Append => {
            checker.refuse(format!("outer join ({kind}) of two streams in {} mode: use append mode", checker.mode));
        }
        Inner | LeftSemi | RightSemi if checker.mode == OutputMode::Complete => {
            checker.refuse("join of two streams in complete mode: use append mode");
        }
        _ => checker.refuse("join of two streams is not supported yet"),
    }
}

fn has_equality(join: &Join) -> bool {
    let equality =
        |it: &&Expr| matches!(it, Expr::BinaryExpr(BinaryExpr { op: Operator::Eq | Operator::IsNotDistinctFrom, .. }));
    !join.on.is_empty() || join.filter.as_ref().is_some_and(|it| split_conjunction(it).iter().any(equality))
}
