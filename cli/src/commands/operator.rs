use std::path::{Path, PathBuf};

use fleet_proto::authority::KeyAndRequest;
use fleet_proto::ids::{EnvironmentName, OperatorName, TokenId};
use fleet_proto::quantity::Span;
use fleet_proto::role::Role;
use fleet_proto::time::Timestamp;
use fleet_proto::tls;
use fleet_proto::wire;

use crate::error::Error;
use crate::exit::Exit;
use crate::identity::write_private;
use crate::operator::Operator;
use crate::render;
use crate::session::Session;

/// Who may look, deploy and administer, and where
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Example:
  fleetctl operator add dora --role deployer --env staging --out ./dora
  fleetctl operator list")]
pub enum Verb {
    /// Give somebody a role, and with it a way in
    #[command(after_help = "\
Example:
  fleetctl operator add dora --role deployer --env staging --out ./dora    with credentials for fleetctl
  fleetctl operator add wall --role viewer --token                         with a token for the dashboard
  fleetctl operator add dora --role viewer --env production                what dora may there from now on

Roles: a viewer looks; a deployer moves releases and takes them back; an admin says who belongs to
the fleet, and passes by what protects it (--emergency). Without --env a role holds everywhere.")]
    Add(AddArgs),
    /// List operators, what they may, and their access tokens
    #[command(after_help = "Example:\n  fleetctl operator list")]
    List,
    /// Take away a role; whoever has none left is cut off at once
    #[command(after_help = "\
Example:
  fleetctl operator remove dora
  fleetctl operator remove dora --env staging      only what she may there")]
    Remove {
        operator: OperatorName,
        /// Only the role in this environment
        #[arg(long = "env", value_name = "ENVIRONMENT")]
        environment: Option<EnvironmentName>,
    },
    /// Make an access token, for the dashboard and for scripts; it is shown once
    #[command(after_help = "\
Example:
  fleetctl operator token                        for yourself
  fleetctl operator token wall --valid-for 180d")]
    Token {
        /// Whose; yours if absent
        operator: Option<OperatorName>,
        /// How long it is good for
        #[arg(long, value_name = "DURATION", default_value = "90d")]
        valid_for: Span,
    },
    /// Make an access token useless from now on
    #[command(after_help = "Example:\n  fleetctl operator revoke-token 1f3a9c02")]
    RevokeToken { id: TokenId },
}

#[derive(Debug, clap::Args)]
pub struct AddArgs {
    operator: OperatorName,
    /// viewer, deployer or admin
    #[arg(long)]
    role: Option<Role>,
    /// Only in this environment; may be given several times
    #[arg(long = "env", value_name = "ENVIRONMENT", requires = "role")]
    environments: Vec<EnvironmentName>,
    /// Make a certificate, and write cert.pem, key.pem and ca.pem into this new directory
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Make an access token too
    #[arg(long)]
    token: bool,
    /// How long the access token is good for
    #[arg(long, value_name = "DURATION", default_value = "90d", requires = "token")]
    valid_for: Span,
}

pub async fn run(verb: Verb, session: &Session) -> Result<Exit, Error> {
    let mut operator = session.operator().await?;
    match verb {
        Verb::Add(args) => add(&args, &mut operator, session).await?,
        Verb::List => {
            let answer = operator.operators().await?;
            session
                .screen
                .document(&answer.json, |_| render::operators::table(&answer.view))?;
        }
        Verb::Remove {
            operator: name,
            environment,
        } => {
            let request = wire::RemoveOperatorRequest {
                operator: name.to_string(),
                environment: environment.map(String::from).unwrap_or_default(),
            };
            let answer = operator.remove_operator(request).await?;
            session
                .screen
                .document(&answer.json, |_| render::operators::left(&answer.view))?;
        }
        Verb::Token {
            operator: name,
            valid_for,
        } => {
            let token = make_token(&mut operator, name.as_ref(), valid_for).await?;
            show_token(&token, session)?;
        }
        Verb::RevokeToken { id } => {
            let answer = operator.revoke_access_token(id.as_str()).await?;
            session
                .screen
                .document(&answer.json, |_| format!("access token {id} is revoked"))?;
        }
    }
    Ok(Exit::Done)
}

