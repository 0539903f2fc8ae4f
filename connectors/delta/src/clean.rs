//! Data files of tries that failed: which may be removed, and when.
//!
//! A file may be named by a commit that is still under way, of an owner that is thought dead. So it stays until the
//! table holds its epoch, or a later one: from then on such a commit finds the epoch taken.

use std::collections::{BTreeMap, BTreeSet};

use crate::entry::Held;

/// Files of this writer that no commit is known to name.
#[derive(Debug, Default)]
pub(crate) struct Leftovers {
    /// By epoch, while a commit may come to name them.
    waiting: BTreeMap<u64, BTreeSet<String>>,
    /// No commit will name them.
    garbage: Vec<String>,
}

impl Leftovers {
    /// Files of an epoch that may or may not be committed.
    pub(crate) fn wait(&mut self, epoch: u64, paths: impl IntoIterator<Item = String>) {
        self.waiting.entry(epoch).or_default().extend(paths);
    }

    /// The table holds an epoch: no commit can name other files of it, or of one before, any more.
    pub(crate) fn settle(&mut self, held: &Held) {
        let later = self.waiting.split_off(&(held.epoch.saturating_add(1)));
        for (epoch, paths) in std::mem::replace(&mut self.waiting, later) {
            // A commit of ours names files. If none are known it can't be read any more, and may name these.
            if epoch < held.epoch || !held.paths.is_empty() {
                self.garbage.extend(paths.into_iter().filter(|it| !held.paths.contains(it)));
            }
        }
    }

    /// Files to remove; nothing remembers them after this.
    pub(crate) fn take_garbage(&mut self) -> Vec<String> {
        std::mem::take(&mut self.garbage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(epoch: u64, paths: &[&str]) -> Held {
        Held { epoch, attempt: None, paths: paths.iter().map(|&it| it.to_owned()).collect() }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&it| it.to_owned()).collect()
    }

    #[test]
    fn files_go_when_their_epoch_is_held_and_not_before() {
        let mut left = Leftovers::default();
        left.wait(5, names(&["5a", "5b"]));
        left.wait(6, names(&["6a"]));
        left.settle(&held(4, &[]));
        assert!(left.take_garbage().is_empty());
        left.settle(&held(5, &["5b"]));
        assert_eq!(left.take_garbage(), names(&["5a"]));
        left.settle(&held(5, &[]));
        assert!(left.take_garbage().is_empty(), "5b is in the table, whatever comes later");
    }

    #[test]
    fn nothing_goes_for_a_commit_that_can_not_be_read() {
        let mut left = Leftovers::default();
        left.wait(4, names(&["4a"]));
        left.wait(5, names(&["5a"]));
        left.settle(&held(5, &[]));
        assert_eq!(left.take_garbage(), names(&["4a"]));
    }

    #[test]
    fn a_skipped_epoch_is_over_when_a_later_one_is_held() {
        let mut left = Leftovers::default();
        left.wait(5, names(&["5a"]));
        left.settle(&held(7, &["7a"]));
        assert_eq!(left.take_garbage(), names(&["5a"]));
    }
}
