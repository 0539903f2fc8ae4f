//! Commits that were cut off at any step, lost replies, owners that are thought dead, what is left behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidegate_api::prelude::*;
use tidegate_file::Prepared;

use crate::sink_support::{KINDS, Table, already, epoch, prepare, rows, run};

/// Every kind of manifest and place.
fn tables() -> Vec<Table> {
    let kinds = KINDS.iter();
    kinds.flat_map(|(format, manifest)| [Table::disk(format, manifest), Table::memory(format, manifest)]).collect()
}

fn shown(table: &Table) -> String {
    format!("{} {}", table.location, table.settings["manifest.format"])
}

fn names(parts: &[Prepared]) -> Vec<String> {
    parts.iter().flat_map(|it| it.names().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[tokio::test]
async fn files_are_out_of_sight_until_they_are_committed() {
    for table in tables() {
        let sink = table.open().await;
        let parts = prepare(&sink, &epoch(0, 1), &[rows(0..5), rows(5..9)]).await.unwrap();
        let staged: Vec<_> = names(&parts).iter().map(|it| format!("_staging/{it}")).collect();
        assert_eq!(table.files().await, staged, "{}", shown(&table));
        assert!(table.ids().await.is_empty());
        assert_eq!(sink.commit(&epoch(0, 1), parts.clone(), &[]).await.unwrap(), CommitOutcome::Committed);
        assert_eq!(table.files().await, names(&parts), "{}", shown(&table));
        assert_eq!(table.ids().await, (0..9).collect::<Vec<_>>());
        assert_eq!(table.last().await, Some((0, 1)));
        table.nothing_is_left(&shown(&table)).await;
    }
}

#[tokio::test]
async fn a_commit_cut_off_at_any_step_is_completed_by_the_same_parts() {
    for (at, steps) in (0..tables().len()).flat_map(|at| (0..5).map(move |steps| (at, steps))) {
        let table = tables().swap_remove(at);
        let sink = table.open().await;
        run(&sink, &epoch(0, 1), &[rows(0..3)]).await.unwrap();
        let parts = prepare(&sink, &epoch(1, 1), &[rows(3..6), rows(6..9), rows(9..12)]).await.unwrap();
        if steps == 4 {
            sink.commit(&epoch(1, 1), parts.clone(), &[]).await.unwrap();
        } else if table.settings["manifest.format"] == "spark" {
            // So many files were in place when the process died.
            for name in names(&parts).iter().take(steps) {
                table.place(name).await;
            }
        }
        drop(sink);
        let what = format!("{}, {steps} steps", shown(&table));
        let expected = if steps == 4 { (1, 1) } else { (0, 1) };
        let (sink, last) = table.try_open("out").await.unwrap();
        assert_eq!(last.map(|it| (it.0, it.1.n)), Some(expected), "{what}");
        // The parts went through the checkpoint.
        let parts: Vec<Prepared> = serde_json::from_str(&serde_json::to_string(&parts).unwrap()).unwrap();
        let outcome = sink.commit(&epoch(1, 1), parts.clone(), &[]).await.unwrap();
        assert_eq!(outcome, if steps == 4 { already(1) } else { CommitOutcome::Committed }, "{what}");
        assert_eq!(sink.commit(&epoch(1, 1), parts, &[]).await.unwrap(), already(1), "{what}");
        assert_eq!(table.ids().await, (0..12).collect::<Vec<_>>(), "{what}");
        table.nothing_is_left(&what).await;
    }
}

#[tokio::test]
async fn a_bounded_commit_cut_off_after_its_entry_is_completed_by_open() {
    for table in [Table::disk("json", "tidegate"), Table::memory("json", "tidegate")] {
        let sink = table.open().await;
        let parts = prepare(&sink, &epoch(4, 1), &[rows(0..3), rows(3..6)]).await.unwrap();
        let staged = names(&parts);
        // The entry as a commit writes it, and one of two files.
        let files: Vec<_> = serde_json::to_value(&parts).unwrap().as_array().unwrap().clone();
        let files: Vec<_> = files.iter().flat_map(|it| it["files"].as_array().unwrap().clone()).collect();
        let entry = serde_json::json!({ "version": 1, "epoch": 4, "attempt": "1.1", "files": files });
        let hash = staged[0].split('-').nth(1).unwrap();
        table.put(&format!("_tidegate/{hash}-4.json"), entry.to_string()).await;
        table.place(&staged[0]).await;
        assert_eq!(table.ids().await, [0, 1, 2]);
        assert_eq!(table.last().await, Some((4, 1)));
        assert_eq!(table.ids().await, [0, 1, 2, 3, 4, 5]);
        table.nothing_is_left(&shown(&table)).await;
        let sink = table.open().await;
        assert_eq!(run(&sink, &epoch(4, 2), &[rows(0..6)]).await.unwrap(), already(1));
        assert_eq!(table.ids().await, [0, 1, 2, 3, 4, 5]);
    }
}

#[tokio::test]
async fn what_a_crash_left_goes_with_the_next_epoch_and_not_before() {
    for table in tables() {
        let what = shown(&table);
        let sink = table.open().await;
        run(&sink, &epoch(0, 1), &[rows(0..3)]).await.unwrap();
        let dead = prepare(&sink, &epoch(1, 1), &[rows(3..6), rows(6..9)]).await.unwrap();
        if table.settings["manifest.format"] == "spark" {
            table.place(&names(&dead)[0]).await;
        }
        if table.location.local().is_some() {
            let folder = if what.ends_with("spark") { "_spark_metadata" } else { "_tidegate" };
            let hash = names(&dead)[0].split('-').nth(1).unwrap().to_owned();
            table.put(&format!("{folder}/.tidegate-{hash}-00.tmp"), "{").await;
            table.put("_staging/somebody.elses", "x").await;
        }
        drop(sink);
        let sink = table.open().await;
        let left = names(&dead);
        let files = table.files().await;
        assert!(left.iter().all(|it| files.iter().any(|file| file.ends_with(it.as_str()))), "{what}: {files:?}");
        run(&sink, &epoch(1, 2), &[rows(3..9)]).await.unwrap();
        if table.location.local().is_some() {
            table.remove("_staging/somebody.elses").await;
        }
        table.nothing_is_left(&what).await;
        assert_eq!(table.ids().await, (0..9).collect::<Vec<_>>(), "{what}");
    }
}

#[tokio::test]
async fn epochs_without_rows_leave_no_trace_and_numbers_may_be_skipped() {
    for table in tables() {
        let sink = table.open().await;
        assert_eq!(run(&sink, &epoch(3, 1), &[rows(0..2)]).await.unwrap(), CommitOutcome::Committed);
        let before = table.all().await;
        for empty in [vec![], vec![rows([]), rows([])]] {
            assert_eq!(run(&sink, &epoch(4, 1), &empty).await.unwrap(), CommitOutcome::Committed);
            assert_eq!(table.all().await, before, "{}", shown(&table));
        }
        assert_eq!(table.last().await, Some((3, 1)));
        run(&sink, &epoch(9, 2), &[rows(2..4)]).await.unwrap();
        assert_eq!((table.last().await, table.ids().await), (Some((9, 2)), vec![0, 1, 2, 3]));
        let error = run(&sink, &epoch(4, 1), &[]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fenced);
    }
}

#[tokio::test]
async fn an_old_owner_that_wakes_up_adds_nothing_and_breaks_nothing() {
    for table in tables() {
        let what = shown(&table);
        let (old, new) = (table.open().await, table.open().await);
        let late = prepare(&old, &epoch(0, 1), &[rows(0..3), rows(3..6)]).await.unwrap();
        if table.settings["manifest.format"] == "spark" {
            // It was stopped between putting files into place and naming them.
            table.place(&names(&late)[0]).await;
        }
        run(&new, &epoch(0, 2), &[rows(0..6)]).await.unwrap();
        assert_eq!(old.commit(&epoch(0, 1), late.clone(), &[]).await.unwrap(), already(2), "{what}");
        for number in 1..4 {
            run(&new, &epoch(number, 2), &[rows([10 + number as i64])]).await.unwrap();
        }
        let error = old.commit(&epoch(0, 1), late, &[]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fenced, "{what}");
        assert!(error.to_string().contains("epoch 0") && error.to_string().contains("epoch 3"), "{error}");
        assert_eq!(table.ids().await, [0, 1, 2, 3, 4, 5, 11, 12, 13], "{what}");
        table.nothing_is_left(&what).await;
    }
}

#[tokio::test]
async fn an_old_owner_whose_commit_came_first_is_found() {
    for table in tables() {
        let (old, new) = (table.open().await, table.open().await);
        let parts = prepare(&new, &epoch(0, 2), &[rows(0..6)]).await.unwrap();
        run(&old, &epoch(0, 1), &[rows(0..3), rows(3..6)]).await.unwrap();
        assert_eq!(new.commit(&epoch(0, 2), parts, &[]).await.unwrap(), already(1));
        assert_eq!(table.ids().await, (0..6).collect::<Vec<_>>());
        table.nothing_is_left(&shown(&table)).await;
    }
}

#[tokio::test]
async fn what_is_aborted_or_dropped_goes() {
    for table in tables() {
        let sink = table.open().await;
        let parts = prepare(&sink, &epoch(0, 1), &[rows(0..3)]).await.unwrap();
        sink.abort(&epoch(0, 1), parts).await.unwrap();
        assert!(table.files().await.is_empty(), "{}", shown(&table));
        let mut writer = sink.writer(&epoch(0, 2), 0).await.unwrap();
        writer.write(rows(0..3)).await.unwrap();
        drop(writer);
        drop(sink.writer(&epoch(0, 3), 0).await.unwrap());
        assert!(table.files().await.is_empty(), "{}", shown(&table));
    }
}

struct Lost(AtomicBool);

#[async_trait]
impl Ownership for Lost {
    async fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) { Err(Error::fenced("another owner")) } else { Ok(()) }
    }
}

