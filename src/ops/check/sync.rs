//! Chains of sync segments: whether each follows the one before it, and what they add to can be read.

use super::{Check, is_about_data};
use crate::error::Result;
use crate::ops::sync::{Fate, fate};
use crate::repository::{Chain, Repository};

impl Check<'_> {
    pub(super) fn chains(&mut self) -> Result<()> {
        let repository = self.repository().clone();
        let chains = repository.chains()?;
        for (path, _) in repository.store().list("sync/")? {
            if !Chain::is_part(&path) {
                self.note(path, "not an object of this repository");
            }
        }
        for chain in &chains {
            self.chain(&repository, chain)?;
        }
        Ok(())
    }

    fn chain(&mut self, repository: &Repository, chain: &Chain) -> Result<()> {
        let live: Vec<_> = self.snapshots.iter().collect();
        let path = || chain.objects.values().next().map_or_else(String::new, ToString::to_string);
        if fate(repository, chain, &live)? == Fate::Contained {
            self.report.suggest_prune = true;
            self.note(path(), "of a chain that a snapshot contains, not removed yet");
            return Ok(());
        }
        let read = || -> Result<_> {
            let Some((opening, hash)) = repository.read_opening(chain)? else { return Ok(None) };
            repository.read_segments(chain, hash, &mut |_, _| Ok(()))?;
            Ok(Some(opening))
        };
        match read() {
            Ok(None) => self.note(path(), "of a chain without its beginning: never acknowledged, or being removed"),
            Ok(Some(opening)) => {
                self.report.chains += 1;
                self.report.segments += chain.objects.len() as u64 - 1;
                if self.snapshots.iter().all(|snapshot| snapshot.id != opening.base.id) {
                    // It was forgotten, and what it reaches is needed all the same.
                    let mut base = opening.base;
                    base.id = chain.session;
                    self.snapshots.push(base);
                }
            }
            // Folded, and removed, while it was read.
            Err(_) if repository.find_chain(chain.session)?.is_none_or(|chain| !chain.is_open()) => {}
            Err(error) if is_about_data(&error) => {
                self.damage(error.object(), error.message());
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