async fn add(args: &AddArgs, operator: &mut Operator, session: &Session) -> Result<(), Error> {
    if args.role.is_none() && args.out.is_none() && !args.token {
        return Err(Error::usage(
            format!("say what {} is to have", args.operator),
            "--role viewer gives a role, --out DIR credentials, --token an access token",
        ));
    }
    let made = match &args.out {
        Some(directory) => {
            must_be_free(directory)?;
            Some((directory, KeyAndRequest::generate()?))
        }
        None => None,
    };
    let request = wire::AddOperatorRequest {
        operator: args.operator.to_string(),
        grants: grants(args),
        certificate_request: made
            .as_ref()
            .map(|(_, made)| made.request_der.clone())
            .unwrap_or_default(),
    };
    let (answer, credentials) = operator.add_operator(request).await?;
    if let Some((directory, made)) = &made {
        let credentials = credentials.ok_or_else(|| Error::Answer("it brought no certificate".to_owned()))?;
        store(directory, &made.key_pem, &credentials).map_err(Error::file(format!(
            "cannot write the credentials to {}",
            directory.display()
        )))?;
    }
    if args.token {
        let token = make_token(operator, Some(&args.operator), args.valid_for).await?;
        session.screen.say(&render::operators::is_now(&answer.view));
        show_token(&token, session)?;
    } else {
        session
            .screen
            .document(&answer.json, |_| render::operators::is_now(&answer.view))?;
    }
    if let Some(directory) = &args.out {
        session.screen.say(&format!(
            "wrote credentials to {}; whoever has them is {}",
            directory.display(),
            args.operator
        ));
    }
    Ok(())
}

fn grants(args: &AddArgs) -> Vec<wire::Grant> {
    let Some(role) = args.role else {
        return vec![];
    };
    let grant = |environment: String| wire::Grant {
        role: role.to_string(),
        environment,
    };
    match args.environments.as_slice() {
        [] => vec![grant(String::new())],
        named => named.iter().map(|name| grant(name.to_string())).collect(),
    }
}

/// Credentials are never overwritten: somebody may be using them.
fn must_be_free(directory: &Path) -> Result<(), Error> {
    match directory.exists() {
        true => Err(Error::refused(
            format!(
                "{} exists, and credentials are never overwritten",
                directory.display()
            ),
            "name a directory that is not there yet",
        )),
        false => Ok(()),
    }
}

fn store(directory: &Path, key_pem: &str, credentials: &wire::Credentials) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    for (name, text) in [
        (tls::KEY_FILE, key_pem),
        (tls::CERTIFICATE_FILE, credentials.certificate_chain.as_str()),
        (tls::AUTHORITY_FILE, credentials.authority.as_str()),
    ] {
        write_private(&directory.join(name), text)?;
    }
    Ok(())
}

async fn make_token(
    operator: &mut Operator,
    name: Option<&OperatorName>,
    valid_for: Span,
) -> Result<wire::TokenCreated, Error> {
    let request = wire::AccessTokenRequest {
        operator: name.map(ToString::to_string).unwrap_or_default(),
        valid_for: valid_for.to_string(),
    };
    operator.create_access_token(request).await
}

fn show_token(token: &wire::TokenCreated, session: &Session) -> Result<(), Error> {
    let expires_at = Timestamp(token.expires_at_ms);
    let json = serde_json::json!({ "id": token.id, "token": token.token, "expires_at": expires_at });
    session.screen.value(&json, |_| token.token.clone())?;
    session.screen.say(&format!(
        "access token {} is good until {expires_at} and is not shown again",
        token.id
    ));
    Ok(())
}
