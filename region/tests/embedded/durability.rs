//! What a data folder promises: acknowledged means on the disk, whole, and there after a crash, a full disk or a restore.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rand::RngExt;
use selvedge_engine::VersionVector;
use selvedge_region::embedded::{EmbeddedOptions, EmbeddedRegion, backup};
use selvedge_region::{DocumentId, DocumentKey, EntryContent, Error, LogRecord, NewDocument, Reading, RegionLog};

const CRASHES: usize = 20;
const CHILD_FOLDER: &str = "SELVEDGE_TEST_CHILD_FOLDER";

fn document(name: &str) -> DocumentId {
    DocumentId::new("test", name).unwrap()
}

fn record(name: &str, text: &str) -> LogRecord {
    LogRecord::new(document(name), 1, "anon:test".to_owned(), text.as_bytes().to_vec())
}

async fn open(folder: &Path) -> EmbeddedRegion {
    EmbeddedRegion::open(EmbeddedOptions::new(folder)).await.unwrap()
}

/// The texts of a document's records; every record must be whole.
async fn texts(log: &dyn RegionLog, name: &str) -> Vec<String> {
    let document = document(name);
    let (mut texts, mut from) = (Vec::new(), None);
    loop {
        let page = log.tail(&document, from, 1000).await.unwrap();
        for entry in page.entries {
            let EntryContent::Record(record) = entry.content else { panic!("a torn record: {entry:?}") };
            texts.push(String::from_utf8(record.delta).unwrap());
        }
        if page.at_end {
            return texts;
        }
        from = Some(page.next);
    }
}

