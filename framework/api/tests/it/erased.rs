//! The erased twins: what crosses them as JSON comes back the same.

use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tidegate_api::{DynSource, prelude::*};

use crate::support::numbers;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    at: i64,
}

/// Emits numbers without end, ten a plan.
struct Tens;

#[async_trait]
impl Source for Tens {
    type Offset = Place;
    fn payload(&self) -> Payload {
        Payload::Rows(numbers(&[]).schema())
    }
    fn replay(&self) -> Replay {
        Replay::Deterministic
    }
    async fn initial_offset(&mut self) -> Result<Place> {
        Ok(Place { at: 0 })
    }
    async fn plan(&mut self, start: &Place, _limit: &ReadLimit) -> Result<Planned<Place>> {
        let end = Place { at: start.at + 10 };
        Ok(Planned { end: end.clone(), latest: end, rows: Some(10), bytes: None, schema: None })
    }
    async fn read(&self, split: Split<Place>) -> Result<BatchStream> {
        let values: Vec<_> = (split.range.start.at..split.range.end.at).collect();
        Ok(stream::iter([Ok(numbers(&values))]).boxed())
    }
    fn describe(&self) -> String {
        "tens".into()
    }
}

#[tokio::test]
async fn offsets_cross_as_json_and_back() {
    let mut source: Box<dyn DynSource> = Box::new(Tens);
    let start = source.initial_offset().await.unwrap();
    assert_eq!(start, OffsetJson(json!({"at": 0})));
    let planned = source.plan(&start, &ReadLimit::NONE).await.unwrap();
    assert_eq!((planned.end.to_string(), planned.rows), (r#"{"at":10}"#.to_owned(), Some(10)));
    let frozen = source.freeze(&planned.end).await.unwrap();
    assert_eq!(frozen, OffsetJson(json!({"at": 20})));
    let mut splits = source.splits(OffsetRange { start, end: planned.end.clone() }, 8).unwrap();
    assert_eq!(splits.len(), 1);
    assert_eq!(splits[0].partition, PartitionId::only());
    let batches: Vec<_> = source.read(splits.remove(0)).await.unwrap().try_collect().await.unwrap();
    assert_eq!(batches, [numbers(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9])]);
    source.commit(&planned.end).await.unwrap();
    source.ready(&planned.end).await.unwrap();
    assert_eq!(source.describe(), "tens");
}

#[tokio::test]
async fn an_offset_of_another_connector_is_refused() {
    let mut source: Box<dyn DynSource> = Box::new(Tens);
    let error = source.plan(&OffsetJson(json!({"logOffset": 3})), &ReadLimit::NONE).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().starts_with(r#"{"logOffset":3} does not fit this connector"#), "{error}");
}
