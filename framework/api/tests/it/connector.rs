//! The memory budget, the context and the machine's clock.

use tidegate_api::prelude::*;

use crate::support::context;

#[test]
fn a_budget_counts_until_reservations_are_dropped() {
    let budget = MemoryBudget::new(100);
    let most = budget.try_reserve(90).expect("fits");
    assert!(budget.try_reserve(11).is_none());
    assert_eq!((budget.used(), budget.limit()), (90, 100), "what did not fit is not counted");
    let rest = budget.clone().try_reserve(10).expect("fits exactly");
    drop(most);
    assert_eq!(budget.used(), 10);
    drop(rest);
    assert_eq!(budget.used(), 0);
}

#[tokio::test]
async fn a_context_has_a_log_and_a_clock() {
    let ctx = context();
    assert!(ctx.log.put_new("0", b"one").await.unwrap());
    assert!(!ctx.log.put_new("0", b"two").await.unwrap());
    assert_eq!(ctx.log.get("0").await.unwrap().as_deref(), Some(&b"one"[..]));
    let now = ctx.clock.now_ms();
    assert!(now > 1_700_000_000_000, "{now} is milliseconds since 1970");
    ctx.clock.sleep_until(now + 5).await;
    assert!(ctx.clock.now_ms() >= now + 4);
    ctx.clock.sleep_until(0).await;
}

#[test]
fn words_have_one_spelling() {
    let writer = WriterId { query_id: QueryId("q".into()), sink: "out".into(), shard: None };
    assert_eq!(writer.to_string(), "q/out");
    assert_eq!(WriterId { shard: Some(3), ..writer }.to_string(), "q/out/3");
    assert_eq!("Complete".parse::<OutputMode>().unwrap().to_string(), "complete");
    assert!("all".parse::<OutputMode>().unwrap_err().to_string().contains("append, update or complete"));
    let attempt: AttemptId = serde_json::from_str("\"2.7\"").unwrap();
    assert_eq!((attempt, attempt.to_string()), (AttemptId { generation: 2, n: 7 }, "2.7".to_owned()));
    assert!(serde_json::from_str::<AttemptId>("\"2\"").is_err());
    assert!(Guarantee::AtLeastOnce < Guarantee::Idempotent && Guarantee::Idempotent < Guarantee::Transactional);
}
