//! Work a little ahead of who asks for it.

use std::sync::mpsc;
use std::thread;

/// So many results wait at most: what waits is in memory twice, encoded and decoded.
const AHEAD: usize = 2;
/// So many results take longer to make than a thread to start.
const WORTH_A_THREAD: usize = 4;

/// Lets `take` have what `from` gives, which is made on a thread of its own while `take` works on what came before, but where it
/// is too few to be worth one. What is no longer wanted when `take` is done is not made.
pub(crate) fn ahead<T: Send, R>(
    mut from: impl Iterator<Item = T> + Send,
    take: impl FnOnce(&mut dyn Iterator<Item = T>) -> R,
) -> R {
    if from.size_hint().1.is_some_and(|most| most < WORTH_A_THREAD) {
        return take(&mut from);
    }
    let (to, made) = mpsc::sync_channel(AHEAD);
    thread::scope(|scope| {
        scope.spawn(move || {
            for it in from {
                if to.send(it).is_err() {
                    break;
                }
            }
        });
        take(&mut made.into_iter())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_comes_in_order() {
        let sum = ahead(0..1000, |it| it.fold((0, 0), |(at, sum), n| (at + 1, sum + n * at)));
        assert_eq!(sum, (1000, (0..1000).map(|n| n * n).sum()));
    }

    #[test]
    fn what_is_not_wanted_is_not_made() {
        let mut made = 0;
        let taken: Vec<i32> = ahead((0..1000).inspect(|_| made += 1), |it| it.take(3).collect());
        assert_eq!(taken, [0, 1, 2]);
        assert!(made <= 3 + AHEAD + 2, "{made}");
    }

    #[test]
    fn few_are_made_where_they_are_taken() {
        let here = thread::current().id();
        let made_at = |most: usize| ahead((0..most).map(|_| thread::current().id()), |it| it.collect::<Vec<_>>());
        assert_eq!(made_at(WORTH_A_THREAD - 1), [here; WORTH_A_THREAD - 1]);
        assert!(!made_at(WORTH_A_THREAD).contains(&here));
    }
}
