//! Reading the mailboxes of senders.
