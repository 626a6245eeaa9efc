//! Every rule broken on purpose is found, and what finds it holds where nothing is broken.

use super::{Options, Plant, run};

/// Seeds within which a planted fault has to be found. Most are within five.
const SEEDS: u64 = 200;

/// Where to begin with those that few runs come to: a lease has to be outlived while somebody else decides.
const fn first_seed(plant: Plant) -> u64 {
    match plant {
        Plant::LeaseOutlived => 60,
        _ => 0,
    }
}

/// The first seed that finds the plant holds without it.
#[track_caller]
fn is_found(plant: Plant) {
    let planted = Options { plant: Some(plant), shape: plant.shape(), ..Options::default() };
    let first = first_seed(plant);
    let found = (first..first + SEEDS).map(|seed| run(seed, &planted)).find(|outcome| outcome.violation.is_some());
    let found = found.unwrap_or_else(|| panic!("{} was not found in {SEEDS} seeds", plant.name()));
    println!("{}: {found}", plant.name());
    let sound = run(found.seed, &Options { plant: None, ..planted });
    assert!(sound.violation.is_none(), "without {}: {sound}", plant.name());
}

macro_rules! rows {
    ($($name:ident: $plant:ident,)*) => {
        const ROWS: &[Plant] = &[$(Plant::$plant,)*];
        $(
            #[test]
            fn $name() {
                is_found(Plant::$plant);
            }
        )*
    };
}

rows! {
    an_ack_before_the_append: AckBeforeAppend,
    a_sync_that_lies: LyingSync,
    a_gap_that_is_ignored: GapIgnored,
    an_append_that_is_not_known_again: DedupeOff,
    an_outbox_that_forgets_at_the_send: OutboxDroppedAtSend,
    saved_before_it_is_stored: SavedBeforeStored,
    an_older_state_over_a_newer_one: StateOverwritten,
    a_site_that_is_continued: SiteContinued,
    a_frame_that_is_lost_unnoticed: FanOutLost,
    an_ack_that_goes_back: AckBackwards,
    a_torn_snapshot: TornSnapshot,
    a_state_older_than_its_vector: SnapshotAhead,
    a_site_that_is_continued_if_a_server_agrees: SiteContinuedIfAgreed,
    what_is_sent_decided_by_what_the_room_has_seen: SentBySeen,
    dots_beyond_a_hole_not_held: BeyondHoleSkipped,
    what_was_held_not_released: HeldForEver,
    a_sync_without_proofs: SyncsUntagged,
    offsets_not_of_the_pair_of_logs: OffsetsSurvivePeer,
    a_new_log_not_fed: PeerNotFed,
    a_log_trimmed_early: TrimmedEarly,
    frames_not_stored_with_their_state: FramesNotStored,
    a_lease_that_is_outlived: LeaseOutlived,
    a_pair_below_the_highest_record: PairedLow,
}

/// What no seed comes to often enough is told step by step, in the named cases.
const TOLD: &[Plant] = &[Plant::FirstOriginKept, Plant::HoleLeftOpen, Plant::KeptToOneself];

#[test]
fn every_plant_has_its_row() {
    let without_row = |plant: &&Plant| !ROWS.contains(plant) && !TOLD.contains(plant);
    assert_eq!(Plant::ALL.iter().find(without_row), None);
}