#[tokio::test]
async fn who_does_not_own_the_query_any_more_removes_nothing() {
    for mut table in tables() {
        let owner = Arc::new(Lost(AtomicBool::new(false)));
        table.owner = Some(owner.clone());
        let sink = table.open().await;
        prepare(&sink, &epoch(0, 1), &[rows(0..3)]).await.unwrap();
        run(&table.open().await, &epoch(1, 2), &[rows(0..3)]).await.unwrap();
        let mut left = prepare(&sink, &epoch(1, 1), &[rows(0..3)]).await.unwrap();
        let before = table.files().await;
        assert_eq!(before.len(), 2);
        owner.0.store(true, Ordering::Relaxed);
        drop(table.open().await);
        sink.abort(&epoch(1, 1), std::mem::take(&mut left)).await.unwrap();
        assert_eq!(sink.maintain(std::time::Duration::ZERO).await.unwrap_err().kind(), ErrorKind::Fenced);
        assert_eq!(table.files().await, before, "{}", shown(&table));
        owner.0.store(false, Ordering::Relaxed);
        drop(table.open().await);
        table.nothing_is_left(&shown(&table)).await;
    }
}

#[tokio::test]
async fn parts_that_are_gone_are_named() {
    for table in tables() {
        let sink = table.open().await;
        let parts = prepare(&sink, &epoch(0, 1), &[rows(0..3)]).await.unwrap();
        let name = names(&parts)[0].clone();
        table.remove(&format!("_staging/{name}")).await;
        let error = sink.commit(&epoch(0, 1), parts.clone(), &[]).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Config && error.to_string().contains(&format!("{name} is gone")), "{error}");
        table.put(&name, "short").await;
        let error = sink.commit(&epoch(0, 1), parts, &[]).await.unwrap_err();
        assert!(error.to_string().contains("has 5 bytes, expected"), "{error}");
    }
}

