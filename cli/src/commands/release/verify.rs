use fleet_proto::release::ReleaseError;
use fleet_proto::signing::{Pinned, SecretKey};
use fleet_proto::version::Version;

use crate::error::Error;
use crate::exit::Exit;
use crate::release_keys::{KeyArgs, public};
use crate::scope::AppArgs;
use crate::session::Session;

/// Check a release's signatures, as an agent would
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  fleetctl release verify v1.0.0 --trust release.key.pub
  fleetctl release verify v1.0.0 --trust a.pub --trust b.pub --threshold 2")]
pub struct Args {
    #[arg(value_name = "VERSION")]
    version: Version,
    #[command(flatten)]
    app: AppArgs,
    /// A public release key, or a file with one; by default those of one's own secret keys
    #[arg(long = "trust", value_name = "KEY")]
    trusted: Vec<String>,
    /// How many of them must have signed
    #[arg(long, value_name = "K", default_value_t = 1)]
    threshold: usize,
    #[command(flatten)]
    keys: KeyArgs,
}

pub async fn run(args: &Args, session: &Session) -> Result<Exit, Error> {
    let release_keys = if args.trusted.is_empty() {
        let own = args.keys.read(&session.settings)?;
        own.iter().map(SecretKey::public).collect()
    } else {
        args.trusted
            .iter()
            .map(|key| public(key))
            .collect::<Result<_, _>>()?
    };
    let pinned = Pinned {
        release_keys,
        threshold: args.threshold,
    };
    let app = args.app.resolve(&session.settings)?;
    let signed = session
        .operator()
        .await?
        .release(&app, args.version.as_str())
        .await?;
    let manifest = signed.verify(&pinned).map_err(|error| match error {
        ReleaseError::Signature(_) => Error::refused(
            format!("{} is not to be trusted: {error}", args.version),
            format!("`fleetctl release show {}` says who signed it", args.version),
        ),
        error => error.into(),
    })?;
    let signers: Vec<String> = signed
        .signatures
        .iter()
        .map(|signature| signature.key.id())
        .collect();
    let verified = serde_json::json!({
        "app": manifest.app,
        "version": manifest.version,
        "digest": signed.digest(),
        "signed_by": signers,
    });
    session.screen.value(&verified, |_| {
        format!(
            "{} {} ({}) is signed by {}, as asked",
            manifest.app,
            manifest.version,
            signed.digest().short(),
            signers.join(", ")
        )
    })?;
    Ok(Exit::Done)
}
