//! What no type can say about a manifest.

use std::collections::BTreeMap;

use super::files::files_must_make_sense;
use super::secrets::secrets_must_make_sense;
use super::{Check, Component, MANIFEST_FORMAT, Manifest, Pm2, Probe, ReleaseError, Run, Systemd};
use crate::quantity::Span;

const COMPONENTS_MAX: usize = 64;
const CHECKS_MAX: usize = 64;
/// A connection with its handshake, and another one if that is lost.
const CONFIRM_MIN: Span = Span::from_secs(2);
/// The rollout waits for them with a place taken; it pauses when nothing gets good for ten
/// minutes.
const SMOKE_MAX: Span = Span::from_secs(300);
/// Of a template on one node.
const INSTANCES_MAX: usize = 64;

impl Manifest {
    pub fn check(&self) -> Result<(), ReleaseError> {
        if self.format != MANIFEST_FORMAT {
            return Err(ReleaseError::Format(self.format));
        }
        self.must_make_sense().map_err(ReleaseError::Senseless)
    }

    fn must_make_sense(&self) -> Result<(), String> {
        if self.components.is_empty() {
            return Err("it has no component".to_owned());
        }
        if self.components.len() > COMPONENTS_MAX {
            return Err(format!("it has more than {COMPONENTS_MAX} components"));
        }
        for (i, component) in self.components.iter().enumerate() {
            let name = &component.name;
            if self.components[..i].iter().any(|other| other.name == *name) {
                return Err(format!("component `{name}` is there twice"));
            }
            component_must_make_sense(component)?;
        }
        let smoke = self.components.iter().flat_map(|component| &component.smoke);
        let smoke_ms = smoke.fold(0, |sum: u64, check| sum.saturating_add(check.timeout.as_millis()));
        if smoke_ms > SMOKE_MAX.as_millis() {
            return Err(format!(
                "its smoke checks may take {}, and a node has {SMOKE_MAX} for them",
                Span::from_millis(smoke_ms)
            ));
        }
        self.must_not_collide()?;
        self.vars_must_make_sense()?;
        self.an_agent_must_be_alone()?;
        if let Some(migrations) = &self.migrations {
            migrations.must_make_sense(self)?;
        }
        let health = &self.health;
        if health.failures == 0 || health.restarts == 0 {
            return Err("health.failures and health.restarts must be at least 1".to_owned());
        }
        if health.min_healthy > health.healthy_deadline {
            return Err(format!(
                "health.min_healthy ({}) is longer than health.healthy_deadline ({}), so no node could ever be verified",
                health.min_healthy, health.healthy_deadline
            ));
        }
        match health.confirm {
            Some(confirm) if confirm < CONFIRM_MIN => Err(format!(
                "health.confirm ({confirm}) is shorter than {CONFIRM_MIN}, in which nobody could be reached"
            )),
            Some(confirm) if confirm > health.healthy_deadline => Err(format!(
                "health.confirm ({confirm}) is longer than health.healthy_deadline ({})",
                health.healthy_deadline
            )),
            Some(_) | None => Ok(()),
        }
    }
}

impl Manifest {
    /// Two components with one unit, one root or one app of pm2 would take it from each other.
    fn must_not_collide(&self) -> Result<(), String> {
        let mut taken = BTreeMap::new();
        for component in &self.components {
            let places: Vec<String> = match &component.run {
                Run::Supervise(_) => vec![],
                Run::Systemd(run) => {
                    let whose = run.user.as_deref().unwrap_or("the system");
                    vec![format!("unit {} of {whose}", run.unit)]
                }
                Run::Pm2(run) => {
                    let own = [component.name.to_string()];
                    let names = if run.only.is_empty() { &own[..] } else { &run.only };
                    let whose = (run.user.as_deref(), run.home.as_deref());
                    names
                        .iter()
                        .map(|name| format!("app {name} of pm2 {whose:?}"))
                        .collect()
                }
                Run::Static(files) => vec![format!("root {}", files.root)],
                Run::Agent(_) => vec![],
            };
            for place in places {
                if let Some(other) = taken.insert(place.clone(), &component.name) {
                    let name = &component.name;
                    return Err(format!("components `{other}` and `{name}` have one {place}"));
                }
            }
        }
        Ok(())
    }

    /// It ends in the middle of its own step, and nothing else must be in the middle then.
    fn an_agent_must_be_alone(&self) -> Result<(), String> {
        let is_agent = |component: &&Component| matches!(component.run, Run::Agent(_));
        let Some(agent) = self.components.iter().find(is_agent) else {
            return Ok(());
        };
        let name = &agent.name;
        if self.components.len() > 1 {
            return Err(format!(
                "component `{name}` is the agent itself, which is released alone"
            ));
        }
        if self.migrations.is_some() {
            return Err(format!(
                "component `{name}` is the agent itself, which has no migrations"
            ));
        }
        Ok(())
    }
}

