use super::*;

fn piece(key: u32, start: i64, end: i64, is_new: bool) -> Piece {
    Piece { key, start, end, is_new, row: 0 }
}

fn spans(mut pieces: Vec<Piece>) -> Vec<(i64, i64, usize, bool)> {
    sweep(&mut pieces).iter().map(|it| (it.start, it.end, it.count, it.has_new)).collect()
}

#[test]
fn what_touches_is_one_session_and_a_longer_one_covers_the_next() {
    let pieces = vec![
        piece(1, 10, 20, false),
        piece(1, 20, 25, true),
        piece(1, 26, 30, false),
        piece(2, 28, 40, true),
        piece(2, 5, 100, true),
        piece(2, 50, 60, false),
    ];
    assert_eq!(spans(pieces), [(10, 25, 2, true), (26, 30, 1, false), (5, 100, 3, true)]);
}

/// Against the definition: two pieces are in one session if a chain of touching pieces leads from one to the other.
#[test]
fn any_pieces_merge_as_the_definition_says() {
    let mut seed = 42_u64;
    let mut next = |below: i64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as i64 % below
    };
    for _ in 0..300 {
        let count = 1 + next(12);
        let pieces: Vec<Piece> = (0..count)
            .map(|_| {
                let start = next(40);
                piece(next(2) as u32, start, start + 1 + next(6), next(2) == 0)
            })
            .collect();
        let mut groups: Vec<Vec<Piece>> = pieces.iter().map(|it| vec![*it]).collect();
        while let Some((a, b)) = pair(&groups) {
            let moved = groups.remove(b);
            groups[a].extend(moved);
        }
        let mut expected: Vec<_> = groups
            .iter()
            .map(|all| {
                let (start, end) = (all.iter().map(|it| it.start).min(), all.iter().map(|it| it.end).max());
                (all[0].key, start.unwrap(), end.unwrap(), all.len(), all.iter().any(|it| it.is_new))
            })
            .collect();
        expected.sort_unstable();
        let expected: Vec<_> = expected.into_iter().map(|it| (it.1, it.2, it.3, it.4)).collect();
        assert_eq!(spans(pieces.clone()), expected, "{pieces:?}");
    }
}

fn pair(groups: &[Vec<Piece>]) -> Option<(usize, usize)> {
    let touch = |a: &Piece, b: &Piece| a.key == b.key && a.start <= b.end && b.start <= a.end;
    let touching = |a: &[Piece], b: &[Piece]| a.iter().any(|x| b.iter().any(|y| touch(x, y)));
    (0..groups.len())
        .flat_map(|a| (a + 1..groups.len()).map(move |b| (a, b)))
        .find(|(a, b)| touching(&groups[*a], &groups[*b]))
}
