//! Who may do what, through the only way in that there is.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use fleet_coordinator::rollout::access::{Question, may_ask};
use fleet_coordinator::rollout::event::{NewToken, PushRelease, Tenure, Urgency};
use fleet_coordinator::rollout::gate::Insistence;
use fleet_coordinator::rollout::input::{
    Author, Definition, Input, Intent, RefusalKind, Reply, Request, RollBack, Settings,
};
use fleet_coordinator::rollout::requests::drain::Limit;
use fleet_coordinator::rollout::state::State;
use fleet_coordinator::rollout::turn::turn;
use fleet_proto::digest::Digest;
use fleet_proto::ids::{NodeId, OperatorName, RolloutNumber};
use fleet_proto::labels::Selector;
use fleet_proto::quantity::Span;
use fleet_proto::release::{Platform, ReleaseRef, Strategy};
use fleet_proto::role::{Role, Roles};
use fleet_proto::session::{AppStatus, Facts, Hello};
use fleet_proto::time::Timestamp;

const NOW: Timestamp = Timestamp(1_770_897_600_000);
const DAY: Span = Span::from_secs(86_400);

struct Fleet(State);

fn name(text: &str) -> OperatorName {
    text.parse().unwrap()
}

fn node(text: &str) -> NodeId {
    text.parse().unwrap()
}

/// `deployer` everywhere, or `deployer in staging`.
fn roles(text: &str) -> Roles {
    match text.split_once(" in ") {
        None => Roles::everywhere(text.parse().unwrap()),
        Some((role, environment)) => Roles {
            everywhere: None,
            within: [(environment.parse().unwrap(), role.parse().unwrap())].into(),
        },
    }
}

fn add(operator: &str, text: &str) -> Request {
    Request::AddOperator {
        operator: name(operator),
        roles: roles(text),
        certificates_from: None,
    }
}

fn release(version: &str) -> ReleaseRef {
    ReleaseRef {
        version: version.parse().unwrap(),
        digest: Digest::of(version.as_bytes()),
    }
}

fn push(version: &str) -> Request {
    Request::PushRelease(PushRelease {
        app: "shop".parse().unwrap(),
        release: release(version),
        counter: 1,
        components: vec!["web".parse().unwrap()],
        platforms: vec![Platform::any()],
        strategy: Strategy::default(),
        healthy_deadline: DAY,
        migration: None,
        signed_by: vec![],
    })
}

fn start(environment: &str, urgency: Urgency) -> Request {
    Request::StartRollout(Intent {
        environment: Some(environment.parse().unwrap()),
        version: Some("v2.0.0".parse().unwrap()),
        reason: Some("it burns".to_owned()),
        insistence: Insistence {
            urgency,
            ..Insistence::default()
        },
        ..Intent::default()
    })
}

fn roll_back(number: u64, urgency: Urgency) -> Request {
    Request::RollBack(RollBack {
        number: Some(RolloutNumber(number)),
        reason: Some("it burns".to_owned()),
        urgency,
        ..RollBack::default()
    })
}

fn new_token() -> Request {
    let token = NewToken {
        id: "t9".parse().unwrap(),
        secret_hash: Digest::of(b"s"),
        node: None,
        labels: [("env".to_owned(), "production".to_owned())].into(),
        uses: 1,
        tenure: Tenure::default(),
    };
    Request::CreateToken {
        token,
        valid_for: DAY,
    }
}

fn access_token(operator: &str) -> Request {
    Request::CreateAccessToken {
        operator: name(operator),
        token: "a1".parse().unwrap(),
        secret_hash: Digest::of(b"secret"),
        valid_for: DAY,
    }
}

impl Fleet {
    /// One node in staging and one in production; #1 of v1.0.0 runs in staging.
    fn new() -> Self {
        let mut fleet = Self(State::default());
        let environment = |select: &str| Definition::from(select.parse::<Selector>().unwrap());
        let environments = ["staging", "production"]
            .map(|name| (name.parse().unwrap(), environment(&format!("env={name}"))))
            .into();
        let admins = [name("root")].into();
        fleet.input(Input::TakeCharge { environments, admins });
        for version in ["v1.0.0", "v2.0.0"] {
            fleet.asks("root", push(version)).unwrap();
        }
        for environment in ["staging", "production"] {
            fleet.enrol(environment);
        }
        let intent = Intent {
            environment: Some("staging".parse().unwrap()),
            version: Some("v1.0.0".parse().unwrap()),
            ..Intent::default()
        };
        fleet.asks("root", Request::StartRollout(intent)).unwrap();
        fleet
    }

