use std::fs;

use tempfile::tempdir;

use super::*;

fn folder(root: &Path) -> PathBuf {
    let folder = root.join("state/wal");
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn a_spare_is_written_again_and_holds_nothing_of_before() {
    let root = tempdir().unwrap();
    let folder = folder(root.path());
    let (old, temp) = (folder.join("1.0.0"), folder.join(".1.0.0.x-0.tmp"));
    fs::write(&old, "a long text").unwrap();
    let inode = fs::metadata(&old).unwrap().ino();
    let spares = Spares::default();
    assert!(spares.keep("state/wal/1.0.0", &old, &temp));
    assert!(!old.exists());
    let spare = spares.take(&folder).unwrap();
    assert_eq!(spares.take(&folder), None);
    write(&spare, &[b"sho", b"rt"]).unwrap();
    assert_eq!(fs::read_to_string(&spare).unwrap(), "short");
    assert_eq!(fs::metadata(&spare).unwrap().ino(), inode);
}

#[test]
fn a_copy_made_of_links_keeps_its_text() {
    let root = tempdir().unwrap();
    let folder = folder(root.path());
    let (old, copy) = (folder.join("1.0.0"), root.path().join("copy"));
    fs::write(&old, "before").unwrap();
    fs::hard_link(&old, &copy).unwrap();
    let spares = Spares::default();
    assert!(spares.keep("state/wal/1.0.0", &old, &folder.join(".1.tmp")));
    let spare = spares.take(&folder).unwrap();
    write(&spare, &[b"after"]).unwrap();
    assert_eq!(fs::read_to_string(&copy).unwrap(), "before");
    assert_eq!(fs::read_to_string(&spare).unwrap(), "after");
}

#[test]
fn large_files_and_those_of_other_folders_are_not_kept() {
    let root = tempdir().unwrap();
    let folder = folder(root.path());
    let (large, gone, other) = (folder.join("1.0.0"), folder.join("2.0.0"), root.path().join("metadata"));
    fs::write(&large, vec![0; 65 << 10]).unwrap();
    fs::write(&other, "x").unwrap();
    let spares = Spares::default();
    assert!(!spares.keep("state/wal/1.0.0", &large, &folder.join(".1.tmp")));
    assert!(!spares.keep("state/wal/2.0.0", &gone, &folder.join(".2.tmp")));
    assert!(!spares.keep("metadata", &other, &root.path().join(".3.tmp")));
    assert!(large.exists() && other.exists());
    assert_eq!(spares.take(&folder), None);
}

#[test]
fn clear_removes_all() {
    let root = tempdir().unwrap();
    let folder = folder(root.path());
    fs::write(folder.join("1.0.0"), "x").unwrap();
    let spares = Spares::default();
    assert!(spares.keep("state/wal/1.0.0", &folder.join("1.0.0"), &folder.join(".1.tmp")));
    spares.clear();
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}

#[test]
fn a_file_that_goes_to_the_disk_in_pieces_is_whole() {
    let root = tempdir().unwrap();
    let path = root.path().join("large");
    let bytes: Vec<u8> = (0..2 * AT_ONCE + 7).map(|at| (at % 251) as u8).collect();
    for cuts in [[0, 1], [5, AT_ONCE + 5], [AT_ONCE, 2 * AT_ONCE], [AT_ONCE - 1, 2 * AT_ONCE + 7]] {
        let parts = [&bytes[..cuts[0]], &bytes[cuts[0]..cuts[1]], &bytes[cuts[1]..]];
        write(&path, &parts).unwrap();
        assert!(fs::read(&path).unwrap() == bytes, "{cuts:?}");
    }
}