/// What the child of `a_killed_process_loses_nothing_acknowledged` does until it is killed.
async fn append_until_killed(folder: &Path) {
    let region = open(folder).await;
    let writer = |writer: usize| {
        let log = region.region().log.clone();
        async move {
            let start = texts(&*log, &format!("w{writer}")).await.len();
            for number in start.. {
                let padding = "x".repeat(number % 3000);
                log.append(vec![record(&format!("w{writer}"), &format!("{number} {padding}"))]).await.unwrap();
                let mut out = std::io::stdout().lock();
                writeln!(out, "acked {writer} {number}").unwrap();
                out.flush().unwrap();
            }
        }
    };
    futures_util::future::join_all((0..4).map(writer)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_loses_nothing_acknowledged() {
    // The test starts itself as the child that it kills.
    if let Some(folder) = std::env::var_os(CHILD_FOLDER) {
        return append_until_killed(Path::new(&folder)).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut acked = [0_usize; 4];
    for crash in 0..CRASHES {
        run_and_kill(folder.path(), &mut acked);
        let region = open(folder.path()).await;
        for (writer, acked) in acked.iter_mut().enumerate() {
            let kept = texts(&*region.region().log, &format!("w{writer}")).await;
            assert!(kept.len() >= *acked, "crash {crash}: {acked} were acknowledged and {} are there", kept.len());
            for (number, text) in kept.iter().enumerate() {
                assert!(text.starts_with(&format!("{number} ")), "crash {crash}: in order, none twice");
            }
            // What was written but not yet acknowledged may be there, and the next child goes on after it.
            *acked = kept.len();
        }
        region.close().await;
    }
    assert!(acked.iter().sum::<usize>() > CRASHES, "the children did write: {acked:?}");
}

/// Runs the child, kills it at a random moment after its first acknowledgement, and notes what it acknowledged.
fn run_and_kill(folder: &Path, acked: &mut [usize; 4]) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "durability::a_killed_process_loses_nothing_acknowledged", "--nocapture"])
        .env(CHILD_FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut note = |line: &str| {
        let mut words = line.split(' ').skip_while(|word| *word != "acked").skip(1);
        let (Some(writer), Some(number)) = (words.next(), words.next()) else { return false };
        let (writer, number): (usize, usize) = (writer.parse().unwrap(), number.parse().unwrap());
        acked[writer] = acked[writer].max(number + 1);
        true
    };
    while !note(&lines.next().expect("the child acknowledges something before it ends").unwrap()) {}
    let kill_at = Instant::now() + Duration::from_micros(rand::rng().random_range(0..60_000));
    while Instant::now() < kill_at {
        note(&lines.next().expect("the child runs until it is killed").unwrap());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What the pipe still holds was acknowledged before the kill; its last line may be torn.
    let rest: Vec<_> = lines.map_while(Result::ok).collect();
    for line in rest.split_last().map_or(&[][..], |(_, whole)| whole) {
        note(line);
    }
}

#[tokio::test]
async fn a_folder_has_one_owner_and_keeps_its_log_id() {
    let folder = tempfile::tempdir().unwrap();
    let region = open(folder.path()).await;
    let id = region.log_id();
    let second = EmbeddedRegion::open(EmbeddedOptions::new(folder.path())).await;
    let Err(refused @ Error::Locked { .. }) = second else { panic!("a second owner is refused") };
    assert!(refused.to_string().contains("--data"), "{refused}");
    region.region().log.append(vec![record("a", "kept")]).await.unwrap();
    let log = region.region().log.clone();
    region.close().await;
    assert!(matches!(log.append(vec![record("a", "late")]).await, Err(Error::Closed { .. })), "closed is told");

    let region = open(folder.path()).await;
    assert_eq!(region.log_id(), id, "a log keeps its id");
    assert_eq!(texts(&*region.region().log, "a").await, ["kept"]);
    region.close().await;
    let other = tempfile::tempdir().unwrap();
    let region = open(other.path()).await;
    assert_ne!(region.log_id(), id, "every log has an id of its own");
    region.close().await;
}

/// A process being started has copies of this one's descriptors until it executes its program; they keep no folder locked.
#[tokio::test]
async fn a_closed_folder_is_free_while_a_process_is_being_started() {
    use std::os::unix::process::CommandExt;
    let folder = tempfile::tempdir().unwrap();
    let region = open(folder.path()).await;
    let mut child = Command::new("true");
    // SAFETY: between fork and exec the child only sleeps, a system call that is safe there.
    unsafe {
        child.pre_exec(|| {
            std::thread::sleep(Duration::from_secs(2));
            Ok(())
        });
    }
    let starting = std::thread::spawn(move || child.status().unwrap());
    // The fork is over long before; were it not, the test would only see less than it could.
    tokio::time::sleep(Duration::from_millis(500)).await;
    region.close().await;
    open(folder.path()).await.close().await;
    assert!(starting.join().unwrap().success());
}

#[tokio::test]
async fn a_broken_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "not a folder").unwrap();
    let refused = EmbeddedRegion::open(EmbeddedOptions::new(&file)).await.err().unwrap();
    assert_eq!(refused.kind(), "unavailable");
    let cause = std::error::Error::source(&refused).unwrap().to_string();
    assert!(cause.contains("file"), "the folder is named: {cause}");

    std::fs::write(folder.path().join("selvedge.db"), vec![0x55; 8192]).unwrap();
    let refused = EmbeddedRegion::open(EmbeddedOptions::new(folder.path())).await.err().unwrap();
    assert_eq!(refused.kind(), "corrupt", "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_taken_while_others_write_and_restored_under_a_new_log_id() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), folder.path().join("copy.db"));
    let region = open(&data).await;
    let (log, control) = (region.region().log.clone(), region.region().control.clone());
    let key = DocumentKey::new(document("a"), 1);
    let new = NewDocument { document: key.document.clone(), creator: "anon:test".to_owned(), now_ms: 1 };
    control.create(new).await.unwrap();
    let nothing = VersionVector::new();
    let leased = control.lease_site(&key, "anon:test", &nothing).await.unwrap().site;
    control.release_site(&key, leased, "anon:test", 3).await.unwrap();
    log.append((0..500).map(|number| record("a", &number.to_string())).collect()).await.unwrap();

    let writing = log.clone();
    let (started, mut running) = tokio::sync::mpsc::channel(1);
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let writer = tokio::spawn(async move {
        let mut number = 500;
        while stopped.try_recv().is_err() {
            writing.append(vec![record("a", &number.to_string())]).await.unwrap();
            number += 1;
            let _ = started.try_send(());
        }
        number
    });
    running.recv().await.unwrap();
    backup(&data, &file).await.unwrap();
    stop.send(()).unwrap();
    let written = writer.await.unwrap();
    assert!(matches!(region.backup(&file).await, Err(Error::Exists { .. })), "no backup is overwritten");
    let seen = log.head(&key.document).await.unwrap();
    let id = region.log_id();
    region.close().await;

    let restored = folder.path().join("restored");
    std::fs::create_dir(&restored).unwrap();
    std::fs::copy(&file, restored.join("selvedge.db")).unwrap();
    let region =
        EmbeddedRegion::open(EmbeddedOptions { restored: true, ..EmbeddedOptions::new(&restored) }).await.unwrap();
    let kept = texts(&*region.region().log, "a").await;
    assert!(kept.len() >= 500 && kept.len() <= written, "{} of {written}", kept.len());
    assert!(kept.iter().enumerate().all(|(number, text)| *text == number.to_string()), "a prefix, without holes");
    assert_ne!(region.log_id(), id, "what was seen of the lost end is never mistaken for what comes now");
    let asked = region.region().log.tail(&key.document, Some(seen), 10).await;
    assert!(matches!(asked, Err(Error::BeyondEnd { .. })), "{asked:?}");
    let logged = [(leased, 3)].into_iter().collect();
    for principal in ["anon:test", "anon:other"] {
        let next = region.region().control.lease_site(&key, principal, &logged).await.unwrap();
        assert!(next.site.get() >= 1 << 16, "no site that may live on in a client is given out: {}", next.site);
    }
    let unknown = DocumentKey::new(document("created-after-the-backup"), 1);
    let next = region.region().control.lease_site(&unknown, "anon:test", &nothing).await.unwrap();
    assert!(next.site.get() >= 1 << 16, "nor of a document that the backup does not know");
    region.close().await;
}

/// Without `--restored`, a folder put back is found out by the first client that has seen more.
#[tokio::test]
async fn a_rolled_back_folder_is_found_out() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), folder.path().join("copy.db"));
    let region = open(&data).await;
    let log = region.region().log.clone();
    log.append(vec![record("a", "1")]).await.unwrap();
    region.backup(&file).await.unwrap();
    log.append(vec![record("a", "2")]).await.unwrap();
    let seen = log.head(&document("a")).await.unwrap();
    region.close().await;
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::create_dir(&data).unwrap();
    std::fs::copy(&file, data.join("selvedge.db")).unwrap();
    let region = open(&data).await;
    assert_eq!(region.log_id(), seen.log);
    let asked = region.region().log.tail(&document("a"), Some(seen), 10).await;
    let Err(Error::BeyondEnd { asked, end }) = asked else { panic!("{asked:?}") };
    assert_eq!((asked, end.offset), (seen, 1));
    region.close().await;
}

