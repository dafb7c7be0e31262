//! `cadenza analytics`: whether what is counted is what happened.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{DatabaseArgs, Failure};
use crate::app::analytics::verify::{self, Compared, Found};
use crate::domain::id::WorkspaceId;
use crate::store::{Db, workspace};

const EXAMPLES: &str = "\
Every lead and every message is told again from the event log and compared with its row. Each number
that differs is printed on a line of its own; the last line sums up. It ends with 0 where nothing
differs, and with 1 where something does. Nothing is changed, and a server may run meanwhile.

Examples:
  cadenza analytics verify
  cadenza analytics verify --workspace acme --database postgres://cadenza@db.example/cadenza";

#[derive(Debug, Subcommand)]
pub(super) enum AnalyticsCommand {
    /// Compare what is counted with the event log
    #[command(after_help = EXAMPLES)]
    Verify(VerifyArgs),
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// Only this workspace; without it, all of them
    #[arg(long, env = "CADENZA_WORKSPACE", value_name = "NAME")]
    workspace: Option<String>,
    #[command(flatten)]
    database: DatabaseArgs,
}

pub(super) async fn run(command: AnalyticsCommand) -> Result<ExitCode, Failure> {
    let AnalyticsCommand::Verify(arguments) = command;
    let db = arguments.database.open().await?;
    let compared = all(&db, arguments.workspace.as_deref()).await;
    db.close().await?;
    let compared = compared?;
    println!(
        "{} sequences, {} leads, {} messages compared: {} differences",
        compared.sequences, compared.leads, compared.messages, compared.differences
    );
    Ok(if compared.differences == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn all(db: &Db, name: Option<&str>) -> Result<Compared, Failure> {
    let mut sum = Compared::default();
    for workspace in chosen(db, name).await? {
        let compared = verify::verify(db, workspace, tell).await?;
        sum.sequences += compared.sequences;
        sum.leads += compared.leads;
        sum.messages += compared.messages;
        sum.differences += compared.differences;
    }
    Ok(sum)
}

async fn chosen(db: &Db, name: Option<&str>) -> Result<Vec<WorkspaceId>, Failure> {
    let Some(name) = name else {
        return Ok(workspace::all_ids(db.read()).await?);
    };
    match workspace::by_name(db.read(), name.trim()).await? {
        Some(workspace) => Ok(vec![workspace]),
        None => Err(format!("there is no workspace {name}; leave out --workspace for all").into()),
    }
}

fn tell(found: &Found) {
    let (what, row, log) = &found.difference;
    let of = found.execution.map(|id| format!(" {id}"));
    println!(
        "{} {}{}: {what} is {row}, and by the log {log}",
        found.sequence,
        found.lead,
        of.unwrap_or_default()
    );
}
