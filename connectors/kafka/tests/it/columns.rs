//! What the columns hold.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, TimestampMicrosecondType};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer};
use tidegate_api::{ErrorKind, Payload, Source};

use crate::setup::{batches, bind, offset, try_source};
use crate::stand::{producer, topic};
use crate::{both_clients, broker_or_skip};

both_clients!(all_columns_are_sparks, only_the_columns_asked_for_come_in_their_order,);

async fn records(broker: &str, name: &str) -> String {
    let topic = topic(broker, name, 1).await;
    let producer = producer(broker);
    let headers = OwnedHeaders::new()
        .insert(Header { key: "a", value: Some("1") })
        .insert(Header { key: "a", value: None::<&str> })
        .insert(Header { key: "b", value: Some("") });
    let at = |ms| BaseRecord::<[u8], [u8]>::to(&topic).partition(0).timestamp(ms);
    producer.send(at(1_700_000_000_123).key(b"k").payload(b"v").headers(headers)).unwrap();
    producer.send(at(1_700_000_000_124).key(b"").payload(b"")).unwrap();
    producer.send(at(1_700_000_000_125)).unwrap();
    producer.flush(std::time::Duration::from_secs(20)).unwrap();
    topic
}

async fn read(broker: &str, topic: &str, columns: &[&str]) -> RecordBatch {
    let settings = [("include.headers", "true")];
    let mut source = try_source(broker, topic, &settings, &Arc::default()).await.unwrap();
    let bound = bind(&mut source, columns).unwrap();
    let at = |it: i64| offset(&format!(r#"{{"{topic}":{{"0":{it}}}}}"#));
    let mut read = batches(&source, &at(0), &at(3)).await.unwrap();
    assert_eq!(read.len(), 1);
    assert_eq!(read[0].schema(), bound.schema);
    read.remove(0)
}

async fn all_columns_are_sparks() {
    let broker = broker_or_skip!();
    let topic = records(broker, "columns").await;
    let names = ["key", "value", "topic", "partition", "offset", "timestamp", "timestampType", "headers"];
    let batch = read(broker, &topic, &names).await;
    let bytes = |at: usize| {
        let column = batch.column(at).as_binary::<i32>();
        (0..3).map(|row| column.is_valid(row).then(|| column.value(row).to_vec())).collect::<Vec<_>>()
    };
    assert_eq!(bytes(0), [Some(b"k".to_vec()), Some(Vec::new()), None]);
    assert_eq!(bytes(1), [Some(b"v".to_vec()), Some(Vec::new()), None]);
    assert_eq!(batch.column(2).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), [topic.as_str(); 3]);
    assert_eq!(batch.column(3).as_primitive::<Int32Type>().values(), &[0; 3]);
    let times = batch.column(5).as_primitive::<TimestampMicrosecondType>();
    assert_eq!(times.values(), &[1_700_000_000_123_000, 1_700_000_000_124_000, 1_700_000_000_125_000]);
    assert_eq!(times.data_type(), &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())));
    assert_eq!(batch.column(6).as_primitive::<Int32Type>().values(), &[0; 3]);
    let headers = batch.column(7).as_list::<i32>();
    assert_eq!((headers.is_valid(0), headers.is_valid(1), headers.is_valid(2)), (true, false, false));
    let first = headers.value(0);
    let (keys, values) =
        (first.as_struct().column(0).as_string::<i32>(), first.as_struct().column(1).as_binary::<i32>());
    assert_eq!(keys.iter().flatten().collect::<Vec<_>>(), ["a", "a", "b"]);
    assert_eq!(values.iter().collect::<Vec<_>>(), [Some(&b"1"[..]), None, Some(b"")]);
}

async fn only_the_columns_asked_for_come_in_their_order() {
    let broker = broker_or_skip!();
    let topic = records(broker, "projected").await;
    let batch = read(broker, &topic, &["offset", "key"]).await;
    assert_eq!(batch.schema().fields().iter().map(|it| it.name().as_str()).collect::<Vec<_>>(), ["offset", "key"]);
    // No column at all: rows to be counted.
    assert_eq!(read(broker, &topic, &[]).await.num_rows(), 3);

    let mut plain = try_source(broker, &topic, &[], &Arc::default()).await.unwrap();
    let Payload::Records(schema) = plain.payload() else { panic!("rows") };
    assert_eq!(schema.fields().len(), 7);
    let error = bind(&mut plain, &["headers"]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("no column 'headers', only key, value, topic"), "{error}");
}