/// A mounted file system of a few megabytes, unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Option<Self> {
        let arguments = ["-t", "tmpfs", "-o", "size=6m", "tmpfs"];
        let mounted = Command::new("mount").args(arguments).arg(at).stderr(Stdio::null()).status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_acknowledges_nothing_and_tears_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(folder.path()) else {
        eprintln!("skipped: a_full_disk_acknowledges_nothing_and_tears_nothing (mounting a small tmpfs needs root)");
        return;
    };
    let (data, filler) = (disk.0.join("data"), disk.0.join("filler"));
    let mut acked = 0;
    for round in 0..5 {
        let region = open(&data).await;
        let log = region.region().log.clone();
        log.append(vec![record("a", &format!("{acked} opened"))]).await.unwrap();
        acked += 1;
        fill(&filler);
        let full = loop {
            let text = format!("{acked} {}", "x".repeat(9000));
            match log.append(vec![record("a", &text)]).await {
                Ok(_) => acked += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), "full", "round {round}: {full:?}");
        assert!(full.retryable());
        assert!(log.append(vec![record("a", &"y".repeat(60_000))]).await.is_err(), "it stays full");
        let kept = texts(&*log, "a").await;
        assert_eq!(kept.len(), acked, "round {round}: what was refused is not there, what was acknowledged is");
        if round % 2 == 0 {
            std::fs::remove_file(&filler).unwrap();
            let text = format!("{acked} healed");
            log.append(vec![record("a", &text)]).await.expect("with room again the log goes on by itself");
            acked += 1;
        }
        region.close().await;
        let _ = std::fs::remove_file(&filler);
        let region = open(&data).await;
        let kept = texts(&*region.region().log, "a").await;
        assert!(kept.iter().enumerate().all(|(number, text)| text.starts_with(&format!("{number} "))));
        assert_eq!(kept.len(), acked, "round {round}: the same after a restart");
        region.close().await;
        // Begin the next round in a fresh folder: the small disk would fill up for good.
        std::fs::remove_dir_all(&data).unwrap();
        acked = 0;
    }
}

/// Leaves no byte free.
fn fill(filler: &Path) {
    let mut file = std::fs::File::create(filler).unwrap();
    for block in [vec![7_u8; 65_536], vec![7_u8; 1]] {
        while file.write_all(&block).is_ok() {}
    }
}

/// A commit is on the disk a moment before the log tells its new end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_beside_appends_gets_every_record_once_and_in_order() {
    const RECORDS: u64 = 1_000;
    let folder = tempfile::tempdir().unwrap();
    let region = open(folder.path()).await;
    let log = region.region().log.clone();
    let appends = {
        let log = log.clone();
        tokio::spawn(async move {
            for number in 0..RECORDS {
                log.append(vec![record("a", &number.to_string())]).await.unwrap();
            }
        })
    };
    let mut reader = log.join("beside").await.unwrap();
    let mut read = 0;
    while read < RECORDS {
        match reader.next(Duration::from_secs(10)).await.unwrap() {
            Reading::Page(page) => {
                for entry in &page.entries {
                    assert_eq!(entry.position.offset, read);
                    read += 1;
                }
                assert_eq!(page.next.offset, read);
            }
            Reading::Assigned(_) => {}
            other => panic!("{other:?}"),
        }
    }
    appends.await.unwrap();
    reader.leave().await.unwrap();
    region.close().await;
}
