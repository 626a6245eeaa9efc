//! The contract of [`LogReader`]: groups that share out a log's partitions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{EntryContent, LogReader, Reading, RegionLog};
use crate::contract::document;
use crate::{DocumentId, Error, LogRecord, Position};

/// Long enough that nothing more comes within it where nothing is to come.
const QUIET: Duration = Duration::from_millis(300);
/// Turns of two members before they must have settled.
const TURNS_MAX: usize = 400;

/// Holds a log's groups to their contract. Group names begin with `contract-`; none of them may have committed before.
///
/// # Panics
/// Where the contract is broken.
pub async fn log_readers(log: &dyn RegionLog) {
    bounds(log).await;
    one_reads_everything(log).await;
    what_is_not_committed_is_read_again(log).await;
    commits_are_checked(log).await;
    members_share(log).await;
}

fn name(number: usize) -> DocumentId {
    document(&format!("read-{number}"))
}

/// Writes one record of that text to each of eight documents.
async fn write(log: &dyn RegionLog, text: &str) {
    let record = |number| LogRecord::new(name(number), 1, "anon:contract".to_owned(), text.as_bytes().to_vec());
    log.append((0..8).map(record).collect()).await.expect("append");
}

/// A member, and what it was told.
struct Told {
    reader: Box<dyn LogReader>,
    owned: BTreeSet<u32>,
    /// Where each partition's next page must begin.
    at: BTreeMap<u32, u64>,
    seen: Vec<(Position, String)>,
    caught_up: BTreeSet<u32>,
}

impl Told {
    async fn join(log: &dyn RegionLog, group: &str) -> Self {
        let reader = log.join(group).await.expect("a group is joined");
        let (owned, at, seen, caught_up) = Default::default();
        Self { reader, owned, at, seen, caught_up }
    }

    /// One turn; answers whether anything came.
    async fn turn(&mut self, wait: Duration) -> bool {
        match self.reader.next(wait).await.expect("the log is there") {
            Reading::Assigned(assignments) => {
                for assignment in assignments {
                    assert!(self.owned.insert(assignment.partition), "a partition is assigned once: {assignment:?}");
                    assert!(assignment.committed.is_none_or(|committed| assignment.from >= committed));
                    self.at.insert(assignment.partition, assignment.from);
                    self.caught_up.remove(&assignment.partition);
                }
            }
            Reading::Revoked(partitions) | Reading::Lost(partitions) => {
                for partition in partitions {
                    assert!(self.owned.remove(&partition), "only what was assigned is taken away");
                }
            }
            Reading::Page(page) => {
                let partition = page.next.partition;
                assert!(self.owned.contains(&partition), "pages come of the member's own partitions");
                let at = self.at.get_mut(&partition).expect("an assigned partition has a place");
                for entry in page.entries {
                    assert!(entry.position.offset >= *at && entry.position.offset < page.next.offset, "in order");
                    *at = entry.position.offset + 1;
                    if let EntryContent::Record(record) = entry.content
                        && record.document.as_str().starts_with("contract/read-")
                    {
                        let text = String::from_utf8_lossy(&record.delta).into_owned();
                        self.seen.push((entry.position, format!("{} {text}", record.document)));
                    }
                }
                *at = page.next.offset;
                if page.at_end {
                    self.caught_up.insert(partition);
                } else {
                    self.caught_up.remove(&partition);
                }
            }
            Reading::Idle => return false,
        }
        true
    }

    /// Reads until it has all of `texts` of every document, in order.
    async fn read_until(&mut self, texts: &[&str]) {
        for _ in 0..TURNS_MAX {
            if (0..8).all(|number| self.texts(number).ends_with(texts)) {
                return;
            }
            self.turn(QUIET).await;
        }
        panic!("{texts:?} never came: {:?}", self.seen);
    }

    fn texts(&self, number: usize) -> Ends {
        let prefix = format!("{} ", name(number));
        Ends(self.seen.iter().filter_map(|(_, text)| text.strip_prefix(&prefix).map(str::to_owned)).collect())
    }

    async fn commit_all(&mut self) {
        for (&partition, &offset) in self.at.iter().filter(|(partition, _)| self.owned.contains(partition)) {
            let mut attempts = 0;
            // A group that shares out anew takes no commits for a moment.
            while let Err(error) = self.reader.commit(partition, offset).await {
                assert!(error.kind() == "unavailable" && attempts < TURNS_MAX, "what was read is committed: {error}");
                attempts += 1;
                tokio::time::sleep(QUIET).await;
            }
        }
    }
}

/// The texts of one document in the order they came.
struct Ends(Vec<String>);

impl Ends {
    fn ends_with(&self, texts: &[&str]) -> bool {
        self.0.len() >= texts.len() && self.0[self.0.len() - texts.len()..].iter().eq(texts.iter())
    }
}

async fn bounds(log: &dyn RegionLog) {
    write(log, "bounds").await;
    for number in 0..8 {
        let partition = log.partition(&name(number));
        let bounds = log.bounds(partition).await.expect("a partition has bounds");
        assert_eq!((bounds.start.log, bounds.start.partition), (log.log_id(), partition));
        assert!(bounds.start.offset < bounds.end.offset, "something lies there");
        assert_eq!(bounds.end, log.head(&name(number)).await.expect("head"));
    }
    let refused = log.bounds(log.partitions()).await;
    assert!(matches!(refused, Err(Error::Invalid(_))), "there is no such partition: {refused:?}");
}

