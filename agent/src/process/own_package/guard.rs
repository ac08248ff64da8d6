//! The guard: sees an update of the agent to its end, whatever becomes of the agent.
//!
//! It is a service of its own, and runs a copy of the program that began the update: it
//! depends on nothing that the package brings but on the unit that starts it, which was
//! there before. Killed or without power, it goes on from the record.

use std::path::Path;
use std::time::{Duration, Instant};

use super::OwnPackageError;
use super::package::{self, PROGRAM, installed_of};
use super::place::{Kept, Place, copy};
use super::record::{Act, End, Fault, Installed, Next, Process, Record, Seen, Stage, Why};
use super::{service, way_back};
use crate::boundary::{Boundary, boundary};
use crate::durable;
use crate::effects::chain;

const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Before dpkg is asked again to put the former package back; so many times longer each time.
const TRY_AGAIN: Duration = Duration::from_secs(2);

pub fn finish(directory: &Path) -> Result<(), OwnPackageError> {
    let place = Place::new(directory);
    let Some(_lock) = place.lock()? else {
        tracing::info!("another guard is at it");
        return Ok(());
    };
    let Some(record) = place.record() else {
        tracing::info!("there is no update to see to its end");
        return Ok(());
    };
    let guard = Guard {
        place,
        record,
        tries_since: None,
    };
    guard.see_to_its_end()
}

struct Guard {
    place: Place,
    record: Record,
    /// Since when the new agent has had time, while this guard is there.
    tries_since: Option<Instant>,
}

impl Guard {
    fn see_to_its_end(mut self) -> Result<(), OwnPackageError> {
        loop {
            let seen = self.look()?;
            match self.record.next(&seen) {
                Next::Wait => std::thread::sleep(LOOK_EVERY),
                Next::Note(stage) => self.note(stage)?,
                Next::Do(act) => match self.act(act) {
                    Ok(()) => {
                        if let Some(stage) = self.record.done(act) {
                            self.note(stage)?;
                        }
                    }
                    Err(why) => {
                        tracing::error!(?act, why = why.text, "this part of the update failed");
                        let installed = installed_of(&self.record);
                        self.note(self.record.failed(act, why, installed))?;
                    }
                },
                Next::Over => return self.tidy(),
            }
        }
    }

    fn note(&mut self, stage: Stage) -> Result<(), OwnPackageError> {
        let Record { from, to, .. } = &self.record;
        tracing::info!(
            from = from.version,
            to = to.version,
            ?stage,
            "update of the agent"
        );
        self.record.stage = stage;
        self.place.write_record(&self.record)?;
        boundary(Boundary::UpdateNoted);
        Ok(())
    }

    fn look(&mut self) -> Result<Seen, OwnPackageError> {
        let mut seen = Seen {
            installed: Installed::Neither,
            has_way_back: false,
            agent: None,
            ill: None,
            reached: None,
            is_late: false,
        };
        match &self.record.stage {
            Stage::Begun => seen.has_way_back = self.place.keeps(&self.record.from),
            Stage::Installing => {
                seen.installed = installed_of(&self.record);
                seen.agent = service::look(service::AGENT)?.main;
            }
            Stage::Trying { .. } => {
                let agent = service::look(service::AGENT)?;
                seen.ill = agent.ill();
                seen.agent = agent.main;
                seen.reached = self.place.reached().filter(|by| {
                    // Whatever else runs on this machine proves nothing.
                    by.is_alive() && service::is_of_the_agent(by.id)
                });
                let since = *self.tries_since.get_or_insert_with(Instant::now);
                seen.is_late = since.elapsed() >= self.record.within.as_duration();
            }
            Stage::GoingBack { .. } => seen.installed = installed_of(&self.record),
            Stage::Back { .. } | Stage::Ended(_) => {}
        }
        Ok(seen)
    }

    fn act(&mut self, act: Act) -> Result<(), Why> {
        let plain = |error: OwnPackageError| Why {
            text: chain(&error),
            fault: Fault::Infrastructure,
        };
        match act {
            Act::KeepWayBack => way_back::keep(&self.place, &self.record.from).map_err(plain),
            Act::Install => {
                package::install(&self.place, &self.place.path("new.deb"))?;
                match installed_of(&self.record) {
                    Installed::New => Ok(()),
                    Installed::Former | Installed::Neither => Err(Why {
                        text: "dpkg was content, and something else is installed".to_owned(),
                        fault: Fault::Release,
                    }),
                }
            }
            Act::Restart => {
                self.place.forget_reached().map_err(|error| plain(error.into()))?;
                service::restart_agent().map_err(plain)?;
                self.tries_since = None;
                Ok(())
            }
            Act::InstallFormer => self.install_former(),
            Act::PutFormerProgram => {
                let copied = copy(&self.place.path("guard"), Path::new(PROGRAM), 0o755);
                copied.map(drop).map_err(|error| plain(error.into()))
            }
        }
    }

    /// Counts as failed as long as it is not the former one that is installed.
    fn install_former(&self) -> Result<(), Why> {
        let Stage::GoingBack { attempts, .. } = &self.record.stage else {
            return Ok(());
        };
        if *attempts > 0 {
            std::thread::sleep(TRY_AGAIN * 2_u32.saturating_pow(*attempts));
            if let Err(why) = package::configure(&self.place) {
                tracing::warn!(why = why.text, "dpkg cannot finish what was interrupted");
            }
        }
        package::install(&self.place, &self.place.path("kept.deb"))?;
        match installed_of(&self.record) {
            Installed::Former => Ok(()),
            Installed::New | Installed::Neither => Err(Why {
                text: "dpkg was content, and something else is installed".to_owned(),
                fault: Fault::Infrastructure,
            }),
        }
    }

    /// What was installed is what the next update goes back to.
    fn tidy(&self) -> Result<(), OwnPackageError> {
        let new = self.place.path("new.deb");
        if self.record.stage == Stage::Ended(End::Content) && new.exists() {
            let kept = self.place.path("kept.deb");
            std::fs::rename(&new, &kept).map_err(durable::failed("rename", &new))?;
            self.place.write_kept(&Kept {
                package: self.record.to.clone(),
                file: self.record.file,
            })?;
        }
        for left in ["new.deb", "built.deb", "tree"] {
            durable::remove(&self.place.path(left))?;
        }
        Ok(self.place.forget_reached()?)
    }
}

/// A coordinator has been reached: what a guard waits for, if there is one.
pub fn note_reached() {
    let place = Place::of_this_node();
    if !place.has_record() {
        return;
    }
    let noted = Process::own().map(|own| place.write_reached(&own));
    if let Some(Err(error)) = noted {
        tracing::warn!(error = chain(&error), "cannot tell the guard of the update");
    }
}