fn component_must_make_sense(component: &Component) -> Result<(), String> {
    let name = &component.name;
    if component.artifacts.is_empty() {
        return Err(format!("component `{name}` has no artifact"));
    }
    if component.checks.len().max(component.smoke.len()) > CHECKS_MAX {
        return Err(format!("component `{name}` has more than {CHECKS_MAX} checks"));
    }
    run_must_make_sense(&component.run).map_err(|why| format!("component `{name}` {why}"))?;
    files_must_make_sense(component).map_err(|why| format!("component `{name}` {why}"))?;
    secrets_must_make_sense(component).map_err(|why| format!("component `{name}` {why}"))?;
    let hooks = component.hooks.must_make_sense();
    hooks.map_err(|why| format!("component `{name}` {why}"))?;
    component
        .checks
        .iter()
        .chain(&component.smoke)
        .try_for_each(|check| {
            check_must_make_sense(check).map_err(|why| format!("check `{}` of `{name}` {why}", check.name))
        })
}

fn run_must_make_sense(run: &Run) -> Result<(), String> {
    match run {
        Run::Supervise(supervise) => supervise.must_make_sense(),
        Run::Systemd(systemd) => systemd_must_make_sense(systemd),
        Run::Pm2(pm2) => pm2_must_make_sense(pm2),
        Run::Static(files) if !files.root.starts_with(['/', '$']) => Err(format!(
            "has the root `{}`, which is not an absolute path",
            files.root
        )),
        Run::Static(_) | Run::Agent(_) => Ok(()),
    }
}

fn pm2_must_make_sense(pm2: &Pm2) -> Result<(), String> {
    // pm2 takes them apart at commas, and takes what begins with a dash for a flag.
    let is_no_name =
        |name: &&String| name.is_empty() || name.contains(',') || name.starts_with('-') || *name == "all";
    if let Some(name) = pm2.only.iter().chain(&pm2.profile).find(is_no_name) {
        return Err(format!("names `{name}`, which pm2 would not take for a name"));
    }
    Ok(())
}

fn systemd_must_make_sense(systemd: &Systemd) -> Result<(), String> {
    let (unit, instances) = (&systemd.unit, &systemd.instances);
    if instances.len() > INSTANCES_MAX {
        return Err(format!("has more than {INSTANCES_MAX} instances"));
    }
    if unit.is_template() && instances.is_empty() {
        return Err(format!("has the template {unit} and no instances of it"));
    }
    for (i, instance) in instances.iter().enumerate() {
        if unit.instance(instance).is_none() {
            return Err(format!(
                "has the instance `{instance}`, and there is no such one of {unit}"
            ));
        }
        if instances[..i].contains(instance) {
            return Err(format!("has the instance `{instance}` twice"));
        }
    }
    if systemd
        .env
        .keys()
        .any(|name| name.is_empty() || name.contains(['=', '"', '\n']))
    {
        return Err("has a variable without a proper name".to_owned());
    }
    Ok(())
}

fn check_must_make_sense(check: &Check) -> Result<(), String> {
    if check.interval == Span::ZERO || check.timeout == Span::ZERO {
        return Err("has no interval or no timeout".to_owned());
    }
    match &check.probe {
        Probe::Exec { command } if command.is_empty() => Err("has an empty command".to_owned()),
        Probe::Http { url, .. } if url.starts_with("https://") => Err(format!(
            "asks {url}; checks are asked of the process itself, over http"
        )),
        // Where all of it is the node's to say, the node looks at it.
        Probe::Http { url, .. } if url.starts_with("${") => Ok(()),
        Probe::Tcp { address } if address.starts_with("${") && address.ends_with('}') => Ok(()),
        Probe::Http { url, .. } if !is_http(&filled(url)) => {
            Err(format!("asks `{url}`, which is not http://host:port/path"))
        }
        Probe::Tcp { address } if !is_address(&filled(address)) => {
            Err(format!("asks `{address}`, which is not host:port"))
        }
        Probe::Exec { .. } | Probe::Http { .. } | Probe::Tcp { .. } | Probe::Process => Ok(()),
    }
}

/// With a digit for each `${word}`: what the node will put there is not known yet.
fn filled(text: &str) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        filled.push_str(before);
        filled.push('1');
        rest = after.split_once('}').map_or("", |(_, rest)| rest);
    }
    filled.push_str(rest);
    filled
}