    fn input(&mut self, input: Input) -> Option<Result<Reply, fleet_coordinator::rollout::input::Refusal>> {
        let outcome = turn(&mut self.0, &[input], &Settings::default(), NOW).unwrap();
        outcome.answers.into_iter().next()
    }

    /// What was refused, and why.
    fn asks(&mut self, by: &str, request: Request) -> Result<Reply, (RefusalKind, String)> {
        let by = Author::Operator(name(by));
        self.input(Input::Request { by, request })
            .unwrap()
            .map_err(|refused| {
                (
                    refused.kind,
                    format!("{}\nhint: {}", refused.message, refused.hint.unwrap_or_default()),
                )
            })
    }

    fn enrol(&mut self, environment: &str) {
        let id = node(environment);
        let token = NewToken {
            id: id.as_str().parse().unwrap(),
            secret_hash: Digest::of(b"s"),
            node: None,
            labels: [("env".to_owned(), environment.to_owned())].into(),
            uses: 1,
            tenure: Tenure::default(),
        };
        let valid_for = DAY;
        self.asks("root", Request::CreateToken { token, valid_for })
            .unwrap();
        let request = Request::Enrol {
            token: id.as_str().parse().unwrap(),
            secret_hash: Digest::of(b"s"),
            node: id.clone(),
            key: Digest::of(b"k"),
            certificates_from: NOW,
            platform: Platform::any(),
        };
        let by = Author::Newcomer(id.clone());
        self.input(Input::Request { by, request }).unwrap().unwrap();
        let hello = Hello {
            protocol: fleet_proto::PROTOCOL,
            agent_version: "0.1.0".to_owned(),
            facts: Facts {
                platform: Platform::any(),
                hostname: environment.to_owned(),
                kernel: String::new(),
                cpus: 1,
                memory: fleet_proto::quantity::Bytes(1),
                disk: fleet_proto::quantity::Bytes(1),
                disk_free: fleet_proto::quantity::Bytes(1),
                booted_at: NOW,
            },
            apps: Vec::<AppStatus>::new(),
            service: None,
        };
        self.input(Input::NodeConnected { node: id, hello });
    }

    /// Allowed, whatever else comes of it.
    fn allows(&self, by: &str, request: &Request) -> bool {
        let mut fleet = Self(self.0.clone());
        !matches!(fleet.asks(by, request.clone()), Err((RefusalKind::NotAllowed, _)))
    }
}

