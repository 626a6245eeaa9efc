//! What a region's log holds alone when the region is lost: written while nothing crosses the link, acknowledged there, by
//! somebody who is gone with it. It has to come out when the region comes back.

use std::time::Duration;

use anyhow::Context;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use selvedge_client::{AckLevel, ClientOptions, Handle, OpenOptions};
use tokio::time::{Instant, sleep, timeout};

use crate::fleet::{self, Fleet};
use crate::history::{Breach, Final};

/// Characters of one edit.
const WORD: usize = 8;
const LOOK: Duration = Duration::from_millis(200);

/// A document that one region holds alone.
#[derive(Debug)]
pub(super) struct Stranded {
    name: String,
    text: String,
}

impl Stranded {
    /// Writes `operations` characters at the first relay of the home region, each edit elsewhere in the text, waits until
    /// the region acknowledges them, and goes without a word.
    pub(super) async fn write(fleet: &Fleet, operations: usize, within: Duration) -> anyhow::Result<Self> {
        let name = format!("{}stranded", super::run::DOCUMENTS);
        let handle = Handle::connect(&fleet.regions[0].urls[0], ClientOptions::default())?;
        let doc = handle.open(&name, OpenOptions::default()).await?;
        timeout(within, doc.when_synced()).await.context("the text to be stranded was not opened in time")??;
        let mut random = ChaCha8Rng::seed_from_u64(operations as u64);
        for edit in 0..operations / WORD {
            let word = format!("{edit:07} ");
            doc.replace(random.random_range(0..=edit) * WORD, 0, &word)?;
            // As somebody would who types; one push for all of it would be one record.
            if edit % 16 == 0 {
                sleep(Duration::from_millis(1)).await;
            }
        }
        timeout(within, doc.when_saved(AckLevel::Region))
            .await
            .context("what is to be stranded was not acked in time")??;
        Ok(Self { text: doc.text(), name })
    }

    /// The document's whole name.
    pub(super) fn document(&self) -> String {
        format!("default/{}", self.name)
    }

    /// Waits until every relay answers with all of it, or time is up; answers how long that took.
    pub(super) async fn arrived(&self, fleet: &Fleet, within: Duration) -> Duration {
        let begin = Instant::now();
        for url in fleet.regions.iter().flat_map(|region| &region.urls) {
            let path = format!("/v1/docs/{}/text", self.document());
            while begin.elapsed() < within && !fleet::get(url, &path).await.is_ok_and(|text| text == self.text) {
                sleep(LOOK).await;
            }
        }
        begin.elapsed()
    }

    /// Takes what everybody has of it from `finals`; answers the places where something is missing, or is twice.
    pub(super) fn judge(&self, finals: &mut Vec<Final>) -> Vec<Breach> {
        let own: Vec<Final> = finals.extract_if(.., |end| end.document == self.document()).collect();
        let wrong = own.iter().filter(|end| end.text != self.text);
        let breach = |end: &Final| Breach {
            invariant: "I1",
            detail: format!(
                "{:?} has {} characters of the {} that a region held alone",
                end.place,
                end.text.len(),
                self.text.len()
            ),
        };
        wrong.map(breach).collect()
    }
}
