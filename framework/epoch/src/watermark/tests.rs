use std::collections::BTreeSet;

use super::*;

fn nodes(delays: &[i64]) -> Vec<WatermarkNode> {
    let node = |(at, delay_ms): (usize, &i64)| WatermarkNode {
        id: format!("n{at}").into(),
        delay_ms: *delay_ms,
        idle_ms: None,
    };
    delays.iter().enumerate().map(node).collect()
}

/// Of a query with one sink.
fn watermark(policy: WatermarkPolicy, delays: &[i64]) -> Watermark {
    Watermark::new(policy, Feeds::new(nodes(delays), &[], &["sink".into()]), 0)
}

/// Of a query whose sinks are fed by these nodes.
fn grouped(policy: WatermarkPolicy, delays: &[i64], sinks: &[(&str, &[&str])]) -> Watermark {
    let fed: Vec<BTreeSet<Arc<str>>> = sinks.iter().map(|it| it.1.iter().map(|it| (*it).into()).collect()).collect();
    let names: Vec<Arc<str>> = sinks.iter().map(|it| it.0.into()).collect();
    Watermark::new(policy, Feeds::new(nodes(delays), &fed, &names), 0)
}

fn saw(max_ms: i64) -> EventTimes {
    EventTimes { count: 1, min_ms: max_ms, max_ms, sum_ms: max_ms.into() }
}

fn query_at(query_ms: i64) -> [Levels; 1] {
    [Levels { query_ms: Some(query_ms), groups: Vec::new() }]
}

fn of_sinks(watermark: &Watermark, sinks: usize) -> Vec<Option<i64>> {
    let seen = watermark.watermarks(&watermark.levels());
    (0..sinks).map(|it| seen.of_sink(it)).collect()
}

const NOTHING: EventTimes = EventTimes { count: 0, min_ms: 0, max_ms: 0, sum_ms: 0 };
const SINKS: [(&str, &[&str]); 4] = [("a", &["n0"]), ("b", &["n1"]), ("both", &["n1", "n0"]), ("none", &[])];

#[test]
fn it_only_rises() {
    let start = watermark(WatermarkPolicy::Min, &[10]);
    let reached = start.after(&[saw(35)], 0);
    assert_eq!((start.current(), reached.current()), (Some(0), Some(25)));
    assert_eq!(reached.after(&[saw(20)], 0).current(), Some(25));
    assert_eq!(reached.after(&[NOTHING], 0).current(), Some(25));
    assert_eq!(start.after(&[saw(-100)], 0).current(), Some(0));
    assert_eq!(start.after(&[saw(i64::MIN)], 0).current(), Some(0));
}

#[test]
fn a_node_without_data_counts_as_1970() {
    let min = watermark(WatermarkPolicy::Min, &[10, 5]);
    let max = watermark(WatermarkPolicy::Max, &[10, 5]);
    assert_eq!(min.after(&[saw(100), NOTHING], 0).current(), Some(0));
    assert_eq!(max.after(&[saw(100), NOTHING], 0).current(), Some(90));
    let both = min.after(&[saw(100), NOTHING], 0).after(&[NOTHING, saw(50)], 0);
    assert_eq!(both.current(), Some(45));
    assert_eq!(both.nodes().map(|(_, value)| value).collect::<Vec<_>>(), [Some(90), Some(45)]);
}

#[test]
fn a_restart_keeps_the_querys_value_alone() {
    let restarted =
        watermark(WatermarkPolicy::Min, &[10, 5]).at(WatermarkPolicy::Min, &query_at(45), &Aside::default());
    assert_eq!(restarted.current(), Some(45));
    assert_eq!(restarted.after(&[saw(200), NOTHING], 0).current(), Some(45));
    assert_eq!(restarted.after(&[saw(200), saw(100)], 0).current(), Some(95));
}

#[test]
fn without_nodes_there_is_none() {
    let none = watermark(WatermarkPolicy::Min, &[]);
    let none = none.after(&[], 0).at(WatermarkPolicy::Min, &query_at(5), &Aside::default());
    assert_eq!((none.current(), of_sinks(&none, 1)), (None, [None].into()));
    assert!(!none.is_behind(7));
}

#[test]
fn each_group_goes_by_its_own_nodes() {
    for (policy, both) in [(WatermarkPolicy::Min, 45), (WatermarkPolicy::Max, 90)] {
        let start = grouped(policy, &[10, 5], &SINKS);
        let first = start.after(&[saw(100), NOTHING], 0);
        let alone = if policy == WatermarkPolicy::Min { 0 } else { 90 };
        assert_eq!(of_sinks(&first, 4), [Some(90), Some(0), Some(alone), None]);
        assert!(first.rises(&start.levels(), &first.levels()), "though the query's may stand");
        let second = first.after(&[NOTHING, saw(50)], 0);
        assert_eq!((second.current(), of_sinks(&second, 4)), (Some(both), vec![Some(90), Some(45), Some(both), None]));
        let late = second.watermarks(&second.late(Some(&first.levels())));
        assert_eq!(
            (late.of_sink(0), late.of_sink(1)),
            (Some(90), Some(0)),
            "late is what the epoch before evicted with"
        );
        assert!(second.is_behind(91) && !second.is_behind(45));
    }
}

