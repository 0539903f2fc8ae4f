//! Files of tries that failed: which may be removed, and when.
//!
//! A staged file may be named by a commit that is still under way, of an owner that is thought dead. So it stays until
//! the manifest holds its epoch, or a later one: from then on such a commit finds the epoch taken.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_storage::object_store::buffered::BufWriter;

use super::names::{Held, STAGING};

/// Files of this writer that the manifest is not known to name, as paths below the folder.
#[derive(Debug, Default)]
pub(crate) struct Leftovers {
    /// By epoch, while a commit may come to name them.
    waiting: BTreeMap<u64, BTreeSet<String>>,
    /// No commit will name them.
    garbage: BTreeSet<String>,
    /// Uploads that nobody completes.
    uploads: Vec<BufWriter>,
}

impl Leftovers {
    /// Files of an epoch that may or may not be committed.
    pub(crate) fn wait(&mut self, epoch: u64, paths: impl IntoIterator<Item = String>) {
        self.waiting.entry(epoch).or_default().extend(paths);
    }

    /// Files that no commit will name.
    pub(crate) fn discard(&mut self, paths: impl IntoIterator<Item = String>) {
        self.garbage.extend(paths);
    }

    /// An upload that was broken off.
    pub(crate) fn discard_upload(&mut self, upload: BufWriter) {
        self.uploads.push(upload);
    }

    /// The manifest holds an epoch: no commit can name other files of it, or of one before, any more. Called for every
    /// epoch that it holds, in order.
    pub(crate) fn settle(&mut self, held: &Held) {
        let later = self.waiting.split_off(&held.epoch.saturating_add(1));
        for (epoch, paths) in std::mem::replace(&mut self.waiting, later) {
            // What counts lies in the folder itself; what is still staged is a copy or a failed try.
            let counts = |path: &String| epoch == held.epoch && held.names.contains(path);
            self.garbage.extend(paths.into_iter().filter(|it| is_staged(it) || !counts(it)));
        }
    }

    /// Files to remove and uploads to break off; nothing remembers them after this.
    pub(crate) fn take_garbage(&mut self) -> (Vec<String>, Vec<BufWriter>) {
        (std::mem::take(&mut self.garbage).into_iter().collect(), std::mem::take(&mut self.uploads))
    }
}

fn is_staged(path: &str) -> bool {
    path.strip_prefix(STAGING).is_some_and(|it| it.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_api::AttemptId;

    fn held(epoch: u64, names: &[&str]) -> Held {
        let attempt = AttemptId { generation: 1, n: 1 };
        Held { epoch, attempt, names: names.iter().map(|&it| it.to_owned()).collect() }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&it| it.to_owned()).collect()
    }

    #[test]
    fn files_go_when_their_epoch_is_held_and_not_before() {
        let mut left = Leftovers::default();
        left.wait(5, names(&["5a", "5b", "_staging/5b"]));
        left.wait(6, names(&["_staging/6a"]));
        left.settle(&held(4, &[]));
        assert!(left.take_garbage().0.is_empty());
        left.settle(&held(5, &["5b"]));
        assert_eq!(left.take_garbage().0, names(&["5a", "_staging/5b"]));
        left.settle(&held(5, &[]));
        assert!(left.take_garbage().0.is_empty(), "5b counts, whatever comes later");
        left.settle(&held(8, &["6a"]));
        assert_eq!(left.take_garbage().0, names(&["_staging/6a"]), "epoch 6 was skipped");
    }
}
