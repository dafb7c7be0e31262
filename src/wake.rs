//! Wakes the loops of this process when there may be something to do.
//!
//! A wake-up carries no data: whoever is woken reads the database again. A lost one costs a delay,
//! never work, as every loop also wakes by itself at the time it computed.

use tokio::sync::watch;

/// The bells of a process.
#[derive(Clone, Debug)]
pub struct Wake {
    due: watch::Sender<()>,
    log: watch::Sender<()>,
}

impl Default for Wake {
    fn default() -> Self {
        Self {
            due: watch::channel(()).0,
            log: watch::channel(()).0,
        }
    }
}

impl Wake {
    /// Something may have become due: leads for the engine, operations for the bulk runner.
    pub fn due(&self) {
        self.due.send_replace(());
    }

    /// Events were committed. Call it after the commit, never before.
    pub fn log(&self) {
        self.log.send_replace(());
    }

    /// Hears of due work from now on.
    pub fn on_due(&self) -> watch::Receiver<()> {
        self.due.subscribe()
    }

    /// Hears of committed events from now on.
    pub fn on_log(&self) -> watch::Receiver<()> {
        self.log.subscribe()
    }
}
