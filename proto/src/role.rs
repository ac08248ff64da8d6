//! What an operator may do: a role, everywhere or in one environment.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::EnvironmentName;

/// Each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Looks, and changes nothing.
    Viewer,
    /// Moves releases, and takes them back.
    Deployer,
    /// Says who belongs to the fleet, and passes by what protects it.
    Admin,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Deployer, Self::Admin];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Deployer => "deployer",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a role; write viewer, deployer or admin")]
pub struct RoleError(String);

impl FromStr for Role {
    type Err = RoleError;
    fn from_str(text: &str) -> Result<Self, RoleError> {
        let mut all = Self::ALL.into_iter();
        all.find(|role| role.word() == text)
            .ok_or_else(|| RoleError(text.chars().take(40).collect()))
    }
}

/// The roles of one operator. Where both say something, the higher one holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roles {
    pub everywhere: Option<Role>,
    #[serde(default)]
    pub within: BTreeMap<EnvironmentName, Role>,
}

impl Roles {
    pub fn everywhere(role: Role) -> Self {
        Self {
            everywhere: Some(role),
            within: BTreeMap::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.everywhere.is_none() && self.within.is_empty()
    }

    pub fn in_environment(&self, environment: &EnvironmentName) -> Option<Role> {
        self.everywhere.max(self.within.get(environment).copied())
    }

    /// The highest that is held in any place.
    pub fn somewhere(&self) -> Option<Role> {
        self.everywhere.max(self.within.values().max().copied())
    }
}

/// `admin`, or `viewer, deployer in staging`.
impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let everywhere = self.everywhere.iter().map(ToString::to_string);
        let within = self.within.iter();
        let within = within.map(|(environment, role)| format!("{role} in {environment}"));
        let all: Vec<String> = everywhere.chain(within).collect();
        match all.is_empty() {
            true => f.pad("no role"),
            false => f.pad(&all.join(", ")),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    #[test]
    fn the_higher_role_holds() {
        let roles = Roles {
            everywhere: Some(Role::Viewer),
            within: [("staging".parse().unwrap(), Role::Deployer)].into(),
        };
        let check = |environment: &str| roles.in_environment(&environment.parse().unwrap());
        assert_eq!(check("staging"), Some(Role::Deployer));
        assert_eq!(check("production"), Some(Role::Viewer));
        assert_eq!(roles.somewhere(), Some(Role::Deployer));
        assert_eq!(roles.to_string(), "viewer, deployer in staging");
        assert_eq!(Roles::default().somewhere(), None);
        assert_eq!(Roles::default().to_string(), "no role");
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        assert!("root".parse::<Role>().is_err());
    }
}
