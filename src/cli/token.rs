//! `cadenza token`: tokens for the API.

use clap::{Args, Subcommand, ValueEnum};

use super::{DatabaseArgs, Failure};
use crate::app::{AppError, Role, token};
use crate::clock::Clock;
use crate::entropy::Entropy;

const EXAMPLES: &str = "\
The token is printed alone on standard output, once; only its hash is kept. This works while a
server runs on the same database.

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
    #[arg(long, env = "CADENZA_ROLE", value_name = "ROLE")]
    role: RoleName,
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
    let role = arguments.role.into();
    let made = token::create(&db, &clock, &entropy, &arguments.workspace, role).await;
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
