//! `cadenza token`: tokens for the API.

use clap::{Args, Subcommand, ValueEnum};

use super::{DatabaseArgs, Failure};
use crate::app::token::{self, Terms};
use crate::app::{AppError, Role};
use crate::clock::Clock;
use crate::domain::id::SequenceId;
use crate::domain::scope::SequenceScope;
use crate::entropy::Entropy;

const EXAMPLES: &str = "\
The token is printed alone on standard output, once; only its hash is kept. This works while a
server runs on the same database. Once there is an admin's token, the others are made, listed and
revoked by the API: tokenCreate, tokens, tokenRevoke.

Example:
  TOKEN=$(cadenza token create --workspace acme --role admin)
  curl -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' \\
       -d '{\"query\": \"{ __typename }\"}' http://127.0.0.1:8080/graphql";

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token, and its workspace if it is new
    #[command(after_help = EXAMPLES)]
    Create(CreateArgs),
}

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// The workspace that the token opens; made if it is new
    #[arg(long, env = "CADENZA_WORKSPACE", value_name = "NAME")]
    workspace: String,
    /// What the token allows: a viewer reads, an editor also writes, an admin also manages senders
    /// and tokens
    #[arg(long, env = "CADENZA_ROLE", value_name = "ROLE")]
    role: RoleName,
    /// What the token is for, as it is listed; without it, its role
    #[arg(long, env = "CADENZA_NAME", value_name = "TEXT")]
    name: Option<String>,
    /// In how many days the token ends; without it, never
    #[arg(long, env = "CADENZA_EXPIRES_IN_DAYS", value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..=3650))]
    expires_in_days: Option<u16>,
    /// Limit the token to this sequence; repeat it for several. Without it, the token is for the whole
    /// workspace
    #[arg(
        long = "sequence",
        env = "CADENZA_SEQUENCE",
        value_name = "ID",
        value_delimiter = ','
    )]
    sequences: Vec<SequenceId>,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleName {
    Viewer,
    Editor,
    Admin,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Viewer => Self::Viewer,
            RoleName::Editor => Self::Editor,
            RoleName::Admin => Self::Admin,
        }
    }
}

pub(super) async fn run(command: TokenCommand) -> Result<(), Failure> {
    let TokenCommand::Create(arguments) = command;
    let db = arguments.database.open().await?;
    let (clock, entropy) = (Clock::system(), Entropy::system());
    let mut terms = Terms::of(arguments.role.into());
    if let Some(name) = arguments.name {
        terms.name = name;
    }
    if !arguments.sequences.is_empty() {
        terms.scope = SequenceScope::only(arguments.sequences);
    }
    let days = arguments.expires_in_days.map(i64::from);
    terms.expires_at = days.map(|days| clock.now() + chrono::Duration::days(days));
    let made = token::create(&db, &clock, &entropy, &arguments.workspace, &terms).await;
    db.close().await?;
    match made {
        Ok(made) => {
            println!("{}", made.secret);
            Ok(())
        }
        Err(AppError::Refused(refusals)) => {
            let messages: Vec<String> = refusals
                .into_iter()
                .map(|refusal| refusal.message)
                .collect();
            Err(messages.join(" ").into())
        }
        Err(error) => Err(error.into()),
    }
}
