//! The calendar on which one lead's step is planned outside the engine.

use sea_orm::ConnectionTrait;

use super::{AppError, Services};
use crate::domain::id::{PersonId, SenderId, WorkspaceId};
use crate::domain::planning::{self, Clocks, Whereabouts};
use crate::domain::schedule::Calendar;
use crate::domain::settings::Settings;
use crate::domain::zone::Zone;
use crate::store::{person, sender};

/// Asks the calendar of these settings for what the sender, if there is one, does for the person. A clock
/// that is not known is taken to be the sequence's.
///
/// # Errors
/// [`AppError::Store`] as the database has it.
pub(super) async fn ask<T>(
    (services, tx): (&Services, &impl ConnectionTrait),
    workspace: WorkspaceId,
    settings: &Settings,
    (sender, person): (Option<SenderId>, PersonId),
    question: impl FnOnce(&Calendar<'_>) -> T,
) -> Result<T, AppError> {
    let zone = |name: &str| services.zones.get(name);
    let found = sender::find_many(tx, workspace, sender.as_slice()).await?;
    let someone = person::find(tx, workspace, person).await?;
    let whereabouts = someone.map_or_else(Whereabouts::default, |someone| {
        let zone = someone.time_zone.as_deref().and_then(zone);
        Whereabouts::new(zone, someone.country.as_deref())
    });
    let sender_zone = found.first().and_then(|sender| zone(&sender.time_zone));
    let of_sequence = zone(&settings.time_zone).unwrap_or_else(Zone::utc);
    let clocks = Clocks {
        sequence: &of_sequence,
        sender: sender_zone.as_ref().unwrap_or(&of_sequence),
        person: &whereabouts,
    };
    Ok(question(&planning::calendar(settings, clocks)))
}