#[test]
fn values_of_groups_are_told_only_if_there_are_several() {
    let one = [("a", &["n0"][..]), ("b", &["n0"][..]), ("none", &[])];
    assert_eq!(grouped(WatermarkPolicy::Min, &[10], &one).after(&[saw(35)], 0).levels().groups, []);
    let two = grouped(WatermarkPolicy::Min, &[10, 5], &SINKS).after(&[saw(35), saw(25)], 0);
    let json = serde_json::to_string(&two.levels().groups).unwrap();
    let expected =
        r#"[{"nodes":["n0"],"sinks":["a"],"watermark_ms":25},{"nodes":["n1"],"sinks":["b"],"watermark_ms":20},"#;
    assert_eq!(json, expected.to_owned() + r#"{"nodes":["n0","n1"],"sinks":["both"],"watermark_ms":20}]"#);
    // A node that feeds nobody counts for the query, not for the sink.
    let part = grouped(WatermarkPolicy::Min, &[10, 5], &[("a", &["n0"])]).after(&[saw(35), NOTHING], 0);
    assert_eq!((part.current(), of_sinks(&part, 1), part.levels().groups.len()), (Some(0), vec![Some(25)], 1));
}

#[test]
fn a_restart_keeps_each_groups_value() {
    let before = grouped(WatermarkPolicy::Min, &[10, 5], &SINKS).after(&[saw(100), saw(50)], 0);
    let levels = before.levels();
    let again = before.at(WatermarkPolicy::Min, std::slice::from_ref(&levels), &Aside::default());
    assert_eq!(again.levels(), levels);
    assert_eq!(again.after(&[NOTHING, saw(500)], 0).levels().groups[2].watermark_ms, 45, "n0 counts as 1970 again");
    // What stood at one value for all goes on there in each group.
    assert_eq!(
        of_sinks(&before.at(WatermarkPolicy::Min, &query_at(70), &Aside::default()), 4),
        [Some(70), Some(70), Some(70), None]
    );
}

#[test]
fn a_changed_query_takes_no_sink_back() {
    let before = grouped(WatermarkPolicy::Min, &[10, 5, 0], &SINKS).after(&[saw(100), saw(50), saw(30)], 0);
    let levels = [before.levels()];
    let changed = |sinks: &[(&str, &[&str])]| {
        let changed =
            grouped(WatermarkPolicy::Min, &[10, 5, 0], sinks).at(WatermarkPolicy::Min, &levels, &Aside::default());
        of_sinks(&changed, sinks.len())
    };
    assert_eq!(changed(&[("a", &["n0", "n2"]), ("b", &["n1"])]), [Some(90), Some(45)], "other nodes feed a now");
    assert_eq!(changed(&[("new", &["n0"]), ("other", &["n2"])]), [Some(90), Some(30)], "of a known and a new group");
    let alone =
        grouped(WatermarkPolicy::Min, &[10], &[("a", &["n0"])]).at(WatermarkPolicy::Min, &levels, &Aside::default());
    assert_eq!((alone.current(), alone.levels().groups), (Some(90), Vec::new()), "of one group it is the query's");
    assert_eq!(alone.late(Some(&levels[0])).query_ms, Some(90));
}

#[test]
fn raising_leaves_none_behind() {
    let mut it = grouped(WatermarkPolicy::Min, &[10, 5], &SINKS).after(&[saw(100), saw(50)], 0);
    let mut other = it.levels();
    other.groups[1].watermark_ms = 70;
    assert!(it.rises(&it.levels(), &other) && !it.rises(&other, &it.levels()));
    it.raise_to(&other);
    assert_eq!((it.current(), of_sinks(&it, 3)), (Some(45), vec![Some(90), Some(70), Some(45)]));
    it.raise_to(&it.all_at(1000));
    assert_eq!((it.current(), of_sinks(&it, 4)), (Some(1000), vec![Some(1000), Some(1000), Some(1000), None]));
}

#[test]
fn policies_are_named_in_the_refusal() {
    assert_eq!("MAX".parse::<WatermarkPolicy>().unwrap(), WatermarkPolicy::Max);
    let text = "avg".parse::<WatermarkPolicy>().unwrap_err().to_string();
    assert_eq!(text, "watermark policy 'avg': expected min or max");
}

fn idle_only(node: &str) -> Aside {
    Aside { idle: vec![node.into()], ..Aside::default() }
}

#[test]
fn a_node_that_follows_holds_none_back_until_it_has_caught_up() {
    let start = watermark(WatermarkPolicy::Min, &[0, 0]).at(WatermarkPolicy::Min, &query_at(50), &Aside::default());
    assert_eq!(start.after(&[saw(100), NOTHING], 0).current(), Some(50), "it would hold");
    let mut following = start.clone();
    following.follow(vec!["n1".into()]);
    let ahead = following.after(&[saw(100), NOTHING], 0);
    assert_eq!((ahead.current(), ahead.aside().following), (Some(100), vec!["n1".into()]));
    let behind = ahead.after(&[saw(120), saw(99)], 0);
    assert_eq!((behind.current(), behind.follows(1)), (Some(120), true));
    let caught_up = behind.after(&[NOTHING, saw(130)], 0);
    assert_eq!((caught_up.current(), caught_up.follows(1)), (Some(120), false));
    assert_eq!(caught_up.after(&[saw(200), NOTHING], 0).current(), Some(130), "it counts now");
    let restarted = ahead.at(WatermarkPolicy::Min, &query_at(100), &ahead.aside());
    assert_eq!(restarted.after(&[saw(150), NOTHING], 0).current(), Some(150), "a restart keeps who follows");
}

#[test]
fn where_all_nodes_are_new_the_slowest_leads() {
    let mut all = watermark(WatermarkPolicy::Min, &[0, 0]).at(WatermarkPolicy::Min, &query_at(50), &Aside::default());
    all.follow(vec!["n0".into(), "n1".into()]);
    assert_eq!(all.after(&[saw(40), NOTHING], 0).current(), Some(50));
    let one = all.after(&[saw(70), saw(45)], 0);
    assert_eq!((one.current(), one.follows(0), one.follows(1)), (Some(70), false, true));
}

#[test]
fn a_node_catches_up_with_all_groups_that_it_feeds() {
    let sinks: [(&str, &[&str]); 2] = [("a", &["n0", "n2"]), ("b", &["n1", "n2"])];
    let mut both = grouped(WatermarkPolicy::Min, &[0, 0, 0], &sinks).after(&[saw(50), saw(90), saw(10)], 0);
    both = both.at(WatermarkPolicy::Min, &[both.levels()], &Aside::default());
    both.follow(vec!["n2".into()]);
    let between = both.after(&[saw(60), saw(95), NOTHING], 0).after(&[NOTHING, NOTHING, saw(70)], 0);
    assert_eq!((of_sinks(&between, 2), between.follows(2)), (vec![Some(60), Some(95)], true));
    assert!(!between.after(&[NOTHING, NOTHING, saw(95)], 0).follows(2));
}

/// Two nodes, of which the second is idle after a second.
fn restful(policy: WatermarkPolicy) -> Watermark {
    let mut nodes = nodes(&[0, 0]);
    nodes[1].idle_ms = Some(1000);
    Watermark::new(policy, Feeds::new(nodes, &[], &["sink".into()]), 5000)
}

#[test]
fn an_idle_node_holds_none_back() {
    let start = restful(WatermarkPolicy::Min).after(&[saw(100), saw(50)], 5000);
    assert_eq!((start.current(), start.next_idle_ms()), (Some(50), Some(6000)));
    assert_eq!(start.without_rows(5999), start);
    let idle = start.without_rows(6000);
    assert_eq!((idle.current(), idle.idle(), idle.next_idle_ms()), (Some(100), vec!["n1".into()], None));
    let ahead = start.after(&[saw(200), NOTHING], 6500);
    assert_eq!((ahead.current(), ahead.is_idle(1)), (Some(200), true), "an epoch of the other finds it idle too");
    let back = ahead.after(&[NOTHING, saw(150)], 7000);
    assert_eq!((back.current(), back.idle(), back.next_idle_ms()), (Some(200), vec![], Some(8000)));
    assert_eq!(back.after(&[saw(300), NOTHING], 7500).current(), Some(200), "it counts again");
    assert_eq!(back.after(&[saw(300), saw(250)], 7500).current(), Some(250));
    let max = restful(WatermarkPolicy::Max).after(&[saw(100), saw(150)], 5000).without_rows(9000);
    assert_eq!((max.current(), max.is_idle(1)), (Some(150), true), "the fastest leads, idle or not");
}

#[test]
fn where_all_nodes_are_idle_none_holds_another_back() {
    let mut nodes = nodes(&[0, 0]);
    nodes.iter_mut().for_each(|it| it.idle_ms = Some(1000));
    let start = Watermark::new(WatermarkPolicy::Min, Feeds::new(nodes, &[], &["sink".into()]), 0);
    let idle = start.after(&[saw(100), NOTHING], 0).without_rows(1000);
    assert_eq!((idle.current(), idle.idle().len()), (Some(100), 2));
}

#[test]
fn a_restart_keeps_who_is_idle_and_counts_anew_for_the_others() {
    let restarted = restful(WatermarkPolicy::Min).at(WatermarkPolicy::Min, &query_at(45), &idle_only("n1"));
    assert_eq!(restarted.after(&[saw(200), NOTHING], 0).current(), Some(200));
    let strange = restarted.at(WatermarkPolicy::Min, &query_at(45), &idle_only("n0"));
    assert_eq!(strange.idle(), [], "a node without a time-out is never idle");
    // An epoch of before the restart runs again: time without rows begins with the run.
    let again = strange.after(&[saw(200), NOTHING], 100);
    assert_eq!((again.current(), again.next_idle_ms()), (Some(45), Some(6000)));
}
