//! What every verb is given: the screen, the settings, and the way to the coordinator.

use fleet_proto::time::Timestamp;

use crate::error::Error;
use crate::identity::Identity;
use crate::operator::Operator;
use crate::render::screen::Screen;
use crate::scope::{Scope, ScopeArgs};
use crate::settings::{Settings, Where};

pub struct Session {
    pub screen: Screen,
    pub settings: Settings,
    given: Where,
}

impl Session {
    pub fn open(screen: Screen, given: Where) -> Result<Self, Error> {
        Ok(Self {
            screen,
            settings: Settings::read()?,
            given,
        })
    }

    pub async fn operator(&self) -> Result<Operator, Error> {
        let address = self.settings.coordinator(&self.given)?;
        let identity = Identity::read(&self.settings.identity(&self.given)?, Timestamp::now())?;
        let (operator, warning) = Operator::connect(&address, &identity).await?;
        if let Some(warning) = warning {
            self.screen.say(&format!("warning: {warning}"));
        }
        Ok(operator)
    }

    pub fn scope(&self, args: &ScopeArgs) -> Result<Scope, Error> {
        args.resolve(&self.settings)
    }
}