#[test]
fn each_order_takes_its_role_and_its_place() {
    let mut fleet = Fleet::new();
    let people = [
        ("vera", "viewer"),
        ("dora", "deployer"),
        ("ada", "admin"),
        ("sam", "deployer in staging"),
        ("stella", "admin in staging"),
        ("vic", "viewer in production"),
        ("zoe", "viewer"),
    ];
    for (person, role) in people {
        fleet.asks("root", add(person, role)).unwrap();
    }
    let number = RolloutNumber(1);
    let cordon = |at: &str| Request::CordonNode {
        node: node(at),
        reason: None,
    };
    let drain = |limit| Request::DrainNode {
        node: node("staging"),
        reason: None,
        limit,
    };
    let halt = |environment: Option<&str>| Request::Halt {
        environment: environment.map(|name| name.parse().unwrap()),
        reason: None,
    };
    let label = Request::LabelNode {
        node: node("staging"),
        set: [("env".to_owned(), "production".to_owned())].into(),
        remove: vec![],
    };
    let revoke = Request::RevokeNode {
        node: node("staging"),
        reason: String::new(),
    };
    let everywhere = ["root", "ada"];
    let deployers = ["root", "ada", "dora"];
    let of_staging = ["root", "ada", "dora", "sam", "stella"];
    let admins_of_staging = ["root", "ada", "stella"];
    let cases: Vec<(&str, Request, &[&str])> = vec![
        (
            "start in staging",
            start("staging", Urgency::Ordinary),
            &of_staging,
        ),
        (
            "start in production",
            start("production", Urgency::Ordinary),
            &deployers,
        ),
        (
            "emergency in staging",
            start("staging", Urgency::Emergency),
            &admins_of_staging,
        ),
        (
            "emergency in production",
            start("production", Urgency::Emergency),
            &everywhere,
        ),
        ("pause", Request::Pause { number, reason: None }, &of_staging),
        ("resume", Request::Resume { number, waves: None }, &of_staging),
        ("abort", Request::Abort { number, reason: None }, &of_staging),
        ("roll back", roll_back(1, Urgency::Ordinary), &of_staging),
        (
            "roll back now",
            roll_back(1, Urgency::Emergency),
            &admins_of_staging,
        ),
        ("push", push("v3.0.0"), &of_staging),
        ("cordon", cordon("staging"), &of_staging),
        ("cordon elsewhere", cordon("production"), &deployers),
        ("drain", drain(Limit::Keep), &of_staging),
        ("drain over the limit", drain(Limit::Override), &admins_of_staging),
        ("halt staging", halt(Some("staging")), &of_staging),
        ("halt everything", halt(None), &deployers),
        ("label", label, &everywhere),
        ("revoke", revoke, &everywhere),
        ("join token", new_token(), &everywhere),
        ("add an operator", add("new", "viewer"), &everywhere),
        ("token for another", access_token("zoe"), &everywhere),
    ];
    let everybody = ["root", "ada", "dora", "sam", "stella", "vera", "vic", "nobody"];
    for (what, request, allowed) in &cases {
        for person in everybody {
            assert_eq!(
                fleet.allows(person, request),
                allowed.contains(&person),
                "{person}: {what}"
            );
        }
    }
}

#[test]
fn whoever_asks_is_told_what_it_takes() {
    let mut fleet = Fleet::new();
    fleet.asks("root", add("sam", "deployer in staging")).unwrap();
    let refused = fleet
        .asks("sam", start("production", Urgency::Ordinary))
        .unwrap_err();
    assert_eq!(refused.0, RefusalKind::NotAllowed);
    assert_eq!(
        refused.1,
        "to start a rollout takes the role deployer in production; sam is deployer in staging\n\
         hint: an admin gives it with `fleetctl operator add sam --role deployer --env production`"
    );
    let nobody = fleet.asks("bob", push("v9.0.0")).unwrap_err();
    assert_eq!(
        nobody.1,
        "operator bob has no role here\n\
         hint: an admin gives one with `fleetctl operator add bob --role viewer`"
    );
}

#[test]
fn questions_take_a_role_too() {
    let mut fleet = Fleet::new();
    for (person, role) in [
        ("vera", "viewer"),
        ("sam", "deployer in staging"),
        ("ada", "admin"),
    ] {
        fleet.asks("root", add(person, role)).unwrap();
    }
    let (staging, production) = (node("staging"), node("production"));
    let cases = [
        (Question::View, vec!["vera", "sam", "ada"]),
        (Question::Logs(&staging), vec!["sam", "ada"]),
        (Question::Logs(&production), vec!["ada"]),
        (Question::Upload, vec!["sam", "ada"]),
        (Question::Backup(RolloutNumber(1)), vec!["ada"]),
    ];
    for (question, allowed) in cases {
        for person in ["vera", "sam", "ada", "nobody"] {
            let may = may_ask(&fleet.0, &name(person), question).is_ok();
            assert_eq!(may, allowed.contains(&person), "{person}: {question:?}");
        }
    }
}

