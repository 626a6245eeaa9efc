//! What a caller may do with a document: what the token grants, or the control plane says, whichever is more.

use selvedge_protocol::{DocumentId, Rights};
use selvedge_region::{Control, Error, NewDocument};

use super::Auth;
use super::caller::Caller;

/// An answer, and how it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// So much: looked up now.
    Granted(Rights),
    /// So much by a ticket; the control plane cannot be asked.
    Blind(Rights),
    /// The document was deleted, and the caller is one who may know.
    Deleted,
    /// The control plane cannot be asked, and nothing else says it.
    Unknown,
}

impl Access {
    /// The rights; none where it is not known.
    pub(crate) fn rights(self) -> Rights {
        match self {
            Access::Granted(rights) | Access::Blind(rights) => rights,
            Access::Deleted | Access::Unknown => Rights::None,
        }
    }
}

impl Auth {
    /// What `caller` may do with `document`. With `create`, a document of the caller's own tenant that never was is made, and
    /// its maker is its administrator.
    pub(crate) async fn access(
        &self,
        control: &dyn Control,
        caller: &Caller,
        document: &DocumentId,
        create: bool,
        now_ms: u64,
    ) -> Access {
        let granted = caller.granted(document);
        if self.is_open() {
            return Access::Granted(granted);
        }
        match looked_up(control, caller, document, granted, create, now_ms).await {
            Ok(access) => access,
            Err(error) => {
                tracing::warn!(%document, %error, "rights cannot be looked up");
                match granted {
                    Rights::None => Access::Unknown,
                    granted => Access::Blind(granted),
                }
            }
        }
    }
}

async fn looked_up(
    control: &dyn Control,
    caller: &Caller,
    document: &DocumentId,
    granted: Rights,
    create: bool,
    now_ms: u64,
) -> Result<Access, Error> {
    let principal = &caller.identity.principal;
    let set = control.rights(document, principal).await?;
    let rights = combined(caller, granted, set);
    let info = control.document(document).await?;
    match info {
        Some(info) if info.deleted_ms.is_some() => {
            let knows = granted > Rights::None || info.creator == *principal;
            Ok(if knows { Access::Deleted } else { Access::Granted(Rights::None) })
        }
        Some(_) => Ok(Access::Granted(rights)),
        None if create && caller.ticket.is_none() && (granted.may_write() || caller.at_home(document)) => {
            let new = NewDocument { document: document.clone(), creator: principal.clone(), now_ms };
            match control.create(new).await {
                Ok(_) => Ok(Access::Granted(Rights::Admin)),
                // Somebody was faster: the rights are theirs to give.
                Err(Error::Exists { .. }) => {
                    Ok(Access::Granted(granted.max(control.rights(document, principal).await?)))
                }
                Err(error) => Err(error),
            }
        }
        None => Ok(Access::Granted(Rights::None)),
    }
}

/// What follows from a token's grant and what the control plane has set.
pub(crate) fn combined(caller: &Caller, granted: Rights, set: Rights) -> Rights {
    match caller.ticket {
        // A ticket repeats what the control plane said then: it counts no more than what it says now.
        Some(ticket) if !ticket.by_token => granted.min(set),
        _ => granted.max(set),
    }
}
