//! Ranges of tokens: parts of a table that can be read side by side.

/// The most ranges that a table is cut into.
const MOST: u64 = 4096;

/// The tokens after `after`, up to and with `through`, as Murmur3Partitioner makes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TokenRange {
    pub(crate) after: i64,
    pub(crate) through: i64,
}

/// All tokens, in `count` ranges of about one size. No key has the smallest token.
pub(crate) fn ranges(count: u64) -> Vec<TokenRange> {
    let count = count.clamp(1, MOST);
    let step = u64::MAX / count;
    let end = |at: u64| if at == count { i64::MAX } else { i64::MIN.wrapping_add_unsigned(step * at) };
    (0..count).map(|at| TokenRange { after: end(at), through: end(at + 1) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_all_tokens_once() {
        for count in [0, 1, 2, 3, 7, 1000, u64::MAX] {
            let all = ranges(count);
            assert_eq!(all.len() as u64, count.clamp(1, MOST));
            assert_eq!((all[0].after, all[all.len() - 1].through), (i64::MIN, i64::MAX));
            assert!(all.windows(2).all(|it| it[0].through == it[1].after), "{count}");
            assert!(all.iter().all(|it| it.after < it.through), "{count}");
        }
    }
}
