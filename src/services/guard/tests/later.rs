//! Bans that are written later.

use super::*;

#[tokio::test]
async fn of_bans_that_are_written_later_those_that_hold_are_first_and_forgotten_ones_are_not() {
    let world = World::new();
    let system = world.permit(Action::MaintainStore);
    let _turns =
        world.guard.0.unwritten.acquire_many(super::super::UNWRITTEN as u32).await.expect("never closed");
    let ban = |first: u8, many: u8| {
        for number in 0..many {
            let from = IpAddr::from([first, 0, 0, number]);
            for guess in [b"1", b"2", b"3"] {
                world.guard.wrong(from, Wrong::Login, &[guess], true);
            }
        }
    };
    let forget = world.guard.0.options.load().forget_ms;
    let first = |limit: usize, after: u64| {
        let bans = world.guard.0.book.to_write(limit, BEGIN + after, forget);
        bans.into_iter().map(|(_, ban)| ban.since).collect::<Vec<_>>()
    };
    ban(11, 3);
    world.clock.set(BEGIN + 60 * MINUTE);
    let later = world.guard.0.clock.now_ms();
    ban(12, 2);
    let holds = later - BEGIN + 1;
    assert_eq!(first(3, holds), [later, later, BEGIN], "though their addresses come later");
    assert_eq!(first(9, forget + 40 * MINUTE), [later, later], "the others are forgotten");
    let before = world.meta.status().change_sets;
    assert_eq!(world.guard.write_rest(&system).await.expect("written"), 5);
    let events = world.meta.page::<EventKey>(&[], None, 10).expect("readable");
    let sets = world.meta.status().change_sets - before;
    assert_eq!((world.rows(), events.len(), sets), (5, 5, 1), "one change set");
}