async fn one_reads_everything(log: &dyn RegionLog) {
    let mut only = Told::join(log, "contract-one").await;
    write(log, "a").await;
    only.read_until(&["bounds", "a"]).await;
    assert_eq!(only.owned.len(), log.partitions() as usize, "the only member has every partition");
    write(log, "b").await;
    only.read_until(&["a", "b"]).await;
    while only.turn(QUIET).await {}
    only.commit_all().await;
    for (&partition, &offset) in &only.at {
        let kept = log.progress("contract-one", partition).await.expect("progress");
        assert_eq!(kept, Some(offset), "everybody can read how far the group is");
    }
    let outsider = log.commit_progress("contract-one", log.partition(&name(0)), 0).await;
    assert!(matches!(outsider, Err(Error::Conflict { .. })), "only members commit: {outsider:?}");
    only.reader.leave().await.expect("leave");

    write(log, "c").await;
    let mut next = Told::join(log, "contract-one").await;
    next.read_until(&["c"]).await;
    assert_eq!(next.seen.len(), 8, "reading goes on where the group had come to: {:?}", next.seen);
    next.reader.leave().await.expect("leave");
}

async fn what_is_not_committed_is_read_again(log: &dyn RegionLog) {
    let mut first = Told::join(log, "contract-again").await;
    first.read_until(&["a", "b", "c"]).await;
    let partition = log.partition(&name(0));
    let (position, _) =
        first.seen.iter().find(|(position, _)| position.partition == partition).expect("it has some").clone();
    first.reader.rewind(partition, position.offset).await.expect("a member goes back");
    first.at.insert(partition, position.offset);
    first.seen.clear();
    first.read_until_document(0, &["bounds", "a", "b", "c"]).await;
    first.reader.leave().await.expect("leave");
    let mut next = Told::join(log, "contract-again").await;
    next.read_until(&["bounds", "a", "b", "c"]).await;
    next.reader.leave().await.expect("leave");
}

impl Told {
    async fn read_until_document(&mut self, number: usize, texts: &[&str]) {
        for _ in 0..TURNS_MAX {
            if self.texts(number).ends_with(texts) {
                return;
            }
            self.turn(QUIET).await;
        }
        panic!("{texts:?} of document {number} never came: {:?}", self.seen);
    }
}

async fn commits_are_checked(log: &dyn RegionLog) {
    let mut member = Told::join(log, "contract-checked").await;
    let foreign = member.reader.commit(log.partition(&name(0)), 0).await;
    assert!(matches!(foreign, Err(Error::Conflict { .. })), "nothing is its own yet: {foreign:?}");
    member.read_until(&["c"]).await;
    let partition = log.partition(&name(0));
    let beyond = member.reader.commit(partition, member.at[&partition] + 1000).await;
    assert!(matches!(beyond, Err(Error::BeyondEnd { .. })), "what it was not given is not done: {beyond:?}");
    member.reader.leave().await.expect("leave");
}

async fn members_share(log: &dyn RegionLog) {
    let all: BTreeSet<u32> = (0..log.partitions()).collect();
    let group = "contract-shared";
    let mut one = Told::join(log, group).await;
    one.read_until(&["c"]).await;
    one.commit_all().await;
    let mut two = Told::join(log, group).await;
    let share = if log.partitions() > 1 { 1 } else { 0 };
    let settled = |one: &Told, two: &Told| {
        one.owned.is_disjoint(&two.owned) && one.owned.union(&two.owned).eq(&all) && two.owned.len() >= share
    };
    for turn in 0.. {
        assert!(turn < TURNS_MAX, "the members settle: {:?} and {:?}", one.owned, two.owned);
        // In turn, as two processes would: a member that is asked for a partition gives it up at its next call.
        tokio::join!(one.turn(QUIET), two.turn(QUIET));
        if settled(&one, &two) {
            break;
        }
    }
    write(log, "d").await;
    for turn in 0.. {
        assert!(turn < TURNS_MAX, "everything is read by one or the other");
        tokio::join!(one.turn(QUIET), two.turn(QUIET));
        let has = |number| one.texts(number).ends_with(&["d"]) || two.texts(number).ends_with(&["d"]);
        if (0..8).all(has) {
            break;
        }
    }
    let both = (0..8).filter(|&number| one.texts(number).ends_with(&["d"]) && two.texts(number).ends_with(&["d"]));
    assert_eq!(both.count(), 0, "a partition is one member's at a time");
    one.commit_all().await;
    two.commit_all().await;
    one.reader.leave().await.expect("leave");
    for turn in 0.. {
        assert!(turn < TURNS_MAX, "the one who stays gets everything: {:?}", two.owned);
        two.turn(QUIET).await;
        if two.owned == all {
            break;
        }
    }
    write(log, "e").await;
    two.seen.clear();
    two.read_until(&["e"]).await;
    assert_eq!(two.seen.len(), 8, "and nothing twice that was committed: {:?}", two.seen);
    two.reader.leave().await.expect("leave");
}
