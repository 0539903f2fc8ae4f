use super::*;

#[test]
fn what_hadoop_wrote_fits() {
    // Beside `commits/0` of a PySpark checkpoint.
    let file = b"v1\n{\"nextBatchWatermarkMs\":0}";
    let crc = crc32fast::hash(file).to_be_bytes();
    let golden = [b"crc\0\0\0\x02\0".as_slice(), &crc].concat();
    assert_eq!(of(&[file]), golden);
    assert!(fits(&golden, file));
    assert_eq!(of(&[]), b"crc\0\0\0\x02\0", "of an empty file: no pieces");
}

#[test]
fn pieces_do_not_depend_on_parts() {
    let bytes: Vec<u8> = (0..3000_u32).map(|it| (it % 251) as u8).collect();
    let whole = of(&[&bytes]);
    assert_eq!(whole.len(), 8 + 4 * 6);
    for cut in [0, 1, 511, 512, 513, 2999] {
        assert_eq!(of(&[&bytes[..cut], &bytes[cut..]]), whole);
    }
    let large = vec![7; LARGE_PIECE * 2 + 1];
    assert_eq!(of(&[&large]).len(), 8 + 4 * 3);
    assert!(fits(&of(&[&large]), &large));
}

#[test]
fn every_flipped_bit_and_every_cut_is_found() {
    let bytes: Vec<u8> = (0..700_u32).map(|it| (it % 251) as u8).collect();
    let sidecar = of(&[&bytes]);
    for at in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[at / 8] ^= 1 << (at % 8);
        assert!(!fits(&sidecar, &damaged), "bit {at}");
    }
    for at in 0..sidecar.len() * 8 {
        let mut damaged = sidecar.clone();
        damaged[at / 8] ^= 1 << (at % 8);
        assert!(!fits(&damaged, &bytes), "bit {at} of the checksum");
    }
    for size in 0..bytes.len() {
        assert!(!fits(&sidecar, &bytes[..size]), "cut to {size}");
    }
    for size in 0..sidecar.len() {
        assert!(!fits(&sidecar[..size], &bytes), "checksum cut to {size}");
    }
}

#[test]
fn names_go_both_ways() {
    for (key, sidecar) in [("metadata", ".metadata.crc"), ("sources/0/3", "sources/0/.3.crc")] {
        assert!(is_due(key));
        assert_eq!(key_of(key), sidecar);
        assert_eq!(file_of(sidecar).as_deref(), Some(key));
    }
    assert_eq!(file_of("sources/0/3"), None);
    for key in
        ["state/wal/0.0.0", "offsets/1", "commits/1", "state/owner/3.beat", "state/owner", "state/staged/1.0.0.0"]
    {
        assert!(!is_due(key), "{key}");
    }
}
