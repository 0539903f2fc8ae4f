//! The programs of `examples/builder`: compiled here, and their results checked.

use std::sync::{Arc, Mutex};

use tidegate_builder::{Registry, Session};

#[path = "../../../../../examples/builder/orders.rs"]
#[expect(dead_code, reason = "its main is not called")]
mod orders;

#[path = "../../../../../examples/builder/silence.rs"]
#[expect(dead_code, reason = "its main is not called")]
mod silence;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_counts_orders_and_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/shop/data/orders");
    let session = Session::builder(tidegate_file::register(Registry::new()))
        .checkpoints(&folder.path().display().to_string())
        .build();
    let out = Arc::new(Mutex::new(Vec::<u8>::new()));
    orders::count_orders(&session, data, out.clone()).await.unwrap();
    let text = String::from_utf8(std::mem::take(&mut *out.lock().unwrap())).unwrap();
    // As the sink `by_product` of shop/windows.yaml.
    let mut lines: Vec<_> = text.lines().map(|it| it.split_once(": ").unwrap().1).collect();
    lines.sort_unstable();
    let expected = ["10:00 ink 2", "10:00 pen 2", "10:05 ink 1", "10:05 pen 1", "10:15 ink 1", "10:30 pen 1"];
    assert_eq!(lines, expected);
    orders::count_orders(&session, data, out.clone()).await.unwrap();
    assert!(out.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_finds_who_has_fallen_silent() {
    let folder = tempfile::tempdir().unwrap();
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/shop/data/orders");
    let session = Session::builder(tidegate_file::register(Registry::new()))
        .checkpoints(&folder.path().display().to_string())
        .build();
    let lines = Arc::new(Mutex::new(Vec::new()));
    silence::find_silence(&session, data, lines.clone()).await.unwrap();
    // The pen of 10:31; one of 10:04 is late. The ink was ordered again at 10:45, and the watermark is 10:40.
    assert_eq!(*lines.lock().unwrap(), ["pen: 17 till then"]);
}