#[test]
fn whoever_is_removed_is_gone_with_all_that_let_them_in() {
    let mut fleet = Fleet::new();
    let begins = Timestamp(NOW.0 - 60_000);
    let with_certificate = Request::AddOperator {
        operator: name("dora"),
        roles: roles("deployer"),
        certificates_from: Some(begins),
    };
    fleet.asks("root", with_certificate).unwrap();
    let own = Request::CreateAccessToken {
        operator: name("dora"),
        token: "a1".parse().unwrap(),
        secret_hash: Digest::of(b"secret"),
        valid_for: DAY,
    };
    fleet.asks("dora", own).unwrap();
    let holder = |fleet: &Fleet, secret: &[u8], at| {
        let id = "a1".parse().unwrap();
        fleet
            .0
            .access_token(&id, &Digest::of(secret), at)
            .map(ToString::to_string)
    };
    assert_eq!(holder(&fleet, b"secret", NOW).as_deref(), Some("dora"));
    assert_eq!(holder(&fleet, b"another", NOW), None);
    assert_eq!(holder(&fleet, b"secret", NOW.plus(DAY)), None);
    assert!(!fleet.0.is_from_before(&name("dora"), begins));

    let remove = Request::RemoveOperator {
        operator: name("dora"),
        environment: None,
    };
    fleet.asks("root", remove).unwrap();
    assert_eq!(holder(&fleet, b"secret", NOW), None);
    assert!(fleet.0.roles_of(&name("dora")).is_empty());
    // Whoever comes back under the name is not whoever kept the old certificate.
    fleet.asks("root", add("dora", "viewer")).unwrap();
    assert!(fleet.0.is_from_before(&name("dora"), begins));
    assert!(!fleet.0.is_from_before(&name("dora"), NOW));
}

#[test]
fn roles_are_given_and_taken_place_by_place() {
    let mut fleet = Fleet::new();
    let mut check = |request: Request, expected: &str| {
        fleet.asks("root", request).unwrap();
        assert_eq!(fleet.0.roles_of(&name("sam")).to_string(), expected);
    };
    let remove = |environment: Option<&str>| Request::RemoveOperator {
        operator: name("sam"),
        environment: environment.map(|name| name.parse().unwrap()),
    };
    check(add("sam", "viewer"), "viewer");
    check(add("sam", "admin in staging"), "viewer, admin in staging");
    check(add("sam", "deployer in staging"), "viewer, deployer in staging");
    check(
        add("sam", "deployer in production"),
        "viewer, deployer in production, deployer in staging",
    );
    check(remove(Some("staging")), "viewer, deployer in production");
    check(remove(None), "no role");
    check(add("sam", "deployer in staging"), "deployer in staging");
    check(remove(Some("staging")), "no role");
}

#[test]
fn the_configuration_has_the_last_word_on_its_admins() {
    let mut fleet = Fleet::new();
    for request in [
        add("root", "viewer"),
        Request::RemoveOperator {
            operator: name("root"),
            environment: None,
        },
    ] {
        let (kind, why) = fleet.asks("root", request).unwrap_err();
        assert_eq!(kind, RefusalKind::Refused);
        assert!(why.contains("take root out of `admins` there"), "{why}");
    }
    assert_eq!(fleet.0.roles_of(&name("root")), Roles::everywhere(Role::Admin));
    fleet.asks("root", access_token("root")).unwrap();
    let environments = [].into();
    let admins = [name("other")].into();
    fleet.input(Input::TakeCharge { environments, admins });
    assert!(fleet.0.roles_of(&name("root")).is_empty());
    assert_eq!(fleet.0.roles_of(&name("other")), Roles::everywhere(Role::Admin));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let mut fleet = Fleet::new();
    let cases = [
        (add("sam", "deployer in stagin"), "no environment called `stagin`"),
        (
            Request::AddOperator {
                operator: name("sam"),
                roles: Roles::default(),
                certificates_from: Some(NOW),
            },
            "sam has no role here yet, and is given none",
        ),
        (access_token("sam"), "there is no operator sam"),
        (
            Request::RevokeAccessToken {
                token: "zz".parse().unwrap(),
            },
            "there is no access token zz",
        ),
        (
            Request::RemoveOperator {
                operator: name("roo"),
                environment: None,
            },
            "did you mean `root`?",
        ),
    ];
    for (request, expected) in cases {
        let why = fleet.asks("root", request).unwrap_err().1;
        assert!(why.contains(expected), "{why}");
    }
    let forever = Request::CreateAccessToken {
        operator: name("root"),
        token: "a1".parse().unwrap(),
        secret_hash: Digest::of(b"secret"),
        valid_for: Span::from_secs(400 * 86_400),
    };
    let why = fleet.asks("root", forever).unwrap_err().1;
    assert!(why.contains("at most 366d"), "{why}");
}
