//! What a service manager is told. Without one there is nobody to tell.

use std::time::Duration;

use sd_notify::NotifyState;

/// It is told that all is well this often at least, whatever it asks for.
const WATCHDOG_MAX: Duration = Duration::from_secs(10);

pub(super) fn ready() {
    tell(NotifyState::Ready);
}

pub(super) fn stopping() {
    tell(NotifyState::Stopping);
}

pub(super) fn alive() {
    tell(NotifyState::Watchdog);
}

/// From the loop itself, so that a loop that hangs is noticed.
pub(super) fn watchdog_interval() -> Duration {
    sd_notify::watchdog_enabled().map_or(WATCHDOG_MAX, |limit| (limit / 3).min(WATCHDOG_MAX))
}

fn tell(state: NotifyState<'_>) {
    let _nobody = sd_notify::notify(&[state]);
}