#[tokio::test]
async fn epochs_are_taken_back() {
    for table in tables() {
        let what = shown(&table);
        let mut sink = table.open().await;
        // Past a compact entry, and not at one.
        for number in 0..13 {
            run(&sink, &epoch(number, 1), &[rows([number as i64])]).await.unwrap();
        }
        prepare(&sink, &epoch(13, 1), &[rows(0..3)]).await.unwrap();
        assert!(sink.restore(Some(12)).await.unwrap(), "{what}");
        assert_eq!(table.ids().await, (0..13).collect::<Vec<_>>(), "{what}");
        table.nothing_is_left(&what).await;
        assert!(sink.restore(Some(4)).await.unwrap(), "{what}");
        assert!(sink.restore(Some(4)).await.unwrap(), "again: {what}");
        assert_eq!(table.ids().await, (0..5).collect::<Vec<_>>(), "{what}");
        table.nothing_is_left(&what).await;
        assert_eq!(table.last().await, Some((4, 1)), "{what}");
        // Numbers are not used again: the next epoch is 13.
        for (number, sink) in [(13, sink), (14, table.open().await)] {
            let id = number as i64 + 100;
            assert_eq!(run(&sink, &epoch(number, 2), &[rows([id])]).await.unwrap(), CommitOutcome::Committed, "{what}");
        }
        assert_eq!(table.ids().await, [0, 1, 2, 3, 4, 113, 114], "{what}");
        let mut sink = table.open().await;
        assert!(sink.restore(None).await.unwrap());
        assert!(table.ids().await.is_empty() && table.files().await.is_empty(), "{what}");
        assert_eq!(table.last().await, None);
    }
}

#[tokio::test]
async fn an_owner_that_slept_while_epochs_were_taken_back_is_fenced() {
    let table = Table::disk("json", "spark");
    let old = table.open().await;
    run(&old, &epoch(0, 1), &[rows([0])]).await.unwrap();
    run(&old, &epoch(1, 1), &[rows([1])]).await.unwrap();
    let late = prepare(&old, &epoch(2, 1), &[rows([2])]).await.unwrap();
    let (mut new, _) = table.try_open("out").await.unwrap();
    new.restore(Some(0)).await.unwrap();
    let error = old.commit(&epoch(2, 1), late, &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert_eq!(table.ids().await, [0]);
    table.nothing_is_left("taken back").await;
}
