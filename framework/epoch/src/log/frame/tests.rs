use super::*;

fn file(sections: &[&[u8]]) -> Vec<u8> {
    Heads::new(Kind::Record, sections).with(sections).concat()
}

#[test]
fn sections_come_back() {
    let cases: [&[&[u8]]; 5] = [&[], &[b""], &[b"{}", b""], &[b"header", &[7; 1000]], &[b"a", b"", b"b", b"c"]];
    for sections in cases {
        assert_eq!(open(Kind::Record, &file(sections)).unwrap(), sections);
    }
    assert_eq!(open_two(Kind::Record, &file(&[b"a", b"b"])).unwrap(), (&b"a"[..], &b"b"[..]));
    assert!(open_two(Kind::Record, &file(&[b"a"])).is_err());
}

#[test]
fn every_flipped_bit_and_every_cut_is_found() {
    let whole = file(&[b"{\"epoch\":1}", b"some state", b"", b"rows"]);
    for at in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[at / 8] ^= 1 << (at % 8);
        assert!(open(Kind::Record, &damaged).is_err(), "bit {at}");
    }
    for size in 0..whole.len() {
        assert!(open(Kind::Record, &whole[..size]).is_err(), "cut to {size}");
    }
    assert!(open(Kind::Record, &[&whole[..], b"\0"].concat()).is_err());
}

#[test]
fn kinds_and_versions_are_told_apart() {
    let whole = file(&[b"h", b"b"]);
    assert!(open(Kind::Snapshot, &whole).unwrap_err().to_string().contains("not those of this kind"));
    let mut newer = whole;
    newer[8] = 3;
    let text = open(Kind::Record, &newer).unwrap_err().to_string();
    assert_eq!(text, "found format version 3, expected at most 2: it is newer or damaged");
}

#[test]
fn the_format_stays() {
    let golden = [
        b"TGEPOCH\n\x02\0\0\0\x03\0\0\0".as_slice(),
        b"\x02\0\0\0\0\0\0\0",
        &[0xf7, 0x15, 0x00, 0x05],
        b"{}",
        b"\x01\0\0\0\0\0\0\0",
        &[0xe3, 0xf9, 0xac, 0xaf],
        b"x",
        b"\x01\0\0\0\0\0\0\0",
        &[0xe3, 0xf9, 0xac, 0xaf],
        b"x",
    ];
    assert_eq!(file(&[b"{}", b"x", b"x"]), golden.concat());
}

#[test]
fn a_file_of_version_1_is_read() {
    let golden = [
        b"TGEPOCH\n\x01\0\0\0".as_slice(),
        b"\x02\0\0\0\0\0\0\0",
        &[0xf7, 0x15, 0x00, 0x05],
        b"{}",
        b"\x01\0\0\0\0\0\0\0",
        &[0xe3, 0xf9, 0xac, 0xaf],
        b"x",
    ]
    .concat();
    assert_eq!(open(Kind::Record, &golden).unwrap(), [&b"{}"[..], b"x"]);
    for size in 0..golden.len() {
        assert!(open(Kind::Record, &golden[..size]).is_err(), "cut to {size}");
    }
}
