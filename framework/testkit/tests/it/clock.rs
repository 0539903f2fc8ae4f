//! The manual clock.

use std::sync::Arc;
use std::time::Duration;

use tidegate_api::Clock;
use tidegate_testkit::ManualClock;

#[tokio::test]
async fn who_waits_wakes_when_the_time_has_come_and_not_before() {
    let clock = Arc::new(ManualClock::new(1000));
    let waiting = tokio::spawn({
        let clock = clock.clone();
        async move { clock.sleep_until(3000).await }
    });
    clock.advance(Duration::from_millis(1999));
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(!waiting.is_finished());
    clock.advance(Duration::from_millis(1));
    tokio::time::timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap();
    clock.advance_to(10);
    assert_eq!((clock.now_ms(), clock.monotonic()), (3000, Duration::from_secs(2)));
    clock.sleep_until(2).await;
}