fn is_http(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else {
        return false;
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let has_port = !authority.rsplit_once(':').is_some_and(|(_, port)| {
        // The last colon of a bare IPv6 address in brackets is not a port's.
        !port.ends_with(']') && port.parse::<u16>().is_err()
    });
    !authority.is_empty() && has_port && !url.contains(char::is_whitespace)
}

fn is_address(address: &str) -> bool {
    address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::release::sample;

    fn refused(change: impl FnOnce(&mut Manifest)) -> String {
        let mut manifest = sample();
        change(&mut manifest);
        manifest.check().unwrap_err().to_string()
    }

    fn asking(probe: Probe) -> Result<(), ReleaseError> {
        let mut manifest = sample();
        manifest.components[0].checks[0].probe = probe;
        manifest.check()
    }

    #[test]
    fn manifests_that_make_no_sense_are_refused() {
        assert_eq!(
            refused(|m| m.components.clear()),
            "the manifest makes no sense: it has no component"
        );
        assert_eq!(
            refused(|m| m.components.push(m.components[0].clone())),
            "the manifest makes no sense: component `web` is there twice"
        );
        assert_eq!(
            refused(|m| m.format = 2),
            "the manifest has format 2; this build reads format 1"
        );
        let run =
            |run: serde_json::Value| refused(|m| m.components[0].run = serde_json::from_value(run).unwrap());
        for (json, why) in [
            (
                serde_json::json!({"kind": "systemd", "unit": "w@.service"}),
                "no instances of it",
            ),
            (
                serde_json::json!({"kind": "systemd", "unit": "w.service", "instances": ["1"]}),
                "there is no such one of w.service",
            ),
            (
                serde_json::json!({"kind": "systemd", "unit": "w@.service", "instances": ["1", "1"]}),
                "`1` twice",
            ),
            (
                serde_json::json!({"kind": "static", "root": "www"}),
                "not an absolute path",
            ),
        ] {
            let found = run(json);
            assert!(found.contains(why), "{found}");
        }
        let hooks = serde_json::json!({ "drain": { "command": [] } });
        let found = refused(|m| m.components[0].hooks = serde_json::from_value(hooks).unwrap());
        assert!(
            found.ends_with("component `web` has a hook `drain` with an empty command"),
            "{found}"
        );
        let agent = |m: &mut Manifest| {
            let run = serde_json::json!({"kind": "agent", "package": "fleet-agent.deb"});
            m.components[0].run = serde_json::from_value(run).unwrap();
        };
        let mut alone = sample();
        agent(&mut alone);
        alone.check().unwrap();
        let beside = refused(|m| {
            let mut other = m.components[0].clone();
            other.name = "other".parse().unwrap();
            m.components.push(other);
            agent(m);
        });
        assert!(
            beside.contains("`web` is the agent itself, which is released alone"),
            "{beside}"
        );
        let migrating = refused(|m| {
            agent(m);
            let migrations = serde_json::json!({"component": "web", "up": ["./migrate"]});
            m.migrations = Some(serde_json::from_value(migrations).unwrap());
        });
        assert!(migrating.contains("which has no migrations"), "{migrating}");
        assert!(
            refused(|m| m.health.min_healthy = Span::from_secs(600))
                .contains("no node could ever be verified")
        );
        assert!(
            refused(|m| {
                let mut long = m.components[0].checks[0].clone();
                long.timeout = Span::from_secs(151);
                m.components[0].smoke = vec![long.clone(), long];
            })
            .contains("its smoke checks may take 5m2s")
        );
        assert!(refused(|m| m.health.confirm = Some(Span::ZERO)).contains("shorter than 2s"));
        assert!(refused(|m| m.health.confirm = Some(Span::from_secs(301))).contains("longer than"));
    }

    #[test]
    fn what_no_check_could_ever_ask_is_refused() {
        let http = |url: &str| {
            asking(Probe::Http {
                url: url.to_owned(),
                status: 200,
                latency_max: None,
                json: BTreeMap::new(),
            })
        };
        for good in [
            "http://127.0.0.1/health",
            "http://127.0.0.1:${var.port}/health?deep=1",
            "http://${var.host}:80",
            "http://[::1]:8080/",
            "http://[::1]/",
            "${var.health_url}",
        ] {
            http(good).unwrap();
        }
        for bad in [
            "not a url",
            "127.0.0.1/health",
            "http://",
            "http:///health",
            "http://a:b/",
            "http://a b/",
        ] {
            let error = http(bad).unwrap_err().to_string();
            assert!(error.contains("which is not http://host:port/path"), "{error}");
        }
        let error = http("https://127.0.0.1/").unwrap_err().to_string();
        assert!(
            error.contains("asked of the process itself, over http"),
            "{error}"
        );
        let tcp = |address: &str| {
            asking(Probe::Tcp {
                address: address.to_owned(),
            })
        };
        tcp("127.0.0.1:${var.port}").unwrap();
        tcp("${var.db}").unwrap();
        for bad in ["127.0.0.1", ":80", "a:b"] {
            tcp(bad).unwrap_err();
        }
    }
}
