//! A sink that prints into memory.

use std::sync::{Arc, Mutex};

use tidegate_api::prelude::*;
use tidegate_console::{ConsoleConfig, ConsoleSink};

/// What was printed.
#[derive(Clone, Default)]
pub(crate) struct Screen(pub(crate) Arc<Mutex<Vec<u8>>>);

impl Screen {
    pub(crate) fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap()
    }
}

pub(crate) fn config(settings: &[(&str, &str)]) -> Result<ConsoleConfig, Vec<ConfigIssue>> {
    ConsoleConfig::parse(&Settings::from_iter(settings.iter().copied()))
}

pub(crate) fn epoch(number: u64) -> Epoch {
    let attempt = AttemptId { generation: 1, n: 0 };
    Epoch { number, attempt, time_ms: 0, write_time_us: 0, watermark_ms: None }
}

pub(crate) async fn written(sink: &ConsoleSink, epoch: &Epoch, batches: &[RecordBatch]) -> Vec<Vec<String>> {
    let mut writer = sink.writer(epoch, 0).await.unwrap();
    for batch in batches {
        assert!(writer.write(batch.clone()).await.unwrap().is_empty());
    }
    writer.prepare().await.unwrap()
}

/// Prints `batches` as epoch `number` and gives the text.
pub(crate) async fn print(number: u64, batches: &[RecordBatch], settings: &[(&str, &str)]) -> String {
    let screen = Screen::default();
    let sink = ConsoleSink::new(&config(settings).unwrap(), &batches[0].schema(), screen.0.clone());
    let part = written(&sink, &epoch(number), batches).await;
    sink.commit(&epoch(number), vec![part], &[]).await.unwrap();
    screen.take()
}
