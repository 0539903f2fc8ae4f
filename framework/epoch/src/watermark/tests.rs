use super::*;

fn nodes(delays: &[i64]) -> Vec<WatermarkNode> {
    delays.iter().map(|it| WatermarkNode { id: "node".into(), delay_ms: *it }).collect()
}

fn saw(max_ms: i64) -> EventTimes {
    EventTimes { count: 1, min_ms: max_ms, max_ms, sum_ms: max_ms.into() }
}

const NOTHING: EventTimes = EventTimes { count: 0, min_ms: 0, max_ms: 0, sum_ms: 0 };

#[test]
fn it_only_rises() {
    let start = Watermark::new(WatermarkPolicy::Min, nodes(&[10]), 0);
    let reached = start.after(&[saw(35)]);
    assert_eq!((start.current(), reached.current()), (Some(0), Some(25)));
    assert_eq!(reached.after(&[saw(20)]).current(), Some(25));
    assert_eq!(reached.after(&[NOTHING]).current(), Some(25));
    assert_eq!(start.after(&[saw(-100)]).current(), Some(0));
    assert_eq!(start.after(&[saw(i64::MIN)]).current(), Some(0));
}

#[test]
fn a_node_without_data_counts_as_1970() {
    let min = Watermark::new(WatermarkPolicy::Min, nodes(&[10, 5]), 0);
    let max = Watermark::new(WatermarkPolicy::Max, nodes(&[10, 5]), 0);
    assert_eq!(min.after(&[saw(100), NOTHING]).current(), Some(0));
    assert_eq!(max.after(&[saw(100), NOTHING]).current(), Some(90));
    let both = min.after(&[saw(100), NOTHING]).after(&[NOTHING, saw(50)]);
    assert_eq!(both.current(), Some(45));
    assert_eq!(both.nodes().map(|(_, value)| value).collect::<Vec<_>>(), [Some(90), Some(45)]);
}

#[test]
fn a_restart_keeps_the_querys_value_alone() {
    let restarted = Watermark::new(WatermarkPolicy::Min, nodes(&[10, 5]), 45);
    assert_eq!(restarted.current(), Some(45));
    assert_eq!(restarted.after(&[saw(200), NOTHING]).current(), Some(45));
    assert_eq!(restarted.after(&[saw(200), saw(100)]).current(), Some(95));
}

#[test]
fn without_nodes_there_is_none() {
    let none = Watermark::new(WatermarkPolicy::Min, Vec::new(), 0);
    assert_eq!(none.after(&[]).current(), None);
}

#[test]
fn policies_are_named_in_the_refusal() {
    assert_eq!("MAX".parse::<WatermarkPolicy>().unwrap(), WatermarkPolicy::Max);
    let text = "avg".parse::<WatermarkPolicy>().unwrap_err().to_string();
    assert_eq!(text, "watermark policy 'avg': expected min or max");
}
