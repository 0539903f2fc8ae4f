use std::path::Path;

use tidegate_api::OffsetRange;

use super::{LoggedFile, MIN_PIECE_BYTES, Piece, cut, entries, pieces};
use crate::offset::FileOffset;

const MIB: u64 = MIN_PIECE_BYTES;

fn files(sizes: &[u64]) -> Vec<LoggedFile> {
    let named = sizes.iter().enumerate();
    named.map(|(at, size)| LoggedFile { path: Path::new(&format!("/f{at}")).into(), size: Some(*size) }).collect()
}

fn sized(range: &OffsetRange<FileOffset>, n: i64, files: &[LoggedFile]) -> Vec<(Piece, u64)> {
    pieces(range, n, files).into_iter().map(|it| (it.clone(), files[it.file].size.unwrap())).collect()
}

/// `(file, from, to)` of each piece.
fn spans(pieces: &[Piece]) -> Vec<(usize, u64, Option<u64>)> {
    pieces.iter().map(|it| (it.file, it.from, it.to)).collect()
}

#[test]
fn a_range_of_whole_entries_is_all_files() {
    let range = OffsetRange { start: FileOffset::after(3), end: FileOffset::after(5) };
    assert_eq!(entries(&range), 4..=5);
    assert_eq!(spans(&pieces(&range, 4, &files(&[1, 2]))), [(0, 0, None), (1, 0, None)]);
}

#[test]
fn a_range_inside_an_entry_has_the_lines_between() {
    let files = files(&[10, 20, 30]);
    let range = OffsetRange { start: FileOffset::inside(4, 0, 6), end: FileOffset::inside(4, 2, 8) };
    assert_eq!(entries(&range), 4..=4);
    assert_eq!(spans(&pieces(&range, 4, &files)), [(0, 6, None), (1, 0, None), (2, 0, Some(8))]);
    let range = OffsetRange { start: FileOffset::after(3), end: FileOffset::inside(4, 1, 0) };
    assert_eq!(spans(&pieces(&range, 4, &files)), [(0, 0, None)]);
    let range = OffsetRange { start: FileOffset::inside(4, 1, 5), end: FileOffset::inside(4, 1, 9) };
    assert_eq!(spans(&pieces(&range, 4, &files)), [(1, 5, Some(9))]);
    let range = OffsetRange { start: FileOffset::inside(4, 1, 5), end: FileOffset::inside(4, 1, 5) };
    assert_eq!(spans(&pieces(&range, 4, &files)), []);
}

#[test]
fn splits_lie_end_to_end_and_mean_the_whole() {
    for (sizes, max, expected) in [
        (vec![10 * MIB], 4, vec![4]),
        (vec![10 * MIB, 1, 10 * MIB], 4, vec![1, 1, 1]),
        (vec![30 * MIB, 10 * MIB], 4, vec![3, 1]),
        (vec![5, 5, 5], 1, vec![1, 1, 1]),
        (vec![3 * MIB / 2], 8, vec![1]),
        (vec![3 * MIB + 7], 8, vec![3]),
        (vec![0], 8, vec![1]),
    ] {
        let files = files(&sizes);
        let range = OffsetRange { start: FileOffset::after(6), end: FileOffset::after(7) };
        let splits = cut(&sized(&range, 7, &files), range.start, range.end, max);
        let count = |at| splits.iter().filter(|it| *it.partition.name == format!("/f{at}")).count();
        assert_eq!((0..sizes.len()).map(count).collect::<Vec<_>>(), expected, "{sizes:?}");
        assert_eq!(splits.iter().map(|it| it.bytes.unwrap()).sum::<u64>(), sizes.iter().sum::<u64>());
        assert_eq!((splits[0].range.start, splits[splits.len() - 1].range.end), (range.start, range.end));
        assert!(splits.windows(2).all(|it| it[0].range.end == it[1].range.start && it[0].partition <= it[1].partition));
        let mut read = Vec::new();
        for split in &splits {
            for piece in pieces(&split.range, 7, &files) {
                assert_eq!(split.partition.name.as_ref(), piece.path.to_str().unwrap(), "one partition a split");
                read.push((piece.file, piece.from, piece.to.unwrap_or(sizes[piece.file])));
            }
        }
        for (at, size) in sizes.iter().enumerate() {
            let of_file: Vec<_> = read.iter().filter(|it| it.0 == at).collect();
            assert_eq!((of_file[0].1, of_file[of_file.len() - 1].2), (0, *size));
            assert!(of_file.windows(2).all(|it| it[0].2 == it[1].1));
        }
    }
}

#[test]
fn a_split_can_be_cut_again() {
    let files = files(&[8 * MIB, 8 * MIB]);
    let range = OffsetRange { start: FileOffset::inside(7, 0, 4 * MIB), end: FileOffset::inside(7, 1, 4 * MIB) };
    let splits = cut(&sized(&range, 7, &files), range.start, range.end, 4);
    let ranges: Vec<_> = splits.iter().map(|it| it.range.clone()).collect();
    let at = [
        FileOffset::inside(7, 0, 4 * MIB),
        FileOffset::inside(7, 0, 6 * MIB),
        FileOffset::inside(7, 1, 0),
        FileOffset::inside(7, 1, 2 * MIB),
        FileOffset::inside(7, 1, 4 * MIB),
    ];
    assert_eq!(ranges, at.windows(2).map(|it| OffsetRange { start: it[0], end: it[1] }).collect::<Vec<_>>());
}
