//! What is known, and where the person looks. Nothing here draws or waits: news and keys go
//! in, and [`super::picture`] says how it looks.

use std::collections::VecDeque;

use fleet_proto::ids::{AppName, NodeId, RolloutNumber};
use fleet_proto::time::Timestamp;
use fleet_proto::view::{EventView, NodeView, RolloutKindView, RolloutView, StatusView};
use jiff::tz::TimeZone;

use super::colours::Colours;
use super::fleet::Fleet;
use super::groups::{Group, Grouping, groups};

/// More than any screen shows; the journal has them all.
const EVENTS_KEPT: usize = 200;

/// What the coordinator said, or that it does not.
#[derive(Debug)]
pub enum News {
    Status(Box<StatusView>),
    Rollout(Box<RolloutView>),
    Events(Vec<EventView>),
    Node(Box<NodeView>),
    Lost(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    Reached,
    Lost { since: Timestamp, why: String },
}

/// What does not change while one looks.
#[derive(Debug, Clone)]
pub struct Setting {
    pub address: String,
    pub app: Option<AppName>,
    pub environment: Option<String>,
    /// Only this rollout, and what it leads to.
    pub only: Option<RolloutNumber>,
    pub colours: Colours,
    pub zone: TimeZone,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Page {
    Fleet,
    Rollout(RolloutNumber),
    Node(NodeId),
    Keys,
}

/// What the arrows move in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Focus {
    Rollouts,
    Nodes,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub text: String,
    /// Keys are letters of it.
    pub is_typed: bool,
}

#[derive(Debug)]
pub struct Model {
    pub setting: Setting,
    pub link: Link,
    pub fleet: Option<Fleet>,
    pub events: VecDeque<EventView>,
    /// The node whose page is open, as asked for by itself: only then it tells its vitals.
    pub asked: Option<NodeView>,
    pub page: Page,
    pub focus: Focus,
    pub filter: Filter,
    pub scroll: usize,
    pub groups: Vec<Group>,
    /// Columns and rows.
    pub size: (u16, u16),
    pub(super) rollout: Option<RolloutNumber>,
    pub(super) node: Option<NodeId>,
    pub(super) grouping: Option<Grouping>,
}

impl Model {
    pub fn new(setting: Setting, size: (u16, u16)) -> Self {
        Self {
            setting,
            link: Link::Reached,
            fleet: None,
            events: VecDeque::new(),
            asked: None,
            page: Page::Fleet,
            focus: Focus::Rollouts,
            filter: Filter::default(),
            scroll: 0,
            groups: Vec::new(),
            size,
            rollout: None,
            node: None,
            grouping: None,
        }
    }

    pub fn take(&mut self, news: News, here: Timestamp) {
        match news {
            News::Lost(why) => {
                let since = match self.link {
                    Link::Lost { since, .. } => since,
                    Link::Reached => here,
                };
                self.link = Link::Lost { since, why };
                return;
            }
            News::Status(status) => {
                self.fleet = Some(Fleet::new(*status, self.setting.app.as_ref(), here));
            }
            News::Rollout(view) => {
                if let Some(fleet) = &mut self.fleet {
                    fleet.take_rollout(*view, self.setting.app.as_ref());
                }
            }
            News::Events(events) => {
                self.events.extend(events);
                let surplus = self.events.len().saturating_sub(EVENTS_KEPT);
                self.events.drain(..surplus);
                return;
            }
            News::Node(view) => {
                self.asked = Some(*view);
                return;
            }
        }
        self.link = Link::Reached;
        self.arrange();
    }

    /// After whatever changes which nodes are shown in which order.
    pub(super) fn arrange(&mut self) {
        let Some(fleet) = &self.fleet else { return };
        self.groups = groups(fleet, self.grouping(), self.chosen(), &self.filter.text);
    }

    /// By the fleet's clock.
    pub fn now(&self, here: Timestamp) -> Timestamp {
        self.fleet.as_ref().map_or(here, |fleet| fleet.now(here))
    }

    /// Those under way, then those that ended; the newest of each first.
    pub fn listed(&self) -> Vec<&RolloutView> {
        let Some(fleet) = &self.fleet else {
            return Vec::new();
        };
        let mut listed: Vec<&RolloutView> = fleet
            .status
            .rollouts
            .iter()
            .filter(|view| self.is_wanted(view))
            .collect();
        listed.sort_by_key(|view| (view.state.is_ended(), std::cmp::Reverse(view.number)));
        listed
    }

    fn is_wanted(&self, view: &RolloutView) -> bool {
        let Some(only) = self.setting.only else {
            return true;
        };
        let parent = match view.kind {
            RolloutKindView::Rollback { parent } => parent,
            RolloutKindView::Forward | RolloutKindView::CatchUp => None,
        };
        view.number == only || parent == Some(only)
    }

    /// The one that was selected; before anybody selected one, the newest under way, and
    /// without any the newest.
    pub fn chosen(&self) -> Option<&RolloutView> {
        let listed = self.listed();
        let selected = listed.iter().find(|view| Some(view.number) == self.rollout);
        selected.or(listed.first()).copied()
    }

    /// While something moves its waves are what one looks at.
    pub fn grouping(&self) -> Grouping {
        let is_moving = self.chosen().is_some_and(|view| !view.state.is_ended());
        self.grouping.unwrap_or(match is_moving {
            true => Grouping::Wave,
            false => Grouping::Zone,
        })
    }

    /// The node that is selected, as long as it is shown, by its place among those shown.
    pub fn place(&self) -> Option<usize> {
        let fleet = self.fleet.as_ref()?;
        let at = fleet.position(self.node.as_ref()?)?;
        self.shown().position(|shown| shown == at)
    }

    pub(super) fn shown(&self) -> impl Iterator<Item = usize> {
        self.groups.iter().flat_map(|group| group.nodes.iter().copied())
    }

    pub fn selected_node(&self) -> Option<usize> {
        self.shown().nth(self.place()?)
    }
}
