use super::*;

#[test]
fn identities_do_not_tell_runs_apart() {
    let line = "put checkpoint/state/owner/.probe-5ab1e5fe-0000-4000-8000-00000000c0de fails";
    assert_eq!(without_ids(line), "put checkpoint/state/owner/.probe-<id> fails");
    assert_eq!(
        without_ids("/dev/shm/tidegate-crash-a1B2c3/checkpoint is full"),
        "/dev/shm/<folder>/checkpoint is full"
    );
}
