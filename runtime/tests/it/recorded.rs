//! What Spark answered to random queries (`tests/recorded/record.py`), replayed.

use std::collections::BTreeMap;
use std::fmt;

use tidegate::config::Node;
use tidegate::scenario::{self, Scenario};

const ANSWERS: &str = "../tests/recorded/answers.jsonl";
/// In each cell at least, with rows in an epoch after all that was open had closed.
const CASES: usize = 20;

/// What the cases of an operator in an output mode came to.
#[derive(Default)]
struct Cell {
    cases: usize,
    /// With rows far behind others.
    late: usize,
    restarts: usize,
    /// With rows in an epoch after all that was open had closed.
    after_eviction: usize,
    wrong: usize,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cases, late, restarts, after_eviction, wrong } = self;
        write!(f, "{cases:>5} {late:>5} {restarts:>8} {after_eviction:>14} {wrong:>5}")
    }
}

/// Steps that expect rows, as lists.
fn expected(steps: &[Node]) -> Vec<&Node> {
    steps.iter().filter_map(|it| it.get("expect").or_else(|| it.get("expect_last_epoch"))).collect()
}

fn has_rows(node: &Node) -> bool {
    matches!(node, Node::List(rows) if !rows.is_empty())
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_answers_are_spark_s() {
    replay(None).await;
}

/// With no memory for state: all that was sealed is read from disk.
#[tokio::test(flavor = "multi_thread")]
async fn recorded_answers_are_spark_s_with_state_on_disk() {
    replay(Some("1")).await;
}

#[expect(clippy::print_stdout, reason = "the table of cells is what one wants to see")]
async fn replay(state_memory: Option<&str>) {
    let registry = tidegate::built_in();
    let (mut cells, mut failures) = (BTreeMap::<String, Cell>::new(), Vec::new());
    for line in std::fs::read_to_string(ANSWERS).unwrap().lines() {
        let case = Node::parse(line, "json").unwrap();
        let scenario = case.get("scenario").unwrap();
        let Some(Node::List(steps)) = scenario.get("steps") else { panic!("no steps: {line}") };
        let cell = cells.entry(case.get("cell").and_then(Node::scalar).unwrap()).or_default();
        cell.cases += 1;
        cell.late += usize::from(case.get("late").and_then(Node::scalar).as_deref() == Some("true"));
        cell.restarts += usize::from(steps.iter().any(|it| it.get("restart").is_some()));
        cell.after_eviction += usize::from(expected(steps).iter().rev().take(2).any(|it| has_rows(it)));
        let mut scenario = Scenario::of(scenario, "").unwrap();
        state_memory.iter().for_each(|it| scenario.settings.push("state.memory", *it));
        if let Err(failure) = scenario::run(&scenario, &registry).await {
            cell.wrong += 1;
            failures.push(format!("{}: {failure}", scenario.name));
        }
    }
    println!("{:40} cases  late restarts after eviction wrong", "");
    cells.iter().for_each(|(name, cell)| println!("{name:40} {cell}"));
    assert!(failures.is_empty(), "{} wrong:\n{}", failures.len(), failures.join("\n\n"));
    let short = |it: &Cell| it.after_eviction < CASES;
    assert!(!cells.is_empty() && !cells.values().any(short), "each cell has at least {CASES} cases that go on");
    let all = |of: fn(&Cell) -> usize| cells.values().map(of).sum::<usize>();
    let share = |of: fn(&Cell) -> usize| 10 * all(of) >= 3 * all(|it| it.cases);
    assert!(share(|it| it.late) && share(|it| it.restarts), "three in ten have late rows, three in ten a restart");
}
